from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from superalign.models import LocalModel
from superalign.training.reviewer import PairData, ReviewerRecipe, fit_reviewer, padded, pair_loss

Make = Callable[..., LocalModel]
RECIPE = ReviewerRecipe(steps=40, batch=8, rate=1e-2, top=1, rank=2)


@pytest.fixture(scope="module")
def data() -> PairData:
    """Sound texts say `a = b`, altered ones `a - b`; the sound one is first in half of the pairs."""
    rng = np.random.default_rng(0)
    prefer = (rng.permutation(48) % 2).astype(np.float32)
    texts = []
    for first in prefer:
        words = rng.choice(["a", "b", "c", "d"], size=4)
        sound, altered = (f"{words[0]} {words[1]} {op} {words[2]} {words[3]}" for op in ("=", "-"))
        texts.append((sound, altered) if first else (altered, sound))
    return PairData.labelled([a for a, _ in texts], [b for _, b in texts], prefer)


def loss_of(model: LocalModel, data: PairData) -> float:
    a = torch.tensor([reading.reward for reading in model.read(data.texts_a)])
    b = torch.tensor([reading.reward for reading in model.read(data.texts_b)])
    return float(pair_loss(a, b, *(torch.tensor(x) for x in (data.prefer, data.sound_a, data.sound_b, data.weight))))


def test_fitting_lowers_the_loss_and_leaves_the_base(tiny: Make, data: PairData) -> None:
    base = tiny()
    start = fit_reviewer(base, data, name="start", recipe=ReviewerRecipe(steps=0, batch=8))
    fitted = fit_reviewer(base, data, name="reviewer", recipe=RECIPE)
    assert loss_of(fitted, data) < 0.5 * loss_of(start, data)
    wins = [a.reward > b.reward for a, b in zip(fitted.read(data.texts_a), fitted.read(data.texts_b), strict=True)]
    assert np.mean(np.array(wins) == (data.prefer > 0.5)) > 0.95
    assert base.sealed().digest == base.digest == tiny().digest
    assert base.head is None
    assert fitted.network.state_dict().keys() == base.network.state_dict().keys()
    assert not fitted.network.training


def test_the_seed_decides_everything(tiny: Make, data: PairData) -> None:
    short = ReviewerRecipe(steps=6, batch=8)
    first = fit_reviewer(tiny(), data, name="r", recipe=short, seed=3)
    torch.rand(5)  # whatever was drawn before is no matter
    assert fit_reviewer(tiny(), data, name="r", recipe=short, seed=3).identity == first.identity
    assert fit_reviewer(tiny(), data, name="r", recipe=short, seed=4).digest != first.digest


def test_fitting_again_goes_on_from_the_head(tiny: Make, data: PairData) -> None:
    first = fit_reviewer(tiny(), data, name="r", recipe=RECIPE)
    again = fit_reviewer(first, data, name="r2", recipe=ReviewerRecipe(steps=0, batch=8))
    assert again.digest == first.digest


def test_progress_counts_steps(tiny: Make, data: PairData) -> None:
    seen: list[tuple[int, int]] = []
    fit_reviewer(tiny(), data, name="r", recipe=ReviewerRecipe(steps=3, batch=8), progress=lambda *at: seen.append(at))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_fewer_pairs_than_a_batch_are_enough(tiny: Make, data: PairData) -> None:
    few = PairData.labelled(data.texts_a[:3], data.texts_b[:3], data.prefer[:3])
    assert fit_reviewer(tiny(), few, name="r", recipe=ReviewerRecipe(steps=2, batch=8)).digest


def test_no_data_and_bad_labels_are_refused(tiny: Make) -> None:
    with pytest.raises(ValueError, match="no pairs to fit r on"):
        fit_reviewer(tiny(), PairData.labelled([], [], np.zeros(0)), name="r")
    with pytest.raises(ValueError, match="lengths differ or NaN"):
        PairData.labelled(["a"], ["b"], np.array([np.nan]))
    with pytest.raises(ValueError, match="lengths differ or NaN"):
        PairData.labelled(["a", "b"], ["b"], np.array([1.0]))


def test_a_loss_that_is_not_finite_stops(tiny: Make, data: PairData) -> None:
    base = tiny()
    with torch.no_grad():
        next(base.network.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="loss is not finite at step 0"):
        fit_reviewer(base, data, name="r", recipe=RECIPE)


def test_the_pair_loss_is_bradley_terry_and_logistic() -> None:
    a, b, p, w = 0.7, -0.4, 0.8, 1.0
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    cross = lambda x, q: -q * np.log(sigmoid(x)) - (1 - q) * np.log(1 - sigmoid(x))  # noqa: E731
    want = w * cross(a - b, p) + 0.5 * (cross(a, p) + cross(b, 1 - p))
    got = pair_loss(*(torch.tensor([x], dtype=torch.float64) for x in (a, b, p, p, 1 - p, w)))
    assert float(got) == pytest.approx(want, abs=1e-9)
    singles = pair_loss(*(torch.tensor([x], dtype=torch.float64) for x in (a, b, p, p, 1 - p, 0.0)))
    assert float(singles) == pytest.approx(want - cross(a - b, p), abs=1e-9)


def test_padding() -> None:
    ids, mask = padded([[1, 2], [3, 4, 5]], pad=9)
    assert ids.tolist() == [[1, 2, 9], [3, 4, 5]]
    assert mask.tolist() == [[1, 1, 0], [1, 1, 1]]
