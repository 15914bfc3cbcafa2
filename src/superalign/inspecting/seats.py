"""Who sits where, in Inspect: the model of a role at each seat, as a player in words that Inspect asks.

    seated = seats_of(protocol, judge_by="auto", samples=8)      # in a solver, where models are known
    replies = await seated.ask("a", asks)

Roles: `judge`; for seats of advisers the seat's own name first (`a`, `second critic`), then `debater`, `adviser`,
`consultant` or `critic`, as fits. A seat that no role names is the evaluated model's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from superalign.evidence import SuperalignError
from superalign.inspecting.wording import asked, reply_of

if TYPE_CHECKING:
    from inspect_ai.model import Model

    from superalign.models.speaker import Ask, Reply
    from superalign.oversight import Protocol

ROLES: Mapping[str, tuple[str, ...]] = {
    "judge": ("judge",),
    "a": ("debater", "adviser"),
    "b": ("debater", "adviser"),
    "adviser": ("adviser", "consultant"),
    "critic": ("critic", "adviser"),
    "second critic": ("critic", "adviser"),
}
"""Seat → roles that may name its model, the first that does."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """A speaker whom Inspect asks: its name says who it is, and nobody asks it but the solver."""

    identity: str

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """Raises RuntimeError: a player in words is asked through Inspect here."""
        raise RuntimeError(f"{self.identity} is asked by Inspect's solver alone: play with play_async")


@dataclass(slots=True, kw_only=True)
class Seated:
    """The models of one protocol, and the players that they are."""

    models: Mapping[str, Model]
    """Seat → model, the judge's too."""
    players: Mapping[str, Any]
    weights: dict[str, str] = field(default_factory=dict)
    """Seat → digest of the weights, as outputs tell it; a seat whose model tells none is not here."""
    turn: Any = None
    """A lock: the judge is asked once how it answers, and players learn once."""
    learned: Mapping[str, Any] | None = None
    """The players that a protocol has trained, once it has."""
    threads: Any = None
    """A limit to the threads that its plays wait in."""

    async def settle(self) -> None:
        """Have the judge decide how it is asked. One that gives no first answer is asked by samples, where each of its
        failures is counted in its own episode.
        """
        import anyio

        judge, self.turn = self.players["judge"], self.turn or anyio.Lock()
        async with self.turn:
            if judge.undecided:
                try:
                    judge.settle(await self.ask("judge", judge.probes()))
                except SuperalignError:
                    judge.choice.append("samples")

    async def ask(self, seat: str, asks: Sequence[Ask]) -> list[Reply]:
        """One reply an ask, side by side. What Inspect raises (limits, a provider's error) goes through."""
        from superalign.oversight.spoken import side_by_side

        return await side_by_side(self._one(seat, ask) for ask in asks)

    async def _one(self, seat: str, ask: Ask) -> Reply:
        messages, config = asked(ask)
        output = await self.models[seat].generate(messages, config=config)
        told = (output.metadata or {}).get("weights")
        if isinstance(told, str):
            self.weights[seat] = told
        return reply_of(output)

    def told(self) -> dict[str, dict[str, str]]:
        """Seat → name of its model, and digest of its weights, empty where nobody tells it."""
        return {
            seat: {"name": str(model), "weights": self.weights.get(seat, "")} for seat, model in self.models.items()
        }


def model_at_seat(seat: str) -> Model:
    """The Inspect model that sits there. Must be called where Inspect evaluates."""
    from inspect_ai.model import get_model, model_roles

    named = model_roles()
    role = next((role for role in (seat, *ROLES.get(seat, ())) if role in named), None)
    return get_model(role=role) if role else get_model()


def seats_of(
    protocol: Protocol,
    *,
    judge_by: str,
    samples: int,
    prompt: str,
    prompts: Mapping[str, str],
    judge_tokens: int = 0,
    **dials: Any,
) -> Seated:
    """Everybody whom a protocol needs, in words; `dials` are those of advisers. Raises PromptError for a bad prompt."""
    from superalign.oversight.judges.spoken import SpokenJudge
    from superalign.oversight.prompts.chat import load_chat_prompt
    from superalign.oversight.spoken import seats_in_words

    models = {seat: model_at_seat(seat) for seat in ("judge", *protocol.seats)}
    players: dict[str, Any] = {}
    for seat in protocol.seats:
        speaker = Inspected(str(models[seat]))
        players[seat] = seats_in_words(protocol, speaker, prompts=prompts, **dials)[seat]
    told: dict[str, Any] = {"prompt": load_chat_prompt(prompt)} if prompt else {}
    told |= {"by": judge_by, "samples": samples, "tokens": judge_tokens}
    players["judge"] = SpokenJudge(speaker=Inspected(str(models["judge"])), **told)
    return Seated(models=models, players=players)
