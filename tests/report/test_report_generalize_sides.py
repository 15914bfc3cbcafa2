"""The page of a sweep: fewer seeds, many supervisors side by side, anchors, and long names of strangers."""

import importlib.util
import re
from pathlib import Path

import pytest

from superalign.report.generalize_page import body_of
from superalign.report.generalize_sides import anchor
from superalign.report.generalize_view import CaseView, sweep_of

SPEC = importlib.util.spec_from_file_location("sweep_pages", Path(__file__).with_name("sweep_pages.py"))
shared = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(shared)
EVIL = shared.EVIL
Page = shared.Page
Ledger = shared.Ledger
page = shared.page
two_settings = shared.two_settings
written = shared.written
number = shared.number
rows_of = shared.rows_of
section = shared.section
quirky = shared.quirky


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
