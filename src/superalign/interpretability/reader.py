"""Reads blocks of a corpus into sketches: the same in this process and in a worker, to the bit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import torch

from superalign.engine.threads import one_thread
from superalign.interpretability.batches import Bags, Batch
from superalign.interpretability.corpus import SPLITS, Corpus, Split
from superalign.interpretability.device import Desk
from superalign.interpretability.extremes import Strata, Top, merged_strata, merged_top
from superalign.interpretability.recording import Recording
from superalign.interpretability.sketch import FULL, STRATA, Scope, Sketch, empty, part_of
from superalign.interpretability.streaming import NARROW, Gate, Tally
from superalign.interpretability.streaming_device import DeviceTally
from superalign.interpretability.units import ROWS, Site, body_of, tapped, value_of
from superalign.models import LocalModel
from superalign.training.fused import fused


class Block(NamedTuple):
    """Sequences `first` to `last` (not included) of a corpus, all of one split."""

    split: Split
    first: int
    last: int


class Job(NamedTuple):
    """Blocks of one split, by their numbers."""

    split: Split
    blocks: tuple[int, ...]


def blocks_of(corpus: Corpus, scope: Scope = FULL) -> list[Block]:
    """The grid of a corpus."""
    found, size = list[Block](), ROWS * scope.block
    for split in SPLITS:
        rows = corpus.rows(split)
        if len(rows):
            first, last = int(rows[0]), int(rows[-1]) + 1
            found += [Block(split, at, min(at + size, last)) for at in range(first, last, size)]
    return found


def keys_of(corpus: Corpus, seed: int) -> np.ndarray:
    """(n,) uint64 random keys of the sequences, by seed, document's name and number in the document, nothing else."""
    names = [hashlib.sha256(name.encode()).digest()[:8] for name in corpus.names]
    hashed = np.array([int.from_bytes(each, "big") for each in names], dtype=np.uint64)
    order = np.argsort(corpus.documents, kind="stable")
    begins = np.searchsorted(corpus.documents[order], corpus.documents[order])
    number = np.empty(len(corpus), dtype=np.uint64)
    number[order] = np.arange(len(corpus)) - begins
    return _mix(_mix(hashed[corpus.documents] ^ _mix(np.uint64(seed))) + number)


def _mix(x: np.ndarray | np.uint64) -> np.ndarray:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): uint64 to uint64, every bit by every bit."""
    with np.errstate(over="ignore"):
        z = np.asarray(x, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


class _AllRead(Exception):
    """Ends a pass through a network when its last site was read: what comes after is not needed."""


@dataclass(slots=True, kw_only=True)
class Best:
    """The extremes and samples of all that this process has read: what gates stand at, and nothing that is reported."""

    tops: dict[tuple[str, Split, int], Top] = field(default_factory=dict)
    strata: dict[tuple[str, Split], Strata] = field(default_factory=dict)

    def resume(self, found: Recording) -> None:
        """Where an earlier run stopped."""
        for (site, split), sketch in found.sketches.items():
            if sketch.tokens[0]:
                self.learn(site, split, sketch)

    def learn(self, site: str, split: Split, sketch: Sketch) -> None:
        """What a job has found."""
        for sign, top in ((1, sketch.high), (-1, sketch.low)):
            if top is not None:
                plain, known = replace(top, windows=None), self.tops.get((site, split, sign))
                self.tops[site, split, sign] = merged_top(known, plain, sign=sign) if known else plain
        if sketch.strata is not None:
            drawn = self.strata.get((site, split))
            self.strata[site, split] = merged_strata(drawn, sketch.strata) if drawn else sketch.strata

    def gates(self, site: str, split: Split, units: int) -> dict[int, Gate]:
        """Of a site's tops, by sign."""
        gates = {sign: Gate.of(units) for sign in (1, -1)}
        for sign, gate in gates.items():
            if top := self.tops.get((site, split, sign)):
                gate.tighten(top, sign)
        return gates

    def ranks(self, site: str, split: Split, units: int) -> np.ndarray:
        """(units, strata) uint32 limits of priorities."""
        if (drawn := self.strata.get((site, split))) is None:
            return np.full((units, STRATA), np.iinfo(np.uint32).max, dtype=np.uint32)
        limits: np.ndarray = drawn.ranks[:, :, -1].copy()
        return limits


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads jobs: the same in this process and in a worker."""

    model: LocalModel
    sites: tuple[Site, ...]
    corpus: Corpus
    seed: int
    scope: Scope
    best: Best = field(default_factory=Best)
    resident: bool = False
    """Do values stay on the network's device? Else they come to the CPU."""

    @cached_property
    def keys(self) -> np.ndarray:
        """(n,) uint64 of the sequences."""
        return keys_of(self.corpus, self.seed)

    @cached_property
    def ranks(self) -> np.ndarray:
        """(n,) uint32 priorities: the smallest are drawn."""
        return (self.keys >> np.uint64(32)).astype(np.uint32)

    @cached_property
    def thinned(self) -> np.ndarray:
        """(n,) bool, one sequence of `scope.every`."""
        found: np.ndarray = _mix(self.keys) % np.uint64(self.scope.every) == 0
        return found

    @cached_property
    def words(self) -> int:
        """Size of the vocabulary."""
        return int(body_of(self.model).get_input_embeddings().weight.shape[0])  # type: ignore[operator]

    @cached_property
    def classes(self) -> int:
        """Number of classes of the corpus."""
        return 0 if self.corpus.classes is None else max(0, int(self.corpus.classes.max()) + 1)

    @cached_property
    def scales(self) -> Mapping[str, np.ndarray]:
        """(units,) int16 of each site: the power of two below its largest value in the corpus' first batch."""
        first = blocks_of(self.corpus, self.scope)[0]
        batch = self.batch(np.arange(first.first, min(first.first + ROWS, first.last)))
        found: dict[str, np.ndarray] = {}

        def take(site: Site, tensor: torch.Tensor) -> None:
            values = self._values(site, tensor, batch)
            left_out = torch.from_numpy(~batch.counted)[..., None].to(values.device)
            sizes = values.abs().nan_to_num_(0, 0, 0).masked_fill_(left_out, 0).amax(dim=(0, 1))
            found[site.name] = scale_of(sizes.float().cpu().numpy())

        with one_thread():
            self._forward(batch, take)
        return found

    def nothing(self, blocks: int) -> Recording:
        """A recording of no block yet."""
        sample = {split: self._sample(split) for split in SPLITS}
        fresh = {(site.name, split): self._empty(site) for site in self.sites for split in SPLITS}
        return Recording(
            model=self.model.identity,
            corpus=self.corpus.digest,
            seed=self.seed,
            scope=self.scope,
            sites=self.sites,
            dictionaries={site.name: site.dictionary.digest for site in self.sites if site.dictionary},
            done=np.zeros(blocks, dtype=bool),
            sample=sample,
            sketches=fresh,
        )

    def _sample(self, split: Split) -> np.ndarray:
        rows = self.corpus.rows(split)
        return np.sort(rows[np.lexsort((rows, self.ranks[rows]))[: self.scope.sample]]).astype(np.int32)

    def _empty(self, site: Site) -> Sketch:
        return empty(site.units, self.scope, self.scales[site.name], words=self.words, classes=self.classes)

    @one_thread()
    def read(self, job: Job) -> dict[str, Sketch]:
        """Site → sketch of the job's blocks alone; what no later reading could keep may be left out of extremes."""
        grid, groups = blocks_of(self.corpus, self.scope), self.groups
        plain = [self._tally(group, job.split) for group in groups]
        tallies: Sequence[Tally | DeviceTally] = self._on_device(plain) if self.resident else plain
        takes = self._takes(tallies)
        alone = {group[0].name: take for group, take in zip(groups, takes, strict=True) if group[0].units > NARROW}
        for block in (grid[number] for number in job.blocks):
            for at in range(block.first, block.last, ROWS):
                batch, narrow = self.batch(np.arange(at, min(at + ROWS, block.last))), dict[str, torch.Tensor]()

                def take(
                    site: Site, tensor: torch.Tensor, batch: Batch = batch, narrow: dict[str, torch.Tensor] = narrow
                ) -> None:
                    values = self._values(site, tensor, batch)
                    if site.units > NARROW:
                        alone[site.name](batch, values)
                    else:
                        narrow[site.name] = values

                self._forward(batch, take)
                if narrow:
                    takes[-1](batch, torch.cat([narrow[site.name] for site in groups[-1]], dim=2))
            self._close(tallies, block)
        found: dict[str, Sketch] = {}
        for group, tally in zip(groups, tallies, strict=True):
            ends = np.cumsum([site.units for site in group]).tolist()
            whole, ranges = tally.closed(), zip(group, [0, *ends], ends, strict=False)
            if len(group) == 1:
                found[group[0].name] = whole
                continue
            found |= {site.name: part_of(whole, slice(first, last)) for site, first, last in ranges}
        for name, sketch in found.items():
            self.best.learn(name, job.split, sketch)
        return found

    @cached_property
    def groups(self) -> list[tuple[Site, ...]]:
        """Sites that are taken together: each wide one alone, all narrow ones last."""
        narrow = tuple(site for site in self.sites if site.units <= NARROW)
        return [*((site,) for site in self.sites if site.units > NARROW), *((narrow,) if narrow else ())]

    def _tally(self, group: tuple[Site, ...], split: Split) -> Tally:
        """Nothing of these sites yet, behind the gates that they have."""
        scales = np.concatenate([self.scales[site.name] for site in group])
        fresh = empty(len(scales), self.scope, scales, words=self.words, classes=self.classes)
        each = [self.best.gates(site.name, split, site.units) for site in group]
        gates = {
            sign: Gate(
                values=np.concatenate([gate[sign].values for gate in each]),
                rows=np.concatenate([gate[sign].rows for gate in each]),
            )
            for sign in (1, -1)
        }
        ranks = np.concatenate([self.best.ranks(site.name, split, site.units) for site in group])
        precise = group[0].units <= NARROW
        return Tally.start(fresh, self.scope, gates, ranks, skip=self.corpus.skip, precise=precise)

    def _takes(self, tallies: Sequence[Tally | DeviceTally]) -> list[Callable[[Batch, torch.Tensor], None]]:
        """How each tally is given a batch; on the CPU they share a buffer for squares."""
        if self.resident:
            return [tally.take for tally in tallies if isinstance(tally, DeviceTally)]
        buffer = torch.empty(ROWS * self.corpus.length * max(site.units for site in self.sites))
        return [partial(tally.take, buffer=buffer) for tally in tallies if isinstance(tally, Tally)]

    def _on_device(self, tallies: Sequence[Tally]) -> list[DeviceTally]:
        device = next(body_of(self.model).parameters()).device
        desk = Desk.of(self.ranks, self.scope.signs, device)
        return [DeviceTally.start(tally, desk) for tally in tallies]

    def _values(self, site: Site, tensor: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, units): float32 on the CPU, or as they are where they stay."""
        values = value_of(site, tensor)
        values = values if self.resident else values.float().cpu()
        return values.reshape(*batch.counted.shape, site.units)

    def _forward(self, batch: Batch, take: Callable[[Site, torch.Tensor], None]) -> None:
        """One pass through the body, no head, as far as sites are read.

        No token is masked, as padding stands last and attention looks back.
        """
        body, length = body_of(self.model).eval(), batch.counted.shape[1]
        ids = torch.from_numpy(self.corpus.ids[batch.rows, :length].astype(np.int64)).to(next(body.parameters()).device)
        left = {site.name for site in self.sites}

        def last(site: Site, tensor: torch.Tensor) -> None:
            take(site, tensor)
            left.discard(site.name)
            if not left:
                raise _AllRead

        with (
            suppress(_AllRead),
            torch.inference_mode(),
            fused(self.model.network),
            tapped(self.model, self.sites, last),
        ):
            body(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)

    def batch(self, rows: np.ndarray) -> Batch:
        """What sites share of these sequences."""
        corpus, ends = self.corpus, self.corpus.lengths[rows]
        length, skip = int(ends.max()), self.corpus.skip
        counted = corpus.counted(rows)[:, :length]
        classes = self._labels(rows)
        weights = np.stack([counted, *((classes == i)[:, None] & counted for i in range(self.classes))])
        thin = np.flatnonzero((counted & self.thinned[rows][:, None]).ravel())
        words = np.where(counted, corpus.ids[rows, :length], self.words)
        return Batch(
            rows=rows.astype(np.int32),
            counted=counted,
            ends=ends,
            short=tuple((i, int(end)) for i, end in enumerate(ends) if end < length),
            skip=skip,
            length=corpus.length,
            ranks=self.ranks[rows],
            words=torch.from_numpy(words.ravel().astype(np.int64)),
            bags=Bags.of(words, counted),
            buckets=torch.from_numpy(self.buckets(rows)[:, :length].ravel()[thin]),
            weights=torch.from_numpy(weights.reshape(1 + self.classes, -1).astype(np.float32)),
            thinned=torch.from_numpy(thin),
            labels=torch.from_numpy(classes[thin // length].astype(np.int64)),
        )

    def buckets(self, rows: np.ndarray) -> np.ndarray:
        """(rows, length) int64: each token's bucket of the correlation sketch, from r on where its sign is negative."""
        if not self.scope.signs:
            return np.zeros((len(rows), self.corpus.length), dtype=np.int64)
        with np.errstate(over="ignore"):
            found = _mix(self.keys[rows, None] + np.arange(1, self.corpus.length + 1, dtype=np.uint64) * np.uint64(3))
        return (found % np.uint64(2 * self.scope.signs)).astype(np.int64)

    def _labels(self, rows: np.ndarray) -> np.ndarray:
        """(rows,) class of each, the number of classes for none."""
        if self.corpus.classes is None:
            return np.zeros(len(rows), dtype=np.int64)
        labels = self.corpus.classes[rows].astype(np.int64)
        return np.where(labels < 0, self.classes, labels)

    def _close(self, tallies: Sequence[Tally | DeviceTally], block: Block) -> None:
        rows = np.arange(block.first, block.last)
        counted, labels, r = self.corpus.counted(rows), self._labels(rows), self.scope.signs
        thin = counted & self.thinned[rows][:, None]
        tokens = np.array([counted.sum(), thin.sum()])
        by_class = np.array([counted[labels == i].sum() for i in range(self.classes)], dtype=np.int64)
        ones = (
            np.bincount(self.buckets(rows)[counted & self.thinned[rows][:, None]], minlength=2 * r)
            if r
            else np.zeros(0, dtype=np.int64)
        )
        for tally in tallies:
            tally.close(tokens, by_class, self.corpus.ids[rows][counted], ones)


def scale_of(sizes: np.ndarray) -> np.ndarray:
    """(units,) int16: powers of two at or below sizes; where a size is 0, that of the site's largest.

    >>> scale_of(np.array([1.0, 3.0, 0.0]))
    array([0, 1, 1], dtype=int16)
    """
    powers = np.frexp(sizes)[1] - 1
    powers[sizes <= 0] = powers[np.argmax(sizes)] if (sizes > 0).any() else 0
    clipped: np.ndarray = np.clip(powers, -100, 100).astype(np.int16)
    return clipped
