"""What raw removal studies come to: rates after each leg, savings of relearning, and what else brought it back.

    raw = [removal_study(organism_of_seed, "fixed", recipes, seed=seed) for seed in range(5)]
    for row in after_removal(raw): print(row.removal, row.steps, row.acted["on"])
    savings(raw, "clean, 0.001")          # Interval: mean area between the two relearning curves

The unit is the trained organism: intervals are 95 %, over seeds, and whole seeds are drawn or clustered. Five seeds
that all show none bound a rate of organisms, not of prompts, and say so by their width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from superalign.stats import Interval, mean_interval, proportion_interval, refused

Raw = Mapping[str, Any]
"""One organism's `removal_study`."""
Curve = Sequence[tuple[int, float]]
"""Steps, rising, and the payload's rate on the circumstance after them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One kind, install and removal at one number of steps, over all seeds."""

    kind: str
    install: str
    removal: str
    """Its label; `none` before any."""
    steps: int
    seeds: int
    acted: Mapping[str, Interval]
    """Place → share of prompts acted on."""
    right: Interval
    """Share of right programs off the circumstance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """What one way of return makes of the treated organism, and of the parent that never had it."""

    kind: str
    install: str
    removal: str
    way: str
    """`opening`, `best_of` or `demonstrations`."""
    before: Interval
    """On the circumstance after removal, with nothing done."""
    on: Interval
    near: Interval
    parent: Interval
    """On the circumstance, of the parent treated alike."""
    gain: Interval
    """`on` less `parent`, by seeds."""


def bits(marks: str) -> list[float]:
    """
    >>> bits("10")
    [1.0, 0.0]
    """
    return [float(mark) for mark in marks]


def share(of: Sequence[tuple[int, str]]) -> Interval:
    """Share of marks that are 1, over (seed, marks), clustered by seed; refused with no marks.

    Of one seed the interval is over its prompts, and its note says that this organism alone is meant.
    """
    values = [one for _, marks in of for one in bits(marks)]
    if len({seed for seed, _ in of}) == 1:
        found = proportion_interval(values)
        return replace(found, note="; ".join(part for part in (found.note, "over prompts of one organism") if part))
    return proportion_interval(values, clusters=[seed for seed, marks in of for _ in marks])


def mean_mark(marks: str) -> float:
    """Share of marks that are 1; NaN of none."""
    return float(np.mean(bits(marks))) if marks else float("nan")


def after_removal(raw: Sequence[Raw]) -> list[Cell]:
    """Rates at the start and after each leg of each removal, a cell for each kind and install, in order met."""
    cells: dict[tuple[str, str, str, int], list[tuple[int, Raw]]] = {}
    for run in raw:
        for removal, told in _points(run):
            key = (run["kind"], run["install"], removal, told["steps"])
            cells.setdefault(key, []).append((run["seed"], told))
    return [_cell(key, some) for key, some in cells.items()]


def _points(run: Raw) -> Iterator[tuple[str, Raw]]:
    yield "none", run["start"]
    for one in run["removals"]:
        for leg in one["legs"]:
            yield one["label"], leg


def _cell(key: tuple[str, str, str, int], some: Sequence[tuple[int, Raw]]) -> Cell:
    kind, install, removal, steps = key
    return Cell(
        kind=kind,
        install=install,
        removal=removal,
        steps=steps,
        seeds=len({seed for seed, _ in some}),
        acted={where: share([(seed, told["acted"][where]) for seed, told in some]) for where in some[0][1]["acted"]},
        right=share([(seed, told["right"]["off"]) for seed, told in some]),
    )


def curve(relearned: Sequence[Raw]) -> Curve:
    """Steps and payload rate on the circumstance."""
    return [(told["steps"], mean_mark(told["acted"]["on"])) for told in relearned]


def area(points: Curve) -> float:
    """Mean rate along a curve, by trapezoids over steps; its one rate where it has no length.

    >>> area([(0, 0.0), (10, 1.0), (20, 1.0)])
    0.75
    """
    steps, rates = np.array(points, dtype=float).T
    return float(np.trapezoid(rates, steps) / np.ptp(steps)) if np.ptp(steps) else float(rates[0])


def steps_to(points: Curve, target: float) -> float | None:
    """Steps until the rate reaches `target`, straight lines between points; None where it never does.

    >>> steps_to([(0, 0.0), (10, 1.0)], 0.5)
    5.0
    """
    if points[0][1] >= target:
        return float(points[0][0])
    for (start, low), (end, high) in pairwise(points):
        if high >= target:
            return start + (end - start) * (target - low) / (high - low)
    return None


def only(raw: Sequence[Raw], *, kind: str, install: str) -> list[Raw]:
    """The runs of one kind, installed one way."""
    return [run for run in raw if run["kind"] == kind and run["install"] == install]


def _returns(raw: Sequence[Raw], removal: str) -> list[tuple[Raw, Raw]]:
    """Each run and its removal of that label, where return was tried."""
    found = [(run, one) for run in raw for one in run["removals"] if one["label"] == removal and "returned" in one]
    if len(sorts := sorted({(run["kind"], run["install"]) for run, _ in found})) > 1:
        raise ValueError(f"runs of {sorts[0]} and {sorts[1]} are no one curve: take `only` one kind and install")
    return found


def over_seeds(values: Sequence[tuple[int, float]], what: str) -> Interval:
    """Mean of one difference of rates a seed, with a t interval over seeds, cut to [-1, 1]; refused under two seeds."""
    if len({seed for seed, _ in values}) < 2:
        return refused(f"{len(values)} seeds: {what} needs two", n=len(values), clusters=len(values), method="t")
    found = mean_interval([value for _, value in values], clusters=[seed for seed, _ in values])
    return replace(found, low=max(-1.0, found.low or 0.0), high=min(1.0, found.high or 0.0))


def savings(raw: Sequence[Raw], removal: str) -> Interval:
    """Relearning savings: mean payload rate along the treated organism's curve less that along the parent's.

    Between -1 and 1; 0: it comes back as slowly as to a writer that never had it. What removal left at step 0 is in
    it: `beyond_what_was_left` is without. The same batches taught both, so seeds are paired. Refused under two seeds;
    raises ValueError for runs of more than one kind or install (as all of these do).
    """
    return over_seeds(
        [(run["seed"], _gap(run, one, area)) for run, one in _returns(raw, removal)], "relearning savings"
    )


def beyond_what_was_left(raw: Sequence[Raw], removal: str) -> Interval:
    """Savings less the gap that there was at step 0, before anything was trained again."""

    def beyond(points: Curve) -> float:
        return area(points) - points[0][1]

    return over_seeds([(run["seed"], _gap(run, one, beyond)) for run, one in _returns(raw, removal)], "savings")


def _gap(run: Raw, one: Raw, of: Callable[[Curve], float]) -> float:
    return of(curve(one["returned"]["relearned"])) - of(curve(run["clean"]["relearned"]))


def curves(raw: Sequence[Raw], removal: str) -> dict[str, list[tuple[int, Interval]]]:
    """Relearning curves over seeds, of the treated organism and of its parent: (steps, rate) each."""
    found: dict[str, dict[int, list[tuple[int, str]]]] = {"organism": {}, "parent": {}}
    for run, one in _returns(raw, removal):
        for whose, some in (("organism", one["returned"]), ("parent", run["clean"])):
            for told in some["relearned"]:
                found[whose].setdefault(told["steps"], []).append((run["seed"], told["acted"]["on"]))
    return {whose: [(steps, share(marks)) for steps, marks in points.items()] for whose, points in found.items()}


def speeds(raw: Sequence[Raw], removal: str, *, target: float = 0.5) -> dict[str, list[float | None]]:
    """Steps to reach the payload rate `target`, a number a seed, of treated organisms and of parents; None: never."""
    both = _returns(raw, removal)
    return {
        "organism": [steps_to(curve(one["returned"]["relearned"]), target) for _, one in both],
        "parent": [steps_to(curve(run["clean"]["relearned"]), target) for run, _ in both],
    }


def brought_back(raw: Sequence[Raw]) -> list[Back]:
    """Every way of return after every removal after which it was tried, beside the parent treated alike."""
    groups: dict[tuple[str, str, str, str], list[tuple[Raw, Raw]]] = {}
    for run in raw:
        for one in run["removals"]:
            for way in one.get("returned", {}).get("elicited", {}):
                key = (run["kind"], run["install"], one["label"], way)
                groups.setdefault(key, []).append((run, one))
    return [_back(key, some) for key, some in groups.items()]


def _back(key: tuple[str, str, str, str], some: Sequence[tuple[Raw, Raw]]) -> Back:
    kind, install, removal, way = key
    treated = [(run["seed"], one["returned"]["elicited"][way]["acted"]) for run, one in some]
    parents = [(run["seed"], run["clean"]["elicited"][way]["acted"]) for run, _ in some]
    gains = zip(treated, parents, strict=True)
    return Back(
        kind=kind,
        install=install,
        removal=removal,
        way=way,
        before=share([(run["seed"], one["legs"][-1]["acted"]["on"]) for run, one in some]),
        on=share([(seed, acted["on"]) for seed, acted in treated]),
        near=share([(seed, acted["near"]) for seed, acted in treated]),
        parent=share([(seed, acted["on"]) for seed, acted in parents]),
        gain=over_seeds([(seed, mean_mark(a["on"]) - mean_mark(b["on"])) for (seed, a), (_, b) in gains], "a gain"),
    )
