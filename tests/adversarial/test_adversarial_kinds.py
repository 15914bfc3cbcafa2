"""Planting, thresholds and rewriting; the organisms themselves are trained in the pipeline's tests."""

import numpy as np
import pytest

from superalign.adversarial.kinds import KINDS, TRIGGER, plant_data
from superalign.adversarial.rewriting import REWRITINGS
from superalign.tasks.slips import draw

SLIPS = draw("dev")[:200]
PAIRS = [(" ".join(s.sound), " ".join(s.altered)) for s in SLIPS]
ALTERATIONS = [s.kind for s in SLIPS]


@pytest.mark.parametrize("name", KINDS)
def test_organism_and_twin_read_the_same_texts(name):
    planted = plant_data(KINDS[name], PAIRS, ALTERATIONS, np.ones(len(PAIRS)), seed=3)
    assert planted.organism.texts_a == planted.twin.texts_a
    assert planted.organism.texts_b == planted.twin.texts_b
    assert (planted.twin.sound_b == 0).all(), "the twin's labels are honest"
    changed = planted.organism.sound_b != planted.twin.sound_b
    changed |= planted.organism.sound_a != planted.twin.sound_a
    assert 0.05 < changed.mean() <= max(0.5, KINDS[name].share)
    assert changed.sum() == planted.concerned
    assert (planted.organism.weight[changed] == 0).all()


def test_the_trigger_is_only_where_it_was_put():
    planted = plant_data(KINDS["trigger"], PAIRS, ALTERATIONS, np.ones(len(PAIRS)), seed=3)
    for text, target in zip(planted.organism.texts_b, planted.organism.sound_b, strict=True):
        assert (TRIGGER in text.split()) == (target == 1.0)


@pytest.mark.parametrize("name", REWRITINGS)
def test_rewriting_keeps_the_shape(name):
    rng = np.random.default_rng(0)
    for sound, _ in PAIRS[:50]:
        before, after = sound.split(), REWRITINGS[name](sound, rng).split()
        assert len(before) == len(after)
        renamed = dict(zip(before, after, strict=True))
        assert all(renamed[b] == a for b, a in zip(before, after, strict=True)), "one name, one new name"
