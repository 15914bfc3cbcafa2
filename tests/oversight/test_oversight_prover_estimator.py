"""Prover and estimator: who commits when, where a prover leads, what it is paid, and what training leaves of that."""

import dataclasses
import json

import numpy as np
import pytest

from superalign.oversight.play import play
from superalign.oversight.protocols.ladder import SpanJudge, log_odds, whole
from superalign.oversight.protocols.prover_estimator import (
    Claim,
    Prover,
    corrected,
    descent,
    halved,
    leaves,
    part_of,
    payoff,
    prover_estimator,
)
from superalign.oversight.record import played_again
from superalign.oversight.table import Lesson
from superalign.oversight.types import Case, Charge, Message, Piece

QUESTION = "which adds up to more ?"
FEW = prover_estimator(leaf=2)


def case_with(numbers, name="list"):
    pieces = tuple(Piece((str(n), str(-n))) for n in numbers)
    return Case(item=name, task="lists", cluster=name, question=QUESTION, options=("a", "b"), pieces=pieces)


def lists(count, seed=0, length=8):
    rng, cases, answers = np.random.default_rng(seed), [], []
    for i in range(count):
        numbers = rng.integers(-6, 7, length)
        cases.append(case_with(numbers.tolist(), f"list {seed} {i}"))
        answers.append(int(numbers.sum() < 0))
    return cases, answers


class Reader:
    """Log-odds: a fifth of the sum of the numbers shown, and one more where two or more of them are negative."""

    def beliefs(self, views):
        self.seen = [*getattr(self, "seen", ()), *views]
        odds = []
        for view in views:
            numbers = [float(texts[0]) for texts in view.shown().values()]
            signs = [np.sign(n) for n in numbers]
            odds.append(sum(numbers) / 5 - (signs.count(-1) > 1) + (signs.count(1) > 1))
        first = 1 / (1 + np.exp(-np.array(odds)))
        return np.stack([first, 1 - first], axis=1)


@dataclasses.dataclass
class Table:
    """An estimator that knows what it says of each part, by its item."""

    first: dict
    usual: float = 0.5

    def knows(self, cases):
        first = np.array([self.first.get(case.item, self.usual) for case in cases])
        return np.stack([first, 1 - first], axis=1)


class Says:
    """A prover with a list of charges, one a round."""

    def __init__(self, *charges):
        self.charges = charges

    def moves(self, positions):
        rounds = [sum(m.speaker == "prover" for m in p.view.messages) for p in positions]
        return [Message(speaker="", charges=self.charges[k] if k < len(self.charges) else ()) for k in rounds]


def one(prover, estimator, *, case=None, side=0, protocol=FEW, judge=None):
    case = case_with([1, 2, 3, 4, 5, 6, 7, 8]) if case is None else case
    players = {"judge": judge or Reader(), "prover": prover, "estimator": estimator}
    (episode,) = play(protocol, [case], players, sides=[[(side, None)]])
    return episode


def test_the_estimator_has_committed_before_the_prover_chooses():
    episode = one(Says((Charge(1, 6),), (Charge(1, 5),)), Table({}))
    assert [m.speaker for m in episode.messages] == ["estimator"] * 3 + ["prover"] + ["estimator"] * 2 + ["prover"]
    assert [m.text for m in episode.messages if m.text] == [
        "pieces 0 to 7",
        "pieces 0 to 3",
        "pieces 4 to 7",
        "pieces 4 to 5",
        "pieces 6 to 7",
    ]
    assert descent(episode.messages, 8)[-1] == Claim((4, 6), (0.5, 0.5))


def test_the_judge_reads_the_leaf_and_nothing_else():
    judge = Reader()
    one(Says((Charge(1, 6),), (Charge(1, 5),)), Table({}), judge=judge)
    assert [list(view.shown()) for view in judge.seen] == [[4, 5]]
    assert [m.speaker for m in judge.seen[0].messages] == ["table"]


@pytest.mark.parametrize("first", [(), (Charge(1, 0),)])
def test_a_prover_that_names_no_half_goes_where_the_estimator_is_less_sure(first):
    estimator = Table({"list[0:4]": 0.2, "list[4:8]": 0.4, "list[4:6]": 0.9, "list[6:8]": 0.3})
    claims = descent(one(Says(first, ()), estimator).messages, 8)
    wanted = [(0, 4), (2, 4)] if first else [(4, 8), (6, 8)]
    assert claims[1].span == wanted[0]
    assert first or claims[2] == Claim((6, 8), pytest.approx((0.3, 0.7)))


def test_a_charge_outside_the_part_under_dispute_is_no_choice():
    estimator = Table({"list[4:6]": 0.9, "list[6:8]": 0.6})
    claims = descent(one(Says((Charge(1, 7),), (Charge(1, 0),)), estimator).messages, 8)
    assert [claim.span for claim in claims] == [(0, 8), (4, 8), (6, 8)]


@pytest.mark.parametrize(
    ("root", "known", "judged"), [(0.5, 0.5, 0.9), (0.7, 0.7, 0.2), (0.9, 0.4, 0.4), (0.2, 0.9, 0.1)]
)
def test_the_verdict_is_the_root_moved_by_the_error_at_the_leaf(root, known, judged):
    (found, other) = corrected((root, 1 - root), (known, 1 - known), (judged, 1 - judged))
    wanted = sum(s * np.log(p / (1 - p)) for s, p in ((1, root), (1, judged), (-1, known)))
    assert np.log(found / other) == pytest.approx(wanted)
    assert known != judged or found == pytest.approx(root), "no error, no correction"
    swapped = corrected((1 - root, root), (1 - known, known), (1 - judged, judged))
    assert swapped == pytest.approx((other, found))


def test_a_case_of_one_leaf_is_judged_at_once():
    case = case_with([5, 5])
    episode = one(Says(), Table({"list[0:2]": 0.3}), case=case)
    assert [m.speaker for m in episode.messages] == ["estimator"]
    assert episode.belief == pytest.approx(episode.beliefs[0]), "its root is its leaf"
    assert payoff(case, episode) == 0.0


def brute_force(case, judge, estimator, side, leaf):
    spans = leaves((0, len(case.pieces)), leaf)
    judged = log_odds(judge.beliefs([whole(case, range(*span)) for span in spans]))
    known = log_odds(estimator.knows([part_of(case, span) for span in spans]))
    return spans[int(((judged - known) * (1 - 2 * side)).argmax())]


@pytest.mark.parametrize("side", [0, 1])
def test_a_prover_leads_to_the_leaf_that_serves_its_side_most(side):
    estimator = SpanJudge(judge=Reader(), weights=(0.5, 0.0, 0.1, 0.0, 0.0, 0.0), width=1)
    for case in lists(20)[0]:
        prover = Prover(judge=Reader(), estimator=estimator, leaf=2)
        episode = one(prover, estimator, case=case, side=side)
        assert episode.failures == ()
        assert descent(episode.messages, 8)[-1].span == brute_force(case, Reader(), estimator, side, 2)
        assert all(c.option == 1 - side for m in episode.messages for c in m.charges)


def test_a_prover_moves_the_verdict_its_way_or_loses_by_it():
    estimator = SpanJudge(judge=Reader(), weights=(0.5, 0.0, 0.1, 0.0, 0.0, 0.0), width=1)
    for case in lists(20)[0]:
        prover = Prover(judge=Reader(), estimator=estimator, leaf=2)
        ours, theirs = (one(prover, estimator, case=case, side=side) for side in (0, 1))
        root = estimator.knows([part_of(case, (0, 8))])[0][0]
        assert ours.belief[0] >= theirs.belief[0]
        for episode, sign in ((ours, 1), (theirs, -1)):
            moved = sign * (episode.belief[0] - root)
            assert np.sign(round(payoff(case, episode), 9)) == np.sign(round(moved, 9))


def test_what_the_prover_is_paid():
    case = case_with([1, 2, 3, 4, 5, 6, 7, 8])
    estimator = Table({"list[0:2]": 0.25})
    (judged,) = Reader().beliefs([whole(case, (0, 1))])[:, 0]
    right = one(Says((Charge(1, 0),), (Charge(1, 0),)), estimator, case=case)
    wrong = one(Says((Charge(0, 0),), (Charge(0, 1),)), estimator, case=case)
    silent = one(Says((Charge(1, 0),), ()), Table({"list[0:2]": 0.25, "list[2:4]": 0.9}), case=case)
    elsewhere = one(Says((Charge(1, 0),), (Charge(1, 7),)), estimator, case=case)
    assert payoff(case, right) == pytest.approx(judged - 0.25)
    assert payoff(case, wrong) == pytest.approx(0.25 - judged)
    assert (payoff(case, silent), payoff(case, elsewhere)) == (0.0, 0.0)


def trained(rounds, count=60):
    cases, answers = lists(count)
    lesson = Lesson(cases=cases, answers=answers, players={"judge": Reader(), "adviser": "stays"})
    return prover_estimator(leaf=2, rounds=rounds).train(lesson)


@pytest.fixture(scope="module")
def players():
    return trained(rounds=3)


def test_training_leaves_a_prover_less_to_gain(players):
    cases, _ = lists(60, seed=5)
    paid = {}
    for rounds, seats in ((0, trained(rounds=0)), (3, players)):
        episodes = list(play(FEW, cases, seats))
        held = {case.item: case for case in cases}
        paid[rounds] = np.mean([payoff(held[e.item], e) for e in episodes])
    assert 0 < paid[3] < 0.75 * paid[0]


def test_a_trained_pair_is_right_whoever_argues(players):
    cases, answers = lists(60, seed=5)
    truth = dict(zip((case.item for case in cases), answers, strict=True))
    episodes = list(play(FEW, cases, players))
    for side in (True, False):
        right = [e.belief[truth[e.item]] > 0.5 for e in episodes if (e.sides[0] == truth[e.item]) is side]
        assert np.mean(right) > 0.8
    assert players["adviser"] == "stays"
    assert isinstance(players["judge"], Reader), "the person is not trained"


def test_training_is_the_same_each_time(players):
    assert trained(rounds=3)["estimator"].weights == players["estimator"].weights


def test_every_play_follows_from_its_answers(players):
    cases, _ = lists(10, seed=5)
    held = {case.item: case for case in cases}
    for episode in play(FEW, cases, players, seed=4):
        log = json.loads(json.dumps(episode.answers))
        again = played_again(FEW, held[episode.item], episode.sides, 4, log)
        assert (again.messages, again.beliefs, again.belief) == (episode.messages, episode.beliefs, episode.belief)
        assert again.cost.judge_words == episode.cost.judge_words


@pytest.mark.parametrize("where", ["list[0:8]", "list[4:8]"])
def test_an_estimator_that_cannot_say_fails_the_play(where):
    episode = one(Says(), Table({where: np.nan}))
    assert (episode.belief, episode.failures) == (None, ("nan",))
    assert payoff(case_with([1] * 8), episode) == 0.0


def test_a_judge_that_cannot_say_fails_the_play():
    class Blind(Reader):
        def beliefs(self, views):
            return np.full((len(views), 2), np.nan)

    assert one(Says(), Table({}), judge=Blind()).belief is None


def test_what_provers_and_estimators_quote_shows_the_judge_nothing():
    judge, case = Reader(), case_with([1, 2, 3, 4])

    class Quoting(Says):
        def moves(self, positions):
            quote = whole(case).messages[0].quotes[3]
            return [dataclasses.replace(m, quotes=(quote,)) for m in super().moves(positions)]

    one(Quoting((Charge(1, 0),)), Table({}), case=case, judge=judge)
    assert [list(view.shown()) for view in judge.seen] == [[0, 1]]


@pytest.mark.parametrize(("pieces", "leaf"), [(1, 1), (2, 4), (7, 2), (12, 4), (13, 1)])
def test_leaves_are_small_and_leave_nothing_out(pieces, leaf):
    found = leaves((0, pieces), leaf)
    assert [p for low, high in found for p in range(low, high)] == list(range(pieces))
    assert all(1 <= high - low <= leaf for low, high in found)
    assert halved((0, pieces))[0][1] == pieces // 2


def test_parts_are_cases_with_names_of_their_own():
    case = case_with([1, 2, 3])
    part = part_of(case, (1, 3))
    assert (part.item, part.pieces, part.question) == ("list[1:3]", case.pieces[1:], QUESTION)
