"""Pages of items as the pipeline keeps them: stored, sealed, fingerprinted if held out, screened if trained on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from superalign.evidence import Signal, holdout
from superalign.pipeline.audited import audited_items, behaviour_items, nameless, stress_items
from superalign.pipeline.desk import Desk
from superalign.tasks.item import Page
from superalign.tasks.mutants import mutants
from superalign.tasks.slips import slips
from superalign.tasks.traces import traces


def put_page(desk: Desk, page: Page) -> str:
    """Store a page's items, register them as data, seal the truths; returns the data digest."""
    items = [{"id": i.id, "cluster": i.cluster, "input": dict(i.input)} for i in page.items]
    digest = desk.ws.store.put_json({"task": page.task, "split": page.split, "items": items})
    clusters = desk.ws.store.put_json(sorted({i.cluster for i in page.items}))
    desk.ws.contains(digest, families=[_family(page)], clusters_digest=clusters, name=f"{page.task}/{page.split}")
    desk.ws.seal(f"{page.task}/{page.split}/{digest[:8]}", {k: dict(v) for k, v in page.truths.items()})
    return digest


def truths_of(desk: Desk, page: Page, digest: str) -> dict[str, Any]:
    """The page's truths through the evaluator's handle; the opening is on record."""
    return desk.ws.evaluator().truths(f"{page.task}/{page.split}/{digest[:8]}")


def truth_signal(desk: Desk, task: str, split: str) -> str:
    """Register the truth of one split of a task as a signal of the split's role; returns its digest."""
    family = f"construction/{task}/{split}"
    digest = hashlib.sha256(f"truth of {family}".encode()).hexdigest()
    desk.ws.signal(Signal(name=f"truth of {task}/{split}", digest=digest, family=family, role=split, kind="labels"))
    return digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A page with its truths opened, in the order of its items."""

    page: Page
    digest: str
    truths: list[dict[str, Any]]

    @property
    def clusters(self) -> np.ndarray:
        """Cluster of each item."""
        return np.array([item.cluster for item in self.page.items])

    @property
    def answers(self) -> np.ndarray:
        """True answer of each item, as an index of its options."""
        return np.array([truth["answer"] for truth in self.truths])


def open_page(desk: Desk, page: Page) -> Opened:
    """Store and seal a page, then open its truths; the opening is on record."""
    digest = put_page(desk, page)
    truths = truths_of(desk, page, digest)
    return Opened(page=page, digest=digest, truths=[truths[item.id] for item in page.items])


def dev_page(desk: Desk) -> Page:
    """The pairs that fix the threshold."""
    return slips(split="dev", view="pair", n=desk.sizes.dev_pairs)


def mutant_page(desk: Desk) -> Page:
    """Faults that CPython's own tests prove, in held-out files, as words that the family reads: the far transfer."""
    return mutants(split="validation", view="pair", form="words", n=desk.sizes.mutant_pairs)


def opened_pages(desk: Desk) -> dict[str, Opened]:
    """The pages that the subject is asked about, truths opened."""
    sizes = desk.sizes
    return {
        "pairs": open_page(desk, slips(split="validation", view="pair", n=sizes.validation_pairs)),
        "singles": open_page(desk, slips(split="validation", view="single", n=sizes.validation_pairs)),
        "calculations": open_page(desk, traces(split="validation", view="pair", n=sizes.trace_pairs)),
        "mutants": open_page(desk, mutant_page(desk)),
        "steps": open_page(desk, traces(split="validation", view="single", n=2 * sizes.trace_pairs)),
    }


def test_page(desk: Desk) -> Page:
    """The pairs that are asked about once."""
    return slips(split="test", view="pair", n=desk.sizes.once_pairs)


def opened_test(desk: Desk) -> Opened:
    """The same, truths opened."""
    return open_page(desk, test_page(desk))


def held_out(desk: Desk) -> tuple[Page, ...]:
    """Every page that this run holds out, in the order of their fingerprints; the stress test's pairs come after."""
    sizes = desk.sizes
    return (
        dev_page(desk),
        test_page(desk),
        slips(split="validation", view="pair", n=max(sizes.test_pairs, sizes.validation_pairs)),
        slips(split="validation", view="single", n=sizes.validation_pairs),
        mutant_page(desk),
        traces(split="validation", view="pair", n=sizes.trace_pairs),
        traces(split="validation", view="single", n=2 * sizes.trace_pairs),
    )


def drawn(desk: Desk) -> str:
    """Digest of every item that this version of superalign holds out for such a run, in order: pages, then audits."""
    pages = [
        [[i.id, i.cluster, *i.input.values(), page.truths[i.id]["answer"]] for i in page.items]
        for page in held_out(desk)
    ]
    pairs = [[i.sound, i.altered, i.alteration, i.cluster] for i in (*behaviour_items(desk), *audited_items(desk))]
    return hashlib.sha256(json.dumps([pages, pairs]).encode()).hexdigest()


def fingerprint(desk: Desk) -> None:
    """Take the fingerprints of all that is held out, before anything is trained."""
    with desk.together("what is held out, fingerprinted") as new:
        if new:
            for page in held_out(desk):
                holdout.fingerprint(desk.ws, "/".join(_family(page)), words_of(page))
            audits = [nameless(code.split()) for pair in stress_items(desk) for code in (pair.sound, pair.altered)]
            holdout.fingerprint(desk.ws, "construction/slips/validation", audits)


def screened(desk: Desk, page: Page) -> Page:
    """The page without the items that repeat something held out, word for word or nearly so (names apart)."""
    found = {row for rows in holdout.repeated(desk.ws, words_of(page)).values() for row in rows}
    sides = len(page.items[0].input)
    kept = tuple(item for i, item in enumerate(page.items) if not found & set(range(sides * i, sides * (i + 1))))
    truths = MappingProxyType({item.id: page.truths[item.id] for item in kept})
    return replace(page, items=kept, truths=truths)


def words_of(page: Page) -> list[list[str]]:
    """Every text of every item as words, with names left out: renaming the variables makes no new item."""
    return [nameless(text.split()) for item in page.items for text in item.input.values()]


def _family(page: Page) -> tuple[str, str, str]:
    return ("construction", page.task.split(".")[0], page.split)
