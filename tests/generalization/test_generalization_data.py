"""Your own data: what is read, and every way in which a row can be broken."""

from __future__ import annotations

import builtins
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from superalign.generalization.data import DataError, load_questions

Rows = Sequence[dict[str, Any]]
PAIRS = [{"chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(10)]
SINGLES = [{"text": f"text {i}", "label": i % 2} for i in range(6)]


def written(folder: Path, rows: Sequence[dict[str, Any] | str], name: str = "rows.jsonl") -> Path:
    path = folder / name
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_pairs_hide_which_text_was_chosen(tmp_path: Path) -> None:
    path = written(tmp_path, PAIRS)
    read = load_questions(path)
    assert read.second is not None
    assert read.truth.sum() == 5
    for i, first_is_right in enumerate(read.truth):
        assert (read.first[i], read.second[i])[:: 1 if first_is_right else -1] == (f"good {i}", f"bad {i}")
    orders = {tuple(load_questions(path, seed=seed).truth.tolist()) for seed in range(5)}
    assert len(orders) > 1
    assert load_questions(path, seed=3).truth.tolist() == load_questions(path, seed=3).truth.tolist()


@pytest.mark.parametrize(
    ("labels", "yes", "expected"),
    [
        ((0, 1), None, (False, True)),
        ((1.0, 0.0), None, (True, False)),
        ((True, False), None, (True, False)),
        (("true", "False"), None, (True, False)),
        (("1", "0"), None, (True, False)),
        (("spam", "ham"), "spam", (True, False)),
        (("spam", "ham"), "ham", (False, True)),
        ((1, 2), "2", (False, True)),
        ((0, 1), "0", (True, False)),
    ],
)
def test_labels(tmp_path: Path, labels: tuple[Any, Any], yes: str | None, expected: tuple[bool, bool]) -> None:
    path = written(tmp_path, [{"text": f"t{i}", "label": label} for i, label in enumerate(labels)])
    read = load_questions(path, yes=yes)
    assert tuple(read.truth.tolist()) == expected
    assert read.second is None
    assert read.first == ("t0", "t1")


def test_what_else_a_row_may_say(tmp_path: Path) -> None:
    rows = [
        {"prompt": "2 + 2?", "chosen": "4", "rejected": "5", "id": 7, "kind": "sum", "other": [1]},
        {"prompt": "2 + 2?", "chosen": "four", "rejected": "three", "id": "b"},
        {"prompt": "", "chosen": "x", "rejected": "y", "cluster": 3},
        {"chosen": "p", "rejected": "q"},
    ]
    read = load_questions(written(tmp_path, rows))
    assert read.ids == ("7", "b", "000003", "000004")
    assert read.clusters.tolist() == ["2 + 2?", "2 + 2?", "3", "000004"]
    assert read.kinds.tolist() == ["sum", "", "", ""]
    assert {read.first[0], (read.second or ())[0]} == {"2 + 2?\n4", "2 + 2?\n5"}


def test_a_split_is_taken_by_its_column(tmp_path: Path) -> None:
    rows = [{**row, "split": "train" if i < 4 else "test"} for i, row in enumerate(SINGLES)]
    path = written(tmp_path, rows)
    assert load_questions(path, split="train").first == ("text 0", "text 1", "text 2", "text 3")
    assert len(load_questions(path)) == 6
    with pytest.raises(DataError, match="no rows of split 'dev'"):
        load_questions(path, split="dev")


def test_blank_lines_are_passed_over_but_counted(tmp_path: Path) -> None:
    path = written(tmp_path, [SINGLES[0], "", "  ", SINGLES[1], "{broken"])
    with pytest.raises(DataError, match=r"rows\.jsonl, line 5: no JSON"):
        load_questions(path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "line 3: no JSON"),
        ("[1, 2]", r"line 3: '\[1, 2\]' is no object"),
        ('"text"', "line 3: .* is no object"),
        ({"text": "x"}, "line 3: no 'label'"),
        ({"label": 1}, "line 3: no 'text'"),
        ({"text": "x", "label": None}, "line 3: no 'label'"),
        ({"text": "x", "label": 0.5}, "line 3: label 0.5 is neither"),
        ({"text": "x", "label": [1]}, r"line 3: label \[1\] is neither"),
        ('{"text": "x", "label": NaN}', "line 3: label nan is neither"),
        ('{"text": "x", "label": Infinity}', "line 3: label inf is neither"),
        ({"text": "x", "label": ""}, "line 3: label '' is neither"),
        ({"text": "x", "label": 2}, "line 3: label '2', and '0' and '1' are there already"),
        ({"text": "", "label": 1}, "line 3: text is '', which is no text"),
        ({"text": " \t", "label": 1}, "line 3: text is .*, which is no text"),
        ({"text": 5, "label": 1}, "line 3: text is 5, which is no text"),
        ({"text": "x", "label": 1, "prompt": ["p"]}, r"line 3: prompt is \['p'\], which is no text"),
        ({"text": "x", "label": 1, "id": "000001"}, "line 3: id '000001' is that of .*line 1 too"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, row: dict[str, Any] | str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_questions(written(tmp_path, [*SINGLES[:2], row]))


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps(SINGLES[0]).encode() + b'\n{"text": "\xff", "label": 1}\n')
    with pytest.raises(DataError, match="line 2: no UTF-8"):
        load_questions(path)


@pytest.mark.parametrize(
    ("rows", "yes", "said"),
    [
        ([], None, "no rows"),
        ([{"question": "x", "label": 1}, {"question": "y", "label": 0}], None, "no 'text'"),
        ([{"question": "x"}], None, "line 1: columns question: bring either chosen and rejected, or text and label"),
        ([{}], None, "columns none"),
        ([{"text": "x", "label": 1, "chosen": "a", "rejected": "b"}], None, "bring either"),
        ([{"chosen": "x"}], None, "line 1: no 'rejected'"),
        ([{"chosen": "x", "rejected": "x"}], None, "the same text"),
        ([{"text": f"t{i}", "label": 1} for i in range(3)], None, "all 3 labels are '1'"),
        ([{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(3)], None, "nothing says which means yes"),
        ([{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(3)], "c", "'a' and 'b', not 'c'"),
        (PAIRS, "a", "these are pairs without labels"),
    ],
)
def test_what_no_one_can_learn_from_is_refused(tmp_path: Path, rows: Rows, yes: str | None, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_questions(written(tmp_path, rows), yes=yes)


def test_a_missing_file_and_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        load_questions(tmp_path / "none.jsonl")


@pytest.mark.parametrize("name", ["folder", "rows.parquet", "rows.arrow"])
def test_a_missing_library_is_named(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(module: str, *rest: Any, **more: Any) -> Any:
        if module.partition(".")[0] in ("datasets", "pyarrow"):
            raise ImportError(module)
        return real(module, *rest, **more)

    path = tmp_path / name
    path.write_bytes(b"") if path.suffix else path.mkdir()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"pip install (datasets|pyarrow)"):
        load_questions(path)


def same(path: Path, rows: Rows, folder: Path, **named: Any) -> None:
    """The same questions as from JSON Lines."""
    plain, other = load_questions(written(folder, rows)), load_questions(path, **named)
    assert (other.ids, other.first, other.second) == (plain.ids, plain.first, plain.second)
    np.testing.assert_array_equal(other.truth, plain.truth)
    np.testing.assert_array_equal(other.clusters, plain.clusters)


@pytest.mark.filterwarnings("default")
def test_datasets_on_disk_say_the_same(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="an optional library")
    for i, rows in enumerate((PAIRS, SINGLES)):
        table = datasets.Dataset.from_list(list(rows))
        table.save_to_disk(str(tmp_path / f"one{i}"))
        same(tmp_path / f"one{i}", rows, tmp_path)
        both = datasets.DatasetDict({"train": table, "dev": datasets.Dataset.from_list(list(rows[:1]))})
        both.save_to_disk(str(tmp_path / f"both{i}"))
        same(tmp_path / f"both{i}", rows, tmp_path, split="train")
        for wrong in (None, "test"):
            with pytest.raises(DataError, match="has the splits dev, train"):
                load_questions(tmp_path / f"both{i}", split=wrong)
    datasets.Dataset.from_list([*SINGLES, {"text": "", "label": 1}]).save_to_disk(str(tmp_path / "broken"))
    with pytest.raises(DataError, match="row 6: text is ''"):
        load_questions(tmp_path / "broken")
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="no folder that"):
        load_questions(tmp_path / "other")


@pytest.mark.filterwarnings("default")
def test_tables_say_the_same(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="an optional library")
    parquet = pytest.importorskip("pyarrow.parquet")
    for i, rows in enumerate((PAIRS, SINGLES)):
        table = pa.Table.from_pylist(list(rows))
        parquet.write_table(table, tmp_path / f"{i}.parquet")
        same(tmp_path / f"{i}.parquet", rows, tmp_path)
        for kind, name in ((pa.ipc.new_stream, "stream"), (pa.ipc.new_file, "file")):
            with kind(str(tmp_path / f"{name}{i}.arrow"), table.schema) as out:
                out.write_table(table)
            same(tmp_path / f"{name}{i}.arrow", rows, tmp_path)
    for name in ("x.parquet", "x.arrow"):
        (tmp_path / name).write_bytes(b"no table at all, whatever the name says")
        with pytest.raises(DataError, match="can't be read as"):
            load_questions(tmp_path / name)
