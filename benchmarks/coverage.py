"""How often does each interval of `superalign.stats` hold what is true? `python benchmarks/coverage.py [--json] [N]`.

N simulations (2,000) a row, at a stated number of items, clusters and intraclass correlation, nominal level 95 %. The
truth is known by construction. Intervals that promise *at least* their level (exact ones, and the plain calibration
error) are marked, and expected above it. Monte-Carlo error at 2,000: half a point (one standard error). Refusals are
counted apart: a row is over the intervals that were given.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

from superalign import stats
from superalign.stats import Interval

Rng = np.random.Generator
Found = dict[str, tuple[Interval, float]]
"""Name of an interval → what it said, and the truth."""
AT_LEAST = ("exact binomial", "proportion", "calibration error, plain")


class Case(NamedTuple):
    """One design: a simulation gives one or more intervals, each with the truth."""

    design: str
    one: Callable[[Rng], Found]
    slow: bool = False


def even(groups: int, size: int) -> np.ndarray:
    """Labels of `groups` clusters of `size` items."""
    return np.repeat(np.arange(groups), size)


def uneven(rng: Rng, groups: int) -> np.ndarray:
    """Labels of clusters of 2 to about 50 items, ten on average."""
    return np.repeat(np.arange(groups), np.maximum(2, np.round(7 * rng.lognormal(0, 0.8, groups))).astype(int))


def normal(rng: Rng, labels: np.ndarray, icc: float) -> np.ndarray:
    """Standard normal values with that share of their variance between clusters."""
    shared = rng.normal(size=labels.max() + 1)[labels]
    return shared * math.sqrt(icc) + rng.normal(size=len(labels)) * math.sqrt(1 - icc)


def yes(rng: Rng, labels: np.ndarray, icc: float, p: float) -> np.ndarray:
    """Zeros and ones of mean p: a latent normal with that correlation, cut."""
    return (normal(rng, labels, icc) < norm.ppf(p)).astype(float)


def seed_of(rng: Rng) -> int:
    """A seed for the function's own draws."""
    return int(rng.integers(1 << 30))


def means() -> Iterator[Case]:
    """Clustered means and paired differences: t, wild bootstrap, and the rule between them."""
    for groups in (50, 20, 8):
        labels = even(groups, 10)
        yield Case(
            f"normal, {groups} × 10, icc .2",
            lambda rng, g=labels: {
                "mean, t": (stats.mean_interval(normal(rng, g, 0.2), clusters=g), 0.0),
            },
        )

    def skewed(groups: int, methods: tuple[str, ...]) -> Callable[[Rng], Found]:
        g = even(groups, 10)

        def one(rng: Rng) -> Found:
            a, b = rng.exponential(size=(2, 10 * groups))
            a += rng.exponential(size=groups)[g]
            return {
                f"paired difference, {m}": (stats.paired_difference(a, b, clusters=g, method=m, draws=500), 1.0)
                for m in methods
            }

        return one

    yield Case("exponential, 50 × 10, icc .25", skewed(50, ("t",)))
    yield Case("exponential, 10 × 10, icc .25", skewed(10, ("t", "wild")), slow=True)

    def unequal(groups: int, methods: tuple[str, ...]) -> Callable[[Rng], Found]:
        def one(rng: Rng) -> Found:
            g = uneven(rng, groups)
            x = yes(rng, g, 0.2, 0.8)
            return {f"mean, {m}": (stats.mean_interval(x, clusters=g, method=m, draws=500), 0.8) for m in methods}

        return one

    yield Case("zeros and ones (.8), 60 uneven clusters, icc .2", unequal(60, ("t",)))
    yield Case("zeros and ones (.8), 20 uneven clusters, icc .2", unequal(20, ("t", "rule")), slow=True)
    yield Case("zeros and ones (.8), 6 uneven clusters, icc .2", unequal(6, ("t", "rule")), slow=True)

    def equivalent(rng: Rng) -> Found:
        g = even(30, 10)
        a = normal(rng, g, 0.2)
        found = stats.equivalence(a, a - 0.1 + 0.5 * normal(rng, g, 0.2), margin=0.2, clusters=g, alpha=0.025)
        return {"equivalence's difference": (found.difference, 0.1)}

    yield Case("normal, 30 × 10, icc .2", equivalent)


def proportions() -> Iterator[Case]:
    """Rates, one by one."""
    for n, p in ((30, 0.7), (300, 0.5), (100, 0.95)):

        def one(rng: Rng, n: int = n, p: float = p) -> Found:
            k = int(rng.binomial(n, p))
            return {
                "exact binomial": (stats.binomial_interval(k, n), p),
                "Wilson": (stats.wilson_interval(k, n), p),
            }

        yield Case(f"n {n}, p {p}", one)

    def anywhere(rng: Rng) -> Found:
        p = rng.uniform(0.05, 0.95)
        k = int(rng.binomial(100, p))
        return {"exact binomial": (stats.binomial_interval(k, 100), p), "Wilson": (stats.wilson_interval(k, 100), p)}

    yield Case("n 100, p drawn from .05 to .95", anywhere)
    for groups, size, icc, p in ((40, 20, 0.1, 0.9), (40, 20, 0.0, 0.6), (12, 10, 0.3, 0.9), (100, 10, 0.2, 0.7)):
        labels = even(groups, size)
        yield Case(
            f"{groups} × {size}, icc {icc}, p {p}",
            lambda rng, g=labels, icc=icc, p=p: {
                "proportion (Korn–Graubard)": (stats.proportion_interval(yes(rng, g, icc, p), clusters=g), p)
            },
        )


def comparisons() -> Iterator[Case]:
    """Two rates."""
    for n, m, p, q in ((70, 90, 0.8, 0.6), (30, 30, 0.95, 0.9)):

        def apart(rng: Rng, n: int = n, m: int = m, p: float = p, q: float = q) -> Found:
            found = stats.newcombe((int(rng.binomial(n, p)), n), (int(rng.binomial(m, q)), m))
            return {"Newcombe–Wilson": (found, p - q)}

        yield Case(f"n {n} and {m}, p {p} and {q}", apart)
    for n in (80, 30):

        def paired(rng: Rng, n: int = n) -> Found:
            x = rng.normal(size=n)
            y = 0.6 * x + 0.8 * rng.normal(size=n)
            a, b = (x < norm.ppf(0.7)).astype(int), (y < norm.ppf(0.6)).astype(int)
            return {"Newcombe, paired": (stats.newcombe_paired(a, b), 0.1)}

        yield Case(f"n {n}, p .7 and .6, correlated", paired)
    for groups in (30, 10):
        labels = even(groups, 10)

        def clustered(rng: Rng, g: np.ndarray = labels) -> Found:
            a, b = yes(rng, g, 0.1, 0.6), yes(rng, g, 0.1, 0.4)
            both = {"clusters_a": g, "clusters_b": g}
            return {
                "risk difference": (stats.risk_difference(a, b, **both), 0.2),
                "risk ratio": (stats.risk_ratio(a, b, **both), 1.5),
            }

        yield Case(f"2 × {groups} × 10, icc .1, p .6 and .4", clustered)

    def shared(rng: Rng) -> Found:
        g, drawn = even(30, 10), rng.normal(size=30)
        a, b = (
            (math.sqrt(0.2) * drawn[g] + math.sqrt(0.8) * rng.normal(size=300) < norm.ppf(p)).astype(float)
            for p in (0.6, 0.4)
        )
        both = {"clusters_a": g, "clusters_b": g, "shared": True}
        return {
            "risk difference, shared clusters": (stats.risk_difference(a, b, **both), 0.2),
            "risk ratio, shared clusters": (stats.risk_ratio(a, b, **both), 1.5),
        }

    yield Case("30 × (10 + 10), icc .2, p .6 and .4", shared)


def detectors() -> Iterator[Case]:
    """Areas under ROC curves, and operating points."""
    for groups, size, icc, gap in ((40, 10, 0.2, 1.0), (100, 5, 0.2, 1.0), (15, 10, 0.2, 1.0), (60, 10, 0.1, 2.3)):
        labels = even(groups, size)

        def area(rng: Rng, g: np.ndarray = labels, icc: float = icc, gap: float = gap) -> Found:
            truth = rng.integers(0, 2, len(g))
            found = stats.auroc(normal(rng, g, icc) + gap * truth, truth, clusters=g, draws=500, seed=seed_of(rng))
            return {"AUROC": (found, float(norm.cdf(gap / math.sqrt(2))))}

        yield Case(f"{groups} × {size}, icc {icc}, area {norm.cdf(gap / math.sqrt(2)):.2f}", area)
    for groups, size, icc, fpr in ((200, 1, 0.0, 0.1), (100, 1, 0.0, 0.05), (300, 1, 0.0, 0.01), (60, 5, 0.1, 0.1)):
        labels = even(groups, size)

        def point(rng: Rng, g: np.ndarray = labels, icc: float = icc, fpr: float = fpr) -> Found:
            calibration, positives, negatives = (normal(rng, g, icc) for _ in range(3))
            found = stats.operating_point(
                calibration,
                positives + 1.5,
                negatives,
                fpr=fpr,
                clusters=(g, g, g),
                draws=300,
                seed=seed_of(rng),
            )
            return {
                "TPR, threshold refitted": (found.tpr, float(norm.sf(norm.ppf(1 - fpr) - 1.5))),
                "FPR, threshold refitted": (found.fpr, fpr),
            }

        yield Case(f"3 × {groups} × {size}, icc {icc}, FPR {fpr}", point, slow=True)


def forecasts() -> Iterator[Case]:
    """Scores of probabilities, and calibration errors."""

    def scores(rng: Rng) -> Found:
        g = even(60, 5)
        p = rng.choice([0.2, 0.5, 0.8], size=60)[g]
        y = (rng.random(300) < p).astype(int)
        bits = (2 * -(0.2 * math.log2(0.2) + 0.8 * math.log2(0.8)) + 1) / 3
        table = np.stack([1 - p, p], axis=1)
        return {
            "Brier score": (stats.brier_score(p, y, clusters=g), (2 * 0.16 + 0.25) / 3),
            "Brier score, classes": (stats.multiclass_brier(table, y, clusters=g), 2 * (2 * 0.16 + 0.25) / 3),
            "log score": (stats.log_score(p, y, clusters=g), bits),
            "log score, classes": (stats.multiclass_log(table, y, clusters=g), bits),
        }

    yield Case("60 × 5, forecasts by cluster", scores)
    for groups, size, off in ((60, 20, 0.1), (60, 20, 0.03), (25, 20, 0.1)):
        labels = even(groups, size)

        def errors(rng: Rng, g: np.ndarray = labels, off: float = off) -> Found:
            p = rng.uniform(0.2, 0.9, len(g))
            y = (rng.random(len(g)) < p - off).astype(int)
            plain = stats.calibration_error(p, y, clusters=g, debiased=False, draws=300, seed=seed_of(rng))
            return {
                "calibration error, debiased": (stats.calibration_error(p, y, clusters=g), off),
                "calibration error, plain": (plain, off),
            }

        yield Case(f"{groups} × {size}, off by {off}", errors, slow=True)


def gaps() -> Iterator[Case]:
    """PGR of .5 (floor .6, student .7, ceiling .8) on the same items; seeds differ by `apart` in each accuracy."""
    designs = ((1, 0.0, 40), (3, 0.0, 40), (3, 0.02, 40), (5, 0.0, 40), (5, 0.02, 40), (5, 0.03, 12), (8, 0.05, 40))
    for seeds, apart, groups in designs:
        labels = even(groups, 20)

        def one(rng: Rng, seeds: int = seeds, apart: float = apart, g: np.ndarray = labels) -> Found:
            latent = 0.7 * normal(rng, g, 0.1)
            sides: list[list[np.ndarray]] = [[], [], []]
            for _ in range(seeds):
                for side, p in zip(sides, (0.6, 0.7, 0.8), strict=True):
                    noise = math.sqrt(0.51) * rng.normal(size=len(g))
                    side.append((latent + noise < norm.ppf(p + apart * rng.normal())).astype(float))
            found = stats.recovered(*sides, clusters=[g] * seeds, draws=400, seed=seed_of(rng))
            return {
                "PGR, hierarchical bootstrap": (found.value, 0.5),
                "PGR, Fieller": (found.fieller, 0.5),
                "accuracy over seeds": (found.student, 0.7),
            }

        yield Case(f"{seeds} seeds {apart} apart, {groups} × 20, icc .05", one, slow=True)
    for groups in (40, 100):
        labels = even(groups, 40)

        def worth(rng: Rng, g: np.ndarray = labels) -> Found:
            latent = 0.7 * normal(rng, g, 0.1)

            def right(p: float) -> np.ndarray:
                return (latent + math.sqrt(0.51) * rng.normal(size=len(g)) < norm.ppf(p)).astype(float)

            curve = [(k, right(p)) for k, p in ((25, 0.5), (100, 0.6), (400, 0.7), (1600, 0.8))]
            found = stats.ground_truth_equivalent(right(0.65), curve, clusters=g, draws=400, seed=seed_of(rng))
            return {"ground-truth labels": (found, 200.0)}

        yield Case(f"{groups} × 40, icc .05, between 100 and 400 labels", worth, slow=True)


def bootstraps() -> Iterator[Case]:
    """The bootstrap itself, of a clustered mean of skewed values."""
    for method, groups in (("percentile", 100), ("basic", 100), ("bca", 100), ("bca", 15), ("studentised", 15)):
        labels = even(groups, 5)

        def one(rng: Rng, method: str = method, g: np.ndarray = labels) -> Found:
            x = rng.exponential(size=g.max() + 1)[g] + rng.exponential(size=len(g))
            found = stats.bootstrap_interval(
                lambda rows: float(x[rows].mean()), len(g), clusters=g, method=method, draws=300, seed=seed_of(rng)
            )
            return {f"bootstrap, {method}": (found, 2.0)}

        yield Case(f"exponential, {groups} × 5, icc .5", one, slow=True)


def cases() -> list[Case]:
    """Every interval, each under a few designs."""
    parts = (means, proportions, comparisons, detectors, forecasts, gaps, bootstraps)
    return [case for part in parts for case in part()]


def measure(case: Case, count: int, seed: int = 2026) -> list[dict[str, float | str | bool]]:
    """How often each interval of a case held the truth, of those given, and how often it was refused."""
    rng, held, refused = np.random.default_rng(seed), dict[str, int](), dict[str, int]()
    for _ in range(count):
        for name, (found, truth) in case.one(rng).items():
            low = -math.inf if found.low is None else found.low
            high = math.inf if found.high is None else found.high
            given = found.value is not None
            # an end that is the truth but for rounding holds it
            held[name] = held.get(name, 0) + (given and low - 1e-12 <= truth <= high + 1e-12)
            refused[name] = refused.get(name, 0) + (not given)
    return [
        {
            "interval": name,
            "design": case.design,
            "held": held[name] / max(1, count - refused[name]),
            "refused": refused[name] / count,
            "at_least": name.startswith(AT_LEAST),
        }
        for name in held
    ]


def main() -> None:
    """Run every case and print how often it held."""
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    count = numbers[0] if numbers else 2000
    console, rows, start = Console(stderr=True, width=120), [], time.monotonic()
    for case in cases():
        began = time.monotonic()
        found = measure(case, count)
        rows += found
        said = "; ".join(f"{row['interval']} {100 * row['held']:.1f} %" for row in found)
        console.print(f"{case.design}: {said} ({time.monotonic() - began:.0f} s)")
    rows.sort(key=lambda row: str(row["interval"]).casefold())
    outside = [row for row in rows if not (0.93 <= row["held"] <= 0.97 or (row["at_least"] and row["held"] > 0.93))]
    seconds = round(time.monotonic() - start)
    if "--json" in sys.argv:
        print(json.dumps({"simulations": count, "seconds": seconds, "rows": rows, "outside": len(outside)}))
        return
    title = f"{count} simulations a row, nominal 95 %, {seconds} s; * outside 93–97 %"
    table = Table("interval", "design", "held", "refused", title=title)
    for row in rows:
        mark = (" *" if row in outside else "") + (" (at least)" if row["at_least"] else "")
        table.add_row(
            row["interval"], row["design"], f"{100 * row['held']:.1f} %{mark}", f"{100 * row['refused']:.1f} %"
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
