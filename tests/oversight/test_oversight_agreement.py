"""Error similarity against its published definition in plain loops; predictors of a protocol's errors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign import stats
from superalign.oversight.agreement import capa, disagreement, error_kappa, error_predictors, errors, judge_entropy
from superalign.oversight.rows import episode_rows
from superalign.stats import StatsError

FAST = settings(max_examples=40, deadline=None)


def beliefs(rng, n, sizes, width=5):
    """Random beliefs over each item's own options, zero beyond."""
    out = np.zeros((n, width))
    for i, k in enumerate(sizes):
        out[i, :k] = rng.dirichlet(np.ones(k))
    return out


def published_capa(first, second, truth, sizes):
    """Goel et al. 2502.04313, §2.2, equations 2 to 4, over ragged rows."""
    n = len(truth)
    observed = (
        sum(sum(a * b for a, b in zip(p[:k], q[:k], strict=True)) for p, q, k in zip(first, second, sizes, strict=True))
        / n
    )
    right1 = sum(p[t] for p, t in zip(first, truth, strict=True)) / n
    right2 = sum(q[t] for q, t in zip(second, truth, strict=True)) / n
    spread = sum(1 / (k - 1) for k in sizes) / n
    chance = right1 * right2 + (1 - right1) * (1 - right2) * spread
    return (observed - chance) / (1 - chance)


@pytest.mark.parametrize("seed", range(6))
def test_capa_is_the_published_one(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 6, 70)
    p, q = beliefs(rng, 70, sizes), beliefs(rng, 70, sizes)
    truth = np.array([rng.integers(k) for k in sizes])
    expected = published_capa(p.tolist(), q.tolist(), truth.tolist(), sizes.tolist())
    found = capa(p, q, truth, sizes=sizes)
    assert found.value == pytest.approx(expected, abs=1e-9)
    assert found.low < found.value < found.high
    assert capa(q, p, truth, sizes=sizes).value == pytest.approx(found.value, abs=1e-12)


def test_capa_of_two_certain_answers_is_error_consistency():
    """Its generalisation: with two options and beliefs of 0 and 1 they are the same (2502.04313, App. A.1)."""
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 2, (2, 100))
    truth = rng.integers(0, 2, 100)
    found = capa(np.eye(2)[a], np.eye(2)[b], truth)
    known = error_kappa(a == truth, b == truth)
    assert (found.value, found.low, found.high) == pytest.approx((known.value, known.low, known.high))


@pytest.mark.parametrize("seed", range(3))
def test_error_kappa_is_cohens_on_right_and_wrong(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 80)) < [[0.8], [0.6]]
    both = sum(x == y for x, y in zip(a.tolist(), b.tolist(), strict=True)) / 80
    p, q = a.sum() / 80, b.sum() / 80
    chance = p * q + (1 - p) * (1 - q)
    assert error_kappa(a, b).value == pytest.approx((both - chance) / (1 - chance), abs=1e-9)


def test_wrong_in_different_ways_agrees_for_kappa_and_not_for_capa():
    first, second = np.eye(3)[[1] * 40], np.eye(3)[[2] * 40]
    right = np.arange(40) < 20
    first[right] = second[right] = [1, 0, 0]
    truth = np.zeros(40, dtype=int)
    assert error_kappa(right, right).value == pytest.approx(1)
    assert capa(first, second, truth).value < 0.5


def test_independent_errors_have_no_similarity_whatever_the_accuracies():
    rng = np.random.default_rng(2)
    for p, q in ((0.9, 0.9), (0.9, 0.5), (0.6, 0.7)):
        a, b = (rng.random(40_000) < x for x in (p, q))
        found = error_kappa(a, b)
        assert found.low < 0.0 < found.high


def test_the_interval_holds_what_is_true():
    """300 simulations of two judges who share a third of their luck, 50 clusters of 4; nominal 95 %."""
    rng, held = np.random.default_rng(4), 0

    def drawn(n, clusters):
        shared = rng.normal(size=(2, n))[:, :, None] * 0.3 + rng.normal(size=(2, n, clusters)) * 0.4
        luck = rng.normal(size=(n, clusters)) * 0.6
        first, second = (1 / (1 + np.exp(-(0.8 + luck + own))) for own in shared)
        return first.ravel(), second.ravel()

    a, b = drawn(100_000, 4)
    truth = published_capa(*(np.column_stack([x, 1 - x]).tolist() for x in (a, b)), [0] * len(a), [2] * len(a))
    for _ in range(300):
        a, b = drawn(50, 4)
        p, q = (np.column_stack([x, 1 - x]) for x in (a, b))
        found = capa(p, q, np.zeros(200, dtype=int), clusters=np.repeat(np.arange(50), 4))
        held += found.low <= truth <= found.high
    assert 0.9 <= held / 300 <= 0.99


def test_who_never_errs_has_no_errors_to_compare():
    for found in (capa(np.eye(2)[[0] * 9], np.eye(2)[[0] * 9], [0] * 9), error_kappa([1] * 9, [1] * 9)):
        assert found.value is None
        assert "no errors" in found.note


@FAST
@given(st.integers(0, 1000))
def test_disagreement_and_entropy_keep_their_bounds(seed):
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(3), size=(2, 20))
    apart, unsure = disagreement(p, q), judge_entropy(p)
    assert apart == pytest.approx(
        [sum(abs(x - y) for x, y in zip(a, b, strict=True)) / 2 for a, b in zip(p, q, strict=True)]
    )
    assert unsure == pytest.approx([-sum(x * math.log2(x) for x in a) for a in p.tolist()])
    assert ((unsure >= 0) & (unsure <= math.log2(3) + 1e-12)).all()
    assert (disagreement(p, p) == 0).all()


def test_predictors_are_ranked_by_auroc_and_a_tie_or_failure_is_an_error():
    belief = [0.9, 0.5, 0.2, math.nan, 0.7, 0.6]
    rows = episode_rows(item=[*"abcdef"], cluster=[*"abcdef"], belief=belief)
    wrong = errors(rows)
    assert wrong.tolist() == [0, 1, 1, 1, 0, 0]
    found = error_predictors(wrong, {"entropy": judge_entropy(rows.options), "nothing": np.ones(6)})
    assert found["nothing"].value == 0.5
    assert found["entropy"].value == stats.auroc(judge_entropy(rows.options), wrong).value
    assert found["entropy"].value > 0.5
    with pytest.raises(StatsError, match="NaN"):
        error_predictors(wrong, {"failed checks": [0.1] * 5 + [math.nan]})


BAD = [
    (lambda: capa([[0.5, 0.5]], [[0.5, 0.5]] * 2, [0]), "shapes"),
    (lambda: capa([[0.5, 0.6]], [[0.5, 0.5]], [0]), "adding up to 1"),
    (lambda: capa([[math.nan, 1]], [[0.5, 0.5]], [0]), "adding up to 1"),
    (lambda: capa([[0.5, 0.5]], [[0.5, 0.5]], [2]), "true column"),
    (lambda: capa([[0.5, 0.5]], [[0.5, 0.5]], [0], sizes=[1]), "sizes"),
    (lambda: error_kappa([1, 0], [1]), "2 and 1"),
    (lambda: error_kappa([1, 2], [1, 0]), "between 0"),
    (lambda: error_kappa([], []), "at least one"),
    (lambda: disagreement([[1.0, 0.0]], [[0.5, 0.25, 0.25]]), "shapes"),
    (lambda: judge_entropy([0.5, 0.5]), "shape"),
]


@pytest.mark.parametrize(("call", "says"), BAD)
def test_what_cannot_be_compared_is_an_error(call, says):
    with pytest.raises(StatsError, match=says):
        call()
