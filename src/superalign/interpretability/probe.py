"""Probes of hidden states: families that score every token and aggregate to a text, and their selectivity control.

    probe = train_probe(train, labels, dev, dev_labels, family="logistic", pool="mean")
    probe.scores(model, texts)                                       # log-odds-like, (texts,)

Families: `logistic` on pooled states; `mean-difference` (Marks and Tegmark 2310.06824, §5) and `whitened`, the same
behind the inverse covariance within classes (linear discriminant, Ledoit–Wolf shrinkage); `token`, a logistic probe of
single tokens, each labelled as its text; `attention`, `multimax`. Penalties are chosen on dev.

Below them the linear probe of pooled activations that validation uses. Selectivity (Hewitt and Liang 2019, §2.1): the
probe's accuracy minus that of the same probe on a control task whose labels are drawn at random, so that only memory
could solve it. Concealment is what the probe reads and the verdict does not say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from superalign.interpretability.aggregation import Pool, States, aggregate, token_states
from superalign.interpretability.probe_fit import L2, attend, linear, mean_direction, token_line
from superalign.models import LocalModel
from superalign.models.words import starts_after
from superalign.stats import auroc
from superalign.training.heads import LinearHead, fit_head

Family = Literal["logistic", "mean-difference", "whitened", "token", "attention", "multimax"]
FAMILIES: tuple[Family, ...] = get_args(Family)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probe:
    """A fitted probe: a text's score is its tokens' scores, aggregated, plus an offset."""

    family: Family
    pool: Pool
    layer: int
    skip: int
    hidden: tuple[str, ...]
    """Words that do not count, since they state the label."""
    values: np.ndarray
    """(heads, width): what a token's state is multiplied with."""
    queries: np.ndarray | None
    """(heads, width), for attention."""
    offset: float
    l2: float
    """The penalty that dev chose; 0 where there is none."""
    transitions: bool = False
    """Does it read them beside the states?"""

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides its scores."""
        found = hashlib.sha256(
            f"{self.pool}{self.layer}{self.skip}{self.hidden}{self.transitions}{self.offset!r}".encode()
        )
        for array in (self.values, self.queries):
            found.update(b"-" if array is None else np.ascontiguousarray(array, dtype=np.float64).tobytes())
        return found.hexdigest()

    def of(self, states: States) -> np.ndarray:
        """(texts,) scores of states that were read. ValueError for states of another layer or width."""
        if states.layer != self.layer or states.values.shape[2] != self.values.shape[1]:
            raise ValueError(
                f"states of layer {states.layer}, width {states.values.shape[2]}: this probe was fitted on layer "
                f"{self.layer}, width {self.values.shape[1]}"
            )
        keys = None if self.queries is None else states.values @ self.queries.T
        return aggregate(states.values @ self.values.T, states.mask, self.pool, keys) + self.offset

    def scores(self, model: LocalModel, texts: Sequence[str]) -> np.ndarray:
        """(texts,) scores, higher for what label 1 was. ValueError for a model of another width."""
        read = {"layer": self.layer, "skip": self.skip, "hidden": self.hidden, "transitions": self.transitions}
        return self.of(token_states(model, texts, **read))  # type: ignore[arg-type]


def train_probe(
    train: States,
    labels: np.ndarray,
    dev: States,
    dev_labels: np.ndarray,
    *,
    family: Family = "logistic",
    pool: Pool = "mean",
    seed: int = 0,
) -> Probe:
    """Fit on `train` with labels (n,) in {0, 1}; the penalty with the highest AUROC on `dev`, ties to the stronger.

    `pool` is the family's own for `attention` and `multimax`. Raises ValueError for one class, other lengths, a family
    or pool that is none.
    """
    y, z = _both(labels, len(train), "train"), _both(dev_labels, len(dev), "dev")
    if family not in FAMILIES:
        raise ValueError(f"family {family!r}: one of {', '.join(FAMILIES)}")
    own: Pool = family if family in ("attention", "multimax") else pool
    if family in ("logistic", "mean-difference", "whitened") and own not in ("mean", "last"):
        raise ValueError(f"{family} reads pooled states, mean or last, not {own!r}: `token` takes the maximum")
    if family in ("mean-difference", "whitened"):
        return _probe(family, own, train, 0.0, *mean_direction(train, y, own, white=family == "whitened"))
    tried = [_penalised(family, own, train, y, l2, seed) for l2 in L2]
    reached = [float(auroc(probe.of(dev), z).value or 0.0) for probe in tried]
    return max(zip(reached, [probe.l2 for probe in tried], tried, strict=True), key=lambda each: each[:2])[2]


def _penalised(family: Family, pool: Pool, train: States, labels: np.ndarray, l2: float, seed: int) -> Probe:
    if family == "logistic":
        return _probe(family, pool, train, l2, *linear(train, labels, pool, l2))
    if family == "token":
        return _probe(family, pool, train, l2, *token_line(train, labels, l2))
    return _probe(family, pool, train, l2, *attend(train, labels, pool, l2, seed))


def _probe(
    family: Family,
    pool: Pool,
    states: States,
    l2: float,
    values: np.ndarray,
    offset: float,
    queries: np.ndarray | None = None,
) -> Probe:
    return Probe(
        family=family,
        pool=pool,
        layer=states.layer,
        skip=states.skip,
        hidden=states.hidden,
        values=values,
        queries=queries,
        offset=offset,
        l2=l2,
        transitions=states.transitions,
    )


def _both(labels: np.ndarray, n: int, name: str) -> np.ndarray:
    y = np.asarray(labels, dtype=np.float64)
    if y.shape != (n,) or set(np.unique(y)) != {0.0, 1.0}:
        raise ValueError(f"{name}: labels of shape {y.shape} for {n} texts, values {np.unique(y)[:4]}: both 0 and 1")
    return y


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledProbe:
    """A fitted linear probe on pooled hidden states of one layer."""

    head: LinearHead
    centre: np.ndarray
    layer: int


def pooled(model: LocalModel, texts: Sequence[str], *, layer: int) -> np.ndarray:
    """Mean and maximum over tokens of one layer's hidden states, author and cue left out: (texts, 2 × width)."""
    states, starts = model.hidden(texts, layer=layer), starts_after(model.tokenizer, texts, 2)
    kept = [each[start:] for each, start in zip(states, starts.tolist(), strict=True)]
    return np.stack([np.concatenate([each.mean(0), each.max(0)]) for each in kept])


def fit_probe(activations: np.ndarray, altered: np.ndarray, *, layer: int, l2: float = 0.01) -> PooledProbe:
    """Fit P(altered) on activations (texts, features) and labels (texts,) in {0, 1}."""
    centre = activations.mean(0)
    head = fit_head(activations - centre, altered.astype(float), l2=l2, steps=160)
    return PooledProbe(head=head, centre=centre, layer=layer)


def probe_scores(probe: PooledProbe, activations: np.ndarray) -> np.ndarray:
    """Log-odds of *altered* for each text."""
    return probe.head.logits(activations - probe.centre)


def control_labels(clusters: Sequence[str], texts: Sequence[str], *, seed: int) -> np.ndarray:
    """Labels of the control task: a coin by the text's first three words, so that train and test agree on them."""
    rng = np.random.default_rng([seed, 3])
    keys = [" ".join(text.split()[2:5]) for text in texts]
    coin = {key: int(rng.integers(2)) for key in sorted(set(keys))}
    return np.array([coin[key] for key in keys])
