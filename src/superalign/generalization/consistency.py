"""Is an answer the same however one asks? The same questions in other forms, in both orders, in other contexts.

    said = ask_forms(asking_model(model), questions, seed=0)       # form → (n,) log-odds; "" is the question as it is
    found = consistency(said, questions.truth, questions.clusters)
    found["renamed"].same.value                                    # share of answers that stay

What changes in a form tells nothing of the truth, so that any answer that changes is wrong once. Being consistent is
not being right: who answers by a quirk may do so in every form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from superalign.generalization.graded import mean_over
from superalign.generalization.lesson import Student
from superalign.generalization.material import score
from superalign.generalization.questions import FAMILY_CONTEXT, Questions, read
from superalign.generalization.quirky import ALICE, BOB, rewards_apart, reworded
from superalign.stats.interval import Interval, StatsError
from superalign.tasks.lexer import AUTHORS, CUES, INDENTS, SLOTS

if TYPE_CHECKING:
    from superalign.models import LocalModel

Ask = Callable[[Questions, str], np.ndarray]
"""(questions, what stands before each text) → (n,) log-odds of yes."""
PLAIN = ""
"""The form that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Another way to ask the same."""

    name: str
    title: str
    rewrite: Callable[[Questions, np.random.Generator], Questions] | None = None
    words: str | None = None
    """An author, a cue, or how a character's code opens: what stands in its place, None for what stood there."""
    flips: bool = False
    """Does the answer to the same question change its sign?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """One form against the question as it was."""

    same: Interval
    """Share of answers that stay; no answer, and a tie on one side only, count as changed."""
    before: Interval
    """Accuracy of the plain form."""
    after: Interval
    """Accuracy in this form."""
    change: Interval
    """After − before, paired."""


def _each(questions: Questions, change: Callable[[list[str]], list[str]]) -> Questions:
    """The texts of every question changed together: `change` is given both texts of a pair, or the only one."""
    changed = [change(list(texts)) for texts in zip(*questions.texts, strict=True)]
    first = tuple(texts[0] for texts in changed)
    return replace(questions, first=first, second=tuple(t[1] for t in changed) if questions.second else None)


def renamed(questions: Questions, rng: np.random.Generator) -> Questions:
    """Every identifier slot gets another number, the same in both texts of a pair."""

    def change(texts: list[str]) -> list[str]:
        names = dict(zip(SLOTS, (SLOTS[i] for i in rng.permutation(len(SLOTS))), strict=True))
        return [reworded(text, names) for text in texts]

    return _each(questions, change)


def indented(questions: Questions, rng: np.random.Generator) -> Questions:
    """All code one unit deeper, or where it is as deep as can be written, one less; else as it was."""

    def change(texts: list[str]) -> list[str]:
        depths = [INDENTS.index(word) for text in texts for word in text.split() if word in INDENTS]
        if not depths:
            return texts
        by = 1 if max(depths) + 1 < len(INDENTS) else -1 if min(depths) > 0 else 0
        names = {INDENTS[depth]: INDENTS[depth + by] for depth in set(depths)}
        return [reworded(text, names) for text in texts]

    return _each(questions, change)


def swapped(questions: Questions, rng: np.random.Generator) -> Questions:
    """The second text of each pair first. Heads on differences pass by construction. Single texts: ValueError."""
    if questions.second is None:
        raise ValueError("questions about single texts have no order: leave the form 'swapped' out")
    return replace(questions, first=questions.second, second=questions.first, truth=~questions.truth)


FORMS: Mapping[str, Form] = MappingProxyType(
    {
        form.name: form
        for form in (
            Form(name="renamed", title="identifiers renamed", rewrite=renamed),
            Form(name="indented", title="all code one unit deeper", rewrite=indented),
            Form(name="swapped", title="the texts in the other order", rewrite=swapped, flips=True),
            *(Form(name=f"by {word[4:-1]}", title=f"the author is {word}", words=word) for word in AUTHORS),
            *(Form(name=f"cue {word[5:-1]}", title=f"the cue is {word}", words=word) for word in CUES),
            Form(name="alice", title="Alice asks", words=ALICE),
            Form(name="bob", title="Bob asks", words=BOB),
        )
    }
)


def ask_forms(
    ask: Ask,
    questions: Questions,
    *,
    seed: int,
    before: str = FAMILY_CONTEXT,
    forms: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Form → (n,) log-odds of the answer to the question as it stands; the plain form has the name "".

    `before` stands before each text. By default all forms that change anything: a form in whose place the context has
    no word, or the same one, is none. Raises ValueError for a form that there isn't.
    """
    if forms is not None and (unknown := [name for name in forms if name not in FORMS]):
        raise ValueError(f"no form {', '.join(unknown)}: there are {', '.join(FORMS)}")
    said = {PLAIN: np.asarray(ask(questions, before), dtype=np.float64)}
    for name, form in FORMS.items() if forms is None else [(name, FORMS[name]) for name in forms]:
        if forms is None and not _another(form, questions, before):
            continue
        rng = np.random.default_rng([seed, 47])
        asked = form.rewrite(questions, rng) if form.rewrite else questions
        logits = np.asarray(ask(asked, placed(before, form.words)), dtype=np.float64)
        said[name] = -logits if form.flips else logits
    return said


def placed(before: str, words: str | None) -> str:
    """A context with `words` in the place of their like.

    >>> placed("<by:none> <cue:none> ", "<by:bot>")
    '<by:bot> <cue:none> '
    """
    for alike in (AUTHORS, CUES, (ALICE, BOB)):
        if words in alike:
            for word in alike:
                if word in before:
                    return before.replace(word, str(words))
    return before


def _another(form: Form, questions: Questions, before: str) -> bool:
    """Is this form another than the plain one?"""
    if form.words is not None:
        return placed(before, form.words) != before
    return questions.second is not None or not form.flips


def asking_model(model: LocalModel) -> Ask:
    """Questions about pairs put to a model with a reward head."""
    return lambda questions, before: rewards_apart(model, questions, before)


def asking_student(model: LocalModel, student: Student) -> Ask:
    """Questions put to a student with frozen features of `model`; what stands before the texts isn't in them."""

    def ask(questions: Questions, before: str) -> np.ndarray:
        return student.logits(read(model, questions, "asked", context=before, skip=len(before.split()))["asked"])

    return ask


def consistency(
    said: Mapping[str, np.ndarray], truth: np.ndarray, clusters: np.ndarray, *, level: float = 0.95
) -> Mapping[str, Consistency]:
    """Form → how many answers stay, and what becomes of accuracy; from log-odds (n,), or (seeds, n), and the truth.

    numpy and scipy alone. Raises StatsError without the plain form, or where shapes differ.
    """
    if PLAIN not in said:
        raise StatsError("no answers to the plain form, which the others are held against")
    plain = np.atleast_2d(said[PLAIN])
    before, found = score(plain, truth), {}
    for name, logits in said.items():
        if name == PLAIN:
            continue
        other = np.atleast_2d(logits)
        if other.shape != plain.shape:
            raise StatsError(f"form {name!r} has answers {other.shape}, the plain one {plain.shape}: ask the same")
        after = score(other, truth)

        def mean(values: np.ndarray, least: float) -> Interval:
            return mean_over(values, clusters, level=level, least=least, most=1.0).interval

        found[name] = Consistency(
            same=mean(stays(plain, other), 0.0),
            before=mean(before, 0.0),
            after=mean(after, 0.0),
            change=mean(after - before, -1.0),
        )
    return MappingProxyType(found)


def stays(plain: np.ndarray, other: np.ndarray) -> np.ndarray:
    """1 where two answers have the same sign and both are numbers, else 0; any shape.

    >>> stays(np.array([1.0, 0.0, np.nan]), np.array([2.0, 1.0, np.nan])).tolist()
    [1.0, 0.0, 0.0]
    """
    return np.asarray((np.sign(plain) == np.sign(other)) & np.isfinite(plain) & np.isfinite(other), dtype=np.float64)
