"""What can't be seen is named, what could break out is escaped, what isn't a number is refused."""

import math

import pytest

from superalign.report.gallery import marked
from superalign.report.html import Html, tag, together
from superalign.report.text import clip, escape, figure, finite, listed, short, visible


@pytest.mark.parametrize(
    "code",
    [
        0,
        7,
        0x1B,
        0x7F,
        0x85,
        0xAD,
        0x200B,
        0x200E,
        0x202A,
        0x202E,
        0x2028,
        0x2066,
        0x2069,
        0xD800,
        0xFE0F,
        0xFEFF,
        0x3164,
        0xE000,
        0xE0041,
        0xE0101,
        0x10FFFF,
    ],
)
def test_what_cannot_be_seen_is_named(code):
    assert visible(f"a{chr(code)}b") == f"a⟨U+{code:04X}⟩b"


@pytest.mark.parametrize("text", ["plain", "two\n\tlines", "naïve café", "日本語", "עברית", "x ≤ y → z", "e\u0301"])
def test_what_can_be_seen_stays(text):
    assert visible(text) == text


def test_a_pile_of_accents_is_named_from_the_fourth_on():
    assert visible("a" + "\u0301" * 5) == "a" + "\u0301" * 3 + "⟨U+0301⟩" * 2


def test_only_html_made_here_stays_html():
    assert together("<b>", tag("i", "<")) == "&lt;b&gt;<i>&lt;</i>"
    assert tag("p", f"{tag('b', 'x')}") == "<p>&lt;b&gt;x&lt;/b&gt;</p>", "an f-string is plain text again"
    assert not isinstance(Html("a") + "b", Html)
    assert tag("p", class_='" onload="x') == '<p class="&quot; onload=&quot;x"></p>'
    assert escape("'") == "&#x27;"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "refused"),
        (0.0, "0.000"),
        (-0.0, "0.000"),
        (-1.0, "−1.000"),
        (0.00001, "1.00e-05"),
        (1e308, "1.00e+308"),
        (1234.5, "1,234"),
    ],
)
def test_numbers_for_people(value, text):
    assert figure(value) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "0.5", None, [], 10**400])
def test_what_is_not_a_finite_number_is_none(value):
    assert finite(value) is None


def test_names_and_lists():
    assert short("m@" + "0" * 64) == "m@00000000"
    assert short("m@" + "0" * 63) == "m@" + clip("0" * 63, 58)
    assert listed([]) == ""
    assert listed(["a", "b"]) == "a and b"


@pytest.mark.parametrize(
    ("place", "pointed", "looks"),
    [
        ((1, 2), (3, 4), ["place", "pointed"]),
        ((1, 4), (2, 3), ["place", "place pointed", "place"]),
        ((0, 2), (1, 3), ["place", "place pointed", "pointed"]),
        ((2, 2), None, ["place"]),
        (None, (0, 5), ["pointed"]),
        ((5, 5), None, ["place"]),
        (None, None, []),
    ],
)
def test_marks_lie_where_the_offsets_say(place, pointed, looks):
    page = marked("a<\u202ec>", place, pointed)
    assert [part.split('"')[0] for part in page.split('<mark class="')[1:]] == looks
    assert page.count("⟨U+202E⟩") == 1
    assert page.count("&lt;") == 1
