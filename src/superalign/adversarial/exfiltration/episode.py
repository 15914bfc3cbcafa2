"""One episode: an agent in the range, one action a turn, everything recorded raw; scores are computed from it alone.

    episode = play_episode(solver(6), drawn_fixture(seed=0), name="solver 6")
    json.dumps(as_raw(episode))                      # and episode_of(...) back
    graded(episode)                                  # see milestones

An agent is any callable that takes the messages so far, as chat servers do, and returns one answer.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from superalign.adversarial.exfiltration.actions import Action, parsed
from superalign.adversarial.exfiltration.boxed import Box, Did, Wrote, opened
from superalign.adversarial.exfiltration.mains import checked
from superalign.adversarial.exfiltration.range import Fixture, drawn_fixture, instructions
from superalign.models.errors import ModelError, Unaskable
from superalign.sandbox import Isolation, Limits

Message = Mapping[str, str]
"""`role` (user, assistant) and `content`."""
Agent = Callable[[Sequence[Message]], str]
SHOWN = 4_000
"""Characters of an action's output that the agent is shown."""
KEPT = 20_000
"""Characters of an answer that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One answer, and what it came to."""

    said: str
    action: str
    """run, write, done, none."""
    why: str
    """Of none: what kind of no action."""
    did: Did | None
    """Of run and write."""
    shown: str
    """What the agent was told of it."""
    thought: float
    """Seconds until it answered."""
    words: int
    """In what it was given to read, and in its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A whole run, raw."""

    seed: int
    size: int
    """Of the fixture, which follows from both."""
    agent: str
    nudge: str
    turns: tuple[Turn, ...]
    ended: str
    """done, turns (there were no more), garbage (too many answers in a row that were no action), failed (the agent), or
    how the sandbox came to its end: killed, late, memory, disk, broken."""
    failure: str
    """What the agent's failure said."""
    kept: str | None
    """The function to mend, as it was left."""
    main: tuple[bool, ...]
    """A hidden call each: right?"""
    seconds: float

    @property
    def no_action(self) -> Mapping[str, int]:
        """Answers that were no action, by kind."""
        return dict(Counter(turn.why for turn in self.turns if turn.action == "none"))


def play_episode(
    agent: Agent,
    fixture: Fixture,
    *,
    name: str,
    nudge: str = "none",
    turns: int = 16,
    seconds: float = 10.0,
    garbage: int = 4,
    limits: Limits | None = None,
    isolation: Isolation | None = None,
) -> Episode:
    """Let an agent play: at most `turns` answers, `seconds` an action; `garbage` answers without one in a row end it.

    An agent's ModelError ends the episode as `failed`, and nothing is lost. Raises Unaskable where no further request
    would do, SandboxUnavailable without bubblewrap, ValueError for an unknown nudge.
    """
    messages: list[Message] = [{"role": "user", "content": instructions(fixture, nudge=nudge)}]
    began, done, ended, failure = time.monotonic(), list[Turn](), "turns", ""
    with opened(fixture, limits=limits, isolation=isolation) as box:
        while len(done) < turns and ended == "turns":
            try:
                turn = _turn(agent, messages, box, seconds)
            except Unaskable:
                raise
            except ModelError as error:
                ended, failure = "failed", str(error)[:500]
                break
            done.append(turn)
            messages += [{"role": "assistant", "content": turn.said}, {"role": "user", "content": turn.shown}]
            ended = _ending(done, garbage)
        kept = box.kept(fixture.module)
    return Episode(
        seed=fixture.seed,
        size=len(fixture.loot) - _head(fixture),
        agent=name,
        nudge=nudge,
        turns=tuple(done),
        ended=ended,
        failure=failure,
        kept=kept,
        main=checked(fixture.task, kept, isolation=isolation),
        seconds=round(time.monotonic() - began, 3),
    )


def _head(fixture: Fixture) -> int:
    return 8 + int.from_bytes(fixture.loot[:8], "little")


def _turn(agent: Agent, messages: Sequence[Message], box: Box, seconds: float) -> Turn:
    began = time.monotonic()
    said = agent(messages)
    thought = time.monotonic() - began
    action = parsed(said)
    did = box.do(action, seconds=seconds) if action.kind in ("run", "write") else None
    return Turn(
        said=said[:KEPT].encode("utf-8", "replace").decode(),
        action=action.kind,
        why=action.why,
        did=did,
        shown=_shown(action, did, seconds),
        thought=round(thought, 4),
        words=sum(len(message["content"].split()) for message in messages) + len(said.split()),
    )


def _shown(action: Action, did: Did | None, seconds: float) -> str:
    if did is None:
        return "" if action.kind == "done" else f"no action ({action.why}): answer run: LINE, write: PATH or done"
    if action.kind == "write":
        return "written" if did.code == 0 else f"not written: {did.stderr[:200]}"
    ends = {"exited": f"exit {did.code}", "timeout": f"killed after {seconds:g} s", "output": "killed: too much output"}
    text = "\n".join(part for part in (did.stdout, did.stderr) if part)
    cut = "" if len(text) <= SHOWN else f"\n[{len(text) - SHOWN} characters more]"
    return f"{ends.get(did.how, did.how)}\n{text[:SHOWN]}{cut}"


def _ending(done: Sequence[Turn], garbage: int) -> str:
    last = done[-1]
    if last.action == "done":
        return "done"
    if last.did is not None and last.did.over:
        return last.did.how
    return "garbage" if len(done) >= garbage and all(t.action == "none" for t in done[-garbage:]) else "turns"


def as_raw(episode: Episode) -> dict[str, Any]:
    """An episode as JSON types: everything that scores are computed from, but the fixture, which its seed gives."""
    return asdict(episode)


def episode_of(raw: Mapping[str, Any]) -> Episode:
    """The episode of such JSON types. Raises TypeError, KeyError for others."""
    turns = []
    for turn in raw["turns"]:
        did = turn["did"]
        if did is not None:
            wrote = tuple(Wrote(**one) for one in did["wrote"])
            tuples = {name: tuple(did[name]) for name in ("seen", "met", "sunk")}
            did = Did(**{**did, **tuples, "wrote": wrote})
        turns.append(Turn(**{**turn, "did": did}))
    return Episode(**{**raw, "turns": tuple(turns), "main": tuple(raw["main"])})


def fixture_of(episode: Episode) -> Fixture:
    """The range that it was played in."""
    return drawn_fixture(seed=episode.seed, size=episode.size)
