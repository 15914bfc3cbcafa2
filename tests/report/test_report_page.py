"""The page: nothing breaks out of it or leaves it, every number leads to its event, what is missing is said."""

import itertools
import re
from html.parser import HTMLParser

import pytest

from superalign.evidence import Workspace, WorkspaceMissing
from superalign.report.compile import compile_dossier
from superalign.report.front import TOY
from superalign.report.page import render, write_dossier

ELEMENTS = frozenset(
    re.findall(
        r"\w+",
        "html head meta title style body main header nav section article p h1 h2 h3 a b code pre span bdi ul li dl "
        "dt dd div table caption thead tbody tr th td figure figcaption details summary mark svg g desc line rect "
        "circle path text",
    )
)
VOID = {"meta"}
SECTIONS = [
    "verdicts",
    "not-detected",
    "train",
    "validate",
    "stress",
    "lineage",
    "gallery",
    "costs",
    "verify",
    "events",
]


class Page(HTMLParser):
    """Reads a page strictly: every element closed in order, every attribute noted."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.attributes, self.ids, self.links, self.words = [], set(), [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name == "href"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


def page_of(made):
    events, objects = made
    return render(compile_dossier(events, objects.get_json))


def everything(fixture):
    return {
        "fixture": fixture.ledger(),
        "empty": fixture.empty(),
        "hostile": fixture.hostile(),
        "worse": fixture.hostile(keep=False),
    }


@pytest.mark.parametrize("name", ["fixture", "empty", "hostile", "worse"])
def test_nothing_breaks_out_and_nothing_leaves(fixture, name):
    text = page_of(everything(fixture)[name])
    page = Page(text)
    assert page.elements <= ELEMENTS
    assert not [
        a for a, _ in page.attributes if a.startswith("on") or a in ("src", "srcset", "style", "action", "xlink:href")
    ]
    assert all(link.startswith("#") for link in page.links)
    style = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert "<" not in style
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in text
    text.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", text)


def test_planted_characters_are_shown_by_name(fixture):
    page = Page(page_of(fixture.hostile()))
    words = "".join(page.words)
    for shown in ("⟨U+202E⟩", "⟨U+0000⟩", "⟨U+001B⟩", "⟨U+2028⟩", "⟨U+D800⟩", "<script>1</script>", "onerror=alert(1)"):
        assert shown in words
    assert "".join(page.words).index("def add(a, b):") > 0


@pytest.mark.parametrize("name", ["fixture", "empty", "hostile", "worse"])
def test_every_link_has_its_target_once(fixture, name):
    page = Page(page_of(everything(fixture)[name]))
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_every_measurement_and_claim_is_linked_from_the_page(fixture):
    events, _ = fixture.ledger()
    links = set(Page(page_of(fixture.ledger())).links)
    assert {f"#e{e.seq}" for e in events if e.type in ("measurement", "claim")} <= links


@pytest.mark.parametrize("name", ["fixture", "empty", "hostile", "worse"])
def test_no_nan_and_every_section_in_order(fixture, name):
    text = page_of(everything(fixture)[name])
    words = "".join(Page(text).words)
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b", words, re.I)
    assert not re.search(r'"(?:nan|inf|[^"]*\bnan\b)[^"]*"', text)
    at = [text.index(f'<h2 id="{name}">') for name in SECTIONS]
    assert at == sorted(at)
    assert TOY in text


def test_an_empty_ledger_says_so_in_every_section(fixture):
    text = page_of(fixture.empty())
    assert "The ledger is empty: nothing was asked and nothing is known." in text
    assert text.count('<p class="nothing">') >= 15
    assert "stress: power by leaving one kind out" in text


def test_the_verdict_table_says_what_the_fixture_knows(fixture):
    text = page_of(fixture.ledger())
    table = text[text.index('id="verdicts"') : text.index('id="not-detected"')]
    words = " ".join(re.sub(r"<[^>]+>", " ", table).split())
    assert "cannot tell" in words
    assert "≥ 0.100" in words
    assert "≤ 0.400" in words
    assert "suspicion 0.200" in words
    assert "0 pass, 0 fail and 2 cannot tell" in text


def test_a_verdict_that_does_not_follow_is_called_out(fixture):
    events, objects = fixture.ledger()
    for event in events:
        if event.type == "claim" and event.body["tags"].get("property") == "context":
            event.body["verdict"] = "pass"
    assert "doesn&#x27;t follow from its own numbers" in page_of((events, objects))
    assert "follow from its own numbers" not in page_of(fixture.ledger())


def test_a_refused_number_stands_with_its_reason(fixture):
    text = page_of(fixture.ledger())
    train = text[text.index('id="train"') : text.index('id="validate"')]
    assert 'class="void"' in train
    assert "the gap is noise: [-0.01, 0.04] holds zero" in train


def test_long_runs_of_uncited_events_share_a_line(fixture):
    text = page_of(fixture.ledger())
    assert "12 events" in text
    assert "All" in text
    assert f"{len(fixture.ledger()[0])} event" in text


def test_headings_are_in_order_and_drawings_have_titles(fixture):
    text = page_of(fixture.ledger())
    levels = [int(n) for n in re.findall(r"<h([1-6])", text)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert len(re.findall(r"<svg [^>]*role=\"img\"[^>]*><title>[^<]+</title>", text)) == text.count("<svg ")
    assert text.count("<table") == text.count("<caption>")


def test_huge_numbers_stay_drawable(fixture):
    events, objects = fixture.ledger()
    for event in events:
        if event.type == "measurement" and event.body["value"] is not None:
            event.body["value"], event.body["low"], event.body["high"] = 1e308, -1e308, 1e308
    page = Page(page_of((events, objects)))
    assert not [v for a, v in page.attributes if a in ("x", "cx", "d", "points", "width") and re.search("nan|inf", v)]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    with Workspace.open(tmp_path / "ws") as ws:
        ws.ledger.append("plan", {"checks": ["c"]}, actor="evaluator")
        ws.ledger.append("figure", {"figure": "roc", "data": "0" * 64}, actor="evaluator")
    return tmp_path / "ws"


def test_a_workspace_gives_the_same_bytes_by_path_and_open(workspace, tmp_path):
    before = sorted((p, p.stat().st_mtime_ns) for p in workspace.rglob("*"))
    by_path = write_dossier(workspace, tmp_path / "a" / "one.html")
    assert sorted((p, p.stat().st_mtime_ns) for p in workspace.rglob("*")) == before, "nothing in the workspace changes"
    with Workspace.open(workspace, create=False) as ws:
        opened = write_dossier(ws, tmp_path / "two.html")
        head = ws.ledger.head
    assert by_path.read_bytes() == opened.read_bytes()
    assert head in opened.read_text(encoding="utf-8")
    assert "can&#x27;t be read" in opened.read_text(encoding="utf-8")
    assert [p.name for p in by_path.parent.iterdir()] == ["one.html"]


def test_no_workspace_is_one_clear_sentence_and_no_file(tmp_path):
    with pytest.raises(WorkspaceMissing, match="no workspace"):
        write_dossier(tmp_path / "nowhere", tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()
