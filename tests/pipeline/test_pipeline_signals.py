"""A protocol's result as a signal: played on the training pairs, trained on, entered, stopped, recounted, forged."""

import dataclasses
import shutil

import numpy as np
import pytest

from superalign.cli import main
from superalign.evidence import SuperalignError, Workspace, verify
from superalign.pipeline import RunConfig, signals, sizes
from superalign.pipeline import run as run_module
from superalign.pipeline.desk import stated
from superalign.pipeline.recount import recount
from superalign.pipeline.signals import tally
from superalign.pipeline.stored import Stored, runs_of
from superalign.tasks.slips import slips

TINY = dataclasses.replace(
    sizes("quick"), seeds=1, train_pairs=130, half_a=40, half_b=50, test_pairs=120, checks=10, steps=5, draws=50
)


class Stop(Exception):
    """What a test raises in the middle of a run."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training stage on debate, stopped between two chunks of pairs and gone on with."""
    folder = tmp_path_factory.mktemp("signals")
    config = RunConfig(workspace=folder / "ws", preset="quick", model="family:s", signal="debate", workers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setattr(run_module, "sizes", lambda preset: TINY)
        patch.setattr(signals, "LESSON", 40)
        patch.setattr(signals, "CHUNK", 60)

        def stop(text):
            if text == "debate, training pairs from 60":
                raise Stop

        with pytest.raises(Stop):
            run_module.run(config, until="train", say=stop)
        said = []
        run_module.run(config, until="train", say=said.append)
        yield config, said


@pytest.fixture
def copy(trained, tmp_path, monkeypatch):
    """A copy that a test may spoil."""
    config, _ = trained
    shutil.copytree(config.workspace, tmp_path / "ws")
    monkeypatch.setattr(signals, "LESSON", 40)
    monkeypatch.setattr(signals, "CHUNK", 60)
    return tmp_path / "ws"


def stages(ws):
    (run,), _ = runs_of(ws)
    done = Stored(ws, run)
    starts = range(0, TINY.train_pairs, 60)
    found = [done(f"debate, training pairs from {low}") for low in starts]
    return [ws.store.get_json(result["episodes"])["episodes"] for result in found if result]


def test_what_was_played_before_the_stop_is_not_played_again(trained):
    _, said = trained
    assert "debate, training pairs from 0" not in said
    assert "debate, training pairs from 60" in said


def test_students_and_subject_learn_from_the_protocols_beliefs(trained):
    config, _ = trained
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        (run,), odd = runs_of(ws)
        assert odd == []
        assert run.config.signal == "debate"
        seed = Stored(ws, run)("weak to strong, seed 0")
        names = {e.body["name"] for e in ws.ledger.events("measurement")}
        played = [e for chunk in stages(ws) for e in chunk]
    assert {"naive + debate", "em + debate", "em + critique"} <= set(seed["arms"])
    assert {"contrast.em + debate - zero-shot", "pgr.em + debate", "contrast.em + critique - zero-shot"} <= names
    assert len(played) == 2 * len({e["item"] for e in played})  # both orders
    assert seed["arms"]["em + debate"]["checks"] == 0
    assert len(seed["subject"]["labels"]) == len(seed["subject"]["rows"])


def test_the_signal_has_a_role_and_its_lineage_reaches_the_subject(trained):
    config, _ = trained
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        (signal,) = [s for s in ws.state.signals.values() if s.name == "debate on slips/train"]
        assert (signal.role, signal.kind, signal.family) == ("train", "judge", "debate/slips/train")
        edges = ws.state.graph.edges
        sources = {e.body["source"] for e in ws.ledger.events("edge") if e.body["target"] == signal.digest}
        labels = {e.body["target"] for e in ws.ledger.events("edge") if e.body["source"] == signal.digest}
        names = {node.name for node in map(ws.state.graph.nodes.__getitem__, sources)}
        fitted = {e.body["target"] for e in ws.ledger.events("edge") if e.body["source"] in labels}
        assert names == {"family-xs", "family-s", "slips.pair/train"}
        assert {ws.state.graph.nodes[d].name for d in labels} == {"debate-assisted labels"}
        assert "reviewer" in {ws.state.graph.nodes[d].name for d in fitted}
        assert edges
        (lesson,) = [d for d in sources if ws.state.graph.nodes[d].kind == "data"]
        asked = {e["item"] for chunk in stages(ws) for e in chunk}
        assert not asked & {item["id"] for item in ws.store.get_json(lesson)["items"]}  # judged is what nobody fitted
    assert verify(config.workspace).ok


def test_every_belief_follows_from_recorded_answers(copy):
    assert recount(copy).findings == ()


@pytest.mark.parametrize("what", ["belief", "item", "checks"])
def test_a_forged_play_is_found(copy, what, monkeypatch):
    config = RunConfig(workspace=copy, preset="quick", model="family:s", signal="debate", workers=1)
    monkeypatch.setenv("SUPERALIGN_KEYS", str(copy.parent / "keys"))
    with Workspace.open(copy, create=False, write=False) as ws:
        event = [e for e in ws.ledger.events("stage") if e.body["stage"] == "debate, training pairs from 0"][-1]
        kept = ws.store.get_json(event.body["result"])
        body = ws.store.get_json(kept["episodes"])
    first = body["episodes"][0]
    if what == "belief":
        first["belief"] = first["belief"][::-1] if first["belief"][0] != 0.5 else [0.9, 0.1]
    elif what == "item":
        first["item"] = body["episodes"][-1]["item"]
    else:
        first["cost"]["judge_checks"] += 1
    real = Stored.__call__

    def forged(self, name):
        if name == "debate, training pairs from 0":
            return kept | {"episodes": "forged"}
        return real(self, name)

    from superalign.pipeline import tally as tally_module

    read = tally_module._Store.get_json
    monkeypatch.setattr(Stored, "__call__", forged)
    monkeypatch.setattr(
        tally_module._Store, "get_json", lambda self, digest: body if digest == "forged" else read(self, digest)
    )
    assert any("can't be recomputed" in finding.what for finding in recount(config.workspace).findings)


def test_an_unknown_signal_is_named_with_those_there_are(tmp_path):
    config = RunConfig(workspace=tmp_path / "ws", signal="debat")
    with pytest.raises(SuperalignError, match=r"no signal 'debat' to train on: use critique; .*debate, adapted judge"):
        run_module.run(config)
    assert not (tmp_path / "ws").exists()
    with pytest.raises(SystemExit, match="no signal 'debat'"):
        main(["train", "--signal", "debat", "--workspace", str(tmp_path / "ws")])


def test_an_option_added_later_is_not_stated_at_its_default(tmp_path):
    assert "signal" not in stated(RunConfig(workspace=tmp_path))
    assert stated(RunConfig(workspace=tmp_path, signal="debate"))["signal"] == "debate"
    assert "workspace" not in stated(RunConfig(workspace=tmp_path))


def _episode(item, belief, checks=0):
    return {"item": item, "belief": belief, "cost": {"judge_checks": checks}}


def test_beliefs_are_means_over_seatings_and_a_failed_play_believes_nothing():
    one, two = slips(split="train", n=2).items
    plays = [_episode(one.id, [0.9, 0.1], 1), _episode(one.id, [0.5, 0.5], 1)]
    plays += [_episode(two.id, None), _episode(two.id, [1.0, 0.0])]
    told = tally([one, two], plays)
    np.testing.assert_allclose(told.belief, [0.7, 0.75])
    np.testing.assert_allclose(told.checks, [2, 0])


@pytest.mark.parametrize("plays", [[], [_episode("nobody", [1.0, 0.0])]])
def test_pairs_that_were_not_played_are_no_signal(plays):
    (one,) = slips(split="train", n=1).items
    with pytest.raises(ValueError, match="not played"):
        tally([one], plays)
