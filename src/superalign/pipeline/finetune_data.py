"""What a model is fine-tuned on: rows of a task or a file, by their own labels or by what a protocol's judge believes.

Everything that goes in is a node of the ledger before it is used: the page, the rows made of it, the signal, and who
judged. A validation or test page is refused when it is planned, before its truths are opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from superalign.evidence import Signal, SuperalignError, holdout
from superalign.pipeline.audited import nameless
from superalign.pipeline.desk import Desk
from superalign.pipeline.finetune_config import LABELS, FinetuneConfig
from superalign.pipeline.pages import put_page, screened, truth_signal, truths_of, words_of
from superalign.tasks import mutants, slips, traces
from superalign.tasks.item import SPLITS, Item, Page
from superalign.tasks.own import own_data
from superalign.tasks.own_forms import OwnRow, form_of, plain, shaped
from superalign.tasks.own_pages import own_page
from superalign.tasks.own_reading import Row
from superalign.tasks.own_splits import split_of
from superalign.tasks.preferences import preferences
from superalign.training.record import plan_fit
from superalign.training.trl.rows import COLUMNS, TEXTS, believed, checked, read_rows

TASKS: Mapping[str, Any] = {"slips": slips, "traces": traces, "mutants": mutants}
LESSON = 120
"""Further pairs with their truth that the players of a protocol are fitted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Items to train on, further ones for a lesson, and those the model is asked about before and after."""

    train: Page
    lesson: Page
    dev: Page
    digests: Mapping[str, str]
    """Of the stored pages: train, lesson, dev."""

    @property
    def task(self) -> str:
        """Task's name in families."""
        return self.train.task.split(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What the trainer gets, and what it is measured by."""

    train: list[dict[str, Any]]
    dev: list[dict[str, Any]]
    digest: str
    """Of the rows, a node of the ledger."""
    signal: str
    """What they are labelled by."""
    measured_by: str
    """The dev signal."""


def content_of(path: Path) -> str:
    """Digest of a file's bytes; of a folder, over the names and bytes of all files in it."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(each for each in path.rglob("*") if each.is_file())
    told = "".join(f"{each.relative_to(path).as_posix()} {content_of(each)}\n" for each in files)
    return hashlib.sha256(told.encode()).hexdigest()


def is_file(config: FinetuneConfig) -> bool:
    """Is the data a file, and no task's name?"""
    if config.data in TASKS:
        return False
    if Path(config.data).exists():
        return True
    raise SuperalignError(f"--data {config.data}: neither a file nor a task: use a path, or {', '.join(TASKS)}")


def given_rows(config: FinetuneConfig) -> list[dict[str, Any]] | None:
    """The rows of a file in one of TRL's formats for the method; None for a task, or a file of questions."""
    if not is_file(config) or Path(config.data).is_dir() or config.method == "grpo":
        return None
    rows = read_rows(Path(config.data))
    fits = any(set(columns) <= set(rows[0]) for columns in COLUMNS[config.method])
    return rows if fits or "prompt" in rows[0] else None


def pages_of(desk: Desk, config: FinetuneConfig, base: str) -> Pages:
    """Draw, screen and store the pages. Raises FirewallError for a split that may not be trained on."""
    if is_file(config):
        try:
            own = own_data(Path(config.data))
            whole = own_page(own, split=config.split)
            dev = own_page(own, split="dev")
        except ValueError as error:
            raise SuperalignError(f"--data {config.data}: {error}") from error
        train, lesson = whole, replace(whole, items=())
    else:
        whole = TASKS[config.data](split=config.split, view="pair", n=config.n + LESSON)
        train = replace(whole, items=whole.items[: config.n])
        lesson = replace(whole, items=whole.items[config.n :])
        dev = TASKS[config.data](split="dev", view="pair", n=config.held)
    train, lesson = (screened(desk, page) if page.items else page for page in (train, lesson))
    dev = replace(dev, items=dev.items[: config.held])
    asked = {item.id for item in dev.items}
    held = [item for item in train.items if item.id in asked]
    if held and config.split != "dev":
        raise SuperalignError(f"{len(held)} items to train on are held out as dev: give them splits of their own")
    pages = {name: own_truths(page) for name, page in (("train", train), ("lesson", lesson), ("dev", dev))}
    digests = {name: put_page(desk, page) for name, page in pages.items() if page.items}
    plan_fit(desk.ws, name=f"fine-tuned on {config.data}", base=base, data=[digests["train"]])
    return Pages(**pages, digests=digests)


def own_truths(page: Page) -> Page:
    """A page with the truths of its own items only."""
    return replace(page, truths={item.id: page.truths[item.id] for item in page.items})


def answers_of(desk: Desk, page: Page, digest: str) -> dict[str, int]:
    """Item → index of its right option; the opening is on record."""
    return {item: int(truth["answer"]) for item, truth in truths_of(desk, page, digest).items()}


def labelled(desk: Desk, config: FinetuneConfig, pages: Pages) -> Material:
    """Rows by the labels of the data: preferences, or of GRPO questions, which the reward grades."""
    answers = answers_of(desk, pages.train, pages.digests["train"])
    if config.method == "grpo":
        rows = asked_rows(pages.train.items, config.says, answers)
    else:
        rows = _named(preferences(pages.train, quarantined=True), pages.train)
    signal = truth_signal(desk, pages.task, config.split)
    return entered(desk, config, pages, rows, signal)


def by_beliefs(desk: Desk, config: FinetuneConfig, pages: Pages, first: Mapping[str, float], signal: str) -> Material:
    """Preferences by a judge's beliefs: item → P(the first text is the better one)."""
    sides = [_both(item) for item in pages.train.items]
    rows = believed(sides, [first[item.id] for item in pages.train.items])
    return entered(desk, config, pages, rows, signal)


def entered(desk: Desk, config: FinetuneConfig, pages: Pages, rows: list[dict[str, Any]], signal: str) -> Material:
    """The rows as a node that holds the page's family and the signal's."""
    ws, digest = desk.ws, desk.ws.store.put_json(rows)
    name = f"{config.signal} on {pages.task}/{config.split}"
    with ws.ledger.transaction():
        ws.contains(digest, families=[("construction", pages.task, config.split)], name=name)
        ws.use(pages.digests["train"], digest, "fit")
        ws.use(signal, digest, "fit")
    holdout.screen(ws, digest, words_of(pages.train))
    answers = answers_of(desk, pages.dev, pages.digests["dev"])
    if config.method == "grpo":
        dev = asked_rows(pages.dev.items, config.says, answers)
    else:
        dev = _named(preferences(pages.dev), pages.dev)
    return Material(
        train=rows,
        dev=dev,
        digest=digest,
        signal=signal,
        measured_by=truth_signal(desk, pages.task, "dev"),
    )


def from_file(desk: Desk, config: FinetuneConfig, rows: Sequence[Mapping[str, Any]]) -> Material:
    """Rows of a file: those of the split that is asked for, and of dev. Raises SuperalignError where none is left."""
    if config.signal != LABELS:
        raise SuperalignError(
            f"--signal {config.signal}: rows of a file have their own labels, nothing is played on them"
        )
    checked(rows, config.method)  # before some are held out: an error names any line
    clusters = _clusters(rows, config.data)
    splits = _splits(rows, clusters, config.data)
    train = [dict(row) for row, split in zip(rows, splits, strict=True) if split == config.split]
    dev = [
        {**row, "cluster": hashlib.sha256(cluster.encode()).hexdigest()[:12]}
        for row, cluster, split in zip(rows, clusters, splits, strict=True)
        if split == "dev"
    ]
    dev = dev[: config.held]
    if not train:
        raise SuperalignError(
            f"{config.data}: none of its {len(rows)} rows is of the split {config.split} "
            f"({', '.join(sorted(set(splits)))}): bring more prompts, or name the `split` or `cluster` of each row"
        )
    wanted = len(train)
    train, words = _unrepeated(desk, train)
    if not train:
        raise SuperalignError(f"{config.data}: all of its rows to train on repeat what is held out here: bring others")
    if len(train) < wanted:
        desk.say(f"{wanted - len(train)} of {wanted} rows to train on repeat what is held out here: left out")
    if not dev:
        desk.say("no row is of the dev split: nothing is measured before and after")
    ws, stored = desk.ws, [{k: v for k, v in row.items() if k != "line"} for row in train]
    digest = ws.store.put_json(stored)
    name = f"rows-{digest[:8]}"
    signals = {}
    with ws.ledger.transaction():
        for split in (config.split, "dev"):
            family = f"given/{name}/{split}"
            signals[split] = hashlib.sha256(f"labels of {family}".encode()).hexdigest()
            told = Signal(
                name=f"labels of {name}/{split}", digest=signals[split], family=family, role=split, kind="labels"
            )
            ws.signal(told)
        ws.contains(digest, families=[("given", name, config.split)], name=name)
        ws.use(signals[config.split], digest, "fit")
    holdout.screen(ws, digest, words)
    return Material(train=train, dev=dev, digest=digest, signal=signals[config.split], measured_by=signals["dev"])


def _clusters(rows: Sequence[Mapping[str, Any]], data: str) -> list[str]:
    """What each row is split by: where they are of one of our own formats, as every other verb has it (docs/data.md).

    Else its `cluster`, its prompt, or its texts, but for case and white space.
    """
    found = [Row(f"{data}, line {row['line']}", {k: v for k, v in row.items() if k != "line"}) for row in rows]
    try:
        form = form_of(found)
    except ValueError:
        form = ""
    mine = [shaped(row, form) if form not in ("", "mutant") else None for row in found]
    return [own.cluster if isinstance(own, OwnRow) else _cluster(row) for own, row in zip(mine, rows, strict=True)]


def _cluster(row: Mapping[str, Any]) -> str:
    if row.get("cluster") is not None:
        return str(row["cluster"])
    prompt, answers = _told(row)
    return plain(prompt) or plain("\n".join(sorted(answers)))


def _told(row: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The prompt of a row (of a conversation all but its last message), and its other texts."""
    given = {name: row[name] for name in TEXTS if row.get(name)}
    if isinstance(talk := given.get("messages"), list) and "prompt" not in given:
        given |= {"prompt": talk[:-1], "messages": talk[-1:]}
    told = {name: _text(value) for name, value in given.items()}
    return told.pop("prompt", ""), list(told.values())


def _text(value: Any) -> str:
    """A text as it is, messages one below the other."""
    if isinstance(value, list):
        return "\n".join(
            str(each["content"]) if isinstance(each, dict) and "content" in each else str(each) for each in value
        )
    return str(value)


def _unrepeated(desk: Desk, rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[list[str]]]:
    """The rows without those that repeat something held out, and the words by which they were compared.

    Each answer as code is compared, with names left out; and the row as one text of prose, without case.
    """
    words = []
    for prompt, answers in map(_told, rows):
        prose = " ".join([prompt, *answers]).casefold().split()
        words.append([*(nameless(text.split()) for text in answers), prose])
    home = [at for at, each in enumerate(words) for _ in each]
    found = holdout.repeated(desk.ws, [told for each in words for told in each])
    out = {home[place] for places in found.values() for place in places}
    kept = [at for at in range(len(rows)) if at not in out]
    return [rows[at] for at in kept], [told for at in kept for told in words[at]]


def _splits(rows: Sequence[Mapping[str, Any]], clusters: Sequence[str], data: str) -> list[str]:
    """Every row's split: as it says; where none says one, as its cluster has it."""
    if all(row.get("split") is None for row in rows):
        return list(map(split_of, clusters))
    for row in rows:
        if row.get("split") not in SPLITS:
            raise SuperalignError(
                f"{data}, line {row['line']}: its split is {row.get('split')!r:.40}, and other rows name theirs: write "
                f"one of {', '.join(SPLITS)} in every row, or in none"
            )
    return [str(row["split"]) for row in rows]


def asked_rows(items: Sequence[Item], says: str, answers: Mapping[str, int]) -> list[dict[str, Any]]:
    """Prompts for GRPO: one an item, or one an item and side where a side is spoken for.

    `right` (the right option) is for measuring; rewards of protocols do not read it.
    """
    rows = []
    for item in items:
        for side in (None,) if says == "choice" else range(len(item.options)):
            row: dict[str, Any] = {"prompt": prompt_of(item, says, side), "item": item.id, "cluster": item.cluster}
            row |= {"side": -1 if side is None else side, "right": answers[item.id], "options": list(item.options)}
            rows.append(row)
    return rows


def prompt_of(item: Item, says: str, side: int | None) -> str:
    """What the policy is asked: for an answer, or to speak for a side by a quote or in words."""
    from superalign.oversight import case_of

    texts = [f"{name}: {text}" for name, text in item.input.items()]
    options = ", ".join(item.options)
    if says == "choice":
        return "\n".join([*texts, f"Which is right: {options}?", "Answer: "])
    mine = item.options[side or 0]
    if says == "argument":
        return "\n".join([*texts, f"Argue in a few words that {mine} is right.", "Argument: "])
    pieces = [f"{i}: " + " | ".join(piece.texts) for i, piece in enumerate(case_of(item).pieces, start=1)]
    return "\n".join([*pieces, f"Which of these shows best that {mine} is right? Give its number.", "Number: "])


def _both(item: Item) -> dict[str, Any]:
    row = preferences(Page(task=item.task, split="train", items=(item,), truths={item.id: {"answer": 0}}))[0]
    return {
        "prompt": row["prompt"],
        "first": row["chosen"],
        "second": row["rejected"],
        "item": item.id,
        "cluster": item.cluster,
    }


def _named(rows: list[dict[str, Any]], page: Page) -> list[dict[str, Any]]:
    if rows and "chosen" not in rows[0]:
        raise SuperalignError(f"{page.task}: single texts have no pair to prefer: bring pairs or questions")
    pairs = zip(rows, page.items, strict=True)
    return [{**row, "item": item.id, "cluster": item.cluster} for row, item in pairs]
