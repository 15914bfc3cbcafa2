"""Boards on your own data: `superalign oversight --tasks data:questions.jsonl`.

    config, own = with_own(config)                    # every file read whole; tasks are named by what their rows say
    fits_own(config, own)                             # is there something to judge, and who can judge it?
    page = own_board_page(own[task], "validation", 60)

What the rows say is kept in the store as JSON Lines (a file of JSON Lines byte by byte), so that a board is verified
from its workspace alone. A task's name holds the digest of its rows: a file that changed is another task. Of more than
two options an item keeps the right one and one of the others, drawn by its id; so debates of questions with many
options are played by Khan et al. (2402.06782), too. Of these every protocol can be played, and chance is a half.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from superalign.evidence import SuperalignError, Tampered, Workspace, holdout, is_digest
from superalign.evidence.store import ObjectStore
from superalign.pipeline.board_config import OWN, PERSON, PROMPT, OversightConfig, is_own, own_form, speaks
from superalign.pipeline.desk import Desk
from superalign.pipeline.pages import screened, words_of
from superalign.pipeline.tally import close
from superalign.tasks.item import SPLITS, Item, Page
from superalign.tasks.mutants import mutants
from superalign.tasks.own import OwnData, own_data
from superalign.tasks.own_pages import own_page
from superalign.tasks.own_reading import TABLES, DataError, Row, read_rows
from superalign.tasks.own_schema import schema

MOST_BYTES = 64 << 20
"""Of what the rows say, at most: verifying reads all of it, and a stranger's could fill the memory."""
LESSONS = ("train", "dev")
"""Splits that lessons come from: the first that has rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A file of yours, as a board has it."""

    data: OwnData
    lines: bytes
    """What its rows say, as JSON Lines."""
    file: str
    """SHA-256 of the file; empty of a folder."""

    @property
    def task(self) -> str:
        """`data-STEM-DIGEST.FORM`: its name on the board."""
        return f"{self.data.name}.{self.data.form}"

    def rows(self, split: str) -> int:
        """How many rows a split has."""
        return self.data.splits.count(split)


def with_own(config: OversightConfig) -> tuple[OversightConfig, dict[str, Own]]:
    """The options with each `data:FILE` under its name, and the data by these names. Reads every file whole.

    Raises DataError, or BrokenLines, for what can't be used, and for more rows than can be verified.
    """
    files = {task: own_of(Path(task.removeprefix(OWN))) for task in config.tasks if task.startswith(OWN)}
    tasks = tuple(files[task].task if task in files else task for task in config.tasks)
    return replace(config, tasks=tasks), {own.task: own for own in files.values()}


def own_of(path: Path) -> Own:
    """A file, or a folder that `Dataset.save_to_disk` wrote. Raises as `with_own` does."""
    data = own_data(path)
    plain = path.is_file() and path.suffix not in TABLES
    lines = path.read_bytes() if plain else b"".join(_lines(path, data.form))
    if len(lines) > MOST_BYTES:
        raise DataError(
            f"{path}: its rows take {len(lines) >> 20} MiB as JSON Lines, and a board keeps {MOST_BYTES >> 20} MiB at "
            "most to be verified by: give it fewer"
        )
    if read_lines(lines, data.name).digest != data.digest:
        raise DataError(f"{path} changed while it was read, or JSON Lines can't say what it says: write it as .jsonl")
    return Own(data=data, lines=lines, file=hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")


def _lines(path: Path, form: str) -> Iterator[bytes]:
    known = schema(form)["properties"]
    for row in read_rows(path, parts=True):
        if isinstance(row, Row):
            yield json.dumps({k: v for k, v in row.fields.items() if k in known}).encode() + b"\n"


def read_lines(lines: bytes, name: str) -> OwnData:
    """Data from what the store keeps; the name is given, never a path. Raises DataError as `own_data` does."""
    with tempfile.TemporaryDirectory(prefix="superalign-") as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_bytes(lines)
        return own_data(path, name=name)


def keep_own(ws: Workspace, own: Mapping[str, Own]) -> dict[str, Any]:
    """Put what the rows say into the store; returns what the `run` event says of each task."""
    return {task: stated_of(each, ws.store.put(each.lines)) for task, each in own.items()}


def stated_of(own: Own, rows: str) -> dict[str, Any]:
    """What a `run` event says of these rows, kept under the digest `rows`."""
    return {
        "name": own.data.name,
        "form": own.data.form,
        "rows": rows,
        "file": own.file,
        "splits": {split: own.rows(split) for split in SPLITS},
        "cut to two options": wide(own.data),
    }


def own_again(stated: Any, tasks: tuple[str, ...], store: ObjectStore) -> dict[str, Own]:
    """The data of a stranger's board, from the store alone. Raises Tampered, or another SuperalignError, for what is
    missing, changed, too large, or not what its name says.
    """
    found: dict[str, Own] = {}
    for task in filter(is_own, tasks):
        told = stated["tasks"][task]
        if not is_digest(told["rows"]):
            raise Tampered(f"{told['rows']!r:.80} is no digest of what the rows of {task} say")
        path = store.path(told["rows"])
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise Tampered(f"what the rows of {task} say is over {MOST_BYTES >> 20} MiB: don't trust it")
        lines = store.get(told["rows"])
        name = task.rpartition(".")[0]
        try:
            data = read_lines(lines, name)
        except DataError as error:
            raise Tampered(f"what the store holds as the rows of {task} is no data of that form") from error
        own = Own(data=data, lines=lines, file=str(told["file"]))
        if own.task != task or not name.endswith(f"-{data.digest[:8]}"):
            raise Tampered(f"the store holds other rows than those that {task} names")
        if not close(stated_of(own, told["rows"]), told):
            raise Tampered(f"what is said of the rows of {task} is not what they are")
        found[task] = own
    return found


def wide(data: OwnData) -> int:
    """How many rows of validation have more than two options, of which two are played."""
    if data.form == "label":
        return data.splits.count("validation") if len(data.labels) > 2 else 0
    if data.form != "choice":
        return 0
    rows = zip(data.rows, data.splits, strict=True)
    return sum(len(row.texts) > 2 for row, split in rows if split == "validation")


def two_texts(data: OwnData) -> bool:
    """Is there a text an option, so that likelihoods can be compared? A passage is one text for all of them."""
    if data.form == "choice":
        return not any(row.context for row in data.rows)
    return data.form in ("preference", "mutant")


def fits_own(config: OversightConfig, own: Mapping[str, Own]) -> None:
    """Raises SuperalignError for a file without items to judge or learn from, and for players that can't play it."""
    if absent := [task for task in config.tasks if is_own(task) and task not in own]:
        raise SuperalignError(f"{absent[0]} names rows of a file: give that file, as in --tasks data:questions.jsonl")
    local = not speaks(config.judge) and config.judge != PERSON
    for task, each in own.items():
        held = each.rows("validation")
        if not held or config.items > held:
            wanted = f"--items {config.items}" if config.items else "some"
            raise SuperalignError(
                f"{task} has {held} rows in the split validation, which is judged, and {wanted} are wanted: "
                "ask for fewer, bring more clusters, or name the rows' splits yourself (docs/data.md)"
            )
        if not any(map(each.rows, LESSONS)) and (local or config.temper or not speaks(config.advisers)):
            raise SuperalignError(
                f"{task} has no rows in the splits train and dev, on which judges and advisers are fitted: name the "
                "rows' splits yourself (docs/data.md), or seat models that speak"
            )
        if two_texts(each.data):
            continue
        why = f"{task} shows one text for all its options, and likelihoods compare a text an option"
        if local and not config.judge.startswith(PROMPT):
            raise SuperalignError(
                f"{why}: --judge {config.judge} can't judge it; give words:hf:PATH, or another model that speaks, "
                "prompt:ADDRESS or person"
            )
        if not speaks(config.advisers):
            raise SuperalignError(
                f"{why}: --advisers {config.advisers} can't advise on it; give words:hf:PATH, or another model that "
                "speaks"
            )


def own_board_page(own: Own, split: str, n: int) -> Page:
    """Up to `n` items of a split, each of two options; of "train" those of the first of LESSONS that has rows."""
    data = own.data
    if split == "train":
        split = next((each for each in LESSONS if own.rows(each)), "train")
    held = own.rows(split)
    if not held:
        return Page(task=own.task, split=split, items=())
    if data.form != "mutant":
        return of_two(own_page(data, split=split, n=min(n, held)))
    made = [mutant for mutant, where in zip(data.made, data.splits, strict=True) if where == split]
    page = mutants(split=split, view="pair", form="words", made=made)
    items = tuple(replace(item, task=own.task) for item in page.items[:n])
    return replace(page, task=own.task, items=items, truths={item.id: page.truths[item.id] for item in items})


def of_two(page: Page) -> Page:
    """Items of more options with the right one and one other, drawn by the item's id; the right one first as often."""
    items, truths, first = [], dict(page.truths), False
    odd = 0
    for item in page.items:
        if len(item.options) > 2:
            first = not first if odd % 2 else int(item.id, 16) % 2 == 0
            odd += 1
            item, truths[item.id] = _of_two(item, page.truths[item.id], first)
        items.append(item)
    return replace(page, items=tuple(items), truths=MappingProxyType(truths))


def _of_two(item: Item, truth: Mapping[str, Any], first: bool) -> tuple[Item, dict[str, Any]]:
    right = item.options[truth["answer"]]
    others = [option for option in item.options if option != right]
    other = others[int(hashlib.sha256(f"one other\0{item.id}".encode()).hexdigest(), 16) % len(others)]
    options = (right, other) if first else (other, right)
    return replace(item, options=options), {**truth, "answer": options.index(right)}


def told_of(page: Page) -> list[list[str]]:
    """Words by which items are compared between splits: of prose one text an item, its options with it."""
    if not is_own(page.task) or own_form(page.task) == "mutant":
        return words_of(page)
    texts = [(*i.input.values(), *(option for option in i.options if option not in i.input)) for i in page.items]
    return [" ".join(each).casefold().split() for each in texts]


def lesson_of(desk: Desk, page: Page) -> Page:
    """A page of lessons without what repeats something held out.

    Raises SuperalignError where nothing of yours is left.
    """
    left = unrepeated(desk, page)
    if is_own(page.task) and page.items and not left.items:
        raise SuperalignError(
            f"{page.task}: each of its {len(page.items)} lessons shares half of its words or more with what is held "
            "out: take what all rows share (a template) out of them, or give like rows one cluster"
        )
    return left


def unrepeated(desk: Desk, page: Page) -> Page:
    """The same, whatever is left."""
    if not page.items:
        return page
    if not is_own(page.task) or own_form(page.task) == "mutant":
        return screened(desk, page)
    out = {row for rows in holdout.repeated(desk.ws, told_of(page)).values() for row in rows}
    kept = tuple(item for at, item in enumerate(page.items) if at not in out)
    return replace(page, items=kept, truths=MappingProxyType({item.id: page.truths[item.id] for item in kept}))
