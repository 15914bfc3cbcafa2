"""A leaderboard as an Inspect log: its means are those of the ledger, and it can be read."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("inspect_ai")
from inspect_ai.log import read_eval_log

from superalign.evidence import Workspace
from superalign.inspecting.exporting import NothingToExport, export_board


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tiny leaderboard, played natively."""
    from superalign.pipeline import board as room
    from superalign.pipeline.board_config import BoardSizes, OversightConfig

    folder = tmp_path_factory.mktemp("board")
    sizes = BoardSizes(items=12, lesson=20, games=8, judge_steps=2, adviser_steps=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setattr(room, "board_sizes", lambda preset: sizes)
        config = OversightConfig(
            workspace=folder / "ws", preset="quick", tasks=("traces",), protocols=("debate",), advisers="family:xs"
        )
        room.play_board(config)
        yield folder / "ws"


def test_a_board_goes_out_as_a_log_whose_means_are_those_of_the_ledger(board: Path, tmp_path: Path) -> None:
    with Workspace.open(board, create=False, write=False) as ws:
        made = export_board(ws, tmp_path / "out" / "board.eval", protocols=("debate", "unaided"))
        measured = {e.body["name"]: e.body["value"] for e in ws.ledger.events("measurement")}
        with pytest.raises(NothingToExport, match="consultancy"):
            export_board(ws, tmp_path / "x.eval", protocols=("consultancy",))
        with pytest.raises(NothingToExport, match="ends in"):
            export_board(ws, tmp_path / "x.zip")
    log = read_eval_log(str(made.path))
    assert made.samples == len(log.samples) == 12 * 2 + 12
    assert log.status == "success"
    means = {score.name: score.metrics["mean"].value for score in log.results.scores}
    for name in ("debate", "unaided"):
        assert means[f"traces: {name}, accuracy"] == pytest.approx(measured[f"board.traces.{name}.accuracy"])
    sample = next(s for s in log.samples if s.metadata["protocol"] == "debate")
    assert any(m.text.startswith("[a, for ") and "quotes" in m.text for m in sample.messages)
    assert log.eval.metadata["exported"]["board"]
    assert {"traces: debate, seed 0", "traces: unaided, seed 0"} == set(log.eval.metadata["exported"]["subjects"])
    assert json.dumps(log.eval.metadata)
    assert all(math.isfinite(value) for value in means.values())


def test_the_command_line_exports(board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tyro

    from superalign.cli import inspect as verb

    words = ["export", "--workspace", str(board), "--out", str(tmp_path / "b.eval"), "--json"]
    tyro.extras.subcommand_cli_from_dict({"inspect": verb.main, "x": verb.main}, args=["inspect", *words])
    assert json.loads(capsys.readouterr().out)["samples"] > 0


def test_without_inspect_the_verb_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from superalign.cli import inspect as verb

    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    with pytest.raises(SystemExit, match=r"pip install 'superalign\[inspect\]'"):
        verb.main(verb.ImportConfig(log=tmp_path / "x.eval", workspace=tmp_path / "ws"))
    assert not (tmp_path / "ws").exists()
