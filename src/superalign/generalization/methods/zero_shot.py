"""Zero-shot: the student model's own belief, and nothing learned. What every method has to beat."""

from __future__ import annotations

from superalign.generalization.lesson import HeadStudent, Lesson, Method, ZeroShot


def fit(lesson: Lesson) -> ZeroShot:
    """Nothing is fitted."""
    return ZeroShot()


def fit_on_itself(lesson: Lesson) -> HeadStudent:
    """A head on the model's own beliefs, as labels."""
    return lesson.head(lesson.reading.belief)


ZERO_SHOT = Method(
    name="zero-shot",
    title="the student model's own belief",
    source="likelihood of the texts, no training",
    fit=fit,
    kind="control",
)
SELF_TRAINED = Method(
    name="self-training",
    title="a head on its own zero-shot belief",
    source="Lee 2013, pseudo-labels; UE zero-shot in Anthropic's automated researchers, 2026",
    fit=fit_on_itself,
    kind="unsupervised",
)
