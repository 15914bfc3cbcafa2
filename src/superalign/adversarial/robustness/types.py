"""What every attack is given and what it leaves behind: a case, a target that answers, and one record an attempt.

attempts = tried(target, cases, texts, attacker=STATIC, order=0, seed=0)      # raw; `bounds` makes rates of them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

Access = Literal["none", "static", "adaptive", "white-box"]
"""What an attacker may use: the case as it is, a fixed suite, the target's answers, its weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request."""

    name: str
    """Of the request: the unit that intervals resample."""
    text: str
    """As an ordinary person asks it."""
    truth: Any
    """What the target's judgement of success is made from; no attack looks at it."""
    benign: bool = False
    """A twin that ought to be answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the target said and what that came to."""

    said: str
    refused: bool
    success: bool
    """The refused thing was done, and done right: not to refuse is not enough."""
    score: float
    """All that an adaptive attacker is told: grows towards success."""


class Target(Protocol):
    """What is attacked."""

    @property
    def name(self) -> str:
        """For tables."""

    def ask(self, cases: Sequence[Case], texts: Sequence[str], *, seed: int) -> list[Answer]:
        """One answer a text; the texts are worded anew for the cases, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacker:
    """Who attacks and what it may spend on one request: a bound holds for this and nothing stronger."""

    name: str
    access: Access
    attempts: int
    """Queries of the target a request."""
    evaluations: int = 0
    """Losses computed on the target's weights, a request at most; of an attack that is one for all requests, in all."""
    gradients: int = 0

    @property
    def told(self) -> str:
        """Name and budget in words."""
        own = f", {self.gradients} gradients and {self.evaluations} losses" if self.access == "white-box" else ""
        return f"{self.name} ({self.access}, {self.attempts} attempts a request{own})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One query, as it was: plain fields, so that every rate can be computed again."""

    attacker: str
    access: Access
    case: str
    benign: bool
    order: int
    """Of the attempts on this case, from 0."""
    text: str
    plan: tuple[str, ...]
    """Names of what was done to the text."""
    said: str
    refused: bool
    success: bool

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self) | {"plan": list(self.plan)}


def attempt_of(found: Mapping[str, Any]) -> Attempt:
    """An attempt from its JSON. Raises TypeError for missing or unknown fields."""
    return Attempt(**{**found, "plan": tuple(found["plan"])})


def recorded(
    case: Case, text: str, answer: Answer, *, attacker: Attacker, order: int, plan: tuple[str, ...] = ()
) -> Attempt:
    """The record of one answer."""
    return Attempt(
        attacker=attacker.name,
        access=attacker.access,
        case=case.name,
        benign=case.benign,
        order=order,
        text=text,
        plan=plan,
        said=answer.said,
        refused=answer.refused,
        success=answer.success,
    )


def asked(target: Target, cases: Sequence[Case], *, attempts: int, seed: int) -> list[Attempt]:
    """Every case as it is, `attempts` times: what the target does when nobody attacks it."""
    nobody = Attacker(name="as it is", access="none", attempts=attempts)
    out: list[Attempt] = []
    for order in range(attempts):
        texts = [case.text for case in cases]
        answers = target.ask(cases, texts, seed=seed + order)
        rows = zip(cases, texts, answers, strict=True)
        out += [recorded(case, text, answer, attacker=nobody, order=order) for case, text, answer in rows]
    return out
