"""How often contrasts are wrong: `benchmarks/oversight_fwer.py`, with fewer boards."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "oversight_fwer.py"
spec = importlib.util.spec_from_file_location("oversight_fwer", PATH)
fwer = importlib.util.module_from_spec(spec)
sys.modules["oversight_fwer"] = fwer
spec.loader.exec_module(fwer)


def test_false_verdicts_are_as_rare_as_promised():
    """`benchmarks/oversight_fwer.py`, 150 boards: at 5 % more than 16 come about once in a thousand times."""
    design = fwer.DESIGNS[1]
    found = fwer.false_verdicts(fwer.simulated(design, clusters=120), design, 150, seed=1)
    assert found["fwer"] <= 16 / 150
    assert found["method"] == "clustered t"


def test_without_correction_they_would_not_be():
    """The same boards by uncorrected p: the benchmark can fail."""
    design, rng, told = fwer.DESIGNS[0], np.random.default_rng(2), 0
    bank = fwer.simulated(design, clusters=120)
    for _ in range(60):
        told += any(c.p <= 0.05 for c in fwer.played(*fwer.arms(bank, 40, rng)))
    assert told / 60 > 0.15


def test_power_is_about_as_predicted():
    design = fwer.DESIGNS[3]
    found = fwer.power(fwer.simulated(design, clusters=200), design, 60, seed=3)
    assert found["planted"] == pytest.approx(0.1, abs=0.02)
    assert found["discordant"] == pytest.approx(0.2, abs=0.03)
    assert found["low"] - 0.05 <= found["predicted"] <= found["high"] + 0.05


def test_the_arms_of_a_board_are_replays_of_the_same_items():
    bank = fwer.simulated(fwer.DESIGNS[1], clusters=60)
    belief, cluster = fwer.arms(bank, 40, np.random.default_rng(4))
    assert belief.shape == (13, len(cluster))
    assert len(np.unique(cluster)) == 40
    for name in np.unique(cluster):
        here, known = belief[:, cluster == name], bank.belief[:, bank.members[name]]
        rows = [int(np.flatnonzero((np.nan_to_num(known) == np.nan_to_num(row)).all(1))[0]) for row in here]
        assert len(set(rows)) == 13


def test_a_bank_of_real_episodes_is_loaded_or_says_what_it_lacks(tmp_path):
    rng, path = np.random.default_rng(5), tmp_path / "bank.npz"
    for replays, clusters, says in ((13, 40, ""), (12, 40, "13 replays at least"), (13, 39, "39 clusters")):
        np.savez(path, belief=rng.random((replays, 2 * clusters)), cluster=np.arange(2 * clusters) % clusters)
        if says:
            with pytest.raises(SystemExit, match=says):
                fwer.loaded(path)
        else:
            assert [len(m) for m in fwer.loaded(path).members] == [2] * 40
