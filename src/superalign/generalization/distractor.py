"""A planted distractor: a line that opens every text, one of two, and tells nothing about which text is right.

Whatever looks for the most prominent feature finds the line instead of the truth (Farquhar et al. 2023, 2312.10029, who
end their texts in one of two words; salient features as in 2602.20400). Which text opens with which line is drawn half
and half within each kind and answer. Of slips the kinds are kept on which a model's own belief is weak. Names in random
slots would do for a distractor too, but are none: low and high ones lie in no direction of these models' features.

    questions = distracted(questions_of(slips(split="dev")), seed=0)
    carries(questions)                                       # does the first text open with the first line?
    material = questions.material(read(model, questions, "strong") | visible(questions))
    salience(material.readings["strong"], material)          # how prominent is it? AUROC of a principal direction
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from superalign.generalization.material import Material
from superalign.generalization.questions import Questions
from superalign.generalization.reading import Reading
from superalign.stats.interval import Interval
from superalign.stats.roc import auroc
from superalign.tasks.lexer import INDENTS, NAMED, SLOTS, TRACE_WORDS
from superalign.tasks.slips import HARD, vocabulary

CODE_MARKS = ("<S> <L0> ", "pass <L0> ")
"""Lines in family words: a string, and a statement that does nothing; the family is about as surprised by either."""
LOUD_MARKS = ("<S> <L0> ", "global x <L0> ")
"""The second surprises a model, so that its own belief follows the distractor too: zero-shot is punished."""
TEXT_MARKS = ("Banana.\n", "Shed.\n")
"""For other texts; the words are Farquhar's."""
LONGER, PLANTED = "longer", "distractor"


def distracted(questions: Questions, *, seed: int, kinds: Collection[str] = HARD, loud: bool = False) -> Questions:
    """The questions with a distractor, those of `kinds` only; all of them where none is of these kinds.

    A `loud` one sways a model's own belief as well. Raises ValueError for a loud one outside the family's words, where
    nobody knows what surprises the model, and for questions that carry a distractor already.
    """
    if len(questions) and _marked(questions) is not None:
        raise ValueError(f"these {len(questions)} questions carry a distractor already: plant it in the plain ones")
    wanted = np.flatnonzero(np.isin(questions.kinds, list(kinds)))
    some = questions.take(wanted) if len(wanted) else questions
    in_words = _in_family_words(some)
    if loud and not in_words:
        raise ValueError("a loud distractor is for texts in the embedded family's words: plant a quiet one")
    marks = LOUD_MARKS if loud else CODE_MARKS if in_words else TEXT_MARKS
    coin = _coins(some, np.random.default_rng([seed, 59]))
    first = tuple(marks[0 if heads else 1] + text for text, heads in zip(some.first, coin, strict=True))
    if some.second is None:
        return replace(some, first=first)
    second = tuple(marks[1 if heads else 0] + text for text, heads in zip(some.second, coin, strict=True))
    return replace(some, first=first, second=second)


def _coins(questions: Questions, rng: np.random.Generator) -> np.ndarray:
    """(n,) bool, half and half within each kind and answer, as near as their numbers allow."""
    coin = np.zeros(len(questions), dtype=bool)
    for kind in np.unique(questions.kinds):
        for yes in (True, False):
            cell = np.flatnonzero((questions.kinds == kind) & (questions.truth == yes))
            coin[cell] = (rng.permutation(len(cell)) + int(rng.integers(2))) % 2 == 0
    return coin


def _in_family_words(questions: Questions) -> bool:
    """Are these texts in the embedded family's words?"""
    known = vocabulary() | {*SLOTS, *NAMED, *TRACE_WORDS, *INDENTS}
    return bool(questions.first) and all(set(text.split()) <= known for text in questions.first[:20])


def _marked(questions: Questions) -> tuple[str, str] | None:
    """The two lines, where every text opens with one of them."""
    for marks in (CODE_MARKS, LOUD_MARKS, TEXT_MARKS):
        if all(text.startswith(marks) for texts in questions.texts for text in texts):
            return marks
    return None


def carries(questions: Questions) -> np.ndarray:
    """(n,) bool: does the first text, or the only one, open with the first line? ValueError without a distractor."""
    marks = _marked(questions)
    if marks is None or not len(questions):
        raise ValueError(f"{len(questions)} questions without a distractor: plant one with `distracted`")
    return np.array([text.startswith(marks[0]) for text in questions.first])


def eye(evidence: np.ndarray, *, paired: bool = True) -> Reading:
    """Whoever sees one visible feature only: (n,) evidence for yes, whose sign is all that it believes."""
    column = np.asarray(evidence, dtype=np.float32)[:, None]
    return Reading(first=column, second=np.zeros_like(column) if paired else None, belief=0.5 + np.sign(evidence) / 2)


def visible(questions: Questions) -> dict[str, Reading]:
    """What anyone sees without understanding: `longer` (in characters), and `distractor` where there is one.

    A supervisor can be biased toward either (`biased`), and a student's answers compared with them.
    """
    length = np.array([len(text) for text in questions.first], dtype=np.float64)
    paired = questions.second is not None
    if questions.second is None:
        other = np.full(len(length), np.median(length) if len(length) else 0.0)
    else:
        other = np.array([len(text) for text in questions.second], dtype=np.float64)
    found = {LONGER: eye(length - other, paired=paired)}
    if len(questions) and _marked(questions) is not None:
        found[PLANTED] = eye(np.where(carries(questions), 1.0, -1.0), paired=paired)
    return found


def follows(logits: np.ndarray, material: Material, feature: str = PLANTED) -> Interval:
    """AUROC of answers (n,) against a visible feature, with clusters: ½ for a student that ignores it.

    Questions on which the feature doesn't tell are left out. Raises ValueError where nobody has read it.
    """
    if feature not in material.readings:
        raise ValueError(f"nobody has read {feature!r}: add `visible(questions)` to the readings of the material")
    belief = material.readings[feature].belief
    tells = belief != 0.5
    return auroc(logits[tells], (belief[tells] > 0.5).astype(float), clusters=material.clusters[tells])


@dataclass(frozen=True, slots=True, kw_only=True)
class Salience:
    """How prominent a feature is among what a model reads, beside the truth."""

    share: float
    """Of the variance of scaled features, on this principal direction."""
    feature: Interval
    """AUROC of the direction against the feature, its sign chosen for it: from ½ on."""
    truth: Interval
    """The same against the truth."""


def salience(reading: Reading, material: Material, feature: str = PLANTED, *, direction: int = 0) -> Salience:
    """What the principal direction with that rank, from 0, of x (pairs: differences) tells of, each column scaled."""
    x = reading.x / (reading.x.std(axis=0) + 1e-6)
    left, sizes, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    along, yes = left[:, direction], material.truth.astype(float)
    return Salience(
        share=float(sizes[direction] ** 2 / (sizes**2).sum()),
        feature=max((follows(sign * along, material, feature) for sign in (1, -1)), key=_value),
        truth=max((auroc(sign * along, yes, clusters=material.clusters) for sign in (1, -1)), key=_value),
    )


def _value(interval: Interval) -> float:
    return -1.0 if interval.value is None else interval.value
