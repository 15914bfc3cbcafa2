"""Hold-outs on the page: what each can show, its budget, and what was asked."""

from dataclasses import replace

from superalign.report.compile import compile_dossier
from superalign.report.holdouts import holdouts_of, holdouts_part
from superalign.report.page import render


def test_one_line_a_family(fixture):
    events, objects = fixture.ledger()
    (line,) = compile_dossier(events, objects.get_json).holdouts
    assert (line.family, line.shown) == ("construction/slips/validation", "0.097 of 0.500 (n 400)")
    assert (line.budget, line.asked) == ("thresholdout, 3 charged at most", "2, 1 charged")
    assert {events[seq].type for seq in line.seqs} == {"admission", "budget", "query"}
    page = render(compile_dossier(events, objects.get_json))
    assert "thresholdout, 3 charged at most" in page
    assert "Models that know nothing" in page


def test_what_was_never_admitted_says_so(fixture):
    events, _ = fixture.ledger()
    (line,) = holdouts_of(event for event in events if event.type != "admission")
    assert line.shown == ""
    assert "not admitted" in "".join(map(str, holdouts_part([line])))
    assert "no hold-out was admitted" in "".join(map(str, holdouts_part([])))


def test_a_stranger_s_numbers_are_not_believed(fixture):
    events, _ = fixture.ledger()
    odd = {"mde": "nan", "n": "<b>"}
    bad = [replace(e, body={**e.body, **odd}) if e.type == "admission" else e for e in events]
    assert [line.shown for line in holdouts_of(bad)] == [""]
