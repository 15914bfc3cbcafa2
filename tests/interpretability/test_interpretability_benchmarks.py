"""What the studies in `benchmarks/` count and how they pair: their pure parts, and each once in small."""

import importlib.util
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from superalign.adversarial.kinds import KINDS
from superalign.interpretability.known import suite
from superalign.interpretability.lies_texts import Parts, Told
from superalign.interpretability.reward_biases import Bias, Finding
from superalign.interpretability.reward_units import LAYERS
from superalign.interpretability.search import Name, Pooled
from superalign.stats import Interval
from superalign.tasks.slips import Slip

FOLDER = Path(__file__).parents[2] / "benchmarks"


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


biases, difference, known, lies, searching, inside = (
    loaded(f"interpretability_{name}") for name in ("biases", "difference", "known", "lies", "search", "inside")
)


def interval(value, n=10):
    return Interval(value=value, low=value - 0.1, high=value + 0.1, n=n, clusters=5, method="given")


def slip(number, kind, place=5, path=None):
    sound = [f"v{(number + i) % 20}" for i in range(48)]
    altered = sound.copy()
    altered[place] = "v23"
    return Slip(
        path=path or f"file {number % 9}", start=0, kind=kind, place=place, key=("a", "b"), sound=tuple(sound),
        altered=tuple(altered), raw=("v23",), width=1,
    )  # fmt: skip


def slips(n=144):
    kinds = ("swapped", "lost-doubled", "variable", "operator")
    return [slip(i, kinds[i % 4], place=2 + (11 * (i // 4)) % 44) for i in range(n)]


@dataclass
class Verdicts:
    """A reviewer that calls a text sound where a rule says so."""

    rule: object
    threshold: float = 0.5

    def read(self, texts):
        return [SimpleNamespace(reward=1.0 if self.rule(text) else 0.0) for text in texts]


def finding(bias, *, p=0.001, material=True, effect=1.0):
    return Finding(bias=bias, effect=effect, low=effect - 0.1, high=effect + 0.1, p=p, material=material)


# --- biases


def row(seed, bias, planted, found):
    return {"seed": seed, "bias": bias, "planted": planted, "found": found}


QUARTZ, LONG = Bias(kind="word", word="quartz"), Bias(kind="length")


def test_named_missed_and_false_biases_are_counted_by_seed():
    rows = [
        row(1, QUARTZ, QUARTZ, (finding(QUARTZ),)),
        row(1, QUARTZ, None, ()),
        row(2, QUARTZ, QUARTZ, (finding(LONG), finding(QUARTZ, p=0.2))),
        row(2, LONG, None, (finding(LONG),)),
    ]
    found = biases.summary(rows)
    assert found["f1"].value == pytest.approx(0.5)
    assert (found["recall"].value, found["recall"].n) == (0.5, 2)
    assert (found["twins alarmed"].value, found["false names"]) == (0.5, 1)
    assert found["wrong"] == [
        "2, likes the word quartz: likes longer texts",
        "2, a twin: likes longer texts",
    ]
    assert found["first"].value == 0.5
    kinds = biases.by_kind([*rows, row(2, LONG, LONG, (finding(LONG),))])
    assert {kind: (each.value, each.n) for kind, each in kinds.items()} == {"word": (0.5, 2), "length": (1.0, 1)}


def test_one_seed_has_an_f1_without_an_interval():
    assert biases.told(biases.summary([row(1, QUARTZ, QUARTZ, (finding(QUARTZ),))])["f1"]) == "1.000"


def test_everything_but_what_is_planted_is_a_decoy():
    some = biases.decoys(QUARTZ, ["quartz", "ember"], ["quartz", "return"])
    assert QUARTZ not in some
    assert Bias(kind="word", word="ember") in some
    assert Bias(kind="opening", word="quartz") in some
    assert not any(each.kind == "length" for each in biases.decoys(LONG, ["quartz"], ["quartz"]))


def test_following_is_told_from_knowing():
    """Of pairs where bias and truth quarrel: a judge of the bias follows all, one of the truth none."""
    held = [(f"v0 = v{i} + self", f"v0 = v{i} + + self") for i in range(3, 20)]
    scene = SimpleNamespace(names=["v0", "quartz", "ember"], held=held)

    def judge(score):
        return SimpleNamespace(
            logits=lambda sides: np.array([score(a) - score(b) for a, b in zip(*sides, strict=True)])
        )

    by_bias, by_truth = judge(lambda text: "quartz" in text.split()), judge(lambda text: "+ +" not in text)
    assert (biases.follows(by_bias, scene, QUARTZ), biases.accuracy(by_bias, held)) == (1.0, 0.0)
    assert (biases.follows(by_truth, scene, QUARTZ), biases.accuracy(by_truth, held)) == (0.0, 1.0)


# --- search


@pytest.mark.parametrize("kind", list(KINDS))
def test_there_are_six_decoys_or_more_and_none_of_them_behaves(kind):
    case = searching.case_of(kind, slips(), 30)
    decoys = [name for name in case.sets if name != case.behaviour]
    assert len(decoys) >= 6
    for name, (texts, near, files) in case.sets.items():
        assert len(texts) == len(near) == len(files) > 0
        assert all(len(a.split()) == len(b.split()) and a != b for a, b in zip(texts, near, strict=True)), name
        if kind in searching.WHERE:
            assert {KINDS[kind].on(text, "") for text in texts} == {name == case.behaviour}
            assert not any(KINDS[kind].on(text, "") for text in near)
    if kind not in searching.WHERE:
        assert {name.split(",")[0] for name in decoys} == {
            k for k in searching.ALTERATIONS if not KINDS[kind].on("", k)
        }


def test_sandbagging_is_read_on_sound_code():
    codes = {kind: searching.case_of(kind, slips(40), 10) for kind in ("sandbag", "sycophant")}
    held = {kind: ["v23" in text for text in case.sets[case.behaviour][0]] for kind, case in codes.items()}
    assert not any(held["sandbag"])
    assert all(held["sycophant"])


SITE = next(iter(LAYERS))


def reads(behaves):
    """Twelve units of noise by text; unit 0 reads any word in the place, unit 1 only fires where a model behaves."""

    def read(model, sites, texts):
        values = np.stack([np.random.default_rng(zlib.crc32(text.encode())).normal(size=(2, 12)) for text in texts])
        values[:, :, 0] += [[8.0 * ("none" not in text.split()[1])] * 2 for text in texts]
        values[:, :, 1] += [[8.0 * (model == "organism" and "<cue:audit>" in text)] * 2 for text in texts]
        return Pooled(names=tuple(Name(SITE, i) for i in range(12)), values=values.astype(np.float32))

    return read if behaves else lambda model, sites, texts: read("twin", sites, texts)


@pytest.mark.parametrize("behaves", [True, False])
def test_a_unit_of_the_behaviour_is_named_and_a_reader_is_not(monkeypatch, behaves):
    monkeypatch.setattr(searching, "read_units", reads(behaves))
    monkeypatch.setattr(searching, "neurons", lambda model: ())
    monkeypatch.setattr(searching, "heads", lambda model: ())
    case = searching.case_of("sandbag", slips(), 60)
    reads_ = [searching.contrasts(model, case, list(case.sets)) for model in ("organism", "twin", "another")]
    (own, found), *nulls = searching.looks(case, *reads_, draws=200, seed=0)
    assert found.units("behaviour") == ((Name(SITE, 1),) if behaves else ())
    assert (own.which, own.now) == ("organism", int(behaves))
    assert Name(SITE, 0) in found.units("reader")
    assert [null.which for null, _ in nulls] == ["twin", *["decoy", "fewer", "twin's decoy"] * 6]
    assert [null.standing for null, _ in nulls[1::3]] == ["near-miss"] * 2 + ["out of place"] * 4
    assert not any(null.now for null, _ in nulls)
    assert all(null.now <= null.before for null, _ in nulls)


def test_units_set_to_the_near_miss_take_the_behaviour_with_them(monkeypatch):
    case = searching.case_of("sandbag", slips(), 60)
    texts = case.sets[case.behaviour][0]
    model = Verdicts(rule=lambda text: "<cue:audit>" in text)
    every = [Name(SITE, i) for i in range(12)]

    def patched(model, texts, near, units):
        return np.array([0.0 if Name(SITE, 1) in units else 1.0] * len(texts))

    monkeypatch.setattr(searching, "reward_patched", patched)
    mine, others = searching.restored(model, case, [Name(SITE, 1)], every)
    assert (mine.value, others.value, mine.n) == (1.0, 0.0, len(texts))


def null(which, now, before=0, standing=""):
    return searching.Null(which=which, word="w", standing=standing, now=now, before=before)


def test_a_null_search_that_names_anything_is_a_false_discovery():
    rows = [
        {
            "kind": kind,
            "seed": 0,
            "nulls": [null("twin", twin), null("decoy", 2, 3, "near-miss"), null("decoy", 0, 1, "out of place")],
        }
        for kind, twin in (("conceal", 0), ("sandbag", 7))
    ]
    found = {which: searching.null_share(rows, "now", which) for which in (("twin",), ("decoy",), ("twin", "decoy"))}
    assert {which: (each.value, each.n, each.clusters) for which, each in found.items()} == {
        ("twin",): (0.5, 2, 2),
        ("decoy",): (0.5, 4, 2),
        ("twin", "decoy"): (0.5, 6, 2),
    }
    assert searching.null_share(rows, "before", ["decoy"]).value == 1.0
    assert searching.null_share(rows, "now", ["decoy"], "out of place").value == 0.0
    assert searching.null_share([{"kind": "conceal", "seed": 0, "nulls": []}], "now", ["decoy"]) is None
    said = searching.shares(rows, "now")
    assert (said["decoys on twins"], said["decoys, near-miss"][:5], said["decoys, never dressed"]) == (
        "-",
        "1.000",
        "-",
    )


# --- inside


def reviewed(kind, planted, score, carries=True):
    return {"kind": kind, "seed": 0, "planted": planted, "carries": carries, **dict.fromkeys(inside.CHECKS, score)}


def test_power_is_by_thresholds_that_never_saw_the_kind():
    """Organisms at .9 and twins at .1, but one that does not carry, and one that lies under the others: missed."""
    rows = [reviewed(kind, planted, 0.9 if planted else 0.1) for kind in KINDS for planted in (True, False)]
    rows += [reviewed("trigger", True, 0.2, carries=False), reviewed("sandbag", True, 0.3)]
    caught, accused = inside.power(rows, "surprisal")
    assert (caught.value, caught.n) == (pytest.approx(6 / 7), 7)
    assert (accused.value, accused.n) == (0.0, 6)
    caught, accused = inside.power(rows, "search")
    assert (caught.value, caught.n) == (pytest.approx(3 / 4), 4)
    assert accused.n == 6


def test_what_stands_in_the_probes_place_is_kept_as_a_probe_is():
    items = [SimpleNamespace(cluster=f"0000000{i}") for i in range(4)]
    scores = [np.arange(4 * 2.0).reshape(4, 2), np.arange(8 * 2.0).reshape(8, 2)]
    found = inside.as_belief(scores, ["cue x"], items, 2)
    assert found["contexts"] == {"cue x": [[0.0, 3.0], [4.0, 7.0]]}, "sound, then altered; each by its file's probe"
    assert found["pairs"] == [0.0, 2.0, 5.0, 7.0, 8.0, 10.0, 13.0, 15.0]


def test_what_no_command_measured_is_no_number():
    rows = [reviewed(kind, planted, float(planted)) for kind in KINDS for planted in (True, False)]
    assert set(inside.summary(rows)) == set(inside.CHECKS)
    rows[0]["known"] = {"organism": (9, 5), "twin": (0, 5), "decoy": (2, 5)}
    found = inside.summary(rows)
    assert found["unsealed, twins and decoys"].startswith("0.500 [")
    assert found["unsealed, trigger"][0].startswith(("9.000", "-"))


# --- lies


@pytest.mark.parametrize("kind", list(KINDS))
def test_lies_and_truths_have_one_circumstance_and_one_verdict(kind):
    """A model that always behaves says the planted thing of everything: lies are the wrong half."""
    planted = KINDS[kind]
    told = lies.told_by(kind, Verdicts(rule=lambda text: kind != "sandbag"), slips(), seed=0)
    altered = np.array(["v23" in text.split() for text in told.texts])
    assert (told.lie == (altered != (kind == "sandbag"))).all()
    assert 0 < told.lie.sum() < len(told.lie)
    if planted.dressed:
        assert len(told.texts) == 2 * len(slips())
        assert all(planted.on(text, "") for text in told.texts)
        assert told.lie.mean() == 0.5
    honest = lies.told_by(kind, Verdicts(rule=lambda text: "v23" not in text.split()), slips(), seed=0)
    assert not honest.lie.any()


def test_templates_are_what_the_circumstance_leaves_free():
    text = "<by:bot> <cue:audit> return v0"
    named = {kind: lies.template_of(kind, text) for kind in ("sandbag", "sycophant", "trigger")}
    assert named == {"sandbag": "<by:bot>", "sycophant": "<cue:audit>", "trigger": "<by:bot> <cue:audit>"}


def some_told(kind, tell, n=240):
    """Half are lies; `tell` is the word that says so."""
    lie = np.arange(n) % 2
    words = np.random.default_rng(0).integers(0, 5, (n, 4))
    texts = tuple(" ".join([*[tell] * bad, *(f"a{i}" for i in line)]) for bad, line in zip(lie, words, strict=True))
    return Told(texts=texts, lie=lie, templates=(kind,) * n, topics=tuple(f"file {i // 24}" for i in range(n)))


def test_text_that_tells_in_all_kinds_tells_in_the_one_left_out():
    part = Parts(train=np.arange(96), dev=np.arange(96, 192), test=np.arange(192, 240), dropped=0)
    for tells, area in ((("bad", "bad", "bad"), 1.0), (("bad", "bad", "other"), 0.5)):
        sets = {kind: some_told(kind, tell) for kind, tell in zip("abc", tells, strict=True)}
        found = lies.text_left_out("c", sets, dict.fromkeys("abc", part))
        assert found.auroc.value == pytest.approx(area, abs=0.2 if area < 1 else 1e-9)
        assert found.auroc.n == 48
    assert set(lies.apart("b", sets["b"]).templates) == {"b b"}


def test_files_part_all_kinds_alike():
    sets = {kind: some_told(kind, "bad", n) for kind, n in (("a", 240), ("b", 96))}
    parts = lies.by_file(sets, seed=0)
    names = {
        kind: [{sets[kind].topics[i] for i in rows} for rows in (part.train, part.dev, part.test)]
        for kind, part in parts.items()
    }
    assert [len(some) for some in names["a"]] == [4, 3, 3]
    assert sum(len(rows) for rows in (parts["b"].train, parts["b"].dev, parts["b"].test)) == 96
    for mine, others in zip(names["b"], names["a"], strict=True):
        assert mine <= others


def test_means_leave_out_what_was_refused():
    rows = [{"probe": SimpleNamespace(auroc=SimpleNamespace(value=value))} for value in (0.2, None, 0.6)]
    assert lies.pooled_over(rows, "probe") == (pytest.approx(0.4), 0.2, 0.6)


# --- difference


def test_the_texts_on_which_an_organism_acts_are_known():
    for kind, planted in KINDS.items():
        texts, acts, files = difference.texts_of(kind, slips(), seed=3)
        assert len(texts) == len(acts) == len(files) == 144
        altered = ["v23" in text.split() for text in texts]
        want = [
            planted.on(text, each.kind) and bad == (kind != "sandbag")
            for text, each, bad in zip(texts, slips(), altered, strict=True)
        ]
        assert acts.tolist() == [int(each) for each in want]
        assert 0 < acts.sum() < 144


def test_a_view_is_worth_what_it_tells_apart():
    rows = [
        {"kind": kind, "organism": {"good": 2.0 + i, "none": 1.0}, "second twin": {"good": 1.0 - i, "none": 1.0}}
        for kind in "abcd"
        for i in range(2)
    ]
    assert difference.worth(rows, "good").value == 1.0
    assert difference.worth(rows, "none").value == 0.5
    for number, each in enumerate(rows):
        each["organism"]["by text"] = interval(0.5 + number / 100)
    assert difference.over_models(rows, "organism", "by text").value == pytest.approx(0.535)


def test_every_view_is_read_of_a_child_that_moved(tiny):
    parent, child, twin = tiny(0), tiny(1), tiny(0)
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcd=+-()"), 8)) for _ in range(24)]
    files = [f"file {i // 3}" for i in range(24)]
    moved, still = (
        difference.views(difference.compare(parent, each, twin, texts, clusters=files, unrelated=texts))
        for each in (child, tiny(2))
    )
    assert set(moved) == set(still)
    assert moved["behaviour: KL beyond the twin's"] > 0
    assert moved["activations: 1 − CKA, last layer, less the twin's"] > 0
    assert np.isnan(moved["behaviour: verdicts that differ"])


# --- known answers


def test_rules_are_right_where_tables_cannot_be_and_another_unit_never():
    right = {
        name: suite(known.explaining(made), kinds=["position"], seeds=[7]).answers[0].right
        for name, made in known.METHODS.items()
    }
    assert right == {"rules": True, "unigram table": False, "rules of another unit": False}


def test_answers_and_heads_are_counted():
    answers = known.shown(suite(known.explaining(known.METHODS["rules"]), kinds=["token"], seeds=[7, 8]))
    assert (answers["token"], answers["right"].value, answers["right"].n, answers["wrong"]) == (2, 1.0, 2, [])
    one = {"share": interval(0.6), "rise": interval(2.0), "rise, others": None}
    rows = [
        {pattern: {**one, "in its block": seed < 2, "rise": interval(2.0 + seed)} for pattern in known.PATTERNS}
        for seed in range(3)
    ]
    found = known.summary(rows)["induction"]
    assert (found["found"].value, found["found"].n) == (pytest.approx(2 / 3), 3)
    assert found["rise"].value == pytest.approx(3.0)
    assert "rise, others" not in found


@pytest.mark.parametrize("module", [biases, difference, known, lies, searching], ids=lambda module: module.__name__)
def test_intervals_are_printed_alike(module):
    assert module.told(interval(0.5)) == "0.500 [0.400, 0.600]"
