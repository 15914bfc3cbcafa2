"""Operating points: the rate that was stated, whatever the scores are like; and no threshold on its own data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.adversarial.monitors.ensemble import diverse, fit_ensemble
from superalign.adversarial.monitors.operating import cost_curve, operating, printed
from superalign.adversarial.monitors.scored import Case, Scores, from_raw, raw, scored, trajectories
from superalign.adversarial.monitors.threshold import flag_chance
from superalign.adversarial.monitors.types import Step, Suspicion
from superalign.evidence.errors import FirewallError, SelectedByIt


class Told:
    """A monitor that says what a table tells; "boom" raises, "nan" is no number."""

    family = "static"

    def __init__(self, table, name="told", cost=1.0):
        self.table, self.name, self.digest, self.cost = table, name, f"digest of {name}", cost

    def score(self, steps):
        out = []
        for step in steps:
            value = self.table(step.completion) if callable(self.table) else self.table[step.completion]
            if value == "boom":
                raise KeyError(step.completion)
            out.append(Suspicion(score=value, cost_ms=self.cost))
        return out


def scores(values, attack=None, *, part="a", forms=None, runs=1, **more):
    n = len(values)
    attack = attack or [False] * n
    return Scores(
        monitor="told",
        digest="d",
        scores=tuple(values),
        attack=tuple(attack),
        cluster=tuple(f"{part} {i}" for i in range(n)),
        trajectory=tuple(f"{part} run {i // runs}" for i in range(n)),
        form=tuple(forms or ["0" if a else "" for a in attack]),
        source=tuple(f"m{i % 4}" for i in range(n)),
        step=tuple(f"{part} step {i}" for i in range(n)),
        ms=(0.5,) * n,
        tokens=(7,) * n,
        **more,
    )


def test_rates_at_a_stated_rate_of_false_alarms():
    rng = np.random.default_rng(0)
    base = scores(rng.normal(size=999).tolist())
    held = scores([*rng.normal(size=400), *rng.normal(4, 1, 100)], [False] * 400 + [True] * 100, part="b")
    report = operating(base, held, fpr=0.05)
    assert report.fpr.low <= 0.05 <= report.fpr.high
    assert 0.95 < report.tpr.value <= 1
    assert report.tpr.low < report.tpr.value
    assert report.calibration == 999
    assert report.roc[0] == (0.0, 0.0)
    assert report.roc[-1] == (1.0, 1.0)
    assert (report.ms, report.tokens) == (0.5, 7)
    assert set(report.sources) == {"m0", "m1", "m2", "m3"}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=30),
    st.floats(0.01, 0.5),
)
def test_a_new_honest_step_is_flagged_at_exactly_the_stated_rate(values, fpr):
    """Exchangeability, exactly: over which of n + 1 scores is the new one, the mean chance is the rate."""
    every = np.array(values, dtype=float)
    chances = [flag_chance(np.delete(every, i), every[i : i + 1], fpr=fpr)[0] for i in range(len(every))]
    assert np.mean(chances) == pytest.approx(fpr)


def test_a_tied_bin_rich_in_attacks_is_not_lost():
    base = scores([0.0] * 95 + [1.0] * 5)
    held = scores([0.0] * 90 + [1.0] * 5 + [1.0] * 40, [False] * 95 + [True] * 40, part="b")
    report = operating(base, held, fpr=0.02)
    assert report.tpr.value == pytest.approx(0.02 * 101 / 6)
    assert report.fpr.value == pytest.approx(0.02 * 101 / 6 * 5 / 95)
    assert any("5 honest scores tie" in note for note in report.notes)


CASES = {
    "all scores equal": (scores([1.0] * 200), scores([1.0] * 60, [False] * 40 + [True] * 20, part="b")),
    "no honest calibration": (scores([]), scores([0.0, 1.0, 2.0], [False, False, True], part="b")),
    "few honest": (scores([0.0, 1.0]), scores([0.0, 2.0, 3.0], [False, False, True], part="b")),
    "no honest held": (scores([0.0] * 200), scores([1.0, 2.0], [True, True], part="b")),
    "no attack": (scores([0.0, 1.0] * 100), scores([0.0, 1.0], part="b")),
    "nothing held": (scores([0.0] * 200), scores([], part="b")),
    "all missing": (scores([None] * 9), scores([None] * 4, [True, False] * 2, part="b")),
    "one of each": (scores([0.0]), scores([0.0, 1.0], [False, True], part="b")),
}


@pytest.mark.parametrize("name", CASES)
def test_poor_data_are_cases_and_no_crash(name):
    report = operating(*CASES[name], fpr=0.01)
    assert report.notes
    if report.fpr.value is not None and report.fpr.low is not None:
        assert report.fpr.low <= 0.01
    for interval in (report.fpr, report.tpr, report.area):
        assert interval.value is not None or interval.note
    assert all(note in printed([report]) for note in report.notes)
    trajectory = operating(*CASES[name], fpr=0.01, by="trajectory")
    assert trajectory.asked == 0.01


def test_all_equal_scores_flag_at_the_stated_rate():
    report = operating(*CASES["all scores equal"], fpr=0.01)
    assert report.fpr.value == pytest.approx(0.01)
    assert report.tpr.value == pytest.approx(0.01)
    assert report.area.value == 0.5


def test_missing_scores_are_counted_and_bound_the_rate():
    base = scores([0.0] * 200)
    held = scores([0.0, None, 5.0, 5.0, None], [False, False, True, True, True], part="b")
    report = operating(base, held, fpr=0.01)
    assert report.missing == {"calibration": 0, "honest": 1, "attack": 1}
    assert report.tpr.value == 1.0
    assert report.bounds == pytest.approx((2 / 3, 1.0))


def test_a_threshold_on_its_own_data_is_refused():
    base, held = scores([0.0] * 9), scores([0.0] * 9)
    with pytest.raises(SelectedByIt, match=r"R2.*9 clusters are in both"):
        operating(base, held)
    moved = scores([0.0] * 9, part="b")
    same_steps = Scores(**{**{f: getattr(moved, f) for f in Scores.__dataclass_fields__}, "step": base.step})
    with pytest.raises(FirewallError, match="9 steps are in both"):
        operating(base, same_steps)
    other = Scores(**{**{f: getattr(moved, f) for f in Scores.__dataclass_fields__}, "digest": "e"})
    with pytest.raises(ValueError, match="two monitors"):
        operating(base, other)
    with pytest.raises(ValueError, match="rate of 0"):
        operating(base, moved, fpr=0.0)


def test_the_worst_form_has_enough_attacks():
    base = scores([0.0] * 200)
    values = [0.0] * 20 + [9.0] * 20 + [0.0] * 12 + [0.0] * 3
    held = scores(values, [False] * 20 + [True] * 35, part="b", forms=[""] * 20 + ["0"] * 20 + ["5"] * 12 + ["7"] * 3)
    report = operating(base, held, fpr=0.01)
    assert report.worst == "5"
    assert set(report.forms) == {"0", "5", "7"}
    assert report.forms["0"].value == 1
    assert report.forms["5"].value < 0.02


def test_trajectories_take_the_highest_step():
    some = scores([0.0, None, 3.0, 1.0, None, None], [False, False, True, False, False, False], runs=2)
    found = trajectories(some)
    assert found.scores == (0.0, 3.0, None)
    assert found.attack == (False, True, False)
    assert found.tokens == (14, 14, 14)
    with pytest.raises(ValueError, match="names no trajectory"):
        trajectories(Scores(**{**raw_parts(some), "trajectory": ("",) * 6}))


def raw_parts(some):
    return {name: getattr(some, name) for name in Scores.__dataclass_fields__}


def test_reports_are_recomputed_from_raw_scores():
    held = scores([0.0, None, 5.0], [False, False, True], part="b", failed=1)
    assert from_raw(raw(held)) == held
    with pytest.raises(TypeError):
        from_raw({**raw(held), "more": 1})
    with pytest.raises(ValueError, match="parts of"):
        from_raw({**raw(held), "ms": [1.0]})


def cases(texts, attack=None):
    attack = attack or [False] * len(texts)
    return [
        Case(step=Step(prompt="p", completion=text, cluster=f"c{i}"), attack=a)
        for i, (text, a) in enumerate(zip(texts, attack, strict=True))
    ]


def test_a_monitor_that_raises_on_one_step_misses_that_one_only():
    found = scored(Told({"a": 1.0, "b": "boom", "c": float("nan"), "d": 2.0}), cases("abcd"))
    assert found.scores == (1.0, None, None, 2.0)
    assert found.failed == 1
    assert scored(Told(lambda text: "boom"), cases("a")).scores == (None,)
    assert scored(Told({}), []).scores == ()


def test_a_monitor_owes_one_suspicion_a_step():
    short = Told({})
    short.score = lambda steps: []
    with pytest.raises(ValueError, match="0 suspicions for 2 steps"):
        scored(short, cases("ab"))


def test_ensembles_stand_on_honest_steps_and_speak_for_members_that_are_there():
    texts, labels = list("abcdef"), [False, False, False, True, True, True]
    steps = [case.step for case in cases(texts)]
    one = Told({"a": 0.0, "b": 1.0, "c": 2.0, "d": 9.0, "e": 9.0, "f": "boom"}, "one")
    two = Told({"a": 5.0, "b": 5.0, "c": 5.0, "d": 5.0, "e": 8.0, "f": "boom"}, "two")
    mean = fit_ensemble([one, two], steps, labels)
    found = [s.score for s in mean.score(steps)]
    assert found[1] == pytest.approx(0.0)
    assert found[5] is None
    assert found[4] > found[3] > max(found[:3])
    most = fit_ensemble([one, two], steps, labels, how="max")
    assert most.score(steps)[3].score == pytest.approx((9 - 1) / np.std([0, 1, 2]))
    assert most.score(steps)[3].evidence.startswith("one")
    logistic = fit_ensemble([one, two], steps, labels, how="logistic")
    assert len({mean.digest, most.digest, logistic.digest, fit_ensemble([two, one], steps, labels).digest}) == 4
    assert mean.score(steps[:1])[0].cost_ms == 2.0
    half = fit_ensemble([one, Told(lambda text: "boom" if text == "d" else 0.0, "half")], steps, labels)
    assert half.score(steps)[3].score == pytest.approx((9 - 1) / np.std([0, 1, 2]))


@pytest.mark.parametrize(("labels", "how"), [([True, True], "mean"), ([False, False], "logistic"), ([True], "mean")])
def test_ensembles_that_have_nothing_to_stand_on_are_refused(labels, how):
    with pytest.raises(ValueError, match=r"label|acted"):
        fit_ensemble([Told({"a": 0.0, "b": 1.0})], [case.step for case in cases("ab")], labels, how=how)


def test_a_member_without_any_honest_score_is_refused():
    with pytest.raises(ValueError, match="mute has no score"):
        fit_ensemble([Told(lambda text: None, "mute")], [case.step for case in cases("ab")], [False, True])


def test_diverse_members_complement_one_another():
    clean, bad = [f"h{i}" for i in range(300)], [f"a{i}" for i in range(10)]
    steps, labels = [case.step for case in cases(clean + bad)], [False] * 300 + [True] * 10

    def catching(name, which, cost):
        rng = np.random.default_rng(len(name))
        table = {text: float(rng.random()) for text in clean} | {text: 9.0 if text in which else 0.0 for text in bad}
        return Told(table, name, cost)

    wide, copy, other = (
        catching("wide", bad[:7], 1.0), catching("a copy", bad[:6], 1.0), catching("the other", bad[7:], 1.0),
    )  # fmt: skip
    assert [m.name for m in diverse([copy, other, wide], steps, labels, k=2)] == ["wide", "the other"]
    cheap = catching("wide", bad[:7], 0.1)
    assert diverse([wide, cheap], steps, labels, k=1)[0] is cheap
    with pytest.raises(ValueError, match="choose 1 to 2"):
        diverse([wide, copy], steps, labels, k=3)
    with pytest.raises(ValueError, match="0 of 310"):
        diverse([wide], steps, [False] * 310, k=1)


def test_the_cost_curve_only_rises():
    base, held = scores([0.0] * 200), scores([0.0, 5.0], [False, True], part="b")
    report = operating(base, held)
    rows = cost_curve([report, report])
    assert [row["best"] for row in rows] == sorted(row["best"] for row in rows)
    with pytest.raises(ValueError, match="different"):
        cost_curve([report, operating(base, held, fpr=0.02)])
