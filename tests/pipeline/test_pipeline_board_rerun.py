"""V3 of leaderboards: the same players play the same episodes again, and other players do not."""

import dataclasses
import shutil

import pytest

from superalign.models import family_path
from superalign.pipeline import board as board_module
from superalign.pipeline import board_rerun, board_seats
from superalign.pipeline.board import play_board
from superalign.pipeline.board_config import BoardSizes, OversightConfig
from superalign.pipeline.board_rerun import compared
from superalign.pipeline.rerun import rerun

TINY = BoardSizes(items=12, lesson=20, games=8, judge_steps=2, adviser_steps=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rerun")


@pytest.fixture(scope="module")
def played(folder):
    """A board on calculations and pictures, with a curve."""
    own = OversightConfig(
        workspace=folder / "ws",
        preset="quick",
        tasks=("traces", "pixels"),
        protocols=("debate", "prover-estimator"),
        advisers="family:s",
        curve=(2,),
    )
    train = board_seats.train_pixel_judge
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setattr(board_module, "board_sizes", lambda preset: TINY)
        patch.setattr(board_seats, "train_pixel_judge", lambda **options: train(**options, steps=5))
        play_board(own)
    return own


def test_the_same_players_play_the_same(played):
    before = sorted(path.stat().st_mtime_ns for path in played.workspace.rglob("*"))
    said = []
    again = rerun(played.workspace, say=said.append)
    assert again.findings == ()
    assert again.asked == len(said) >= 19
    assert again.largest <= board_rerun.TOLERANCE
    assert any(", budget 2, seed 0" in stage for stage in said)
    assert sorted(path.stat().st_mtime_ns for path in played.workspace.rglob("*")) == before, "nothing is written"


def test_other_players_play_otherwise(played, monkeypatch):
    seated = board_rerun.seated

    def others(*args):
        players = seated(*args)
        return (
            players | {"judge": dataclasses.replace(players["judge"], weights=(-3.0, 1.0))}
            if _reads(players)
            else players
        )

    def _reads(players):
        return hasattr(players["judge"], "remembered")

    monkeypatch.setattr(board_rerun, "seated", others)
    findings = rerun(played.workspace).findings
    assert any("traces: unaided, seed 0" in finding.what and "are otherwise" in finding.what for finding in findings)
    assert not any("pixels" in finding.what for finding in findings)


@pytest.mark.parametrize("judge", ["person", "hf"])
def test_who_cannot_be_asked_again_is_said(folder, judge, monkeypatch):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
    monkeypatch.setattr(board_module, "board_sizes", lambda preset: TINY)
    monkeypatch.setattr(board_seats.PersonJudge, "beliefs", lambda self, views: [[0.5, 0.5]] * len(views))
    if judge == "hf":
        shutil.copytree(family_path("xs"), folder / "mine")
    address = "person" if judge == "person" else f"hf:{folder / 'mine'}"
    own = OversightConfig(
        workspace=folder / judge, preset="quick", tasks=("traces",), protocols=("debate",), judge=address
    )
    play_board(own)
    (finding,) = rerun(own.workspace).findings
    assert "can't be done again" in finding.what
    assert ("a person judged" if judge == "person" else "an address that no ledger can give") in finding.what


def _play(item, belief, sides=()):
    return {"item": item, "sides": list(sides), "belief": belief}


def test_what_ends_otherwise_is_counted():
    stored = [_play("a", [0.5, 0.5]), _play("b", [0.9, 0.1], (0, 1)), _play("c", None), _play("d", [1.0, 0.0])]
    again = [_play("a", [0.5004, 0.4996]), _play("b", [0.1, 0.9], (0, 1)), _play("c", None), _play("d", None)]
    unlike, largest = compared(stored, again)
    assert (unlike, pytest.approx(largest)) == (2, 0.0004)
    assert compared(stored, again[:1])[0] == 3
    assert compared(stored[:1], again)[0] == 3
