"""Scores by judgement: does a window activate, is the highlighted token right, which window is the odd one out?

    shown = shown_windows(sample, seed=0)                       # active windows and others, held out
    detection(shown, predicted)                                 # AUROC, all units at once
    fuzzing(shown, predicted, seed=0)

A judge is anything that gives a number a token, or a window: an offline explainer's prediction, or a language model's
answers (`described`). Positives come from all strengths of activation, not from the top. In fuzzing, wrong highlights
are as many as right ones, drawn at random among tokens of activating windows that do not activate: neither their place
nor their number gives them away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special
from scipy import stats as scipy_stats

from superalign.interpretability.explanation import Explainer, Sample
from superalign.interpretability.windows import RADIUS, Reads, Windows, gathered, teller
from superalign.stats import Interval, binomial_interval
from superalign.stats.interval import refused

ACTIVE = 0.3
"""A token is active from this share of the unit's largest value in the sample, counted from its mean."""
EACH = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """Windows of one site that a judge is shown: half of them active."""

    windows: Windows
    """(2k, units): k active ones, then k others; −1 where a unit has no more."""
    documents: np.ndarray
    """(2k, units); −1 for none."""
    active: np.ndarray
    """(2k, width, units) bool: counted tokens on which the unit is active."""
    counted: np.ndarray
    """(2k, width, units) bool"""
    label: np.ndarray
    """(2k,) bool"""

    @property
    def touched(self) -> int:
        """Windows that are looked at."""
        return int((self.windows.rows >= 0).sum())


class Areas(NamedTuple):
    """AUROC of each unit, (units,) each; NaN where a class is missing. The ends are clustered DeLong, logit t."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    windows: int


def threshold(sample: Sample) -> np.ndarray:
    """(units,) from which a unit counts as active: its mean, and ACTIVE of the way to its largest value."""
    mean = sample.values.mean(0, dtype=np.float64)
    found: np.ndarray = mean + ACTIVE * (sample.values.max(0) - mean)
    return found


def shown_windows(sample: Sample, *, each: int = EACH, radius: int = RADIUS, seed: int) -> Shown:
    """Up to `each` windows at random active tokens of every unit, one a sequence, and as many without any such token.

    A unit that is the same everywhere has none.
    """
    rng = np.random.default_rng([seed, 109])
    limit, units = threshold(sample), sample.site.units
    on = np.zeros((*sample.counted.shape, units), dtype=bool)
    on[sample.counted] = (sample.values > limit) & (np.ptp(sample.values, axis=0) > 0)
    lottery = rng.random((len(sample.rows), sample.corpus.length, 1), dtype=np.float32)
    here = np.where(on, lottery, -1)
    place_on = here.argmax(1)
    has = here.max(1) >= 0
    free = np.where(sample.counted, lottery[:, :, 0], -1).argmax(1)
    near = np.clip(free[:, None] + np.arange(-radius, radius + 1), 0, sample.corpus.length - 1)
    quiet = ~on[np.arange(len(free))[:, None], near].any(1)
    draw = rng.random(has.shape)
    first = _some(sample, has, place_on, draw, each)
    second = _some(sample, quiet, np.broadcast_to(free[:, None], has.shape), 1 - draw, each)
    windows = first.joined(second)
    values, counted = gathered(windows, sample.corpus, recalled(sample), radius=radius)
    there = windows.rows >= 0
    return Shown(
        windows=windows,
        documents=np.where(there, sample.corpus.documents[windows.rows], -1),
        active=counted & (values > limit) & there[:, None],
        counted=counted & there[:, None],
        label=np.arange(len(there)) < len(first.rows),
    )


def _some(sample: Sample, fit: np.ndarray, places: np.ndarray, draw: np.ndarray, each: int) -> Windows:
    """Of the sequences that fit, `each` of the largest draw, unit by unit."""
    order = np.argsort(np.where(fit, -draw, 1), axis=0)[: min(each, len(fit))]
    there = np.take_along_axis(fit, order, axis=0)
    return Windows(rows=np.where(there, sample.rows[order], -1), places=np.take_along_axis(places, order, axis=0))


def recalled(sample: Sample) -> Reads:
    """Reads a sample's sequences from memory; what isn't counted is 0."""
    ends = np.r_[0, np.cumsum(sample.counted.sum(1))]

    def read(rows: np.ndarray) -> np.ndarray:
        at = np.searchsorted(sample.rows, rows)
        found = np.zeros((len(rows), sample.corpus.length, sample.site.units), dtype=np.float32)
        for i, row in enumerate(at):
            found[i, sample.counted[row]] = sample.values[ends[row] : ends[row + 1]]
        return found

    return read


def predicted(shown: Shown, explainer: Explainer, sample: Sample, *, radius: int = RADIUS) -> np.ndarray:
    """(2k, width, units) what an explainer says of the windows."""
    return gathered(shown.windows, sample.corpus, teller(explainer, sample.corpus), radius=radius)[0]


def detection(shown: Shown, told: np.ndarray) -> Areas:
    """Does the window activate? By the largest prediction in it, (2k, width, units)."""
    score = np.where(shown.counted, told, -np.inf).max(1)
    return areas(score, np.broadcast_to(shown.label[:, None], score.shape), shown.documents, windows=shown.touched)


def highlights(shown: Shown, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """((4k, units) windows' numbers, (4k, width, units) bool highlighted): rights, then wrongs, of active windows.

    Each active window is shown twice, with its active tokens and with as many others of it, drawn at random; where it
    has fewer others, with those, and as many of its active ones.
    """
    some = np.flatnonzero(shown.label)
    active, counted = shown.active[some], shown.counted[some]
    draw = np.random.default_rng([seed, 113]).random(active.shape)
    others = counted & ~active
    room = np.minimum(active.sum(1), others.sum(1))[:, None]
    wrong = np.where(others, draw, 2).argsort(1).argsort(1) < room
    right = np.where(active, draw, 2).argsort(1).argsort(1) < room
    return np.concatenate([some, some]), np.concatenate([right, wrong])


def fuzzing(shown: Shown, told: np.ndarray, *, seed: int) -> Areas:
    """Is the highlight right? By the mean prediction, (2k, width, units), at what is highlighted."""
    which, marked = highlights(shown, seed=seed)
    count = marked.sum(1)
    score = np.where(marked, told[which], 0).sum(1) / np.maximum(count, 1)
    label = np.arange(len(which)) < len(which) // 2
    documents = np.where(count > 0, shown.documents[which], -1)
    return areas(score, np.broadcast_to(label[:, None], score.shape), documents, windows=int((documents >= 0).sum()))


def areas(score: np.ndarray, label: np.ndarray, documents: np.ndarray, *, windows: int, level: float = 0.95) -> Areas:
    """AUROC of each column of scores (n, units); entries of document −1 are left out.

    As `stats.auroc`, column by column: ties half, DeLong's variance clustered by document (Obuchowski 1997), t on the
    logit. Where all lie in order, or under two documents do, there are no ends (NaN).
    """
    there = documents >= 0
    positive, negative = there & label, there & ~label
    p, m = positive.sum(0), negative.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        full = _ranked(score, there)
        own = np.where(positive, _ranked(score, positive), _ranked(score, negative))
        placed = full - own  # of the other class, how many lie below
        share = np.where(positive, placed / m, 1 - placed / p)
        area = np.where(positive, share, 0).sum(0) / p
        parts = np.where(positive, (share - area) / p, np.where(negative, (share - area) / m, 0))
        error = np.sqrt(_between(parts, documents, there))
        groups = np.array([len(np.unique(column[column >= 0])) for column in documents.T])
        half = scipy_stats.t.ppf(0.5 + level / 2, np.maximum(groups - 1, 1)) * error / (area * (1 - area))
        middle = special.logit(area)
        low, high = special.expit(middle - half), special.expit(middle + half)
    bounded = (groups > 1) & (area > 0) & (area < 1)
    return Areas(area, np.where(bounded, low, np.nan), np.where(bounded, high, np.nan), windows)


def _ranked(score: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(n, units) mid-ranks from 1 among the entries that are there; others rank above them all."""
    found: np.ndarray = scipy_stats.rankdata(np.where(there, score, np.inf), axis=0)
    if np.isinf(np.where(there, score, 0)).any():
        raise ValueError("a score is infinite: a window without a counted token was scored")
    return found


def _between(parts: np.ndarray, documents: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(units,) Σ over documents of (Σ parts)² · G/(G − 1)."""
    found = np.zeros(parts.shape[1])
    for unit in range(parts.shape[1]):
        kept = there[:, unit]
        sums = np.bincount(documents[kept, unit], weights=parts[kept, unit])
        groups = len(np.unique(documents[kept, unit]))
        found[unit] = (sums**2).sum() * groups / max(1, groups - 1)
    return found


def intruder(likeness: np.ndarray, odd: int) -> bool:
    """Is the window that is least like the others the odd one? `likeness` (windows, windows); the first wins ties."""
    other = likeness - np.diag(np.diag(likeness))
    return int(other.sum(1).argmin()) == odd


def intruders(vectors: np.ndarray, *, rounds: int, seed: int) -> Interval:
    """Share of rounds in which four active windows and a quiet one are told apart, without any explanation.

    `vectors` (2, k, features): of active windows, then of quiet ones. Chance is 1/5, and ties go to the first, whose
    place is random. Measures the unit, not its explanation.
    """
    if vectors.shape[1] < 4:
        return refused(f"{vectors.shape[1]} windows: a round takes four", n=0, clusters=0, method="exact binomial")
    rng, hits = np.random.default_rng([seed, 127]), 0
    norm = vectors / np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-12)
    for _ in range(rounds):
        odd = int(rng.integers(5))
        some = list(norm[0, rng.choice(vectors.shape[1], 4, replace=False)])
        some.insert(odd, norm[1, int(rng.integers(vectors.shape[1]))])
        chosen = np.stack(some)
        hits += intruder(chosen @ chosen.T, odd)
    return binomial_interval(hits, rounds)
