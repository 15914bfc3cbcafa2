"""Hold-outs that many ask: what a held-out number may be answered with, so that asking does not wear it out.

Three mechanisms, as pure functions of what was asked before (all of it is in the ledger) and of secret noise:

- `ladder` (Blum and Hardt 2015, 1502.04585, §3), for `dev`: a subject's own mean is released only where it beats the
  best so far by more than one standard error of their paired difference; everyone else hears the best again.
  1607.00091 attacks it on small samples, so the standard error is clustered and the released value rounded to it.
- `thresholdout` (Dwork et al. 2015, 1506.02629, Figure 2), for `validation`: the analyst's own number comes back
  unless the hold-out contradicts it by more than a noisy threshold; only contradictions are charged, with noise.
- `single-shot`, for `test`: one number, for a plan written before, and then it is burned.

Noise is Laplace, drawn from HMAC-SHA256 of a sealed key, so that an auditor who may open the seal draws it again.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import BadEvent, refusal

DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "ladder": {"steps": 1.0},
    "thresholdout": {"threshold": 0.04, "noise": 0.01},
    "single-shot": {},
}
BOUNDS: Mapping[str, tuple[float, float]] = {"steps": (0.5, 10.0), "threshold": (0.01, 0.2), "noise": (0.002, 0.1)}
"""What a setting may be: less would release exact means, more would never contradict anybody."""
ALLOWED: Mapping[str, int] = {"ladder": 1000, "thresholdout": 10, "single-shot": 1}
"""Answers that cost something, unless the budget says otherwise."""
ROLE_OF: Mapping[str, str] = {"ladder": "dev", "thresholdout": "validation", "single-shot": "test"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the evaluator knows and nobody else sees: a subject's value on every item, and the items' clusters."""

    values: tuple[float, ...]
    clusters: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.clusters) or not self.values:
            raise BadEvent(f"{len(self.values)} values in {len(self.clusters)} clusters: pass one value an item")
        if not all(math.isfinite(v) for v in self.values):
            raise BadEvent("a value is NaN or infinite: a failed item counts with a value, it is never dropped")

    @property
    def mean(self) -> float:
        """Mean over the items."""
        return math.fsum(self.values) / len(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What the asker hears."""

    value: float
    fresh: bool
    """It says something about the hold-out, and was charged; otherwise it repeats what the asker knew."""
    left: int
    """Charged answers that remain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One earlier query of the same family, opened by the evaluator."""

    answers: Answers
    release: Release


def answer(
    mechanism: str,
    answers: Answers,
    *,
    reference: float | None,
    before: Sequence[Asked],
    allowed: int,
    settings: Mapping[str, float],
    key: bytes,
) -> Release:
    """What to tell the asker of `answers`, given all that was asked `before`; deterministic in `key`.

    `reference` is the asker's own number (thresholdout). Raises FirewallError (rule "budget") when nothing is left.

    >>> two = Answers(values=(1.0, 0.0), clusters=("a", "b"))
    >>> answer("single-shot", two, reference=None, before=(), allowed=1, settings={}, key=b"").value
    0.5
    """
    spent = sum(asked.release.fresh for asked in before)
    if spent >= allowed:
        raise refusal(
            "budget",
            f"all {allowed} answers of this hold-out are spent",
            f"{len(before)} queries, {spent} of them charged",
            "validate on a family that nobody has asked yet; a burned one stays burned",
        )
    left = allowed - spent
    match mechanism:
        case "ladder":
            value, fresh = _ladder(answers, before, settings)
        case "thresholdout":
            value, fresh = _thresholdout(answers.mean, reference, before, settings, key)
        case "single-shot":
            value, fresh = answers.mean, True
        case _:
            raise BadEvent(f"{mechanism!r} is no mechanism: use one of {', '.join(ALLOWED)}")
    return Release(value=value, fresh=fresh, left=left - fresh)


def laplace(key: bytes, what: str, scale: float) -> float:
    """One draw of Laplace noise of that scale, named by `what`: the same key and name give the same draw.

    >>> laplace(b"k", "query 3", 0.01) == laplace(b"k", "query 3", 0.01)
    True
    """
    raw = int.from_bytes(hmac.new(key, what.encode(), hashlib.sha256).digest()[:7], "big") >> 3
    uniform = (raw + 0.5) / 2**53 - 0.5
    return -scale * math.copysign(math.log1p(-2 * abs(uniform)), uniform)


def paired_error(a: Answers, b: Answers) -> float:
    """Clustered standard error of the mean of a − b; with one cluster only, infinity: nothing can be told."""
    if a.clusters != b.clusters:
        raise BadEvent("two subjects were asked on different items: a hold-out has one list of items")
    names = sorted(set(a.clusters))
    if len(names) < 2:
        return math.inf
    mean = a.mean - b.mean
    sums = dict.fromkeys(names, 0.0)
    for cluster, x, y in zip(a.clusters, a.values, b.values, strict=True):
        sums[cluster] += x - y - mean
    return math.sqrt(math.fsum(s * s for s in sums.values()) * len(names) / (len(names) - 1)) / len(a.values)


def _ladder(answers: Answers, before: Sequence[Asked], settings: Mapping[str, float]) -> tuple[float, bool]:
    best = next((asked for asked in reversed(before) if asked.release.fresh), None)
    if best is None:
        return answers.mean, True
    step = settings["steps"] * paired_error(answers, best.answers)
    if answers.mean <= best.answers.mean + step:
        return best.release.value, False
    return (round(answers.mean / step) * step if step else answers.mean), True


def _thresholdout(
    held: float, reference: float | None, before: Sequence[Asked], settings: Mapping[str, float], key: bytes
) -> tuple[float, bool]:
    if reference is None:
        raise BadEvent("thresholdout compares with the asker's own number: pass `reference`, measured on dev")
    charged = sum(asked.release.fresh for asked in before)
    noise = settings["noise"]
    bar = settings["threshold"] + laplace(key, f"threshold {charged}", 2 * noise)
    if abs(held - reference) <= bar + laplace(key, f"comparison {len(before)}", 4 * noise):
        return reference, False
    return held + laplace(key, f"release {len(before)}", noise), True


def checked_settings(mechanism: str, settings: Mapping[str, Any]) -> dict[str, float]:
    """The mechanism's settings, defaults filled in; BadEvent for an unknown one or a value that isn't positive."""
    known = DEFAULTS.get(mechanism, {})
    odd = sorted(set(settings) - set(known))
    if odd:
        raise BadEvent(f"{mechanism} has no setting {odd[0]!r}: it has {', '.join(known) or 'none'}")
    filled = {name: settings.get(name, value) for name, value in known.items()}
    for name, value in filled.items():
        low, high = BOUNDS[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise BadEvent(f"{mechanism}: {name} = {value!r:.40} must be a number from {low} to {high}")
    return {name: float(value) for name, value in filled.items()}
