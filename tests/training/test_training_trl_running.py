"""What a run of TRL writes as it goes: logs and rows with any text in them, states whose removal was broken off."""

from __future__ import annotations

from pathlib import Path

import pytest

from superalign.training.trl.errors import FinetuneError
from superalign.training.trl.rows import read_rows
from superalign.training.trl.running import Place, place_of

from .test_training_trl_fitting import Killed


def test_what_is_said_may_hold_any_line_end(tmp_path: Path) -> None:
    """JSON leaves U+2028 and U+0085 as they are, and so do rows and logs: a row is over at a line feed alone."""
    text = "a\u2028b\x85c\x0bd"
    place, log = Place(folder=tmp_path), tmp_path / "log.jsonl"
    place.write(step=0, said=text)
    assert [line["said"] for line in place.lines()] == [text]
    log.write_bytes(log.read_bytes() + b'{"step": 1, "sa')
    assert [line["said"] for line in place.lines()] == [text], "and a torn line is left out"
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(f'\ufeff{{"text": "{text[:4]}"}}\r\n\r\n{{"text": "b"}}'.encode())
    assert read_rows(rows) == [{"text": text[:4], "line": 1}, {"text": "b", "line": 3}]
    rows.write_bytes(b'{"text": "caf\xe9"}\n')
    with pytest.raises(FinetuneError, match="not UTF-8"):
        read_rows(rows)
    rows.write_text("[" * 100_000)
    with pytest.raises(FinetuneError, match="line 1: not JSON"):
        read_rows(rows)


def test_killed_while_its_state_is_removed_a_run_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            (path / "run.json").unlink()
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("superalign.training.trl.running.shutil.rmtree", half)
        with pytest.raises(Killed), place_of(tmp_path / "state", "key") as place:
            place.write(step=0, loss=1.0)
    with place_of(tmp_path / "state", "key") as place:
        assert (place.state, place.lines()) == (None, [])
    assert not list(tmp_path.iterdir())
