"""Every statistic against an independent reference: statsmodels, scikit-learn, enumeration, simulated coverage."""

import doctest
import importlib

import numpy as np
import pytest

from superalign import stats


@pytest.mark.parametrize("module", ["binomial", "mean", "pgr", "proportion", "roc"])
def test_examples_run(module):
    result = doctest.testmod(importlib.import_module(f"superalign.stats.{module}"))
    assert result.attempted
    assert not result.failed


def test_clustered_mean_is_cluster_robust_ols():
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 7)
    x = rng.normal(size=210) + rng.normal(size=30)[groups]
    found = stats.mean_interval(x, clusters=groups)
    fit = sm.OLS(x, np.ones(210)).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "df_correction": True}, use_t=True
    )
    low, high = fit.conf_int()[0]
    assert found.value == pytest.approx(fit.params[0])
    # OLS scales by (n - 1)/(n - k) as well, which is 1 for a mean
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_paired_difference_is_a_t_test_without_clusters():
    from scipy import stats as reference

    rng = np.random.default_rng(1)
    a, b = rng.normal(size=40), rng.normal(size=40)
    found = stats.paired_difference(a, b)
    low, high = reference.ttest_rel(a, b).confidence_interval()
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 5), (5, 5), (1, 100), (99, 100)])
def test_binomial_is_clopper_pearson(k, n):
    from statsmodels.stats.proportion import proportion_confint

    found = stats.binomial_interval(k, n)
    assert (found.low, found.high) == pytest.approx(proportion_confint(k, n, method="beta"), abs=1e-9)


def test_auroc_with_ties_is_sklearns():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(2)
    scores, labels = rng.integers(0, 4, 200), rng.integers(0, 2, 200)
    assert stats.auroc(scores, labels, draws=50).value == pytest.approx(roc_auc_score(labels, scores))


def test_tpr_at_fpr_is_the_randomised_curve():
    """Linear interpolation of the full ROC curve is what breaking ties at random gives."""
    from sklearn.metrics import roc_curve

    rng = np.random.default_rng(3)
    for _ in range(20):
        scores, labels = rng.integers(0, 5, 60), np.r_[np.zeros(30), np.ones(30)]
        fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
        for alpha in (0.0, 0.01, 0.1, 0.5, 1.0):
            point = stats.tpr_at_fpr(scores, labels, fpr=alpha)
            expected = tpr[fpr == 0].max() if alpha == 0 else np.interp(alpha, fpr, tpr)
            assert point.tpr == pytest.approx(expected)
            assert point.strict_fpr <= alpha + 1e-12


def test_pgr_point_and_fieller_agree_with_the_bootstrap():
    rng = np.random.default_rng(4)
    weak, student, ceiling = (rng.random(4000) < p for p in (0.6, 0.75, 0.9))
    boot = stats.pgr([weak], [student], [ceiling], seed=0)
    closed = stats.pgr_fieller(weak.astype(float), student.astype(float), ceiling.astype(float))
    assert boot.value == pytest.approx(closed.value)
    assert boot.value == pytest.approx((student.mean() - weak.mean()) / (ceiling.mean() - weak.mean()))
    assert (boot.low, boot.high) == (pytest.approx(closed.low, abs=0.012), pytest.approx(closed.high, abs=0.012))


def test_pgr_interval_covers():
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(120):
        sides = [[(rng.random(400) < p).astype(float) for _ in range(4)] for p in (0.6, 0.75, 0.9)]
        found = stats.pgr(*sides, seed=trial, draws=300)
        hits += found.low <= 0.5 <= found.high
    assert hits / 120 >= 0.9


def test_pgr_interval_covers_when_all_seeds_share_their_files():
    """Every seed is tested on the same files, and a student is good at the same files in every seed."""
    hits, trials, rng = 0, 150, np.random.default_rng(6)
    files = np.repeat(np.arange(40), 20)
    for trial in range(trials):
        weak, gain, top = (np.clip(rng.normal(p, 0.12, 40), 0, 1) for p in (0.55, 0.72, 0.89))
        sides = [[(rng.random(800) < p[files]).astype(float) for _ in range(6)] for p in (weak, gain, top)]
        found = stats.pgr(*sides, clusters=[files] * 6, seed=trial, draws=300)
        hits += found.low <= 0.5 <= found.high
    assert hits / trials >= 0.9


@pytest.mark.parametrize(("p", "spread"), [(0.5, 4.0), (0.9, 4.0), (0.97, 8.0)])
def test_proportion_interval_covers_clustered_trials(p, spread):
    rng, hits, trials = np.random.default_rng(7), 0, 400
    files = np.repeat(np.arange(25), 8)
    for _ in range(trials):
        rates = rng.beta(p * spread, (1 - p) * spread, 25)
        found = stats.proportion_interval(rng.random(200) < rates[files], clusters=files)
        assert 0 <= found.low <= found.value <= found.high <= 1
        hits += found.low <= p <= found.high
    assert hits / trials >= 0.92


@pytest.mark.parametrize(("hits", "n"), [(0, 9), (1, 40), (20, 40), (40, 40)])
def test_proportion_without_clusters_is_clopper_pearson(hits, n):
    """But for n − 1 in place of n, which is what the variance of a sample mean estimates."""
    from statsmodels.stats.proportion import proportion_confint

    found = stats.proportion_interval(np.arange(n) < hits)
    trials = n if hits in (0, n) else n - 1
    expected = proportion_confint(hits / n * trials, trials, method="beta")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-6)


def test_whole_clusters_alike_count_once_each():
    files = np.repeat(np.arange(12), 50)
    found = stats.proportion_interval(np.ones(600), clusters=files)
    assert found.low == pytest.approx(stats.binomial_interval(12, 12).low)


@pytest.mark.parametrize(("ceiling", "why"), [(0.5, "not above"), (0.602, "noise")])
def test_pgr_refuses_noise(ceiling, why):
    n = 500
    side = lambda p: (np.arange(n) < p * n).astype(float)  # noqa: E731
    rng = np.random.default_rng(0)
    found = stats.pgr([side(0.6)], [rng.permutation(side(0.6))], [rng.permutation(side(ceiling))])
    assert found.value is None
    assert why in found.note


@pytest.mark.parametrize(
    "call",
    [
        lambda: stats.mean_interval([1.0, float("nan")]),
        lambda: stats.paired_difference([1.0], [1.0, 2.0]),
        lambda: stats.binomial_interval(3, 2),
        lambda: stats.tpr_at_fpr([1.0], [1], fpr=0.1),
        lambda: stats.mean_interval([1.0, 2.0], clusters=["a"]),
        lambda: stats.pgr([], [], []),
        lambda: stats.pgr([[0.0, 1.0]], [[1.0]], [[1.0, 1.0]]),
        lambda: stats.proportion_interval([0.5, 1.5]),
    ],
)
def test_bad_input_says_so(call):
    with pytest.raises(stats.StatsError, match=r"\w"):
        call()


def test_what_cannot_be_measured_is_refused():
    assert stats.mean_interval([1.0]).value is None
    assert stats.binomial_interval(0, 0).value is None
    assert stats.auroc([1.0, 2.0], [1, 1]).value is None


def test_best_cut_is_the_exhaustive_one():
    rng = np.random.default_rng(1)
    high, low = rng.normal(1, 1, 60), rng.normal(0, 1, 60)

    def skill(cut):
        return (low < cut).mean() + (high >= cut).mean()

    assert skill(stats.best_cut(low, high)) == pytest.approx(max(skill(c) for c in np.linspace(-3, 4, 4001)))


@pytest.mark.parametrize(
    ("low", "high", "cut"),
    [([0, 1], [3, 4], 2), ([0, 0, 0], [0, 0, 1], 0.5), ([0, 5], [4, 6], 5.5), ([1], [0], 0.5)],
)
def test_best_cut_by_hand(low, high, cut):
    assert stats.best_cut(low, high) == cut


@pytest.mark.parametrize(("low", "high"), [([], [1]), ([1], []), ([1, 1], [1]), ([np.nan], [1])])
def test_no_cut_is_an_error(low, high):
    with pytest.raises(stats.StatsError):
        stats.best_cut(low, high)
