"""Coordinates follow the data: right with the value, up with the detections, ties as one step."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from superalign.report.figures import roc_points
from superalign.report.lineage import layers
from superalign.report.plots import WIDE, Scale, roc_xy, scale_for, strip, suspicion, ticks
from superalign.report.views import LineageEdge, LineageNode, Number, Suspect

ANY = st.floats(allow_nan=False, allow_infinity=False)


def number(value, low=None, high=None):
    return Number(seq=1, name="n", title="t", value=value, low=low, high=high, note="")


@given(st.lists(ANY, min_size=2, max_size=9))
def test_a_strip_grows_with_its_value_and_stays_inside(values):
    scale = scale_for([number(v) for v in values], low=0.0, high=1.0, base=0.0)
    at = [scale.x(v) for v in sorted(values)]
    assert at == sorted(at)
    assert at[0] >= 0
    assert at[-1] <= WIDE
    assert scale.low < scale.high
    assert len(ticks(scale.low, scale.high)) <= 5


def test_a_strip_draws_value_and_interval_where_the_scale_says():
    scale = Scale(0.0, 1.0, 0.5)
    page = strip(number(0.7, 0.6, 0.9), scale)
    path = next(p for p in re.findall(r' d="([^"]+)"', page))
    ends = [float(x) for x in re.findall(r"M([\d.]+) 9", path)]
    assert ends == [scale.x(0.6), scale.x(0.9)]
    assert f'cx="{scale.x(0.7)}"' in page
    assert f'x="{scale.x(0.5)}"' in page


@pytest.mark.parametrize(("given", "word"), [(number(None), "refused"), (None, "not measured")])
def test_a_refusal_is_drawn_as_an_empty_box_with_the_word(given, word):
    page = strip(given, Scale(0.0, 1.0, 0.0))
    assert word in page
    assert 'class="void"' in page
    assert "<circle" not in page


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_the_roc_curve_is_scikit_learns_with_ties_in_one_step(rows):
    scores, truth = [float(s) for s, _ in rows], [t for _, t in rows]
    if len(set(truth)) < 2:
        return
    points = roc_points(scores, truth)
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert np.allclose([p.fpr for p in points], fpr)
    assert np.allclose([p.tpr for p in points], tpr)
    area = np.trapezoid([p.tpr for p in points], [p.fpr for p in points])
    assert area == pytest.approx(roc_auc_score(truth, scores))
    drawn = [roc_xy(p.fpr, p.tpr) for p in points]
    assert [x for x, _ in drawn] == sorted(x for x, _ in drawn)
    assert [y for _, y in drawn] == sorted((y for _, y in drawn), reverse=True)


def suspect(alias, value, truth="organism"):
    return Suspect(alias=alias, check="c", truth=truth, kind="k", flagged=None, threshold=None, number=number(value))


def test_models_at_one_spot_share_a_mark_that_counts_them():
    page = suspicion([suspect("a", 0.5), suspect("b", 0.5), suspect("c", 1.0)], 0.7)
    assert page.count('class="organism"') == 2
    assert "×2" in page
    assert "a: 0.500; b: 0.500" in page


def test_the_threshold_parts_the_flagged_from_the_rest():
    page = suspicion([suspect("a", 0.2, "twin"), suspect("b", 0.9, "twin")], 0.5)
    low, high = sorted(float(x) for x in re.findall(r'<circle cx="([\d.]+)"', page))
    line = float(re.search(r'x1="([\d.]+)" y1="14"', page)[1])
    assert low < line < high


def box(key):
    return LineageNode(key, "model", key, key, (), (), 0)


def test_everything_lies_right_of_what_went_into_it():
    edges = [LineageEdge(a, b, "fit", 0) for a, b in ("ab", "bc", "ac", "dc")]
    column = layers([box(k) for k in "abcd"], edges)
    assert all(column[e.source] < column[e.target] for e in edges)
    assert column["d"] == column["c"] - 1, "a source stands close to what it went into"


def test_a_cycle_is_drawn_and_never_loops():
    assert layers([box("a"), box("b")], [LineageEdge("a", "b", "fit", 0), LineageEdge("b", "a", "fit", 0)]) == {
        "a": 0,
        "b": 0,
    }
