"""The sweep of weak-to-strong methods: shared stages, resumed after a stop; scores follow, and truth stays sealed."""

import base64
import dataclasses
import shutil

import numpy as np
import pytest

from superalign.evidence import SuperalignError, Workspace
from superalign.generalization import all_methods
from superalign.pipeline import generalize as module
from superalign.pipeline import generalize_work
from superalign.pipeline.arrays import arrays_from_bytes, arrays_to_bytes
from superalign.pipeline.generalize import generalize
from superalign.pipeline.generalize_answers import packed, unpacked
from superalign.pipeline.generalize_config import GeneralizeConfig, GeneralizeSizes
from superalign.pipeline.generalize_overseen import believed
from superalign.pipeline.recount import recount

TINY = GeneralizeSizes(
    seeds=2,
    train=600,
    half_a=140,
    half_b=220,
    exam=200,
    untrained_seeds=1,
    body_seeds=1,
    scaling_seeds=2,
    truth_seeds=1,
    truth_steps=6,
    draws=60,
)


class Stop(Exception):
    """What a test raises in the middle of a sweep."""


def config(folder, **changes):
    usual = {"methods": ("em", "regularised"), "strong": "family:s", "between": "", "workers": 1, "preset": "quick"}
    usual |= {"overseers": ("debate",), "larger": "family:m"}
    return GeneralizeConfig(workspace=folder / "ws", **{**usual, **changes})


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep with everything in it, stopped in the middle and played on; with its keys."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setattr(module, "generalize_sizes", lambda config: TINY)

        def stop(text):
            if text == "natural, weak: naive":
                raise Stop

        with pytest.raises(Stop):
            generalize(config(folder), say=stop)
        generalize(config(folder))
    return folder


@pytest.fixture(autouse=True)
def keys(sweep, monkeypatch):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(sweep / "keys"))
    monkeypatch.setattr(module, "generalize_sizes", lambda config: TINY)


@pytest.fixture
def copy(sweep, tmp_path, monkeypatch):
    """A copy of the sweep, with its keys, to be written to."""
    shutil.copytree(sweep, tmp_path / "copy")
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "copy" / "keys"))
    return tmp_path / "copy"


@pytest.fixture
def twice(monkeypatch):
    """Two seeds of quirky models, on fewer questions: what is tested is where the work is done."""
    sizes = dataclasses.replace(TINY, truth_seeds=2, train=300, half_a=80, half_b=110, exam=110)
    monkeypatch.setattr(module, "generalize_sizes", lambda config: sizes)


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A folder without a workspace, and keys of its own."""
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    return tmp_path


def measurements(folder):
    with Workspace.open(folder / "ws", create=False, write=False) as ws:
        return [event.body for event in ws.ledger.events("measurement")]


def test_every_method_is_scored_in_every_setting(sweep):
    found = {(b["tags"].get("setting"), b["tags"].get("method"), b["tags"]["figure"]) for b in measurements(sweep)}
    for setting in ("wide", "natural", "distractor"):
        for method in ("zero-shot", "naive", "em", "regularised"):
            for figure in ("accuracy", "pgr", "pgr auc", "inherited", "phi", "untrained pgr", "seconds"):
                assert (setting, method, figure) in found
        assert (setting, "weak floor", "accuracy") in found
        assert (setting, "ceiling", "accuracy") in found


def test_other_parts_are_scored_too(sweep):
    figures = {body["tags"]["figure"] for body in measurements(sweep)}
    assert {"scaling", "scaling accuracy", "sgr", "hard accuracy", "truth", "consistency", "contrast"} <= figures


def test_labels_of_a_protocol_are_learned_from(sweep):
    found = {
        (b["tags"]["method"], b["tags"]["figure"]): b
        for b in measurements(sweep)
        if b["tags"].get("supervision") == "debate"
    }
    assert {method for method, _ in found} >= {"weak floor", "ceiling", "naive", "regularised", "em", "zero-shot"}
    assert found["weak floor", "accuracy"]["value"] > 0.6
    with Workspace.open(sweep / "ws", create=False, write=False) as ws:
        stages = {e.body["stage"]: ws.store.get_json(e.body["result"]) for e in ws.ledger.events("stage")}
        (signal,) = [e.body for e in ws.ledger.events("signal") if e.body["name"] == "debate on slips/train"]
        used = {e.body["source"] for e in ws.ledger.events("edge") if e.body["target"] == signal["digest"]}
        body = next(e.body for e in ws.ledger.events("run"))
    kept, asked = stages["debate, played on every question"], stages["questions"]["exercises"]["plain"]
    lesson = stages["what overseers are fitted on"]["lesson"]
    assert used == {asked["train"], lesson, body["models"]["weak"], body["models"]["strong"]}
    assert signal["role"] == "train"
    said, labels = believed(kept, "train"), stages["natural, debate: labels and bounds"]["seeds"]["0"]
    given = np.frombuffer(base64.b64decode(labels["labels"]), dtype="<f8")
    assert np.array_equal(given, said[labels["half_b"]])
    assert np.sign(unpacked(labels["floor"])).tolist() == np.sign(believed(kept, "exam") - 0.5).tolist()


@pytest.mark.usefixtures("twice")
def test_work_can_be_sent_to_other_processes(fresh):
    sweep = {"parts": ("oversight", "truth"), "overseers": ("unaided", "debate"), "strong": "family:xs", "workers": 2}
    generalize(config(fresh, settings=("natural",), **sweep))
    found = {(b["tags"]["figure"], b["tags"].get("supervision")) for b in measurements(fresh)}
    assert {("accuracy", "unaided"), ("accuracy", "debate"), ("truth", None)} <= found
    assert {b["tags"]["seeds"] for b in measurements(fresh) if b["tags"]["figure"] == "truth"} == {2}


def test_methods_that_change_the_network_are_played_in_their_seeds(fresh):
    names = ("full fine-tuning", "generative, then naive")
    generalize(config(fresh, parts=("methods", "bodies"), settings=("natural",), methods=names))
    found = {(b["tags"]["method"], b["tags"]["figure"]): b for b in measurements(fresh)}
    for name in names:
        assert {"accuracy", "pgr", "untrained", "inherited", "seconds"} <= {f for method, f in found if method == name}
        assert found[name, "accuracy"]["tags"]["seeds"] == 1
        assert found[name, "accuracy"]["value"] > 0.6
    assert found["naive", "accuracy"]["tags"]["seeds"] == 2
    contrasts = {b["name"] for b in measurements(fresh) if b["tags"]["figure"] == "contrast"}
    assert "generalize.natural.weak.full fine-tuning - naive.accuracy" in contrasts
    assert "generalize.natural.weak.zero-shot - naive.accuracy" in contrasts
    assert recount(fresh / "ws").findings == ()


def test_a_body_that_can_not_be_fitted_is_a_failure_that_is_kept(fresh, monkeypatch):
    def fit(lesson):
        raise ValueError("the loss is not finite at step 3")

    broken = dataclasses.replace(all_methods()["LoRA"], fit=fit)
    monkeypatch.setattr(generalize_work, "all_methods", lambda: {**all_methods(), "LoRA": broken})
    generalize(config(fresh, parts=("methods", "bodies"), settings=("natural",), methods=("LoRA",)))
    found = next(b for b in measurements(fresh) if b["tags"]["method"] == "LoRA" and b["tags"]["figure"] == "accuracy")
    assert found["value"] is None
    assert "not finite at step 3" in found["note"]
    assert recount(fresh / "ws").findings == ()


def test_pairs_of_sizes_go_beyond_the_strong_model(sweep):
    pairs = {(b["tags"]["weak"], b["tags"]["strong"]) for b in measurements(sweep) if b["tags"]["figure"] == "scaling"}
    assert pairs == {("family:xs", "family:s"), ("family:xs", "family:m"), ("family:s", "family:m")}
    with Workspace.open(sweep / "ws", create=False, write=False) as ws:
        stages = {e.body["stage"]: ws.store.get_json(e.body["result"]) for e in ws.ledger.events("stage")}
        digest = next(e.body for e in ws.ledger.events("run"))["models"]["larger"][:12]
    read = [name for name in stages if name.endswith(f"under {digest}")]
    assert len(read) == 2, "the plain exercise alone"


@pytest.mark.parametrize(
    ("changes", "larger"),
    [
        ({}, "family:m"),
        ({"strong": "family:m"}, ""),
        ({"strong": "hf:somewhere"}, ""),
        ({"strong": "hf:somewhere", "larger": "hf:elsewhere"}, "hf:elsewhere"),
        ({"parts": ("methods",)}, ""),
    ],
)
def test_a_larger_model_is_read_where_it_has_a_place(tmp_path, changes, larger):
    assert module.playable(config(tmp_path, **changes)).larger == larger


def test_a_stopped_sweep_does_nothing_twice(sweep):
    with Workspace.open(sweep / "ws", create=False, write=False) as ws:
        names = [event.body["stage"] for event in ws.ledger.events("stage")]
    assert len(names) == len(set(names))


def test_the_same_sweep_again_adds_nothing(sweep):
    said = []
    with Workspace.open(sweep / "ws", create=False, write=False) as ws:
        before = len(ws.ledger)
    generalize(config(sweep), say=said.append)
    with Workspace.open(sweep / "ws", create=False, write=False) as ws:
        assert len(ws.ledger) == before
    assert said == []


def test_scores_follow_from_stored_answers(sweep):
    found = recount(sweep / "ws")
    assert found.findings == ()
    assert found.followed >= len(measurements(sweep))


def test_a_number_that_does_not_follow_is_found(copy):
    with Workspace.open(copy / "ws") as ws:
        honest = next(
            e.body for e in ws.ledger.events("measurement") if e.body["name"] == "generalize.wide.weak.em.pgr"
        )
        better = {**honest, "value": 0.99, "low": 0.98, "high": 1.0}
        ws.ledger.append("measurement", better, actor="evaluator")
    assert [f.seq for f in recount(copy / "ws").findings]


def test_students_never_meet_the_truth_of_the_exam(fresh, monkeypatch):
    seen = []

    def watched(job):
        seen.append(job.exam.truth)
        return generalize_work.teach_all(job)

    monkeypatch.setattr(module, "teach_all", watched)
    generalize(config(fresh, parts=("methods",), settings=("natural",), methods=("em",)))
    assert seen
    assert set(seen) == {b""}


def test_what_a_student_answers_does_not_depend_on_who_else_is_taught(sweep, fresh):
    generalize(config(fresh, parts=("methods",), settings=("natural",), methods=("em",)))
    name = "generalize.natural.weak.em.pgr"
    alone, beside = (next(b for b in measurements(x) if b["name"] == name) for x in (fresh, sweep))
    assert (alone["value"], alone["low"]) == (beside["value"], beside["low"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"methods": ("emm",)}, "there is no such method; use any of: zero-shot; self"),
        ({"supervision": ("nobody",)}, "no such supervisor"),
        ({"overseers": ("nobody",)}, "there is no such protocol; use any of: unaided"),
        ({"settings": ()}, "needs a setting"),
        ({"seed": -1}, "seeds from 0 on"),
    ],
)
def test_bad_options_write_nothing(tmp_path, changes, says):
    with pytest.raises(SuperalignError, match=says):
        generalize(config(tmp_path, **changes))
    assert not (tmp_path / "ws").exists()


def test_other_weights_at_one_address_are_refused(copy, monkeypatch):
    monkeypatch.setattr(module, "load_model", lambda address: dataclasses.replace(_load(address), digest="0" * 64))
    with pytest.raises(SuperalignError, match="other weights at the same addresses"):
        generalize(config(copy))


def _load(address):
    from superalign.models import load_model

    return load_model(address)


def test_answers_are_kept_to_half_precision():
    given = np.array([0.0, -1.5, 3.25, np.inf, np.nan, 1e-9])
    again = unpacked(packed(given))
    assert again[:3].tolist() == [0.0, -1.5, 3.25]
    assert again[3] == pytest.approx(6e4, rel=1e-3)
    assert np.isnan(again[4])
    assert again[5] == 0.0


def test_arrays_come_back_and_nothing_is_unpickled():
    given = {"a": np.array([1.5, 2.5]), "words": np.array(["x", "yy"])}
    again = arrays_from_bytes(arrays_to_bytes(given))
    assert again["a"].tolist() == [1.5, 2.5]
    assert again["words"].tolist() == ["x", "yy"]
    assert arrays_to_bytes(given) == arrays_to_bytes(given)
    with pytest.raises(ValueError, match="pickle"):
        arrays_from_bytes(_pickled())


def _pickled():
    import io

    with io.BytesIO() as file:
        np.savez(file, bad=np.array([{"a": 1}], dtype=object))
        return file.getvalue()
