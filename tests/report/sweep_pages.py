"""A sweep as a ledger would hold it, and its page taken apart: what tests of that page share."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace

from superalign.report.generalize_page import body_of, write_generalization
from superalign.report.generalize_view import sweep_of
from superalign.report.views import Number

NOISE = "the gap between floor and ceiling is noise: its interval [-0.004, 0.043] holds zero"
VOID = {"meta"}
EVIL = '"><script>alert(1)</script><img src=x onerror=y>'


class Page(HTMLParser):
    """Every element closed in order; what leads where."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.ids, self.links, self.words = [], set(), [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("href", "src")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


class Ledger:
    """Events of a sweep, as a ledger would hold them."""

    def __init__(self, board="k"):
        self.events, self.board = [], board

    def add(self, value, figure, *, low=None, high=None, note="", body=None, **tags):
        body = {
            "name": f"generalize.{figure}", "title": "t", "value": value, "low": low, "high": high, "n": 3000,
            "clusters": 120, "subject": "m@" + "a" * 64, "note": note, "unit": "fraction",
            "tags": {"stage": "generalize", "board": self.board, "seeds": "20", "figure": figure, **tags},
        } | (body or {})  # fmt: skip
        seq = len(self.events) + 1
        self.events.append(
            SimpleNamespace(seq=seq, type="measurement", actor="evaluator", time="", digest="d" * 64, body=body)
        )
        return self

    def method(self, name, pgr, *, setting="wide", kind="labels", supervision="weak", **more):
        """A method of a setting whose floor is .6 and whose ceiling is .9."""
        tags = {
            "setting": setting,
            "supervision": supervision,
            "method": name,
            "kind": kind,
            "source": "A paper, §1",
        } | more
        if name in ("weak floor", "ceiling"):
            return self.add({"weak floor": 0.6, "ceiling": 0.9}[name], "accuracy", **tags)
        self.add(0.6 + 0.3 * (pgr if pgr is not None else 0.5), "accuracy", low=0.5, high=0.99, **tags)
        if pgr is None:
            return self.add(None, "pgr", note=NOISE, **tags)
        return self.add(pgr, "pgr", low=pgr - 0.1, high=pgr + 0.1, **tags)

    def bounds(self, setting="wide"):
        return self.method("weak floor", 0, setting=setting).method("ceiling", 1, setting=setting)


def page(ledger, **options):
    return body_of(sweep_of(ledger.events, **options))


def two_settings():
    made = Ledger()
    for setting, values in (("wide", (0.05, 0.7, 0.9)), ("natural", (0.5, 0.75, 0.2))):
        made.bounds(setting)
        for name, value in zip(("naive", "regularised", "em"), values, strict=True):
            made.method(name, value, setting=setting)
    return made


def written(ledger, tmp_path):
    ws = SimpleNamespace(ledger=SimpleNamespace(events=lambda: ledger.events), store=None)
    return write_generalization(ws, tmp_path / "page.html").read_text()


def number(value, low=None, high=None):
    return Number(seq=1, name="", title="", value=value, low=low, high=high)


def coordinates(text):
    return [float(x) for x in re.findall(r' c[xy]="([^"]*)"', text)]


def quirky(*, coin=True, above=True):
    """Organism and twin as they should be, one good probe, one that turns Bob's label round, and their controls."""
    made = Ledger()

    def put(value, who, probe, part, width=0.02, **more):
        ends = {} if value is None else {"low": max(0, value - width), "high": min(1, value + width)}
        made.add(value, "truth", condition=who, probe=probe, part=part, **ends, **more)

    for who, alice, bob, label in (("organism", 0.95, 0.5, 0.99), ("twin", 0.94, 0.93, 0.51)):
        for part, less in (("easy", 0.0), ("hard", 0.2)):
            put(alice - less, who, "alice", part)
            put(bob - less / 2, who, "bob", part)
            put(label, who, "bob", f"{part}, as Bob has it")
        put(0.7, who, "output", "alice")
        put(0.0 if who == "organism" else 0.69, who, "output", "auroc truth")
        if coin:
            put(
                0.713 if who == "organism" else None,
                who,
                "coin",
                "gap recovered",
                note="" if who == "organism" else NOISE,
            )
    for who in ("organism", "twin", "untrained", "text", "shuffled", "erased", "another"):
        for probe, right, label in (("mean difference", 0.8, 0.55), ("ccs", 0.9, 0.05)):
            put(right, who, probe, "auroc truth")
            put(label, who, probe, "auroc quirk")
            put(None if who == "twin" else 1.15, who, probe, "gap recovered", note=NOISE if who == "twin" else "")
            if above:
                put(0.44, who, probe, "above a coin")
            put(0.81, who, probe, "layer 1")
    return made


def rows_of(part):
    """Each row of the tables in a part of a page: its words, tags dropped."""
    return [
        re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", row)).strip()
        for row in re.findall(r"<tr role=\"row\".*?</tr>", part, re.S)
    ]


def section(text, start, *ends):
    part = text[text.index(start) :]
    return part[: min((part.index(end) for end in ends if end in part), default=len(part))]
