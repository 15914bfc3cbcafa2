"""What must hold for any data: relabelling, swapping, shifting and scaling; and more independent references."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from superalign import stats

BITS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 5)), min_size=4, max_size=40)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)
FAST = settings(max_examples=40, deadline=None)


def ends(found):
    return None if found.value is None else (found.value, found.low, found.high)


@FAST
@given(BITS, st.randoms(use_true_random=False))
def test_the_order_of_items_and_the_names_of_clusters_do_not_matter(rows, shuffle):
    a, b, c = (np.array(x) for x in zip(*rows, strict=True))
    order = list(range(len(a)))
    shuffle.shuffle(order)
    named = np.array([f"file {9 - x}" for x in c])[order]
    for call in (
        lambda x, y, g: stats.paired_difference(x, y, clusters=g),
        lambda x, y, g: stats.proportion_interval(x, clusters=g),
        lambda x, y, g: stats.risk_difference(x, y, clusters_a=g, clusters_b=g, shared=True),
        lambda x, y, g: stats.risk_ratio(x, y, clusters_a=g, clusters_b=g),
        lambda x, y, g: stats.auroc(np.asarray(x) + 0.1 * np.asarray(y), y, clusters=g),
        lambda x, y, g: stats.newcombe_paired(x, y),
    ):
        first, second = ends(call(a, b, c)), ends(call(a[order], b[order], named))
        assert first == (None if second is None else pytest.approx(second, abs=1e-9))


@FAST
@given(BITS)
def test_swapping_the_sides_turns_the_interval_round(rows):
    a, b, c = (np.array(x) for x in zip(*rows, strict=True))
    pairs = [
        (stats.paired_difference(a, b, clusters=c), stats.paired_difference(b, a, clusters=c)),
        (stats.newcombe_paired(a, b), stats.newcombe_paired(b, a)),
        (stats.newcombe((a.sum(), len(a)), (b.sum(), 50)), stats.newcombe((b.sum(), 50), (a.sum(), len(a)))),
        (
            stats.risk_difference(a, b, clusters_a=c, clusters_b=c),
            stats.risk_difference(b, a, clusters_a=c, clusters_b=c),
        ),
    ]
    for one, other in pairs:
        if one.value is None:
            assert other.value is None
        else:
            assert ends(one) == pytest.approx([-other.value, -other.high, -other.low], abs=1e-9)
    one, other = stats.risk_ratio(a, b), stats.risk_ratio(b, a)
    if one.value is not None and other.value is not None:
        assert ends(one) == pytest.approx([1 / other.value, 1 / other.high, 1 / other.low])
    assert stats.mcnemar(a, b).p == pytest.approx(stats.mcnemar(b, a).p)


@FAST
@given(P_VALUES)
def test_corrections_keep_their_order(p):
    holm, bh = stats.holm(p), stats.benjamini_hochberg(p)
    order = np.argsort(p, kind="stable")
    for raised in (holm, bh):
        assert (np.diff(raised[order]) >= 0).all()
        assert (raised >= np.array(p) - 1e-15).all()
        assert raised.max() <= 1
    assert (holm >= bh - 1e-12).all()
    assert stats.holm([p[0]])[0] == p[0]


@FAST
@given(BITS)
def test_a_higher_level_is_wider_and_the_value_lies_inside(rows):
    a, b, c = (np.array(x) for x in zip(*rows, strict=True))
    for call in (
        lambda level: stats.mean_interval(a, clusters=c, level=level),
        lambda level: stats.proportion_interval(a, clusters=c, level=level),
        lambda level: stats.binomial_interval(int(a.sum()), len(a), level=level),
        lambda level: stats.wilson_interval(int(a.sum()), len(a), level=level),
        lambda level: stats.newcombe_paired(a, b, level=level),
        lambda level: stats.risk_ratio(a, b, clusters_a=c, clusters_b=c, level=level),
        lambda level: stats.auroc(a + 0.1 * b, b, clusters=c, level=level),
    ):
        narrow, wide = call(0.8), call(0.99)
        if narrow.value is not None and narrow.low is not None:
            assert wide.low - 1e-9 <= narrow.low <= narrow.value + 1e-9
            assert narrow.value - 1e-9 <= narrow.high <= wide.high + 1e-9


@FAST
@given(BITS)
def test_mid_p_is_below_the_exact_p_and_both_are_probabilities(rows):
    a, b, _ = (np.array(x) for x in zip(*rows, strict=True))
    mid, exact = stats.mcnemar(a, b), stats.mcnemar(a, b, method="exact")
    assert 0 < mid.p <= exact.p <= 1


@pytest.mark.parametrize("method", ["t", "wild"])
def test_shifting_and_scaling_the_values_shifts_and_scales_the_interval(method):
    rng, c = np.random.default_rng(0), np.repeat(np.arange(8), 5)
    x = rng.normal(size=40) + rng.normal(size=8)[c]
    one = stats.mean_interval(x, clusters=c, method=method)
    other = stats.mean_interval(7 - 3 * x, clusters=c, method=method)
    assert ends(other) == pytest.approx([7 - 3 * one.value, 7 - 3 * one.high, 7 - 3 * one.low])


@pytest.mark.parametrize("shared", [True, False])
def test_rates_by_cluster_are_the_sandwich_of_statsmodels(shared):
    """Difference: least squares on the arm; ratio: Poisson regression; both with clustered errors."""
    import statsmodels.api as sm

    rng, groups = np.random.default_rng(1), 25
    c = np.repeat(np.arange(groups), 8)
    own = rng.normal(0, 0.8, groups)
    a, b = ((rng.normal(size=200) + own[c] < cut).astype(float) for cut in (0.4, -0.2))
    names = np.r_[c, c if shared else c + groups]
    arm = sm.add_constant(np.r_[np.ones(200), np.zeros(200)])
    options = {"cov_type": "cluster", "cov_kwds": {"groups": names, "use_correction": False}}
    both = {"clusters_a": c, "clusters_b": c, "shared": shared}
    linear = sm.OLS(np.r_[a, b], arm).fit(**options)
    poisson = sm.GLM(np.r_[a, b], arm, family=sm.families.Poisson()).fit(**options)
    for found, fit, scale in (
        (stats.risk_difference(a, b, **both), linear, lambda x: x),
        (stats.risk_ratio(a, b, **both), poisson, np.log),
    ):
        df = groups - 1 if shared else None
        half = (scale(found.high) - scale(found.low)) / 2
        error = fit.bse[1] * math.sqrt(groups / (groups - 1))
        assert scale(found.value) == pytest.approx(fit.params[1])
        if shared:
            assert half == pytest.approx(error * reference.t.ppf(0.975, df), rel=1e-5)
        else:  # Satterthwaite's degrees of freedom lie between those of one side and of both
            least, most = (error * reference.t.ppf(0.975, d) for d in (2 * groups - 2, groups - 1))
            assert least * (1 - 1e-6) <= half <= most
        assert found.clusters == (groups if shared else 2 * groups)


def test_shared_clusters_of_the_same_items_are_a_paired_difference():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 2, 60), rng.integers(0, 2, 60)
    found = stats.risk_difference(a, b, clusters_a=range(60), clusters_b=range(60), shared=True)
    assert ends(found) == pytest.approx(ends(stats.paired_difference(a, b)))
    with pytest.raises(stats.StatsError, match="labels of both"):
        stats.risk_ratio(a, b, shared=True)


def test_logarithmic_scores_of_classes_are_sklearns():
    from sklearn.metrics import log_loss

    rng = np.random.default_rng(3)
    p, y = rng.dirichlet([1, 2, 3], size=80), rng.integers(0, 3, 80)
    assert stats.multiclass_log(p, y, base=math.e).value == pytest.approx(log_loss(y, p, labels=[0, 1, 2]))
    two = np.stack([1 - p[:, 0], p[:, 0]], axis=1)
    assert stats.multiclass_log(two, y == 0).value == pytest.approx(stats.log_score(p[:, 0], y == 0).value)
    assert stats.log_score([0.5], [1], base=10, clusters=None).value is None
    assert stats.log_score([0.1, 0.1], [1, 1], base=10).value == pytest.approx(1)
    with pytest.raises(stats.StatsError, match="given probability 0"):
        stats.multiclass_log([[0.0, 1.0], [1.0, 0.0]], [0, 0])
    with pytest.raises(stats.StatsError, match="base"):
        stats.log_score([0.5, 0.5], [1, 0], base=1)
    for bad in ([[1.5, -0.5]], [[0.5, 0.4]]):
        with pytest.raises(stats.StatsError, match="none below 0"):
            stats.multiclass_log(bad, [0])
    with pytest.raises(stats.StatsError, match="index a row"):
        stats.multiclass_brier([[0.5, 0.5]], [0.5])


def test_the_plain_calibration_error_is_that_of_sklearns_bins():
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(4)
    p = rng.random(1000)
    y = (rng.random(1000) < p**1.5).astype(int)
    true, said = calibration_curve(y, p, n_bins=10, strategy="quantile")
    found = stats.calibration_error(p, y, debiased=False, draws=50)
    assert found.value == pytest.approx(np.abs(true - said).mean(), abs=2e-3)


def test_the_debiased_square_is_unbiased():
    from superalign.stats.calibration import _binned, _square

    rng, found = np.random.default_rng(5), []
    for _ in range(800):
        p = rng.uniform(0.2, 0.8, 120)
        y = (rng.random(120) < p - 0.1).astype(float)
        found.append(_square(p, y, _binned(p, 6)))
    # forecasts vary within a bin, so that noise is taken off a little too generously
    assert np.mean(found) == pytest.approx(0.01, abs=0.0015)


def test_sample_sizes_of_paired_zeros_and_ones_are_the_published_ones():
    """(z_α/2 + z_β)² (π − δ²)/δ² (Miller 2411.00640, §5), for discordant shares π; t adds a pair or three."""
    for delta, share in ((0.02, 0.10), (0.03, 0.15), (0.05, 0.20), (0.05, 0.30), (0.10, 0.30)):
        z = reference.norm.ppf(0.975) + reference.norm.ppf(0.8)
        n = stats.sample_size_mean(delta, math.sqrt(share - delta**2))
        assert 0 < n - z**2 * (share - delta**2) / delta**2 < 4


@pytest.mark.parametrize(("size", "icc"), [(1, 0.0), (5, 0.2), (20, 0.5)])
def test_the_sample_size_is_the_first_that_is_enough(size, icc):
    n = stats.sample_size_mean(0.3, 1.0, cluster_size=size, icc=icc)
    assert n % size == 0
    power = [stats.power_mean(0.3, 1.0, m, clusters=m // size, icc=icc) for m in (n - size, n)]
    assert power[0] < 0.8 <= power[1]
    with pytest.raises(stats.StatsError, match="effect = 0"):
        stats.sample_size_mean(0, 1.0)


def test_the_power_of_clustered_means_is_what_simulation_finds():
    rng, c = np.random.default_rng(6), np.repeat(np.arange(15), 6)
    shown = 0
    for _ in range(1500):
        x = 0.35 + rng.normal(size=15)[c] * math.sqrt(0.2) + rng.normal(size=90) * math.sqrt(0.8)
        shown += stats.mean_interval(x, clusters=c).low > 0
    assert shown / 1500 == pytest.approx(stats.power_mean(0.35, 1.0, 90, clusters=15, icc=0.2), abs=0.035)


def test_equivalence_is_wrong_as_often_as_it_says():
    """The true difference lies at the margin: at most 5 % are called equivalent."""
    rng, c = np.random.default_rng(7), np.repeat(np.arange(20), 5)
    called = 0
    for _ in range(1500):
        d = 0.3 + rng.normal(size=20)[c] * 0.3 + rng.normal(size=100) * 0.6
        called += stats.equivalence(d, np.zeros(100), margin=0.3, clusters=c).shown
    assert called / 1500 == pytest.approx(0.05, abs=0.017)


def test_areas_drawn_at_once_are_those_of_the_rows_written_out():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(8)
    scores, labels, c = rng.integers(0, 6, 80), rng.integers(0, 2, 80), rng.integers(0, 12, 80)
    found = stats.auroc(scores, labels, clusters=c, method="bootstrap", draws=60, seed=4)
    rng = np.random.default_rng(4)
    areas = []
    for _ in range(60):
        rows = np.concatenate([np.flatnonzero(c == g) for g in rng.integers(12, size=12)])
        areas.append(roc_auc_score(labels[rows], scores[rows]))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(areas, [0.025, 0.975])))


def test_the_area_s_error_is_delongs():
    """Sun and Xu's midrank form of DeLong's variance, written out; without clusters, G is n."""
    rng = np.random.default_rng(9)
    labels = np.r_[np.ones(60), np.zeros(90)].astype(int)
    scores = rng.normal(size=150) + labels
    found = stats.auroc(scores, labels)
    pos, neg = scores[labels == 1], scores[labels == 0]
    wins = (pos[:, None] > neg[None, :]).mean()
    by_pos, by_neg = (pos[:, None] > neg[None, :]).mean(1), (pos[:, None] > neg[None, :]).mean(0)
    variance = by_pos.var(ddof=1) / 60 + by_neg.var(ddof=1) / 90
    logit = lambda x: math.log(x / (1 - x))  # noqa: E731
    half = (logit(found.high) - logit(found.low)) / 2
    expected = reference.t.ppf(0.975, 149) * math.sqrt(variance) / (wins * (1 - wins))
    assert half == pytest.approx(expected, rel=0.01)
    assert logit(found.value) == pytest.approx((logit(found.high) + logit(found.low)) / 2)


@pytest.mark.parametrize(("order", "low", "high"), [(1, 0.025 ** (1 / 20), 1), (-1, 0, 1 - 0.025 ** (1 / 20))])
def test_a_perfect_order_is_no_certainty(order, low, high):
    labels = np.r_[np.zeros(20), np.ones(30)]
    found = stats.auroc(order * np.arange(50), labels)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert "independent pairs" in found.note
    with pytest.raises(stats.StatsError, match="no method"):
        stats.auroc([1, 2], [0, 1], method="magic")


def test_a_studentised_draw_uses_the_error_of_its_own_mean():
    """Of a mean with at most twenty clusters the block jackknife is the usual standard error."""
    from superalign.stats.bootstrap import _error

    x = np.random.default_rng(10).exponential(size=15)
    found = _error(lambda rows: float(x[rows].mean()), [np.array([i]) for i in range(15)])
    assert found == pytest.approx(x.std(ddof=1) / math.sqrt(15))
    wide, narrow = (
        stats.bootstrap_interval(lambda rows: float(x[rows].mean()), 15, method=m, draws=400)
        for m in ("studentised", "percentile")
    )
    assert wide.high - wide.value > narrow.high - narrow.value
    assert wide.high - wide.value > wide.value - wide.low  # skewed to the right: further to go there


def test_basic_is_percentile_mirrored():
    x = np.random.default_rng(11).exponential(size=25)
    basic, plain = (
        stats.bootstrap_interval(lambda rows: float(np.median(x[rows])), 25, method=m, draws=200)
        for m in ("basic", "percentile")
    )
    assert (basic.low, basic.high) == pytest.approx((2 * plain.value - plain.high, 2 * plain.value - plain.low))
