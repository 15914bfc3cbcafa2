"""Students that change the network itself: all weights, or low-rank changes; and language modelling on the task before.

Other methods fit heads on frozen features. These need the network behind a reading (`Reading.source`), and cost as
much as training does. They begin at a linear probe on the weak labels, and then move everything (Kumar et al. 2022,
2202.10054, §4). Language modelling sees the texts of half B, the right ones and the wrong ones alike, and no label: it
makes the task more salient (Burns et al. 2023, 2312.09390, §5.2.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.generalization.reading import Reading, Source

if TYPE_CHECKING:
    from superalign.models import LocalModel  # torch loads where it is needed
    from superalign.training.bodies import Body

BURNS = "Burns et al. 2023, 2312.09390"
NETWORK = frozenset({"network"})
RANK, LORA_RATE, MODELLING_RATE = 8, 2e-3, 2e-4
"""Of LoRA, and the rate of language modelling: small, for the network is to stay the one that it was."""
EPOCHS, MODELLED = 1, 4_000
"""Times through the lesson, where a second brought nothing on dev files; and texts that are modelled, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyStudent:
    """A fine-tuned network with its head; it reads texts, not features."""

    body: Body

    def logits(self, reading: Reading) -> np.ndarray:
        """(n,) log-odds. Raises ValueError for a reading without texts."""
        return self.body.logits(source_of(reading).texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedHead:
    """A head on the features of a network that was changed before."""

    model: LocalModel
    head: HeadStudent

    def logits(self, reading: Reading) -> np.ndarray:
        """(n,) log-odds. Raises ValueError for a reading without texts."""
        return self.head.logits(read_by(self.model, reading))


def source_of(reading: Reading) -> Source:
    """Raises ValueError where a reading does not know the texts that it is of."""
    if reading.source is None:
        raise ValueError("this reading knows no texts and no network: give it a `source`, or choose another method")
    return reading.source


def read_by(model: LocalModel, reading: Reading) -> Reading:
    """The same questions as another model reads them; the belief stays that of the first."""
    from superalign.training.features import extract

    source = source_of(reading)
    sides = [extract(model, side, skip=source.skip).wide for side in source.texts]
    return Reading(first=sides[0], second=sides[1] if len(sides) == 2 else None, belief=reading.belief, source=source)


def fitted(*, rank: int = 0, confidence: float = 0.0, modelled: bool = False) -> Callable[[Lesson], BodyStudent]:
    """Fine-tune on the supervisor's probabilities; a label that was checked is learned as often as it counts."""

    def fit(lesson: Lesson) -> BodyStudent:
        from superalign.training.bodies import BodyRecipe, fit_body

        recipe = BodyRecipe(pool="wide", start="probe", epochs=EPOCHS, rank=rank, confidence=confidence)
        if rank:
            recipe = replace(recipe, rate=LORA_RATE)
        source = source_of(lesson.reading)
        rows = np.repeat(np.arange(len(lesson.labels)), np.round(lesson.weights).astype(int))
        base = modelling(lesson) if modelled else source.model
        texts, labels = source.take(rows).texts, lesson.labels[rows]
        return BodyStudent(body=fit_body(base, texts, labels, recipe=recipe, seed=lesson.seed))

    return fit


def modelling(lesson: Lesson) -> LocalModel:
    """The student's network after language modelling on texts of half B, each met once; of many, `MODELLED` of them."""
    from superalign.training.bodies import BodyRecipe
    from superalign.training.generative import generative

    source = source_of(lesson.reading)
    texts = [text for side in source.texts for text in side]
    if len(texts) > MODELLED:
        chosen = np.random.default_rng([lesson.seed, 67]).permutation(len(texts))[:MODELLED]
        texts = [texts[row] for row in np.sort(chosen)]
    return generative(source.model, texts, recipe=BodyRecipe(epochs=1, rate=MODELLING_RATE), seed=lesson.seed)


def fit_modelled(lesson: Lesson) -> TunedHead:
    """Language modelling first, then a head on the features of what came of it."""
    model = modelling(lesson)
    return TunedHead(model=model, head=lesson.head(lesson.labels, reading=read_by(model, lesson.reading)))


FULL = Method(
    name="full fine-tuning",
    title="all weights, cross-entropy on weak labels",
    source=f"{BURNS}, §4.2; begun at a probe, Kumar et al. 2022, 2202.10054, §4",
    fit=fitted(),
    needs=NETWORK,
)
FULL_CONFIDENT = Method(
    name="full fine-tuning, logconf",
    title="all weights, with the confidence loss",
    source=f"{BURNS}, §4.3.1 and A.4",
    fit=fitted(confidence=0.5),
    needs=NETWORK,
)
LORA = Method(
    name="LoRA",
    title=f"changes of rank {RANK}, cross-entropy on weak labels",
    source="Hu et al. 2021, 2106.09685, §4.1",
    fit=fitted(rank=RANK),
    needs=NETWORK,
)
GENERATIVE = Method(
    name="generative, then naive",
    title="language modelling on unlabelled task texts, then a head on frozen features",
    source=f"{BURNS}, §5.2.2",
    fit=fit_modelled,
    needs=NETWORK,
)
GENERATIVE_FULL = Method(
    name="generative, then full fine-tuning",
    title="language modelling on unlabelled task texts, then all weights on weak labels",
    source=f"{BURNS}, §5.2.2",
    fit=fitted(modelled=True),
    needs=NETWORK,
)
BODIES = (FULL, FULL_CONFIDENT, LORA, GENERATIVE, GENERATIVE_FULL)
