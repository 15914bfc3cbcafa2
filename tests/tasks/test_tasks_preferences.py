from __future__ import annotations

import json
from pathlib import Path

import pytest

from superalign.tasks import preferences, slips, traces, write_preferences
from superalign.tasks.slips import draw


def test_chosen_is_the_sound_side() -> None:
    page = slips(split="dev", view="pair", n=40)
    rows = preferences(page)
    drawn = {(slip.path, slip.start): slip for slip in draw("dev")}
    for row, item in zip(rows, page.items, strict=True):
        slip = drawn[page.truths[item.id]["path"], page.truths[item.id]["start"]]
        assert set(row) == {"prompt", "chosen", "rejected"}
        assert row["chosen"] == " ".join(slip.sound)
        assert row["rejected"] == " ".join(slip.altered)
        assert row["prompt"]


def test_labels_say_sound() -> None:
    page = traces(split="train", view="single", n=40)
    rows = preferences(page)
    assert [set(row) for row in rows] == [{"prompt", "completion", "label"}] * 40
    for row, item in zip(rows, page.items, strict=True):
        assert row["completion"] == item.input["code"]
        assert row["label"] is (page.truths[item.id]["place"] is None)


def test_the_file_is_json_lines(tmp_path: Path) -> None:
    page = slips(split="dev", view="single", n=12)
    path = tmp_path / "singles.jsonl"
    assert write_preferences(page, path) == 12
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == preferences(page)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_held_out_splits_are_refused_but_in_quarantine(split: str, tmp_path: Path) -> None:
    page = traces(split=split, view="pair", n=10)
    with pytest.raises(ValueError, match=rf"traces.pair/{split} .*\(R1\).*\(R4\).*quarantined=True"):
        write_preferences(page, tmp_path / "pairs.jsonl")
    assert not (tmp_path / "pairs.jsonl").exists()
    assert write_preferences(page, tmp_path / "pairs.jsonl", quarantined=True) == 10
