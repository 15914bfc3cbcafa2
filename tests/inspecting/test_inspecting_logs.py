"""Logs as evidence: imported with digests and recomputed numbers, or refused, by the rules or for what they are."""

from __future__ import annotations

import json
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
    assert [event.body["provenance"] for event in ws.ledger.events("run")] == [PUBLIC]  # also where it came late


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
        (lambda log: log.samples[0].store.update(superalign={"judge": "me"}), "never writes"),
        (lambda log: log.samples[0].store.update(superalign={"judge": {"name": "x", "weights": [1]}}), "never writes"),
        (
            lambda log: [setattr(s, "scores", {"t": Score(value="fine")}) for s in log.samples],
            "no score in it is a number",
        ),
        (
            lambda log: [setattr(s, "scores", {"t": Score(value=[1, 0])}) for s in log.samples],
            "no score in it is a number",
        ),
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


def test_a_damaged_log_is_refused_wherever_the_damage_is(ws: Workspace, quiz: Any, tmp_path: Path) -> None:
    whole = place(quiz).read_bytes()
    for at in range(40, len(whole) * 3 // 4, len(whole) // 12):
        (tmp_path / "x.eval").write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with pytest.raises(LogUnfit, match="no Inspect log"):
            import_log(ws, tmp_path / "x.eval", role="validation", provenance=PUBLIC, base=BASE)


def test_a_log_that_would_fill_the_memory_is_not_read(
    ws: Workspace, quiz: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zipfile

    import inspect_ai.log

    from superalign.inspecting import reading

    with zipfile.ZipFile(tmp_path / "bomb.eval", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("header.json", b" " * (4 << 20))
    understated = (
        (tmp_path / "bomb.eval").read_bytes().replace((4 << 20).to_bytes(4, "little"), (9).to_bytes(4, "little"))
    )
    (tmp_path / "sly.eval").write_bytes(understated)
    (tmp_path / "long.json").write_bytes(b" " * (2 << 20))
    monkeypatch.setattr(reading, "MOST", 1 << 20)
    monkeypatch.setattr(inspect_ai.log, "read_eval_log", lambda *given: pytest.fail("it was read"))
    for name, said in (
        ("bomb.eval", "too much to read"),
        ("long.json", "too much to read"),
        ("sly.eval", "BadZipFile"),
    ):
        with pytest.raises(LogUnfit, match=said):
            import_log(ws, tmp_path / name, role="validation", provenance=PUBLIC, base=BASE)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("C", 1.0),
        ("I", 0.0),
        ("P", 0.5),
        ("N", 0.0),
        ("Yes", 1.0),
        ("0.25", 0.25),
        (True, 1.0),
        (3, 3.0),
        ("fine", None),
        ("", None),
        ("nan", None),
        ("1e999", None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_scores_are_numbers_or_missing_and_words_are_no_zeros(quiz: Any, value: Any, number: float | None) -> None:
    sample = quiz.samples[0].model_copy(update={"scores": {"t": Score.model_construct(value=value)}})
    assert row_of(sample)["scores"] == {"t": {"": number}}


def test_samples_without_ids_are_numbered_as_inspect_numbers_them(evaluated: Callable[..., Any]) -> None:
    quiz = MemoryDataset([Sample(input=f"q{k}", target="y") for k in range(3)])
    before = dataset_digest(quiz)
    assert before != dataset_digest(quiz[1:])
    log = evaluated(Task(dataset=quiz, scorer=lettered()), model=saying_y())
    assert dataset_digest(log.samples) == before


def test_what_was_refused_in_one_role_may_come_in_another(ws: Workspace, quiz: Any) -> None:
    with pytest.raises(FirewallError, match="R5"):
        import_log(ws, place(quiz), role="validation", base=BASE)
    found = import_log(ws, place(quiz), role="dev", provenance=PUBLIC, base=BASE)
    assert {ws.ledger[seq].body["role"] for seq in found.measurements} == {"dev"}
    with pytest.raises(FirewallError, match="R4"):
        import_log(ws, place(quiz), role="validation", provenance=PUBLIC, base=BASE)


def test_a_log_comes_in_once(ws: Workspace, quiz: Any) -> None:
    import_log(ws, place(quiz), role="validation", provenance=PUBLIC, base=BASE)
    with pytest.raises(LogUnfit, match="was imported already"):
        import_log(ws, place(quiz), role="validation", provenance=PUBLIC, base=BASE)


def saying_y() -> Any:
    """A model behind an interface."""
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    def said(*given: Any) -> ModelOutput:
        made = ModelOutput.from_content("mockllm/model", "y")
        made.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return made

    return get_model("mockllm/model", custom_outputs=said)


def test_a_model_behind_an_interface_is_unseen(ws: Workspace, evaluated: Callable[..., Any]) -> None:
    log = evaluated(strangers_quiz(), model=saying_y(), fail_on_error=False)
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


@pytest.mark.parametrize(
    ("name", "args"), [("audit", {}), ("stress_robustness", {"transformations": "polite, rot13", "seed": 3})]
)
def test_the_items_of_audits_and_stress_tests_are_made_again_too(
    ws: Workspace, evaluated: Callable[..., Any], name: str, args: dict[str, Any]
) -> None:
    log = evaluated(f"superalign/{name}", model=saying_y(), task_args={"task": "traces", "items": 2, **args})
    assert import_log(ws, place(log), role="validation", base=BASE).measurements
    assert {event.body["family"] for event in ws.ledger.events("signal")} == {"construction/traces/validation"}


def test_a_file_that_a_log_names_is_not_opened_and_one_that_a_person_names_is(
    ws: Workspace, evaluated: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from superalign.tasks import own

    rows = [
        {"question": f"Is {k} even?", "options": ["yes", "no"], "answer": k % 2, "split": "validation"}
        for k in range(4)
    ]
    file = tmp_path / "even.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    log = evaluated("superalign/audit", model=saying_y(), task_args={"task": str(file), "items": 2})
    with monkeypatch.context() as patch:
        patch.setattr(own, "own_data", lambda path: pytest.fail(f"{path} was opened"))
        with pytest.raises(FirewallError, match="R5"):
            import_log(ws, place(log), role="validation", base=BASE)
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join(json.dumps({**row, "answer": 1 - row["answer"]}) for row in rows), encoding="utf-8")
    with pytest.raises(FirewallError, match="R5"):
        import_log(ws, place(log), role="validation", base=BASE, data=other)
    assert import_log(ws, place(log), role="validation", base=BASE, data=file).measurements


def test_a_log_cannot_ask_for_more_items_than_can_be_made(ws: Workspace, debated: Any, tmp_path: Path) -> None:
    from inspect_ai.log import write_eval_log

    log = read_eval_log(debated.location)
    log.eval.metadata["superalign"]["drawn"]["items"] = 10**9
    write_eval_log(log, str(tmp_path / "greedy.eval"))
    with pytest.raises(FirewallError, match="R5"):
        import_log(ws, tmp_path / "greedy.eval", role="validation", base=BASE)


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


def test_the_command_line_imports(
    quiz: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import tyro

    from superalign.cli import inspect as verb

    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    words = ["import", str(place(quiz)), "--workspace", str(tmp_path / "ws"), "--provenance", PUBLIC, "--base", BASE]
    tyro.extras.subcommand_cli_from_dict({"inspect": verb.main, "x": verb.main}, args=["inspect", *words, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["samples"] == 8
    assert {m["name"] for m in told["measurements"]} == {
        "inspect.strangers_quiz.lettered",
        "inspect.strangers_quiz.long.nats",
    }
