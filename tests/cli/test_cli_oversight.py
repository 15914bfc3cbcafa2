"""`superalign oversight`: a table for people, JSON for programs, a page; what is wrong is said in one sentence."""

import importlib.util
import json
from pathlib import Path

import pytest

from superalign.cli import main
from superalign.pipeline import board
from superalign.pipeline.board_config import BoardSizes

SPEC = importlib.util.spec_from_file_location(
    "spoken_talker", Path(__file__).parent.parent / "pipeline" / "spoken_talker.py"
)
talker = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(talker)


@pytest.fixture
def board_of(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    monkeypatch.setattr(
        board, "board_sizes", lambda preset: BoardSizes(items=12, lesson=20, games=8, judge_steps=2, adviser_steps=2)
    )

    def called(*arguments):
        main(
            [
                "oversight",
                "--workspace",
                str(tmp_path / "ws"),
                "--tasks",
                "traces",
                "--advisers",
                "family:s",
                *arguments,
            ]
        )
        return capsys.readouterr()

    return called


def test_json_and_then_a_table_of_the_same_board(board_of, tmp_path):
    answer = json.loads(board_of("--protocols", "debate", "--json").out)
    names = {row["tags"]["protocol"] for row in answer["measurements"]}
    assert names == {"unaided", "deference", "ensemble", "debate", "unaided, adapted judge", "debate, adapted judge"}
    assert (tmp_path / "ws" / "oversight.html").stat().st_size > 10_000
    told = board_of("--protocols", "debate")
    assert "debate, adapted" in told.out
    assert "check it: superalign verify --level 2" in told.out
    assert "debate" not in told.err, "nothing is played again"


def test_an_unknown_protocol_is_one_sentence(board_of):
    with pytest.raises(SystemExit, match="superalign: there is no protocol 'debat': use any of"):
        board_of("--protocols", "debat")


@pytest.fixture
def server():
    """A real server on this machine, in a thread, of a speaker that answers by a rule."""
    with talker.faulty.running(talker.Talker(refuses=0.1)) as running:
        yield running


def test_json_of_a_board_that_a_server_judges_and_advises(board_of, server, tmp_path):
    at = talker.faulty.at(server)
    asked = board_of("--protocols", "debate", "--judge", at, "--advisers", at, "--price", "100", "400", "--json")
    answer = json.loads(asked.out)
    assert answer["spoken"]["who"]["judge"] == {"address": at, "identity": at, "form": "openai", "unseen": True}
    assert {prompt["name"] for prompt in answer["spoken"]["prompts"].values()} == {"judge", "debater", "helpful"}
    rows = {row["name"]: row for row in answer["measurements"]}
    accuracy = rows["board.traces.debate.accuracy"]
    assert accuracy["subject"].startswith("judge of traces, debate, weights unseen@")
    assert accuracy["tags"]["replies"]["judge"]["read"] > 0
    assert sum(accuracy["tags"]["failures"].values()) == sum(
        count for seat in ("a", "b") for kind, count in accuracy["tags"]["replies"][seat].items() if kind != "read"
    )
    assert rows["board.traces.debate.usd per correct"]["value"] > 0
    assert "before the first request: what is left to ask, at most" in asked.err
    assert "an upper bound: every answer at its limit of tokens" in asked.err
    whole = sum(server.completed.values())
    told = board_of("--protocols", "debate", "--judge", at, "--advisers", at)
    assert sum(server.completed.values()) == whole, "prices are no part of what was played"
    for said in ("usd per correct", "refused: a", f"judge: {at}, weights unseen", "prompt debater: debater, version 1"):
        assert said in told.out
    page = (tmp_path / "ws" / "oversight.html").read_text()
    for said in (
        "Asked in words",
        "unseen: known by its address alone",
        "by log-probability of the verdict",
        "refused ",
    ):
        assert said in page


def test_a_dry_run_sends_nothing_and_writes_nothing(board_of, server, tmp_path):
    at = talker.faulty.at(server)
    usual = ("--judge", at, "--advisers", at, "--price", "1", "4", "--dry-run")
    found = json.loads(board_of("--protocols", "debate", *usual, "--limit", "0.2", "--json").out)
    assert found["dry_run"] is True
    assert {cell["cell"] for cell in found["cells"]} >= {"traces: unaided", "traces: debate"}
    assert found["calls"] == sum(cell["calls"] for cell in found["cells"]) > 100
    assert found["usd"] == pytest.approx((found["read"] + 4 * found["written"]) / 1e6)
    assert found["over"], "the limit could be reached"
    told = board_of("--protocols", "debate", *usual)
    assert "in all" in told.out
    assert not server.received
    assert not (tmp_path / "ws").exists()
    with pytest.raises(SystemExit, match="neither family:xs nor family:s is asked in words"):
        board_of("--dry-run")


def test_what_is_left_out_is_said_with_its_reason(board_of, server):
    at = talker.faulty.at(server)
    with pytest.raises(SystemExit, match="superalign: market making: it trains its players by hundreds of plays"):
        board_of("--protocols", "market making", "--judge", at)
