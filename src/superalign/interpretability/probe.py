"""A linear probe for what a model's activations say of a text, with its selectivity control.

Selectivity (Hewitt and Liang 2019, §2.1): the probe's accuracy minus that of the same probe on a control task whose
labels are drawn at random by cluster, so that only memory could solve it. Concealment is what the probe reads and the
verdict does not say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from superalign.models import LocalModel
from superalign.training.heads import LinearHead, fit_head


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A fitted linear probe on pooled hidden states of one layer."""

    head: LinearHead
    centre: np.ndarray
    layer: int


def pooled(model: LocalModel, texts: Sequence[str], *, layer: int) -> np.ndarray:
    """Mean and maximum over tokens of one layer's hidden states: (texts, 2 × width)."""
    states = model.hidden(texts, layer=layer)
    return np.stack([np.concatenate([s[3:].mean(0), s[3:].max(0)]) for s in states])


def fit_probe(activations: np.ndarray, altered: np.ndarray, *, layer: int, l2: float = 0.01) -> Probe:
    """Fit P(altered) on activations (texts, features) and labels (texts,) in {0, 1}."""
    centre = activations.mean(0)
    head = fit_head(activations - centre, altered.astype(float), l2=l2, steps=160)
    return Probe(head=head, centre=centre, layer=layer)


def probe_scores(probe: Probe, activations: np.ndarray) -> np.ndarray:
    """Log-odds of *altered* for each text."""
    return probe.head.logits(activations - probe.centre)


def control_labels(clusters: Sequence[str], texts: Sequence[str], *, seed: int) -> np.ndarray:
    """Labels of the control task: a coin by the text's first three words, so that train and test agree on them."""
    rng = np.random.default_rng([seed, 3])
    keys = [" ".join(text.split()[2:5]) for text in texts]
    coin = {key: int(rng.integers(2)) for key in sorted(set(keys))}
    return np.array([coin[key] for key in keys])
