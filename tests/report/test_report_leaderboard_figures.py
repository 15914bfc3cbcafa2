"""Drawings of a leaderboard: geometry from numbers, labels that cover nothing, words for who can't see them."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.report.board_figures import (
    HIGH,
    LEFT,
    WIDE,
    Spot,
    _apart,
    _meet,
    _rounds,
    budget_plot,
    cost_plot,
    frame_of,
    frontier_of,
    placed,
    reliability_plot,
)
from superalign.report.views import Number

SHARES = st.floats(0, 1)
TOKENS = st.one_of(st.floats(0, 1e5), st.sampled_from([0.0, 5e-324, 1e300]))


def spot(name, tokens, value, low=None, high=None):
    return Spot(name, tokens, Number(seq=1, name="", title="", value=value, low=low, high=high))


def numbers(pattern, text):
    return [float(x) for x in re.findall(pattern, text)]


def test_more_tokens_lie_to_the_right_and_more_accuracy_above():
    spots = [spot("a", 0, 0.5), spot("b", 20, 0.6), spot("c", 40, 0.7), spot("d", 80, 0.95)]
    frame = frame_of(spots)
    places = [(frame.x(s.tokens), frame.y(s.accuracy.value)) for s in spots]
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)
    equal = frame.x(40) - frame.x(20), frame.x(80) - frame.x(40)
    assert equal[0] == pytest.approx(equal[1], abs=0.02), "twice as much is always as far"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TOKENS, SHARES), min_size=1, max_size=12))
def test_every_dot_lies_inside_the_drawing(pairs):
    spots = [spot(f"p{i}", tokens, value, 0.0, 1.0) for i, (tokens, value) in enumerate(pairs)]
    text = cost_plot(spots, ("p0",), "t")
    assert all(0 <= x <= WIDE for x in numbers(r'cx="([-0-9.]+)"', text))
    assert all(0 <= y <= HIGH for y in numbers(r'cy="([-0-9.]+)"', text))
    assert "nan" not in text
    assert text.count("<circle") == len(spots)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TOKENS, SHARES), min_size=1, max_size=12))
def test_nobody_beats_the_frontier(pairs):
    spots = [spot(f"p{i}", tokens, value) for i, (tokens, value) in enumerate(pairs)]
    best = frontier_of(spots)
    assert best
    for one in spots:
        beaten = any(s.tokens <= one.tokens and s.accuracy.value >= one.accuracy.value for s in best)
        assert beaten, "whatever is not on it is matched by something on it"
    for one in best:
        assert not any(s.tokens <= one.tokens and s.accuracy.value > one.accuracy.value for s in spots)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(60, 600), st.floats(40, 300), st.text("abc", min_size=1, max_size=30)), max_size=15)
)
def test_labels_cover_neither_each_other_nor_a_dot(labels):
    dots = [(x - 6, y - 6, 12.0, 12.0) for x, y, _ in labels]
    boxes = []
    for (x, y), anchor, text in placed(labels, dots):
        width = 6.6 * len(text)
        left = x - {"start": 0, "end": width, "middle": width / 2}[anchor]
        boxes.append((left, y - 10, width, 13.0))
        assert left > LEFT
        assert left + width < WIDE
    assert not any(_meet(a, b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_neighbours_at_the_top_edge_are_both_named():
    labels = [(58.0, 30.0, "deference"), (97.0, 30.0, "critique")]
    assert {text for _, _, text in placed(labels, [(x - 6, y - 6, 12.0, 12.0) for x, y, _ in labels])} == {
        "deference", "critique",
    }  # fmt: skip


def test_names_at_the_ends_of_lines_are_a_line_apart_and_inside():
    found = _apart([(100.0 + i, 300.0, f"p{i}", "") for i in range(12)])
    heights = [y for y, _ in found]
    assert all(b - a >= 15 for a, b in pairwise(heights))
    low = _apart([(310.0, 1.0, "a", ""), (312.0, 1.0, "b", "")])
    assert max(y for y, _ in low) <= HIGH - 44


def test_budgets_are_a_line_each_with_every_point_in_words():
    lines = {
        "unaided": [spot("unaided", 30, 0.5), spot("unaided", 60, 0.6)],
        "debate": [spot("debate", 30, 0.7, 0.6, 0.8)],
    }
    text = budget_plot(lines, "slips: accuracy by budget")
    assert text.count('class="curve"') == 2
    assert text.count("<circle") == 3
    assert "unaided: 30 tokens 0.500, 60 tokens 0.600; debate: 30 tokens 0.700" in text
    assert 'role="img"' in text
    assert "<title>slips: accuracy by budget</title>" in text


def test_whiskers_of_protocols_that_read_alike_stand_apart():
    lines = {name: [spot(name, 30, 0.6, 0.5, 0.7), spot(name, 60, 0.7, 0.6, 0.8)] for name in ("a", "b", "c")}
    xs = numbers(r'd="M([0-9.]+) [0-9.]+V', budget_plot(lines, "t"))
    assert len(xs) == len(set(xs)) == 6


def test_who_reads_nothing_stands_at_the_left_and_the_axis_says_so():
    text = cost_plot([spot("deference", 0, 0.9), spot("unaided", 58, 0.6)], ("unaided",), "t")
    assert ">0</text>" in text
    assert ">0</text>" not in cost_plot([spot("unaided", 58, 0.6)], ("unaided",), "t")


def test_a_strangers_names_are_escaped_in_drawings():
    text = cost_plot([spot("<script>", 5, 0.6)], (), "<b>") + budget_plot({"<i>": [spot("<i>", 5, 0.6)]}, "x")
    text += reliability_plot("<s>", [[0.5, 0.5, 3]])
    assert not re.search(r"<(script|b|i|s)>", text)


def test_reliability_is_on_the_diagonal_where_it_is_calibrated():
    text = reliability_plot("debate", [[0.2, 0.2, 10], [0.8, 0.8, 30]])
    (x1, x2), (y1, y2) = numbers(r'cx="([0-9.]+)"', text), numbers(r'cy="([0-9.]+)"', text)
    assert (y1 - y2) == pytest.approx(x2 - x1)
    small, large = numbers(r' r="([0-9.]+)"', text)
    assert small < large, "a bin is as large as its events are many"
    assert "0.200 → 0.200; 0.800 → 0.800" in text


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(9, 130, [10, 20, 50, 100]), (0, 5, []), (7, 7, []), (0.4, 3, [0.5, 1, 2]), (8, 1e5, [10, 100, 1000, 1e4, 1e5])],
)
def test_ticks_of_tokens_are_round(low, high, wanted):
    assert _rounds(low, high) == pytest.approx(wanted)
