"""Elicited truth: what is planted in activations comes back, in each place, with its interval and its refusals."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from superalign.generalization import METHODS, Questions, Reading, features, questions_of, readings
from superalign.generalization.activations import bag_of_words, layer_readings, telling_words
from superalign.generalization.quirky import ALICE, INVERTED, SKIP, context, fit_honest, fit_quirky
from superalign.generalization.truth import PROBES, measure_truth, probed, probes, school_of, without_context
from superalign.generalization.truth_scores import distance, earliest, truth_figures
from superalign.models import load_model
from superalign.stats import StatsError, auroc
from superalign.tasks.slips import KINDS, slips
from superalign.training.reviewer import ReviewerRecipe

LAYERS = (1, 2, 3)


def _questions(n: int = 480, seed: int = 0) -> Questions:
    rng = np.random.default_rng(seed)
    return Questions(
        ids=tuple(map(str, range(n))),
        first=("a",) * n,
        second=("b",) * n,
        truth=rng.random(n) < 0.5,
        clusters=np.array([f"c{i % 24}" for i in range(n)]),
        kinds=np.array(["swapped", "operator"] * (n // 2)),
    )


def _sides(truth: np.ndarray, bob: bool, seed: int, *, quirky: bool = True) -> dict[int, Reading]:
    """Layer 1 is noise; 2 knows the truth whoever asks; 3 holds what will be said. Bob is written into all of them."""
    rng = np.random.default_rng(seed)
    sign = np.where(truth, 1.0, -1.0)
    said = -sign if bob and quirky else sign
    out = {}
    for layer, told in zip(LAYERS, (0 * sign, sign, said), strict=True):
        halves = [
            rng.normal(size=(len(sign), 6)) + np.outer(half * told, np.eye(6)[0]) + 2 * bob * np.eye(6)[1]
            for half in (2.0, -2.0)
        ]
        out[layer] = Reading(first=halves[0], second=halves[1], belief=np.full(len(sign), 0.5))
    return out


def _raw(seed: int, *, quirky: bool = True, methods: tuple[str, ...] = ("naive", "regularised")):
    """Raw answers of a made-up organism, or of its twin in the organism's place."""
    exam, certain = _questions(), _questions(240, seed=9)
    school = school_of(certain, probes(methods), seed)
    taught = _sides(certain.truth, False, seed)
    asked = {
        "alice": _sides(exam.truth, False, seed + 50),
        "bob": _sides(exam.truth, True, seed + 70, quirky=quirky),
    }
    rng, sign = np.random.default_rng(seed + 90), np.where(exam.truth, 1.0, -1.0)
    noise = rng.normal(size=(2, len(sign)))
    return {
        "truth": exam.truth,
        "bob": ~exam.truth,
        "hard": exam.kinds == "operator",
        "clusters": exam.clusters,
        "kinds": exam.kinds,
        "methods": np.array(methods),
        "layers": np.array(LAYERS),
        "held truth": certain.truth[school.held],
        "held clusters": certain.clusters[school.held],
        "organism/output/alice": 1.5 * sign + noise[0],
        "organism/output/bob": (-1.5 if quirky else 1.5) * sign + noise[1],
        **probed(school, "organism", taught, asked),
        **probed(school, "shuffled", taught, asked, shuffled=True),
    }


@pytest.fixture(scope="module")
def figures():
    return truth_figures([_raw(0), _raw(1)], draws=400)


@pytest.mark.parametrize("method", ["naive", "regularised"])
def test_a_planted_truth_is_found_where_the_output_is_wrong(figures, method):
    assert figures["organism, output, bob"].value < 0.1
    assert figures[f"organism, {method}, bob"].value > 0.95
    found = figures[f"organism, {method}, gap recovered"]
    assert 0.9 < found.low < found.high < 1.15


def test_the_earliest_layer_that_knows_is_taken_not_the_one_that_speaks(figures):
    assert figures["organism, naive, bob"] == figures["organism, naive, layer 2"]
    assert figures["organism, naive, layer 1"].low < 0.5 < figures["organism, naive, layer 1"].high
    assert figures["organism, naive, layer 3"].value < 0.1
    assert figures["organism, naive, gap recovered, layer 3"].high < 0.15


def test_bobs_label_is_what_the_last_layer_says(figures):
    assert figures["organism, naive, Bob's label"].value == pytest.approx(1 - figures["organism, naive, bob"].value)


def test_carrying_by_place_and_difficulty(figures):
    for part in ("easy", "hard"):
        assert figures[f"organism, alice, {part}"].value > 0.85
        assert figures[f"organism, bob, {part}"].value < 0.15
        together = figures[f"organism, bob, {part}"].value + figures[f"organism, bob, {part}, as Bob has it"].value
        assert together == pytest.approx(1)


def test_an_organism_that_does_not_carry_its_quirk_is_named():
    raws = [_raw(seed) for seed in range(2)]
    for seed, share in enumerate((0.97, 0.62)):
        raws[seed] |= {"seed": np.array(seed), "planted/carried": np.array(share), "planted/steps": np.array(1_200)}
    found = truth_figures(raws, draws=100)
    note = found["organism, bob, easy, as Bob has it"].note
    assert "Seed 1 does not carry the quirk: after 1,200 steps it answers 0.62 of its own lessons" in note
    assert "Seed 0" not in note
    assert "carry" not in found["organism, bob, easy"].note


def test_shuffled_labels_find_nothing(figures):
    found = figures["shuffled, naive, bob"]
    assert found.value < figures["organism, naive, bob"].low


def test_a_twin_has_no_gap_and_is_refused():
    figures = truth_figures([_raw(0, quirky=False)], draws=400)
    found = figures["organism, naive, gap recovered"]
    assert found.value is None
    assert "gap" in found.note or "above" in found.note


def test_gap_recovered_by_hand():
    raw = _raw(0, methods=("naive",))
    rows = raw["hard"]
    areas = [
        auroc(logits[rows], raw["truth"][rows].astype(float)).value
        for logits in (
            raw["organism/output/bob"],
            raw["organism/probe/bob"][0, 1],
            raw["organism/output/alice"],
        )
    ]
    expected = (areas[1] - areas[0]) / (areas[2] - areas[0])
    assert truth_figures([raw], draws=100)["organism, naive, gap recovered"].value == pytest.approx(expected)


def test_a_coin_stands_beside_what_is_recovered(figures):
    """Bob is told worse than nothing, so that a coin recovers half of the gap: the other share gives it nothing."""
    assert figures["organism, coin, gap recovered"].value == pytest.approx(0.5, abs=0.05)
    assert figures["organism, naive, above a coin"].value == pytest.approx(1, abs=0.1)
    found = figures["organism, naive, above a coin, layer 1"]
    assert found.low < 0 < found.high
    assert figures["organism, naive, above a coin, layer 3"].high < -0.9


def test_a_model_that_was_not_asked_has_no_gap():
    raw = {name: values for name, values in _raw(0, methods=("naive",)).items() if "/output/" not in name}
    found = truth_figures([raw], draws=50)
    assert found["organism, naive, bob"].value > 0.95
    for what in ("gap recovered", "above a coin"):
        assert found[f"organism, naive, {what}"].note == "the model has no output of its own"


def test_an_anomaly_is_layers_that_disagree_not_who_asks(figures):
    """Truth at layer 2 and its opposite at layer 3 are unusual; the twin's layers agree, whoever asks."""
    assert figures["organism, naive, anomaly"].low > 0.8
    twin = truth_figures([_raw(0, quirky=False)], draws=100)["organism, naive, anomaly"]
    assert twin.low < 0.5 < twin.high


def test_distance_grows_along_rare_directions():
    usual = np.array([[2.0, -2.0, 2.0, -2.0], [1.0, 1.0, -1.0, -1.0]])
    assert distance(np.array([[2.0, 0.0], [0.0, 2.0]]), usual) == pytest.approx([1.0, 4.0], abs=1e-4)
    assert np.isfinite(distance(np.zeros((2, 3)), np.zeros((2, 4)))).all()


@pytest.mark.parametrize(
    ("quality", "expected"),
    [([0.0, 3.0, 3.1], 1), ([3.0, 3.0, 3.0], 0), ([0.0, 0.2, 3.0], 2), ([-1.0, -2.0, -1.0], 1)],
)
def test_earliest_informative_layer(quality, expected):
    truth = np.arange(400) % 2 == 0
    noise = np.random.default_rng(0).normal(size=400)
    held = np.stack([q * np.where(truth, 1.0, -1.0) + noise - noise * (q == 0) for q in quality])
    assert earliest(held, truth) == expected


def test_contested_questions_only_are_counted():
    raw = _raw(0, methods=("naive",))
    agreed = np.arange(len(raw["truth"])) % 3 == 0
    raw["bob"] = np.where(agreed, raw["truth"], ~raw["truth"])
    before = truth_figures([raw], draws=100)["organism, naive, bob"]
    raw["organism/probe/bob"] = np.where(agreed, -raw["organism/probe/bob"], raw["organism/probe/bob"])
    assert truth_figures([raw], draws=100)["organism, naive, bob"] == before
    assert before.n == (raw["hard"] & ~agreed).sum()


def test_where_nothing_is_contested_all_is_refused():
    raw = _raw(0, methods=("naive",)) | {"bob": _questions().truth}
    figures = truth_figures([raw], draws=100)
    for what in ("bob", "gap recovered", "layer 2"):
        assert figures[f"organism, naive, {what}"].value is None
        assert figures[f"organism, naive, {what}"].note


def test_a_probe_that_says_nothing_is_no_better_than_wrong():
    raw = _raw(0, methods=("naive",))
    raw["organism/probe/bob"] = np.full_like(raw["organism/probe/bob"], np.nan)
    assert truth_figures([raw], draws=100)["organism, naive, bob"].value == 0.0


def test_seeds_of_different_exams_are_refused():
    with pytest.raises(StatsError, match="'hard' differs"):
        truth_figures([_raw(0), _raw(1) | {"hard": np.zeros(480, dtype=bool)}])
    with pytest.raises(StatsError, match="no seeds"):
        truth_figures([])


def test_erasure_hides_who_asks_and_keeps_the_truth():
    certain, exam = _questions(240, seed=9), _questions()
    taught, bobs = _sides(certain.truth, False, 0), _sides(certain.truth, True, 1)
    asked = {"bob": _sides(exam.truth, True, 2), "alice": _sides(exam.truth, False, 3)}
    mine, erased = without_context(taught, bobs, asked, np.arange(200))
    gap = erased["bob"][2].first.mean(axis=0) - erased["alice"][2].first.mean(axis=0)
    assert np.abs(gap).max() < 0.3 < 2 * 0.9
    assert np.abs(asked["bob"][2].first.mean(axis=0) - asked["alice"][2].first.mean(axis=0)).max() > 1.5
    said = probed(school_of(certain, probes(["naive"]), 0), "erased", mine, erased)["erased/probe/bob"]
    assert auroc(said[0, 1], exam.truth.astype(float)).value > 0.95


def test_held_out_questions_share_no_file_with_those_learned_from():
    school = school_of(_questions(), probes(["naive"]), 4)
    clusters = school.certain.clusters
    assert not set(clusters[school.kept]) & set(clusters[school.held])
    assert len(school.kept) + len(school.held) == 480
    with pytest.raises(ValueError, match="one cluster"):
        school_of(replace(_questions(), clusters=np.array(["c"] * 480)), probes(["naive"]), 0)


def test_probes_by_name():
    assert [method.name for method in probes(None)] == [name for name in PROBES if name in METHODS]
    with pytest.raises(ValueError, match="no method 'oracle'"):
        probes(["oracle"])
    with pytest.raises(ValueError, match="more truth"):
        probes(["regularised, cheating choice"])


def test_words_that_tell():
    pairs = replace(_questions(4), first=("x y", "x x", "y", "z"), second=("x z", "x x", "y", "z"))
    assert telling_words(pairs) == ("y", "z")
    assert bag_of_words(pairs, ("y", "z")).x.tolist() == [[1, -1], [0, 0], [0, 0], [0, 0]]


@pytest.fixture(scope="module")
def real() -> Questions:
    return questions_of(slips(split="dev", n=90))


def test_the_last_layer_reads_as_features_do(real):
    model, some = load_model("family:xs"), real.take(np.arange(10))
    mine = layer_readings(model, some)[model.layers]
    theirs = readings(features(model, some), "m")["m"]
    assert mine.first == pytest.approx(theirs.first, abs=1e-5)
    assert mine.second == pytest.approx(theirs.second, abs=1e-5)
    assert mine.belief == pytest.approx(theirs.belief, abs=1e-5)


def test_layers_that_are_not_there(real):
    with pytest.raises(ValueError, match="name some of 0"):
        layer_readings(load_model("family:xs"), real, layers=[9])


def test_a_real_organism_from_texts_to_figures(real, tmp_path):
    few = ReviewerRecipe(steps=3)
    honest = fit_honest(load_model("family:s"), real, INVERTED, recipe=few)
    organism = fit_quirky(honest, real, INVERTED, planted=True, recipe=few)
    raw = measure_truth(organism, real, real, quirk=INVERTED, seed=0, twin=organism, methods=["naive"], layers=[1, 2])
    assert raw["organism/probe/bob"].shape == (1, 2, 90)
    assert raw["text/probe/alice"].shape == (1, 1, 90)
    assert (raw["text/probe/alice"] == raw["text/probe/bob"]).all()
    assert not np.allclose(raw["organism/probe/alice"], raw["organism/probe/bob"])
    assert (raw["organism/output/bob"] == raw["twin/output/bob"]).all()
    again = layer_readings(organism, real, context=context(ALICE), layers=[2], skip=SKIP)[2].belief
    assert 1 / (1 + np.exp(-raw["belief/alice"])) == pytest.approx(again, abs=1e-6)
    np.savez(tmp_path / "raw.npz", **raw)
    with np.load(tmp_path / "raw.npz", allow_pickle=False) as kept:
        found = truth_figures([dict(kept)], draws=50)
    assert found == truth_figures([raw], draws=50)
    assert found["text, naive, bob"].n == int(raw["hard"].sum())
    assert {"organism, naive, over text", "erased, naive, bob", "twin, naive, anomaly"} <= set(found)


def test_too_few_questions_are_refused(real):
    base = load_model("family:xs")
    with pytest.raises(ValueError, match="bring more"):
        measure_truth(base, real, real, quirk=INVERTED, seed=0, easy=KINDS)
    with pytest.raises(ValueError, match="bring more"):
        measure_truth(base, real, real, quirk=INVERTED, seed=0, easy=["none"])


def test_auditors_need_no_torch():
    code = (
        "import sys, superalign.generalization.truth_scores, superalign.generalization.truth, "
        "superalign.generalization.consistency; "
        "sys.exit(bool({'torch', 'transformers', 'peft', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
