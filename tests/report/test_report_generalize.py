"""The page of a sweep: from a ledger alone, refusals with reasons, every number linked, a stranger's text harmless."""

import importlib.util
import re
from pathlib import Path

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
)
from superalign.report.generalize_page import body_of, marks_of, robust, write_generalization
from superalign.report.generalize_tables import worth_of
from superalign.report.generalize_view import MAX_CASES, MAX_METHODS, MAX_ROWS, sweep_of
from superalign.report.views import Number

SPEC = importlib.util.spec_from_file_location("sweep_pages", Path(__file__).with_name("sweep_pages.py"))
shared = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(shared)
NOISE = shared.NOISE
EVIL = shared.EVIL
Page = shared.Page
Ledger = shared.Ledger
page = shared.page
two_settings = shared.two_settings
written = shared.written
number = shared.number
coordinates = shared.coordinates


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


def test_every_link_leads_somewhere_and_nothing_leaves_the_page(tmp_path):
    made = two_settings()
    made.add(0.97, "sgr", low=0.9, high=1.0, difficulty="d", method="naive")
    found = Page(written(made, tmp_path))
    assert all(link.startswith("#") for link in found.links)
    assert {link[1:] for link in found.links} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert "script" not in found.elements


FIGURES = ("pgr", "accuracy", "worth", "sgr", "scaling", "scaling accuracy", "truth", "seconds")


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
