"""Logs as evidence: imported with digests and recomputed numbers, refused by the rules, exported and read again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai")
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import read_eval_log
from inspect_ai.scorer import Score, Scorer, Target, accuracy, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from superalign.evidence import FirewallError, Workspace, sha256, verify
from superalign.inspecting.check import InspectCheck
from superalign.inspecting.exporting import NothingToExport, export_board
from superalign.inspecting.importing import LogUnfit, dataset_digest, import_log, row_of
from superalign.models import load_model
from superalign.pipeline.imported import imports_of, replay_import
from superalign.pipeline.tally import Tally, strike
from superalign.stats import proportion_interval

PUBLIC = "made up for this test in November, and published nowhere"
BASE = "fresh weights: nothing was ever trained"


@scorer(metrics=[accuracy(), stderr()])
def lettered() -> Scorer:
    """C for an even number of letters; unscored for the third sample."""

    async def score(state: TaskState, target: Target) -> Score:
        if state.sample_id == "q2":
            return Score.unscored(reason="grader_failed")
        return Score(value="C" if len(state.input_text) % 2 == 0 else "I")

    return score


@scorer(metrics={"nats": [mean()]})
def long() -> Scorer:
    """A number that is no fraction."""

    async def score(state: TaskState, target: Target) -> Score:
        return Score(value={"nats": -float(len(state.input_text))})

    return score


@solver
def stumbling() -> Solver:
    """Errs at the fourth sample."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if state.sample_id == "q3":
            raise RuntimeError("the server hung up")
        return await generate(state)

    return solve


@task
def strangers_quiz() -> Task:
    """A third party's task."""
    samples = [
        Sample(input=f"q{'x' * k}", target="y", id=f"q{k}", metadata={"cluster": f"c{k // 2}"}) for k in range(8)
    ]
    return Task(dataset=MemoryDataset(samples, name="quiz"), solver=stumbling(), scorer=[lettered(), long()])


@pytest.fixture(scope="module")
def quiz(texts: tuple[Path, Path], evaluated: Callable[..., Any]) -> Any:
    """The stranger's log, by our model."""
    model = f"superalign/hf:{texts[0]}"
    return evaluated(strangers_quiz(), model=model, fail_on_error=False, max_tokens=4)


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    with Workspace.open(tmp_path / "ws") as opened:
        yield opened


def place(log: Any) -> Path:
    return Path(str(log.location).removeprefix("file://"))


def bodies(ws: Workspace, seqs: Any) -> dict[str, Any]:
    return {ws.ledger[seq].body["name"]: ws.ledger[seq].body for seq in seqs}


def test_a_log_comes_in_with_its_digests_and_numbers_that_are_recomputed(
    ws: Workspace, quiz: Any, texts: tuple[Path, Path]
) -> None:
    found = import_log(ws, place(quiz), role="validation", provenance=PUBLIC, base=BASE)
    weights = load_model(f"hf:{texts[0]}").digest
    assert found.log == sha256(place(quiz).read_bytes())
    assert found.subject.endswith(f"@{weights}")
    assert (found.samples, found.failures) == (8, 1)
    assert found.dataset == dataset_digest(strangers_quiz().dataset)
    body = bodies(ws, found.measurements)["inspect.strangers_quiz.lettered"]
    even = [float(len(f"q{'x' * k}") % 2 == 0) for k in range(8)]
    even[2] = even[3] = 0.0  # unscored, and errored: they stay in the denominator
    wanted = proportion_interval(even, clusters=[f"c{k // 2}" for k in range(8)])
    assert (body["value"], body["low"], body["high"]) == (wanted.value, wanted.low, wanted.high)
    assert (body["n"], body["clusters"], body["role"]) == (8, 4, "validation")
    assert body["tags"]["failures"] == {"errored": 1, "unscored": 1}
    assert body["tags"]["reported"] == pytest.approx(sum(even) / 6)
    assert "the log itself reports" in body["note"]
    nats = bodies(ws, found.measurements)["inspect.strangers_quiz.long.nats"]
    lengths = [-float(len(f"q{'x' * k}")) for k in range(8)]
    lengths[3] = min(lengths[:3] + lengths[4:])  # the least that was seen
    assert nats["value"] == pytest.approx(sum(lengths) / 8)
    stored = ws.store.get_json(body["inputs"][1])
    assert [row["digest"] for row in stored["rows"]] == [row_of(s)["digest"] for s in quiz.samples]
    assert ws.store.get(found.log) == place(quiz).read_bytes()


def test_every_number_follows_again_from_the_stored_rows_and_a_changed_one_does_not(ws: Workspace, quiz: Any) -> None:
    import_log(ws, place(quiz), role="validation", provenance=PUBLIC, base=BASE)
    (event,), odd = imports_of(ws)
    measured, tally = ws.ledger.events("measurement"), Tally(ws)
    assert odd == []
    replay_import(event, tally, ws)
    assert strike(ws, tally, measured) == []
    tally.said[0][1]["value"] += 0.01
    assert [e.body["name"] for e in strike(ws, tally, measured)] == [measured[0].body["name"]]
    path = ws.path
    ws.close()
    assert verify(path).ok


@pytest.mark.parametrize("said", [{"base": BASE}, {"provenance": PUBLIC}, {}])
def test_what_nobody_said_the_provenance_of_is_refused_by_rule_five(
    ws: Workspace, quiz: Any, said: dict[str, str]
) -> None:
    with pytest.raises(FirewallError, match="R5"):
        import_log(ws, place(quiz), role="validation", **said)
    assert ws.ledger.events("measurement") == ws.ledger.events("run") == []
    assert import_log(ws, place(quiz), role="validation", provenance=PUBLIC, base=BASE).measurements


def test_a_model_that_was_trained_on_the_dataset_is_refused_by_rule_one(
    ws: Workspace, quiz: Any, texts: tuple[Path, Path]
) -> None:
    weights, data = load_model(f"hf:{texts[0]}").digest, dataset_digest(strangers_quiz().dataset)
    ws.node(kind="model", digest=weights, name="one")
    ws.contains(data, families=[("person", "quiz", "train")], name="quiz")
    ws.use(data, weights, "fit")
    for role in ("validation", "dev"):
        with pytest.raises(FirewallError, match=r"R[14]"):
            import_log(ws, place(quiz), role=role, provenance=PUBLIC)
    assert ws.ledger.events("measurement") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda log: setattr(log, "status", "cancelled"), "is cancelled: finish it"),
        (lambda log: setattr(log, "samples", []), "no samples"),
        (lambda log: [setattr(s, "scores", None) for s in log.samples], "has a score"),
        (lambda log: log.samples[0].output.metadata.update(weights="0" * 64), "from other weights"),
    ],
)
def test_logs_that_are_no_evidence_are_refused_with_a_reason(
    ws: Workspace, quiz: Any, tmp_path: Path, change: Any, said: str
) -> None:
    from inspect_ai.log import write_eval_log

    log = read_eval_log(quiz.location)
    change(log)
    write_eval_log(log, str(tmp_path / "bad.json"))
    with pytest.raises(LogUnfit, match=said):
        import_log(ws, tmp_path / "bad.json", role="validation", provenance=PUBLIC, base=BASE)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b'{"version": 2}', b"\xff" * 100])
def test_files_that_are_no_logs_are_refused(ws: Workspace, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.eval").write_bytes(content)
    with pytest.raises(LogUnfit, match="no Inspect log"):
        import_log(ws, tmp_path / "x.eval", role="validation")
    with pytest.raises(LogUnfit, match="no such file"):
        import_log(ws, tmp_path / "y.eval", role="validation")
    with pytest.raises(LogUnfit, match="no role"):
        import_log(ws, tmp_path / "x.eval", role="evidence")


def test_a_log_comes_in_once(ws: Workspace, quiz: Any) -> None:
    import_log(ws, place(quiz), role="validation", provenance=PUBLIC, base=BASE)
    with pytest.raises(LogUnfit, match="was imported already"):
        import_log(ws, place(quiz), role="validation", provenance=PUBLIC, base=BASE)


def test_a_model_behind_an_interface_is_unseen(ws: Workspace, evaluated: Callable[..., Any]) -> None:
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    def said(*given: Any) -> ModelOutput:
        made = ModelOutput.from_content("mockllm/model", "y")
        made.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return made

    log = evaluated(strangers_quiz(), model=get_model("mockllm/model", custom_outputs=said), fail_on_error=False)
    found = import_log(ws, place(log), role="validation", provenance=PUBLIC, base="its maker says nothing of it")
    assert found.subject == f"mockllm/model@{sha256(b'unseen weights of mockllm/model')}"
    (node,) = [e for e in ws.ledger.events("node") if e.body["kind"] == "model"]
    assert node.body["meta"] == {"weights": "unseen"}


@pytest.fixture(scope="module")
def debated(texts: tuple[Path, Path], evaluated: Callable[..., Any]) -> Any:
    strong, weak = (f"superalign/hf:{path}" for path in texts)
    args = {"items": 3, "task": "traces"}
    return evaluated("superalign/unaided", model=strong, model_roles={"judge": weak}, task_args=args)


def test_our_own_task_needs_no_word_about_its_data_for_it_is_made_again(
    ws: Workspace, debated: Any, texts: tuple[Path, Path]
) -> None:
    found = import_log(ws, place(debated), role="validation", base=BASE)
    assert found.subject.endswith(load_model(f"hf:{texts[1]}").digest)  # the judge is what is measured
    told = bodies(ws, found.measurements)
    values = [sample.scores["verdict"].value for sample in debated.samples]
    for key in ("accuracy", "belief", "failed"):
        assert told[f"inspect.unaided.verdict.{key}"]["value"] == pytest.approx(sum(v[key] for v in values) / 3)
        assert "reports" not in told[f"inspect.unaided.verdict.{key}"]["note"]
    (signal,) = ws.ledger.events("signal")
    assert signal.body["family"] == "construction/traces/validation"


def test_a_log_that_only_says_that_its_data_is_ours_is_a_strangers(ws: Workspace, debated: Any, tmp_path: Path) -> None:
    from inspect_ai.log import write_eval_log

    log = read_eval_log(debated.location)
    log.samples[0].target = "b" if log.samples[0].target == "a" else "a"
    write_eval_log(log, str(tmp_path / "forged.eval"))
    with pytest.raises(FirewallError, match="R5"):
        import_log(ws, tmp_path / "forged.eval", role="validation", base=BASE)


def test_a_check_asks_the_firewall_before_the_model(
    ws: Workspace, texts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import inspect_ai

    address, data = f"hf:{texts[0]}", dataset_digest(strangers_quiz().dataset)
    check = InspectCheck(task="strangers_quiz", provenance=PUBLIC)
    found = check.run(ws, address, log_dir=tmp_path / "logs", base=BASE, fail_on_error=False, max_tokens=4)
    assert found.dataset == data
    assert found.measurements

    def forbidden(*given: Any, **named: Any) -> Any:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(inspect_ai, "eval", forbidden)
    with pytest.raises(FirewallError, match="R5"):
        InspectCheck(task="strangers_quiz").run(Workspace.open(tmp_path / "other"), address, log_dir=tmp_path / "logs")
    with pytest.raises(Exception, match="no task of it"):
        InspectCheck(task="nobodys/quiz").made()


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tiny leaderboard, played natively."""
    from superalign.pipeline import board as room
    from superalign.pipeline.board_config import BoardSizes, OversightConfig

    folder = tmp_path_factory.mktemp("board")
    sizes = BoardSizes(items=12, lesson=20, games=8, judge_steps=2, adviser_steps=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setattr(room, "board_sizes", lambda preset: sizes)
        config = OversightConfig(
            workspace=folder / "ws", preset="quick", tasks=("traces",), protocols=("debate",), advisers="family:xs"
        )
        room.play_board(config)
        yield folder / "ws"


def test_a_board_goes_out_as_a_log_whose_means_are_those_of_the_ledger(board: Path, tmp_path: Path) -> None:
    with Workspace.open(board, create=False) as ws:
        made = export_board(ws, tmp_path / "out" / "board.eval", protocols=("debate", "unaided"))
        measured = {e.body["name"]: e.body["value"] for e in ws.ledger.events("measurement")}
        with pytest.raises(NothingToExport, match="consultancy"):
            export_board(ws, tmp_path / "x.eval", protocols=("consultancy",))
        with pytest.raises(NothingToExport, match="ends in"):
            export_board(ws, tmp_path / "x.zip")
    log = read_eval_log(str(made.path))
    assert made.samples == len(log.samples) == 12 * 2 + 12
    assert log.status == "success"
    means = {score.name: score.metrics["mean"].value for score in log.results.scores}
    for name in ("debate", "unaided"):
        assert means[f"traces: {name}, accuracy"] == pytest.approx(measured[f"board.traces.{name}.accuracy"])
    sample = next(s for s in log.samples if s.metadata["protocol"] == "debate")
    assert any(m.text.startswith("[a, for ") and "quotes" in m.text for m in sample.messages)
    assert log.eval.metadata["exported"]["board"]
    assert json.dumps(log.eval.metadata)
    assert all(math.isfinite(value) for value in means.values())


def test_the_command_line_exports_imports_and_says_what_is_missing(
    board: Path, quiz: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import tyro

    from superalign.cli import inspect as verb

    def run(*words: str) -> dict[str, Any]:
        tyro.extras.subcommand_cli_from_dict({"inspect": verb.main, "x": verb.main}, args=["inspect", *words])
        return json.loads(capsys.readouterr().out)

    out = tmp_path / "b.eval"
    assert run("export", "--workspace", str(board), "--out", str(out), "--json")["samples"] > 0
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    words = ["import", str(place(quiz)), "--workspace", str(tmp_path / "ws"), "--provenance", PUBLIC, "--base", BASE]
    told = run(*words, "--json")
    assert told["samples"] == 8
    assert {m["name"] for m in told["measurements"]} == {
        "inspect.strangers_quiz.lettered",
        "inspect.strangers_quiz.long.nats",
    }
