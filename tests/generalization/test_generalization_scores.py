"""Scores against known answers: brute force, scikit-learn, scipy, exact probabilities."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import roc_auc_score

from superalign.generalization.contrasts import contrasts
from superalign.generalization.graded import Graded, accuracy, area, area_parts, mean_over
from superalign.generalization.inheritance import error_phi, inheritance, phi_parts, rate_among
from superalign.generalization.material import score
from superalign.generalization.scores import NAMES, figures, pgr_area, pgr_fixed
from superalign.generalization.worth import read_off, worth
from superalign.stats import StatsError, ground_truth_equivalent, mean_interval, pgr

PATH = Path(__file__).parents[2] / "benchmarks" / "generalization_coverage.py"
SPEC = importlib.util.spec_from_file_location("generalization_coverage", PATH)
coverage = importlib.util.module_from_spec(SPEC)
sys.modules["generalization_coverage"] = coverage
SPEC.loader.exec_module(coverage)
DESIGN = coverage.Design(4, 30, 10, 0.01)


def made(seeds=3, groups=40, size=10, *, shifts=(0.3, 0.9, 1.5), shared=0.6, seed=0, apart=0.0):
    """Floor, student, ceiling whose accuracies are Φ(shift); errors share the item's difficulty."""
    rng = np.random.default_rng(seed)
    n = groups * size
    truth = rng.random(n) < 0.5
    sign, hard = np.where(truth, 1.0, -1.0), rng.normal(size=n)

    def side(shift):
        own = rng.normal(size=(seeds, n))
        moved = shift + apart * rng.normal(size=(seeds, 1))
        return sign * (moved + np.sqrt(shared) * hard + np.sqrt(1 - shared) * own)

    floor, student, ceiling = (side(shift) for shift in shifts)
    clusters = np.repeat([f"c{i}" for i in range(groups)], size)
    return Graded(truth=truth, clusters=clusters, floor=floor, student=student, ceiling=ceiling)


def bootstrapped(graded, statistic, draws=400, seed=1):
    """Standard error of a statistic over clusters drawn by hand."""
    rng, codes = np.random.default_rng(seed), graded.codes
    members = [np.flatnonzero(codes == g) for g in range(codes.max() + 1)]
    found = []
    for _ in range(draws):
        rows = np.concatenate([members[g] for g in rng.integers(len(members), size=len(members))])
        found.append(statistic(rows))
    return float(np.std(found, ddof=1))


def error_of(interval):
    return (interval.high - interval.low) / (2 * scipy_stats.t.ppf(0.975, interval.clusters - 1))


def test_shapes_that_differ_are_refused():
    good = made()
    with pytest.raises(StatsError, match="student has shape"):
        replace(good, student=good.student[:2])
    with pytest.raises(StatsError, match="ceiling has shape"):
        replace(good, ceiling=good.ceiling[:, :-1])
    with pytest.raises(StatsError, match="cluster labels"):
        replace(good, clusters=good.clusters[:-1])
    empty = np.zeros((1, 0))
    with pytest.raises(StatsError, match="0 answers"):
        Graded(truth=np.zeros(0, bool), clusters=np.zeros(0), floor=empty, ceiling=empty, student=empty)


def test_the_mean_of_one_seed_is_the_clustered_mean():
    x, clusters = np.random.default_rng(0).random((1, 60)), np.repeat(np.arange(20), 3)
    ours, theirs = mean_over(x, clusters).interval, mean_interval(x[0], clusters=clusters)
    assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.value, theirs.low, theirs.high))
    assert "1 seed" in ours.note


def test_ends_of_an_accuracy_stay_inside_and_sameness_is_said():
    truth, clusters = np.array([True, False] * 20), np.arange(40)
    nearly = np.where(truth, 1.0, -1.0)[None, :].copy()
    nearly[0, 0] = -1.0
    assert accuracy(nearly, truth, clusters).high == 1.0
    perfect = accuracy(np.where(truth, 1.0, -1.0)[None, :], truth, clusters)
    assert perfect.value == perfect.low == perfect.high == 1.0
    assert "no spread was seen" in perfect.note
    assert accuracy(nearly, truth, np.zeros(40)).value is None


def test_missing_answers_count_as_wrong_and_ties_as_half():
    truth = np.array([True, True, False, False])
    logits = np.array([[np.nan, 0.0, -1.0, np.inf]])
    assert accuracy(logits, truth, np.arange(4)).value == pytest.approx((0 + 0.5 + 1 + 0) / 4)


@pytest.mark.parametrize("round_to", [0, 1, 6])
def test_areas_are_those_of_scikit_learn_ties_included(round_to):
    graded = made(seeds=4, seed=3)
    logits = np.round(graded.student, round_to)
    parts = area_parts(logits, graded.truth)
    assert parts.shape == logits.shape
    assert np.isfinite(parts).all()
    for row, mine in zip(logits, parts, strict=True):
        assert mine.mean() == pytest.approx(roc_auc_score(graded.truth, row))


def test_a_missing_answer_is_placed_last_in_its_class():
    truth = np.array([True, True, False, False])
    logits = np.array([[np.nan, 3.0, 1.0, np.inf]])
    assert area_parts(logits, truth).mean() == pytest.approx(roc_auc_score(truth, [-9, 3, 1, 9]))


def test_the_spread_of_areas_is_that_of_drawing_clusters():
    graded = made(seeds=1, groups=60)
    logits, truth = graded.student[0], graded.truth
    error = error_of(area(graded.student, truth, graded.codes))
    by_hand = bootstrapped(graded, lambda rows: roc_auc_score(truth[rows], logits[rows]))
    assert error == pytest.approx(by_hand, rel=0.12)


def test_the_pgr_of_areas_is_that_of_scikit_learn_and_so_is_its_spread():
    graded = made(seeds=1, groups=60)
    found = pgr_area(graded, draws=1000)

    def by_hand(rows):
        w, s, c = (
            roc_auc_score(graded.truth[rows], x[0][rows]) for x in (graded.floor, graded.student, graded.ceiling)
        )
        return (s - w) / (c - w)

    assert found.value == pytest.approx(by_hand(np.arange(len(graded.truth))))
    assert error_of(found) == pytest.approx(bootstrapped(graded, by_hand), rel=0.15)


def test_one_class_only_refuses_the_area_and_nothing_else():
    graded = made()
    all_yes = replace(graded, truth=np.ones_like(graded.truth))
    found = figures(all_yes, draws=50)
    assert found["auc"].value is None
    assert "one class" in found["pgr auc"].note
    assert found["accuracy"].value is not None
    with pytest.raises(StatsError, match="both classes"):
        area_parts(graded.student, all_yes.truth)


def test_figures_know_their_own_answers():
    graded = made(seeds=4, groups=150, shared=0.5)
    found = figures(graded, draws=400)
    truth = [float(scipy_stats.norm.cdf(d)) for d in (0.3, 0.9, 1.5)]
    wanted = (truth[1] - truth[0]) / (truth[2] - truth[0])
    for name in ("pgr", "pgr, Fieller", "pgr fixed"):
        assert found[name].low < wanted < found[name].high, name
    assert found["accuracy"].low < truth[1] < found["accuracy"].high
    areas = [float(scipy_stats.norm.cdf(d * np.sqrt(2))) for d in (0.3, 0.9, 1.5)]
    assert found["pgr auc"].low < (areas[1] - areas[0]) / (areas[2] - areas[0]) < found["pgr auc"].high
    assert set(found) == set(NAMES) - {"worth", "untrained", "untrained pgr"}


def test_pgr_is_that_of_stats():
    graded = made()
    sides = [list(score(x, graded.truth)) for x in (graded.floor, graded.student, graded.ceiling)]
    wanted = pgr(*sides, clusters=[graded.codes] * 3, draws=100, seed=7)
    assert figures(graded, draws=100, seed=7)["pgr"] == wanted


def test_a_gap_that_is_noise_is_refused_and_says_why():
    """Nearly always: an interval of 95 % misses zero once in forty."""
    drawn = [figures(made(groups=30, shifts=(0.8, 0.8, 0.8), seed=i), draws=100) for i in range(30)]
    for name in ("pgr", "pgr fixed", "pgr auc"):
        notes = [found[name].note for found in drawn if found[name].value is None]
        assert len(notes) >= 26, name
        assert all("gap" in note or "floor" in note for note in notes)
    assert all(found["accuracy"].value is not None and found["inherited"].value is not None for found in drawn)


def test_a_ceiling_below_the_floor_is_refused():
    found = figures(made(shifts=(1.5, 0.9, 0.3)), draws=50)
    assert "not above the weak floor" in found["pgr"].note


def test_fixed_bounds_take_the_seeds_of_the_denominator_out():
    steady = made(seeds=8, groups=60, size=20, seed=5)
    moved = made(seeds=8, groups=60, size=20, seed=5, apart=0.15)
    unsteady = replace(steady, floor=moved.floor)
    own, fixed = figures(unsteady, draws=800)["pgr"], pgr_fixed(unsteady, draws=800)
    assert fixed.value == pytest.approx(own.value)
    assert fixed.high - fixed.low < 0.85 * (own.high - own.low)
    assert "fixed over 8 seeds" in fixed.method


def test_untrained_is_held_against_the_trained_bounds_of_its_own_seeds():
    graded = made(seeds=4)
    other = made(seeds=2, shifts=(0.3, 0.0, 1.5)).student
    found = figures(graded, untrained=other, draws=100)
    means = [score(x[:2], graded.truth).mean() for x in (graded.floor, other, graded.ceiling)]
    assert found["untrained"].value == pytest.approx(means[1])
    assert found["untrained pgr"].value == pytest.approx((means[1] - means[0]) / (means[2] - means[0]))


def test_one_seed_says_so_and_one_cluster_refuses():
    one = figures(made(seeds=1), draws=50)
    assert "1 seed" in one["pgr"].note
    assert "second" in one["phi, independent"].note
    graded = made()
    lone = figures(replace(graded, clusters=np.array(["c"] * len(graded.truth))), draws=50)
    assert all(each.value is None for each in lone.values())


def test_rates_among_errors_by_hand():
    weak = np.tile([[1.0, 1, 1, 0, 0, 0, 0, 0]], (2, 9))
    student = np.tile([[1.0, 1, 0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]], (1, 9))
    assert rate_among(student, weak, np.arange(72), "").value == pytest.approx(3 / 6)
    assert rate_among(student, 1 - weak, np.arange(72), "").value == pytest.approx(1 / 10)
    none = rate_among(student, 0 * weak, np.arange(72), "never wrong")
    assert (none.value, none.note) == (None, "never wrong")


def test_the_spread_of_rates_among_errors_is_that_of_drawing_clusters():
    graded = made(seeds=1, groups=60)
    weak, student, _ = (1 - side[0] for side in graded.sides)
    error = error_of(rate_among(student, weak, graded.codes, ""))
    by_hand = bootstrapped(graded, lambda rows: float((student * weak)[rows].sum() / weak[rows].sum()))
    assert error == pytest.approx(by_hand, rel=0.12)


def test_inheritance_holds_the_exact_probabilities():
    """Errors are latent normals of correlation `shared`, cut: both-wrong is a bivariate normal probability."""
    graded = made(seeds=3, groups=400, shared=0.6, seed=11)
    found = inheritance(graded)
    weak, student, ceiling = (float(scipy_stats.norm.cdf(-d)) for d in (0.3, 0.9, 1.5))

    def both(p, q):
        cuts = [scipy_stats.norm.ppf(p), scipy_stats.norm.ppf(q)]
        return float(scipy_stats.multivariate_normal.cdf(cuts, cov=[[1, 0.6], [0.6, 1]]))

    wanted = {
        "inherited": both(weak, student) / weak,
        "inherited, ceiling": both(weak, ceiling) / weak,
        "new errors": (student - both(weak, student)) / (1 - weak),
        "new errors, ceiling": (ceiling - both(weak, ceiling)) / (1 - weak),
    }
    phi = (both(weak, student) - weak * student) / np.sqrt(weak * (1 - weak) * student * (1 - student))
    for name, value in (wanted | {"phi": phi, "phi, independent": phi}).items():
        assert found[name].low <= value <= found[name].high, name


def test_a_student_that_copies_is_told_from_one_that_shares_difficulty():
    graded = made(seeds=4, groups=60, shared=0.3)
    copied = inheritance(replace(graded, student=graded.floor))
    assert copied["inherited"].value == 1.0
    assert copied["new errors"].value == 0.0
    assert copied["phi"].value == pytest.approx(1.0)
    assert copied["phi, independent"].high < 0.6
    own = inheritance(graded)
    assert own["phi"].value == pytest.approx(own["phi, independent"].value, abs=0.08)


def test_the_independent_supervisor_can_be_brought():
    graded = made(seeds=1)
    other = made(seeds=1, seed=99).floor
    wrong = 1 - score(graded.student, graded.truth), 1 - score(other, graded.truth)
    found = inheritance(graded, independent=other)["phi, independent"]
    assert found.value == pytest.approx(np.corrcoef(wrong[0][0], wrong[1][0])[0, 1])


def test_phi_parts_average_to_the_correlation_and_spread_as_drawn_clusters():
    graded = made(seeds=1, groups=60)
    a, b = (1 - score(x, graded.truth) for x in (graded.floor, graded.student))
    assert phi_parts(a, b).mean() == pytest.approx(np.corrcoef(a[0], b[0])[0, 1])
    error = error_of(error_phi(a, b, graded.codes))
    by_hand = bootstrapped(graded, lambda rows: np.corrcoef(a[0][rows], b[0][rows])[0, 1])
    assert error == pytest.approx(by_hand, rel=0.12)


def test_nobody_errs_is_a_refusal_with_its_reason():
    graded = made()
    sure = np.tile(np.where(graded.truth, 1.0, -1.0), (3, 1))
    found = inheritance(replace(graded, floor=sure))
    assert "never wrong" in found["inherited"].note
    assert found["new errors"].value is not None
    assert "errs everywhere or nowhere" in found["phi"].note
    assert "never right" in inheritance(replace(graded, floor=-sure))["new errors"].note


def right(share, n=200, seeds=2):
    return np.array([[1.0] * round(share * n) + [0.0] * (n - round(share * n))] * seeds)


def test_worth_is_read_off_between_points_in_the_logarithm():
    curve = {100: right(0.5), 400: right(0.7), 1600: right(0.9)}
    found = worth(right(0.8), curve, np.arange(200), draws=200)
    assert found.value == pytest.approx(800.0)
    assert found.low < 800 < found.high
    plain = ground_truth_equivalent(right(0.8)[0], [(k, x[0]) for k, x in curve.items()], draws=200)
    assert found.value == plain.value


def test_worth_outside_the_curve_is_a_result_with_an_open_end():
    curve = {100: right(0.5), 400: right(0.7)}
    below, above = (worth(right(p), curve, np.arange(200), draws=200) for p in (0.2, 0.95))
    assert (below.value, below.low) == (100.0, None)
    assert below.note.startswith("< 100:")
    assert below.high == 100.0
    assert (above.value, above.high) == (400.0, None)
    assert above.note.startswith("> 400:")
    assert above.low == 400.0


def test_a_curve_that_dips_is_made_monotone_and_a_flat_one_is_refused():
    dips = {10: right(0.6), 100: right(0.5), 1000: right(0.8)}
    assert worth(right(0.55), dips, np.arange(200), draws=50).value == pytest.approx(10.0)
    assert worth(right(0.675), dips, np.arange(200), draws=50).value == pytest.approx(10**2.5)
    assert "flat" in worth(right(0.6), {10: right(0.7), 100: right(0.6)}, np.arange(200), draws=50).note
    assert read_off(np.array([[0.5, 0.5, 0.7]]), np.log([10.0, 100.0])).tolist() == [10.0]


@pytest.mark.parametrize("counts", [(100,), (0, 10), ()])
def test_a_curve_needs_two_numbers_of_labels(counts):
    with pytest.raises(StatsError, match="label counts"):
        worth(right(0.5), {k: right(0.5) for k in counts}, np.arange(200))


def test_worth_wants_the_same_seeds_and_refuses_one_cluster():
    curve = {100: right(0.5), 400: right(0.7)}
    with pytest.raises(StatsError, match="same seeds and items"):
        worth(right(0.5, seeds=3), curve, np.arange(200))
    assert worth(right(0.6), curve, np.zeros(200)).value is None


def test_seeds_that_differ_widen_what_labels_are_worth():
    rng, n = np.random.default_rng(0), 2000
    items = rng.random(n)

    def seeds_of(p, apart):
        return np.stack([(items < p + d).astype(float) for d in apart * np.array([-1, 1, -1, 1, 0.5, -0.5])])

    curve = {10**i: seeds_of(0.5 + 0.1 * i, 0.0) for i in range(1, 5)}
    still, moved = (worth(seeds_of(0.75, apart), curve, np.arange(n) // 10, draws=400) for apart in (0.0, 0.05))
    assert moved.high / moved.low > 2 * still.high / still.low


def test_contrasts_tell_better_worse_alike_and_nothing():
    graded = made(seeds=4, groups=200)
    better, base = (score(x, graded.truth) for x in (graded.student, graded.floor))
    rng = np.random.default_rng(0)
    noisy = np.where(rng.random(base.shape) < 0.001, 1 - base, base)
    students = {"good": better, "base": base, "noisy": noisy}
    one, two, three = contrasts(
        students, graded.codes, [("good", "base")], exploratory=[("noisy", "base"), ("noisy", "good")]
    )
    assert (one.verdict, one.family) == ("better", "primary")
    assert (two.verdict, two.family) == ("equivalent", "exploratory")
    assert three.verdict == "worse"
    assert one.difference.value == pytest.approx((better - base).mean())


def test_holm_goes_over_the_primary_family_alone():
    graded = made(seeds=3, groups=60, shifts=(0.5, 0.6, 1.2))
    sides = dict(zip("fsc", graded.sides, strict=True))
    alone = contrasts(sides, graded.codes, [("s", "f")])[0]
    many = contrasts(sides, graded.codes, [("s", "f"), ("c", "f")], exploratory=[("s", "c")])
    assert many[0].p == alone.p == alone.corrected
    small, large = sorted((many[0], many[1]), key=lambda each: each.p)
    assert small.corrected == pytest.approx(2 * small.p)
    assert large.corrected == pytest.approx(max(2 * small.p, large.p))
    assert many[2].corrected == many[2].p


def test_two_that_are_the_same_are_alike_and_one_cluster_is_an_error():
    x = made(seeds=2, groups=500, size=1).sides[1]
    (found,) = contrasts({"a": x, "b": x.copy()}, np.arange(500), [("a", "b")])
    assert (found.verdict, found.p) == ("equivalent", 1.0)
    with pytest.raises(StatsError, match="needs two"):
        contrasts({"a": x, "b": 1 - x}, np.zeros(500), [("a", "b")])
    assert contrasts({"a": x}, np.arange(500), []) == ()


@pytest.mark.parametrize(
    ("pairs", "match"),
    [([("a", "z")], "no answers of z"), ([("a", "b"), ("b", "a")], "each pair once"), ([("a", "a")], "each pair once"),
     ([("a", "short")], "same seeds")],
)  # fmt: skip
def test_contrasts_refuse_what_can_not_be_compared(pairs, match):
    x = made(seeds=2).sides[1]
    with pytest.raises(StatsError, match=match):
        contrasts({"a": x, "b": 1 - x, "short": x[:1]}, np.arange(x.shape[1]), pairs)


def test_a_gap_of_nothing_is_refused_and_a_wide_one_is_held():
    """60 simulations tell what is broken; 2,000 are in the benchmark."""
    nothing, wide = (coverage.recovery(DESIGN, errors, 0.5, 60) for errors in (0, 8))
    assert nothing["refused"] >= 0.9
    assert nothing["refused, Fieller"] >= 0.9
    assert nothing["held, Fieller's whole set"] >= 0.85
    assert 6 < wide["errors"] < 10
    assert wide["refused"] <= 0.1
    assert min(wide["held"], wide["held, Fieller"], wide["held, Fieller's whole set"]) >= 0.85


@pytest.mark.parametrize(
    "one",
    [
        coverage.area_twin(DESIGN, (0.4, 1.1, 1.8)),
        coverage.fixed(DESIGN, 0.25),
        coverage.labels_worth(DESIGN._replace(groups=60)),
        *(coverage.inherited(DESIGN, name) for name in ("inherited", "new errors", "phi", "phi, independent")),
    ],
)
def test_intervals_hold_what_is_true(one):
    row = coverage.counted("", DESIGN, one, 40)
    assert row["refused"] <= 0.1
    assert row["held"] >= 0.8


def test_equal_methods_are_hardly_ever_told_apart():
    assert coverage.false_contrasts(DESIGN, 60)["held"] >= 0.85


def test_the_same_answers_give_the_same_figures():
    graded = made()
    assert figures(graded, draws=50, seed=3) == figures(graded, draws=50, seed=3)
    relabelled = replace(graded, clusters=np.array([f"x{c}" for c in graded.clusters]))
    assert figures(relabelled, draws=50, seed=3) == figures(graded, draws=50, seed=3)


def test_scores_need_numpy_and_scipy_alone():
    code = (
        "import sys, superalign.generalization.scores, superalign.generalization.contrasts\n"
        "print([m for m in ('torch', 'sklearn', 'transformers', 'peft') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
