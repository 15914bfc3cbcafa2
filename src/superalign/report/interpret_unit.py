"""One unit's page of the book: windows, explanations with their controls, what it does, what goes with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from superalign.pipeline.interpret_families import UNIGRAM
from superalign.pipeline.interpret_kept import SHUFFLED, Explained, simulations
from superalign.report.book import Said, Score, UnitPage, Window

if TYPE_CHECKING:
    from superalign.interpretability.extremes import Top
    from superalign.report.interpret_book import Kept

Causal = tuple[str, float | None, float | None, float | None, str]
Concept = tuple[str, float | None, float | None, float | None]
SHOWN_WINDOWS, SHOWN_TOKENS, FEWEST = 8, 12, 4
"""Windows at each end, tokens at each end of the token table, and how often a token must have been read."""
OCTAVES = ("less high", "middling", "low in its range")


def unit_page(kept: Kept, row: int) -> UnitPage:
    """Everything that is known of the unit in a row of the index."""
    number, unit = kept.places[row]
    explained = kept.explanations.trained[number]
    sketch = kept.recording.sketch(explained.site, "train")
    windows = {"top": _windows(kept, sketch.high, unit)}
    if sketch.low is not None:
        windows["low"] = _windows(kept, sketch.low, unit)
    windows |= _octaves(kept, explained, unit)
    name, causal, concepts = (explained.site, unit), list[Causal](), list[Concept]()
    for part, findings in kept.findings.items():
        own = kept.rows_of[part].get(name, -1)
        causal += findings.causal.get(own, ())
        concepts += findings.concepts.get(own, ())
    return UnitPage(
        row=row,
        windows={name: found for name, found in windows.items() if found},
        said=[said(kept, explained, unit, number) for number in told_by(explained, unit)],
        simulated=_simulated(kept, explained, unit),
        histogram=_histogram(sketch, unit),
        causal=[*_ablated(explained, unit), *causal],
        neighbours=_neighbours(kept.neighbours, row),
        concepts=concepts,
        tokens=_tokens(kept, sketch, unit),
    )


def _windows(kept: Kept, top: Top, unit: int) -> list[Window]:
    """The unit's own extremes, with the values that were recorded around them."""
    found, corpus = list[Window](), kept.corpus
    starts = top.starts(corpus.length)[unit]
    for k in range(min(SHOWN_WINDOWS, top.rows.shape[1])):
        sequence = int(top.rows[unit, k])
        if sequence < 0 or top.windows is None:
            continue
        first = int(starts[k])
        values = top.windows[unit, k].astype(float)
        found.append(_window(kept, sequence, first, values, int(top.places[unit, k])))
    return found


def _window(kept: Kept, sequence: int, first: int, values: np.ndarray, place: int) -> Window:
    """A window of a sequence: tokens from `first` on that count, with their values."""
    corpus = kept.corpus
    begin, end = max(first, corpus.skip), min(first + len(values), int(corpus.lengths[sequence]))
    return Window(
        tokens=[kept.vocabulary[i] for i in corpus.ids[sequence, begin:end].tolist()],
        values=values[begin - first : end - first].tolist(),
        at=place - begin,
        document=corpus.names[int(corpus.documents[sequence])],
    )


def _octaves(kept: Kept, explained: Explained, unit: int) -> dict[str, list[Window]]:
    """Sequences drawn at random where the unit is less high."""
    told = explained.kept
    if "page octave rows" not in told:
        return {}
    radius, found = int(told["page radius"]), dict[str, list[Window]]()
    for k, name in enumerate(OCTAVES):
        sequence, place = int(told["page octave rows"][k, unit]), int(told["page octave places"][k, unit])
        if sequence >= 0:
            values = told["page octave real"][k, :, unit].astype(float)
            found[name] = [_window(kept, sequence, place - radius, values, place)]
    return found


def told_by(explained: Explained, unit: int) -> list[int]:
    """Numbers of the families that say anything of the unit: some are made of a few units only."""
    known = np.isfinite(explained.scored[UNIGRAM].value[unit])
    numbers = range(int(explained.kept["made"]))
    return [n for n in numbers if not known or np.isfinite(explained.scored[explained.families[n]].value[unit])]


def said(kept: Kept, explained: Explained, unit: int, number: int) -> Said:
    """One family's explanation, with its scores and controls."""
    family = explained.families[number]
    r, gain, top = explained.scored[family], explained.gains.get(family), explained.top.get(family)
    event = kept.events.get(f"unit.{explained.site}.{unit}") if explained.best[unit] == number else None
    told = list(map(str, explained.kept.get("top families", ())))
    judged: dict[str, Score] = {}
    for task in ("detection", "fuzzing"):
        if family in told:
            judged[task] = _triple(explained.kept[f"judged {task}"][told.index(family), :, unit])
    wrong = explained.scored.get(f"{family}{SHUFFLED}")
    untrained = [
        float(np.nanmean(each.scored[family].value))
        for sites in kept.explanations.fresh.values()
        for each in sites
        if each.site == explained.site and family in each.scored
    ]
    return Said(
        family=family,
        text=str(explained.kept["text"][number, unit]),
        bits=float(explained.kept["bits"][number, unit]),
        r=event or _triple(np.array([r.value[unit], r.low[unit], r.high[unit]])),
        top_and_random=None if top is None else _triple(np.array([top.value[unit], top.low[unit], top.high[unit]])),
        gain=None if gain is None else _triple(np.array([gain.value[unit], gain.low[unit], gain.high[unit]])),
        shuffled=None if wrong is None else _number(wrong.value[unit]),
        untrained=float(np.mean(untrained)) if untrained else None,
        note="the table that others are measured against" if family == UNIGRAM else "",
        **judged,
    )


def _triple(ends: np.ndarray) -> tuple[float | None, float | None, float | None] | None:
    value, low, high = (_number(end) for end in ends)
    return None if value is None else (value, low, high)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _simulated(kept: Kept, explained: Explained, unit: int) -> list[tuple[list[str], list[float], list[float]]]:
    """Held-out windows: around the unit's highest place there, then sequences drawn at random."""
    told, corpus, found = explained.kept, kept.corpus, list[tuple[list[str], list[float], list[float]]]()
    if "page rows" not in told:
        return []
    sequence, place, radius = (
        int(told["page peak rows"][unit]), int(told["page peak places"][unit]), int(told["page radius"]),
    )  # fmt: skip
    if sequence >= 0:
        begin = max(place - radius, corpus.skip)
        end = min(place + radius + 1, int(corpus.lengths[sequence]))
        some = slice(begin - place + radius, end - place + radius)
        real, predicted = (told[f"page peak {name}"][some, unit].astype(float).tolist() for name in ("real", "told"))
        found.append(([kept.vocabulary[i] for i in corpus.ids[sequence, begin:end].tolist()], real, predicted))
    for k, row in enumerate(told["page rows"].tolist()):
        end = min(int(corpus.lengths[row]), told["page real"].shape[1])
        real, predicted = (
            told[f"page {name}"][k, corpus.skip : end, unit].astype(float).tolist() for name in ("real", "told")
        )
        found.append(([kept.vocabulary[i] for i in corpus.ids[row, corpus.skip : end].tolist()], real, predicted))
    return found


def _histogram(sketch: object, unit: int) -> tuple[Sequence[float], Sequence[float]] | None:
    """(edges, counts) without the empty bins at both ends."""
    counts = sketch.histogram  # type: ignore[attr-defined]
    if counts is None:
        return None
    mine = counts[:, unit].sum(axis=0, dtype=np.int64)
    there = np.flatnonzero(mine)
    if not len(there):
        return None
    edges = _edges(sketch, unit)
    first, last = int(there[0]), int(there[-1]) + 1
    return edges[first : last + 1].tolist(), mine[first:last].tolist()


def _edges(sketch: object, unit: int) -> np.ndarray:
    """(65,) finite."""
    from superalign.interpretability.sketch import edges_of

    edges: np.ndarray = edges_of(sketch.scales[unit : unit + 1])[0]  # type: ignore[attr-defined]
    edges[0], edges[-1] = 2 * edges[1], 2 * edges[-2]
    return edges


def _ablated(explained: Explained, unit: int) -> list[tuple[str, float | None, float | None, float | None, str]]:
    found = []
    for name, score in simulations(explained):
        if name == str(unit):
            note = score.note or "rules in the unit's place: 1 changes nothing, 0 is no better than its mean"
            found.append(("ablate to simulation", score.value, score.low, score.high, note))
    return found


def _neighbours(told: Mapping[str, np.ndarray], row: int) -> list[tuple[int, float]]:
    if not told:
        return []
    pairs = zip(told["rows"][row].tolist(), told["r"][row].tolist(), strict=True)
    return [(other, r) for other, r in pairs if other >= 0]


def _tokens(kept: Kept, sketch: object, unit: int) -> list[tuple[str, float]]:
    """Tokens of the highest and the lowest mean, of those that were read often enough."""
    table, counts = sketch.table, sketch.table_counts  # type: ignore[attr-defined]
    if table is None:
        return []
    from superalign.interpretability.sketch import TABLE_UNIT

    usual = np.flatnonzero(counts >= FEWEST)
    means = table[usual, unit] * 2.0**TABLE_UNIT / counts[usual]
    order = np.argsort(means, kind="stable")
    some = np.unique(np.concatenate([order[:SHOWN_TOKENS], order[-SHOWN_TOKENS:]]))
    return [(kept.vocabulary[int(usual[i])], float(means[i])) for i in some]
