"""Bradley–Terry ratings: against an optimiser that knows nothing of the model's form, and against the truth."""

import math

import numpy as np
import pytest
from scipy import optimize, special

from superalign.oversight.ratings import ELO, bradley_terry
from superalign.stats import StatsError


def tournament(rng, strength, advantage, rounds, clusters=40):
    """Every pair in both orders; the correct side wins with σ(θ_c + h − θ_i)."""
    names = sorted(strength)
    correct, incorrect, won, cluster = [], [], [], []
    for r in range(rounds):
        for a in names:
            for b in names:
                if a != b:
                    correct.append(a)
                    incorrect.append(b)
                    won.append(float(rng.random() < special.expit(strength[a] + advantage - strength[b])))
                    cluster.append(f"f{r % clusters}")
    return correct, incorrect, won, cluster


STRENGTH = {"a": 1.0, "b": 0.2, "c": -0.3, "d": -0.9}


@pytest.mark.parametrize("apart", [False, True])
def test_the_fit_is_the_maximum_of_the_penalised_likelihood(apart):
    correct, incorrect, won, cluster = tournament(np.random.default_rng(0), STRENGTH, 0.5, 12)
    won = [0.5 if i % 7 == 0 else w for i, w in enumerate(won)]
    names = sorted(STRENGTH)
    keys = [(n, s) for s in ("correct", "incorrect") for n in names] if apart else [(n, "both") for n in names] + ["h"]
    place = {key: i for i, key in enumerate(keys)}

    def loss(theta):
        total = 0.0
        for a, b, w in zip(correct, incorrect, won, strict=True):
            if apart:
                away = theta[place[(a, "correct")]] - theta[place[(b, "incorrect")]]
            else:
                away = theta[place[(a, "both")]] + theta[place["h"]] - theta[place[(b, "both")]]
            total += w * math.log1p(math.exp(-away)) + (1 - w) * math.log1p(math.exp(away))
        return total + 0.01 / 2 * sum(x * x for x in theta)

    best = optimize.minimize(loss, np.zeros(len(keys)), method="BFGS", options={"gtol": 1e-7}).x
    found = bradley_terry(correct, incorrect, won, clusters=cluster, apart=apart, draws=5)
    assert [(r.name, r.side) for r in found.ratings] == [k for k in keys if k != "h"]
    fitted = [r.rating.value for r in found.ratings] + ([] if apart else [found.advantage.value])
    assert fitted == pytest.approx(best.tolist(), abs=1e-4)
    assert sum(r.rating.value for r in found.ratings) == pytest.approx(0, abs=1e-8)


def test_ratings_come_back_with_their_advantage():
    correct, incorrect, won, cluster = tournament(np.random.default_rng(1), STRENGTH, 0.7, 300)
    found = bradley_terry(correct, incorrect, won, clusters=cluster, draws=200)
    shift = sum(STRENGTH.values()) / 4
    for r in found.ratings:
        assert r.rating.low <= STRENGTH[r.name] - shift <= r.rating.high
        assert r.rating.high - r.rating.low < 0.6
    assert found.advantage.low <= 0.7 <= found.advantage.high
    assert 100 < ELO * (found.ratings[0].rating.value - found.ratings[1].rating.value) < 160


def test_sides_apart_tell_a_liar_that_is_believed_only_when_lying():
    """`liar` wins every play that it argues wrongly, and is as good as the others when right."""
    pairs = [(a, b) for a in ("liar", "fair", "third") for b in ("liar", "fair", "third") if a != b] * 20
    correct, incorrect = zip(*pairs, strict=True)
    won = [0.0 if b == "liar" else float(i // 6 % 2) for i, (_, b) in enumerate(pairs)]
    found = bradley_terry(correct, incorrect, won, apart=True, draws=50)
    by = {(r.name, r.side): r.rating.value for r in found.ratings}
    assert by[("liar", "incorrect")] - by[("fair", "incorrect")] > 3
    assert abs(by[("liar", "correct")] - by[("fair", "correct")]) < 1
    assert found.advantage is None
    whole = {r.name: r.rating.value for r in bradley_terry(correct, incorrect, won, draws=5).ratings}
    assert whole["liar"] > whole["fair"]


def test_swapped_sides_cancel_the_advantage():
    """Two equals: whoever is right always wins; neither is rated above the other."""
    found = bradley_terry(["a", "b"] * 30, ["b", "a"] * 30, [1.0] * 60, draws=20)
    assert [r.rating.value for r in found.ratings] == pytest.approx([0, 0], abs=1e-9)
    assert found.advantage.value > 3


def test_who_always_wins_has_a_finite_rating_that_grows_as_the_ridge_falls():
    fits = [
        bradley_terry(["a", "b"] * 20, ["b", "a"] * 20, [1, 0] * 20, ridge=ridge, draws=10).ratings[0].rating.value
        for ridge in (1.0, 0.1, 0.01)
    ]
    assert 0 < fits[0] < fits[1] < fits[2] < 10


def test_a_tie_is_half_a_win_for_either():
    ties = bradley_terry(["a", "b"] * 10, ["b", "a"] * 10, [0.5] * 20, draws=10)
    coins = bradley_terry(["a", "b"] * 10, ["b", "a"] * 10, [1, 1, 0, 0] * 5, draws=10)
    for found in (ties, coins):
        assert [r.rating.value for r in found.ratings] == pytest.approx([0, 0], abs=1e-9)
        assert found.advantage.value == pytest.approx(0, abs=1e-9)


def test_the_bootstrap_draws_clusters():
    """Ten copies of each item in one cluster tell no more than the items."""
    correct, incorrect, won, cluster = tournament(np.random.default_rng(2), STRENGTH, 0.3, 40)
    few = bradley_terry(correct, incorrect, won, clusters=cluster, draws=200, ridge=1e-6)
    many = bradley_terry(correct * 10, incorrect * 10, won * 10, clusters=cluster * 10, draws=200, ridge=1e-6)
    for one, other in zip(few.ratings, many.ratings, strict=True):
        assert other.rating.value == pytest.approx(one.rating.value, abs=1e-4)
        wide, same = (r.rating.high - r.rating.low for r in (one, other))
        assert same == pytest.approx(wide, rel=1e-3)
    assert bradley_terry(["a", "b"], ["b", "a"], [1, 0], clusters=["f", "f"]).ratings[0].rating.low is None


BAD = [
    ((["a"], ["b"], [2.0]), {}, "between 0"),
    ((["a"], ["b"], [math.nan]), {}, "NaN"),
    ((["a"], ["b", "c"], [1.0]), {}, "either side"),
    (([], [], []), {}, "at least one play"),
    ((["a"], ["b"], [1.0]), {"ridge": 0.0}, "above 0"),
    ((["a", "c"], ["b", "d"], [1.0, 0.0]), {}, "no chain of plays connects c, d with a"),
    ((["a", "b"], ["b", "a"], [1.0, 0.0]), {"apart": True}, r"no chain .* b \(correct\)"),
]


@pytest.mark.parametrize(("given", "more", "says"), BAD)
def test_what_cannot_be_rated_is_an_error(given, more, says):
    with pytest.raises(StatsError, match=says):
        bradley_terry(*given, **more)
