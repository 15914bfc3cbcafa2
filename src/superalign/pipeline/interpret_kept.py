"""What stages of `superalign interpret` kept, read again as scores with their draws. No model, no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from superalign.interpretability.correlations import Scored, Sums, correlation, gain
from superalign.pipeline.arrays import arrays_from_bytes
from superalign.pipeline.desk import Desk
from superalign.pipeline.interpret_config import InterpretConfig
from superalign.pipeline.interpret_families import RULES, UNIGRAM
from superalign.stats import Interval
from superalign.stats.interval import refused

Done = Callable[[str], Any]
"""Name of a stage → what it stored, None where it wasn't reached."""
NEURONS = "neurons"
SHUFFLED = ", shuffled"


def explained_stage(site: str, fresh: int | None = None) -> str:
    """Name of the stage in which a site is explained, of the model or of an untrained network."""
    return f"explain {site}" if fresh is None else f"explain {site} of untrained network {fresh}"


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What was kept of one site of one network."""

    site: str
    kept: Mapping[str, np.ndarray]
    seed: int
    draws: int

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Of explanations, controls last."""
        return tuple(map(str, self.kept["families"]))

    @cached_property
    def scored(self) -> Mapping[str, Scored]:
        """r of every family on random windows."""
        return {each: correlation(self.sums(each), seed=self.seed, draws=self.draws) for each in self.families}

    @cached_property
    def gains(self) -> Mapping[str, Scored]:
        """Of every family over the unigram table."""
        under = self.sums(UNIGRAM)
        names = [name for name in self.families if name != UNIGRAM and not name.endswith(SHUFFLED)]
        return {name: gain(self.sums(name), under, seed=self.seed, draws=self.draws) for name in names}

    @cached_property
    def top(self) -> Mapping[str, Scored]:
        """r over each unit's own top and random windows, 1:1, of a few families."""
        if "top families" not in self.kept:
            return {}
        names = tuple(map(str, self.kept["top families"]))
        sums = {name: _sums(self.kept, "top ", name, number) for number, name in enumerate(names)}
        return {name: correlation(each, seed=self.seed, draws=self.draws) for name, each in sums.items()}

    def sums(self, family: str) -> Sums:
        """Of one family over random windows. Raises ValueError for one that was not kept."""
        return _sums(self.kept, "", family, self.families.index(family))

    @property
    def best(self) -> np.ndarray:
        """(units,) number of the family that is shown."""
        best: np.ndarray = self.kept["best"]
        return best

    @cached_property
    def shown(self) -> Mapping[str, np.ndarray]:
        """(units,) each: r of the family that is shown with its ends, its gain, and r of the controls."""
        found = {
            name: np.full(len(self.best), np.nan) for name in ("r", "r low", "r high", "gain", "unigram", "shuffled")
        }
        for number in np.unique(self.best):
            mine, name = self.best == number, self.families[number]
            each, more = self.scored[name], self.gains.get(name)
            for column, values in (("r", each.value), ("r low", each.low), ("r high", each.high)):
                found[column][mine] = values[mine]
            if more is not None:
                found["gain"][mine] = more.value[mine]
        found["unigram"] = self.scored[UNIGRAM].value
        wrong = [name for name in self.families if name.endswith(SHUFFLED) and not name.startswith(UNIGRAM)]
        if wrong:
            found["shuffled"] = self.scored[wrong[0]].value
        return found


def _sums(kept: Mapping[str, np.ndarray], prefix: str, name: str, number: int) -> Sums:
    return Sums(
        name=name,
        parts=kept[f"{prefix}parts"][number].astype(np.float64),
        documents=kept[f"{prefix}documents"],
        shift=kept[f"{prefix}shift"][number],
        windows=int(kept[f"{prefix}windows"][number]),
        tokens=int(kept[f"{prefix}tokens"][number]),
    )


@dataclass(frozen=True, kw_only=True)
class Explanations:
    """All sites of all networks."""

    trained: tuple[Explained, ...]
    fresh: Mapping[int, tuple[Explained, ...]]
    inputs: Mapping[str, str]
    """Stage → digest of its arrays."""
    windows: int
    """Held-out windows that were looked at, all scores together."""


def explanations_of(desk: Desk, config: InterpretConfig, done: Done) -> Explanations:
    """What the stages kept."""
    draws: int = desk.sizes.draws
    networks: tuple[int | None, ...] = (None, *fresh_seeds(desk, config))
    found: dict[int | None, list[Explained]] = {network: [] for network in networks}
    inputs, windows = dict[str, str](), 0
    for network in networks:
        for site in done("recording")["sites"]:
            if network is not None and not site["name"].startswith(NEURONS):
                continue
            stage = explained_stage(site["name"], network)
            told = done(stage)
            kept = arrays_from_bytes(desk.ws.store.get(told["kept"]))
            found[network].append(Explained(site=site["name"], kept=kept, seed=config.seed, draws=draws))
            inputs[stage], windows = told["kept"], windows + int(told["windows"])
    fresh = {network: tuple(sites) for network, sites in found.items() if network is not None}
    return Explanations(trained=tuple(found[None]), fresh=fresh, inputs=inputs, windows=windows)


def fresh_seeds(desk: Desk, config: InterpretConfig) -> tuple[int, ...]:
    """Seeds of the untrained networks that are explained."""
    count: int = desk.sizes.untrained  # type: ignore[attr-defined]
    return tuple(range(config.seed, config.seed + count)) if "untrained" in config.parts else ()


def pooled(each: Sequence[Scored | None]) -> Scored | None:
    """One score of the units of several sites together; None where one lacks it, or they read other documents."""
    parts = [score for score in each if score is not None]
    if not parts or len(parts) < len(each) or len({(p.clusters, len(p.draws)) for p in parts}) > 1:
        return None
    return replace(
        parts[0],
        value=np.concatenate([p.value for p in parts]),
        low=np.concatenate([p.low for p in parts]),
        high=np.concatenate([p.high for p in parts]),
        draws=np.concatenate([p.draws for p in parts], axis=1),
        windows=sum(p.windows for p in parts),
    )


def of_family(sites: Sequence[Explained], family: str) -> Scored | None:
    """r of one family, the units of all sites together."""
    return pooled([site.scored.get(family) for site in sites])


def simulations(explained: Explained) -> Iterator[tuple[str, Interval]]:
    """(unit, or `all`; its score) of what was told by explanations instead of being read."""
    kept = explained.kept
    if "simulation units" not in kept:
        return
    rows = zip(kept["simulation units"], kept["simulation score"], kept["simulation clusters"], strict=True)
    for unit, (value, low, high), clusters in rows:
        name, method = "all" if unit < 0 else str(int(unit)), "ratio of divergences, documents resampled"
        if np.isfinite(value):
            ends = (float(low), float(high)) if np.isfinite(low) else (None, None)
            score = Interval(value=float(value), low=ends[0], high=ends[1], n=1, clusters=int(clusters), method=method)
        else:
            score = refused(
                "the unit's own effect can't be told from nothing", n=1, clusters=int(clusters), method=method
            )
        yield name, score


def untrained_mean(fresh: Mapping[int, tuple[Explained, ...]], site: str) -> float:
    """Mean r of rules at a site of the untrained networks, the control of readable families; NaN of none."""
    means = [
        float(np.nanmean(each.scored[RULES].value))
        for sites in fresh.values()
        for each in sites
        if each.site == site and np.isfinite(each.scored[RULES].value).any()
    ]
    return float(np.mean(means)) if means else float("nan")
