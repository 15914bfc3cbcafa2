"""The rest of the statistics against independent references: statsmodels, scikit-learn, enumeration, examples."""

import doctest
import importlib
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as reference

from superalign import stats
from superalign.stats import StatsError

NEW = ["bootstrap", "calibration", "hypotheses", "labels", "operating", "power", "probabilities", "rates", "recovery"]


@pytest.mark.parametrize("module", NEW)
def test_examples_run(module):
    result = doctest.testmod(importlib.import_module(f"superalign.stats.{module}"))
    assert result.attempted
    assert not result.failed


class TestHypotheses:
    @pytest.mark.parametrize("method", ["exact", "mid-p"])
    def test_mcnemar_is_statsmodels(self, method):
        from statsmodels.stats.contingency_tables import mcnemar

        rng = np.random.default_rng(0)
        a, b = rng.integers(0, 2, 60), rng.integers(0, 2, 60)
        table = [[int(((a == i) & (b == j)).sum()) for j in (1, 0)] for i in (1, 0)]
        found = stats.mcnemar(a, b, method=method)
        exact = mcnemar(table, exact=True).pvalue
        n, k = table[0][1] + table[1][0], min(table[0][1], table[1][0])
        want = exact if method == "exact" else exact - reference.binom.pmf(k, n, 0.5)
        assert found.p == pytest.approx(want)
        assert (found.first_only, found.second_only) == (table[0][1], table[1][0])

    def test_mcnemar_without_a_difference(self):
        assert stats.mcnemar([1, 0], [1, 0]).p == 1
        assert stats.mcnemar([1, 0], [0, 1]).p == 1
        with pytest.raises(StatsError, match="not 0 or 1"):
            stats.mcnemar([1, 2], [0, 1])
        with pytest.raises(StatsError, match="same items"):
            stats.mcnemar([1], [0, 1])

    @pytest.mark.parametrize(("ours", "theirs"), [("holm", "holm"), ("benjamini_hochberg", "fdr_bh")])
    def test_corrections_are_statsmodels(self, ours, theirs):
        from statsmodels.stats.multitest import multipletests

        rng = np.random.default_rng(1)
        for p in (rng.random(20) ** 3, np.full(5, 0.02), np.array([0.0, 1.0, 0.5, 0.5])):
            assert getattr(stats, ours)(p) == pytest.approx(multipletests(p, method=theirs)[1])
        assert getattr(stats, ours)([]).tolist() == []
        with pytest.raises(StatsError):
            getattr(stats, ours)([0.1, math.nan])
        with pytest.raises(StatsError, match=r"lie in \[0, 1\]"):
            getattr(stats, ours)([1.2])

    def test_equivalence_is_statsmodels(self):
        from statsmodels.stats.weightstats import ttost_paired

        rng = np.random.default_rng(2)
        a = rng.normal(size=50)
        b = a + rng.normal(0.05, 0.3, size=50)
        found = stats.equivalence(a, b, margin=0.2)
        assert found.p == pytest.approx(ttost_paired(a, b, -0.2, 0.2)[0])
        assert found.shown == (found.p < 0.05)
        assert found.difference.level == pytest.approx(0.9)

    @pytest.mark.parametrize(
        ("a", "b", "p"),
        [
            ([1, 1], [1, 1], 0.9**2),  # two items that agree show little
            ([1] * 60, [1] * 60, 0.9**60),
            ([0.5] * 60, [0.45] * 60, (1 - 0.05 / 1.05) ** 60),
            ([1] * 60, [0] * 60, 1.0),
            ([7.0] * 60, [7.0] * 60, None),  # nothing bounds the values that were not seen
            ([1], [1], None),
        ],
    )
    def test_equivalence_of_what_never_differs(self, a, b, p):
        found = stats.equivalence(a, b, margin=0.1)
        assert found.p == (None if p is None else pytest.approx(p))
        assert found.verdict == ("equivalent" if p is not None and p < 0.05 else "not shown")

    def test_equivalence_needs_a_margin(self):
        with pytest.raises(StatsError, match="margin"):
            stats.equivalence([1, 1], [1, 1], margin=0)
        with pytest.raises(StatsError, match="alpha"):
            stats.equivalence([1, 1], [1, 1], margin=0.1, alpha=0)

    def test_equivalence_with_clusters_is_the_clustered_interval(self):
        rng = np.random.default_rng(20)
        files, a = np.repeat(np.arange(20), 6), rng.normal(size=120)
        b = a + rng.normal(0, 0.2, 20)[files]
        for margin in (0.05, 0.1, 0.2, 0.4):
            found = stats.equivalence(a, b, margin=margin, clusters=files)
            inside = -margin < found.difference.low and found.difference.high < margin
            assert (found.shown, found.difference.clusters) == (inside, 20)


class TestRates:
    @pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 5), (5, 5), (1, 100), (99, 100)])
    def test_wilson_is_statsmodels(self, k, n):
        from statsmodels.stats.proportion import proportion_confint

        found = stats.wilson_interval(k, n)
        assert (found.low, found.high) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-9)

    @pytest.mark.parametrize(
        ("a", "b"), [((56, 70), (48, 80)), ((9, 10), (3, 10)), ((0, 20), (0, 10)), ((10, 10), (0, 20))]
    )
    def test_newcombe_is_statsmodels(self, a, b):
        from statsmodels.stats.proportion import confint_proportions_2indep

        found = stats.newcombe(a, b)
        assert (found.low, found.high) == pytest.approx(confint_proportions_2indep(*a, *b, method="newcomb"), abs=1e-6)

    @pytest.mark.parametrize(
        ("table", "low", "high"),
        [((36, 14, 0, 0), 0.1528, 0.4167), ((20, 12, 2, 16), 0.0562, 0.3290), ((2, 97, 1, 0), 0.9066, 0.9794)],
    )
    def test_newcombe_paired_gives_the_paper_s_examples(self, table, low, high):
        """Newcombe 1998 (paired), Table II: both, first only, second only, neither."""
        both, one, other, none = table
        a = [1] * (both + one) + [0] * (other + none)
        b = [1] * both + [0] * one + [1] * other + [0] * none
        found = stats.newcombe_paired(a, b)
        assert found.value == pytest.approx((one - other) / sum(table))
        if table == (20, 12, 2, 16):
            assert (found.low, found.high) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))
        assert -1 <= found.low <= found.value <= found.high <= 1

    def test_risk_difference_is_welch_without_clusters(self):
        rng = np.random.default_rng(3)
        a, b = rng.integers(0, 2, 40), rng.integers(0, 2, 30)
        low, high = reference.ttest_ind(a, b, equal_var=False).confidence_interval()
        found = stats.risk_difference(a, b)
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))

    def test_risk_ratio_is_close_to_statsmodels(self):
        from statsmodels.stats.proportion import confint_proportions_2indep

        rng = np.random.default_rng(4)
        a, b = (rng.random(400) < 0.5).astype(int), (rng.random(500) < 0.3).astype(int)
        low, high = confint_proportions_2indep(a.sum(), 400, b.sum(), 500, compare="ratio", method="log")
        found = stats.risk_ratio(a, b)
        assert (found.low, found.high) == (pytest.approx(low, rel=0.02), pytest.approx(high, rel=0.02))

    def test_refusals(self):
        assert stats.risk_ratio([0, 0], [1, 0]).value is None
        assert stats.risk_ratio([1, 1], [1, 1]).value is None
        assert stats.risk_difference([1, 1], [1, 1]).value is None
        assert stats.risk_difference([1, 0], [1, 0], clusters_a=["x", "x"]).value is None
        assert stats.newcombe((0, 0), (1, 2)).value is None
        assert stats.newcombe_paired([], []).value is None
        assert stats.wilson_interval(0, 0).value is None
        for bad in (lambda: stats.wilson_interval(3, 2), lambda: stats.newcombe((3, 2), (1, 2))):
            with pytest.raises(StatsError, match="between 0 and n"):
                bad()


class TestProbabilities:
    def test_brier_and_log_are_sklearns(self):
        from sklearn.metrics import brier_score_loss, log_loss

        rng = np.random.default_rng(5)
        p, y = rng.uniform(0.05, 0.95, 200), rng.integers(0, 2, 200)
        assert stats.brier_score(p, y).value == pytest.approx(brier_score_loss(y, p))
        assert stats.log_score(p, y).value == pytest.approx(log_loss(y, p) / math.log(2))

    def test_multiclass_brier_is_twice_the_binary_one(self):
        p, y = np.array([0.1, 0.7, 0.4]), np.array([0, 1, 1])
        both = stats.multiclass_brier(np.stack([1 - p, p], axis=1), y)
        assert both.value == pytest.approx(2 * stats.brier_score(p, y).value)
        for bad in ([[0.5, 0.6]], [[0.5, math.nan]], [0.5]):
            with pytest.raises(StatsError, match="shape"):
                stats.multiclass_brier(bad, [0])
        with pytest.raises(StatsError, match="index a row"):
            stats.multiclass_brier([[0.5, 0.5]], [2])

    def test_impossible_things_that_happened_are_not_clipped_in_silence(self):
        with pytest.raises(StatsError, match="given probability 0"):
            stats.log_score([0.0, 0.5], [1, 0])
        found = stats.log_score([0.0, 0.5], [1, 0], floor=0.01)
        assert found.value == pytest.approx((-math.log2(0.01) + 1) / 2)
        assert "1 of 2 probabilities raised" in found.note

    @pytest.mark.parametrize("debiased", [True, False])
    def test_calibrated_forecasts_have_little_error(self, debiased):
        rng = np.random.default_rng(6)
        p = rng.random(4000)
        right, wrong = (rng.random(4000) < p).astype(int), (rng.random(4000) < p**2).astype(int)
        options = {"debiased": debiased, "draws": 100}
        assert stats.calibration_error(p, right, **options).value < 0.03
        assert stats.calibration_error(p, wrong, **options).low > 0.1

    def test_the_plain_error_is_biased_and_the_other_is_not(self):
        rng = np.random.default_rng(7)
        plain, other = [], []
        for _ in range(60):
            p = rng.uniform(0.3, 0.7, 100)
            y = (rng.random(100) < p).astype(int)
            plain.append(stats.calibration_error(p, y, debiased=False, draws=2).value ** 2)
            other.append(stats.calibration_error(p, y, draws=2).value ** 2)
        assert np.mean(other) < np.mean(plain)

    def test_ties_share_a_bin(self):
        found = stats.calibration_error([0.5] * 40, [0, 1] * 20, debiased=False, draws=20)
        assert found.value == pytest.approx(0.0)

    @pytest.mark.parametrize("bad", [([1.2], [1]), ([0.5], [2]), ([0.5, 0.5], [1]), ([math.nan], [1])])
    def test_bad_forecasts(self, bad):
        with pytest.raises(StatsError):
            stats.brier_score(*bad)

    def test_too_few_items_for_the_bins(self):
        with pytest.raises(StatsError, match="a bin needs two"):
            stats.calibration_error([0.5] * 5, [1] * 5)


class TestPower:
    def test_mde_is_what_statsmodels_finds(self):
        from statsmodels.stats.power import TTestPower

        effect = TTestPower().solve_power(nobs=50, alpha=0.05, power=0.8)
        assert stats.mde_mean(1.0, 50) == pytest.approx(effect, rel=0.01)
        assert stats.power_mean(0.4, 1.0, 50) == pytest.approx(TTestPower().power(0.4, 50, 0.05), abs=1e-6)

    def test_the_published_minimum_detectable_effects(self):
        """Two proportions near 0.6, power .8: 13.7 points at n = 200, 7.9 at 600, 6.1 at 1,000."""
        for n, points in ((200, 13.7), (600, 7.9), (1000, 6.1)):
            near = stats.mde_two_proportions(0.6 - points / 200, n)
            assert 100 * near == pytest.approx(points, abs=0.2)

    def test_two_proportions_by_simulation(self):
        rng = np.random.default_rng(8)
        n, p = 300, 0.5
        q = p + stats.mde_two_proportions(p, n)
        a, b = rng.binomial(n, p, 4000) / n, rng.binomial(n, q, 4000) / n
        pooled = (a + b) / 2
        z = (b - a) / np.sqrt(2 * pooled * (1 - pooled) / n)
        assert (np.abs(z) > reference.norm.ppf(0.975)).mean() == pytest.approx(0.8, abs=0.025)

    def test_sample_size_is_the_inverse(self):
        for p, delta in ((0.5, 0.1), (0.9, 0.05), (0.0, 0.2)):
            n = stats.sample_size_two_proportions(p, delta)
            assert stats.mde_two_proportions(p, n) <= delta < stats.mde_two_proportions(p, n - 1)

    def test_correlation_and_design_effect(self):
        rng = np.random.default_rng(9)
        groups = np.repeat(np.arange(400), 10)
        x = rng.normal(0, 1, 400)[groups] * 0.5 + rng.normal(size=4000) * math.sqrt(0.75)
        icc = stats.intraclass_correlation(x, groups)
        assert icc == pytest.approx(0.25, abs=0.05)
        clustered, plain = stats.mean_interval(x, clusters=groups), stats.mean_interval(x)
        ratio = ((clustered.high - clustered.low) / (plain.high - plain.low)) ** 2
        assert stats.design_effect([10] * 400, icc) == pytest.approx(ratio, rel=0.1)
        with pytest.raises(StatsError):
            stats.intraclass_correlation([1, 2], ["a", "b"])

    def test_organisms_needed(self):
        assert stats.trials_needed(1.0, least=0.8) == 17
        assert stats.trials_needed(0.0, most=0.1) == 36
        assert stats.binomial_power(0.95, 40, least=0.8) == pytest.approx(
            sum(reference.binom.pmf(k, 40, 0.95) for k in range(41) if stats.binomial_interval(k, 40).low >= 0.8)
        )
        with pytest.raises(StatsError, match="don't reach it"):
            stats.trials_needed(0.8, least=0.8, limit=60)
        with pytest.raises(StatsError, match="either"):
            stats.binomial_power(0.5, 10)

    @pytest.mark.parametrize("bad", [{"sd": -1, "n": 10}, {"sd": 1, "n": 1}, {"sd": 1, "n": 10, "clusters": 11}])
    def test_bad_designs(self, bad):
        with pytest.raises(StatsError):
            stats.mde_mean(**bad)


class TestFewClusters:
    def test_all_sign_patterns_are_enumerated(self):
        """The inverted test, pattern by pattern: the end is where exactly the allowed share is as extreme."""
        from itertools import product

        rng = np.random.default_rng(10)
        groups = np.repeat(np.arange(7), 5)
        x = rng.normal(0.5, 1, 35) + rng.normal(0, 1, 7)[groups]
        found = stats.mean_interval(x, clusters=groups, method="wild")

        def p(centre):
            e = x - centre
            sums = np.bincount(groups, weights=e)

            def t(s):
                mean = s.sum() / 35
                return abs(mean) / np.sqrt(((s - 5 * mean) ** 2).sum())

            seen = t(sums)
            return np.mean([t(sums * np.array(signs)) >= seen * (1 - 1e-9) for signs in product([-1, 1], repeat=7)])

        for end, inward in ((found.low, 1e-6), (found.high, -1e-6)):
            assert p(end + inward) > 0.05 >= p(end - inward)
        assert "all signs" in found.method

    def test_the_rule_says_which_it_took(self):
        rng = np.random.default_rng(11)
        x = rng.normal(size=60)
        few = stats.mean_interval(x, clusters=np.repeat(np.arange(6), 10), method="rule")
        many = stats.mean_interval(x, clusters=np.arange(60), method="rule")
        assert few.method.startswith("wild cluster bootstrap")
        assert many.method == "clustered t"
        with pytest.raises(StatsError, match="no method"):
            stats.mean_interval(x, method="magic")

    def test_clusters_that_agree_have_no_width(self):
        found = stats.mean_interval([1, 1, 1, 1], clusters=[0, 0, 1, 1], method="wild")
        assert (found.low, found.high) == (1, 1)

    def test_two_clusters_bound_nothing(self):
        found = stats.mean_interval([1.0, 2.0, 5.0, 6.0], clusters=[0, 0, 1, 1], method="wild")
        assert found.value is None or found.low < 1.5 < found.high


class TestBootstrap:
    def test_percentile_and_bca_are_scipys(self):
        rng = np.random.default_rng(12)
        x = rng.exponential(size=60)
        for method, theirs in (("percentile", "percentile"), ("bca", "BCa")):
            found = stats.bootstrap_interval(lambda rows: float(x[rows].mean()), 60, method=method, draws=4000)
            other = reference.bootstrap((x,), np.mean, method=theirs, n_resamples=4000, random_state=0)
            ends = other.confidence_interval
            assert (found.low, found.high) == (pytest.approx(ends.low, rel=0.04), pytest.approx(ends.high, rel=0.04))

    def test_refusals(self):
        x = np.arange(10.0)
        one = stats.bootstrap_interval(lambda rows: float(x[rows].mean()), 10, clusters=["a"] * 10)
        assert one.value is None
        nan = stats.bootstrap_interval(lambda rows: math.nan, 10)
        assert "isn't a number" in nan.note
        half = stats.bootstrap_interval(lambda rows: math.nan if 0 not in rows else 1.0, 10, draws=100)
        assert "undefined" in half.note
        with pytest.raises(StatsError, match="no bootstrap"):
            stats.bootstrap_interval(lambda rows: 0.0, 10, method="magic")


class TestOperating:
    def test_the_threshold_is_refitted(self):
        """With few calibration negatives the interval is wider than the binomial of the test positives alone."""
        rng = np.random.default_rng(13)
        few, positives, negatives = rng.normal(size=25), rng.normal(1.5, 1, 400), rng.normal(size=400)
        found = stats.operating_point(few, positives, negatives, fpr=0.1, draws=400)
        fixed = stats.binomial_interval(int((positives > found.threshold).sum()), 400)
        assert found.tpr.value == fixed.value
        assert found.tpr.high - found.tpr.low > 1.5 * (fixed.high - fixed.low)
        assert found.fpr.value == (negatives > found.threshold).mean()

    @pytest.mark.parametrize("fpr", [0.01, 0.05, 0.2])
    @pytest.mark.parametrize("n", [99, 137])
    def test_the_threshold_keeps_its_promise_on_new_data(self, fpr, n):
        """Of n + 1 exchangeable scores each is left out in turn: at most a share fpr lies above its cut."""
        rng = np.random.default_rng(14)
        for scores in (rng.normal(size=n + 1), rng.integers(0, 4, n + 1).astype(float)):
            above = [scores[i] > stats.threshold_at(np.delete(scores, i), fpr=fpr) for i in range(n + 1)]
            assert np.mean(above) <= fpr
        distinct = rng.permutation(n + 1).astype(float)
        above = [distinct[i] > stats.threshold_at(np.delete(distinct, i), fpr=fpr) for i in range(n + 1)]
        assert np.sum(above) == np.floor(fpr * (n + 1) + 1e-9)

    def test_every_draw_refits_the_threshold(self):
        """Weights by cluster are the rows written out."""
        from superalign.stats import operating
        from superalign.stats.bootstrap import drawn_counts

        rng = np.random.default_rng(5)
        parts = [rng.integers(0, 9, 30).astype(float), rng.integers(3, 12, 20).astype(float), rng.normal(4, 3, 25)]
        coded = [(np.arange(30) // 3, 10), (np.arange(20) // 2, 10), (np.arange(25), 25)]
        found = operating._draws(parts, coded, 0.1, np.random.default_rng(5), 50)
        rng = np.random.default_rng(5)
        weights = [drawn_counts(groups, rng, 50) for _, groups in coded]
        for i, rates in enumerate(found):
            rows = [np.repeat(x, w[i][codes]) for x, (codes, _), w in zip(parts, coded, weights, strict=True)]
            cut = stats.threshold_at(rows[0], fpr=0.1)
            assert rates == pytest.approx([(rows[1] > cut).mean(), (rows[2] > cut).mean()])

    def test_bad_input(self):
        with pytest.raises(StatsError, match="bring 19"):
            stats.operating_point([1, 2], [1], [1], fpr=0.05)
        with pytest.raises(StatsError, match="empty"):
            stats.operating_point([], [1], [1], fpr=0.5)
        with pytest.raises(StatsError, match="NaN"):
            stats.operating_point([1, 2], [math.nan], [1], fpr=0.5)
        with pytest.raises(StatsError, match="strictly between"):
            stats.threshold_at([1, 2], fpr=0)
        assert stats.operating_point([1, 2], [1, 3], [1, 0], fpr=0.5, clusters=([0, 0], None, None)).tpr.value is None


class TestRecovered:
    def sides(self, seeds=3, n=300):
        rng = np.random.default_rng(15)
        return [[(rng.random(n) < p).astype(float) for _ in range(seeds)] for p in (0.55, 0.7, 0.85)]

    def test_the_object_holds_what_pgr_says(self):
        weak, student, ceiling = self.sides()
        clusters = [np.arange(300) // 5] * 3
        found = stats.recovered(weak, student, ceiling, clusters=clusters, draws=300)
        assert found.value == stats.pgr(weak, student, ceiling, clusters=clusters, draws=300)
        assert found.quotable
        assert found.fieller.value == pytest.approx(found.value.value)
        assert (found.weak.value, found.seeds) == (pytest.approx(np.mean(weak)), 3)

    def test_noise_is_not_quotable(self):
        rng = np.random.default_rng(16)
        same = [(rng.random(60) < 0.6).astype(float)]
        found = stats.recovered(same, same, same)
        assert not found.quotable
        assert "no gap" in found.value.note

    def test_other_items_in_every_seed(self):
        weak, student, ceiling = ([side[0], side[1][:200]] for side in self.sides())
        found = stats.recovered(weak, student, ceiling, draws=200)
        assert found.value.value is not None
        assert found.fieller.value == pytest.approx(found.value.value)
        assert "2 seeds" in found.fieller.note

    def test_ground_truth_equivalent(self):
        rng = np.random.default_rng(17)

        def right(p):
            return (rng.random(2000) < p).astype(float)

        curve = [(100, right(0.6)), (400, right(0.7)), (1600, right(0.8))]
        found = stats.ground_truth_equivalent(right(0.75), curve, draws=400)
        assert found.low < 800 < found.high
        assert stats.ground_truth_equivalent(right(0.9), curve, draws=50).value is None
        near = stats.ground_truth_equivalent(curve[2][1], curve, draws=200)
        assert near.value == pytest.approx(1600)
        with pytest.raises(StatsError, match="rising"):
            stats.ground_truth_equivalent(right(0.7), curve[::-1])
        with pytest.raises(StatsError, match="two or more"):
            stats.ground_truth_equivalent(right(0.7), curve[:1])

    def test_a_curve_that_dips_is_made_monotone(self):
        def right(k, n=100):
            return [1] * k + [0] * (n - k)

        found = stats.ground_truth_equivalent(right(65), [(10, right(60)), (20, right(58)), (80, right(70))], draws=50)
        assert 20 < found.value < 80

    @pytest.mark.parametrize(("student", "why"), [(40, "outside"), (69, "outside"), (60, "outside")])
    def test_off_a_curve_or_on_a_flat_one(self, student, why):
        """69 of 100 is under the curve's best raw point, 70, and over where the monotone curve ends, 65."""

        def right(k, n=100):
            return [1] * k + [0] * (n - k)

        curve = (
            [(10, right(60)), (20, right(60))] if student == 60 else [(10, right(50)), (20, right(70)), (40, right(60))]
        )
        assert why in stats.ground_truth_equivalent(right(student), curve, draws=50).note

    def test_an_end_past_the_curve_is_open_on_that_side(self):
        rng = np.random.default_rng(18)
        low, middle, high = ((rng.random(400) < p).astype(float) for p in (0.5, 0.7, 0.72))
        top = stats.ground_truth_equivalent(middle, [(10, low), (100, high)], draws=300)
        assert (top.high, top.low is not None) == (None, True)
        assert "open" in top.note


@pytest.mark.parametrize("labels", [[None, "a"], [math.nan, 1.0], [["a"], ["b"]], ["a"]])
def test_cluster_labels_that_name_nothing(labels):
    with pytest.raises(StatsError):
        stats.mean_interval([0.0, 1.0], clusters=labels)


def test_it_stands_alone():
    """Light, and without any other room of the house."""
    import subprocess
    import sys

    script = (
        "import sys; from superalign import stats; "
        "rooms = {m.split('.')[1] for m in sys.modules if m.startswith('superalign.')}; "
        "heavy = {'torch', 'pandas', 'sklearn', 'statsmodels'} & set(sys.modules); print(rooms, heavy)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "{'stats'} set()"


def test_the_page_about_it_is_true():
    page = Path(__file__).parents[2] / "docs" / "stats.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted > 4
    assert not result.failed
    named = set(re.findall(r"`(\w+)[(`]", page.read_text(encoding="utf-8").split("## Conventions")[0]))
    assert set(stats.__all__) - {
        "PGR",
        "Equivalence",
        "Interval",
        "McNemar",
        "Operating",
        "OperatingPoint",
    } - named <= {
        "best_cut",
        "refused",
        "threshold_at",
        "tpr_at_fpr",
        "StatsError",
        "binomial_power",
    }
