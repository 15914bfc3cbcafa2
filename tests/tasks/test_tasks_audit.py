from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from superalign.tasks import AuditResult, Item, Page, audit, mutants, slips, traces
from superalign.tasks.audit import differing
from superalign.tasks.audit_order import order_of_pairs, order_of_singles
from superalign.tasks.item import SPLITS


def by_attacker(page: Page) -> dict[str, AuditResult]:
    return {result.attacker: result for result in audit(page)}


@pytest.mark.parametrize("view", ["pair", "single"])
def test_slips_pass(view: str) -> None:
    results = by_attacker(slips(split="dev", view=view))
    assert set(results) == {"metadata", "edit-lookup", "edit-logistic", "edit-order"}
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


def in_couples(page: Page) -> Page:
    """The page as it was once ordered: mirrored items side by side, the one whose key sorts first in front."""
    groups: dict[tuple[str, ...], tuple[list[Item], list[Item]]] = {}
    for item in page.items:
        before, after = page.truths[item.id]["key"]
        group = groups.setdefault((page.truths[item.id]["kind"], *sorted((before, after))), ([], []))
        group[before > after].append(item)
    couples = [pair for group in groups.values() for pair in zip(*group, strict=False)]
    order = np.random.default_rng(0).permutation(len(couples))
    return replace(page, items=tuple(item for i in order for item in couples[int(i)]))


@pytest.mark.parametrize("make", [mutants, slips])
@pytest.mark.parametrize(("view", "reached"), [("pair", 0.65), ("single", 0.56)])
def test_an_order_that_keeps_couples_together_is_caught(make: Callable[..., Page], view: str, reached: float) -> None:
    page = in_couples(make(split="dev", view=view))
    assert len(page.items) > 400
    results = by_attacker(page)
    assert results["edit-order"].accuracy > reached, results["edit-order"]
    assert not results["edit-order"].passed
    assert results["edit-logistic"].passed  # which sees the edits, and not their order


@pytest.mark.slow
@pytest.mark.parametrize("split", [split for split in SPLITS if split != "dev"])  # which test_slips_pass audits
@pytest.mark.parametrize("view", ["pair", "single"])
def test_every_page_of_slips_passes_in_its_order(split: str, view: str) -> None:
    for result in audit(slips(split=split, view=view)):
        assert result.passed, result


def test_the_order_attacker_sees_direction_and_place() -> None:
    """Exchanging the sides of a pair flips every feature; so does moving it by one place, among strangers."""
    runs = [[("+", "-")], [("a b", "c")], [("", "not")], [("1", "2"), ("x", "y")], []]
    turned = [[(b, a) for a, b in found] for found in runs]
    for here, there in zip(order_of_pairs(runs), order_of_pairs(turned), strict=True):
        assert here == {name: -value for name, value in there.items()}
    alone, moved = order_of_pairs(runs[:1])[0], order_of_pairs([*runs[1:2], *runs[:1]])[1]
    assert {name: -value for name, value in alone.items() if value} == {n: v for n, v in moved.items() if v}
    first, second = order_of_pairs([[("+", "-")], [("-", "+")]])
    assert first["neighbours, blotted False"] == second["neighbours, blotted False"] == 1.0
    assert order_of_singles(["x", "x"])[0] == {"odd 0, token x": 1.0, "odd 0, after 0": 1.0}


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
