"""Before and after side by side, and every attempt counted."""

import re

import pytest

from superalign.report.compile import compile_dossier
from superalign.report.html import together
from superalign.report.tried import before_after, tried_section


@pytest.fixture(scope="module")
def view(fixture):
    events, objects = fixture.ledger()
    return compile_dossier(events, objects.get_json)


def test_before_after_and_their_difference_stand_in_one_row(view):
    page = str(together(*before_after(view.tables["validate.change"])))
    rows = re.findall(r"<tr[^>]*>.*?</tr>", page, re.S)
    mine = next(row for row in rows if "operator" in row)
    assert [part in mine for part in ("0.71", "0.84", "+0.13")] == [True, True, True]
    assert len(rows) == 3


def test_nothing_measured_is_said(view):
    assert "no before and after" in str(together(*before_after(())))


def test_failures_are_counted_among_what_was_tried(view):
    page = re.sub(r"<[^>]+>", " ", str(tried_section(view)))
    assert "Organisms planted" in page
    assert re.search(r"Honest twins asked\s+\d+", page)
    assert re.search(r"1 refused, each with its reason", page)
    assert "Ways to learn from weak labels" in page
