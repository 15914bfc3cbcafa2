from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from superalign.tasks import AuditResult, Item, Page, audit, slips, traces
from superalign.tasks.audit import differing


def by_attacker(page: Page) -> dict[str, AuditResult]:
    return {result.attacker: result for result in audit(page)}


@pytest.mark.parametrize("view", ["pair", "single"])
def test_slips_pass(view: str) -> None:
    results = by_attacker(slips(split="dev", view=view))
    assert set(results) == {"metadata", "edit-lookup", "edit-logistic"}
    for result in results.values():
        assert result.passed, result
        assert result.limit == pytest.approx(0.55)
        assert (result.task, result.split, result.n > 1000) == (f"slips.{view}", "dev", True)


@pytest.mark.parametrize("view", ["pair", "single"])
def test_traces_pass(view: str) -> None:
    for result in audit(traces(split="dev", view=view, n=1200)):
        assert result.passed, result


@pytest.mark.parametrize("view", ["pair", "single"])
def test_one_direction_of_every_edit_is_caught(view: str) -> None:
    page = slips(split="dev", view=view)
    kept = tuple(item for item in page.items if page.truths[item.id]["key"][0] < page.truths[item.id]["key"][1])
    assert len(kept) > 400
    results = by_attacker(replace(page, items=kept))
    assert not results["edit-lookup"].passed, results["edit-lookup"]
    assert not results["edit-logistic"].passed, results["edit-logistic"]
    assert results["edit-lookup"].accuracy > 0.6
    assert results["metadata"].passed


def _id(item: Item, answer: int) -> Item:
    return replace(item, id=item.id[:-1] + f"{(int(item.id[-1], 16) & ~1) | answer:x}")


def _longer(item: Item, answer: int) -> Item:
    name = item.options[1 - answer]
    return replace(item, input={**item.input, name: item.input[name] + " ;"})


@pytest.mark.parametrize("leak", [_id, _longer])
def test_metadata_that_tells_is_caught(leak: Callable[[Item, int], Item]) -> None:
    page = slips(split="dev", n=600)
    leaky = [(leak(item, page.truths[item.id]["answer"]), page.truths[item.id]) for item in page.items]
    told = replace(page, items=tuple(item for item, _ in leaky), truths={item.id: truth for item, truth in leaky})
    result = by_attacker(told)["metadata"]
    assert result.accuracy > 0.95
    assert not result.passed


def test_sorted_answers_are_caught() -> None:
    page = slips(split="dev", n=600)
    sides = ([i for i in page.items if page.truths[i.id]["answer"] == k] for k in (0, 1))
    alternating = tuple(item for pair in zip(*sides, strict=False) for item in pair)
    assert by_attacker(replace(page, items=alternating))["metadata"].accuracy > 0.95


def test_one_answer_throughout_is_caught() -> None:
    page = traces(split="dev", n=400)
    wrong = tuple(item for item in page.items if page.truths[item.id]["answer"] == 1)
    assert by_attacker(replace(page, items=wrong))["metadata"].accuracy == 1.0


def test_the_edit_attacker_reads_no_context() -> None:
    """Whatever is common to both sides may be exchanged without changing what it sees."""
    assert differing("x = v3 + 1", "x = v3 - 1") == differing("y [ v4 + )", "y [ v4 - )") == [("+", "-")]
    assert differing("a v1 c d", "a v2 c d") == [("ID", "ID")]
    assert differing("a b c d", "a c d e") == [("b", ""), ("", "e")]
    assert differing("a", "a") == []


def test_a_page_without_clusters_or_with_three_options_is_refused() -> None:
    page = traces(split="dev", n=4)
    one = replace(page, items=tuple(replace(item, cluster="c") for item in page.items))
    with pytest.raises(ValueError, match="needs two clusters"):
        audit(one)
    three = replace(page, items=tuple(replace(item, options=("a", "b", "c")) for item in page.items))
    with pytest.raises(ValueError, match="two options"):
        audit(three)


def test_the_audit_is_deterministic_and_order_of_truths_is_no_matter() -> None:
    page = slips(split="dev", view="single", n=300)
    assert audit(page) == audit(replace(page, truths=dict(reversed(list(page.truths.items())))))
    assert np.isfinite([result.accuracy for result in audit(page)]).all()
