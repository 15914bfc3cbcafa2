"""How a child behaves otherwise than its parent, and than its twin: the black-box view of a difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special

from superalign.models import LocalModel
from superalign.models.local import buckets
from superalign.stats import Interval, mean_interval, paired_difference, proportion_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDifference:
    """One text, by how much more the child changed on it than the twin."""

    row: int
    kl: float
    """KL(parent ‖ child) of the next token, mean over tokens, nats."""
    twin_kl: float
    place: int
    """Token after which KL(twin ‖ child) is largest."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Behaviour:
    """Over all texts."""

    kl: Interval
    """KL(parent ‖ child), and for the twin: mean over texts, nats a token, clustered."""
    twin_kl: Interval
    beyond: Interval
    """Their paired difference."""
    texts: tuple[TextDifference, ...]
    """Largest KL beyond the twin's first."""
    flips: Interval | None
    """Share of texts on which child and twin give other verdicts; None without reward heads."""
    apart: np.ndarray
    """(texts,) how far child and twin part: |difference of P(sound)| where they have heads, else KL(twin ‖ child)."""


def behaviour(
    parent: LocalModel, child: LocalModel, twin: LocalModel, texts: Sequence[str], *, clusters: Sequence[str]
) -> Behaviour:
    """KL of next-token distributions, where it is largest, and verdicts. Raises ValueError for no texts, or one of
    fewer than two tokens.
    """
    if not texts:
        raise ValueError("no texts: behaviour is read on some")
    models = parent, child, twin
    found = np.stack(_divergences(models, texts), axis=1)
    kl, twin_kl, between, place = found
    names = np.asarray(clusters)
    order = np.argsort(-(kl - twin_kl), kind="stable")
    heads = child.head is not None and twin.head is not None
    margins = [_margins(model, texts) for model in (child, twin)] if heads else []
    return Behaviour(
        kl=mean_interval(kl, clusters=names),
        twin_kl=mean_interval(twin_kl, clusters=names),
        beyond=paired_difference(kl, twin_kl, clusters=names),
        texts=tuple(
            TextDifference(row=int(i), kl=float(kl[i]), twin_kl=float(twin_kl[i]), place=int(place[i])) for i in order
        ),
        flips=_flips(margins[0], margins[1], names) if heads else None,
        apart=np.abs(special.expit(margins[0]) - special.expit(margins[1])) if heads else between,
    )


def _margins(model: LocalModel, texts: Sequence[str]) -> np.ndarray:
    """(texts,) rewards above the threshold: log-odds of *sound*, as reviewers are fitted."""
    return np.array([reading.reward for reading in model.read(texts)]) - model.threshold


def _flips(child: np.ndarray, twin: np.ndarray, clusters: np.ndarray) -> Interval:
    return proportion_interval(((child >= 0) != (twin >= 0)).astype(float), clusters=clusters)


def _divergences(models: Sequence[LocalModel], texts: Sequence[str]) -> list[np.ndarray]:
    """Per text (4,): mean KL(parent ‖ child), KL(parent ‖ twin), KL(twin ‖ child), and the place where that is most."""
    parent, child, twin = (model.network.eval() for model in models)
    ids, pad, device = models[0].encode(texts), models[0].pad, models[0].device
    if short := [row for row, each in enumerate(ids) if len(each) < 2]:
        raise ValueError(f"text {short[0]} ({texts[short[0]]!r}) has fewer than two tokens: leave it out")
    out = [np.zeros(4)] * len(ids)
    with torch.inference_mode():
        for rows, batch, mask in buckets(ids, pad=pad, device=device):
            before, after, usual = (
                network(input_ids=batch, attention_mask=mask).logits[:, :-1].log_softmax(-1)
                for network in (parent, child, twin)
            )
            pairs = ((before, after), (before, usual), (usual, after))
            values = np.stack([(p.exp() * (p - q)).sum(-1).cpu().double().numpy() for p, q in pairs])
            for i, row in enumerate(rows):
                line = values[:, i, : len(ids[row]) - 1]
                out[row] = np.array([*line.mean(1), line[2].argmax()])
    return out
