"""traces: step-by-step calculations modulo ten with at most one wrong step; difficulty is the number of steps.

`5 ; + 4 = 9 ; *2 3 = 9 ;` starts at 5, adds 4, multiplies by 3 and adds 2. After a wrong step the rest follows from the
wrong value, so that exactly one step is wrong and each step can be checked on its own (Saunders 2022, §5 in spirit).

    page = traces(split="dev", view="single", n=200, steps=12)     # is a step wrong? which?
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from superalign.tasks.item import SPLITS, Item, Page
from superalign.tasks.slips import check_count, item_id

OPERATIONS = ("+", "-", "*2", "*3")
_SPLIT_KEY = {split: 11 + i for i, split in enumerate((*SPLITS, "corpus"))}


def apply_step(value: int, operation: str, operand: int) -> int:
    """Value after one step, modulo ten; `*k` multiplies and adds k.

    >>> apply_step(9, "*2", 3)
    9
    """
    if operation == "+":
        return (value + operand) % 10
    if operation == "-":
        return (value - operand) % 10
    return (value * operand + int(operation[1])) % 10


def render(start: int, program: list[tuple[str, int]], wrong: int | None = None, shift: int = 0) -> str:
    """Text of a calculation whose step `wrong` is off by `shift`; later steps follow from the wrong value."""
    words, value = [str(start), ";"], start
    for i, (operation, operand) in enumerate(program):
        value = apply_step(value, operation, operand)
        if i == wrong:
            value = (value + shift) % 10
        words += [operation, str(operand), "=", str(value), ";"]
    return " ".join(words)


def step_word(step: int) -> int:
    """Index of the word that holds the result of `step` (0-based) in a rendered calculation."""
    return 2 + 5 * step + 3


def random_program(rng: np.random.Generator, steps: int) -> tuple[int, list[tuple[str, int]]]:
    """Start value and `steps` random (operation, operand) pairs."""
    operations = rng.integers(len(OPERATIONS), size=steps)
    operands = rng.integers(10, size=steps)
    return int(rng.integers(10)), [(OPERATIONS[o], int(a)) for o, a in zip(operations, operands, strict=True)]


def traces(*, split: str, view: str = "single", n: int = 1000, steps: int = 12, seed: int = 0) -> Page:
    """`n` calculations of `steps` steps as a page; half have one wrong step, its place and shift uniform.

    `view="single"`: input `code`; `answer` 1 is "wrong", `place` the wrong step (0-based) or None.
    `view="pair"`: inputs `a` and `b` differ from the wrong step on; `answer` is the index of the right one.
    Raises ValueError for an unknown split or view, or fewer than one calculation or step.
    """
    check_count("traces", n)
    if split not in _SPLIT_KEY or view not in ("pair", "single") or steps < 1:
        raise ValueError(
            f"traces has no split {split!r}, view {view!r}, steps {steps}: "
            f"splits are {SPLITS}, views pair and single, steps from 1"
        )
    rng = np.random.default_rng([seed, _SPLIT_KEY[split], steps])
    coins = rng.permutation(n) % 2
    items, truths = [], {}
    for i in range(n):
        start, program = random_program(rng, steps)
        wrong, shift, coin = int(rng.integers(steps)), int(rng.integers(1, 10)), int(coins[i])
        texts = (render(start, program), render(start, program, wrong, shift))
        name = item_id("traces", view, split, seed, steps, i)
        shown = {"a": texts[coin], "b": texts[1 - coin]} if view == "pair" else {"code": texts[coin]}
        options = ("a", "b") if view == "pair" else ("right", "wrong")
        items.append(
            Item(
                id=name,
                task=f"traces.{view}",
                cluster=name[:8],
                input=MappingProxyType(shown),
                options=options,
                difficulty=float(steps),
            )
        )
        place = wrong if view == "pair" or coin else None
        truths[name] = {"answer": coin, "kind": "step", "place": place, "key": [str(shift), str(10 - shift)]}
    return Page(task=f"traces.{view}", split=split, items=tuple(items), truths=MappingProxyType(truths))
