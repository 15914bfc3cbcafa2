"""Recursive reward modelling: rungs are labelled by a person with the rung below, and by no truth.

The lists here hold one number that decides and others that don't matter much; H, a formula, reads four at a time.
"""

import dataclasses
import json

import numpy as np
import pytest

from superalign.oversight.cases import case_of
from superalign.oversight.play import play
from superalign.oversight.protocols.controls import unaided
from superalign.oversight.protocols.ladder import (
    Assistant,
    Helped,
    SpanJudge,
    assisted,
    features,
    fitted_spans,
    halves,
    ladder,
    log_odds,
    recursive_reward_modelling,
    weightiest,
    whole,
)
from superalign.oversight.record import played_again
from superalign.oversight.table import Lesson
from superalign.oversight.types import Case, Message, Piece, Position, View

from .conftest import CountingJudge

LENGTH = 16
QUESTION = "which adds up to more ?"


def case_with(numbers, name="list"):
    pieces = tuple(Piece((str(n), str(-n))) for n in numbers)
    return Case(item=name, task="lists", cluster=name, question=QUESTION, options=("a", "b"), pieces=pieces)


def haystacks(count, seed):
    """Lists of small numbers with one large one, which decides; and the options that are right."""
    rng, cases, answers = np.random.default_rng(seed), [], []
    for i in range(count):
        numbers = rng.integers(-1, 2, LENGTH)
        numbers[rng.integers(LENGTH)] = 40 * rng.choice([-1, 1])
        cases.append(case_with(numbers.tolist(), f"list {seed} {i}"))
        answers.append(int(numbers.sum() < 0))
    return cases, answers


@dataclasses.dataclass
class Reader:
    """Log-odds: a tenth of the sum of the numbers shown. Keeps how many were shown at most."""

    sign: float = 1.0
    most: int = 0

    def beliefs(self, views):
        self.most = max([self.most, *(len(view.shown()) for view in views)])
        sums = np.array([sum(float(texts[0]) for texts in view.shown().values()) for view in views])
        first = 1 / (1 + np.exp(-self.sign * sums / 10))
        return np.stack([first, 1 - first], axis=1)


def lesson(judge, count=60, seed=0):
    cases, answers = haystacks(count, seed)
    return Lesson(cases=cases, answers=answers, players={"judge": judge, "adviser": "stays"}, seed=seed)


def brier(beliefs, answers):
    return float(((beliefs[:, 0] - (1 - np.array(answers))) ** 2).mean())


def accuracy(beliefs, answers):
    return float((beliefs.argmax(axis=1) == np.array(answers)).mean())


@pytest.fixture(scope="module")
def rungs():
    return ladder(lesson(Reader()), rungs=3)


@pytest.fixture(scope="module")
def unseen():
    return haystacks(200, 9)


def test_a_ladder_climbs_past_the_one_who_labels_it(rungs, unseen):
    cases, answers = unseen
    alone = np.array([e.belief for e in play(unaided(), cases, {"judge": Reader()})])
    scores = [brier(rung.knows(cases), answers) for rung in rungs]
    assert accuracy(alone, answers) < 0.75, "four of 16 at random seldom hold the number that decides"
    assert accuracy(rungs[-1].knows(cases), answers) > 0.95
    assert scores[0] < brier(alone, answers)
    assert scores[1] < scores[0] / 2
    assert scores[3] < scores[0] / 2


def test_more_labels_of_the_unaided_are_no_ladder(rungs, unseen):
    """The control of equal look-ups: R_0 with as many labels as R_0 to R_3 took together."""
    cases, answers = unseen
    taught = lesson(Reader())
    played = [e for seed in range(4) for e in play(unaided(), taught.cases, {"judge": Reader()}, seed=seed)]
    direct = fitted_spans(Reader(), [whole(case) for case in taught.cases] * 4, np.array([e.belief[0] for e in played]))
    assert brier(rungs[-1].knows(cases), answers) < brier(direct.knows(cases), answers) / 2


def test_labels_rise_with_the_rung_that_assists(rungs, unseen):
    cases, answers = unseen
    found = []
    for rung in (None, *rungs[:2]):
        players = {"judge": Helped(judge=Reader()), "assistant": Assistant(model=rung) if rung else None}
        protocol = assisted() if rung else unaided()
        found.append(accuracy(np.array([e.belief for e in play(protocol, cases, players)]), answers))
    assert found[0] < 0.75
    assert min(found[1:]) > 0.9


class Sealed(list):
    def __iter__(self):
        raise AssertionError("an answer was read")

    __getitem__ = __iter__


def test_no_answer_of_the_lesson_is_read(rungs):
    sealed = dataclasses.replace(lesson(Reader()), answers=Sealed([0] * 60))
    assert ladder(sealed, rungs=3) == rungs
    players = recursive_reward_modelling(rungs=1).train(sealed)
    assert players == {**sealed.players, "judge": rungs[1]}


@pytest.mark.parametrize("quotes", [2, 4])
def test_nobody_who_labels_reads_more_than_the_budget(quotes):
    judge = Reader()
    ladder(lesson(judge, count=12), quotes=quotes, rungs=2)
    assert judge.most == quotes


def test_a_ladder_ends_where_its_labeller_is_mistaken(unseen):
    cases, answers = unseen
    (*_, top) = ladder(lesson(Reader(sign=-1.0)), rungs=2)
    assert accuracy(top.knows(cases), answers) < 0.1


def test_the_top_is_played_by_one_call_and_again_from_its_answers(rungs):
    cases, _ = haystacks(6, 3)
    protocol = recursive_reward_modelling(rungs=3)
    for case, episode in zip(cases, play(protocol, cases, {"judge": rungs[-1]}), strict=True):
        assert episode.belief == pytest.approx(tuple(rungs[-1].knows([case])[0]))
        again = played_again(protocol, case, episode.sides, 0, json.loads(json.dumps(episode.answers)))
        assert (again.messages, again.belief, again.beliefs) == (episode.messages, episode.belief, episode.beliefs)
        assert len(episode.view.shown()) == LENGTH


def test_an_assisted_label_is_played_again_from_its_answers(rungs):
    cases, _ = haystacks(6, 3)
    players = {"judge": Helped(judge=Reader()), "assistant": Assistant(model=rungs[0])}
    for case, episode in zip(cases, play(assisted(), cases, players), strict=True):
        assert (episode.failures, len(episode.view.shown())) == ((), 4)
        again = played_again(assisted(), case, episode.sides, 0, json.loads(json.dumps(episode.answers)))
        assert (again.messages, again.belief) == (episode.messages, episode.belief)


def test_swapped_options_swap_the_belief(rungs, unseen):
    cases = unseen[0][:20]
    swapped = [dataclasses.replace(c, pieces=tuple(Piece(p.texts[::-1]) for p in c.pieces)) for c in cases]
    for rung in rungs:
        assert rung.knows(swapped) == pytest.approx(rung.knows(cases)[:, ::-1], abs=1e-9)


def test_features_are_of_single_pieces_and_of_runs():
    view = whole(case_with([10, -20, 30]))
    single, runs = [1.0, -2.0, 3.0], [-1.0, 1.0]
    wanted = [2.0, np.tanh(single).sum(), 1.0, 0.0, 0.0, 0.0]
    assert runs[0] + runs[1] == 0
    assert features(Reader(), [view], 2, {})[0] == pytest.approx(wanted, abs=1e-6)
    assert features(Reader(), [view], 8, {})[0][3:] == pytest.approx([2.0, np.tanh(2.0), 4.0]), "one run: all there is"
    nothing = View(task="lists", question="", options=("a", "b"))
    assert features(Reader(), [nothing, view], 2, {})[0].tolist() == [0.0] * 6
    assert features(Reader(), [nothing], 2, {}).tolist() == [[0.0] * 6]


def test_an_assistant_quotes_what_weighs_most_and_says_what_it_believes_of_the_rest():
    model = SpanJudge(judge=Reader(), weights=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    case = case_with([1, 0, 9, 0, -8, 2, 0, 1])
    view = View(task=case.task, question=case.question, options=case.options)
    at = Position(case=case, seat="assistant", side=None, view=view)
    (said,) = Assistant(model=model, quotes=2).moves([at])
    assert [q.piece for q in said.quotes] == [2, 4]
    assert log_odds(np.array([said.belief]))[0] == pytest.approx(0.4), "1 + 2 + 1, a tenth each"
    (all_of_it,) = Assistant(model=model, quotes=8).moves([at])
    assert (len(all_of_it.quotes), all_of_it.belief) == (8, (0.5, 0.5))


def test_a_helped_judge_adds_what_is_stated():
    view = whole(case_with([10]))
    told = dataclasses.replace(view, messages=(*view.messages, Message(speaker="assistant", belief=(0.2, 0.8))))
    plain, added = Helped(judge=Reader()).beliefs([view, told])
    assert plain == pytest.approx(Reader().beliefs([view])[0])
    assert log_odds(added[None])[0] == pytest.approx(1.0 + np.log(0.25))


class Blind(Reader):
    def beliefs(self, views):
        return np.full((len(views), 2), np.nan)


def test_who_cannot_say_labels_half_and_fails_where_it_is_played():
    rungs = ladder(lesson(Blind(), count=8), rungs=2)
    assert [rung.weights for rung in rungs] == [(0.0,) * 6] * 3
    assert np.isnan(Helped(judge=Blind()).beliefs([whole(case_with([1]))])).all()
    cases, _ = haystacks(2, 0)
    assert all(
        e.belief is None and "nan" in e.failures for e in play(unaided(), cases, {"judge": Helped(judge=Blind())})
    )


@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 16])
def test_halving_comes_by_every_piece_once(pieces):
    spans = halves(pieces)
    assert sorted(low for low, high in spans if high - low == 1) == list(range(pieces))
    assert len(set(spans)) == len(spans) == 2 * pieces - 1
    weights = {span: float(span[0]) for span in spans}
    assert weightiest(weights, 99) == list(range(pieces))
    assert weightiest(weights, 1) == [pieces - 1]


def test_what_is_no_ladder_is_an_error(page):
    with pytest.raises(ValueError, match="-1 rungs"):
        ladder(lesson(Reader(), count=2), rungs=-1)
    with pytest.raises(ValueError, match="fitted to labels: got none"):
        fitted_spans(Reader(), [], np.zeros(0))
    three = dataclasses.replace(whole(case_with([1])), options=("a", "b", "c"))
    with pytest.raises(ValueError, match="tells two options apart"):
        features(Reader(), [three], 2, {})


def test_calculations_make_a_ladder_too(page):
    cases = [case_of(item) for item in page.items]
    taught = Lesson(cases=cases, answers=[0] * len(cases), players={"judge": CountingJudge()})
    first, again = ladder(taught, rungs=2), ladder(taught, rungs=2)
    assert first == again
    assert np.isfinite(first[-1].knows(cases)).all()


def test_the_base_judge_is_asked_once_of_each_run():
    judge, view = Counting(), whole(case_with([1, 2, 3]))
    read = {}
    first = features(judge, [view, view], 2, read)
    assert (judge.asked, len(read)) == (5, 5), "three pieces and two runs"
    assert features(judge, [view], 2, read).tolist() == first[:1].tolist()
    assert judge.asked == 5
    model = fitted_spans(judge, [view], np.array([0.9]), width=2, read=read)
    model.beliefs([view])
    assert judge.asked == 5
    other = dataclasses.replace(view, question="another ?")
    model.beliefs([other])
    assert judge.asked == 10, "of another question it knows nothing"


class Counting(Reader):
    asked = 0

    def beliefs(self, views):
        self.asked += len(views)
        return super().beliefs(views)
