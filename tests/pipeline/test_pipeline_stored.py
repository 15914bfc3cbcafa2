"""What a stranger's ledger says of its runs: taken only where a run of ours would say it."""

import dataclasses

import pytest

from superalign.evidence import Tampered, Workspace
from superalign.pipeline import desk as desk_module
from superalign.pipeline.config import RunConfig, Sizes
from superalign.pipeline.desk import Desk
from superalign.pipeline.recount import Played, _budgets, recount
from superalign.pipeline.stored import LARGER, MAX_RUNS, Malformed, Stored, runs_of

CONFIG = {"preset": "quick", "model": "family:s", "weak": "family:xs", "organisms": "reuse"}
CONFIG |= {"seed": "3", "train_seeds": "2", "workers": "1", "json": "False"}
SIZES = {"seeds": 2, "kinds": ["trigger", "sandbag"]}


@pytest.fixture
def ws(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    with Workspace.open(tmp_path / "ws") as made:
        yield made


def stated(ws, config, sizes):
    ws.ledger.append("run", {"config": config, "sizes": sizes}, actor="notary")
    runs, findings = runs_of(ws)
    return runs, [f.what for f in findings]


def test_as_a_run_states_it(ws):
    (run,), found = stated(ws, CONFIG, SIZES)
    assert found == []
    assert (run.config.seed, run.config.model, run.config.workspace) == (3, "family:s", ws.path)
    assert run.sizes == Sizes(seeds=2, kinds=("trigger", "sandbag"))


def test_its_key_is_the_one_that_it_named_its_stages_by(ws):
    """As today's `Desk` makes it of what `run` writes down; and one without today's newest size keeps its own."""
    config, sizes = RunConfig(workspace=ws.path, preset="quick", seed=3), Sizes(seeds=2)
    body = {
        "config": desk_module.stated(config),
        "sizes": {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(sizes).items()},
    }
    ws.ledger.append("run", body, actor="notary")
    older = {**body, "sizes": {k: v for k, v in body["sizes"].items() if k != "mutant_pairs"}}
    ws.ledger.append("run", older, actor="notary")
    runs, _ = runs_of(ws)
    assert runs[0].key == Desk(ws=ws, config=config, sizes=sizes, say=print).key("run")
    assert [run.event.body for run in runs] == [body, older]
    assert runs[0].key != runs[1].key


def test_the_same_run_counts_once_and_another_programs_not_at_all(ws):
    for machine in ("one", "two"):
        ws.ledger.append("run", {"config": CONFIG, "sizes": SIZES, "machine": machine}, actor="notary")
    ws.ledger.append("run", {"config": {"seed": 0}}, actor="notary")
    assert (len(runs_of(ws)[0]), runs_of(ws)[1]) == (1, [])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"preset": "huge"}, "preset"),
        ({"preset": 5}, "preset"),
        ({"organisms": None}, "organisms"),
        ({"model": ["family:s"]}, "model"),
        ({"seed": "-1"}, "seed"),
        ({"seed": "9" * 400}, "seed"),
        ({"seed": "١"}, "seed"),
        ({"train_seeds": "1.5"}, "train_seeds"),
        ({"train_seeds": "1\n"}, "train_seeds"),
    ],
)
def test_configurations_that_no_run_has(ws, change, what):
    runs, found = stated(ws, CONFIG | change, SIZES)
    assert runs == []
    assert f"can't be the {what} of a run" in found[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seeds", 10**11),
        ("seeds", LARGER * Sizes().seeds + 1),
        ("trace_pairs", -1),
        ("draws", 2.5),
        ("draws", True),
        ("draws", "2000"),
        ("steps", None),
        ("kinds", "trigger"),
        ("kinds", ["trigger", "trigger"]),
        ("kinds", ["unheard-of"]),
        ("kinds", [["trigger"]]),
    ],
)
def test_sizes_that_no_run_has(ws, name, value):
    runs, found = stated(ws, CONFIG, SIZES | {name: value})
    assert runs == []
    assert f"can't be the size {name} of a run" in found[0]


def test_so_many_runs_are_not_played(ws):
    for seed in range(MAX_RUNS + 2):
        ws.ledger.append("run", {"config": CONFIG | {"seed": str(seed)}, "sizes": SIZES}, actor="notary")
    runs, findings = runs_of(ws)
    assert len(runs) == MAX_RUNS
    assert findings[0].what.startswith(f"{MAX_RUNS + 2} different runs")


@pytest.fixture
def finish(ws):
    """Say that a stage of the run is done, with that result; returns the event's number."""
    (run,), _ = stated(ws, CONFIG, SIZES)

    def say(stage, result):
        return ws.ledger.append("stage", {"stage": stage, "run": run.key, "result": result}, actor="trainer").seq

    say.stored = lambda: Stored(ws, run)
    return say


def test_the_last_result_of_a_stage_counts(ws, finish):
    for number in (1, 2):
        finish("plant", ws.store.put_json({"n": number}))
    done = finish.stored()
    assert (done("plant"), done.all("plant"), done("gate")) == ({"n": 2}, [{"n": 1}, {"n": 2}], None)


RESULTS = {
    "deep": b"[" * 200_000,
    "no JSON": b"weights",
    "no digest": None,
    "a path": "../../etc/passwd",
    "not there": "0" * 64,
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_that_cannot_be_read_are_findings_that_name_their_event(ws, finish, name):
    result = RESULTS[name]
    seq = finish("weak to strong, measured", ws.store.put(result) if isinstance(result, bytes) else result)
    with pytest.raises(Malformed) as caught:
        finish.stored()("weak to strong, measured")
    assert caught.value.seq == seq
    found = recount(ws.path).findings
    assert [f.seq for f in found] == [seq]
    assert "can't be recomputed from what is stored" in found[0].what


@pytest.mark.parametrize("data", [None, "0" * 64, 5, b"{", b"[" * 200_000])
def test_figures_that_cannot_be_read_are_findings_too(ws, data):
    stored = ws.store.put(data) if isinstance(data, bytes) else data
    seq = ws.ledger.append("figure", {"figure": "roc", "data": stored}, actor="evaluator").seq
    counted = recount(ws.path)
    assert [f.seq for f in counted.findings] == [seq]
    assert counted.followed == 0


def test_what_is_stored_cannot_make_scoring_talk_for_ever(ws):
    tally = Played(ws, 0)
    for _ in range(1000):
        tally.keep("figure", {"figure": "roc"})
    with pytest.raises(Tampered, match="far more than the ledger holds"):
        tally.keep("figure", {"figure": "roc"})


@pytest.mark.parametrize("released", [None, "0.5", True, float("inf"), [0.5]])
def test_released_values_that_are_no_numbers(ws, monkeypatch, released):
    """V1 refuses most of these; a value that gets past it is compared, not trusted to be a number."""
    query = type("E", (), {"seq": 9, "body": {"signal": "s"}})
    budget = type("E", (), {"seq": 7, "body": {"family": "a/b/dev"}})
    events = {"query": [query], "budget": [budget]}
    signals = {"s": type("S", (), {"family": "a/b/dev"})}
    other = type(
        "W",
        (),
        {"ledger": type("L", (), {"events": staticmethod(events.get)}), "state": type("T", (), {"signals": signals})},
    )
    monkeypatch.setattr("superalign.pipeline.recount.holdout.recount", lambda ws, family: [(released, 0.5)])
    findings, withheld = _budgets(other)
    assert [f.seq for f in findings] == [9]
    assert withheld == ()
