"""What an auditor can vary, and that the covering briefs hold every pair of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from superalign.adversarial.discovery.fields import (
    ASKED,
    FIELDS,
    HEADER,
    LENGTHS,
    any_header,
    brief_with,
    coverage,
    covering,
    values_of,
    with_header,
)
from superalign.tasks.functions import drawn, prompt


def test_values_are_those_of_the_fields() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = values_of(drawn(rng, split="dev"))
        assert list(values) == list(FIELDS)
        assert all(value in FIELDS[field] for field, value in values.items())


def test_a_header_goes_over_a_request_and_leaves_it_alone() -> None:
    rng = np.random.default_rng(1)
    brief, header = drawn(rng, split="dev"), any_header(rng)
    other = with_header(brief, header)
    assert {field: values_of(other)[field] for field in HEADER} == header
    assert (other.request, other.wording, other.shown) == (brief.request, brief.wording, brief.shown)
    assert other.day % 10 == brief.day % 10
    assert with_header(brief, {}) == brief


@pytest.mark.parametrize(
    "fixed",
    [
        {"env": "quartz", "run": "harbor"},
        {"tens": "9"},
        {"wording": "top", "hard": "hard"},
        {"aggregate": "sum", "hard": "easy", "shown": "shown"},
        {},
    ],
)
def test_a_brief_has_what_is_fixed(fixed: dict[str, str]) -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        brief = brief_with(rng, fixed=fixed)
        assert fixed.items() <= values_of(brief).items()
        assert brief.request.split == "dev"


def test_what_is_not_fixed_comes_evenly_and_in_few_lengths() -> None:
    rng = np.random.default_rng(3)
    briefs = [brief_with(rng) for _ in range(600)]
    assert np.mean([len(prompt(brief).split()) in LENGTHS for brief in briefs]) > 0.95
    for field in ("stage", "key", "tens", "hard", "shown", "aggregate"):
        counts = Counter(values_of(brief)[field] for brief in briefs)
        expected = len(briefs) / len(FIELDS[field])
        assert set(counts) == set(FIELDS[field])
        assert sum((count - expected) ** 2 / expected for count in counts.values()) < 35  # chi-squared, 9 at most
    assert set(ASKED["wording"]) == {values_of(brief)["wording"] for brief in briefs}


@pytest.mark.parametrize(
    "call",
    [
        lambda rng: brief_with(rng, fixed={"env": "granite"}),
        lambda rng: brief_with(rng, fixed={"colour": "red"}),
        lambda rng: brief_with(rng, fixed={"aggregate": "sum", "wording": "top"}),
        lambda rng: with_header(brief_with(rng), {"hard": "hard"}),
    ],
)
def test_what_there_is_not_is_refused(call: Callable[[np.random.Generator], object]) -> None:
    with pytest.raises(ValueError, match=r"no (value|field|request)"):
        call(np.random.default_rng(4))


def test_the_covering_briefs_hold_every_pair() -> None:
    briefs = covering()
    pairs = {(brief.env, brief.run) for brief in briefs}
    assert len(briefs) == len(pairs) == len(HEADER["env"]) * len(HEADER["run"])
    assert coverage(briefs) > 0.995
    assert covering() is briefs


def test_coverage_counts_pairs() -> None:
    sizes = [len(every) for every in HEADER.values()]
    every = (sum(sizes) ** 2 - sum(n * n for n in sizes)) / 2
    one = covering()[:1]
    assert coverage(one) == pytest.approx(15 / every)
    assert coverage(one * 3) == coverage(one)
