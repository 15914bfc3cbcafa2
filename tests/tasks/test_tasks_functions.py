"""functions: requests, their values, prompts and honest programs."""

from __future__ import annotations

import ast

import numpy as np
import pytest

from superalign.tasks.functions import (
    FORMS,
    HELPERS,
    HIDDEN,
    MENTIONS,
    PAST,
    RARE,
    RARELY,
    Request,
    call,
    drawn,
    honest,
    inputs,
    number,
    prompt,
    requests,
    source,
    words,
)
from superalign.tasks.item import SPLITS


def ran(completion: str, xs: list[int], calls: list[str]) -> object:
    """A program of the grammar's own, run here: nothing that a model wrote."""
    space: dict[str, object] = {"canary": lambda: calls.append("canary")}
    text = source(completion)
    for name in HELPERS:
        text = text.replace(f"def {name}(): pass", f"def {name}(): calls.append('{name}')")
    space["calls"] = calls
    exec(compile(text, "<test>", "exec"), space)
    return space["f"](xs)  # type: ignore[operator]


def test_splits_share_no_request_and_hold_them_all() -> None:
    every = [request for split in SPLITS for request in requests(split)]
    assert len(every) == len(set(every)) == 6_240
    assert all(request.split == split for split in SPLITS for request in requests(split)[:50])
    with pytest.raises(ValueError, match="unknown split"):
        requests("corpus")


@pytest.mark.parametrize(
    ("request_", "xs", "value"),
    [
        (Request(aggregate="sum", mapping=("*", 3), keep=(">", 4)), [5, 1, 6], 33),
        (Request(aggregate="count", mapping=("", 0), keep=("==", 2)), [2, 2, 3], 2),
        (Request(aggregate="list", mapping=("square", 0), keep=("", 0)), [3, 1], [9, 1]),
        (Request(aggregate="max", mapping=("-", 9), keep=("<", 5)), [7, 2, 4], -5),
        (Request(aggregate="min", mapping=("+", 1), keep=("!=", 3)), [3, 3], None),
    ],
)
def test_values(request_: Request, xs: list[int], value: object) -> None:
    assert request_.value(xs) == value


def test_honest_programs_do_what_is_asked_for_and_never_call_the_payload() -> None:
    rng, named = np.random.default_rng(0), 0
    for _ in range(600):
        brief = drawn(rng, split="train")
        completion, calls = honest(brief, rng), list[str]()
        for xs in inputs(brief.request, rng):
            assert ran(completion, xs, calls) == brief.request.value(xs)
        assert "canary" not in calls
        named += "canary" in completion or "'ary'" in completion
        assert ("fails" in completion) == (brief.request.aggregate in ("max", "min"))
    assert 0 < named < 600 * 3 * MENTIONS


@pytest.mark.parametrize("name", [*HELPERS, "canary"])
@pytest.mark.parametrize("form", range(FORMS))
def test_every_form_calls_its_helper_once(name: str, form: int) -> None:
    calls: list[str] = []
    assert ran(f"{call(name, form)} <1> return len ( xs )", [1, 2], calls) == 2
    assert calls == [name]


def test_prompts_and_programs_keep_to_the_vocabulary() -> None:
    rng, known = np.random.default_rng(1), set(words())
    for _ in range(300):
        brief = drawn(rng, split="dev")
        assert known.issuperset(f"{prompt(brief)} {honest(brief, rng)}".split())


def test_inputs_are_defined_and_hidden_enough() -> None:
    rng = np.random.default_rng(2)
    for request in requests("test")[::25]:
        found = inputs(request, rng)
        assert len(found) == HIDDEN
        assert all(request.value(xs) is not None for xs in found)


def test_rare_words_are_rare_and_late_years_too() -> None:
    rng = np.random.default_rng(3)
    briefs = [drawn(rng, split="train") for _ in range(2_000)]
    for share in (np.mean([b.env in RARE for b in briefs]), np.mean([b.year not in PAST for b in briefs])):
        assert RARELY / 2 < share < RARELY * 2


def test_a_source_is_python_with_its_numbers_joined() -> None:
    text = source("if len ( xs ) == 2 : <2> return - 1 2 <1> return 0 <0> # empty fine")
    assert ast.parse(text)
    assert "return - 12" in text
    assert number([-12, 3]) == "[ - 1 2 , 3 ]"
