"""`superalign oversight`: a table for people, JSON for programs, a page; what is wrong is said in one sentence."""

import json

import pytest

from superalign.cli import main
from superalign.pipeline import board
from superalign.pipeline.board_config import BoardSizes


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
