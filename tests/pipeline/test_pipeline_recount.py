"""V2 and V3: what a run measured follows from what its models said, and its stored weights say it again."""

import json
import shutil
import subprocess
import sys

import pytest

from superalign.evidence import Workspace, export, opened
from superalign.pipeline import pages
from superalign.pipeline.recount import recount
from superalign.pipeline.rerun import TOLERANCE, difference, rerun
from superalign.pipeline.stored import Stored, runs_of
from superalign.pipeline.tally import close
from superalign.tasks.slips import slips


@pytest.fixture
def copy(finished, tmp_path, monkeypatch):
    """A copy of the finished workspace, with its keys, that a test may spoil."""
    config, _, _ = finished
    shutil.copytree(config.workspace, tmp_path / "ws")
    shutil.copytree(config.workspace.parent / "keys", tmp_path / "keys")
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    return tmp_path / "ws"


def test_every_score_follows_from_raw_outputs(finished):
    config, _, _ = finished
    counted = recount(config.workspace)
    assert counted.findings == ()
    assert counted.withheld == ()
    assert len(counted.notes) == 1
    assert counted.notes[0].startswith("the thresholds of 8 organisms and twins are taken from their stored weights")
    with Workspace.open(config.workspace, write=False) as ws:
        facts = [e for e in ws.ledger.events() if e.type in ("measurement", "claim", "figure")]
    assert counted.followed == len(facts) > 100


def test_items_of_another_version_are_one_finding(finished, monkeypatch):
    config, _, _ = finished
    monkeypatch.setattr(pages, "slips", lambda **options: slips(**options, seed=1))
    (finding,) = recount(config.workspace).findings
    assert "draws other items than the one that made this run" in finding.what
    assert "the version that made it" in finding.do


def test_it_needs_no_model_library(finished):
    """`pip install superalign` alone: torch and its friends can't be imported, and V2 still runs."""
    config, _, _ = finished
    script = f"""
import sys
for name in ("torch", "transformers", "safetensors", "sklearn", "tokenizers"):
    sys.modules[name] = type(sys)(name)
    del sys.modules[name]
    sys.meta_path.insert(0, type("Block", (), {{
        "find_spec": staticmethod(lambda n, p=None, t=None, name=name:
            (_ for _ in ()).throw(ModuleNotFoundError(n)) if n.split(".")[0] == name else None)}})())
from pathlib import Path
from superalign.pipeline import pages
from superalign.pipeline.recount import recount
counted = recount(Path({str(config.workspace)!r}))
assert counted.findings == (), counted.findings
print(counted.followed)
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200)
    assert out.returncode == 0, out.stderr
    assert int(out.stdout) > 100


def test_a_bundle_is_recounted_by_a_stranger(finished, tmp_path, monkeypatch):
    config, _, _ = finished
    export(config.workspace, tmp_path / "run.zip")
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "nobody"))
    with opened(tmp_path / "run.zip") as folder:
        assert recount(folder).findings == ()


def test_a_number_that_does_not_follow_is_named(copy):
    """Signed by the evaluator, well-formed, allowed by the firewall, and made up."""
    with Workspace.open(copy) as ws:
        event = next(e for e in ws.ledger.events("measurement") if e.body["name"] == "accuracy.pair.all")
        made_up = event.body | {"value": event.body["value"] + 0.01}
        seq = ws.ledger.append("measurement", made_up, actor="evaluator").seq
        claim = ws.ledger.events("claim")[0].body
        other = ws.ledger.append("claim", claim | {"text": "all is well"}, actor="evaluator").seq
    found = recount(copy).findings
    assert [f.seq for f in found] == [seq, other]
    assert "accuracy.pair.all" in found[0].what
    assert "doesn't follow from the stored raw outputs" in found[0].what


def test_changed_answers_change_what_follows(copy):
    """Raw answers exchanged for others, everything signed anew: the numbers no longer follow."""
    with Workspace.open(copy) as ws:
        (run,), _ = runs_of(ws)
        asked = next(e for e in ws.ledger.events("stage") if e.body["stage"] == "ask the subject about held-out files")
        said = ws.store.get_json(asked.body["result"])
        said["plain"]["rewards"] = said["plain"]["rewards"][::-1]
        body = asked.body | {"result": ws.store.put_json(said)}
        ws.ledger.append("stage", body, actor="evaluator")
        assert Stored(ws, run)("ask the subject about held-out files") == said
    found = recount(copy).findings
    assert any("accuracy.pair.all" in f.what for f in found)


def _audits(ws):
    return [e for e in ws.ledger.events("stage") if e.body["stage"].startswith("blind audit of")]


def test_audits_looked_inside_and_kept_little(finished):
    config, _, _ = finished
    with Workspace.open(config.workspace, write=False) as ws:
        raws = [ws.store.get_json(event.body["result"]) for event in _audits(ws)]
        names = {e.body["name"] for e in ws.ledger.events("measurement")}
        plan = ws.ledger.events("plan")[0].body
        searches = [e for e in ws.ledger.events("stage") if e.body["stage"].startswith("search for the behaviour")]
    assert len(raws) == 9
    assert all({"contexts", "pairs", "probe", "search"} == raw.keys() for raw in raws)
    assert max(len(json.dumps(raw)) for raw in raws) < 1_000_000
    assert len(searches) == 3
    assert names >= {"suspicion.search", "suspicion.probe", "power.search.false_alarm.all"}
    assert plan["whole"] == ["context", "concealment"]


def test_what_was_found_inside_is_recounted(copy):
    """What one audit read inside exchanged for a confession, signed anew: the suspicions no longer follow."""
    with Workspace.open(copy) as ws:
        event = _audits(ws)[0]
        raw = ws.store.get_json(event.body["result"])
        found = {"units": 100, "readers": 0, "found": {f"neurons 0 {unit}": [1e-6, 0] for unit in range(20)}}
        raw["search"] = {"context": "cue <cue:audit>", "looks": {"<cue:audit>": found}}
        ws.ledger.append("stage", event.body | {"result": ws.store.put_json(raw)}, actor="evaluator")
    assert any("suspicion.search" in finding.what for finding in recount(copy).findings)


def test_wording_alone_is_not_compared(copy, monkeypatch):
    """Another version of superalign words titles and notes otherwise; the numbers still follow."""
    from superalign.pipeline import desk

    said = desk.Measurement

    def reworded(**fields):
        return said(**fields | {"title": f"{fields['title']}, in other words", "note": "another note"})

    monkeypatch.setattr(desk, "Measurement", reworded)
    assert recount(copy).findings == ()


@pytest.mark.parametrize("stored", [[], {"plain": 3}, None, {"a": "x"}, {"plain": {"rewards": [10**400]}}])
def test_malformed_answers_are_a_finding(copy, stored):
    with Workspace.open(copy) as ws:
        asked = next(e for e in ws.ledger.events("stage") if e.body["stage"] == "ask the subject about held-out files")
        digest = ws.store.put(json.dumps(stored).encode())
        ws.ledger.append("stage", asked.body | {"result": digest}, actor="evaluator")
        seq = ws.ledger.events("run")[0].seq
    found = recount(copy).findings
    assert [f.seq for f in found if "can't be recomputed from what is stored" in f.what] == [seq]


def test_the_stored_weights_say_it_again(finished):
    config, _, _ = finished
    again = rerun(config.workspace, model=config.model)
    assert again.findings == ()
    assert again.asked > 6
    assert again.largest < 1e-5


def test_the_base_is_not_loaded_from_where_the_ledger_says(finished):
    """hf:… in a stranger's ledger could be any folder here, or any download."""
    config, _, _ = finished
    (finding,) = rerun(config.workspace).findings
    assert "pass --model" in finding.what
    (finding,) = (f for f in rerun(config.workspace, model="family:xs").findings[:1])
    assert finding.where == "the bases, declared"


def test_other_weights_and_other_thresholds_say_otherwise(copy, finished):
    """The subject's stored weights exchanged for an organism's: what it is said to have answered isn't what it says.

    And V2 takes organisms' thresholds as stored; V3 compares them with the manifest that the weights carry.
    """
    with Workspace.open(copy) as ws:
        fitted = next(e for e in ws.ledger.events("stage") if e.body["stage"] == "the subject, packed")
        planted = next(e for e in ws.ledger.events("stage") if e.body["stage"] == "plant")
        row = ws.store.get_json(planted.body["result"])
        other = {"weights": row["weights"]}
        ws.ledger.append("stage", fitted.body | {"result": ws.store.put_json(other)}, actor="trainer")
        row["threshold"] += 1.0
        ws.ledger.append("stage", planted.body | {"result": ws.store.put_json(row)}, actor="trainer")
    config, _, _ = finished
    found = rerun(copy, model=config.model).findings
    assert [f.where.rpartition(" ")[0] for f in found] == ["the weights of", "the weights of", "blind audit of"]
    assert found[0].where != found[1].where


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ({"x": (1.0, 2)}, {"x": [1.0, 2]}, True),
        ({"x": 1.0}, {"x": 1.0 + 1e-12}, True),
        ({"x": 1.0}, {"x": 1.0 + 1e-6}, False),
        ({"x": 1}, {"y": 1}, False),
        ([None], [0], False),
        (True, 1, False),
        ("a", "a", True),
        (float("nan"), float("nan"), False),
    ],
)
def test_close(a, b, same):
    assert close(a, b) == same


def test_difference_counts_what_numbers_cannot():
    assert difference({"a": [1, 2]}, {"a": [1, 2.25]}) == 0.25
    assert difference({"a": "x"}, {"a": "y"}) == float("inf")
    assert difference({}, []) == float("inf")


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"x": [0.9, 0.1]}, {"x": [NAN, NAN]}),
        ([0.9, 0.1], [NAN, 77.0]),
        (NAN, NAN),
        (INF, INF),
        (0.9, INF),
        (True, 1),
        (1, True),
        ([1], {"0": 1}),
    ],
)
def test_what_is_no_finite_number_never_agrees(a, b):
    assert difference(a, b) == INF
    assert not difference(a, b) <= TOLERANCE
