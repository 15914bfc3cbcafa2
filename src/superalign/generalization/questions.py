"""Questions as texts: pairs (which one is right?) or single texts (yes or no?), and how a model reads them.

questions = questions_of(slips(split="train", n=6000))
material = questions.material(read(weak, questions, "weak") | read(strong, questions, "strong"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from superalign.generalization.material import Material
from superalign.generalization.reading import Reading, zero_shot

if TYPE_CHECKING:
    from superalign.models import LocalModel
    from superalign.tasks.item import Page
    from superalign.training.features import TextFeatures

FAMILY_CONTEXT = "<by:none> <cue:none> "
"""What the embedded family reads before code: it says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """n questions of one split, and what is so."""

    ids: tuple[str, ...]
    first: tuple[str, ...]
    """The first text of each pair, or the only one."""
    second: tuple[str, ...] | None
    """The other text of each pair; None for questions about one text."""
    truth: np.ndarray
    """(n,) bool: is the first text the right one, or the answer yes?"""
    clusters: np.ndarray
    """(n,) str."""
    kinds: np.ndarray
    """(n,) str; "" where nothing is known."""
    difficulty: Mapping[str, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """All first texts, and all second ones where there are any."""
        return (self.first,) if self.second is None else (self.first, self.second)

    def take(self, rows: np.ndarray) -> Questions:
        """The same for some of the questions."""
        some = [int(row) for row in rows]
        return replace(
            self,
            ids=tuple(self.ids[i] for i in some),
            first=tuple(self.first[i] for i in some),
            second=None if self.second is None else tuple(self.second[i] for i in some),
            truth=self.truth[some],
            clusters=self.clusters[some],
            kinds=self.kinds[some],
            difficulty=MappingProxyType({name: values[some] for name, values in self.difficulty.items()}),
        )

    def sent(self) -> Questions:
        """The same, fit to be sent to another process: read-only mappings are not."""
        return replace(self, difficulty=dict(self.difficulty))

    def material(self, readings: Mapping[str, Reading]) -> Material:
        """These questions as models read them. Raises ValueError where readings are of other lengths."""
        return Material(
            readings=MappingProxyType(dict(readings)),
            truth=self.truth,
            clusters=self.clusters,
            kinds=self.kinds,
            difficulty=self.difficulty,
        )


def questions_of(page: Page, truths: Sequence[Mapping[str, Any]] | None = None) -> Questions:
    """A page of a task: pairs with input `a` and `b`, or items of one text with two options, the first meaning yes.

    `truths`, in the order of the items, stand for the page's own. Raises ValueError for other items, or none.
    """
    if not page.items:
        raise ValueError(f"{page.task}/{page.split} has no items: ask for some")
    told = [page.truths[item.id] for item in page.items] if truths is None else truths
    inputs = [dict(item.input) for item in page.items]
    names = set(inputs[0])
    if any(set(given) != names or len(item.options) != 2 for given, item in zip(inputs, page.items, strict=True)):
        raise ValueError(f"{page.task}: its items are no questions with two answers over the same texts")
    if names == {"a", "b"}:
        first, second = tuple(i["a"] for i in inputs), tuple(i["b"] for i in inputs)
    elif len(names) == 1:
        (name,) = names
        first, second = tuple(i[name] for i in inputs), None
    else:
        raise ValueError(
            f"{page.task}: its items have the texts {', '.join(sorted(names))}: pairs or single texts only"
        )
    return Questions(
        ids=tuple(item.id for item in page.items),
        first=first,
        second=second,
        truth=np.array([truth["answer"] == 0 for truth in told]),
        clusters=np.array([item.cluster for item in page.items]),
        kinds=np.array([str(truth.get("kind", "")) for truth in told]),
    )


def features(
    model: LocalModel, questions: Questions, *, context: str = FAMILY_CONTEXT, skip: int = 2
) -> tuple[TextFeatures, ...]:
    """Features of all first texts and, of pairs, of all second ones: one forward pass a text, no gradients.

    `context` stands before each text, and its first `skip` words do not count.
    """
    from superalign.training.features import extract

    return tuple(extract(model, [context + text for text in texts], skip=skip) for texts in questions.texts)


def readings(found: Sequence[TextFeatures], name: str) -> dict[str, Reading]:
    """`name` → all features; of the "weak" model also "narrow", its handicapped view."""
    told = [one.surprisal for one in found]
    belief = zero_shot((told[1] if len(told) == 2 else np.median(told[0])) - told[0])

    def reading(part: str) -> Reading:
        sides = [getattr(one, part) for one in found]
        return Reading(first=sides[0], second=sides[1] if len(sides) == 2 else None, belief=belief)

    return {name: reading("wide")} | ({"narrow": reading("narrow")} if name == "weak" else {})


def read(
    model: LocalModel, questions: Questions, name: str, *, context: str = FAMILY_CONTEXT, skip: int = 2
) -> dict[str, Reading]:
    """What a model makes of questions, as `features` and `readings` have it."""
    return readings(features(model, questions, context=context, skip=skip), name)
