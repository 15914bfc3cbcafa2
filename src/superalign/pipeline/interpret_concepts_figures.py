"""What a search by concept is worth: figures with intervals, columns and tables, from its raw arrays alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats as scipy_stats

from superalign.pipeline.interpret_findings import TRAINED, UNTRAINED, Cell, Cited, Findings, Table, unit_of
from superalign.stats import (
    Interval,
    auroc,
    benjamini_hochberg,
    bootstrap_interval,
    paired_difference,
    proportion_interval,
    refused,
)

LEVEL = 0.05
FEW = 10
"""Chosen units: of fewer no share is given."""
SHOWN = 5
"""Units of each concept on the front page."""
NO_NULL = "a count over the whole network, no sample: it has no interval; see what is confirmed on other files"


def confirmed(parts: np.ndarray, labels: np.ndarray, *, level: float = LEVEL) -> np.ndarray:
    """(chosen,) bool: does each hold on these files, in its direction, at q ≤ level over the chosen?

    `parts` (files, chosen) mean difference in a file, tested against 0 by t over files, one-sided; where files have
    `labels` 1 and 0 (files,) their means, the ones' against the others' (Welch).
    """
    with_it, without = parts[labels == 1], parts[labels == 0]
    if not parts.shape[1] or len(with_it) < 2 or (len(without) == 1):
        return np.zeros(parts.shape[1], dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = with_it.var(0, ddof=1) / len(with_it)
        freedom: float | np.ndarray = len(with_it) - 1
        apart = with_it.mean(0)
        if len(without):
            other = without.var(0, ddof=1) / len(without)
            freedom = (error + other) ** 2 / (error**2 / freedom + other**2 / (len(without) - 1))
            apart, error = apart - without.mean(0), error + other
        p = scipy_stats.t.sf(apart / np.sqrt(error), freedom)
    kept: np.ndarray = benjamini_hochberg(np.where(np.isfinite(p) & (error > 0), p, 1.0)) <= level
    return kept


def concept_figures(raw: Mapping[str, np.ndarray], *, draws: int, seed: int) -> Mapping[str, Interval]:
    """Figures by name, `concepts.CONCEPT.NETWORK.…`, intervals over files.

    `found`: share of the network's units at q ≤ .05. `confirmed`: of those chosen on half of the files the share that
    holds on the other; refused for fewer than `FEW`. Of the clearest unit of the first half, on the other: `auroc`, and
    `told`, the share of pairs in which it is larger on the text that holds the concept, ties half (without pairs the
    AUROC again). `concepts.CONCEPT.gain` is `told` over the untrained network's.
    `concepts.false-discoveries`: mean false-discovery proportion of shuffled pairs.
    """
    found: dict[str, Interval] = {}
    for number, key in enumerate(map(str, raw["concepts"])):
        paired = bool(raw["paired"][number])
        for network in map(str, raw["networks"]):
            own = _own(raw, f"{network}/{key}", int(raw["files"][number]), paired, draws, seed)
            found |= {f"concepts.{key}.{network}.{name}": told for name, told in own.items()}
        if UNTRAINED in raw["networks"]:
            found[f"concepts.{key}.gain"] = _gain(raw, key, paired)
    if len(raw["concepts"]):
        hits = np.concatenate([raw[f"null/{key}"] > 0 for key in raw["concepts"]]).astype(float)
        found["concepts.false-discoveries"] = proportion_interval(hits)
    return found


def _own(
    raw: Mapping[str, np.ndarray], key: str, files: int, paired: bool, draws: int, seed: int
) -> dict[str, Interval]:
    hits = benjamini_hochberg(raw[f"{key}/p"].astype(np.float64)) <= LEVEL
    units = len(hits)
    found = {
        "found": Interval(
            value=float(hits.mean()), low=None, high=None, n=units, clusters=files, method="count", note=NO_NULL
        )
    }
    if f"{key}/best" not in raw or not np.isfinite(raw[f"{key}/scores"]).all():
        why = f"{files} files: too few for two halves" if f"{key}/best" not in raw else "the clearest unit holds NaN"
        no = refused(why, n=units, clusters=files, method="halves")
        return found | {"confirmed": no, "auroc": no, "told": no}
    scores, truth, codes = (raw[f"{key}/{name}"] for name in ("scores", "truth", "files"))
    area = auroc(scores, truth, clusters=codes)
    wins = _wins(raw, key)
    told = proportion_interval(wins, clusters=codes[truth == 1]) if paired else area
    return found | {"confirmed": _confirmed(raw, key, draws, seed), "auroc": area, "told": told}


def _confirmed(raw: Mapping[str, np.ndarray], key: str, draws: int, seed: int) -> Interval:
    parts, labels = raw[f"{key}/parts"].astype(np.float64), raw[f"{key}/labels"]
    if parts.shape[1] < FEW:
        kept = int(confirmed(parts, labels).sum())
        why = f"{parts.shape[1]} units were chosen on the first half, {kept} hold: too few for a share"
        return refused(why, n=parts.shape[1], clusters=len(labels), method="cluster bootstrap, percentile")
    return bootstrap_interval(
        lambda rows: float(confirmed(parts[rows], labels[rows]).mean()),
        len(parts), method="percentile", seed=seed, draws=draws,
    )  # fmt: skip


def _wins(raw: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    """(pairs,) 1 where the text that holds the concept has the larger value, ½ for a tie."""
    scores, truth = raw[f"{key}/scores"], raw[f"{key}/truth"] == 1
    won: np.ndarray = (np.sign(scores[truth].astype(float) - scores[~truth]) + 1) / 2
    return won


def _gain(raw: Mapping[str, np.ndarray], key: str, paired: bool) -> Interval:
    """Each network by its own clearest unit, on the same files."""
    if not all(
        f"{network}/{key}/best" in raw and np.isfinite(raw[f"{network}/{key}/scores"]).all()
        for network in (TRAINED, UNTRAINED)
    ):
        return refused("one of the networks has no unit on other files", n=0, clusters=0, method="clustered t")
    codes, truth = raw[f"{TRAINED}/{key}/files"], raw[f"{TRAINED}/{key}/truth"] == 1
    if paired:
        return paired_difference(
            _wins(raw, f"{TRAINED}/{key}"), _wins(raw, f"{UNTRAINED}/{key}"), clusters=codes[truth], method="rule"
        )
    ours, theirs = (raw[f"{network}/{key}/scores"].astype(float) for network in (TRAINED, UNTRAINED))

    def gain(rows: np.ndarray) -> float:
        return _area(ours[rows], truth[rows]) - _area(theirs[rows], truth[rows])

    return bootstrap_interval(gain, len(truth), clusters=codes, method="percentile", draws=400)


def _area(scores: np.ndarray, truth: np.ndarray) -> float:
    if truth.all() or not truth.any():
        return float("nan")
    ranks = scipy_stats.rankdata(scores)[truth]
    return float((ranks.mean() - (truth.sum() + 1) / 2) / (~truth).sum())


def reached_anyway(raw: Mapping[str, np.ndarray], key: str) -> bool:
    """Do more than a twentieth of an untrained network's units tell it, too? Then its words merely reach the units."""
    if UNTRAINED not in raw["networks"]:
        return False
    hits = benjamini_hochberg(raw[f"{UNTRAINED}/{key}/p"].astype(np.float64)) <= LEVEL
    return bool(hits.mean() > LEVEL)


def concept_columns(raw: Mapping[str, np.ndarray]) -> Findings:
    """For index, pages and front page. Where there was nothing to search for, the one table says why."""
    keys, titles = [str(key) for key in raw["concepts"]], [str(title) for title in raw["titles"]]
    if not keys:
        empty = Table("Concepts", " ".join(map(str, raw["refused"])), ("concept",), ())
        return Findings(
            sites=np.array([], dtype=np.str_), units=np.zeros(0, dtype=np.int32), columns={}, tables=(empty,)
        )
    p, d, area = (
        np.stack([raw[f"{TRAINED}/{key}/{name}"] for key in keys]).astype(float) for name in ("p", "d", "auroc")
    )
    own = np.stack([benjamini_hochberg(row) for row in p])
    asked = np.array([not reached_anyway(raw, key) for key in keys])
    joint = np.ones(p.shape)
    if asked.any():
        joint[asked] = benjamini_hochberg(p[asked].ravel()).reshape(-1, p.shape[1])
    size = np.abs(np.stack([raw[f"{TRAINED}/{key}/statistic"] for key in keys]))
    clearest = np.lexsort((-size, joint), axis=0)[0]
    at = (clearest, np.arange(p.shape[1]))
    hit = joint[at] <= LEVEL
    columns = {
        "q": joint[at],
        "concept": np.where(hit, np.array(titles)[clearest], ""),
        "concept d": np.where(hit, d[at], np.nan),
        "concepts": (joint <= LEVEL).sum(0),
    }
    lines = {
        row: [(titles[i], float(d[i, row]), float(area[i, row]), float(own[i, row])) for i in range(len(keys))]
        for row in range(p.shape[1])
    }
    return Findings(
        sites=raw["sites"], units=raw["units"], columns=columns, concepts=lines,
        tables=(_table(raw, keys, titles, own), _clearest(raw, keys, titles, own, d, area)),
        about={
            "q": "smallest q of all units and those concepts that untrained networks don't tell (Benjamini–Hochberg)",
            "concept": "the one of these concepts that the unit goes with most clearly, where q ≤ .05",
            "concept d": "difference of means between texts with that concept and without, by standard deviation",
            "concepts": "how many of these concepts the unit goes with at q ≤ .05",
        },
    )  # fmt: skip


def _table(raw: Mapping[str, np.ndarray], keys: Sequence[str], titles: Sequence[str], q: np.ndarray) -> Table:
    bare = UNTRAINED in raw["networks"]
    head = ["concept", "texts", "files", "units at q ≤ .05", "family-wise", "hold on other files", "share that holds"]
    head += ["told by the clearest unit there"]
    head += ["untrained: units at q ≤ .05", "told by its clearest", "gain over untrained"] if bare else []
    rows: list[list[Cell]] = []
    for i, key in enumerate(keys):
        ours, theirs = f"{TRAINED}/{key}", f"{UNTRAINED}/{key}"
        family = int((raw[f"{ours}/familywise"] <= LEVEL).sum())
        row: list[Cell] = [titles[i], str(int(raw["pairs"][i])), str(int(raw["files"][i]))]
        row += [str(int((q[i] <= LEVEL).sum())), str(family), _stay(raw, ours)]
        row += [Cited(f"concepts.{key}.{TRAINED}.confirmed"), Cited(f"concepts.{key}.{TRAINED}.told")]
        if bare:
            hits = int((benjamini_hochberg(raw[f"{theirs}/p"].astype(float)) <= LEVEL).sum())
            row += [str(hits), Cited(f"concepts.{key}.{UNTRAINED}.told"), Cited(f"concepts.{key}.gain")]
        rows.append(row)
    return Table("Concepts", _paragraph(raw, keys, titles), head, rows)


def _stay(raw: Mapping[str, np.ndarray], key: str) -> str:
    """How many of how many."""
    if f"{key}/parts" not in raw:
        return "too few files"
    kept = confirmed(raw[f"{key}/parts"].astype(np.float64), raw[f"{key}/labels"])
    return f"{int(kept.sum())} of {len(kept)}"


def _paragraph(raw: Mapping[str, np.ndarray], keys: Sequence[str], titles: Sequence[str]) -> str:
    counts = np.concatenate([raw[f"null/{key}"] for key in keys])
    anyway = [title for key, title in zip(keys, titles, strict=True) if reached_anyway(raw, key)]
    said = [
        "Texts that hold a concept against the same without it, over every neuron and head; q over the whole network. "
        "Units chosen on half of the files are tried on the other half. With sides shuffled, where nothing is to be "
        f"found, {int((counts > 0).sum())} of {len(counts)} searches name any unit.",
        f"A network that was never trained tells as well: {', '.join(anyway)}. There a unit that is named says only "
        "that the words reach it."
        if anyway
        else "",
        *map(str, raw["refused"]),
    ]
    return " ".join(each for each in said if each)


def _clearest(
    raw: Mapping[str, np.ndarray],
    keys: Sequence[str],
    titles: Sequence[str],
    q: np.ndarray,
    d: np.ndarray,
    area: np.ndarray,
) -> Table:
    rows: list[list[Cell]] = []
    for i, key in enumerate(keys):
        order = np.argsort(-np.abs(raw[f"{TRAINED}/{key}/statistic"]), kind="stable")
        for unit in [u for u in order[:SHOWN] if q[i, u] <= LEVEL]:
            name = unit_of(str(raw["sites"][unit]), int(raw["units"][unit]))
            held = _holds(raw, f"{TRAINED}/{key}", int(unit))
            rows.append([titles[i], name, float(d[i, unit]), float(area[i, unit]), float(q[i, unit]), held])
    paragraph = "The clearest units of each concept. What goes with a concept need not make it: see the causal effects."
    return Table(
        "Units that go with a concept", paragraph, ("concept", "unit", "d′", "AUROC", "q", "other files"), rows
    )


def _holds(raw: Mapping[str, np.ndarray], key: str, unit: int) -> str:
    chosen = raw.get(f"{key}/chosen", np.zeros(0))
    if unit not in chosen:
        return "not chosen on the first half"
    kept = confirmed(raw[f"{key}/parts"].astype(np.float64), raw[f"{key}/labels"])
    return "confirmed" if kept[int(np.flatnonzero(chosen == unit)[0])] else "not confirmed"
