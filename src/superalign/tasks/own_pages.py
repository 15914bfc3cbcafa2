"""Pages of your own data: items that a model may see, beside what is so.

    page = own_page(own_data(Path("questions.jsonl")), split="dev", n=200)

What an item shows, by format (`question` is what a judge is asked; a passage has one sentence a line, and each line is
a piece that can be quoted):

| format | inputs | options |
|---|---|---|
| choice | question, context (where there is a passage) | the row's |
| preference | question, a, b | a, b |
| label | question, text | every label of the file |
| unpaired | question, answer | good, poor |
| stepwise | question, steps (one a line) | right, wrong |
| mutant | a, b, or code: as `mutants` has it | a, b, or sound, faulty |
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from superalign.tasks.item import SPLITS, Item, Page
from superalign.tasks.mutants import mutants
from superalign.tasks.own import OwnData
from superalign.tasks.own_forms import OwnRow
from superalign.tasks.own_sentences import sentences
from superalign.tasks.slips import check_count, item_id

ASKS = {
    "preference": "Which of the two answers is the better one?",
    "label": "Which label fits the text?",
    "unpaired": "Is the answer good?",
    "stepwise": "Is every step right?",
}
"""What is asked, after the row's own prompt."""


def own_page(
    data: OwnData, *, split: str, n: int | None = None, seed: int = 0, view: str = "pair", shuffle: bool = True
) -> Page:
    """The first `n` rows of a split, in an order that `seed` draws, as items and truths.

    Truths hold `answer` (index of the options), `kind` and `id` as the row has them, of steps also `labels` and
    `first_wrong`. Options of a row's own are dealt anew, the right one's place evenly; `shuffle=False` leaves them as
    the file has them ("none of the above" stays last), and `superalign tasks check` says what their places give away.
    `view` is for mutants: `pair` or `single`. Raises ValueError for an unknown split, fewer than one item, or when
    there are fewer than `n`.

    Example: `own_page(own_data(Path("questions.jsonl")), split="train").items[0].input["question"]`
    """
    if split not in SPLITS:
        raise ValueError(f"{data.name} has no split {split!r}: use one of {', '.join(SPLITS)}")
    check_count(data.name, n)
    held = [i for i, where in enumerate(data.splits) if where == split]
    if not held or (n is not None and n > len(held)):
        wanted = "some" if n is None else n
        raise ValueError(
            f"{data.name}/{split} holds {len(held)} rows, {wanted} were asked for: ask for fewer, or bring more"
        )
    if data.form == "mutant":
        return _renamed(data, mutants(split=split, view=view, n=n, seed=seed, made=[data.made[i] for i in held]))
    items, truths = items_of(data, held, seed=seed, salt=split, shuffle=shuffle, n=n)
    return Page(task=f"{data.name}.{data.form}", split=split, items=items, truths=truths)


def items_of(
    data: OwnData, held: Sequence[int], *, seed: int, salt: str = "", shuffle: bool = True, n: int | None = None
) -> tuple[tuple[Item, ...], Mapping[str, Mapping[str, Any]]]:
    """Items and truths of some rows, in a drawn order; a smaller `n` gives the beginning of a larger one's."""
    rng = np.random.default_rng([seed, 61, *salt.encode()])
    order = [held[i] for i in rng.permutation(len(held))]
    places = _places([data.rows[i] for i in order], rng)
    items, truths = [], {}
    for i, place in zip(order[:n], places, strict=False):
        item, truth = _item(data, data.rows[i], place, seed, shuffle)
        items.append(item)
        truths[item.id] = MappingProxyType(truth)
    return tuple(items), MappingProxyType(truths)


def _places(rows: Sequence[OwnRow], rng: np.random.Generator) -> list[int]:
    """Where the right option of each row is shown: of rows with k options, each place as often, in a drawn order."""
    places = [0] * len(rows)
    of: dict[int, list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        of[len(row.texts)].append(at)
    for options, members in sorted(of.items()):
        for begin in range(0, len(members), options):  # in rounds, so that the beginning of a page is even, too
            block = members[begin : begin + options]
            for at, place in zip(block, rng.permutation(options), strict=False):
                places[at] = int(place)
    return places


def _item(data: OwnData, row: OwnRow, place: int, seed: int, shuffle: bool) -> tuple[Item, dict[str, Any]]:
    name = item_id("own", data.form, seed, *row.content)
    texts, at = (
        _dealt(row, place, name) if shuffle and data.form in ("choice", "preference") else (row.texts, row.answer)
    )
    shown = {"question": "\n".join(part for part in (row.question, ASKS.get(data.form, "")) if part.strip())}
    options, truth = data.labels, {}
    if data.form == "choice":
        answer = (options := options or texts).index(row.texts[row.answer])
        shown |= {"context": "\n".join(sentences(row.context))} if row.context else {}
    elif data.form == "preference":
        options, answer = ("a", "b"), at
        shown |= dict(zip(options, texts, strict=True))
    elif data.form == "label":
        answer = options.index(str(row.answer))
        shown["text"] = row.texts[0]
    elif data.form == "unpaired":
        answer = 0 if row.answer == "true" else 1
        shown["answer"] = row.texts[0]
    else:
        first = next((step for step, right in enumerate(row.answer) if not right), None)
        answer, truth = int(first is not None), {"labels": list(row.answer), "first_wrong": first}
        shown["steps"] = "\n".join(" ".join(step.split()) for step in row.texts)
    item = Item(
        id=name,
        task=f"{data.name}.{data.form}",
        cluster=item_id("own cluster", row.cluster)[:8],
        input=MappingProxyType(shown),
        options=options,
        difficulty=row.difficulty,
    )
    return item, {"answer": answer, "kind": row.kind, "id": row.id, **truth}


def _dealt(row: OwnRow, place: int, name: str) -> tuple[tuple[str, ...], int]:
    """The row's texts with the right one at `place`, the others in an order that its id draws."""
    rest = [text for at, text in enumerate(row.texts) if at != row.answer]
    order = np.random.default_rng(int(name, 16)).permutation(len(rest))
    dealt = [rest[i] for i in order]
    dealt.insert(place, row.texts[row.answer])
    return tuple(dealt), place


def _renamed(data: OwnData, page: Page) -> Page:
    """Mutants of your own are a task of their own, not the shipped one."""
    task = f"{data.name}.mutant"
    return replace(page, task=task, items=tuple(replace(item, task=task) for item in page.items))
