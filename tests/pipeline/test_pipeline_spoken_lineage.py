"""Where players in words come from, and what goes to them: lineage, lessons, keys, and no address of a ledger's."""

import dataclasses
import shutil

import pytest

from superalign.evidence import Workspace, verify
from superalign.models.load import family_path
from superalign.pipeline import board as board_module
from superalign.pipeline import spoken as spoken_module
from superalign.pipeline.board import play_board
from superalign.pipeline.board_config import BoardSizes, OversightConfig
from superalign.pipeline.recount import recount
from superalign.pipeline.rerun import rerun

from .own_rows import preferred, written
from .spoken_talker import Talker, faulty

SIZES = BoardSizes(items=12, lesson=20, games=6, judge_steps=2, adviser_steps=2)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    monkeypatch.setattr(board_module, "board_sizes", lambda preset: SIZES)


def config(folder, **changes):
    return OversightConfig(workspace=folder / "ws", **{"preset": "quick", "tasks": ("traces",)} | changes)


class Here(Talker):
    """A talker that counts as a model of this machine: its identity has a digest of weights."""

    identity = "here@" + "ab" * 32


def test_what_is_held_out_later_is_screened_out_of_no_earlier_lesson(tmp_path):
    rows = [preferred(i) for i in range(40)]
    turned = {"train": "validation", "validation": "train"}
    files = [
        written(tmp_path / "first.jsonl", rows),
        written(tmp_path / "second.jsonl", [row | {"split": turned.get(row["split"], "dev")} for row in rows]),
    ]
    with faulty.running(Talker()) as server:
        at = faulty.at(server)
        for file in files:  # the second one judges what the first one learned from
            own = config(tmp_path, judge=at, advisers=at, tasks=(f"data:{file}",), protocols=("consultancy",), temper=4)
            play_board(own)
            assert recount(own.workspace).findings == ()


@pytest.mark.parametrize("scheme", ["hf", "family"])
def test_no_stand_in_is_loaded_from_where_a_ledger_says(scheme, tmp_path, monkeypatch):
    monkeypatch.setattr(spoken_module, "speaker_at", lambda address, terms: Here())
    shutil.copytree(family_path("xs"), tmp_path / "mine")
    changes = {"judge": "words:family:xs", "advisers": "family:s", "stand_in": f"{scheme}:{tmp_path / 'mine'}"}
    own = config(tmp_path, protocols=("critique",), **changes)
    play_board(own)
    assert recount(own.workspace).findings == ()
    (finding,) = rerun(own.workspace).findings
    assert f"'{scheme}:" in finding.what
    assert "is an address that no ledger can give" in finding.what


def test_a_model_that_was_fitted_here_and_is_served_is_declared_no_base(tmp_path, monkeypatch):
    monkeypatch.setattr(spoken_module, "speaker_at", lambda address, terms: Here())
    own = config(tmp_path, judge="family:xs", advisers="words:family:xs", protocols=("critique",))
    with Workspace.open(own.workspace, create=True) as ws:
        data = ws.store.put_json(["rows"])
        ws.contains(data, families=[("construction", "slips", "train")])
        ws.node(kind="model", digest="ab" * 32, name="fitted here")
        ws.use(data, "ab" * 32, "fit")
    play_board(own)
    with Workspace.open(own.workspace, create=False, write=False) as ws:
        assert "ab" * 32 not in ws.state.graph.bases
    assert verify(own.workspace).ok


@pytest.mark.parametrize(
    ("judge", "advisers", "key"),
    [
        ("https://there.org/v1#m", "https://there.org/v1#n", "JUDGE"),
        ("https://there.org/v1#m", "https://elsewhere.org/v1#n", ""),
        ("https://there.org/v1#m", "http://there.org/v1#n", ""),
        ("inspect:openai/a", "inspect:openai/b", "JUDGE"),
        ("inspect:openai/a", "inspect:anthropic/b", ""),
        ("family:xs", "https://there.org/v1#n", "JUDGE"),
        ("words:hf:weak", "https://there.org/v1#n", "JUDGE"),
        ("person", "http://[broken/v1#n", "JUDGE"),
    ],
)
def test_a_key_goes_to_the_place_that_it_was_given_for(judge, advisers, key):
    own = OversightConfig(judge=judge, advisers=advisers, key_from="JUDGE")
    assert spoken_module._terms(own, spoken_module.ADVISERS).key_from == key
    assert spoken_module._terms(own, spoken_module.JUDGE).key_from == "JUDGE"
    own = dataclasses.replace(own, adviser_key_from="ADVISERS")
    assert spoken_module._terms(own, spoken_module.ADVISERS).key_from == "ADVISERS"
