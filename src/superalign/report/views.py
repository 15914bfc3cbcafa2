"""What the pages show: frozen views, made by compile.py from events and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One measurement: its value, how well it is known, and the event it comes from."""

    seq: int
    name: str
    title: str
    value: float | None
    """None: refused, and `note` says why."""
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    n: int = 0
    clusters: int = 0
    unit: str = "fraction"
    subject: str = ""
    role: str = "validation"
    tried: int = 1
    isolation: str = "L0"
    white_box: bool = False
    in_distribution: bool = False
    note: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    earlier: tuple[int, ...] = ()
    """Events that measured the same before; this one is the latest."""

    @property
    def refused(self) -> bool:
        """True when there is no value."""
        return self.value is None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both bounds, or None where either is missing."""
        return (self.low, self.high) if self.low is not None and self.high is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a table: what it is called there, the heading it stands under, its number."""

    label: str
    group: str = ""
    number: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A claim, and the numbers that decide it."""

    seq: int
    property: str
    text: str
    verdict: str
    subject: str
    gate: bool
    """True: a detection claim, decided by the gate's rule."""
    follows: str
    """What the rule gives on the numbers in the ledger; "" where the rule doesn't apply."""
    why: tuple[str, ...]
    number: Number | None = None
    threshold: float | None = None
    detection: Number | None = None
    false_alarm: Number | None = None
    evidence: tuple[Number, ...] = ()
    defeaters: tuple[str, ...] = ()
    earlier: tuple[int, ...] = ()


class RocPoint(NamedTuple):
    """Flagging every score >= threshold (or > it, at an operating point): what is caught, what is accused."""

    threshold: float | None
    fpr: float
    tpr: float
    twins: int
    organisms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The ROC curve of one check, ties taken as one step; `refused` says why there is none."""

    seq: int
    check: str
    points: tuple[RocPoint, ...] = ()
    operating: RocPoint | None = None
    area: Number | None = None
    twins: int = 0
    organisms: int = 0
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """One model as one check saw it, and what it really was."""

    alias: str
    check: str
    truth: str
    kind: str
    flagged: bool | None
    threshold: float | None
    number: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """How often a check catches a kind it was not tuned on, and how often it accuses a twin."""

    check: str
    kind: str
    detection: Number | None = None
    false_alarm: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """One organism beside its twin: does it carry what was planted?"""

    kind: str
    seed: str
    alias: str
    parts: Mapping[str, Number]
    carries: bool | None
    """None: the ledger doesn't hold what would tell."""
    why: str
    source: str
    """shipped, stored or trained; empty when the ledger does not say."""


class LineageNode(NamedTuple):
    """A model, data set or signal (or `members` of them, drawn as one box)."""

    key: str
    kind: str
    name: str
    digest: str
    roles: tuple[str, ...]
    marks: tuple[str, ...]
    seq: int
    members: int = 1


class LineageEdge(NamedTuple):
    """Something that went into something, by a mode; `measured` comes from measurements, the rest from edges."""

    source: str
    target: str
    mode: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Everything registered, and the same folded for drawing."""

    nodes: tuple[LineageNode, ...] = ()
    edges: tuple[LineageEdge, ...] = ()
    drawn_nodes: tuple[LineageNode, ...] = ()
    drawn_edges: tuple[LineageEdge, ...] = ()
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """One failure: the code as the model saw it, where it was altered, where the model pointed."""

    seq: int
    id: str
    title: str
    why: str
    kind: str
    source: str
    shown: str
    place: tuple[int, int] | None
    pointed: tuple[int, int] | None
    verdict: str
    truth: str
    repair: str | None
    subject: str


class Finding(NamedTuple):
    """A sentence about what was not detected or not shown, with the events behind it."""

    text: str
    seqs: tuple[int, ...]


class Cost(NamedTuple):
    """What one stage, or one kind of expense, took."""

    label: str
    times: int
    amount: float
    seqs: tuple[int, ...]


class EventLine(NamedTuple):
    """One event in the list at the end."""

    seq: int
    type: str
    actor: str
    digest: str
    time: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFacts:
    """What an auditor compares with their own copy."""

    head: str
    events: int
    types: tuple[tuple[str, int], ...]
    isolation: tuple[str, ...]
    genesis: Mapping[str, str]
    checkpoint: tuple[int, str] | None
    """Sequence number and root of the last checkpoint."""
    last: str
    """Time of the last event: informative, not trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
    """A held-out family: what it can show, what may be asked of it, what was."""

    family: str
    shown: str
    """Smallest effect that it shows, of its headroom; "" where it was not admitted."""
    budget: str
    asked: str
    seqs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """Everything the page shows, in its order."""

    subject: str
    verdicts: tuple[Verdict, ...]
    undetected: tuple[Finding, ...]
    missing: tuple[str, ...]
    tables: Mapping[str, tuple[Row, ...]]
    """"stage.figure" → rows: train.pgr, train.accuracy, validate.gap, …; "other" takes what fits nowhere."""
    installs: tuple[Install, ...]
    power: tuple[Power, ...]
    suspects: tuple[Suspect, ...]
    curves: tuple[Curve, ...]
    lineage: Lineage
    gallery: tuple[Specimen, ...]
    stages: tuple[Cost, ...]
    expenses: tuple[Cost, ...]
    runs: tuple[tuple[int, Mapping[str, str]], ...]
    plans: tuple[tuple[int, Mapping[str, str]], ...]
    holdouts: tuple[Holdout, ...]
    problems: tuple[Finding, ...]
    """Figures that could not be read, and why."""
    ledger: LedgerFacts
    lines: tuple[EventLine, ...]
