"""White-box probes: what a writer's hidden states tell of what it does, fitted on executed labels.

    probe = fit_probe("linear", organism, steps, labels, layer=2, where="prompt")
    probe.score(others)
    selectivity("linear", {"organism": o, "parent": p, "twin": t}, steps, labels, others, theirs, layer=2)

A probe may only read the trigger's words, which every model's states hold. So the same probe is fitted on the clean
parent and on the twin, given the same texts and labels: what the organism's has above theirs is `selectivity`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from superalign.adversarial.monitors.pooling import attended, fit_attention
from superalign.adversarial.monitors.types import Step, Suspicion
from superalign.models import LocalModel
from superalign.stats import Interval, StatsError, auroc, bootstrap_interval

Kind = Literal["linear", "mean difference", "Mahalanobis", "attention"]
KINDS: tuple[Kind, ...] = ("linear", "mean difference", "Mahalanobis", "attention")
Where = Literal["prompt", "completion"]
"""The state at the prompt's last token, or the mean over the completion's (for `attention`: all of the step's)."""
Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probe:
    """A fitted probe on one layer of one model."""

    model: LocalModel
    kind: Kind
    layer: int
    where: Where
    centre: np.ndarray
    """(width,) taken from every state."""
    weight: np.ndarray
    """(width,) direction; for `Mahalanobis` (width, width), a root of the precision; for `attention` (2, width):
    query and direction."""
    offset: float = 0.0

    @property
    def name(self) -> str:
        """For tables."""
        return f"probe, {self.kind}, layer {self.layer}, {self.where}"

    @property
    def family(self) -> str:
        """Kind of monitor."""
        return "probe"

    @property
    def digest(self) -> str:
        """Over the model's weights, the place that is read, and the probe's numbers."""
        told = hashlib.sha256(f"probe 1 {self.kind} {self.layer} {self.where} {self.model.digest}".encode())
        for part in (self.centre, self.weight, np.float64(self.offset)):
            told.update(np.asarray(part, dtype="<f8").tobytes())
        return told.hexdigest()

    def score(self, steps: Sequence[Step]) -> list[Suspicion]:
        """Log-odds, projection or distance; a step that leaves no state to read has no score."""
        began = time.process_time()
        scores, spans = self.read(states(self.model, steps, layer=self.layer))
        cost = 1000 * (time.process_time() - began) / max(1, len(steps))
        out = []
        for step, score, span in zip(steps, scores, spans, strict=True):
            known = float(score) if np.isfinite(score) else None
            why = "no state to read" if known is None else ""
            tokens = len(step.prompt.split()) + len(step.completion.split())
            out.append(Suspicion(score=known, spans=span, evidence=why, cost_ms=cost, cost_tokens=tokens))
        return out

    def read(self, found: Sequence[States]) -> tuple[np.ndarray, list[Spans]]:
        """(steps,) scores, NaN where there is no state; and the word that attention rests on."""
        spans: list[Spans] = [()] * len(found)
        if self.kind == "attention":
            scores, places = attended([each.all - self.centre for each in found], self.weight, self.offset)
            for i, (each, place) in enumerate(zip(found, places, strict=True)):
                at = place - each.prompt
                spans[i] = ((at, at + 1),) if each.words and at >= 0 else ()
            return scores, spans
        pooled = np.stack([each.pooled(self.where) for each in found]) if found else np.zeros((0, len(self.centre)))
        if self.kind == "Mahalanobis":
            return np.square((pooled - self.centre) @ self.weight).sum(1), spans
        return (pooled - self.centre) @ self.weight + self.offset, spans

    def on(self, model: LocalModel) -> Probe:
        """The same numbers on another model of the same width."""
        return replace(self, model=model)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class States:
    """Hidden states of one step."""

    all: np.ndarray
    """(tokens, width), the prompt's first token to the completion's last."""
    prompt: int
    """Tokens of the prompt."""
    words: bool
    """One token a word, so that a token's place is a word's."""

    def pooled(self, where: Where) -> np.ndarray:
        """(width,): NaN where there is nothing to pool."""
        part = self.all[self.prompt - 1 : self.prompt] if where == "prompt" else self.all[self.prompt :]
        return part.mean(0) if len(part) else np.full(self.all.shape[1], np.nan)


def states(model: LocalModel, steps: Sequence[Step], *, layer: int) -> list[States]:
    """Hidden states of steps at a layer, in float64; end-of-text is left out."""
    from superalign.models.words import one_token_a_word

    if not 0 <= layer <= model.layers:
        raise ValueError(f"{model.name} has states 0 to {model.layers}, not {layer}")
    eos = model.tokenizer.eos_token_id
    texts = [f"{step.prompt} {step.completion}" for step in steps]
    ends = [len(ids) - (bool(ids) and ids[-1] == eos) for ids in model.encode(texts)]
    prompts = [len(ids) - (bool(ids) and ids[-1] == eos) for ids in model.encode([step.prompt for step in steps])]
    words = one_token_a_word(model.tokenizer)
    return [
        States(all=found[:end].astype(np.float64), prompt=begin, words=words)
        for found, end, begin in zip(model.hidden(texts, layer=layer), ends, prompts, strict=True)
    ]


def fit_probe(
    kind: Kind,
    model: LocalModel,
    steps: Sequence[Step],
    labels: Sequence[bool],
    *,
    layer: int,
    where: Where = "prompt",
    seed: int = 0,
) -> Probe:
    """A probe of a kind, fitted to a model's states at a layer; `labels` say which steps acted, by what ran.

    `linear`: ridge logistic regression on standardised states. `mean difference`: acted minus not, whitened by nothing.
    `Mahalanobis`: distance from the steps that did not act, covariance shrunk (Ledoit, Wolf 2004); labels of others
    are not used. `attention`: softmax pooling by a learned query, then a direction.
    Raises ValueError for one class only, or numbers that differ.
    """
    target = np.asarray(labels, dtype=bool)
    if len(target) != len(steps):
        raise ValueError(f"{len(steps)} steps and {len(target)} labels: give one label a step")
    if target.all() or not target.any():
        raise ValueError(f"{int(target.sum())} of {len(target)} steps acted: a probe needs both classes")
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r} of a probe: use one of {', '.join(KINDS)}")
    found = states(model, steps, layer=layer)
    centre, weight, offset = _fitted(kind, found, target, where, seed)
    return Probe(model=model, kind=kind, layer=layer, where=where, centre=centre, weight=weight, offset=offset)


def _fitted(
    kind: Kind, found: Sequence[States], target: np.ndarray, where: Where, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    if kind == "attention":
        return fit_attention([each.all for each in found], target, seed=seed)
    pooled = np.stack([each.pooled(where) for each in found])
    fine = np.isfinite(pooled).all(1)
    pooled, target = pooled[fine], target[fine]
    if kind == "Mahalanobis":
        from sklearn.covariance import LedoitWolf

        usual = LedoitWolf().fit(pooled[~target])
        return usual.location_, np.linalg.cholesky(usual.precision_), 0.0
    if kind == "mean difference":
        return pooled.mean(0), pooled[target].mean(0) - pooled[~target].mean(0), 0.0
    from sklearn.linear_model import LogisticRegression

    centre, scale = pooled.mean(0), pooled.std(0) + 1e-6
    fitted = LogisticRegression(C=0.1, max_iter=1_000).fit((pooled - centre) / scale, target)
    return centre, fitted.coef_[0] / scale, float(fitted.intercept_[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Selectivity:
    """How well the same probe does on the organism and on models that never act, given the same texts."""

    kind: Kind
    layer: int
    where: Where
    areas: Mapping[str, Interval]
    """Model → AUROC on held-out steps."""
    above: Mapping[str, Interval]
    """Control → the organism's AUROC minus the control's, on the same steps."""


def selectivity(
    kind: Kind,
    models: Mapping[str, LocalModel],
    steps: Sequence[Step],
    labels: Sequence[bool],
    held: Sequence[Step],
    theirs: Sequence[bool],
    *,
    layer: int,
    where: Where = "prompt",
    seed: int = 0,
    draws: int = 400,
) -> Selectivity:
    """The probe fitted on each of `models` (the first is the organism, others are controls), with the same labels.

    Intervals over clusters of the held-out steps; differences are paired. A step without a score counts as unlike: it
    gets the lowest score. Raises ValueError for one class among labels.
    """
    truth, clusters = np.asarray(theirs, dtype=bool), [step.cluster or str(i) for i, step in enumerate(held)]
    scores = {}
    for name, model in models.items():
        probe = fit_probe(kind, model, steps, labels, layer=layer, where=where, seed=seed)
        found = np.array([np.nan if s.score is None else s.score for s in probe.score(held)])
        scores[name] = np.where(np.isnan(found), np.nanmin(found, initial=0.0), found)
    first, *controls = scores
    areas = {name: auroc(found, truth, clusters=clusters) for name, found in scores.items()}

    def more(control: str) -> Interval:
        def statistic(rows: np.ndarray) -> float:
            try:
                mine, other = (auroc(scores[name][rows], truth[rows]).value for name in (first, control))
            except StatsError:
                return float("nan")
            return float("nan") if mine is None or other is None else mine - other

        return bootstrap_interval(statistic, len(truth), clusters=clusters, method="percentile", seed=seed, draws=draws)

    return Selectivity(kind=kind, layer=layer, where=where, areas=areas, above={name: more(name) for name in controls})
