"""The page of a sweep: from a ledger alone, refusals with reasons, every number linked, a stranger's text harmless."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.evidence import Workspace
from superalign.report.front import TOY
from superalign.report.generalize_figures import (
    Mark,
    Span,
    ends_of,
    forest_plot,
    scaling_plot,
    scatter_plot,
    two_strip,
)
from superalign.report.generalize_page import body_of, marks_of, robust, write_generalization
from superalign.report.generalize_sides import anchor
from superalign.report.generalize_tables import worth_of
from superalign.report.generalize_truth import AXIS, MAX_NOTES, Line, beyond, notes, stacked, tally
from superalign.report.generalize_view import MAX_CASES, MAX_METHODS, MAX_ROWS, CaseView, sweep_of
from superalign.report.views import Number

NOISE = "the gap between floor and ceiling is noise: its interval [-0.004, 0.043] holds zero"
VOID = {"meta"}


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


def test_methods_are_ranked_between_their_bounds_and_linked():
    text = page(two_settings())
    wide = text[text.index('id="case-wide-weak"') : text.index('id="case-natural-weak"')]
    order = [wide.index(f"<bdi>{name}</bdi>") for name in ("ceiling", "em", "regularised", "naive", "weak floor")]
    assert order == sorted(order)
    assert 'href="#e1"' in wide
    assert "+0.900" in wide
    assert "[+0.800, +1.000]" in wide


def test_the_front_names_the_best_and_the_most_robust_honest_method():
    made = (
        two_settings()
        .method("peeking", 0.99, kind="cheating")
        .method("peeking", 0.99, setting="natural", kind="cheating")
    )
    view = sweep_of(made.events)
    text = body_of(view)
    front = text[: text.index("</header>")]
    assert "<bdi>em</bdi>" in front
    assert "peeking" not in front
    assert robust(view.beside) == ("regularised", 0.7)
    assert "20 seeds were played" in front


def test_a_refusal_says_why_once_and_how_often():
    made = Ledger().bounds()
    for i in range(5):
        made.method(f"method {i}", None)
    text = page(made)
    assert text.count(NOISE) == 2, "once on the front, once in its setting"
    assert "(5 methods)" in text
    assert "no PGR can be quoted" in text
    assert "Every method, every setting" not in text, "nothing to draw"


def test_a_method_that_failed_stays_in_the_table_with_its_reason():
    made = Ledger().bounds().method("em", 0.5)
    made.add(
        None, "accuracy", note="nan loss at step 3", setting="wide", supervision="weak", method="lora", kind="labels"
    )
    text = page(made)
    assert "accuracy: nan loss at step 3" in text
    assert text.rindex("<bdi>lora</bdi>") > text.index("<bdi>weak floor</bdi>")


def test_settings_that_quote_nothing_are_not_drawn_beside_others():
    made = two_settings().bounds("distractor").method("em", None, setting="distractor")
    view = sweep_of(made.events)
    assert [case.setting for case in view.beside] == ["wide", "natural"]
    assert [case.setting for case in view.ordered] == ["wide", "natural", "distractor"]
    assert "PGR of every method: wide, natural" in body_of(view)


def test_other_supervisors_come_after_weak_models_and_say_who():
    made = Ledger().bounds().method("em", 0.4, supervision="debate").method("em", 0.9)
    text = page(made)
    assert text.index('id="case-wide-weak"') < text.index('id="case-wide-debate"')
    assert "supervisor: <bdi>debate</bdi>" in text


@pytest.mark.parametrize(
    ("value", "low", "high", "note", "shown"),
    [(25.0, None, 25.0, "< 25: below", "< 25"), (1600.0, 900.0, None, "> 1600: above", "> 1,600"),
     (200.0, 120.0, 380.0, "", "200"), (200.0, None, 380.0, "an end is open", "[…, 380]"),
     (None, None, None, "flat", "refused"), (200.0, 1.0, 2.0, "<b>", "200")],
)  # fmt: skip
def test_what_labels_are_worth(value, low, high, note, shown):
    number = Number(seq=3, name="", title="", value=value, low=low, high=high, note=note)
    text = re.sub(r"<[^>]*>", "", worth_of(number)).replace("&lt;", "<").replace("&gt;", ">")
    assert shown in text
    assert ("[" in text) == (bool(shown.startswith(("200", "["))))


def test_honest_and_cheating_choices_stand_side_by_side():
    made = Ledger().bounds().method("regularised, honest choice", 0.09)
    made.method("regularised, cheating choice", 0.84, kind="cheating")
    made.method("peeking", 0.9, kind="cheating")
    text = page(made)
    part = text[text.index("Honest and cheating choices") :]
    row = part[part.index("regularised, cheating choice") :]
    assert row.index("+0.090") < row.index("+0.840") < row.index("peeking")
    assert "cheating: sees the truth" in text


def test_what_is_bought_says_how_much():
    text = page(Ledger().bounds().method("50 labels", 0.9, kind="bought", truths="50"))
    assert "buys 50 true labels" in text
    for odd in ("-3", "²", "1e9", "many", "0", ""):
        assert "buys true labels" in page(Ledger().bounds().method("x", 0.9, kind="bought", truths=odd))


def test_errors_stand_above_their_baselines():
    made, tags = Ledger().bounds().method("em", 0.5), {"setting": "wide", "supervision": "weak", "method": "em"}
    for value, figure in ((0.585, "inherited"), (0.079, "inherited, ceiling"), (0.25, "new errors"), (0.4, "phi")):
        made.add(value, figure, **tags)
    made.add(None, "phi, independent", note="one seed: needs a second", **tags)
    text = page(made)
    part = text[text.index("Whose errors") :]
    assert part.index("0.585") < part.index("the ceiling ") < part.index("0.079")
    assert "phi, independent: one seed: needs a second" in text


def test_contrasts_show_the_primary_and_what_is_told():
    made = Ledger().bounds().method("em", 0.9).method("naive", 0.1)
    both = {"setting": "wide", "supervision": "weak"}
    made.add(
        0.24,
        "contrast",
        method="em",
        other="naive",
        verdict="better",
        family="primary",
        corrected="1e-9",
        same="1.0",
        **both,
    )
    made.add(0.01, "contrast", method="icm", other="naive", verdict="not told", family="exploratory", **both)
    made.add(
        0.0,
        "contrast",
        method="crc",
        other="naive",
        verdict="equivalent",
        family="exploratory",
        corrected="?",
        same="nan",
        **both,
    )
    text = page(made)
    assert "&lt; 0.0001" in text
    assert "= alike" in text
    assert "1 other is not told" in text
    assert "icm" not in text
    assert "nan" not in text


def test_sizes_are_drawn_and_stand_in_tables():
    made = Ledger()
    for weak, strong, value in (("family:xs", "s", 0.2), ("family:xs", "m", 0.3), ("s", "m", 0.1)):
        made.add(value, "scaling", low=value - 0.1, high=value + 0.1, weak=weak, strong=strong, method="naive")
        for name, right in (("naive", 0.8), ("weak floor", 0.7), ("ceiling", 0.9)):
            made.add(right, "scaling accuracy", weak=weak, strong=strong, method=name)
    made.add(None, "scaling", note=NOISE, weak="s", strong="m", method="em")
    text = page(made)
    assert "xs → s" in text
    assert "naive: 0.200, 0.300, 0.100" in text
    assert "Accuracy by pair of sizes" in text
    assert "refused" in text


def test_easy_to_hard_refuses_with_the_reason_and_truth_and_forms_have_tables():
    made = Ledger().add(0.97, "sgr", low=0.9, high=1.0, difficulty="by a small model", method="naive")
    made.add(None, "sgr", note=NOISE, difficulty="by construction", method="naive")
    for part, value in (("auroc truth", 0.9), ("auroc quirk", 0.3), ("gap recovered", 0.89), ("something else", 0.1)):
        made.add(value, "truth", condition="quirk on", probe="logistic", part=part)
    made.add(0.93, "consistency", form="both orders").add(
        None, "consistency", form="renamed", method="em", note="no pairs"
    )
    text = page(made)
    assert NOISE in text
    assert "A model's best guess at the truth" in text.replace("&#x27;", "'")
    part = text.partition("Controls</caption>")[2]
    places = [part.index(word) for word in ("AUROC, truth", "Gap recovered", "quirk on", "0.900", "something else")]
    assert places == sorted(places)
    assert "both orders" in text
    assert "no pairs" in text


def test_sources_and_seconds_have_a_line_a_method():
    made, tags = two_settings(), {"supervision": "weak", "method": "em", "kind": "labels", "source": "Dawid 1979"}
    made.add(1.25, "seconds", setting="natural", **tags)
    part = page(made).partition('id="sources"')[2]
    assert "Dawid 1979" in part
    assert "1.250" in part
    assert "weak floor" not in part


def test_the_latest_measurement_of_the_latest_sweep_counts():
    first, second = Ledger("one").method("em", 0.1), Ledger("two").method("icm", 0.2).method("icm", 0.3)
    events = [*first.events, *second.events]
    assert set(sweep_of(events).cases["wide", "weak"].methods) == {"icm"}
    assert sweep_of(events).cases["wide", "weak"].methods["icm"].value("pgr") == 0.3
    assert set(sweep_of(events, board="one").cases["wide", "weak"].methods) == {"em"}
    assert not sweep_of(events, board="three").cases


def test_an_empty_ledger_says_that_nothing_was_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    with Workspace.open(tmp_path / "ws", create=True) as ws:
        text = write_generalization(ws, tmp_path / "page.html").read_text()
    assert "Not measured." in text
    assert TOY in text
    Page(text)


def written(ledger, tmp_path):
    ws = SimpleNamespace(ledger=SimpleNamespace(events=lambda: ledger.events), store=None)
    return write_generalization(ws, tmp_path / "page.html").read_text()


def test_every_link_leads_somewhere_and_nothing_leaves_the_page(tmp_path):
    made = two_settings()
    made.add(0.97, "sgr", low=0.9, high=1.0, difficulty="d", method="naive")
    found = Page(written(made, tmp_path))
    assert all(link.startswith("#") for link in found.links)
    assert {link[1:] for link in found.links} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert "script" not in found.elements


FIGURES = ("pgr", "accuracy", "worth", "sgr", "scaling", "scaling accuracy", "truth", "seconds")
EVIL = '"><script>alert(1)</script><img src=x onerror=y>'


def test_a_strangers_names_break_nothing(tmp_path):
    made = two_settings()
    for setting in (EVIL, "wide"):
        made.method(EVIL, 0.5, setting=setting, supervision=EVIL, kind=EVIL, source=EVIL, truths=EVIL)
        made.method("weak floor", 0, setting=setting, supervision=EVIL)
        made.add(0.2, "contrast", setting=setting, supervision=EVIL, method=EVIL, other=EVIL, verdict=EVIL, family=EVIL)
        made.add(0.2, EVIL, setting=setting, supervision=EVIL, method=EVIL)
    for figure in ("sgr", "scaling", "scaling accuracy", "truth", "consistency"):
        made.add(
            None,
            figure,
            note=EVIL,
            **dict.fromkeys(("difficulty", "method", "weak", "strong", "condition", "probe", "part", "form"), EVIL),
        )
        made.add(
            0.5,
            figure,
            **dict.fromkeys(("difficulty", "method", "weak", "strong", "condition", "probe", "part", "form"), "\u202e"),
        )
    found = Page(written(made, tmp_path))
    assert not {"script", "img"} & found.elements
    assert len(found.ids) == len(set(found.ids))


@pytest.mark.parametrize(
    "body",
    [{"tags": None}, {"tags": []}, {"tags": {"stage": "generalize"}}, {"value": "NaN"}, {"value": float("nan")},
     {"value": 10**400}, {"value": True}, {"low": "x"}, {"high": float("inf")}, {"n": 10**9}, {"n": 10**400},
     {"n": "many"}, {"value": 1e300}, {"value": -1e300, "low": -1e308, "high": 1e308}, {"level": 0},
     {"tags": {"stage": "generalize", "board": "k", "figure": "pgr"}}],
)  # fmt: skip
@pytest.mark.parametrize("figure", FIGURES)
def test_a_strangers_numbers_break_nothing(body, figure):
    made = two_settings()
    made.add(0.5, figure, low=0.4, high=0.6, body=body, setting="wide", supervision="weak", method="em")
    made.add(0.5, figure, low=0.4, high=0.6, setting="natural", supervision="weak", method="naive")
    text = page(made)
    Page(text)
    assert not re.search(r'"[^"]*\b(nan|inf)\b[^"]*"', text), "no coordinate that is none"


def test_a_flood_is_cut_and_what_is_left_out_is_counted():
    made = Ledger().bounds()
    for i in range(MAX_METHODS + 50):
        made.method(f"m{i}", 0.5)
    for i in range(MAX_CASES + 5):
        made.method("em", 0.5, setting=f"s{i}")
    for i in range(MAX_ROWS + 7):
        made.add(0.5, "sgr", difficulty=f"d{i}", method="em")
        made.add(0.5, "consistency", form=f"f{i}")
        made.add(0.5, "truth", condition=f"c{i}", probe="p", part="auroc truth")
        made.add(0.5, "scaling", weak=f"w{i}", strong="m", method="em")
        made.add(0.5, "scaling", weak="w", strong="m", method=f"m{i}")
    view = sweep_of(made.events)
    assert len(view.cases["wide", "weak"].methods) == MAX_METHODS
    assert len(view.cases) == MAX_CASES
    assert max(map(len, (view.sgr, view.consistency, view.truth, view.scaling["em"]))) == MAX_ROWS
    assert "found no place on this page" in body_of(view)
    assert len(sweep_of(made.events[:4]).cases) == 1
    assert sweep_of(made.events[:4]).left_out == 0


def number(value, low=None, high=None):
    return Number(seq=1, name="", title="", value=value, low=low, high=high)


def coordinates(text):
    return [float(x) for x in re.findall(r' c[xy]="([^"]*)"', text)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)), min_size=1, max_size=8))
def test_every_dot_of_every_drawing_lies_inside(pairs):
    marks = [Mark(f"m{i}", "dot", (number(a, a - 1, a + 1), number(b))) for i, (a, b) in enumerate(pairs)]
    for text in (
        forest_plot(("wide", "natural"), marks, "t"),
        scatter_plot("wide", "natural", marks, "t"),
        scaling_plot(("a", "b"), marks, (), "t", "PGR"),
        scaling_plot(("a", "b"), marks, marks, "t", "accuracy"),
    ):
        wide, high = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', text).groups())
        assert all(0 <= x <= max(wide, high) for x in coordinates(text))
        assert "nan" not in text


def test_more_lies_further_right_and_beyond_is_written_at_the_edge():
    span = Span(-1.0, 1.0, 100.0, 300.0)
    assert [span.at(x) for x in (-5, -1, 0, 0.5, 9)] == [100, 100, 200, 250, 300]
    marks = [Mark("crc", "dot", (number(-1.9), number(0.5))), Mark("none", "dot", (number(None), None))]
    text = forest_plot(("a", "b"), marks, "t")
    assert "−1.900</text>" in text
    assert "refused</text>" in text
    assert ends_of([]) == (-0.1, 1.1)


def test_a_method_missing_in_one_setting_is_in_the_forest_and_not_in_the_scatter():
    made = two_settings().method("only wide", 0.5)
    marks = marks_of(sweep_of(made.events).beside)
    assert {mark.name for mark in marks} == {"naive", "regularised", "em", "only wide"}
    assert marks[0].name == "regularised", "the greatest worst PGR first"
    assert "only wide" in forest_plot(("wide", "natural"), marks, "t")
    assert "only wide" not in scatter_plot("wide", "natural", marks, "t")


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


def test_whether_the_quirk_was_carried_stands_apart_from_probes():
    text = page(quirky())
    carried = section(text, "Was the quirk carried?", "Do probes find the truth there?")
    found = rows_of(carried)
    assert [row.split(" 0.")[0].split(" truth:")[0].split(" Truth:")[0] for row in found if "asks" in row] == [
        f"{name} asks, {part}" for _ in range(2) for name in ("Alice", "Bob") for part in ("easy", "hard")
    ]
    assert found[0] == "Organism"
    assert found[5] == "Twin"
    bob = next(row for row in found[1:5] if "Bob asks, easy" in row)
    assert "0.500 [0.480, 0.520]" in bob
    assert bob.endswith("0.990 [0.970, 1.000]")
    assert "What should be seen" in carried
    assert "mean difference" not in carried
    assert "AUROC" not in carried


def test_probes_come_before_their_controls_and_a_coin_beside_the_gap():
    text = page(quirky())
    part = section(text, "Do probes find the truth there?", "</section>")
    names = ("Probes on the organism", "What a gap is measured between", ">Probes<", "Controls: the same",
             "Twin", "An untrained network", "Words alone", "Labels shuffled", "Who asks, erased",
             "another")  # fmt: skip
    places = [part.index(name) for name in names]
    assert places == sorted(places)
    assert part.index("Gap recovered</th>") < part.index("Above a coin</th>")
    mine = rows_of(section(part, ">Probes<", "Controls: the same probes"))
    probe = next(row for row in mine if row.startswith("mean difference"))
    assert re.search(r"0\.800 \[.*\] 0\.550 \[.*\] \+1\.150 \[.*\] \+0\.440 \[[^\]]*\]$", probe)
    coin = next(row for row in rows_of(part) if row.startswith("A coin"))
    assert coin == "A coin ½ ½ +0.713 [+0.693, +0.733] 0, by definition"
    assert "Of the organism's gap, a coin recovers" in part.replace("&#x27;", "'")


def test_a_probe_that_turns_bobs_label_round_is_counted_as_such():
    text = page(quirky())
    assert text.count("in 2 of 2, of which 1 go against Bob&#x27;s label.") == 7
    assert tally([]) == ""
    low = Line("p", {"auroc truth": number(0.6, 0.45, 0.7)}, {})
    assert tally([low]) == "AUROC for the truth lies above ½ by its interval in 0 of 1."
    assert tally([low, Line("q", {"auroc truth": number(None)}, {}), Line("r", {"auroc truth": number(0.9)}, {})]) == (
        "AUROC for the truth lies above ½ by its interval in 0 of 1."
    ), "what has no interval isn't told"


def test_without_a_number_above_a_coin_the_coins_own_gap_is_taken_off_and_no_interval_made_up():
    part = section(page(quirky(above=False)), "Do probes find the truth there?", "</section>")
    probe = next(row for row in rows_of(part) if row.startswith("mean difference"))
    assert probe.endswith("+1.150 [+1.130, +1.000] +0.437 less a coin&#x27;s +0.713, no interval")
    twin = rows_of(section(part, "<bdi>Twin</bdi>", "An untrained network"))
    assert next(row for row in twin if row.startswith("mean difference")).endswith("refused")
    assert beyond(number(0.9), number(0.4), number(0.7)).count("+0.400") == 1, "the ledger's own number first"
    for gap, coin in (
        (None, number(0.7)),
        (number(0.9), None),
        (number(None), number(0.7)),
        (number(0.9), number(None)),
    ):
        assert beyond(gap, None, coin) == ""
    none = page(quirky(coin=False, above=False))
    assert "less a coin" not in none
    assert "a coin recovers <" not in none
    assert "A coin" not in rows_of(none)


def test_refusals_and_doubts_of_intervals_are_said_once_with_how_often():
    made = quirky()
    made.add(
        0.5, "truth", condition="organism", probe="crc", part="auroc truth", low=0.4, high=0.6, note="1 seed: no noise"
    )
    part = section(page(made), "Do probes find the truth there?", "</section>")
    assert part.count(NOISE) == 1
    assert "gap recovered refused: " in part
    assert "(3 numbers)" in part
    assert "1 seed: no noise</bdi> (1 number)" in part
    many = "".join(
        notes(("x", Number(seq=1, name="", title="", value=1.0, note=f"n{i}")) for i in range(MAX_NOTES + 2))
    )
    assert "and 2 more notes, in the ledger" in many


@pytest.mark.parametrize(
    ("told", "there", "absent"),
    [
        ([("organism", "alice", "easy")], "Was the quirk carried?", "Do probes find"),
        ([("organism", "bob", "hard, as Bob has it")], "Bob asks, hard", "Alice asks"),
        ([("organism", "bob", "unknown")], "A model&#x27;s best guess", "Bob asks"),
        ([("organism", "naive", "auroc quirk")], ">Probes<", "What a gap is measured between"),
        ([("organism", "naive", "gap recovered")], ">Probes<", "Controls: the same probes"),
        ([("organism", "output", "alice")], "Its answers to Alice", ">Probes<"),
        ([("organism", "likelihood of texts", "auroc truth")], "Which text is likelier", "A coin</bdi>"),
        ([("text", "naive", "auroc truth")], "Controls: the same probes", "Probes on the organism"),
        ([("text", "naive", "layer 3")], "Words alone", "more, of single layers"),
        ([("", "", "")], "A model&#x27;s best guess", "Was the quirk carried?"),
    ],
)
def test_missing_parts_leave_no_empty_heads(told, there, absent):
    for value in (0.6, None):
        made = Ledger()
        for condition, probe, part in told:
            made.add(value, "truth", condition=condition, probe=probe, part=part, note="" if value else "no pairs")
        text = page(made)
        Page(text)
        assert there in text
        assert absent not in text


def test_what_else_was_measured_is_folded_and_the_rest_counted():
    made = quirky()
    for part in ("over text", "anomaly", "alice", "u1", "u2", "u3", "u4"):
        made.add(0.123, "truth", condition="organism", probe="ccs", part=part)
    fold = section(page(made), "<details><summary>Alice&#x27;s questions", "</details>")
    heads = [
        fold.partition("<thead>")[2].index(head) for head in ("AUROC, Alice", "Over words", "Anomaly", "u1", "u2", "u3")
    ]
    assert heads == sorted(heads)
    assert "u4" not in fold
    assert "15 numbers more" in fold


def test_a_share_of_nearly_nothing_is_a_zero_and_other_units_are_said():
    assert "0.000</b>" in stacked(number(4.7e-5, 0.0, 1.6e-4))
    assert "e-" not in re.sub(r"<[^>]*>", "", stacked(number(4.7e-5, 0.0, 1.6e-4)))
    assert "points" in stacked(Number(seq=1, name="", title="", value=3.0, unit="points"))
    assert stacked(None) == ""
    assert "refused" in stacked(number(None))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=2, max_size=2))
def test_two_numbers_on_one_axis_lie_inside_and_say_which_is_which(pair):
    first, second = (None if x is None else number(x, x - 1, x + 1) for x in pair)
    text = two_strip(first, second, AXIS, ("truth", "label"))
    assert all(0 <= x <= 320 for x in coordinates(text))
    assert ("truth: " in text) == (first is not None)
    assert ("label: " in text) == (second is not None)
    assert ("not measured" in text) == (first is None and second is None)
    assert "nan" not in text
    assert "refused" in two_strip(number(None), second and number(None), AXIS, ("truth", "label"))


def test_forms_are_rows_and_who_answers_whom_are_columns():
    made = Ledger()
    for who, swayed in (("organism", 0.58), ("twin", 0.97)):
        for place, other in (("alice", "bob"), ("bob", "alice")):
            method = f"{who}, {place} asks"
            made.add(0.99, "consistency", form="renamed", low=0.98, high=1.0, method=method)
            made.add(1.0, "consistency", form=place, method=method, note="every value is the same")
            made.add(swayed, "consistency", form=other, method=method)
    made.add(None, "consistency", form="by bot", method="organism, bob asks", note="no pairs")
    part = section(page(made), "The same question again", "</section>")
    heads = ("Organism, Alice asks", "Organism, Bob asks", "Twin, Alice asks", "Twin, Bob asks")
    assert re.findall(r'<th scope="col"><bdi>(.*?)</bdi>', part) == list(heads)
    rows = rows_of(part)
    assert rows[0].startswith("Identifiers renamed 0.990 [0.980, 1.000] 0.990")
    assert "Alice asks instead as asked 0.580 as asked 0.970" in rows
    assert "Bob asks instead 0.580 as asked 0.970 as asked" in rows
    assert "The author is bot refused" in rows
    assert "What should be seen" in part
    assert "the same answer refused: no pairs" in part


def test_forms_of_others_and_a_form_that_is_not_as_asked():
    made = (
        Ledger().add(0.93, "consistency", form="both orders").add(0.8, "consistency", form="both orders", method="em")
    )
    made.add(0.9, "consistency", form="bob", method="organism, bob asks")
    for i in range(4):
        made.add(0.7, "consistency", form="swapped", method=f"m{i}")
    part = section(page(made), "The same question again", "</section>")
    assert rows_of(part)[0] == "both orders 0.930 0.800"
    assert "The same answer</bdi></th>" in part
    assert "as asked" not in part, "a share of .9 is shown as it is"
    assert part.count("<caption>The same answer, by form</caption>") == 2, "no more than four columns in one table"
    assert [m in part for m in ("m0", "m3")] == [True, True]


def few_seeds():
    made = Ledger().bounds().method("em", 0.5).method("naive", 0.1)
    made.method("LoRA", 0.9, seeds="2").method("50 alone", 0.4, kind="bought", truths="50", seeds="1")
    both = {"setting": "wide", "supervision": "weak", "family": "primary", "verdict": "better"}
    return made.add(0.2, "contrast", method="LoRA", other="naive", **both)


def test_fewer_seeds_stand_beside_the_name_everywhere():
    made = few_seeds()
    for figure in ("inherited", "auc", "untrained"):
        made.add(0.5, figure, setting="wide", supervision="weak", method="LoRA", seeds="2")
    view = sweep_of(made.events)
    text = body_of(view)
    assert view.cases["wide", "weak"].seeds == 20
    assert view.cases["wide", "weak"].fewer("em") == ""
    front = section(text, "<header", "</header>")
    assert "<bdi>LoRA</bdi> (2 seeds)" in front
    assert "20 seeds were played, of some methods or settings fewer" in front
    wide = section(text, 'id="case-wide-weak"', "</section>")
    assert wide.count('<bdi>LoRA</bdi><span class="facts">2 seeds</span>') == 3, "ranking, intervals, errors"
    assert "buys 50 true labels · 1 seed<" in wide
    assert "<bdi>LoRA</bdi> (2 seeds) − <bdi>naive</bdi>" in wide
    assert "Played in another number of seeds: LoRA: 2 seeds; 50 alone: 1 seed." in section(
        text, "<figcaption", "</fig"
    )
    assert "20 seeds<" not in wide


@pytest.mark.parametrize("odd", ["", "0", "-2", "²", "1e9", "many", "9" * 40, "2.0"])
def test_seeds_that_are_no_number_say_nothing(odd):
    view = sweep_of(Ledger().bounds().method("em", 0.5).method("naive", 0.2, seeds=odd).events)
    assert view.cases["wide", "weak"].fewer("naive") == ""
    assert "of some methods" not in body_of(view)


def test_of_two_numbers_of_seeds_that_are_as_common_the_greater_is_usual():
    made = Ledger().method("em", 0.5, seeds="2").method("naive", 0.2)
    case = sweep_of(made.events).cases["wide", "weak"]
    assert (case.seeds, case.fewer("em"), case.fewer("naive"), case.fewer("none")) == (20, "2 seeds", "", "")


PROTOCOLS = ("debate", "debate without rebuttal", "debate without rebuttal, adapted judge", "critique of 3", "noisy .3")


def overseen():
    made = two_settings()
    for i, name in enumerate(PROTOCOLS):
        tags = {"setting": "natural", "supervision": name, "seeds": "5"}
        made.method("weak floor", 0, **tags).method("ceiling", 1, **tags)
        for j, method in enumerate(("naive", "regularised", "em")):
            made.method(method, None if name == "critique of 3" else 0.3 + 0.1 * i + 0.05 * j, **tags)
            made.add(10.0 * i + j, "seconds", method=method, **tags)
        made.method("zero-shot", 0.99, kind="control", **tags)
    return made.method("only here", 0.97, setting="natural")


def test_many_supervisors_stand_side_by_side_and_the_front_stays_short(tmp_path):
    text = written(overseen(), tmp_path)
    found = Page(text)
    front = section(text, "<header", "</header>")
    assert front.count("<li>") == 4, "wide, natural, the most robust, and where the others are"
    assert "5 cases with other supervisors: " in front
    assert "debate" not in front
    side = section(text, 'id="supervisors"', "</section>")
    assert [row.split(" natural ")[0] for row in rows_of(side)] == ["weak", *PROTOCOLS]
    debate = rows_of(side)[1]
    assert debate.startswith("debate natural 0.600 0.690 [0.500, 0.990] 0.900 em 0.720")
    assert debate.endswith("+0.400 [+0.300, +0.500]")
    assert "only here" not in side, "the best of as many methods, whoever supervises"
    assert "the 3 played" in side
    assert rows_of(side)[4].endswith("refused")
    assert len(found.ids) == len(set(found.ids)), "names that begin alike have sections of their own"
    assert {link[1:] for link in found.links} <= set(found.ids)


def test_a_case_of_another_supervisor_says_whose_labels_and_how_many_seeds():
    text = page(overseen())
    case = text[text.index("Natural</bdi>, supervisor: <bdi>debate</bdi></h2>") :].partition("</section>")[0]
    assert "Labels and floor are those of <bdi>debate</bdi>; all else is as in natural." in case
    assert "5 seeds here." in case
    assert "what size alone makes" not in case
    weak = section(text, 'id="case-natural-weak"', "</section>")
    assert "what size alone makes" in weak
    assert "seeds here" not in weak


def test_one_supervisor_needs_no_table_of_supervisors():
    assert "Supervisors side by side" not in page(two_settings())
    alone = page(Ledger().method("em", 0.5, supervision="debate").method("naive", 0.1, supervision="debate"))
    assert "Supervisors side by side" not in alone
    assert "supervisor: <bdi>debate</bdi>" in section(alone, "<header", "</header>")


def test_supervisors_that_share_no_method_or_have_no_pgr():
    made = Ledger().method("em", 0.5).method("naive", 0.3, supervision="debate")
    made.add(0.8, "accuracy", setting="wide", supervision="odd", method="x", kind="labels")
    side = section(page(made), 'id="supervisors"', "</section>")
    assert "the 0 played" in side
    assert len(rows_of(side)) == 3


def test_anchors_tell_alike_names_apart():
    pairs = [(s, v) for s in ("wide", "natural", "natural-", "") for v in (*PROTOCOLS, "noisy -3", "weak", "", EVIL)]
    made = [anchor(CaseView(*pair)) for pair in pairs]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[a-zA-Z0-9-]+", name) for name in made)
    assert anchor(CaseView("wide", "weak")) == "case-wide-weak"


def test_seconds_of_many_settings_share_a_column():
    part = section(page(overseen()), 'id="sources"', "</section>")
    assert "Seconds, least to most" in part
    assert "0.000 to 40.000" in part
    few = section(
        page(two_settings().add(2.0, "seconds", setting="wide", supervision="weak", method="em")), 'id="sources"'
    )
    assert "Seconds, wide" in few
    assert "least to most" not in few


def test_accuracies_on_hard_questions_lie_below_their_sgr():
    made = Ledger().add(0.9, "sgr", low=0.8, high=1.0, difficulty="loss", method="easy")
    for way in ("loss", "human"):
        for arm, value in (("easy", 0.87), ("hard", 0.88), ("chance", None)):
            made.add(value, "hard accuracy", difficulty=way, arm=arm, note="" if value else "no pairs")
    view = sweep_of(made.events)
    assert (len(view.hard), view.left_out, len(view.cases)) == (6, 0, 0)
    part = section(body_of(view), "Accuracy on hard questions", "</section>")
    assert rows_of(part) == ["easy 0.870 0.870", "hard 0.880 0.880", "chance refused refused"]


def test_long_names_of_strangers_are_clipped_in_every_new_place(tmp_path):
    long = EVIL + "y" * 5000
    made = quirky()
    for who, probe, part in ((long, "p", "auroc truth"), ("organism", long, "auroc truth"), ("organism", "p", long),
                             (long, "alice", "easy")):  # fmt: skip
        made.add(0.6, "truth", condition=who, probe=probe, part=part)
        made.add(None, "truth", condition=who, probe=f"{probe}2", part=part, note=long)
    for form, method in ((long, "em"), (f"by {long}", "em"), ("bob", f"{long}, {long} asks")):
        made.add(0.5, "consistency", form=form, method=method)
    made.add(0.5, "hard accuracy", difficulty=long, arm=long).add(0.5, "sgr", difficulty="d", method="m")
    made.bounds().method("em", 0.5).method("naive", 0.5, setting="natural", supervision=long)
    made.method(long, 0.6, setting="natural", supervision=long, seeds="2")
    body = page(made)
    assert "yyyy" in body
    assert "y" * 300 not in body
    found = Page(written(made, tmp_path))
    assert not {"script", "img"} & found.elements
    assert len(found.ids) == len(set(found.ids))
