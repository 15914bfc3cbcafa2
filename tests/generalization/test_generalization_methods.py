"""Methods against their definitions, on data whose answer is known."""

import numpy as np
import pytest

from superalign.generalization import METHODS, Lesson, Reading, zero_shot
from superalign.generalization.material import halves, score
from superalign.generalization.methods.em import em_labels
from superalign.training.heads import fit_head


def _lesson(noise: float, *, n: int = 1500, seed: int = 0) -> tuple[Lesson, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 12))
    truth = x[:, 0] + 0.5 * x[:, 1] > 0
    labels = np.where(rng.random(n) < noise, ~truth, truth).astype(float)
    prior = np.clip(0.5 + 0.35 * np.where(truth, 1, -1) * (rng.random(n) < 0.9), 0, 1)
    reading = Reading(first=x, second=np.zeros_like(x), belief=prior)
    clusters = np.array([f"c{i % 30}" for i in range(n)])
    checked = np.zeros(n, dtype=bool)
    return Lesson(reading=reading, labels=labels, clusters=clusters, checked=checked, truth=truth), x, truth


@pytest.mark.parametrize("name", ["naive", "naive hard", "regularised", "logconf", "em", "em, 3 rounds"])
def test_every_method_learns_from_noisy_labels(name):
    lesson, _, truth = _lesson(0.3)
    right = score(METHODS[name].fit(lesson).logits(lesson.reading), truth).mean()
    assert right > 0.85


def test_em_beats_its_noisy_labels():
    """It need not beat a timid prior: the channel is estimated from the very labels that it corrects."""
    lesson, _, truth = _lesson(0.3)
    posterior = em_labels(lesson.labels, lesson.reading.belief)
    assert ((posterior > 0.5) == truth).mean() > (lesson.labels == truth).mean() + 0.05


def test_em_by_hand_for_one_round():
    labels, prior = np.array([1.0, 0.0, 1.0]), np.array([0.6, 0.4, 0.5])
    expected = [0.6 * 0.7 / (0.6 * 0.7 + 0.4 * 0.3), 0.4 * 0.3 / (0.4 * 0.3 + 0.6 * 0.7), 0.7]
    assert em_labels(labels, prior, rounds=1) == pytest.approx(expected)


def test_logconf_ramp_is_continuous_and_reaches_its_top():
    seen = []
    lesson, x, _ = _lesson(0.2, n=60)

    def target(logits, done):
        seen.append(0.5 * min(1.0, done / 0.2))
        return logits.sigmoid()

    fit_head(x, lesson.labels, target=target)
    assert max(seen) == 0.5
    assert max(np.diff(seen)) < 0.05


def test_swapping_the_pair_swaps_the_answer():
    lesson, x, _ = _lesson(0.1)
    student = METHODS["naive"].fit(lesson)
    swapped = Reading(first=np.zeros_like(x), second=x, belief=1 - lesson.reading.belief)
    assert student.logits(swapped) == pytest.approx(-student.logits(lesson.reading))


def test_halves_share_no_cluster():
    clusters = np.repeat([f"c{i}" for i in range(40)], 25)
    a, b = halves(clusters, (200, 400), np.random.default_rng(0))
    assert not set(clusters[a]) & set(clusters[b])
    assert len(a) == 200
    assert len(b) == 400


def test_ties_are_half_right():
    assert score(np.array([0.0, 1.0, -1.0]), np.array([True, True, True])).tolist() == [0.5, 1.0, 0.0]


def test_zero_shot_prefers_the_less_surprising():
    belief = zero_shot(np.array([1.0, -1.0]))
    assert belief[0] > 0.5 > belief[1]


@pytest.mark.parametrize("labels", [np.zeros(0), np.array([np.nan, 1.0])])
def test_bad_labels_are_refused(labels):
    with pytest.raises(ValueError, match="cannot fit"):
        fit_head(np.zeros((len(labels), 3), dtype=np.float32), labels)
