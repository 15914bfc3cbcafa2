"""Effects of units: raw arrays are what the room below measures, figures are what they say; NaN is a case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from superalign.interpretability.attribution import exact_effects, loss_score
from superalign.interpretability.causal import ablation
from superalign.interpretability.corpora import code_corpus
from superalign.interpretability.corpus import Corpus, packed
from superalign.interpretability.known import WORDS, planted
from superalign.interpretability.units import heads, neurons
from superalign.models import LocalModel, load_model
from superalign.pipeline.arrays import arrays_from_bytes, arrays_to_bytes
from superalign.pipeline.interpret_causal import (
    DOSES,
    REFERENCE,
    CausalJob,
    causal_effects,
    ranked,
    resampled_pairs,
    slip_pairs,
)
from superalign.pipeline.interpret_causal_figures import causal_columns, causal_figures, clustered, rank_correlation
from superalign.pipeline.interpret_corpus import corpus_to_bytes
from superalign.pipeline.interpret_findings import Cited, spread_rows
from superalign.stats import mean_interval

Raw = dict[str, np.ndarray]
SIZES = {"pairs": 24, "patched": 12, "exact": 6, "windows": 8, "steered": 2}


@pytest.fixture(scope="module")
def model() -> LocalModel:
    return load_model("family:xs")


@pytest.fixture(scope="module")
def corpus(model: LocalModel) -> Corpus:
    return code_corpus(model, splits=("dev",), windows=300, length=48)


@pytest.fixture(scope="module")
def job(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> CausalJob:
    path = tmp_path_factory.mktemp("causal") / "corpus"
    path.write_bytes(corpus_to_bytes(corpus))
    return CausalJob(address="family:xs", corpus=path, seed=0, untrained=0, **SIZES)


@pytest.fixture(scope="module")
def raw(job: CausalJob) -> Raw:
    return arrays_from_bytes(arrays_to_bytes(causal_effects(job)))


def by_hand(units: int = 40, pairs: int = 60, seed: int = 0) -> Raw:
    """Effects that are exact but for the pair: unit i has size i."""
    rng = np.random.default_rng(seed)
    effects = np.arange(units) * rng.uniform(0.5, 1.5, (pairs, 1)) * rng.choice([-1, 1], (pairs, units))
    chosen = np.concatenate([np.arange(units - 8, units), np.arange(8)])
    size = chosen[:, None] * rng.uniform(0.9, 1.1, (16, 20))
    return {
        "sites": np.repeat(["neurons 0", "neurons 1"], units // 2),
        "units": np.tile(np.arange(units // 2), 2),
        "files": np.arange(pairs) // 2,
        "pairs": np.array(["text"]),
        "networks": np.array(["trained"]),
        "trained/effects": effects,
        "chosen": chosen,
        "first": np.arange(16) < 8,
        "exact": effects[:20, chosen],
        "divergence": size,
        "loss": size - 1,
        "documents": np.arange(20),
        "steered": np.array([0, 9]),
        "doses": np.array([-1.0, 1.0]),
        "change": np.stack([np.full((2, 20), 0.0), np.stack([np.full(20, -1.0), np.arange(20.0)])]),
        "aside": np.ones((2, 2, 20)),
    }


def test_every_unit_has_an_estimate_and_few_are_patched(raw: Raw, model: LocalModel) -> None:
    sites = (*neurons(model), *heads(model))
    units = sum(site.units for site in sites)
    assert raw["trained/effects"].shape == raw["untrained/effects"].shape == (24, units)
    assert ("trained/dropped" in raw) == (model.layers > 1), "there is nothing to drop in a single block"
    assert raw["exact"].shape == (12, 12)
    assert raw["first"].tolist() == [True] * 6 + [False] * 6
    assert len(set(raw["chosen"].tolist())) == 12
    size = np.abs(raw["trained/effects"]).mean(0)
    assert raw["chosen"][:6].tolist() == np.argsort(-size, kind="stable")[:6].tolist()
    assert raw["change"].shape == (4, len(DOSES), 12)
    assert raw["aside"].shape == (4, len(DOSES), 8)
    assert not any(array.dtype == object for array in raw.values())


def test_exact_effects_are_those_of_patching(raw: Raw, job: CausalJob, model: LocalModel) -> None:
    pairs = slip_pairs(model, job)
    row = int(raw["chosen"][0])
    site = next(s for s in (*neurons(model), *heads(model)) if s.name == raw["sites"][row])
    unit = int(raw["units"][row])
    told = exact_effects(model, site, [unit], pairs.clean[:12], pairs.other[:12], pairs.lengths[:12], loss_score)
    np.testing.assert_allclose(raw["exact"][:, 0], told[:, 0], atol=1e-6)


def test_ablation_is_that_of_the_room_below(raw: Raw, job: CausalJob, model: LocalModel, corpus: Corpus) -> None:
    place = int(np.flatnonzero([str(raw["sites"][row]).startswith("neurons") for row in raw["chosen"]])[-1])
    row = int(raw["chosen"][place])
    site = next(s for s in neurons(model) if s.name == raw["sites"][row])
    held, dev = corpus.rows("validation"), corpus.rows("dev")
    rows = held[spread_rows(corpus.clusters(held), 8, seed=0)]
    reference = dev[spread_rows(corpus.clusters(dev), REFERENCE, seed=0)]
    (told,) = ablation(model, corpus, site, [[int(raw["units"][row])]], rows=rows, reference=reference)
    assert raw["divergence"][place].mean() == pytest.approx(told.divergence.value, rel=1e-4)
    assert raw["loss"][place].mean() == pytest.approx(told.loss.value, rel=1e-3, abs=1e-6)
    assert raw["documents"].tolist() == corpus.clusters(rows).tolist()


def test_larger_doses_do_more_to_unrelated_text(raw: Raw) -> None:
    aside = raw["aside"].mean(2)
    near, far = aside[:, [1, 2]].mean(1), aside[:, [0, 3]].mean(1)
    assert (far > near).all()
    assert (aside >= 0).all()


def test_slips_are_pairs_of_one_length(job: CausalJob, model: LocalModel) -> None:
    pairs = slip_pairs(model, job)
    assert pairs.clean.shape == pairs.other.shape
    assert (pairs.clean != pairs.other).any(1).all()
    assert (pairs.clean[:, :3] == pairs.other[:, :3]).all()
    assert len(np.unique(pairs.clusters)) >= 20


def test_estimates_are_worth_something_on_the_family(raw: Raw) -> None:
    found = causal_figures(raw, draws=100, seed=0)
    agreed, difference = found["causal.agreement.first"], found["causal.divergence.difference"]
    assert agreed.value is not None
    assert agreed.value > 0.3
    assert difference.value is not None
    assert difference.value > 0
    trained, fresh = found["causal.share.trained"], found["causal.share.untrained"]
    assert trained.low is not None
    assert fresh.high is not None
    assert trained.low > fresh.high, "effects of a trained network are in few units"
    assert causal_figures(raw, draws=100, seed=0) == found


def test_each_cited_figure_is_there(raw: Raw) -> None:
    found = causal_figures(raw, draws=20, seed=0)
    columns = causal_columns(raw)
    cited = [cell for table in columns.tables for row in table.rows for cell in row if isinstance(cell, Cited)]
    assert {cell.figure for cell in cited} <= set(found)
    assert all(len(row) == len(table.head) for table in columns.tables for row in table.rows)
    assert all(len(array) == len(columns.units) for array in columns.columns.values())
    assert len(columns.causal) == len(columns.units)
    patched = [row for row, lines in columns.causal.items() if len(lines) > 1]
    assert sorted(patched) == sorted(raw["chosen"].tolist())
    assert np.isfinite(columns.columns["ablation"]).sum() == 12


def test_figures_say_what_the_arrays_hold() -> None:
    raw = by_hand()
    found = causal_figures(raw, draws=100, seed=0)
    assert found["causal.agreement.first"].value == pytest.approx(1)
    assert found["causal.missed"].value == 0
    assert found["causal.missed"].high == pytest.approx(1 - 0.025 ** (1 / 8))
    assert found["causal.share.trained"].value == pytest.approx(sum(range(32, 40)) / sum(range(40)))
    assert found["causal.divergence.first"].value == pytest.approx(raw["divergence"][:8].mean())
    assert found["causal.loss.difference"].value == pytest.approx(raw["loss"][:8].mean() - raw["loss"][8:].mean())
    assert found["causal.steering.neurons-1.12.swing"].value == 0
    assert found["causal.steering.neurons-0.1.swing"].value == pytest.approx(10.5)
    assert "causal.agreement.dropped" not in found
    assert "causal.share.untrained" not in found


def test_what_grad_drop_adds_is_told() -> None:
    raw = by_hand()
    raw["trained/dropped"] = -np.arange(40.0)
    found = causal_figures(raw, draws=20, seed=0)
    assert found["causal.agreement.plain"].value == pytest.approx(1)
    assert found["causal.agreement.dropped"].value == pytest.approx(-1)
    columns = causal_columns(raw)
    assert columns.columns["effect dropped"].tolist() == raw["trained/dropped"].tolist()
    assert "GradDrop" in str(columns.tables[0].rows[2][0])


def test_missed_units_are_counted() -> None:
    raw = by_hand()
    raw["exact"] = raw["exact"].copy()
    raw["exact"][:, 8:10] = 1000
    assert causal_figures(raw, draws=20, seed=0)["causal.missed"].value == pytest.approx(2 / 8)


def test_what_is_not_finite_is_refused_not_averaged() -> None:
    raw = by_hand()
    for name in ("exact", "divergence", "change"):
        raw[name] = raw[name].astype(float).copy()
    raw["exact"][0, 9] = np.nan
    raw["divergence"][0, 0] = np.nan
    raw["change"][0, 0, 0] = np.inf
    found = causal_figures(raw, draws=20, seed=0)
    for name in ("causal.missed", "causal.divergence.first", "causal.steering.neurons-1.12.swing"):
        assert found[name].value is None
        assert found[name].note
    assert found["causal.divergence.others"].value is not None
    columns = causal_columns(raw)
    assert columns.causal[32][2][1] is None, "the page says that it was not measured"


def test_few_files_have_no_share() -> None:
    raw = by_hand()
    raw["files"] = np.arange(60) // 30
    assert causal_figures(raw, draws=20, seed=0)["causal.share.trained"].value is None


def test_intervals_of_all_units_are_those_of_each() -> None:
    rng = np.random.default_rng(0)
    values, clusters = rng.standard_normal((50, 4)), rng.integers(0, 12, 50)
    low, high = clustered(values, clusters)
    for unit in range(4):
        one = mean_interval(values[:, unit], clusters=clusters)
        assert (low[unit], high[unit]) == pytest.approx((one.low, one.high))
    assert np.isnan(clustered(values, np.zeros(50))[0]).all()


def test_rank_correlation_of_ties_and_nan() -> None:
    up = np.arange(5.0)
    assert rank_correlation(up, up**3) == pytest.approx(1)
    assert rank_correlation(up, -up) == pytest.approx(-1)
    assert np.isnan(rank_correlation(up, np.ones(5)))
    assert np.isnan(rank_correlation(up, np.where(up == 2, np.nan, up)))
    assert np.isnan(rank_correlation(up[:2], up[:2]))


def test_ranking_leaves_dead_and_nan_units_last() -> None:
    sizes = np.array([0, 5, np.nan, 3, 4, 1, 2, 0.5])
    chosen, first = ranked(sizes, 3, seed=0)
    assert chosen[:3].tolist() == [1, 4, 3]
    assert first.tolist() == [True] * 3 + [False] * 3
    assert len(set(chosen.tolist())) == 6
    assert len(ranked(sizes, 100, seed=0)[0]) == 8, "no more than there are"
    with pytest.raises(ValueError, match="three others"):
        ranked(sizes[:5], 3, seed=0)


def other_corpus(documents: int = 60) -> Corpus:
    rng = np.random.default_rng(0)
    texts = {f"d{i}": [[1, *rng.integers(4, len(WORDS), n).tolist()] for n in (3, 12)] for i in range(documents)}
    return packed(texts, length=16, pad=0, skip=1)


def test_resampled_pairs_differ_in_counted_tokens_only() -> None:
    corpus = other_corpus()
    job = CausalJob(address="", corpus=Path(), seed=0, pairs=20)
    pairs = resampled_pairs(corpus, job)
    assert len(pairs.clean) == min(20, len(corpus.rows("validation")))
    changed = pairs.clean != pairs.other
    assert not changed[:, 0].any()
    assert not changed[np.arange(16) >= pairs.lengths[:, None]].any()
    assert 0.05 < changed.sum() / (pairs.lengths - 1).sum() < 0.4
    assert changed.any(1).mean() > 0.8


def test_other_models_are_measured_on_their_corpus(tmp_path: Path) -> None:
    made = planted("token", 1)
    made.model.network.save_pretrained(tmp_path / "m")  # type: ignore[operator]
    made.model.tokenizer.save_pretrained(tmp_path / "m")
    (tmp_path / "corpus").write_bytes(corpus_to_bytes(other_corpus()))
    job = CausalJob(address=f"hf:{tmp_path / 'm'}", corpus=tmp_path / "corpus", seed=0, **SIZES)
    raw = arrays_from_bytes(arrays_to_bytes(causal_effects(job)))
    assert raw["pairs"].tolist() == ["text with tokens drawn anew"]
    assert raw["networks"].tolist() == ["trained"]
    columns = causal_columns(raw)
    assert "tokens drawn anew" in columns.tables[0].paragraph
    assert np.isfinite(columns.columns["effect"]).all()
