from __future__ import annotations

import re
from collections import Counter

import pytest

from superalign.tasks import traces
from superalign.tasks.traces import apply_step, step_word

STEP = re.compile(r"(\+|-|\*\d) (\d) = (\d) ;")


def wrong_steps(text: str) -> list[int]:
    """Steps whose result does not follow from the value before them, worked out from the text alone."""
    value, rest = int(text[0]), text[4:]
    found = []
    steps = STEP.findall(rest)
    assert " ".join(f"{o} {a} = {r} ;" for o, a, r in steps) == rest
    for i, (operation, operand, result) in enumerate(steps):
        if operation == "+":
            right = value + int(operand)
        elif operation == "-":
            right = value - int(operand)
        else:
            right = value * int(operand) + int(operation[1])
        if right % 10 != int(result):
            found.append(i)
        value = int(result)
    return found


@pytest.mark.parametrize("steps", [1, 5, 12])
def test_a_single_has_its_wrong_step_and_no_other(steps: int) -> None:
    page = traces(split="dev", view="single", n=200, steps=steps)
    for item in page.items:
        truth = page.truths[item.id]
        assert wrong_steps(item.input["code"]) == ([truth["place"]] if truth["answer"] else [])
        assert item.difficulty == steps
    assert Counter(truth["answer"] for truth in page.truths.values()) == {0: 100, 1: 100}


def test_a_pair_has_one_right_side() -> None:
    page = traces(split="train", view="pair", n=200)
    for item in page.items:
        truth = page.truths[item.id]
        sides = [item.input["a"], item.input["b"]]
        assert wrong_steps(sides[truth["answer"]]) == []
        assert wrong_steps(sides[1 - truth["answer"]]) == [truth["place"]]
        at = step_word(truth["place"])
        a, b = (side.split() for side in sides)
        assert a[:at] == b[:at]
        assert a[at] != b[at]


def test_places_and_shifts_are_uniform() -> None:
    page = traces(split="dev", view="pair", n=2400)
    truths = page.truths.values()
    places, shifts = Counter(truth["place"] for truth in truths), Counter(truth["key"][0] for truth in truths)
    assert sum((places[i] - 200) ** 2 / 200 for i in range(12)) < 31.3  # chi-square, 11 degrees, p = 0.001
    assert sum((shifts[str(i)] - 2400 / 9) ** 2 / (2400 / 9) for i in range(1, 10)) < 26.1  # 8 degrees
    assert set(places) == set(range(12))


def test_pages_are_reproducible_and_splits_apart() -> None:
    assert traces(split="dev", n=50) == traces(split="dev", n=50)
    dev, test = traces(split="dev", n=50), traces(split="test", n=50)
    assert {item.input["code"] for item in dev.items}.isdisjoint(item.input["code"] for item in test.items)
    assert {item.id for item in dev.items}.isdisjoint(item.id for item in test.items)


@pytest.mark.parametrize(("operation", "operand", "value"), [("+", 4, 3), ("-", 4, 5), ("*2", 3, 9), ("*3", 0, 3)])
def test_steps(operation: str, operand: int, value: int) -> None:
    assert apply_step(9, operation, operand) == value


@pytest.mark.parametrize("wrong", [{"split": "holdout"}, {"view": "triple"}, {"steps": 0}])
def test_unknown_asks_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="traces has no split"):
        traces(**({"split": "dev", "n": 3} | wrong))  # type: ignore[arg-type]
