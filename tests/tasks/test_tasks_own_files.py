"""Your own data from tables and `datasets` folders, mutants of a file, and rows for training in TRL's formats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from superalign.tasks import rules, traces
from superalign.tasks.mutants import as_lines, shipped
from superalign.tasks.own import BrokenLines, OwnData, own_data
from superalign.tasks.own_check import checked
from superalign.tasks.own_export import exported, own_rows
from superalign.tasks.own_export import written as written_rows
from superalign.tasks.own_pages import own_page
from superalign.tasks.own_reading import DataError

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "data"
FORMS = ("choice", "preference", "label", "unpaired", "stepwise")


def rows_of(form: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (EXAMPLES / f"{form}.jsonl").read_text(encoding="utf-8").splitlines()]


def written(folder: Path, rows: Sequence[dict[str, Any]], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", FORMS)
def test_tables_say_the_same(tmp_path: Path, form: str) -> None:
    pa = pytest.importorskip("pyarrow", reason="an optional library")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.Table.from_pylist(rows_of(form))
    parquet.write_table(table, tmp_path / "x.parquet")
    with pa.ipc.new_stream(str(tmp_path / "x.arrow"), table.schema) as out:
        out.write_table(table)
    plain = own_data(EXAMPLES / f"{form}.jsonl")
    for name in ("x.parquet", "x.arrow"):
        assert own_data(tmp_path / name).digest == plain.digest
    stamped = table.append_column("made", pa.array([b"\xff"] * len(table)))
    parquet.write_table(stamped, tmp_path / "y.parquet")
    assert own_data(tmp_path / "y.parquet").passed_over == ("made",)
    broken = table.append_column("difficulty", pa.array([float("nan")] * len(table)))
    parquet.write_table(broken, tmp_path / "x.parquet")
    with pytest.raises(BrokenLines, match=r"x\.parquet, row 0: difficulty is nan, which is not a number"):
        own_data(tmp_path / "x.parquet")


@pytest.mark.filterwarnings("default")  # datasets warns of its own internals
def test_folders_of_datasets_say_the_same(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="an optional library")
    rows = rows_of("choice")
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "one"))
    assert own_data(tmp_path / "one").digest == own_data(EXAMPLES / "choice.jsonl").digest
    parts = {
        split: datasets.Dataset.from_list([row for row in rows if row["split"] == split]).remove_columns("split")
        for split in ("train", "validation", "test")
    }
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "parts"))
    data = own_data(tmp_path / "parts")
    assert {split: data.splits.count(split) for split in set(data.splits)} == {"train": 9, "validation": 6, "test": 3}
    datasets.DatasetDict({"train_prefs": parts["train"]}).save_to_disk(str(tmp_path / "odd"))
    with pytest.raises(BrokenLines, match="split is 'train_prefs': it is one of train, dev, validation or test"):
        own_data(tmp_path / "odd")
    datasets.Dataset.from_list([]).save_to_disk(str(tmp_path / "none"))
    with pytest.raises(DataError, match="no rows"):
        own_data(tmp_path / "none")


def mutants_of(folder: Path, n: int = 40, **changes: Any) -> OwnData:
    made = [replace(mutant, split="", **changes) for mutant in shipped()[:: len(shipped()) // n]]
    (folder / "mutants.jsonl").write_text(as_lines(made), encoding="utf-8")
    return own_data(folder / "mutants.jsonl")


def test_mutants_are_a_task_of_their_own_split_by_file(tmp_path: Path) -> None:
    data = mutants_of(tmp_path)
    assert data.form == "mutant"
    assert not data.by_column
    pages = {split: own_page(data, split=split) for split in set(data.splits)}
    assert sum(len(page.items) for page in pages.values()) == len(data.made)
    homes = [{item.cluster for item in page.items} for page in pages.values()]
    assert len(set.union(*homes)) == sum(map(len, homes))
    page = pages["train"]
    assert page.task == page.items[0].task == f"{data.name}.mutant"
    assert {"a", "b"} == set(page.items[0].input)
    assert "code" in own_page(data, split="train", view="single").items[0].input


def test_mutants_of_a_table_that_holds_more_are_told(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="an optional library")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{**asdict(mutant), "split": "", "made": b"\xff"} for mutant in shipped()[:2]]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    with pytest.raises(BrokenLines, match=r"row 0: .*has the unknown made"):
        own_data(tmp_path / "x.parquet")


def test_one_function_in_two_files_is_counted(tmp_path: Path) -> None:
    long = max(shipped(), key=lambda mutant: len(mutant.sound))
    made = [replace(long, path=path, split=split) for path, split in (("a.py", "train"), ("b.py", "test"))]
    (tmp_path / "mutants.jsonl").write_text(as_lines(made), encoding="utf-8")
    assert checked(own_data(tmp_path / "mutants.jsonl"))["near"] == 1


def test_broken_mutants_are_counted(tmp_path: Path) -> None:
    mutants_of(tmp_path)
    lines = (tmp_path / "mutants.jsonl").read_text(encoding="utf-8").splitlines()
    bad = json.dumps({**json.loads(lines[5]), "sound": "def f(:"})
    moved = json.dumps({**json.loads(lines[6]), "split": "dev"})
    (tmp_path / "mutants.jsonl").write_text("\n".join([*lines[:3], bad, lines[0], moved]) + "\n", encoding="utf-8")
    with pytest.raises(BrokenLines) as caught:
        own_data(tmp_path / "mutants.jsonl")
    told = [each.why for each in caught.value.broken]
    assert "the sound side is no Python" in told[3]
    assert f"repeats {tmp_path / 'mutants.jsonl'}, line 1" in told[4]
    assert all("split is empty, where other rows name theirs" in why for why in told[:3])


@pytest.mark.parametrize(
    ("form", "wanted", "keys"),
    [
        ("choice", "auto", ("prompt", "chosen", "rejected")),
        ("choice", "unpaired", ("prompt", "completion", "label")),
        ("preference", "auto", ("prompt", "chosen", "rejected")),
        ("preference", "unpaired", ("prompt", "completion", "label")),
        ("label", "preference", ("prompt", "chosen", "rejected")),
        ("unpaired", "auto", ("prompt", "completion", "label")),
        ("stepwise", "auto", ("prompt", "completions", "labels")),
        ("stepwise", "unpaired", ("prompt", "completion", "label")),
    ],
)
def test_own_rows_in_formats_of_trl(form: str, wanted: str, keys: tuple[str, ...]) -> None:
    data = own_data(EXAMPLES / f"{form}.jsonl")
    rows = own_rows(data, "train", wanted)
    assert {tuple(row) for row in rows} == {keys}
    twice = 2 if (wanted, keys[1]) == ("unpaired", "completion") and form in ("choice", "preference") else 1
    assert len(rows) == twice * data.splits.count("train")
    source = {row["prompt"]: row for row in rows_of(form)} if "prompt" in rows_of(form)[0] else {}
    if wanted == "auto" and source:
        assert all(row == {name: source[row["prompt"]][name] for name in keys} for row in rows)
    if form == "choice" and wanted == "auto":
        right = {row["question"]: row["options"][row["answer"]] for row in rows_of(form)}
        assert all(row["chosen"] == right[row["prompt"].rpartition("\n")[2]] != row["rejected"] for row in rows)
    if form == "label":
        assert {(row["chosen"], row["rejected"]) for row in rows} == {("praise", "complaint"), ("complaint", "praise")}


@pytest.mark.parametrize(
    ("form", "split", "wanted", "said"),
    [
        ("choice", "test", "auto", "may not become training data"),
        ("choice", "validation", "unpaired", "may not become training data"),
        ("choice", "train", "stepwise", "rows of choice can't be written as stepwise"),
        ("stepwise", "train", "preference", "rows of stepwise can't be written as preference"),
        ("unpaired", "train", "preference", "rows of unpaired can't be written as preference"),
        ("choice", "train", "dpo", "there is no format 'dpo'"),
    ],
)
def test_rows_that_are_not_written(form: str, split: str, wanted: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        own_rows(own_data(EXAMPLES / f"{form}.jsonl"), split, wanted)


def test_rows_that_can_not_be_put_anywhere(tmp_path: Path) -> None:
    for out, said in ((tmp_path, "can't be written .*: name another file"), (tmp_path / "no" / "x", "no folder")):
        with pytest.raises(ValueError, match=said):
            written_rows([{"prompt": "x"}], out)


@pytest.mark.parametrize("view", ["single", "pair"])
def test_calculations_are_written_step_by_step(view: str) -> None:
    page = traces(split="train", view=view, n=20, steps=4)
    rows = exported(page, "stepwise")
    assert len(rows) == 20 * (2 if view == "pair" else 1)
    assert sum(not all(row["labels"]) for row in rows) == (20 if view == "pair" else 10)
    for row in rows:
        value = int(row["prompt"].split("\n")[1].split()[0])
        for step, right in zip(row["completions"], row["labels"], strict=True):
            operation, operand, _, result, _ = step.split()
            n = int(operand)
            told = {"+": value + n, "-": value - n}.get(
                operation, value * n + int(operation[-1]) if "*" in operation else 0
            )
            assert (told % 10 == int(result)) == right
            value = int(result)


def test_pairs_are_written_unpaired() -> None:
    page = traces(split="train", view="pair", n=3, steps=2)
    rows = exported(page, "unpaired")
    assert [row["label"] for row in rows] == [True, False] * 3
    with pytest.raises(ValueError, match="single texts have no pair"):
        exported(traces(split="train", view="single", n=3), "preference")
    with pytest.raises(ValueError, match="only calculations"):
        exported(rules(split="train", n=3), "stepwise")
    with pytest.raises(ValueError, match="may not become training data"):
        exported(traces(split="test", n=3), "stepwise")
