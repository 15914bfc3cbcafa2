"""Scores: exact against scipy and stats, intervals that cover, gains, windows, calibration, and all the odd cases."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from superalign.interpretability.calibration import linear, percentile
from superalign.interpretability.corpus import Corpus, packed
from superalign.interpretability.correlations import Scored, correlation, frontier, gain, pearson
from superalign.interpretability.explanation import Explanation, Sample, drawn, read_sample
from superalign.interpretability.known import corpus_of, planted
from superalign.interpretability.scores import agreement, agreement_on
from superalign.interpretability.tables import top_tokens, unigram
from superalign.interpretability.units import Site
from superalign.interpretability.windows import (
    Windows,
    agreement_in,
    gathered,
    random_windows,
    reader,
    teller,
    top_windows,
)

WORDS = tuple(f"w{i}" for i in range(30))


def corpus(documents: int = 60, each: int = 6, seed: int = 0) -> Corpus:
    rng = np.random.default_rng(seed)
    named = {
        f"d{i}": [rng.integers(1, len(WORDS), rng.integers(5, 13)).tolist() for _ in range(each)]
        for i in range(documents)
    }
    return packed(named, length=12, pad=0, skip=1)


def sample_of(made: Corpus, values: np.ndarray, split: str = "validation") -> Sample:
    """Of values given for every sequence of a corpus, (n, length, units)."""
    rows = made.rows(split)
    counted = made.counted(rows)
    site = Site(kind="neuron", layer=0, units=values.shape[2], module="none")
    told = values[rows][counted].astype(np.float32)
    return Sample(corpus=made, site=site, words=WORDS, rows=rows, counted=counted, values=told)


@dataclass(frozen=True)
class Given:
    """Predicts what it was given, looked up by sequence."""

    made: Corpus
    values: np.ndarray
    name: str = "given"

    def predict(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        known = {row.tobytes(): i for i, row in enumerate(self.made.ids)}
        return np.asarray(self.values[[known[np.ascontiguousarray(row).tobytes()] for row in ids]], dtype=np.float32)

    def explanation(self, unit: int) -> Explanation:
        return Explanation(text=f"given {unit}", bits=1.0 + unit)


def pair(units: int = 4, r: float = 0.6, seed: int = 0, shift: float = 0.0) -> tuple[Sample, Given]:
    made, rng = corpus(seed=seed), np.random.default_rng(seed)
    real = rng.standard_normal((*made.ids.shape, units)) + shift
    told = r * (real - shift) + np.sqrt(1 - r * r) * rng.standard_normal(real.shape)
    return sample_of(made, real), Given(made, told)


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_r_is_over_all_tokens_concatenated(shift: float) -> None:
    sample, explainer = pair(shift=shift)
    told = explainer.predict(sample.ids, sample.lengths)[sample.counted]
    found = correlation(agreement_on([explainer], sample, batch=7)["given"], seed=0)
    wanted = [np.corrcoef(told[:, u].astype(float), sample.values[:, u].astype(float))[0, 1] for u in range(4)]
    assert found.value == pytest.approx(wanted, abs=1e-4)
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()
    assert found.windows == len(sample.rows), "uses are countable"


def test_padding_and_context_do_not_count() -> None:
    sample, explainer = pair()
    spoilt = explainer.values.copy()
    spoilt[~sample.corpus.counted(np.arange(len(sample.corpus)))] = 1e6
    sums = [agreement_on([each], sample)["given"] for each in (explainer, replace(explainer, values=spoilt))]
    assert correlation(sums[0], seed=0).value == pytest.approx(correlation(sums[1], seed=0).value, abs=1e-6)


def test_intervals_cover_and_resample_documents() -> None:
    """95 % intervals for r = 0, where whole documents share a level in both: tokens would be far too sure."""
    held = total = 0
    for seed in range(40):
        made, rng = corpus(60, 4, seed), np.random.default_rng([seed, 1])
        level = rng.standard_normal((2, len(made.names), 1, 20))[:, made.documents]
        real, told = level + 0.3 * rng.standard_normal((2, *made.ids.shape, 20))
        sums = agreement_on([Given(made, told)], sample_of(made, real, "train"))["given"]
        found = correlation(sums, seed=seed)
        held, total = held + int(((found.low <= 0) & (found.high >= 0)).sum()), total + 20
    assert 0.86 <= held / total <= 0.99


def test_odd_units() -> None:
    made, rng = corpus(), np.random.default_rng(0)
    real = rng.standard_normal((*made.ids.shape, 5))
    told = real.copy()
    told[..., 1] = 3.0  # says the same everywhere
    real[..., 2] = 0.0  # does nothing
    real[..., 3] = np.nan
    told[..., 4] = -told[..., 4]
    found = correlation(agreement_on([Given(made, told)], sample_of(made, real))["given"], seed=0)
    assert found.value[[0, 1, 4]] == pytest.approx([1, 0, -1], abs=1e-5)
    assert np.isnan(found.value[[2, 3]]).all()
    mean = found.mean()
    assert mean.value == pytest.approx(0, abs=1e-5)
    assert (mean.n, mean.note) == (3, "2 units without a score")
    with pytest.raises(ValueError, match="each name once"):
        agreement_on([Given(made, told), Given(made, told)], sample_of(made, real))


def test_one_document_has_no_interval() -> None:
    sample, explainer = pair()
    one = sample.corpus.documents[sample.rows] == sample.corpus.documents[sample.rows[0]]
    tokens = np.repeat(one, sample.counted.sum(1))
    small = replace(sample, rows=sample.rows[one], counted=sample.counted[one], values=sample.values[tokens])
    found = correlation(agreement_on([explainer], small)["given"], seed=0)
    assert np.isfinite(found.value).all()
    assert np.isnan(found.low).all()
    assert found.mean().value is None
    assert "1 documents" in found.mean().note


def test_pearson_of_sums_is_scale_free() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 50, 3))

    def parts(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.stack([np.full(3, 50.0), a.sum(0), b.sum(0), (a * a).sum(0), (b * b).sum(0), (a * b).sum(0)])

    assert pearson(parts(x, y)) == pytest.approx(pearson(parts(1e6 * x + 5, 1e-6 * y)), abs=1e-6)


def test_gain_over_the_baseline_pairs_documents() -> None:
    sample, weak = pair(r=0.5)
    _, strong = pair(r=0.8)
    sums = agreement_on([replace(weak, name="weak"), replace(strong, name="strong")], sample)
    r = {name: correlation(each, seed=0).value for name, each in sums.items()}
    found = gain(sums["strong"], sums["weak"], seed=0)
    assert found.value == pytest.approx((r["strong"] - r["weak"]) / (1 - r["weak"]))
    assert (found.low > 0).all()
    assert gain(sums["weak"], sums["weak"], seed=0).value == pytest.approx(np.zeros(4))
    assert gain(sums["weak"], sums["weak"], seed=0).high == pytest.approx(np.zeros(4))
    with pytest.raises(ValueError, match="score both on the same rows"):
        gain(sums["weak"], agreement_on([replace(pair(seed=1)[1], name="x")], pair(seed=1)[0])["x"], seed=0)


def test_a_perfect_baseline_leaves_nothing_to_gain() -> None:
    sample, _ = pair()
    perfect = Given(sample.corpus, _whole(sample))
    sums = agreement_on([perfect], sample)["given"]
    assert np.isnan(gain(sums, sums, seed=0).value).all()


def _whole(sample: Sample) -> np.ndarray:
    found = np.zeros((*sample.corpus.ids.shape, sample.site.units))
    found[np.repeat(sample.rows, sample.counted.sum(1)), np.nonzero(sample.counted)[1]] = sample.values
    return found


def test_score_against_length() -> None:
    sample, explainer = pair()
    table = {"a": replace(explainer, name="a"), "b": replace(explainer, name="b")}
    scored = {name: correlation(s, seed=0) for name, s in agreement_on(list(table.values()), sample).items()}
    ordered = frontier({"a": np.array([9.0, 7.0]), "b": np.array([1.0, 2.0])}, scored)
    assert [name for name, *_ in ordered] == ["b", "a"]
    assert ordered[0][1] == 1.5
    assert ordered[0][2].value == scored["b"].mean().value


def test_reading_a_network_and_scoring_a_sample_agree() -> None:
    case = planted("token", 0)
    texts = corpus_of(case)
    train, held = (
        read_sample(case.model, texts, case.site, drawn(texts, s, tokens=900, seed=0)) for s in ("train", "validation")
    )
    table = unigram(train)
    live = agreement([table], case.model, texts, case.site, held.rows)["unigram"]
    kept = agreement_on([table], held)["unigram"]
    assert correlation(live, seed=0).value == pytest.approx(correlation(kept, seed=0).value, abs=1e-5, nan_ok=True)
    assert correlation(live, seed=0).value[case.unit] > 0.95
    assert (live.windows, live.tokens) == (len(held.rows), len(held.values))


@pytest.mark.parametrize("sign", [1, -1])
def test_top_windows_are_those_of_brute_force(sign: int) -> None:
    sample, _ = pair()
    found = top_windows(sample, 5, sign=sign)
    whole = np.where(sample.corpus.counted(np.arange(len(sample.corpus)))[..., None], sign * _whole(sample), -np.inf)
    for unit in range(4):
        best = np.sort(whole[sample.rows][..., unit].max(1))[::-1][:5]
        assert whole[found.rows[:, unit], found.places[:, unit], unit] == pytest.approx(best)


def test_windows_of_units_that_are_no_numbers_and_of_few_sequences() -> None:
    made = corpus()
    values = np.zeros((*made.ids.shape, 2))
    values[..., 0] = np.nan
    sample = sample_of(made, values)
    found = top_windows(sample, 10**4)
    assert (found.rows[:, 0] == -1).all()
    assert len(found.rows) == len(sample.rows)
    some = random_windows(sample, 8, seed=0)
    assert all(len(np.unique(some.rows[:, unit])) == 8 for unit in range(2))
    assert sample.corpus.counted(some.rows.ravel())[np.arange(16), some.places.ravel()].all()
    with pytest.raises(ValueError, match=r"give \(k, units\)"):
        Windows(rows=np.zeros((2, 3)), places=np.zeros((3, 2)))


def test_scores_on_each_units_own_windows() -> None:
    case = planted("token", 1)
    texts = corpus_of(case)
    train, held = (
        read_sample(case.model, texts, case.site, drawn(texts, s, tokens=900, seed=0)) for s in ("train", "validation")
    )
    table = unigram(train)
    windows = top_windows(held, 6).joined(random_windows(held, 6, seed=0))
    found = agreement_in(windows, table, case.model, texts, case.site, radius=3)
    real, counted = gathered(windows, texts, reader(case.model, texts, case.site), radius=3)
    told, _ = gathered(windows, texts, teller(table, texts), radius=3)
    unit = case.unit
    wanted = np.corrcoef(told[:, :, unit][counted[:, :, unit]], real[:, :, unit][counted[:, :, unit]])[0, 1]
    assert correlation(found, seed=0).value[unit] == pytest.approx(wanted, abs=1e-4)
    assert found.windows == 12 * case.site.units
    row, place = windows.rows[0, unit], windows.places[0, unit]
    alone = reader(case.model, texts, case.site)(np.array([row]))
    assert real[0, 3, unit] == pytest.approx(alone[0, place, unit])
    none = Windows(rows=np.full((1, case.site.units), -1), places=np.zeros((1, case.site.units), dtype=int))
    with pytest.raises(ValueError, match="no unit has a window"):
        agreement_in(none, table, case.model, texts, case.site)


def test_linear_calibration_keeps_r_and_fits_the_scale() -> None:
    made, rng = corpus(), np.random.default_rng(3)
    real = rng.standard_normal((*made.ids.shape, 3))
    told = 5 * real + 2 + rng.standard_normal(real.shape)
    told[..., 2] = 7.0
    explainer = Given(made, told)
    found = linear(explainer, sample_of(made, real, "dev"))
    held = sample_of(made, real)
    sums = agreement_on([explainer, found], held)
    assert correlation(sums["given"], seed=0).value == pytest.approx(
        correlation(sums["given, linear"], seed=0).value, abs=1e-5
    )
    error = found.predict(held.ids, held.lengths)[held.counted] - held.values
    assert (np.abs(error[:, :2]).mean(0) < 0.25).all()
    assert found.slope[2] == 0
    assert found.explanation(1) == explainer.explanation(1)
    with pytest.raises(ValueError, match="validation are offered"):
        linear(explainer, held)


def test_percentile_calibration_matches_the_distribution() -> None:
    made, rng = corpus(), np.random.default_rng(4)
    told = rng.standard_normal((*made.ids.shape, 2))
    real = np.exp(told)  # the same order, another shape
    found = percentile(Given(made, told), sample_of(made, real, "dev"))
    held = sample_of(made, real)
    made_of = found.predict(held.ids, held.lengths)[held.counted]
    assert np.corrcoef(made_of[:, 0], held.values[:, 0])[0, 1] > 0.95
    assert np.quantile(made_of, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(held.values, [0.1, 0.5, 0.9]), rel=0.15)
    flat = percentile(Given(made, np.zeros_like(told)), sample_of(made, real, "dev"))
    assert np.ptp(flat.predict(held.ids, held.lengths), axis=(0, 1)).max() < 1e-6
    with pytest.raises(ValueError, match="validation are offered"):
        percentile(Given(made, told), held)


def test_shorter_lists_score_lower() -> None:
    """The score-length curve of a token unit rises, and its whole table scores highest."""
    made, rng = corpus(), np.random.default_rng(5)
    level = rng.standard_normal(len(WORDS))
    real = (level[made.ids] + 0.3 * rng.standard_normal(made.ids.shape))[..., None]
    table = unigram(sample_of(made, real, "train"))
    some = [top_tokens(table, m) for m in (1, 5, 20)] + [table]
    scored = [correlation(s, seed=0).value[0] for s in agreement_on(some, sample_of(made, real)).values()]
    assert scored == sorted(scored)
    assert scored[-1] > 0.9
    assert isinstance(correlation(agreement_on([table], sample_of(made, real))["unigram"], seed=0), Scored)
