"""What a recording found: a sketch of each site and split, on disk as one safetensors file, the same bits every time.

found = Recording.load(path)
found.sketch("neurons 2", "train").mean
found.correlations("neurons 2", 7, 10)          # the ten units of the network that move with it
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from superalign.interpretability.corpus import SPLITS, Split
from superalign.interpretability.extremes import Strata, Top
from superalign.interpretability.sketch import Scope, Sketch, merged
from superalign.interpretability.units import Site

FORMAT = "superalign recording 1"
PARTS = {"high": Top, "low": Top, "strata": Strata}


class Neighbour(NamedTuple):
    """A unit and its estimated correlation with another."""

    site: str
    unit: int
    correlation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Sketches of units on a corpus."""

    model: str
    """Identity, `name@digest`."""
    corpus: str
    """Digest."""
    seed: int
    scope: Scope
    sites: tuple[Site, ...]
    """Dictionaries are not kept: a site that was loaded says its features' number only."""
    dictionaries: Mapping[str, str]
    """Digest of each site's dictionary, by site."""
    done: np.ndarray
    """(blocks,) bool: what of the corpus' grid was read."""
    sample: Mapping[Split, np.ndarray]
    """Sequences of each split drawn at random, the same for all units, ascending."""
    sketches: Mapping[tuple[str, Split], Sketch]

    @property
    def complete(self) -> bool:
        """Was every block read?"""
        return bool(self.done.all())

    @property
    def plan(self) -> str:
        """What was to be recorded: shards and resumes must agree on it."""
        sites = [_described(site) | {"dictionary": self.dictionaries.get(site.name)} for site in self.sites]
        told = {
            "model": self.model,
            "corpus": self.corpus,
            "seed": self.seed,
            "scope": asdict(self.scope),
            "sites": sites,
        }
        return json.dumps(told | {"blocks": len(self.done)}, sort_keys=True)

    @property
    def digest(self) -> str:
        """SHA-256 over the plan and every bit that was found."""
        found = hashlib.sha256(self.plan.encode())
        for name, array in sorted(self._arrays()):
            found.update(f"{name}{array.dtype}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def sketch(self, site: str, split: Split) -> Sketch:
        """Of one site. Raises ValueError for one that was not recorded."""
        if (site, split) not in self.sketches:
            known = ", ".join(dict.fromkeys(name for name, _ in self.sketches))
            raise ValueError(f"{site!r} on {split!r} was not recorded; there are {known} on {', '.join(SPLITS)}")
        return self.sketches[site, split]

    def correlations(self, site: str, unit: int, n: int, *, split: Split = "train") -> list[Neighbour]:
        """The n units of all sites that correlate most with one, by size, as the sketch estimates it.

        The error is about 1/√buckets, 0.06: read the activations of `sample` to check. Raises ValueError for a site
        or unit that was not recorded, or no sketch.
        """
        own = self.sketch(site, split)
        if not 0 <= unit < own.units:
            raise ValueError(f"unit {unit} of {site!r}, which has {own.units}: count from 0")
        base = _unit_length(own.centred_signs())[:, unit]
        names = [each.name for each in self.sites]
        found = [base @ _unit_length(self.sketch(name, split).centred_signs()) for name in names]
        owner = np.repeat(np.arange(len(names)), [len(each) for each in found])
        place, value = np.concatenate([np.arange(len(each)) for each in found]), np.concatenate(found)
        value[(owner == names.index(site)) & (place == unit)] = 0
        order = np.argsort(-np.abs(value), kind="stable")[:n]
        return [Neighbour(names[owner[i]], int(place[i]), float(value[i])) for i in order if value[i]]

    def save(self, path: Path) -> None:
        """One safetensors file, written whole or not at all."""
        from safetensors.numpy import save_file

        tensors = {name: np.ascontiguousarray(array) for name, array in self._arrays()}
        tensors |= {f"sites/{s.name}": s.directions for s in self.sites if s.directions is not None}
        aside = path.with_name(f"{path.name}.{os.getpid()}.part")
        save_file(tensors, aside, metadata={FORMAT: self.plan})  # two would come in any order
        os.replace(aside, path)

    @classmethod
    def load(cls, path: Path) -> Recording:
        """From `save`. Raises ValueError for a file that is none, or is broken."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as file:
                told = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
        except SafetensorError as error:
            raise ValueError(f"{path} is no recording, or broken ({error}): delete it and record again") from error
        if FORMAT not in told:
            raise ValueError(f"{path} is no {FORMAT!r}: its metadata tell of {', '.join(told) or 'nothing'}")
        plan = json.loads(told[FORMAT])
        sites = tuple(_site(each, tensors) for each in plan["sites"])
        return cls(
            model=plan["model"],
            corpus=plan["corpus"],
            seed=plan["seed"],
            scope=Scope(**plan["scope"]),
            sites=sites,
            dictionaries={
                s.name: told["dictionary"] for s, told in zip(sites, plan["sites"], strict=True) if told["dictionary"]
            },
            done=tensors["done"].astype(bool),
            sample={split: tensors[f"sample/{split}"] for split in SPLITS},
            sketches={(s.name, split): _sketch(tensors, f"{s.name}/{split}/") for s in sites for split in SPLITS},
        )

    @staticmethod
    def merged(parts: Sequence[Recording]) -> Recording:
        """Shards together, in any order. Raises ValueError for shards of other plans, or that share blocks."""
        whole, *others = parts
        for other in others:
            if other.plan != whole.plan or (whole.done & other.done).any():
                raise ValueError("shards of one recording are merged, each once: these differ in plan or share blocks")
            both = {key: merged(sketch, other.sketches[key]) for key, sketch in whole.sketches.items()}
            whole = replace(whole, done=whole.done | other.done, sketches=both)
        return whole

    def _arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        yield "done", self.done.astype(np.uint8)
        yield from ((f"sample/{split}", rows) for split, rows in self.sample.items())
        for (site, split), sketch in self.sketches.items():
            yield from ((f"{site}/{split}/{name}", array) for name, array in _parts(sketch))


def _parts(noun: Sketch | Top | Strata) -> Iterator[tuple[str, np.ndarray]]:
    for each in fields(noun):
        value = getattr(noun, each.name)
        if isinstance(value, np.ndarray):
            yield each.name, value
        elif value is not None:
            yield from ((f"{each.name}.{name}", array) for name, array in _parts(value))


def _sketch(tensors: Mapping[str, np.ndarray], prefix: str) -> Sketch:
    own = {name[len(prefix) :]: array for name, array in tensors.items() if name.startswith(prefix)}
    parts: dict[str, Any] = {name: array for name, array in own.items() if "." not in name}
    for name, kind in PARTS.items():
        inner: dict[str, Any] = {k.partition(".")[2]: v for k, v in own.items() if k.startswith(f"{name}.")}
        if inner:
            parts[name] = kind(**({"windows": None} | inner if kind is Top else inner))
    return Sketch(**parts)


def _described(site: Site) -> dict[str, Any]:
    """What tells a site from another."""
    told: dict[str, Any] = {name: getattr(site, name) for name in ("kind", "layer", "units", "module", "tag")}
    if site.directions is not None:
        told["directions"] = hashlib.sha256(np.ascontiguousarray(site.directions).tobytes()).hexdigest()
    return told


def _site(told: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Site:
    plain = {name: value for name, value in told.items() if name not in ("directions", "dictionary")}
    site = Site(**plain)
    return replace(site, directions=tensors.get(f"sites/{site.name}"))


def _unit_length(columns: np.ndarray) -> np.ndarray:
    size = np.linalg.norm(columns, axis=0)
    return columns / np.where(size > 0, size, 1)
