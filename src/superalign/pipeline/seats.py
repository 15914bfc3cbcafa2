"""Who sits at a table: judges fitted on a lesson, advisers that search against them, judges adapted to a protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from superalign.oversight import Lesson, Protocol, play
from superalign.oversight.advisers import EvidenceAdviser, SearchAdviser, against
from superalign.oversight.judges import LikelihoodJudge, adapted
from superalign.oversight.types import Case, Players, Referee

if TYPE_CHECKING:
    from superalign.models import LocalModel  # torch loads where it is needed

SEARCHERS = ("adviser", "a", "b")
"""Seats of advisers that argue."""
CLAIMS = 3
"""Places that a critic charges in one turn."""


def text_players(
    judge: LocalModel,
    adviser: LocalModel,
    cases: Sequence[Case],
    answers: Sequence[int],
    *,
    budget: int,
    seed: int,
    referee: Referee,
) -> dict[str, Any]:
    """Everybody for pairs of texts: two weights of the judge, and the advisers' sharpness, fitted on these cases."""
    weak = text_judge(judge, cases, answers, budget=budget, seed=seed)
    strong = EvidenceAdviser(model=adviser, charges=CLAIMS).fitted(cases, answers)
    second = EvidenceAdviser(model=judge, charges=CLAIMS).fitted(cases, answers)
    search = SearchAdviser(judge=weak, knower=strong, width=budget)
    return {
        "judge": weak,
        "referee": referee,
        **dict.fromkeys(SEARCHERS, search),
        "critic": strong,
        "second critic": second,
    }


def text_judge(
    model: LocalModel, cases: Sequence[Case], answers: Sequence[int], *, budget: int, seed: int
) -> LikelihoodJudge:
    """The judge of pairs of texts: the model's likelihoods, two weights fitted on these cases."""
    return LikelihoodJudge(model=model, name=model.name).fitted(cases, answers, quotes=budget, seed=seed)


def read_afresh(players: Players, cases: Sequence[Case], budget: int) -> None:
    """The models of `text_players` forget what they have read, and read these cases in one fixed order.

    The last bits of a log-probability depend on what it was computed beside: so a play that was stopped and goes on
    finds the same numbers.
    """
    players["judge"].remembered.clear()
    players["judge"].prime(cases, budget)
    for seat in ("critic", "second critic"):
        players[seat].read.clear()
        players[seat].knows(cases)


def adapted_players(protocol: Protocol, lesson: Lesson) -> Players:
    """The judge refitted on the protocol's own transcripts, and advisers that search against it."""
    truth = dict(zip((case.item for case in lesson.cases), lesson.answers, strict=True))
    episodes = list(play(protocol, lesson.cases, lesson.players, seed=lesson.seed))
    judge = adapted(lesson.players["judge"], protocol.name, episodes, [truth[e.item] for e in episodes])
    adviser = lesson.players.get("adviser")
    if adviser is None:  # whoever speaks in its place works against any judge
        return {**lesson.players, "judge": judge}
    return {**lesson.players, "judge": judge, **dict.fromkeys(SEARCHERS, against(judge, adviser))}
