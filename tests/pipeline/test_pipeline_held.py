"""Hold-outs in the pipeline: admitted before they measure, and test asked once."""

from contextlib import suppress
from types import SimpleNamespace

import pytest

from superalign.evidence import Workspace
from superalign.pipeline.config import Sizes
from superalign.pipeline.desk import Desk
from superalign.pipeline.held import CONTROLS, ask_once

TEST = "construction/slips/test"


@pytest.fixture
def ws(finished):
    config, _, _ = finished
    with Workspace.open(config.workspace, create=False, write=False) as opened:
        yield opened


def measured(ws, name):
    return [event for event in ws.ledger.events("measurement") if event.body["name"].startswith(name)]


def test_three_models_that_know_nothing_score_nothing(ws):
    controls = measured(ws, "control.")
    assert {event.body["name"].split(".")[1] for event in controls} == set(CONTROLS)
    assert len(controls) == 4 * len(CONTROLS)
    assert all(event.body["low"] <= 0.5 for event in controls)
    assert all(event.body["value"] == 0.5 for event in controls if ".null." in event.body["name"])


def test_what_is_too_small_to_show_anything_is_not_admitted_and_says_so(ws):
    families = {ws.state.signals[event.body["signal"]].family for event in ws.ledger.events("admission")}
    assert families == {"construction/slips/validation", TEST}
    notes = [event.body["text"] for event in ws.ledger.events("note")]
    assert sum("is not admitted" in text for text in notes) == 2


def test_controls_come_before_any_number_of_the_subject(ws):
    first = min(event.seq for event in ws.ledger.events("admission"))
    others = [e for e in ws.ledger.events("measurement") if not e.body["name"].startswith("control.")]
    assert first < min(event.seq for event in others)


def test_test_says_one_number_for_the_sealed_plan(ws):
    (budget,) = ws.ledger.events("budget")
    (query,) = ws.ledger.events("query")
    (number,) = measured(ws, "accuracy.test")
    assert (budget.body["family"], budget.body["allowed"]) == (TEST, 1)
    assert query.body["plan"] == ws.ledger.events("plan")[0].digest
    assert number.body["value"] == query.body["released"]
    assert (number.body["role"], query.body["left"]) == ("test", 0)


class BackError(Exception):
    """Takes what a test wrote back."""


def test_another_run_in_the_same_workspace_gets_no_second_number(finished, monkeypatch):
    config, _, _ = finished
    monkeypatch.setenv("SUPERALIGN_KEYS", str(config.workspace.parent / "keys"))
    subject = SimpleNamespace(identity=f"another@{'0' * 64}", threshold=0.0)
    with Workspace.open(config.workspace, create=False) as ws:
        desk, before = Desk(ws=ws, config=config, sizes=Sizes(), say=lambda text: None), len(ws.ledger)
        with suppress(BackError), ws.ledger.transaction():
            ask_once(desk, {}, subject)
            new = ws.ledger.events()[before:]
            assert [event.type for event in new] == ["note", "stage"]
            assert "is burned" in new[0].body["text"]
            raise BackError
        assert len(ws.ledger) == before
