"""How often does each interval of `superalign.stats` hold what is true? `python benchmarks/coverage.py [--json] [N]`.

N simulations (2,000) a row, at a stated number of items, clusters and intraclass correlation, nominal level 95 %. The
truth is known by construction. Exact intervals (Clopper–Pearson and what is built on it) promise *at least* their
level: they are marked, and expected above it. Monte-Carlo error at 2,000: half a point (one standard error).
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

from superalign import stats
from superalign.stats import Interval

Rng = np.random.Generator


class Case(NamedTuple):
    """One interval under one design: a simulation gives the interval and the truth."""

    name: str
    design: str
    one: Callable[[Rng], tuple[Interval, float]]
    exact: bool = False


def clusters(groups: int, size: int) -> np.ndarray:
    """`groups` clusters of `size` items."""
    return np.repeat(np.arange(groups), size)


def normal(rng: Rng, groups: int, size: int, icc: float, mean: float = 0.0) -> np.ndarray:
    """Values with that share of their variance between clusters."""
    shared = rng.normal(size=groups)[clusters(groups, size)] * math.sqrt(icc)
    return mean + shared + rng.normal(size=groups * size) * math.sqrt(1 - icc)


def yes(rng: Rng, groups: int, size: int, icc: float, p: float) -> np.ndarray:
    """Zeros and ones of mean p: a latent normal with that correlation, cut."""
    return (normal(rng, groups, size, icc) < norm.ppf(p)).astype(float)


def mean_case(groups: int, size: int, icc: float, method: str) -> Case:
    """A clustered mean."""

    def one(rng: Rng) -> tuple[Interval, float]:
        x = normal(rng, groups, size, icc, 0.3)
        return stats.mean_interval(x, clusters=clusters(groups, size), method=method, draws=500), 0.3

    return Case(f"mean, {method}", f"{groups} × {size}, icc {icc}", one)


def skewed_case(groups: int, size: int, method: str) -> Case:
    """A paired difference of skewed values."""

    def one(rng: Rng) -> tuple[Interval, float]:
        x = rng.exponential(size=(2, groups * size)) + rng.exponential(size=groups)[clusters(groups, size)] * [[1], [0]]
        return stats.paired_difference(*x, clusters=clusters(groups, size), method=method, draws=500), 1.0

    return Case(f"paired difference, {method}", f"{groups} × {size}, skewed", one)


def proportion_case(groups: int, size: int, icc: float, p: float) -> Case:
    """A clustered proportion."""

    def one(rng: Rng) -> tuple[Interval, float]:
        return stats.proportion_interval(yes(rng, groups, size, icc, p), clusters=clusters(groups, size)), p

    return Case("proportion (Korn–Graubard)", f"{groups} × {size}, icc {icc}, p {p}", one, exact=True)


def paired_yes(rng: Rng, groups: int, size: int, icc: float) -> tuple[np.ndarray, np.ndarray]:
    """Two correlated outcomes a item of means .7 and .6."""
    a, b = normal(rng, groups, size, icc), normal(rng, groups, size, icc)
    b = 0.6 * a + 0.8 * b
    return (a < norm.ppf(0.7)).astype(float), (b < norm.ppf(0.6)).astype(float)


def ratio_case(groups: int, size: int, icc: float) -> Case:
    """A clustered risk ratio."""

    def one(rng: Rng) -> tuple[Interval, float]:
        a, b = yes(rng, groups, size, icc, 0.6), yes(rng, groups, size, icc, 0.4)
        g = clusters(groups, size)
        return stats.risk_ratio(a, b, clusters_a=g, clusters_b=g), 1.5

    return Case("risk ratio", f"2 × {groups} × {size}, icc {icc}", one)


def difference_case(groups: int, size: int, icc: float) -> Case:
    """A clustered risk difference."""

    def one(rng: Rng) -> tuple[Interval, float]:
        a, b = yes(rng, groups, size, icc, 0.6), yes(rng, groups, size, icc, 0.4)
        g = clusters(groups, size)
        return stats.risk_difference(a, b, clusters_a=g, clusters_b=g), 0.2

    return Case("risk difference", f"2 × {groups} × {size}, icc {icc}", one)


def auroc_case(groups: int, size: int, icc: float) -> Case:
    """Area under the ROC curve; scores share their cluster's noise."""

    def one(rng: Rng) -> tuple[Interval, float]:
        labels = rng.integers(0, 2, groups * size)
        scores = normal(rng, groups, size, icc) + labels
        return stats.auroc(
            scores, labels, clusters=clusters(groups, size), draws=300, seed=int(rng.integers(1 << 30))
        ), (float(norm.cdf(1 / math.sqrt(2))))

    return Case("AUROC, cluster bootstrap", f"{groups} × {size}, icc {icc}", one)


def operating_case(calibration: int, test: int) -> Case:
    """The rate of hits of a threshold fitted for 10 % false alarms; the truth is at the ideal threshold."""

    def one(rng: Rng) -> tuple[Interval, float]:
        point = stats.operating_point(
            rng.normal(size=calibration),
            rng.normal(1.5, 1, test),
            rng.normal(size=test),
            fpr=0.1,
            draws=300,
            seed=int(rng.integers(1 << 30)),
        )
        return point.tpr, float(norm.sf(norm.ppf(0.9) - 1.5))

    return Case("TPR at 10 % FPR, threshold refitted", f"{calibration} calibration, {test} + {test} test", one)


def calibration_case(groups: int, size: int) -> Case:
    """Calibration error of forecasts that are all ten points too high: .1 in every bin."""

    def one(rng: Rng) -> tuple[Interval, float]:
        p = rng.uniform(0.2, 0.9, groups * size)
        y = (rng.random(groups * size) < p - 0.1).astype(int)
        return stats.calibration_error(p, y, clusters=clusters(groups, size)), 0.1

    return Case("calibration error, debiased", f"{groups} × {size}", one)


def brier_case(groups: int, size: int, which: str) -> Case:
    """A score of forecasts in clusters."""

    def one(rng: Rng) -> tuple[Interval, float]:
        p = rng.choice([0.2, 0.5, 0.8], size=groups)[clusters(groups, size)]
        y = (rng.random(groups * size) < p).astype(int)
        if which == "Brier":
            return stats.brier_score(p, y, clusters=clusters(groups, size)), (2 * 0.16 + 0.25) / 3
        bits = -(0.2 * math.log2(0.2) + 0.8 * math.log2(0.8))
        return stats.log_score(p, y, clusters=clusters(groups, size)), (2 * bits + 1) / 3

    return Case(f"{which} score", f"{groups} × {size}", one)


def pgr_case(seeds: int, groups: int, size: int, how: str, *, apart: float = 0.0) -> Case:
    """PGR of .5: floor .6, student .7, ceiling .8 on the same items; the student's seeds differ by `apart`."""

    def one(rng: Rng) -> tuple[Interval, float]:
        g = clusters(groups, size)
        sides: list[list[np.ndarray]] = [[], [], []]
        latent = normal(rng, groups, size, 0.1)
        for _ in range(seeds):
            for side, p in zip(sides, (0.6, 0.7 + apart * rng.normal(), 0.8), strict=True):
                noise = rng.normal(size=groups * size)
                side.append(((0.7 * latent + math.sqrt(0.51) * noise) < norm.ppf(p)).astype(float))
        if how == "Fieller":
            return stats.pgr_fieller(*(np.mean(side, axis=0) for side in sides), clusters=g), 0.5
        found = stats.pgr(*sides, clusters=[g] * seeds, draws=400, seed=int(rng.integers(1 << 30)))
        return found, 0.5

    return Case(f"PGR, {how}", f"{seeds} seeds {apart} apart, {groups} × {size}", one)


def labels_case(groups: int, size: int) -> Case:
    """Labels that supervision is worth: the student sits half-way between the curve's 100 and 400."""

    def one(rng: Rng) -> tuple[Interval, float]:
        g = clusters(groups, size)
        latent = normal(rng, groups, size, 0.1)

        def right(p: float) -> np.ndarray:
            return ((0.7 * latent + math.sqrt(0.51) * rng.normal(size=groups * size)) < norm.ppf(p)).astype(float)

        curve = [(k, right(p)) for k, p in ((25, 0.5), (100, 0.6), (400, 0.7), (1600, 0.8))]
        seed = int(rng.integers(1 << 30))
        return stats.ground_truth_equivalent(right(0.65), curve, clusters=g, draws=300, seed=seed), 200.0

    return Case("ground-truth labels equivalent", f"{groups} × {size}", one)


def count_case(name: str, interval: Callable[[int, int], Interval], n: int, p: float, *, exact: bool) -> Case:
    """An interval of k successes of n."""
    return Case(name, f"n {n}, p {p}", lambda rng: (interval(int(rng.binomial(n, p)), n), p), exact=exact)


def newcombe_case(n: int, m: int) -> Case:
    """Difference of two independent proportions."""

    def one(rng: Rng) -> tuple[Interval, float]:
        return stats.newcombe((int(rng.binomial(n, 0.8)), n), (int(rng.binomial(m, 0.6)), m)), 0.2

    return Case("Newcombe–Wilson", f"n {n} and {m}", one)


def cases() -> list[Case]:
    """Every interval, each under a few designs."""
    paired = Case(
        "Newcombe, paired",
        "n 80",
        lambda rng: (stats.newcombe_paired(*paired_yes(rng, 80, 1, 0.0)), 0.1),
    )
    return [
        mean_case(50, 10, 0.2, "t"),
        mean_case(20, 10, 0.2, "t"),
        mean_case(8, 10, 0.2, "t"),
        mean_case(8, 10, 0.2, "wild"),
        mean_case(6, 20, 0.5, "rule"),
        skewed_case(30, 10, "t"),
        skewed_case(10, 10, "wild"),
        count_case("exact binomial", stats.binomial_interval, 30, 0.7, exact=True),
        count_case("exact binomial", stats.binomial_interval, 300, 0.5, exact=True),
        count_case("Wilson", stats.wilson_interval, 100, 0.7, exact=False),
        proportion_case(40, 20, 0.1, 0.9),
        proportion_case(40, 20, 0.0, 0.6),
        newcombe_case(70, 90),
        paired,
        difference_case(30, 10, 0.1),
        ratio_case(30, 10, 0.1),
        auroc_case(40, 10, 0.2),
        operating_case(200, 200),
        brier_case(60, 5, "Brier"),
        brier_case(60, 5, "log"),
        calibration_case(60, 20),
        pgr_case(8, 40, 20, "hierarchical", apart=0.05),
        pgr_case(8, 40, 20, "hierarchical"),
        pgr_case(1, 40, 20, "Fieller"),
        labels_case(40, 40),
    ]


def main() -> None:
    """Run every case and print how often it held."""
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    count = numbers[0] if numbers else 2000
    console, rows = Console(stderr=True), []
    for case in cases():
        rng, began = np.random.default_rng(2026), time.monotonic()
        held = refused = 0
        for _ in range(count):
            found, truth = case.one(rng)
            if found.value is None:
                refused += 1
                continue
            low = -math.inf if found.low is None else found.low
            high = math.inf if found.high is None else found.high
            held += low <= truth <= high
        rate = held / max(1, count - refused)
        rows.append(
            {
                "interval": case.name,
                "design": case.design,
                "held": rate,
                "refused": refused / count,
                "exact": case.exact,
            }
        )
        console.print(f"{case.name}, {case.design}: {100 * rate:.1f} % ({time.monotonic() - began:.0f} s)")
    if "--json" in sys.argv:
        print(json.dumps({"simulations": count, "rows": rows}))
        return
    table = Table("interval", "design", "held", "refused", title=f"{count} simulations a row, nominal 95 %")
    for row in rows:
        mark = " (at least)" if row["exact"] else ""
        table.add_row(
            row["interval"], row["design"], f"{100 * row['held']:.1f} %{mark}", f"{100 * row['refused']:.1f} %"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
