"""The sweep of weak-to-strong methods: shared stages, resumed after a stop; scores follow, and truth stays sealed."""

import dataclasses
import shutil

import numpy as np
import pytest

from superalign.evidence import SuperalignError, Workspace
from superalign.pipeline import generalize as module
from superalign.pipeline import generalize_work
from superalign.pipeline.generalize import generalize
from superalign.pipeline.generalize_answers import arrays_from_bytes, arrays_to_bytes, packed, unpacked
from superalign.pipeline.generalize_config import GeneralizeConfig, GeneralizeSizes
from superalign.pipeline.recount import recount

TINY = GeneralizeSizes(
    seeds=2,
    train=900,
    half_a=200,
    half_b=300,
    exam=260,
    untrained_seeds=1,
    scaling_seeds=2,
    truth_seeds=1,
    truth_steps=6,
    draws=60,
)


class Stop(Exception):
    """What a test raises in the middle of a sweep."""


def config(folder, **changes):
    usual = {"methods": ("em", "regularised"), "strong": "family:s", "between": "", "workers": 1, "preset": "quick"}
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
