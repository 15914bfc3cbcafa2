"""Critiques of many claims: what is dropped before a check is spent, which of n drafts is handed in; and propaganda."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest

from superalign.oversight.cases import case_of
from superalign.oversight.play import play
from superalign.oversight.protocols import shipped
from superalign.oversight.protocols.critique import SURE, Drafter, critique, critique_best_of, drafting
from superalign.oversight.protocols.debate import propaganda
from superalign.oversight.record import played_again
from superalign.oversight.referee import PieceReferee
from superalign.oversight.table import Lesson
from superalign.oversight.types import Case, Charge, Message, Piece, Position, Quote, View

from .conftest import FirstPiece


@pytest.fixture
def case():
    pieces = tuple(Piece((f"a{i}", f"a{i}" if i < 2 else f"b{i}")) for i in range(5))
    return Case(item="one", task="slips", cluster="file", question="which ?", options=("a", "b"), pieces=pieces)


@dataclasses.dataclass
class ByPiece:
    """Believes in option 0 as its table has it for a piece that it is shown alone, ½ otherwise; keeps what it read."""

    first: dict
    read: list = dataclasses.field(default_factory=list)

    def beliefs(self, views):
        shown = [tuple(view.shown()) for view in views]
        self.read += shown
        first = np.array([self.first.get(pieces[0], 0.5) if len(pieces) == 1 else 0.5 for pieces in shown])
        return np.stack([first, 1 - first], axis=1)


class Claims:
    """A critic with these messages in turn, draft by draft."""

    def __init__(self, *drafts):
        self.drafts = drafts
        self.draws = []

    def moves(self, positions):
        self.draws += [p.draw for p in positions]
        return [self.drafts[i % len(self.drafts)] for i in range(len(positions))]


def charges(*pairs):
    return Message(speaker="critic", charges=tuple(Charge(option, piece) for option, piece in pairs))


def referee(answer=1):
    return PieceReferee(truths={"one": {"answer": answer}})


def one(protocol, case, critic, first=None, answer=1):
    """The episode, and what the judge has read."""
    judge = ByPiece(first or {})
    (episode,) = play(protocol, [case], {"judge": judge, "critic": critic, "referee": referee(answer)})
    again = played_again(protocol, case, episode.sides, 0, json.loads(json.dumps(episode.answers)), referee(answer))
    assert (again.messages, again.beliefs, again.belief) == (episode.messages, episode.beliefs, episode.belief)
    assert again.cost.judge_checks == episode.cost.judge_checks
    return episode, judge.read


def settled(episode):
    return [c[:2] for m in episode.messages if m.speaker == "referee" for c in m.charges]


DISCARDING = critique(claims=3, discard=True)


def test_what_the_judge_finds_implausible_is_dropped_before_a_check_is_spent(case):
    critic = Claims(charges((0, 4), (0, 3), (0, 2)))
    episode, read = one(DISCARDING, case, critic, {4: 0.95, 3: SURE, 2: 0.89})
    assert settled(episode) == [(0, 2)], "the alteration stands at piece 2, and two claims before it are dropped"
    assert episode.belief == (0.0, 1.0)
    assert read == [(4,), (3,), (2,), ()]
    plain, _ = one(critique(claims=3), case, critic, {4: 0.95, 3: SURE, 2: 0.89})
    assert settled(plain) == [(0, 4)]
    assert plain.belief == (0.5, 0.5)


def test_what_tells_the_judge_nothing_is_checked_last(case):
    critic = Claims(charges((0, 0), (0, 1), (0, 2)))
    episode, _ = one(critique(claims=3, checks=3, discard=True), case, critic, {2: 0.7})
    assert settled(episode) == [(0, 2)]
    again, _ = one(critique(claims=3, checks=3, discard=True), case, critic, {2: 0.7}, answer=0)
    assert settled(again) == [(0, 2), (0, 0), (0, 1)], "in the critic's order where the judge has none"


def test_where_all_is_dropped_nothing_is_checked(case):
    critic = Claims(charges((0, 2), (1, 3)))
    episode, _ = one(DISCARDING, case, critic, {2: 0.99, 3: 0.01})
    assert (settled(episode), episode.cost.judge_checks, episode.belief) == ([], 0, (0.5, 0.5))


def test_a_judge_can_drop_the_claim_that_is_true(case):
    episode, _ = one(DISCARDING, case, Claims(charges((0, 2))), {2: 0.99})
    assert episode.belief == (0.5, 0.5)
    kept, _ = one(critique(), case, Claims(charges((0, 2))), {2: 0.99})
    assert kept.belief == (0.0, 1.0)


def test_claims_over_the_limit_are_not_read_and_pieces_only_once(case):
    critic = Claims(charges((0, 4), (1, 4), (0, 4), (0, 2)))
    episode, read = one(DISCARDING, case, critic, {4: 0.7})
    assert read == [(4,), ()]
    assert settled(episode) == [(0, 4)]


def test_reading_claims_costs_the_judge_words(case):
    critic = Claims(charges((0, 4), (0, 3), (0, 2)))
    costs = [one(p, case, critic)[0].cost.judge_words for p in (critique(claims=3), DISCARDING)]
    assert costs == [2, 2 + 3 * 4], "the question, and three times the question with both sides of a piece"


def test_a_judge_that_cannot_say_drops_nothing(case):
    critic = Claims(charges((0, 4), (0, 2)))
    episode, _ = one(DISCARDING, case, critic, {4: np.nan, 2: 0.6})
    assert settled(episode) == [(0, 2)], "of piece 4 it can't tell, so that comes last"
    assert episode.failures == ("nan",)


def test_the_draft_that_persuades_the_judge_is_handed_in(case):
    critic = Claims(charges((0, 0)), charges((1, 3)), charges((0, 2)), charges((1, 3)))
    episode, read = one(critique_best_of(), case, critic, {0: 0.5, 3: 0.6, 2: 0.3})
    assert settled(episode) == [(0, 2)]
    assert [m.speaker for m in episode.messages] == ["critic", "referee"], "the other drafts are never said"
    assert read == [(0,), (3,), (2,), ()], "what is drafted twice is read once"
    assert len(set(critic.draws)) == 4


def test_the_critic_may_choose_by_what_it_says_it_believes(case):
    said = (charges((0, 3)), charges((0, 2)), charges((1, 4)), charges((0, 2)))
    beliefs = ((0.3, 0.7), (0.1, 0.9), (0.2, 0.8), ())
    drafts = [dataclasses.replace(m, belief=b) for m, b in zip(said, beliefs, strict=True)]
    episode, read = one(critique_best_of(choose="critic"), case, Claims(*drafts), {3: 0.0})
    assert settled(episode) == [(0, 2)], "90 % against option 0; no belief counts for nothing"
    assert read == [()], "the judge reads no draft"
    odd = [dataclasses.replace(m, belief=(np.nan, 0.5)) for m in said[:1]]
    assert settled(one(critique_best_of(choose="critic"), case, Claims(*odd, *drafts[1:]))[0]) == [(0, 2)]


def test_drafts_about_nothing_are_handed_in_last(case):
    about_nothing, silent, real = charges((7, 0), (0, 99)), None, charges((0, 9), (0, 2))
    episode, read = one(critique_best_of(), case, Claims(silent, about_nothing, real, about_nothing))
    assert settled(episode) == [(0, 2)]
    assert episode.failures == ("charge about nothing: critic",)
    assert read == [(2,), ()]
    none, _ = one(critique_best_of(), case, Claims(silent, about_nothing))
    assert none.failures == ("charge about nothing: critic",)
    quiet, _ = one(critique_best_of(), case, Claims(silent))
    assert (quiet.failures, quiet.cost.judge_checks) == (("no answer: critic",), 0)


def test_handing_in_is_free_of_forged_marks(case):
    forged = Message(speaker="referee", charges=(Charge(0, 4, holds=True),))
    episode, _ = one(critique_best_of(), case, Claims(forged))
    assert (settled(episode), episode.belief) == ([(0, 4)], (0.5, 0.5))


class Weighs:
    """A critic whose evidence is a table; positive speaks for option 0."""

    weights = np.array([0.0, 2.0, -3.0, 0.5, 0.0])

    def evidence(self, cases):
        return [self.weights for _ in cases]

    def knows(self, cases):
        return np.tile([0.2, 0.8], (len(cases), 1))


def drafted(case, count=3000, side=None, **dials):
    view = View(task=case.task, question=case.question, options=case.options)
    at = [Position(case=case, seat="critic", side=side, view=view, draw=draw) for draw in range(count)]
    return Drafter(critic=Weighs(), **dials).moves(at)


def test_drafts_are_drawn_by_the_evidence(case):
    found = Counter(m.charges[0][:2] for m in drafted(case))
    against = np.exp(np.stack([-Weighs.weights, Weighs.weights]))
    chances = against / against.sum()
    for (option, piece), count in found.items():
        assert count / 3000 == pytest.approx(chances[option, piece], abs=0.03)
    assert found.most_common(1)[0][0] == (0, 2)


def test_a_draft_quotes_what_it_charges_and_says_what_it_believes_by_that_alone(case):
    for m in drafted(case, 50):
        (quote,), (charge,) = m.quotes, m.charges
        assert quote == Quote(charge.piece, case.pieces[charge.piece].texts)
        assert m.belief[0] == pytest.approx(1 / (1 + np.exp(-Weighs.weights[charge.piece])))


def test_a_cold_drafter_charges_where_the_evidence_is_heaviest_and_never_its_own_side(case):
    assert {m.charges[0][:2] for m in drafted(case, 50, heat=1e-3)} == {(0, 2)}
    assert {m.charges[0].option for m in drafted(case, 200, side=0)} == {1}
    assert {m.charges[0][:2] for m in drafted(case, 50, side=0, heat=1e-3)} == {(1, 1)}


def test_a_critic_without_evidence_drafts_as_it_speaks(case):
    assert isinstance(drafting(Weighs()), Drafter)
    plain = FirstPiece()
    assert drafting(plain) is plain
    lesson = Lesson(cases=[case], answers=[1], players={"judge": ByPiece({}), "critic": Weighs()})
    players = critique_best_of().train(lesson)
    assert players == {**lesson.players, "critic": Drafter(critic=lesson.players["critic"])}
    assert players["critic"].knows([case]).tolist() == [[0.2, 0.8]]


def test_more_drafts_find_more_with_a_judge_who_can_tell(case):
    """The judge believes in option 1 by piece 2 alone; a hot critic charges it one time in ten."""
    cases = [dataclasses.replace(case, item=f"{i}") for i in range(200)]
    truths = {c.item: {"answer": 1} for c in cases}
    right = []
    for n in (1, 4, 16):
        players = {"judge": ByPiece({2: 0.2}), "critic": Drafter(critic=Weighs(), heat=50.0)}
        episodes = play(critique_best_of(drafts=n), cases, players | {"referee": PieceReferee(truths=truths)})
        right.append(np.mean([e.belief == (0.0, 1.0) for e in episodes]))
    assert right == pytest.approx([1 - 0.9**n for n in (1, 4, 16)], abs=0.1)


@pytest.mark.parametrize(
    ("protocol", "name", "title"),
    [
        (critique(), "critique", "a critic's claims, 1 checked"),
        (critique(claims=3, checks=3), "critique of 3", "a critic's claims, 3 checked"),
        (
            DISCARDING,
            "critique of 3 with discarding",
            "3 claims of a critic, implausible ones dropped, up to 1 checked",
        ),
        (
            critique_best_of(drafts=2, checks=1),
            "critique best of 2",
            "of 2 drafts of a critic the one that the judge finds likeliest, 1 checked",
        ),
        (
            critique_best_of(choose="critic"),
            "critique best of 4, critic's choice",
            "of 4 drafts of a critic the one that the critic is surest of, 1 checked",
        ),
    ],
)
def test_titles_say_how_many_are_checked(protocol, name, title):
    assert (protocol.name, protocol.title) == (name, title)


def test_propaganda_is_one_quote_for_either_side(page, seated):
    cases = [case_of(item) for item in page.items]
    episodes = list(play(propaganda(), cases, seated))
    assert Counter(e.sides for e in episodes) == {(0,): 12, (1,): 12}
    assert all([m.speaker for m in e.messages] == ["adviser"] for e in episodes)


@pytest.mark.parametrize(("budget", "wanted"), [(2, (2, 2)), (3, (3, 3)), (4, (3, 4)), (8, (3, 4))])
def test_no_more_claims_or_drafts_than_the_judge_may_read(budget, wanted):
    names = [p.name for p in shipped(budget)]
    assert f"critique of {wanted[0]} with discarding" in names
    assert f"critique best of {wanted[1]}" in names
    assert len(set(names)) == len(names)
    assert {"recursive reward modelling", "prover-estimator"} <= set(names)
