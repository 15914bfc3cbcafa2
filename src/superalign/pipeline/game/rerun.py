"""V3 of stress tests: every writer's programs written and executed again, by the weights that are stored.

Reviewers are audited again by V3 of a run. Last digits differ between machines, and now and then one of them decides a
word: a stage is alike when nearly all of its programs come to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from superalign.engine import run_parallel
from superalign.evidence import SuperalignError, Workspace
from superalign.pipeline.game.places import places
from superalign.pipeline.game.recount import Game
from superalign.pipeline.game.sheet import MEASURED
from superalign.pipeline.stored import Stored


class WrittenAgain(NamedTuple):
    """One writer's programs, written and executed again."""

    stage: str
    programs: int
    unlike: int
    largest: float = 0.0
    """Of a number: there is none here."""


def write_again(one: Game, ws: Workspace, *, say: Callable[[str], None], workers: int) -> Iterator[WrittenAgain]:
    """All writers of a game that was scored. Raises SuperalignError where its parent is not the one that ships."""
    from superalign.adversarial.writers import load_writer
    from superalign.pipeline.game.auditing import WriterBehaviourJob, behaviour_of

    done = Stored(ws, one)
    if done(MEASURED) is None:
        return
    if (stated := one.event.body["bases"].get("writer")) not in (None, load_writer().identity):
        raise SuperalignError(f"its writers descend from {stated!r:.60}, and this version ships another parent")
    by_subject = {subject: alias for alias, subject in ws.state.aliases.items()}
    jobs: dict[str, Any] = {}
    for place in places(one.config, one.sizes):
        if place.side == "writer":
            row = done(place.name)
            jobs[f"behaviour of {by_subject[row['identity']]}"] = WriterBehaviourJob(
                weights=ws.store.path(row["weights"]),
                kind=place.kind,
                count=one.sizes.behaved,
                seed=one.config.seed,
            )
    stages = list(jobs)
    for found in run_parallel(behaviour_of, list(jobs.values()), workers=workers):
        stage = stages[found.index]
        say(stage)
        yield compared(stage, done(stage), found.result)


def compared(stage: str, stored: Mapping[str, Any], again: Mapping[str, Any]) -> WrittenAgain:
    """How many programs came to something else, over all places.

    >>> compared("s", {"on": {"right": [1, 0]}}, {"on": {"right": [1, 1]}})
    WrittenAgain(stage='s', programs=2, unlike=1, largest=0.0)
    """
    programs, unlike = 0, 0
    for where, told in again.items():
        mine, its = (list(zip(*(columns[name] for name in told), strict=True)) for columns in (told, stored[where]))
        programs += len(mine)
        unlike += abs(len(mine) - len(its)) + sum(a != b for a, b in zip(mine, its, strict=False))
    return WrittenAgain(stage, programs, unlike)
