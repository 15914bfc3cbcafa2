"""Other losses than cross-entropy on weak labels: product, soft self-targets, confidence window, reverse KL.

Product (openai/weak-to-strong): target ∝ p^β·y^α. Entropy and window (EleutherAI/w2s): logconf with the student's own
p in place of its verdict; cross-entropy only where the student is unsure. Reverse KL (Yao et al. 2025, 2502.11107):
KL(student ‖ supervisor). Each is given as the target whose cross-entropy has that loss's gradient in the logits,
p − target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.generalization.methods.logconf import TOPS, confidence
from superalign.generalization.reading import log_odds

if TYPE_CHECKING:
    import torch

    Loss = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
    """(logits, log-odds of the labels, progress) → targets."""

ALPHA, BETA = 1.0, 1.0
"""Exponents of label and prediction: the code's."""
RADIUS = 0.15
"""The student is unsure while max(p, 1 − p) < ½ + this: the code's."""


def product(logits: torch.Tensor, told: torch.Tensor, done: float) -> torch.Tensor:
    """p^β·y^α, normalised over yes and no: log-odds β·logit(p) + α·logit(y)."""
    return (BETA * logits + ALPHA * told).sigmoid()


def entropy(logits: torch.Tensor, told: torch.Tensor, done: float) -> torch.Tensor:
    """(1 − a)·y + a·p. Its gradient is (1 − a)(p − y): naive learning that slows down as a rises."""
    a = confidence(done, TOPS[0])
    return (1 - a) * told.sigmoid() + a * logits.sigmoid()


def window(logits: torch.Tensor, told: torch.Tensor, done: float) -> torch.Tensor:
    """The label where the student is unsure; elsewhere what it says itself, so that nothing pulls."""
    p = logits.sigmoid()
    return told.sigmoid().where((p - 0.5).abs() < RADIUS, p)


def reverse_kl(logits: torch.Tensor, told: torch.Tensor, done: float) -> torch.Tensor:
    """p − p(1 − p)(logit(p) − logit(y)), which need not lie in [0, 1]: cross-entropy is linear in its target."""
    p = logits.sigmoid()
    return p - p * (1 - p) * (logits - told)


def fit_with(loss: Loss) -> Callable[[Lesson], HeadStudent]:
    """The method with that loss; labels are kept 1e-6 away from 0 and 1."""

    def fit(lesson: Lesson) -> HeadStudent:
        import torch

        told = torch.tensor(log_odds(lesson.labels), dtype=torch.float32)
        return lesson.head(lesson.labels, target=lambda logits, done: loss(logits, told, done))

    return fit


PRODUCT = Method(
    name="product",
    title="target ∝ prediction × label",
    source="openai/weak-to-strong, 2023, product loss",
    fit=fit_with(product),
)
ENTROPY = Method(
    name="entropy",
    title="soft self-targets, a to .5",
    source="EleutherAI/w2s, 2024, log-entropy",
    fit=fit_with(entropy),
)
WINDOW = Method(
    name="window",
    title="cross-entropy where the student is unsure",
    source="EleutherAI/w2s, 2024, confidence window",
    fit=fit_with(window),
)
REVERSE_KL = Method(
    name="reverse KL",
    title="KL from student to supervisor",
    source="Yao et al. 2025, 2502.11107",
    fit=fit_with(reverse_kl),
)
