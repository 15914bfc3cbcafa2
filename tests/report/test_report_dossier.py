"""The dossier never runs, loads or hides anything, and every number leads to its event."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import pytest

from superalign.report import View, compile_page
from superalign.report.charts import bars, roc, strip
from superalign.report.escape import esc, visible
from superalign.report.parts import _marked
from superalign.report.view import linked, number

NASTY = 'x<script>alert(1)</script>"><img src=//evil onerror=1>\u202e\u0007</style></title>'
PLAIN = {
    "meta",
    "title",
    "style",
    "main",
    "html",
    "head",
    "body",
    "h1",
    "h2",
    "h3",
    "p",
    "a",
    "b",
    "i",
    "small",
    "span",
    "div",
}
PLAIN |= {
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "svg",
    "line",
    "text",
    "circle",
    "polyline",
    "path",
    "rect",
}
PLAIN |= {"figure", "details", "summary", "pre", "code", "mark", "article"}


@dataclass
class FixtureEvent:
    """A calibration fixture: an event as the ledger would hand it out."""

    seq: int
    type: str
    body: dict[str, Any]
    actor: str = "evaluator"
    digest: str = "ab" * 32
    time: str = "2026-01-01T00:00:00Z"


class Reader(HTMLParser):
    """Collects elements, attributes and link targets."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def _measurement(seq: int, figure: str, stage: str, value: float | None, **tags: Any) -> FixtureEvent:
    interval = (None, None) if value is None else (value - 0.1, value + 0.1)
    body = {
        "name": NASTY,
        "title": NASTY,
        "value": value,
        "low": interval[0],
        "high": interval[1],
        "n": 9,
        "clusters": 3,
    }
    body |= {"note": NASTY if value is None else "", "cost": {"checks": 3.0}, "isolation": "L0", "subject": NASTY}
    return FixtureEvent(seq, "measurement", body | {"tags": {"stage": stage, "figure": figure, **tags}})


@dataclass
class Made:
    """A fixture page and what a parser found on it."""

    html: str
    reader: Reader = field(default_factory=Reader)


@pytest.fixture(scope="module")
def made():
    events = [
        _measurement(0, "pgr", "train", 0.4, arm=NASTY, arm_kind="method"),
        _measurement(1, "pgr", "train", None, arm="refused arm", arm_kind="control"),
        _measurement(2, "accuracy", "train", 0.8, arm=NASTY),
        _measurement(3, "accuracy", "validate", 0.9, view="pair", alteration=NASTY),
        _measurement(4, "install", "stress", 1.0, kind=NASTY, seed=0, part="on_trigger", alias="m00", carries=1),
        _measurement(
            5,
            "suspicion",
            "stress",
            0.1,
            kind=NASTY,
            check="context",
            truth="organism",
            flagged=0,
            alias="m00",
            threshold=0.2,
        ),
        FixtureEvent(
            6,
            "claim",
            {
                "text": NASTY,
                "verdict": "cannot tell",
                "measurements": [0, 5],
                "defeaters": [NASTY],
                "tags": {"property": NASTY},
            },
        ),
        FixtureEvent(7, "node", {"digest": "aa", "name": NASTY, "kind": "model", "quarantined": False}),
        FixtureEvent(8, "node", {"digest": "bb", "name": "organism", "kind": "model", "quarantined": True}),
        FixtureEvent(9, "edge", {"source": "aa", "target": "bb", "mode": "fit"}),
        FixtureEvent(10, "stage", {"stage": NASTY, "seconds": 1.5}),
    ]
    item = {
        "id": "i",
        "title": NASTY,
        "why": NASTY,
        "kind": NASTY,
        "source": NASTY,
        "shown": NASTY,
        "place": [2, 9],
        "pointed": [12, 15],
    }
    item |= {"verdict": NASTY, "truth": NASTY, "repair": NASTY, "subject": NASTY}
    page = Made(html=compile_page(View(events=events, figures={"gallery": {"items": [item]}}, head="f" * 64)))
    page.reader.feed(page.html)
    return page


def test_only_plain_elements_and_no_handlers(made):
    assert set(made.reader.tags) <= PLAIN
    assert not [name for name, _ in made.reader.attributes if name.startswith("on")]


def test_nothing_is_loaded(made):
    links = [value for name, value in made.reader.attributes if name in ("href", "src", "xlink:href", "action")]
    assert links
    assert all(re.fullmatch(r"#e\d+", link) for link in links)
    assert "default-src 'none'" in made.html
    assert "url(" not in made.html


def test_invisible_characters_are_seen(made):
    assert "\u202e" not in made.html
    assert "\u0007" not in made.html
    assert "⟨U+202E⟩" in made.html


def test_every_number_leads_to_its_event(made):
    anchors = {value for name, value in made.reader.attributes if name == "id"}
    targets = {value[1:] for name, value in made.reader.attributes if name == "href"}
    assert targets <= anchors


def test_refusals_and_misses_are_said(made):
    assert "refused" in made.html
    assert "cannot tell" in made.html
    assert "Organisms that passed a check unseen" in made.html
    assert "nan" not in re.sub(r"<style>.*?</style>", "", made.html).lower().replace("finance", "")


def test_an_empty_ledger_says_so():
    page = compile_page(View(events=[], figures={}, head=""))
    assert "nothing was done yet" in page


def test_points_lie_in_the_order_of_their_values():
    rows = [(str(v), i, {"value": v, "low": v, "high": v, "tags": {}}) for i, v in enumerate((-0.2, 0.1, 0.5, 1.1))]
    found = [
        float(x) for x in re.findall(r'<circle[^>]*cx="([\d.]+)"', bars("t", rows, low=-0.5, high=1.2, ticks=(0,)))
    ]
    assert found == sorted(found)
    assert len(set(found)) == 4


def test_roc_needs_both_classes():
    assert "one class is missing" in roc(
        "t", {"scores": [1.0], "labels": [1], "threshold": 0.5, "check": "c", "kinds": ["k"]}
    )


@pytest.mark.parametrize(
    ("text", "shown"), [("a<b", "a&lt;b"), ("\u2066", "⟨U+2066⟩"), ("a\nb", "a\nb"), ('"', "&quot;")]
)
def test_escaping(text, shown):
    assert esc(text) == shown
    assert visible("plain") == "plain"


def test_numbers():
    assert number(None) == "refused"
    assert number(float("nan")) == "not a number"
    assert number(0.1234, signed=True) == "+0.123"
    assert "because" in linked(3, {"value": None, "note": "because"})


@pytest.mark.parametrize(("place", "pointed"), [((2, 4), (2, 4)), ((2, 4), (0, 6)), ((0, 6), (2, 4)), ((0, 3), (2, 5))])
def test_overlapping_marks_are_both_seen(place, pointed):
    html = _marked({"shown": "abcdef", "place": place, "pointed": pointed})
    assert re.sub(r"<[^>]*>", "", html) == "abcdef"
    for css, (start, end) in (("altered", place), ("pointed", pointed)):
        held = re.findall(rf'<mark class="[^"]*{css}[^"]*">([a-f]+)</mark>', html)
        assert "".join(held) == "abcdef"[start:end]


def test_refused_suspicions_do_not_break_the_page():
    assert "refused" in strip("t", [(0, {"value": None, "tags": {"truth": "twin"}})])
