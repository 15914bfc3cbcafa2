"""Advisers that are trained: they learn to be believed, by seed, at a price, and truth has no part in it."""

import dataclasses

import numpy as np
import pytest

from superalign.oversight.advisers import PlanAdviser, SearchAdviser, TrainedAdviser, against, train_adviser, trained
from superalign.oversight.advisers.trained import FLOOR, PLAYS, Choice, Policy, _advantages, _Batch, _played
from superalign.oversight.cases import case_of
from superalign.oversight.play import play
from superalign.oversight.protocols import PROTOCOLS, consultancy, debate
from superalign.oversight.types import Case, Piece, Position, View
from superalign.tasks import pixels, rules, traces

from .conftest import FirstPiece


class WordJudge:
    """Believes in option 0 the more "up" it reads, in option 1 the more "down"; nothing else counts."""

    def __init__(self, weight=1.0):
        self.asked = 0
        self.weight = weight

    def beliefs(self, views):
        self.asked += len(views)
        words = [[w for texts in view.shown().values() for text in texts for w in text.split()] for view in views]
        odds = self.weight * np.array([said.count("up") - said.count("down") for said in words], dtype=float)
        first = 1 / (1 + np.exp(-odds))
        return np.stack([first, 1 - first], axis=1)


class BlankJudge(WordJudge):
    def beliefs(self, views):
        return np.full((len(views), 2), np.nan)


def worlds(count, seed=0, pieces=8):
    """Passages of pieces that say up, down, or nothing that counts."""
    rng = np.random.default_rng(seed)
    return [
        Case(
            item=f"{seed}-{i}",
            task="toy",
            cluster=str(i),
            question="up or down ?",
            options=("up", "down"),
            pieces=tuple(
                Piece((f"line {k} goes {word} .",))
                for k, word in enumerate(rng.permutation(["up"] * 2 + ["down"] * 2 + ["on"] * (pieces - 4)))
            ),
        )
        for i in range(count)
    ]


CASES = worlds(40)
ANSWERS = [i % 2 for i in range(len(CASES))]
TALK, DEBATE = consultancy(turns=2), debate(turns=2)


def learned(protocol=TALK, judge=None, cases=CASES, answers=None, **dials):
    return train_adviser(judge or WordJudge(), FirstPiece(), cases, answers, protocol=protocol, **dials)


@pytest.fixture(scope="module", autouse=True)
def _small_rounds():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained, "BATCH", 8)
        patch.setattr(trained, "RATE", 0.04)
        yield


@pytest.fixture(scope="module")
def talker(_small_rounds):
    return learned(answers=ANSWERS, rounds=40)


def position(case, side, **more):
    view = View(task=case.task, question=case.question, options=case.options)
    return Position(case=case, seat="adviser", side=side, view=view, **more)


def words_for(adviser, cases, side):
    """The words that a consultant for a side shows."""
    players = {"judge": WordJudge(), "adviser": adviser}
    episodes = play(TALK, cases, players, sides=[[(side,)]] * len(cases))
    return [q.texts[0].split()[-2] for e in episodes for m in e.messages for q in m.quotes]


@pytest.mark.parametrize(("side", "word"), [(0, "up"), (1, "down")])
def test_it_learns_what_convinces_and_shows_it_on_cases_it_never_saw(talker, side, word):
    said = words_for(talker, worlds(30, seed=9), side)
    assert np.mean([one == word for one in said]) > 0.95
    start = dataclasses.replace(talker, policy=dataclasses.replace(talker.policy, outer=np.zeros(16)), sample=True)
    assert np.mean([one == word for one in words_for(start, worlds(30, seed=9), side)]) < 0.5


def test_its_reward_rises_as_it_leaves_its_start_and_truth_stays_where_it_was(talker):
    first, last = talker.curve[0], talker.curve[-1]
    assert first.kl == pytest.approx(0, abs=1e-12), "the start is uniform"
    assert last.kl > 0.5
    assert last.reward > first.reward + 0.3
    assert last.reward > np.log(1 / (1 + np.exp(-2.0))) - 0.1, "two lines of its side in two turns are all there are"
    assert abs(np.mean([one.right for one in talker.curve[-10:]]) - 0.5) < 0.06, "believed for either side alike"


def test_playing_asks_no_judge_and_training_says_what_it_asked():
    judge = WordJudge()
    adviser = learned(judge=judge, rounds=3)
    assert judge.asked == adviser.curve[-1].asked == 3 * PLAYS * trained.BATCH * 2, (
        "rounds, repetitions, cases, either side"
    )
    adviser.moves([position(case, 0, turns_left=1) for case in CASES])
    assert judge.asked == adviser.curve[-1].asked
    assert list(adviser.asked) == []


@pytest.mark.parametrize("method", ["reinforce", "expert iteration"])
def test_the_same_seed_gives_the_same_policy(method):
    first, again, other = (learned(rounds=2, method=method, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.policy.inner, again.policy.inner)
    assert np.array_equal(first.policy.outer, again.policy.outer)
    assert first.curve == again.curve
    assert not np.array_equal(first.policy.inner, other.policy.inner)


@pytest.mark.parametrize("method", ["reinforce", "expert iteration"])
def test_answers_are_told_and_never_fitted_to(method):
    blind, seeing, lied_to = (
        learned(rounds=2, method=method, answers=answers) for answers in (None, ANSWERS, [1 - a for a in ANSWERS])
    )
    for one in (seeing, lied_to):
        assert np.array_equal(one.policy.inner, blind.policy.inner)
        assert np.array_equal(one.policy.outer, blind.policy.outer)
    assert [row.right for row in blind.curve] == [None, None]
    assert [a.right + b.right for a, b in zip(seeing.curve, lied_to.curve, strict=True)] == [1.0, 1.0]


def test_debaters_play_each_other_for_a_sum_of_zero_and_consultants_for_the_log_score():
    judge, learner = WordJudge(), dataclasses.replace(learned(DEBATE, rounds=1), sample=True)
    one = _played(judge, learner, learner.training, CASES[:6], 0)
    for episode, row in zip(one.episodes, one.beliefs, strict=True):
        keys = [(episode.item, seat, side) for seat, side in zip("ab", episode.sides, strict=True)]
        assert sum(one.paid[key] for key in keys) == pytest.approx(0, abs=1e-12)
        assert [one.own[key] for key in keys] == pytest.approx(np.log(row[list(episode.sides)]).tolist())
    assert len(one.choices) == 6 * 2 * 2 * 2
    alone = dataclasses.replace(learner, training=dataclasses.replace(learner.training, protocol=TALK))
    talk = _played(judge, alone, alone.training, CASES[:6], 0)
    assert talk.own == talk.paid


def test_trained_debaters_show_both_sides():
    adviser = learned(DEBATE, rounds=40)
    players = {"judge": WordJudge()} | dict.fromkeys("ab", adviser)
    for episode in play(DEBATE, worlds(10, seed=5), players):
        for message in episode.messages:
            assert message.quotes[0].texts[0].split()[-2] == ("up", "down")[message.side]


def test_a_baseline_is_the_mean_of_a_plays_own_repetitions():
    learner = dataclasses.replace(learned(rounds=1), sample=True)
    plays = [_played(WordJudge(), learner, learner.training, CASES[:8], k) for k in range(PLAYS)]
    worth = _advantages(plays)
    keys = [choice.key for one in plays for choice in one.choices]
    for key in set(keys):
        assert worth[[k == key for k in keys]].sum() == pytest.approx(0, abs=1e-9)
    assert worth.std() == pytest.approx(1)


def test_the_slopes_are_those_of_reward_less_the_price_of_distance():
    rng = np.random.default_rng(0)
    choices = [Choice(("", "", 0), rng.standard_normal((n, 5)), int(rng.integers(n))) for n in (3, 1, 6)]
    worth, batch = rng.standard_normal(3), _Batch.joined(choices)
    policy = Policy(words=(), inner=rng.standard_normal((4, 5)), outer=rng.standard_normal(4))

    def aim(inner, outer):
        total = 0.0
        for choice, value in zip(choices, worth, strict=True):
            scores = np.tanh(choice.x @ inner.T) @ outer
            p = np.exp(scores) / np.exp(scores).sum()
            total += value * np.log(p[choice.row]) - trained.PRICE * (p * np.log(p * len(p))).sum()
        return total / len(choices)

    inner, outer = batch.slopes(policy, worth)
    for found, name in ((inner, "inner"), (outer, "outer")):
        for place in np.ndindex(found.shape):
            up, down = ({"inner": policy.inner.copy(), "outer": policy.outer.copy()} for _ in range(2))
            up[name][place] += 1e-6
            down[name][place] -= 1e-6
            assert found[place] == pytest.approx((aim(**up) - aim(**down)) / 2e-6, abs=1e-7)
    assert batch.kl(policy)[1] == pytest.approx(0), "of one piece there is no choice"


def test_distance_has_a_price(monkeypatch, talker):
    monkeypatch.setattr(trained, "PRICE", 100.0)
    near = learned(rounds=30)
    assert near.curve[-1].kl < 0.05 < 0.5 < talker.curve[-1].kl


def test_an_imitator_does_as_the_planner_does_and_counts_what_the_planner_asked():
    judge = WordJudge()
    adviser = learned(judge=judge, rounds=3, method="expert iteration")
    assert judge.asked <= adviser.curve[-1].asked, "views that are alike are asked once, and counted a move each"
    assert adviser.curve[-1].asked > 20 * 3 * trained.BATCH * 2
    for side, word in enumerate(("up", "down")):
        assert np.mean([one == word for one in words_for(adviser, worlds(20, seed=3), side)]) > 0.9
    assert adviser.curve[-1].reward > adviser.curve[0].reward + 0.2


def test_a_judge_that_cannot_say_pays_the_least_and_teaches_nothing():
    adviser = learned(judge=BlankJudge(), rounds=3)
    assert [row.reward for row in adviser.curve] == pytest.approx([np.log(FLOOR)] * 3)
    assert np.abs(adviser.policy.outer).max() < 1e-3, "rounding alone"


def test_who_has_shown_everything_is_silent(talker):
    small = [dataclasses.replace(case, pieces=case.pieces[:1]) for case in CASES[:3]]
    for episode in play(TALK, small, {"judge": WordJudge(), "adviser": dataclasses.replace(talker, statics={})}):
        assert [len(m.quotes) for m in episode.messages] == [1, 0]
        assert not episode.failures


def test_it_argues_for_its_own_belief_where_no_side_is_assigned(talker):
    (free,) = talker.moves([position(CASES[0], None)])
    assert free.quotes[0].texts[0].split()[-2] == "up", "its knower believes in option 0"
    assert talker.knows(CASES[:2]).tolist() == [[0.8, 0.2]] * 2


def test_against_trains_it_again_in_the_same_way():
    first = learned(rounds=2, seed=3, answers=ANSWERS)
    judge = WordJudge(weight=-1.0)
    again = against(judge, first)
    assert isinstance(again, TrainedAdviser)
    assert judge.asked == again.curve[-1].asked == first.curve[-1].asked
    assert np.array_equal(against(WordJudge(), first).policy.inner, first.policy.inner)
    assert len(against(judge, first, rounds=1).curve) == 1
    with pytest.raises(TypeError, match="goal"):
        against(judge, first, goal="move")
    turned = against(judge, learned(rounds=1), rounds=40)
    assert np.mean([one == "down" for one in words_for(turned, worlds(20, seed=2), 0)]) > 0.9, "down means up here"


@pytest.mark.parametrize(
    ("dials", "says"),
    [
        ({"cases": []}, "0 cases"),
        ({"rounds": 0}, "0 rounds"),
        ({"protocol": PROTOCOLS["open consultancy"]}, "every adviser is assigned a side"),
        ({"protocol": PROTOCOLS["market making"]}, "every adviser is assigned a side"),
        ({"method": "luck"}, "not by 'luck'"),
    ],
)
def test_what_cannot_be_trained_is_refused(dials, says):
    with pytest.raises(ValueError, match=says):
        learned(**dials)


@pytest.mark.parametrize(
    "page",
    [
        traces(split="train", view="pair", n=4, steps=4),
        rules(split="train", n=4),
        pixels(split="train", view="pair", n=4),
    ],
    ids=lambda page: page.task,
)
def test_it_reads_the_pieces_of_every_task(page):
    class Counts(WordJudge):
        def beliefs(self, views):
            first = np.array([0.4 + 0.02 * (sum(view.shown()) % 11) for view in views])
            return np.stack([first, 1 - first], axis=1)

    adviser = learned(judge=Counts(), cases=[case_of(item) for item in page.items], rounds=2)
    assert np.isfinite(adviser.policy.inner).all()
    assert adviser.policy.outer.any()


def test_search_plan_and_training_are_aimed_by_one_verb(talker):
    judge = WordJudge()
    for adviser, kind in (
        (FirstPiece(), SearchAdviser),
        (SearchAdviser(judge=judge, knower=FirstPiece()), SearchAdviser),
        (PlanAdviser(judge=judge, knower=FirstPiece()), PlanAdviser),
        (dataclasses.replace(talker, training=dataclasses.replace(talker.training, rounds=1)), TrainedAdviser),
    ):
        assert type(against(judge, adviser)) is kind
