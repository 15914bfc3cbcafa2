"""The nouns of evidence: frozen dataclasses over digests. Verbs live in workspace.py and firewall.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple
from unicodedata import normalize

from .canonical import Digest, is_digest
from .errors import BadEvent

ROLES = ("train", "dev", "validation", "test")
MODES = ("fit", "select", "read", "report", "contains")
NODE_KINDS = ("model", "data", "signal", "session")
SIGNAL_KINDS = ("labels", "reward", "judge", "probe", "monitor", "explanation", "person")
MECHANISMS = ("ladder", "thresholdout", "single-shot")
VERDICTS = ("pass", "fail", "cannot tell", "supported", "not supported")

Number = str | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What a signal ultimately knows: truth source × task × split. `str()` gives "source/task/split".

    >>> str(Family(source="construction", task="slips", split="train"))
    'construction/slips/train'
    """

    source: str
    task: str
    split: str

    def __post_init__(self) -> None:
        for part in (self.source, self.task, self.split):
            if not part or "/" in part or spelt(part) != part:
                raise BadEvent(f"{part!r} can't be part of a family: use a lower-case word without '/' or blank ends")

    def __str__(self) -> str:
        return f"{self.source}/{self.task}/{self.split}"


def spelt(part: str) -> str:
    """The one spelling of a family's part: another would be another family.

    >>> spelt(" Validation")
    'validation'
    """
    return normalize("NFKC", part).casefold().strip()


def family(text: str) -> Family:
    """Read "source/task/split"; BadEvent for anything else."""
    parts = text.split("/")
    if len(parts) != 3:
        raise BadEvent(f"{text!r} is not a family: write it as source/task/split")
    return Family(source=parts[0], task=parts[1], split=parts[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Anything a model can be fitted to, selected by or graded with."""

    name: str
    digest: Digest
    family: str
    """source/task/split, as `str(Family(...))`."""
    role: str
    """One of ROLES; only ever lowered, except by the reviewer."""
    kind: str
    """One of SIGNAL_KINDS."""

    def __post_init__(self) -> None:
        family(self.family)
        _one_of("role", self.role, ROLES)
        _one_of("kind", self.kind, SIGNAL_KINDS)
        _digests("signal", (self.digest,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A value with its interval, n, clusters, cost, and the digests of everything that went in."""

    name: str
    """Machine name, dotted: "pgr.em", "accuracy.pair"."""
    title: str
    """For people."""
    value: float | None
    """None: refused or impossible to measure; `note` says why."""
    low: float | None
    high: float | None
    level: float = 0.95
    n: int
    clusters: int
    unit: str = "fraction"
    subject: str
    """`name@digest` with all 64 digits, or a registered alias."""
    signals: tuple[str, ...]
    """Digests of the signals that measured it."""
    role: str = "validation"
    tried: int = 1
    tags: Mapping[str, Number] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    """Seconds, tokens, checks."""
    inputs: tuple[Digest, ...] = ()
    white_box: bool = False
    in_distribution: bool = False
    isolation: str = "L0"
    note: str = ""

    def __post_init__(self) -> None:
        _one_of("role", self.role, ROLES)
        _digests("signals", self.signals)
        _digests("inputs", self.inputs)
        if self.value is None and not self.note:
            raise BadEvent(f"measurement {self.name} has no value and no note: say why it couldn't be measured")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence, the measurements that carry it (sequence numbers), and what would defeat it."""

    text: str
    verdict: str
    """One of VERDICTS."""
    subject: str
    measurements: tuple[int, ...]
    defeaters: tuple[str, ...] = ()
    tags: Mapping[str, Number] = field(default_factory=dict)
    """{"scope": "in-distribution"} when none is from another task; {"role": "dev"} for a weaker claim."""

    def __post_init__(self) -> None:
        _one_of("verdict", self.verdict, VERDICTS)


@dataclass(frozen=True, slots=True)
class Use:
    """An edge before it is written: `source` goes into `target` by `mode`."""

    source: Digest
    target: Digest
    mode: str
    kind: str = field(default="model", kw_only=True)
    """What the target will be, where it has no node yet (its digest is only known after training)."""
    quarantined: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        _one_of("mode", self.mode, MODES)
        _one_of("kind", self.kind, NODE_KINDS)
        _digests("use", (self.source, self.target))


class Step(NamedTuple):
    """One hop of a TaintPath: the node, and the mode by which it went into the one before."""

    label: str
    digest: Digest
    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaintPath:
    """How a family reached a node (holds, fit, select or read); steps run from the node to the origin."""

    family: str
    how: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        text = self.steps[0].label
        for step in self.steps[1:]:
            text += f" ← {step.label}" if step.mode == "contains" else f" ←({step.mode})← {step.label}"
        return text


def body_of(noun: Signal | Measurement | Claim) -> dict[str, Any]:
    """The noun as an event body: its fields, by name."""
    return {f.name: getattr(noun, f.name) for f in fields(noun)}


def measurement_of(body: Mapping[str, Any]) -> Measurement:
    """Read a Measurement back from the body of its event."""
    return Measurement(**{**body, "signals": tuple(body["signals"]), "inputs": tuple(body["inputs"])})


def claim_of(body: Mapping[str, Any]) -> Claim:
    """Read a Claim back from the body of its event."""
    lists = {"measurements": tuple(body["measurements"]), "defeaters": tuple(body["defeaters"])}
    return Claim(**{**body, **lists})


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise BadEvent(f"{value!r} is not a {what}: choose one of {', '.join(allowed)}")


def _digests(what: str, values: tuple[str, ...]) -> None:
    for value in values:
        if not is_digest(value):
            raise BadEvent(f"{value!r} in {what} is not a digest: pass the 64 hex digits of its SHA-256")
