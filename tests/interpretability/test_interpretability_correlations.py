"""Correlations from sums: gaps between networks by hand, under chance, and where there is nothing to say."""

import subprocess
import sys

import numpy as np
import pytest

import superalign.interpretability as room
from superalign.interpretability.correlations import Scored, trained_over_fresh


def _scored(mean: float, *, units: int = 40, draws: int = 200, spread: float = 0.01, seed: int = 0) -> Scored:
    rng = np.random.default_rng(seed)
    value = mean + rng.normal(0, 0.1, units)
    value += mean - value.mean()
    wobble = rng.normal(0, spread, (draws, 1))
    return Scored(name="r", value=value, low=value, high=value, draws=value + wobble, clusters=30, windows=1)


def test_a_gap_by_hand():
    trained, fresh = _scored(0.5, spread=0.0), [_scored(mean, spread=0.0, seed=1) for mean in (0.28, 0.30, 0.32)]
    found = trained_over_fresh(trained, fresh)
    assert found.value == pytest.approx(0.2)
    half = 4.302653 * 0.02 / 3**0.5  # t of two degrees of freedom, seeds alone
    assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half))
    assert found.n == 40
    assert found.clusters == 30


def test_documents_widen_a_gap():
    fresh = [_scored(0.3, spread=0.0, seed=1), _scored(0.3, spread=0.0, seed=2)]
    narrow, wide = (trained_over_fresh(_scored(0.5, spread=spread), fresh) for spread in (0.001, 0.05))
    assert wide.high - wide.low > 10 * (narrow.high - narrow.low)


def test_a_gap_is_covered_as_often_as_it_says():
    rng, hits = np.random.default_rng(3), 0
    for trial in range(300):
        shift = rng.normal(0, 0.02)  # of the documents that were drawn
        fresh = [_scored(0.3 + rng.normal(0, 0.03), spread=0.0, seed=trial) for _ in range(5)]
        found = trained_over_fresh(_scored(0.5 + shift, spread=0.02, seed=trial), fresh)
        hits += found.low <= 0.2 <= found.high
    assert 0.91 <= hits / 300 <= 0.985


def test_units_without_a_score_are_left_out():
    trained = _scored(0.5, spread=0.0)
    trained.value[0], trained.draws[:, 0] = np.nan, np.nan
    found = trained_over_fresh(trained, [_scored(0.3, spread=0.0), _scored(0.3, spread=0.0)])
    assert found.n == 39
    assert np.isfinite(found.value)


@pytest.mark.parametrize("count", [0, 1])
def test_one_untrained_network_gives_no_interval(count):
    found = trained_over_fresh(_scored(0.5), [_scored(0.3)] * count)
    assert found.value is None
    assert f"{count} untrained networks" in found.note


def test_a_network_without_any_score_is_refused():
    silent = _scored(0.3)
    silent.value[:] = np.nan
    assert trained_over_fresh(_scored(0.5), [silent, silent]).value is None


def test_every_name_at_the_door_opens_and_hides_no_module():
    import importlib.util

    for name in room.__all__:
        assert getattr(room, name) is not None
        assert importlib.util.find_spec(f"superalign.interpretability.{name}") is None
    assert set(room.__all__) <= set(dir(room))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        room.nonsense  # noqa: B018


def test_the_door_and_correlations_load_no_torch():
    code = "import sys, superalign.interpretability.correlations; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
