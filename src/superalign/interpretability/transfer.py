"""Do probes carry over? Fitted on one organism or data set, tested on every other, and on a kind that was left out.

    found = transfer({"trigger": Source(model=a, told=x, parts=p), "sycophant": Source(...)}, family="logistic")
    found.cell("trigger", "sycophant").figure.auroc

Rows are what was trained on, columns what was tested on. The diagonal is held-out text of the same source. A threshold
comes from the dev truths of what was trained on, so that a column tells what the probe would do there unseen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from superalign.interpretability.aggregation import Pool, States, token_states
from superalign.interpretability.lies import Figure, figure
from superalign.interpretability.lies_texts import Parts, Told, refuse_leakage
from superalign.interpretability.probe import Family, Probe, train_probe
from superalign.models import LocalModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One organism or data set: who says it, what is said, and its parts (by `parted`, all sources at once)."""

    model: LocalModel
    told: Told
    parts: Parts
    twin: LocalModel | None = None
    """Who says it honestly: a probe that fires on the twin's states of the same texts detects the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A probe fitted on `train` sources, measured on the test part of `test`."""

    train: tuple[str, ...]
    test: str
    figure: Figure
    twin: Figure | None
    """The same probe at the same threshold on the tested source's twin, where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """All cells, train × test."""

    names: tuple[str, ...]
    cells: tuple[Cell, ...]

    def cell(self, train: str, test: str) -> Cell:
        """One of them; KeyError for a source that is none."""
        found = {(cell.train, cell.test): cell for cell in self.cells}
        return found[(train,), test]

    def areas(self) -> np.ndarray:
        """(train, test) AUROC, NaN where a class is missing."""
        said = [cell.figure.auroc.value for cell in self.cells]
        values = np.array([np.nan if value is None else value for value in said])
        return values.reshape(len(self.names), len(self.names))


def transfer(
    sources: Mapping[str, Source],
    *,
    family: Family = "logistic",
    pool: Pool = "mean",
    layer: int = -1,
    skip: int = 1,
    hidden: Sequence[str] = (),
    transitions: bool = False,
    seed: int = 0,
) -> Transfer:
    """The matrix. Raises ValueError where what one probe was trained on shares a topic or template with what it is
    tested on, as when sources were parted apart, and for models of unlike width.
    """
    read = _all_states(sources, layer, skip, hidden, transitions)
    probes = {name: _fit([name], sources, read, family, pool, seed) for name in sources}
    cells = [_cell([name], test, probes[name], sources, read) for name in sources for test in sources]
    return Transfer(names=tuple(sources), cells=tuple(cells))


def leave_one_out(
    sources: Mapping[str, Source],
    *,
    family: Family = "logistic",
    pool: Pool = "mean",
    layer: int = -1,
    skip: int = 1,
    hidden: Sequence[str] = (),
    transitions: bool = False,
    seed: int = 0,
) -> tuple[Cell, ...]:
    """For each source a probe fitted on all others together, tested on it. ValueError for fewer than two sources."""
    if len(sources) < 2:
        raise ValueError(f"{len(sources)} sources: leaving one out needs two")
    read, cells = _all_states(sources, layer, skip, hidden, transitions), []
    for left in sources:
        others = [name for name in sources if name != left]
        probe = _fit(others, sources, read, family, pool, seed)
        cells.append(_cell(others, left, probe, sources, read))
    return tuple(cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """Of one source: states of all its texts, and its twin's of the same."""

    own: States
    twin: States | None


def _all_states(
    sources: Mapping[str, Source], layer: int, skip: int, hidden: Sequence[str], transitions: bool
) -> dict[str, _Read]:
    widths = {name: source.model.width for name, source in sources.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"models of unlike width, {widths}: a probe can't be carried from one to another")

    def states(model: LocalModel, told: Told) -> States:
        return token_states(model, told.texts, layer=layer, skip=skip, hidden=hidden, transitions=transitions)

    return {
        name: _Read(own=states(s.model, s.told), twin=None if s.twin is None else states(s.twin, s.told))
        for name, s in sources.items()
    }


def _fit(
    names: Sequence[str],
    sources: Mapping[str, Source],
    read: Mapping[str, _Read],
    family: Family,
    pool: Pool,
    seed: int,
) -> Probe:
    parts = [
        (stacked([read[n].own.part(getattr(sources[n].parts, side)) for n in names]), _labels(names, sources, side))
        for side in ("train", "dev")
    ]
    return train_probe(*parts[0], *parts[1], family=family, pool=pool, seed=seed)


def _labels(names: Sequence[str], sources: Mapping[str, Source], side: str) -> np.ndarray:
    return np.concatenate([sources[n].told.lie[getattr(sources[n].parts, side)] for n in names])


def stacked(states: Sequence[States]) -> States:
    """One after another, padded to the longest."""
    longest = max(each.values.shape[1] for each in states)
    room = [(0, longest - each.values.shape[1]) for each in states]
    return replace(
        states[0],
        values=np.concatenate([np.pad(s.values, ((0, 0), r, (0, 0))) for s, r in zip(states, room, strict=True)]),
        mask=np.concatenate([np.pad(s.mask, ((0, 0), r)) for s, r in zip(states, room, strict=True)]),
    )


def _cell(
    names: Sequence[str], test: str, probe: Probe, sources: Mapping[str, Source], read: Mapping[str, _Read]
) -> Cell:
    for name in names:
        refuse_leakage(sources[name].told, sources[name].parts, _tested(sources[test]))
    calm = [
        probe.of(read[n].own.part(rows[sources[n].told.lie[rows] == 0]))
        for n in names
        for rows in [sources[n].parts.dev]
    ]
    held, rows = sources[test], sources[test].parts.test
    y, topics = held.told.lie[rows], [held.told.topics[i] for i in rows]
    shown = figure(np.concatenate(calm), probe.of(read[test].own.part(rows)), y, topics)
    twin = read[test].twin
    beside = None if twin is None else figure(np.concatenate(calm), probe.of(twin.part(rows)), y, topics)
    return Cell(train=tuple(names), test=test, figure=shown, twin=beside)


def _tested(source: Source) -> tuple[Told, Parts]:
    return source.told, source.parts
