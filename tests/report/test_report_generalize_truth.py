"""The page of a sweep: whether a quirk was carried, what probes find there, and the same question in other forms."""

import importlib.util
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.report.generalize_figures import (
    two_strip,
)
from superalign.report.generalize_truth import AXIS, MAX_NOTES, Line, beyond, notes, stacked, tally
from superalign.report.views import Number

SPEC = importlib.util.spec_from_file_location("sweep_pages", Path(__file__).with_name("sweep_pages.py"))
shared = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(shared)
NOISE = shared.NOISE
Page = shared.Page
Ledger = shared.Ledger
page = shared.page
number = shared.number
coordinates = shared.coordinates
rows_of = shared.rows_of
section = shared.section
quirky = shared.quirky


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
