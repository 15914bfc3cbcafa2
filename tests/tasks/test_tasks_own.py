"""Your own data: every format, every way in which a row can be broken, splits, and what the ids tell."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from superalign.oversight import case_of
from superalign.tasks.item import SPLITS
from superalign.tasks.own import BrokenLines, OwnData, own_data
from superalign.tasks.own_pages import own_page
from superalign.tasks.own_reading import MOST, DataError
from superalign.tasks.own_schema import FORMS, misfit, schema
from superalign.tasks.own_sentences import sentences
from superalign.tasks.own_splits import split_of

ROOT = Path(__file__).parent.parent.parent
CHOICE = {"question": "Which?", "options": ["x", "y", "z"], "answer": 1}
PAIR = {"prompt": "Say it.", "chosen": "good", "rejected": "bad"}
LABEL = {"text": "x", "label": 1}
STEPS = {"prompt": "Add.", "completions": ["1 + 1 = 2", "2 + 2 = 5"], "labels": [True, False]}
UNPAIRED = {"prompt": "Say it.", "completion": "good", "label": True}


def written(folder: Path, rows: Sequence[dict[str, Any] | str], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def read(folder: Path, rows: Sequence[dict[str, Any] | str]) -> OwnData:
    return own_data(written(folder, rows))


def choices(n: int = 40, k: int = 3) -> list[dict[str, Any]]:
    return [
        {"question": f"Which of row {i}?", "options": [f"{i} {j}" for j in range(k)], "answer": 0} for i in range(n)
    ]


def documented() -> list[str]:
    blocks = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").split("```jsonl\n")[1:]
    return [block.partition("\n```")[0] for block in blocks]


def test_the_documented_line_of_each_format_is_read(tmp_path: Path) -> None:
    found = []
    for line in documented():
        more = '{"text": "fine", "label": "praise"}'
        found.append(read(tmp_path, [line, more] if '"complaint"' in line else [line]).form)
    assert found == list(FORMS)


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "data").glob("*.jsonl")), ids=lambda path: path.stem)
def test_the_examples_are_whole(path: Path) -> None:
    data = own_data(path)
    assert data.form == path.stem
    assert data.passed_over == ()
    pages = [own_page(data, split=split) for split in SPLITS if split in data.splits]
    assert sum(len(page.items) for page in pages) == len(data.rows)


VALUES: tuple[Any, ...] = (
    "",
    " ",
    "x",
    0,
    1,
    -1,
    1.0,
    0.5,
    True,
    None,
    [],
    ["x"],
    ["x", "y"],
    [True],
    ["x", 1],
    {},
    "dev",
)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "mutant"])
def test_the_schemas_say_what_is_checked(form: str) -> None:
    """Whoever holds a row against the file with another validator comes to the same verdict."""
    jsonschema = pytest.importorskip("jsonschema", reason="a reference, not a dependency")
    base = next(row for row in map(json.loads, documented()) if misfit(row, schema(form)) is None)
    validator = jsonschema.Draft202012Validator(schema(form))
    assert validator.is_valid(base)
    assert {*schema(form)["required"]} <= set(base)
    seen = Counter()
    for name in schema(form)["properties"]:
        for value in VALUES:
            row = {**base, name: value}
            fits = misfit(row, schema(form)) is None
            assert fits == validator.is_valid(row), (name, value)
            seen[fits] += 1
    assert min(seen[True], seen[False]) > 10


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "line 3: no JSON"),
        ("[1, 2]", r"line 3: '\[1, 2\]' is no object"),
        ('{"question": "a", "question": "b"}', "line 3: the field 'question' stands twice"),
        ("[" * 100_000, "line 3: JSON nested too deeply|line 3: no JSON"),
        ({**CHOICE, "question": None}, "line 3: no 'question': give every row question, options and answer"),
        ({"question": "?", "options": ["x", "y"]}, "line 3: no 'answer'"),
        ({**CHOICE, "question": " "}, "line 3: question is ' ', which is no text: mend"),
        ({**CHOICE, "question": 5}, "line 3: question is 5, which is no text"),
        ({**CHOICE, "question": "\ud800"}, "line 3: question is .* half a character"),
        ({**CHOICE, "options": "xyz"}, "line 3: options is 'xyz', which is no list: give a list of 2 to 26 texts"),
        ({**CHOICE, "options": ["x"]}, "line 3: options has 1 entries, where 2 to 26 belong: give a list"),
        ({**CHOICE, "options": [str(i) for i in range(27)]}, "line 3: options has 27 entries"),
        ({**CHOICE, "options": ["x", 2]}, "line 3: options has an entry, number 1 from 0, that is 2, which is no text"),
        ({**CHOICE, "options": ["x", ""]}, "number 1 from 0, that is '', which is no text"),
        ({**CHOICE, "options": ["x", "y", " X "]}, "line 3: options 0 and 2 are both ' X '"),
        ({**CHOICE, "answer": 3}, "line 3: answer is 3, and the options are numbered 0 to 2: give one of them"),
        ({**CHOICE, "answer": -1}, "line 3: answer is -1, and the options"),
        ({**CHOICE, "answer": "D"}, "line 3: answer is 'D', which is none of the options: give its text"),
        ({**CHOICE, "answer": ""}, "line 3: answer is '', which is none of the options"),
        (
            {**CHOICE, "answer": True},
            "line 3: answer is True, which is neither a whole number nor a text: give the place",
        ),
        ({**CHOICE, "answer": 0.5}, "line 3: answer is 0.5, which is neither"),
        ('{"question": "?", "options": ["x", "y"], "answer": NaN}', "line 3: answer is nan, which is neither"),
        ({**CHOICE, "split": "training"}, "line 3: split is 'training': it is one of train, dev, validation or test"),
        ('{"question": "?", "options": ["x", "y"], "answer": 0, "difficulty": Infinity}', "difficulty is inf"),
        ({**CHOICE, "difficulty": 10**400}, "line 3: difficulty is 10{39}…, which is not a number"),
        ({**CHOICE, "answer": 10**400}, "line 3: answer is 10{39}…, and the options are numbered 0 to 2"),
        ({**CHOICE, "cluster": " "}, "line 3: cluster is ' ', which is no text: name it, or leave the field out"),
        ({**CHOICE, "difficulty": "hard"}, "line 3: difficulty is 'hard', which is not a number"),
        ({**CHOICE, "context": ["a"]}, r"line 3: context is \['a'\], which is no text"),
        ({**CHOICE, "id": "first"}, r"line 3: id 'first' is that of .*line 1 too: give each row its own, or none"),
        (
            {**choices(1)[0], "options": ["0 2", "0 1", "0 0"]},
            r"line 3: asks what .*line 2 asks: remove one of the two",
        ),
        ({**CHOICE, "split": "dev"}, r"line 1: no 'split', which .*line 3 has: give every row one, or none"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, row: dict[str, Any] | str, said: str) -> None:
    rows = [{**choices(2)[1], "id": "first"}, choices(1)[0], row]
    with pytest.raises(BrokenLines, match=said):
        read(tmp_path, rows)


@pytest.mark.parametrize(
    ("good", "row", "said"),
    [
        (PAIR, {"prompt": "p", "chosen": "Yes", "rejected": " yes"}, "chosen and rejected are the same text"),
        (PAIR, {"prompt": "say  IT.", "chosen": "bad", "rejected": "good"}, "asks what .*line 1 asks"),
        (PAIR, {"prompt": 3, "chosen": "a", "rejected": "b"}, "prompt is 3, which is no text"),
        (LABEL, {"text": "y", "label": 0.5}, "label is 0.5, which is neither"),
        (LABEL, {"text": "y", "label": " "}, "label is empty"),
        (LABEL, {"text": "X", "label": 0}, "asks what .*line 1 asks"),
        (STEPS, {**STEPS, "labels": [True]}, "2 completions and 1 labels: give every step one label"),
        (
            STEPS,
            {**STEPS, "labels": [True, 1]},
            "labels has an entry, number 1 from 0, that is 1, which is not true or false: give true",
        ),
        (STEPS, {**STEPS, "completions": []}, "completions has 0 entries"),
        (UNPAIRED, {**UNPAIRED, "label": "good"}, "label is 'good', which is not true or false"),
        (UNPAIRED, {**UNPAIRED, "label": False}, "asks what .*line 1 asks"),
    ],
)
def test_each_format_has_its_own_mistakes(tmp_path: Path, good: dict[str, Any], row: dict[str, Any], said: str) -> None:
    with pytest.raises(BrokenLines, match=f"line 2: {said}"):
        read(tmp_path, [good, row])


def test_all_broken_lines_are_counted_and_five_are_named(tmp_path: Path) -> None:
    rows = [*choices(5), *("{" for _ in range(4)), *({**CHOICE, "answer": 9} for _ in range(4)), "", choices(9)[8]]
    with pytest.raises(BrokenLines, match="8 of 14 rows can't be used") as caught:
        read(tmp_path, rows)
    assert [each.where.rpartition(" ")[2] for each in caught.value.broken] == [str(n) for n in range(6, 14)]
    told = str(caught.value).splitlines()
    assert len(told) == 7
    assert told[1].strip().startswith(f"{tmp_path / 'rows.jsonl'}, line 6: no JSON")
    assert told[-1].strip() == "and 3 more"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no rows: bring some"),
        (b"\n \r\n\n", "no rows: bring some"),
        (b"\xff\xfe{\x00}\x00", "is UTF-16: write it as UTF-8"),
        (b'{"text": "\xff", "label": 1}\n', "line 1: no UTF-8"),
        (b'[{"text": "x", "label": 1}]', "line 1: .*write one JSON object a line, not one array"),
        (b'{"a": 1}\n', r"line 1: its fields \(a\) are those of no format: bring one of question, options, answer"),
        (b'{"text": "x", "label": 1, "chosen": "a", "rejected": "b"}\n', "those of preference and label alike"),
        (b'{"text": "x", "label": 1}\n{"text": "y", "label": 1}\n', "all 2 labels are '1'"),
        (b"".join(b'{"text": "%d", "label": "%d"}\n' % (i, i) for i in range(27)), "27 different labels, and 26"),
    ],
)
def test_files_that_hold_nothing_to_use(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        own_data(path)


def test_a_huge_line_is_no_danger(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.write(json.dumps(CHOICE).encode() + b'\n{"question": "')
        for _ in range(2 * (MOST >> 20) + 1):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n' + json.dumps(choices(1)[0]).encode() + b"\n{\n")
    with pytest.raises(BrokenLines) as caught:
        own_data(path)
    assert [each.where[-6:] for each in caught.value.broken] == ["line 2", "line 4"]
    assert "longer than 8 MiB" in caught.value.broken[0].why


def test_marks_line_ends_and_blank_lines_are_no_part_of_the_text(tmp_path: Path) -> None:
    rows = [json.dumps(row) for row in choices(3)]
    (tmp_path / "plain.jsonl").write_bytes("\n".join(rows).encode())
    (tmp_path / "other.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(rows).encode() + b"\r\n")
    plain, other = own_data(tmp_path / "plain.jsonl"), own_data(tmp_path / "other.jsonl")
    assert plain.digest == other.digest
    assert [row.where.rpartition(" ")[2] for row in other.rows] == ["1", "3", "5"]


@pytest.mark.parametrize("name", ["none.jsonl", "rows.csv", "rows.pkl"])
def test_files_that_are_not_read(tmp_path: Path, name: str) -> None:
    if not name.startswith("none"):
        (tmp_path / name).write_text("text,label\n")
    with pytest.raises(DataError, match=r"no such file|isn't read: write it as JSON Lines, Parquet or Arrow"):
        own_data(tmp_path / name)


@pytest.mark.parametrize(
    ("answer", "options", "right"),
    [(1, ["x", "y"], "y"), (1.0, ["x", "y"], "y"), ("x", ["x", "y"], "x"), ("B", ["x", "y"], "y"),
     ("A", ["B", "A"], "A"), ("1", ["1", "0"], "1"), (1, ["1", "0"], "0")],
)  # fmt: skip
def test_what_an_answer_means(tmp_path: Path, answer: Any, options: list[str], right: str) -> None:
    (row,) = read(tmp_path, [{"question": "?", "options": options, "answer": answer}]).rows
    assert row.texts[int(row.answer)] == right  # type: ignore[arg-type]


def test_splits_are_frozen() -> None:
    assert " ".join(split_of(f"cluster {n}") for n in range(12)) == FROZEN
    shares = Counter(split_of(str(n)) for n in range(10_000))
    assert {split: round(shares[split] / 10_000, 1) for split in SPLITS} == {
        "train": 0.5, "dev": 0.1, "validation": 0.2, "test": 0.2,
    }  # fmt: skip


FROZEN = "train validation train dev train validation train test validation train test train"


def test_rows_that_are_added_move_no_other(tmp_path: Path) -> None:
    few, many = read(tmp_path, choices(30)), read(tmp_path, choices(60)[::-1])
    where = {row.question: split for row, split in zip(many.rows, many.splits, strict=True)}
    assert all(where[row.question] == split for row, split in zip(few.rows, few.splits, strict=True))


def test_a_passage_is_never_split(tmp_path: Path) -> None:
    passages = [{**row, "context": f"Passage {i // 5}."} for i, row in enumerate(choices(50))]
    data = read(tmp_path, passages)
    homes = {(row.context, split) for row, split in zip(data.rows, data.splits, strict=True)}
    assert len(homes) == 10
    assert len(set(data.splits)) > 1


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"split": "train"}, {"split": "test", "options": ["p", "q"]}, "its question stands in train"),
        ({"split": "train", "cluster": "c"}, {"split": "test", "question": "Other?", "cluster": "c"}, "its cluster"),
        ({"cluster": "cluster 0"}, {"cluster": "cluster 1", "options": ["p", "q"]}, "its question stands in train"),
        ({"split": "dev", "context": "P."}, {"split": "test", "context": "p.", "question": "Other?"}, "its cluster"),
    ],
)
def test_one_question_in_two_splits_is_refused(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], said: str
) -> None:
    if "cluster" not in first and "context" not in first:
        first, second = first | {"cluster": "a"}, second | {"cluster": "b"}
    with pytest.raises(BrokenLines, match=f"line 2: {said}.*line 1.*and here in"):
        read(tmp_path, [CHOICE | first, CHOICE | {"answer": 0} | second])
    both = {"split": "train", "cluster": "c"}
    assert len(read(tmp_path, [CHOICE | first | both, CHOICE | {"options": ["u", "v"], "answer": 0} | both]).rows) == 2


def test_a_prompt_before_every_text_with_a_label_is_no_question(tmp_path: Path) -> None:
    rows = [{"prompt": "Is it spam?", "text": f"text {i}", "label": i % 2} for i in range(20)]
    assert len(set(read(tmp_path, rows).splits)) > 1
    with pytest.raises(BrokenLines, match="its question stands in"):  # of several, each may be a question of its own
        read(tmp_path, [*rows, {"text": "other", "label": 0}])


def test_whole_numbers_name_the_same_however_they_are_written(tmp_path: Path) -> None:
    rows = [
        {**row, "cluster": name, "id": i} for i, row, name in zip((0.0, 1, "2"), choices(3), (1, 1.0, "1"), strict=True)
    ]
    data = read(tmp_path, rows)
    assert {row.cluster for row in data.rows} == {"1"}
    assert [row.id for row in data.rows] == ["0", "1", "2"]


def test_places_tell_nothing_and_ids_no_answer(tmp_path: Path) -> None:
    data = read(tmp_path, choices(200, k=4))
    page = own_page(data, split="train")
    places = Counter(page.truths[item.id]["answer"] for item in page.items)
    assert max(places.values()) - min(places.values()) <= 1
    for item in page.items:
        assert item.options[page.truths[item.id]["answer"]].endswith(" 0")
        assert "id" not in item.input
    other = read(tmp_path, [{**row, "answer": 2, "options": row["options"][::-1]} for row in choices(200, k=4)])
    assert {item.id for item in own_page(other, split="train").items} == {item.id for item in page.items}
    begun = own_page(data, split="train", n=20)
    assert begun.items == page.items[:20]
    assert own_page(data, split="train", seed=1).items != page.items
    left = own_page(data, split="train", shuffle=False)
    assert {left.truths[item.id]["answer"] for item in left.items} == {0}


def test_shared_options_keep_one_order(tmp_path: Path) -> None:
    rows = [{"question": f"q {i}?", "options": ["no", "yes"][:: 1 - 2 * (i % 2)], "answer": "yes"} for i in range(9)]
    data = read(tmp_path, [*rows, {"question": "other?", "options": ["no", "yes"], "answer": "no"}])
    items = [item for split in set(data.splits) for item in own_page(data, split=split).items]
    assert {item.options for item in items} == {("no", "yes")}


def test_what_items_of_each_format_show(tmp_path: Path) -> None:
    def one(row: dict[str, Any], *more: dict[str, Any]) -> tuple[dict[str, str], tuple[str, ...], dict[str, Any]]:
        data = read(tmp_path, [{**row, "split": "dev"}, *({**each, "split": "train"} for each in more)])
        (item,) = (page := own_page(data, split="dev")).items
        assert item.task == page.task == f"{data.name}.{data.form}"
        return dict(item.input), item.options, dict(page.truths[item.id])

    shown, options, truth = one({**CHOICE, "context": "One  here. Two there.", "kind": "k", "id": 7, "difficulty": 2})
    assert shown == {"question": "Which?", "context": "One here.\nTwo there."}
    assert sorted(options) == ["x", "y", "z"]
    assert options[truth["answer"]] == "y"
    assert (truth["kind"], truth["id"]) == ("k", "7")
    shown, options, truth = one(PAIR)
    assert shown[options[truth["answer"]]] == "good"
    assert shown["question"] == "Say it.\nWhich of the two answers is the better one?"
    shown, options, truth = one(LABEL, {"text": "y", "label": 0})
    assert (shown["text"], options, truth["answer"]) == ("x", ("0", "1"), 1)
    shown, options, truth = one(UNPAIRED)
    assert (shown["answer"], options[truth["answer"]]) == ("good", "good")
    shown, options, truth = one(STEPS)
    assert shown["steps"] == "1 + 1 = 2\n2 + 2 = 5"
    assert (options[truth["answer"]], truth["first_wrong"], truth["labels"]) == ("wrong", 1, [True, False])


def test_a_passage_can_be_quoted_sentence_by_sentence() -> None:
    data = own_data(ROOT / "examples" / "data" / "choice.jsonl")
    page = own_page(data, split="dev")
    for item in page.items:
        case = case_of(item)
        assert (case.question, case.options) == (item.input["question"], item.options)
        assert [piece.texts for piece in case.pieces] == [(line,) for line in item.input["context"].splitlines()]
        assert len(case.pieces) == 4


def test_pages_that_can_not_be(tmp_path: Path) -> None:
    data = read(tmp_path, [{**row, "split": "train"} for row in choices(3)])
    for named, said in (
        ({"split": "trian"}, "has no split 'trian'"),
        ({"split": "dev"}, "/dev holds 0 rows"),
        ({"split": "train", "n": 4}, "/train holds 3 rows, 4 were asked for"),
        ({"split": "train", "n": 0}, "ask for 1 or more"),
    ):
        with pytest.raises(ValueError, match=said):
            own_page(data, **named)  # type: ignore[arg-type]


def test_a_file_that_names_no_stem_and_two_that_share_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    first = own_data(written(tmp_path, choices(2), "My Data.v2.jsonl"))
    second = own_data(written(tmp_path / "a", choices(3), "My Data.v2.jsonl"))
    assert first.name == f"data-my-data-v2-{first.digest[:8]}"
    assert first.name != second.name
    assert own_data(written(tmp_path, choices(2), "___.jsonl"), name="mine").name == "mine"


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("One.", 1), ("One. Two", 2), ("Dr. A. Abel left.", 1), ("It is 3.5 km. Long.", 2), ("No? Yes!", 2),
     ("e.g. this. That.", 2), ("a\nb", 2), ("「東京。」大阪。", 2), ('He said "go." She went.', 2),
     ("The answer is no. It is.", 2)],
)  # fmt: skip
def test_sentences(text: str, count: int) -> None:
    found = sentences(text)
    assert len(found) == count
    assert "".join("".join(found).split()) == "".join(text.split())


def test_passages_without_an_end_are_cut_in_time() -> None:
    began = time.process_time()
    assert [len(sentences(text)) for text in ("Dr. " * 12_000, "." * 60_000 + "x", "a." * 30_000)] == [1, 1, 1]
    assert time.process_time() - began < 5  # half a minute and more, were each point to look through all before it
