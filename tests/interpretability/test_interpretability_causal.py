"""Ablation and ablate-to-simulation: known effects, known scores, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from superalign.interpretability.causal import (
    ablation,
    calibrated,
    divergence,
    outward_alone,
    raw_of,
    raw_values,
    replaced,
    to_simulation,
    with_raw,
)
from superalign.interpretability.corpus import Corpus
from superalign.interpretability.explanation import Explanation
from superalign.interpretability.known import Planted, activation_of, corpus_of, planted
from superalign.interpretability.units import Site, directions, heads


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """Predicts a known function of one unit's true state, and of all others 0."""

    case: Planted
    scale: float = 1.0
    name: str = "oracle"
    wrong: bool = False
    nan: bool = False

    def predict(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        told = np.zeros((*ids.shape, self.case.site.units), dtype=np.float32)
        on = self.case.on(ids).astype(np.float32)
        told[..., self.case.unit] = self.scale * (1 - on if self.wrong else on) + (np.nan if self.nan else 0)
        return told

    def explanation(self, unit: int) -> Explanation:
        return Explanation(text="", bits=0.0)


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted("token", 0)


@pytest.fixture(scope="module")
def corpus(case: Planted) -> Corpus:
    return corpus_of(case, rows=200)


def test_divergence_is_jensen_shannon() -> None:
    p, q = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.25, 0.25, 0.5]])
    m = (p + q) / 2
    by_hand = 0.5 * (torch.xlogy(p, p / m) + torch.xlogy(q, q / m)).sum()
    assert divergence(p, q)[0] == pytest.approx(float(by_hand), rel=1e-5)
    assert divergence(p, p)[0] == 0
    assert divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])) == pytest.approx(np.log(2), rel=1e-5)


def test_small_divergences_keep_their_size() -> None:
    """Quadratic in the change down to where float32 logits end: subtracting entropies would lose these."""
    p = torch.softmax(torch.randn(1, 900, generator=torch.Generator().manual_seed(0)), -1)
    shift = torch.randn(1, 900, generator=torch.Generator().manual_seed(1))
    sizes = [float(divergence(p, torch.softmax(p.log() + step * shift, -1))) for step in (1e-2, 1e-3)]
    assert sizes[0] / sizes[1] == pytest.approx(100, rel=0.02)


def test_an_oracle_scores_one_and_its_reverse_zero(case: Planted, corpus: Corpus) -> None:
    rows, dev = corpus.rows("validation"), corpus.rows("dev")
    right, scaled, wrong, broken = (
        to_simulation(case.model, corpus, case.site, each, [[case.unit]], rows=rows, calibration=dev)[0]
        for each in (Oracle(case=case), Oracle(case=case, scale=-3.0, wrong=True), Oracle(case=case, wrong=True),
                     Oracle(case=case, nan=True))
    )  # fmt: skip
    assert right.score.value is not None
    assert right.score.value > 0.99
    assert right.score.low is not None
    assert right.score.low > 0.98
    assert right.mean_effect.value is not None
    assert right.mean_effect.value > 1e-3
    assert right.score.clusters == len(np.unique(corpus.clusters(rows)))
    assert scaled.score.value == pytest.approx(right.score.value, abs=1e-4), "the scale of a prediction is fitted"
    assert scaled.scale[0] == pytest.approx(right.scale[0] / 3, rel=1e-4)
    assert wrong.scale == (0.0,), "an explanation that says the opposite gets no credit for it"
    assert wrong.score.value == pytest.approx(0, abs=1e-9)
    assert broken.score.value is None
    assert "no finite number" in broken.score.note


def test_a_unit_without_effect_is_refused(case: Planted, corpus: Corpus) -> None:
    """One whose output weights are 0 changes nothing: no ratio of two nothings."""
    dead = (case.unit + 1) % case.site.units
    part = case.model.network.transformer.h[case.site.layer].mlp.c_proj.weight
    before = part[dead].clone()
    with torch.no_grad():
        part[dead] = 0
    try:
        told = to_simulation(case.model, corpus, case.site, Oracle(case=case), [[dead], [case.unit, dead]],
                             rows=corpus.rows("validation"), calibration=corpus.rows("dev"))  # fmt: skip
    finally:
        with torch.no_grad():
            part[dead] = before
    assert told[0].score.value is None
    assert "changes nothing that shows" in told[0].score.note
    assert told[1].score.value is not None, "a group with a unit that does something has a score"
    assert told[1].score.value > 0.99


def test_calibration_is_least_squares(case: Planted, corpus: Corpus) -> None:
    dev = corpus.rows("dev")
    scale, offset, mean = calibrated(case.model, corpus, case.site, Oracle(case=case), dev)
    counted = corpus.counted(dev)
    actual = activation_of(case, corpus.ids[dev])[counted].astype(np.float64)
    slope, intercept = np.polyfit(case.on(corpus.ids[dev])[counted], actual, 1)
    assert scale[case.unit] == pytest.approx(slope, rel=1e-4)
    assert offset[case.unit] == pytest.approx(intercept, abs=1e-4)
    assert mean[case.unit] == pytest.approx(actual.mean(), rel=1e-4)


@pytest.mark.parametrize("to", ["mean", "zero", "resample"])
def test_ablation_finds_the_unit_that_does_something(case: Planted, corpus: Corpus, to: str) -> None:
    others = [u for u in range(5) if u != case.unit]
    told = ablation(case.model, corpus, case.site, [[case.unit], *([u] for u in others)], to=to,  # type: ignore[arg-type]
                    rows=corpus.rows("validation"), reference=corpus.rows("dev"), seed=0)  # fmt: skip
    sizes = [each.divergence.value for each in told]
    assert all(size is not None for size in sizes)
    assert sizes[0] > 10 * max(sizes[1:])  # type: ignore[operator, type-var]


def test_putting_back_what_was_there_changes_nothing(case: Planted, corpus: Corpus) -> None:
    for site in (case.site, heads(case.model)[0], directions(case.model, 0, np.eye(2, 160, dtype=np.float32))):
        moved, worse = replaced(case.model, corpus, corpus.rows("test")[:3], site, [[0, 1]], lambda b, raw, u: raw)
        assert moved.max() < 1e-9
        assert np.abs(worse).max() < 1e-5


def test_replacing_directions_leaves_the_rest_of_the_stream(case: Planted) -> None:
    rng = np.random.default_rng(0)
    site = directions(case.model, 1, rng.standard_normal((3, 160)))
    stream = torch.from_numpy(rng.standard_normal((2, 5, 160)).astype(np.float32))
    changed = with_raw(site, stream, [0, 2], torch.zeros(2, 5, 2, 1))
    assert raw_of(site, changed)[:, :, [0, 2]].abs().max() < 1e-4
    off = torch.from_numpy(np.linalg.svd(site.directions[[0, 2]])[2][2:].astype(np.float32))  # type: ignore[index]
    torch.testing.assert_close(changed @ off.T, stream @ off.T, atol=1e-4, rtol=1e-4)
    alone = outward_alone(site)
    np.testing.assert_allclose((alone * torch.from_numpy(site.directions)).sum(1), 1, rtol=1e-5)


def test_heads_are_replaced_as_mixtures(case: Planted, corpus: Corpus) -> None:
    site, rows = heads(case.model)[0], corpus.rows("validation")
    raw = raw_values(case.model, corpus, rows, site)
    assert raw.shape == (int(corpus.counted(rows).sum()), 4, 40)
    told = ablation(case.model, corpus, site, [[0], [1]], rows=rows, reference=rows)
    assert told[0].divergence.value is not None
    assert told[1].divergence.value is not None
    assert told[0].divergence.value > told[1].divergence.value, "the head that copies does more than a random one"


@pytest.mark.parametrize(("groups", "rows"), [([[64]], [0]), ([], [0]), ([[0]], []), ([[]], [0])])
def test_bad_groups_are_named(case: Planted, corpus: Corpus, groups: list[list[int]], rows: list[int]) -> None:
    with pytest.raises(ValueError, match="from 0 to 63"):
        ablation(case.model, corpus, case.site, groups, rows=np.array(rows, dtype=int), reference=np.array([0]))


def test_predictions_of_another_shape_are_named(case: Planted, corpus: Corpus) -> None:
    site = Site(kind="neuron", layer=0, units=7, module=case.site.module)
    with pytest.raises(ValueError, match="is wanted"):
        to_simulation(case.model, corpus, site, Oracle(case=case), [[0]], rows=np.array([0]), calibration=np.array([0]))
