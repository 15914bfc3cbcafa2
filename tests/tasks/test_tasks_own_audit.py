"""What is reached without reading your own questions: planted tells are found, fair data pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from superalign.tasks.audit import audit
from superalign.tasks.own import OwnData, own_data
from superalign.tasks.own_audit import blind, blind_page
from superalign.tasks.own_check import checked, lines
from superalign.tasks.own_pages import items_of, own_page

N = 300


def read(folder: Path, rows: Sequence[dict[str, Any]]) -> OwnData:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return own_data(path)


def words(rng: np.random.Generator, n: int) -> str:
    return " ".join(f"w{i}" for i in rng.integers(10, 50, size=n))


def questions(*, longer: int = 0, told: bool = False) -> list[dict[str, Any]]:
    """Four options of random words; the right one longer by some words, or with a word of its own."""
    rng = np.random.default_rng(3)
    rows = []
    for i in range(N):
        options = [f"{words(rng, 6)} {rng.integers(1 << 40)}" for _ in range(4)]
        options[0] += f" {words(rng, longer)}" if longer else ""
        options[0] = "w99" + options[0][options[0].index(" ") :] if told else options[0]
        rows.append({"question": f"Which of {i}?", "options": options, "answer": 0})
    return rows


@pytest.mark.parametrize(
    ("rows", "metadata", "answers"),
    [(questions(), True, True), (questions(longer=4), False, False), (questions(told=True), True, False)],
    ids=["fair", "the right one is longer", "a word gives it away"],
)
def test_tells_of_options(tmp_path: Path, rows: list[dict[str, Any]], metadata: bool, answers: bool) -> None:
    data = read(tmp_path, rows)
    found = {each.attacker: each for each in blind(*items_of(data, range(N), seed=0))}
    assert {name: each.passed for name, each in found.items()} == {"metadata": metadata, "answers": answers}
    assert found["metadata"].limit == pytest.approx(0.25 + max(0.05, 2 * (0.25 * 0.75 / N) ** 0.5))
    assert all(each.accuracy > 0.9 for each in found.values() if not each.passed and each.attacker == "answers")


def test_file_order_is_a_tell_only_when_it_is_kept(tmp_path: Path) -> None:
    data = read(tmp_path, questions())
    kept = blind(*items_of(data, range(N), seed=0, shuffle=False))
    assert [each.passed for each in kept] == [False, False]


def test_labels_are_judged_against_the_commonest(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    fair = [{"text": f"{words(rng, 8)} {i}", "label": "spam" if i % 4 else "ham"} for i in range(N)]
    (found,) = blind(*items_of(read(tmp_path, fair), range(N), seed=0))
    assert found.passed
    assert found.limit == pytest.approx(0.8)
    short = [{**row, "text": row["text"] if row["label"] == "spam" else row["text"][:12] + f" {i}"}
             for i, row in enumerate(fair)]  # fmt: skip
    (found,) = blind(*items_of(read(tmp_path, short), range(N), seed=0))
    assert not found.passed


def test_pages_of_two_are_audited_as_any_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    pairs = [{"prompt": f"p {i}", "chosen": words(rng, 5), "rejected": words(rng, 5)} for i in range(N)]
    page = own_page(read(tmp_path, pairs), split="train")
    assert {each.attacker for each in audit(page)} == {"metadata", "edit-lookup", "edit-logistic", "edit-order"}
    assert all(each.passed for each in audit(page) if each.attacker == "metadata")
    assert all(each.passed and each.split == "train" for each in blind_page(page))


def test_one_cluster_can_not_be_attacked(tmp_path: Path) -> None:
    data = read(tmp_path, [{**row, "cluster": "c"} for row in questions()[:20]])
    with pytest.raises(ValueError, match="needs two clusters"):
        blind_page(own_page(data, split=data.splits[0]))
    assert checked(data)["blind"] == []


def test_what_check_says(tmp_path: Path) -> None:
    long = " ".join(f"word{i}" for i in range(90))
    rows = [{**row, "contxt": "x", "split": ("train", "test")[i % 2]} for i, row in enumerate(questions()[:20])]
    rows[0]["question"], rows[1]["question"] = f"{long} one?", f"{long} two?"
    told = checked(read(tmp_path, rows))
    assert (told["rows"], told["clusters"], told["split_by"], told["options"]) == (20, 20, "column", {4: 20})
    assert [told["splits"][split]["rows"] for split in ("train", "dev", "validation", "test")] == [10, 0, 0, 10]
    assert told["passed_over"] == ["contxt"]
    assert told["answers"] == {"place 0": 20}
    assert told["near"] == 1
    assert json.loads(json.dumps(told))["form"] == "choice"
    text = "\n".join(lines(told))
    assert "fields contxt" in text
    assert "1 rows nearly repeat" in text
