"""Advisers that plan sets of quotes: what greedy search is blind to, answers, silence, batches, and what they ask."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.oversight.advisers import PlanAdviser, SearchAdviser, against
from superalign.oversight.advisers.search import concerning
from superalign.oversight.cases import case_of
from superalign.oversight.judges.reader import connected
from superalign.oversight.play import play
from superalign.oversight.protocols import PROTOCOLS, consultancy, debate
from superalign.oversight.table import Lesson
from superalign.oversight.types import Message, Position, Quote, View
from superalign.tasks import rules, traces

from .conftest import CountingJudge, FirstPiece


class Believes(CountingJudge):
    """P(option 0) as a function of the set of pieces shown."""

    def __init__(self, first):
        super().__init__()
        self.first = first

    def beliefs(self, views):
        self.calls.append(len(views))
        p = np.array([self.first(frozenset(view.shown())) for view in views], dtype=float)
        return np.stack([p, 1 - p], axis=1)


def whole_proof(shown):
    """Nothing moves this judge but pieces 0, 2 and 5 together."""
    return 0.95 if {0, 2, 5} <= shown else 0.5


@pytest.fixture
def cases(page):
    return [case_of(item) for item in page.items]


def planner(judge, **dials):
    return PlanAdviser(judge=judge, knower=FirstPiece(), **dials)


def position(case, side, *, shown=(), turns_left=0, **more):
    quotes = tuple(Quote(p, case.pieces[p].texts, verified=True) for p in shown)
    said = (Message(speaker="b", quotes=quotes),) if shown else ()
    view = View(task=case.task, question=case.question, options=case.options, messages=said)
    return Position(case=case, seat="a", side=side, view=view, turns_left=turns_left, **more)


def quoted(message):
    return [q.piece for q in message.quotes]


def test_a_proof_is_shown_whole_where_no_piece_of_it_moves_the_judge(cases, seated):
    judge = Believes(whole_proof)
    told = {}
    for name, adviser in (
        ("plan", planner(judge, beam=20)),
        ("greedy", SearchAdviser(judge=judge, knower=FirstPiece())),
    ):
        players = seated | {"judge": judge, "adviser": adviser}
        told[name] = [e.belief[0] for e in play(consultancy(turns=3), cases, players) if e.sides == (0,)]
    assert set(told["plan"]) == {0.95}
    assert np.mean(np.array(told["greedy"]) == 0.95) < 0.3, "by luck, a set of three out of twenty"


def test_debaters_who_plan_let_the_better_proof_win(cases, seated):
    judge = Believes(whole_proof)
    players = seated | {"judge": judge} | dict.fromkeys("ab", planner(judge, beam=20))
    first = {e.sides: [] for e in play(debate(turns=3), cases, players)}
    for episode in play(debate(turns=3), cases, players):
        first[episode.sides].append(episode.belief[0])
    assert {p for rows in first.values() for p in rows} == {0.95}, "option 0 has a proof, in either seat"


def test_the_piece_of_the_plan_that_is_worth_most_alone_comes_first(cases):
    (said,) = planner(CountingJudge()).moves([position(cases[0], 0, turns_left=1)])
    assert quoted(said) == [4], "4 and 2 are the plan, +5 and +3 by the judge's formula"
    (other,) = planner(CountingJudge()).moves([position(cases[0], 1, shown=(5,), turns_left=2)])
    assert quoted(other) == [3]


def test_plans_are_made_anew_from_what_lies_on_the_table(cases):
    judge = Believes(lambda shown: 0.9 if {0, 1} <= shown else 0.8 if {2, 3} <= shown and 5 in shown else 0.5)
    adviser = planner(judge, beam=30)
    (fresh,) = adviser.moves([position(cases[0], 0, turns_left=1)])
    assert quoted(fresh)[0] in (0, 1)
    half = Believes(lambda shown: 0.8 if {2, 3} <= shown else 0.5)
    for seen, wanted in (((2,), {3}), ((3,), {2})):
        (then,) = planner(half, beam=30).moves([position(cases[0], 0, shown=seen)])
        assert set(quoted(then)) == wanted


def test_who_can_only_lose_by_speaking_is_silent(cases):
    judge = Believes(lambda shown: 0.5 - 0.05 * len(shown))
    ours, theirs = planner(judge).moves([position(cases[0], 0, turns_left=2), position(cases[0], 1, turns_left=2)])
    assert not ours.quotes
    assert not ours.charges
    assert theirs.quotes


def test_ties_are_broken_by_the_draw_in_favour_of_a_quote(cases):
    flat = planner(Believes(lambda shown: 0.5))
    chosen = [flat.moves([position(cases[0], 0, draw=draw)])[0] for draw in range(60)]
    assert {quoted(message)[0] for message in chosen} == set(range(6))


def test_a_set_on_which_the_judge_cannot_say_is_never_best(cases):
    judge = Believes(lambda shown: float("nan") if 1 in shown else 0.5 + 0.01 * len(shown))
    for draw in range(20):
        (said,) = planner(judge, beam=30).moves([position(cases[0], 0, turns_left=1, draw=draw)])
        assert quoted(said) != [1]
    blank = planner(Believes(lambda shown: float("nan")))
    assert blank.moves([position(cases[0], 0)])[0].quotes, "all are alike to it"


def test_nobody_plans_with_what_is_shown_or_past_the_last_piece(cases, seated):
    judge = CountingJudge()
    for episode in play(consultancy(turns=8), cases, seated | {"judge": judge, "adviser": planner(judge)}):
        pieces = [q.piece for m in episode.messages for q in m.quotes]
        assert len(pieces) == len(set(pieces))
        assert not episode.failures
    (said,) = planner(judge).moves([position(cases[0], 0, shown=range(6))])
    assert said.quotes == ()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 3))
def test_a_beam_that_holds_everything_finds_the_best_set_of_all(seed, turns_left):
    case = case_of(traces(split="dev", view="pair", n=1, steps=5).items[0])
    value = {
        frozenset(pieces): float(np.random.default_rng([seed, *pieces, 99]).uniform())
        for size in range(6)
        for pieces in combinations(range(5), size)
    }
    judge = Believes(value.__getitem__)
    for side in (0, 1):
        (said,) = planner(judge, beam=40).moves([position(case, side, turns_left=turns_left)])
        sets = [s for s in value if len(s) <= turns_left + 1]
        best = max(sets, key=lambda s: value[s] if side == 0 else -value[s])
        alone = {p: value[frozenset({p})] * (1 - 2 * side) for p in best}
        assert quoted(said) == ([max(alone, key=alone.get)] if best else [])


def test_the_answer_that_is_to_be_expected_is_planned_for(cases):
    """0 and 1 are the best plan for option 0, but piece 4 undoes it; 2 and 3 hold whatever is answered."""

    def first(shown):
        if {0, 1} <= shown:
            return 0.1 if 4 in shown else 0.9
        return 0.7 if {2, 3} <= shown else 0.3

    judge = Believes(first)
    spot = position(cases[0], 0, turns_left=1)
    assert quoted(planner(judge, beam=30).moves([spot])[0])[0] in (0, 1)
    wary = planner(judge, beam=30, replies=12)
    (said,) = wary.moves([spot])
    assert quoted(said)[0] in (2, 3)


def test_all_positions_share_one_call_a_size_and_what_is_alike_is_asked_once(cases):
    judge = CountingJudge()
    adviser = planner(judge, beam=3)
    twice = [position(case, 0, turns_left=2) for case in cases] * 2
    adviser.moves(twice)
    assert len(judge.calls) == 1 + 3
    empty = len(cases) - 1
    assert 2 * (sum(judge.calls) + empty) == sum(adviser.asked), "a move is told what it would have asked alone"
    assert len(adviser.asked) == len(twice)


@pytest.mark.parametrize("replies", [0, 3])
def test_what_a_move_asks_is_counted(cases, replies):
    judge = CountingJudge()
    adviser = planner(judge, replies=replies, beam=2)
    for left in (0, 2):
        adviser.moves([position(cases[0], 0, turns_left=left)])
    assert len(adviser.asked) == 2
    assert adviser.asked[1] > adviser.asked[0]
    if not replies:
        assert sum(adviser.asked) == sum(judge.calls)
    else:
        assert sum(adviser.asked) >= sum(judge.calls), "an answer that adds nothing is looked up, and counted"


def test_of_rules_only_what_names_connect_with_the_question_is_looked_at():
    case = case_of(rules(split="dev", n=1).items[0])
    left = concerning(case, range(len(case.pieces)))
    lines = [piece.texts[0] for piece in case.pieces]
    assert [lines[p] for p in left] == connected(lines, case.question)
    assert 0 < len(left) < len(lines)
    judge = Believes(lambda shown: 0.5 + 0.01 * len(shown))
    (said,) = planner(judge).moves([position(case, 0)])
    assert judge.calls == [1, len(left)]
    assert quoted(said)[0] in left
    greedy = SearchAdviser(judge=judge, knower=FirstPiece(), near=True)
    assert quoted(greedy.moves([position(case, 0)])[0])[0] in left
    assert greedy.asked == [len(left)]
    assert concerning(dataclasses.replace(case, task="slips"), left) == left, "of other tasks all pieces may matter"


def test_width_takes_what_the_knower_thinks_weighs_most(cases):
    class Knows(FirstPiece):
        def evidence(self, some):
            return [np.array([0.0, 3.0, -1.0, 2.0, -5.0, 1.0]) for _ in some]

    judge = CountingJudge()
    adviser = PlanAdviser(judge=judge, knower=Knows(), width=2)
    ours, theirs = adviser.moves([position(cases[0], 0, turns_left=3), position(cases[0], 1, turns_left=3)])
    assert adviser.asked == [4, 4], "no set, two pieces, both"
    assert ours.quotes == (), "to this judge both odd pieces speak against option 0"
    assert theirs.quotes == ()
    assert [m.charges[0][:2] for m in (ours, theirs)] == [(1, 1), (0, 4)], "who is silent still says what is wrong"
    quiet = dataclasses.replace(adviser, judge=Believes(lambda shown: 0.5), asked=[])
    assert quiet.moves([position(cases[0], 1)])[0].charges[0][:2] == (0, 4)


def test_against_aims_a_planner_again_and_starts_its_count(cases):
    old, new = CountingJudge(), CountingJudge()
    first = planner(old, beam=3, width=4)
    first.moves([position(cases[0], 0)])
    again = against(new, first, beam=2)
    assert isinstance(again, PlanAdviser)
    assert (again.judge, again.beam, again.width, again.asked) == (new, 2, 4, [])
    again.moves([position(cases[0], 0)])
    assert len(first.asked) == len(again.asked) == 1
    assert len(old.calls) == 2


def test_a_planning_adversary_moves_the_price(cases, seated):
    mover = planner(CountingJudge(), goal="move", beam=30)
    (said,) = mover.moves([position(cases[0], None, turns_left=1)])
    assert quoted(said) == [5], "−6 and −4 move more than +5 and +3"
    page = traces(split="train", view="pair", n=8, steps=4)
    lesson = Lesson(
        cases=[case_of(i) for i in page.items],
        answers=[page.truths[i.id]["answer"] for i in page.items],
        players=seated | {"adviser": planner(CountingJudge())},
    )
    trained = PROTOCOLS["market making"].train(lesson)
    assert isinstance(trained["adversary"], PlanAdviser)
    assert trained["adversary"].goal == "move"


@pytest.mark.parametrize("dials", [{"beam": 0}, {"replies": -1}, {"replies": 2, "goal": "move"}])
def test_dials_that_make_no_sense_are_refused(dials):
    with pytest.raises(ValueError, match="a planner grows at least one set"):
        planner(CountingJudge(), **dials)


def test_answers_are_for_two_options(cases):
    case = dataclasses.replace(cases[0], options=("a", "b", "c"))
    with pytest.raises(ValueError, match="3 options"):
        planner(CountingJudge(), replies=2).moves([position(case, 0)])
