"""Moment matching: its parts by hand, and students of beliefs that are swayed, or aren't, by something prominent."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq, minimize

from superalign.generalization import METHODS, Lesson, Reading, score
from superalign.generalization.lesson import Supervised
from superalign.generalization.methods.moments import (
    BLENDED,
    MOMENTS,
    MOMENTS_BLENDED,
    OURS,
    PENALTY,
    Believer,
    fit_toward,
    matched,
    moments,
    slack,
    tilted,
)
from superalign.generalization.methods.zero_shot import SELF_TRAINED, ZERO_SHOT
from superalign.generalization.reading import log_odds, probability

each = pytest.mark.parametrize("method", OURS, ids=lambda method: method.name)
tilting = pytest.mark.parametrize("method", [MOMENTS, MOMENTS_BLENDED], ids=lambda method: method.name)
both = pytest.mark.parametrize("paired", [True, False], ids=["pairs", "singles"])


def _reading(x: np.ndarray, belief: np.ndarray, *, paired: bool) -> Reading:
    if paired:
        return Reading(first=x / 2, second=-x / 2, belief=belief)
    return Reading(first=x + 3, second=None, belief=belief)


def _lesson(*, sway: float, n: int = 600, paired: bool = True, seed: int = 0, hold: str = "many") -> Lesson:
    """Column 0 tells of the truth, column 1 is prominent and doesn't; belief is calibrated, but for its sway."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2 * n, 8))
    truth = rng.random(2 * n) < probability(2.5 * x[:, 0])
    x[:, 1] = np.where(rng.random(2 * n) < 0.5, 2.0, -2.0)
    belief = probability(2.5 * x[:, 0] + sway * np.sign(x[:, 1]))
    seen = x[:, [1, 2, 3]] + 0.1 * rng.normal(size=(2 * n, 3))
    seen[:, 1] += 0.5 * x[:, 0]
    half = np.full(n, 0.5)
    clusters = np.array([f"c{i % 30}" for i in range(n)] if hold == "many" else ["only"] * n)
    return Lesson(
        reading=_reading(x[:n], belief[:n], paired=paired),
        labels=np.where(truth[:n] ^ (rng.random(n) < 0.4), 0.8, 0.2),
        clusters=clusters,
        checked=np.zeros(n, dtype=bool),
        seed=seed,
        supervised=Supervised(
            half_a=_reading(seen[n:], half, paired=paired),
            truth_a=truth[n:],
            clusters_a=clusters,
            half_b=_reading(seen[:n], half, paired=paired),
            l2=0.01,
        ),
    )


def _truth(lesson: Lesson) -> np.ndarray:
    return (lesson.reading.x[:, 0] - (0 if lesson.reading.paired else 3)) > 0


def _right(method, lesson: Lesson, fresh: Lesson) -> float:
    return float(score(method.fit(lesson).logits(fresh.reading), _truth(fresh)).mean())


# The parts


def test_slack_by_hand_and_with_clusters_that_share_their_noise():
    alone = slack(np.array([[1.0], [3.0]]), np.array(["a", "b"]))
    assert alone == pytest.approx([12.7062], abs=1e-3)  # t of 1 degree at 97.5 %, times an error of 1
    many = np.random.default_rng(0).normal(size=(400, 1))
    shared = np.repeat(many[:40], 10, axis=0)
    codes = np.repeat(np.arange(40), 10)
    assert slack(shared, codes) > 2 * slack(many, codes)
    assert slack(many, np.arange(400)) == pytest.approx(1.966 * many.std(ddof=1) / 20, rel=0.01)


def test_slack_pays_for_every_feature_and_knows_nothing_of_one_cluster():
    told = np.tile(np.random.default_rng(1).normal(size=(200, 1)), (1, 50))
    codes = np.arange(200) % 20
    assert (slack(told, codes) > 1.3 * slack(told[:, :1], codes)).all()
    assert np.isinf(slack(told, np.zeros(200))).all()


def test_nothing_within_the_slack_is_touched():
    rng = np.random.default_rng(2)
    prior, seen = rng.normal(size=300), rng.normal(size=(300, 4))
    means = seen.T @ np.tanh(prior / 2) / 300
    same = tilted(prior, seen, means + 0.05, np.full(4, 0.1))
    assert same is prior
    assert tilted(prior, seen, means + 9, np.full(4, np.inf)) is prior


def test_one_feature_has_the_tilt_that_a_root_finder_gives():
    rng = np.random.default_rng(3)
    prior, seen = 2 * rng.normal(size=500), rng.normal(size=(500, 1))

    def off(theta: float) -> float:
        return float((seen[:, 0] * np.tanh((prior + theta * seen[:, 0]) / 2)).mean() - 0.2)

    theta = brentq(off, -5, 5)
    assert tilted(prior, seen, np.array([0.2]), np.array([0.02])) == pytest.approx(prior + theta * seen[:, 0], abs=1e-3)


def test_means_that_must_move_are_met_and_others_are_left():
    rng = np.random.default_rng(4)
    prior, seen = rng.normal(size=800), rng.normal(size=(800, 5))
    before = seen.T @ np.tanh(prior / 2) / 800
    want = before + np.array([0.3, 0.0, -0.2, 0.0, 0.0])
    q = tilted(prior, seen, want, np.full(5, 0.1))
    after = seen.T @ np.tanh(q / 2) / 800
    assert after[[0, 2]] == pytest.approx(want[[0, 2]], abs=1e-4)
    theta = np.linalg.lstsq(seen, q - prior, rcond=None)[0]
    assert theta[[1, 3, 4]] == pytest.approx(np.zeros(3), abs=1e-9)
    assert theta[0] > 0 > theta[2]


@both
def test_what_is_seen_has_deviation_one_and_tells_of_the_truth_on_half_a(paired):
    lesson = _lesson(sway=0, paired=paired)
    assert lesson.supervised is not None
    seen, means, loose = moments(lesson.supervised)
    assert seen.shape == (600, 3 if paired else 4)
    assert (seen**2).mean(axis=0) == pytest.approx(np.ones(seen.shape[1]), abs=1e-3)
    sign = np.where(_truth(lesson), 1.0, -1.0)
    assert np.abs(seen.T @ sign / 600 - means).max() < 0.25
    assert (np.abs(means) > loose).any()
    assert np.corrcoef(seen @ means, sign)[0, 1] > 0.2
    if not paired:
        assert means[0] == pytest.approx(2 * lesson.supervised.truth_a.mean() - 1)


def test_features_that_never_vary_are_no_directions():
    lesson = _lesson(sway=0)
    school = lesson.supervised
    assert school is not None

    def padded(read: Reading) -> Reading:
        return replace(read, first=np.pad(read.first, ((0, 0), (0, 2))), second=np.pad(read.second, ((0, 0), (0, 2))))

    seen, means, _ = moments(replace(school, half_a=padded(school.half_a), half_b=padded(school.half_b)))
    assert seen.shape == (600, 3)
    assert np.isfinite(means).all()


def test_a_head_toward_labels_is_fitted_beside_the_belief():
    lesson = _lesson(sway=1.5)
    q = probability(2 * lesson.reading.x[:, 0])
    (head,) = fit_toward(lesson, q)
    x, prior = lesson.reading.x / lesson.reading.x.std(axis=0), log_odds(lesson.reading.belief)

    def loss(beta: np.ndarray) -> float:
        z = prior + x @ beta
        return float((np.logaddexp(0, z) - q * z).mean() + PENALTY * (beta**2).sum() / 2)

    best = minimize(loss, np.zeros(8)).x
    assert head.head.weight == pytest.approx(best, abs=0.03)
    assert best[1] < -0.4  # the sway is taken back


# The students


@tilting
def test_a_belief_that_leans_on_nothing_false_stays_as_it_is(method):
    lesson = _lesson(sway=0)
    heads = method.fit(lesson).heads
    plain = ZERO_SHOT if method is MOMENTS else BLENDED
    assert len(heads) == (0 if method is MOMENTS else 1)
    assert method.fit(lesson).logits(lesson.reading) == pytest.approx(plain.fit(lesson).logits(lesson.reading))


@both
@tilting
def test_a_swayed_belief_is_set_right(method, paired):
    lesson, fresh = _lesson(sway=2, paired=paired), _lesson(sway=2, paired=paired, seed=1)
    assert _right(ZERO_SHOT, lesson, fresh) < 0.78
    assert _right(BLENDED, lesson, fresh) < 0.78
    assert _right(method, lesson, fresh) > _right(ZERO_SHOT, lesson, fresh) + 0.08
    follows = np.corrcoef(method.fit(lesson).logits(fresh.reading), fresh.reading.x[:, 1])[0, 1]
    assert abs(follows) < 0.25 < np.corrcoef(log_odds(fresh.reading.belief), fresh.reading.x[:, 1])[0, 1]


def test_seldom_tilts_without_need():
    tilts = [bool(MOMENTS.fit(_lesson(sway=0, n=200, seed=seed)).heads) for seed in range(12)]
    assert sum(tilts) <= 2


@each
def test_labels_and_truth_of_half_b_are_not_read_and_the_same_comes_again(method):
    lesson = _lesson(sway=1.5)
    logits = method.fit(lesson).logits(lesson.reading)
    other = replace(lesson, labels=1 - lesson.labels, truth=~_truth(lesson))
    assert method.fit(other).logits(lesson.reading).tolist() == logits.tolist()


@each
def test_swapped_pairs_teach_the_same_student(method):
    def swapped(reading: Reading) -> Reading:
        return replace(reading, first=reading.second, second=reading.first, belief=1 - reading.belief)

    lesson = _lesson(sway=1.5)
    school = lesson.supervised
    assert school is not None
    turned = replace(
        lesson,
        reading=swapped(lesson.reading),
        labels=1 - lesson.labels,
        supervised=replace(
            school, half_a=swapped(school.half_a), half_b=swapped(school.half_b), truth_a=~school.truth_a
        ),
    )
    said = method.fit(lesson).logits(lesson.reading)
    assert method.fit(turned).logits(lesson.reading) == pytest.approx(said, abs=1e-3)
    assert method.fit(lesson).logits(swapped(lesson.reading)) == pytest.approx(-said, abs=1e-6)


@tilting
def test_only_a_supervisor_that_was_taught_will_do(method):
    lesson = replace(_lesson(sway=1), supervised=None)
    assert not method.playable(lesson)
    with pytest.raises(ValueError, match="truth that the supervisor was taught"):
        method.fit(lesson)
    assert BLENDED.playable(lesson)


@tilting
def test_one_cluster_tells_nothing_and_one_answer_is_no_accident(method):
    lesson = _lesson(sway=2, hold="one")
    assert len(method.fit(lesson).heads) == (method is MOMENTS_BLENDED)
    school = _lesson(sway=2).supervised
    assert school is not None
    always = replace(_lesson(sway=2), supervised=replace(school, truth_a=np.ones(600, dtype=bool)))
    assert np.isfinite(method.fit(always).logits(lesson.reading)).all()


def test_checked_labels_stay_as_they_were_checked():
    lesson = _lesson(sway=2)
    rows = np.arange(600) < 50
    checked = replace(lesson, checked=rows, labels=np.where(rows, _truth(lesson), lesson.labels))
    q = matched(checked)
    assert q[rows].tolist() == _truth(lesson)[rows].astype(float).tolist()
    assert q[~rows].tolist() == matched(lesson)[~rows].tolist()


def test_blended_is_the_belief_and_what_learned_from_it():
    lesson = _lesson(sway=0.5)
    parts = sum(one.fit(lesson).logits(lesson.reading) for one in (ZERO_SHOT, SELF_TRAINED))
    assert BLENDED.fit(lesson).logits(lesson.reading) == pytest.approx(parts)
    assert Believer(heads=()).logits(lesson.reading) == pytest.approx(log_odds(lesson.reading.belief))


def test_names_and_kinds():
    assert [one.kind for one in OURS] == ["unsupervised", "labels", "labels"]
    assert all(METHODS.get(one.name, one) is one for one in OURS)
    assert all(one.truths == 0 and "ours" in one.source for one in OURS)
