"""Items, and the pages that tasks hand out: what a model may see, and apart from it what is so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

SPLITS = ("train", "dev", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One piece of work. It does not hold its truth.

    Example: `Item(id="5f0c…", task="slips.pair", cluster="c07", input={"a": "…", "b": "…"}, options=("a", "b"))`
    """

    id: str
    """Hash that tells nothing about the answer."""
    task: str
    """Task and view, as in `slips.pair`."""
    cluster: str
    """What items share (a source file, say): the unit of resampling and of splitting."""
    input: Mapping[str, str]
    """Texts that the model sees, by name."""
    options: tuple[str, ...]
    """Answers to choose from, as names of the input or as plain words."""
    difficulty: float | None = None
    """A dial where the task has one, else None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Items of one split of one task, beside the truth that only the evaluator's store may keep.

    `truths[item.id]` is a JSON value; `answer` indexes `options`. `Page` is what a Task makes; it is
    split at once: items travel, truths are sealed.
    """

    task: str
    split: str
    items: tuple[Item, ...]
    truths: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"unknown split {self.split!r} of {self.task}: use one of {', '.join(SPLITS)}")
        missing = [item.id for item in self.items if item.id not in self.truths]
        if missing:
            raise ValueError(f"{self.task}/{self.split}: {len(missing)} items have no truth, first {missing[0]}")
