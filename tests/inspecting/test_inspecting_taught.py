"""Protocols that train players by playing: taught once, by the models of the seats; then played, and known as such."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

pytest.importorskip("inspect_ai")
from superalign.evidence import FirewallError, Workspace
from superalign.inspecting.importing import OWN, import_log
from superalign.inspecting.items import Drawn, TaskUnfit, case_in
from superalign.inspecting.playing import oversee, packed_episode
from superalign.inspecting.seats import Seated
from superalign.inspecting.tasks import TASKS
from superalign.models.speaker import Ask, Reply
from superalign.oversight import Lesson, case_of, play
from superalign.oversight.identity import fitted_digest
from superalign.oversight.judges.spoken import SpokenJudge
from superalign.oversight.protocols import protocols
from superalign.oversight.spoken import seats_in_words

from .test_inspecting_tasks import heard, scripted

TRAINED = sorted(name for name, protocol in protocols(4).items() if protocol.learns)
FEW = {"items": 2, "task": "traces", "lesson": 3, "judge_by": "samples", "samples": 2}


def letter(text: str) -> str:
    """A judge's verdict that hangs on all that it is shown."""
    return "AB"[hashlib.sha256(text.encode()).digest()[0] % 2]


def quoting(text: str) -> str:
    """An adviser that quotes a piece that hangs on what it is told, and believes in the first option."""
    place = 1 + hashlib.sha256(text.encode()).digest()[0] % 3
    said = {"quotes": [place], "charges": [], "argument": "see there"}
    return json.dumps({"belief": {"A": 0.7, "B": 0.3}} if "belief" in text and "quotes" not in text else said)


class Same:
    """The same model, asked without Inspect."""

    identity, reserved = "mockllm/model", ()

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.answer = answer

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        return [Reply(kind="answer", text=self.answer(ask.messages[-1].content)) for ask in asks]


@pytest.fixture(scope="module")
def played(evaluated: Callable[..., Any]) -> Callable[[str], Any]:
    """Protocol → the log of its task, by scripted models, evaluated once."""
    logs: dict[str, Any] = {}

    def log_of(protocol: str) -> Any:
        if protocol not in logs:
            task = TASKS[protocol](**FEW)
            logs[protocol] = evaluated(task, model=scripted(quoting), model_roles={"judge": scripted(letter)})
        return logs[protocol]

    return log_of


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    with Workspace.open(tmp_path / "ws") as opened:
        yield opened


def test_those_that_train_are_the_four_of_the_field() -> None:
    assert TRAINED == ["market making", "prover-estimator", "prover-verifier", "recursive reward modelling"]


@pytest.mark.parametrize("protocol", TRAINED)
def test_what_is_played_in_inspect_is_what_oversight_plays(protocol: str, played: Callable[[str], Any]) -> None:
    log = played(protocol)
    assert log.status == "success", log.error
    rules = protocols(4)[protocol]
    page = Drawn(task="traces", split="train", items=3).page()
    players = seats_in_words(rules, Same(quoting)) | {
        "judge": SpokenJudge(speaker=Same(letter), by="samples", samples=2)
    }
    lesson = Lesson(
        cases=[case_of(item) for item in page.items],
        answers=[int(page.truths[item.id]["answer"]) for item in page.items],
        players=players,
        seed=0,
    )
    assert rules.train is not None
    learned = rules.train(lesson)
    assert len(log.samples) == 2 * len(rules.seatings(2))
    for sample in log.samples:
        case, sides = case_in(sample.metadata)
        (episode,) = play(rules, [case], learned, seed=0, sides=[[sides]])
        told = sample.store[OWN]
        assert told["episode"]["digest"] == packed_episode(episode)["digest"]
        assert told["learned"] == fitted_digest(learned)
        assert told["episode"]["belief"] is not None


def test_players_learn_once_and_from_the_training_split_alone(evaluated: Callable[..., Any]) -> None:
    def asked(items: int) -> list[str]:
        heard.clear()
        task = TASKS["recursive reward modelling"](**{**FEW, "items": items})
        log = evaluated(task, model=scripted(letter), epochs=1)
        assert log.status == "success", log.error
        assert log.eval.metadata[OWN]["lesson"]["family"] == "construction/traces/train"
        return list(heard)

    def about(item: Any, said: Sequence[str]) -> int:
        lines = [text for piece in case_of(item).pieces for text in piece.texts]
        return sum(any(line in prompt for line in lines) for prompt in said)

    one, two = asked(1), asked(2)
    lesson = Drawn(task="traces", split="train", items=3).page().items
    assert all(about(item, one) for item in lesson)
    judged = {item.id for item in Drawn(task="traces", items=2).page().items}
    assert not judged & {item.id for item in lesson}
    assert len(two) < 2 * len(one)


def test_what_was_taught_is_a_model_of_its_own_that_is_fitted_to_its_lesson(
    ws: Workspace, played: Callable[[str], Any]
) -> None:
    path = Path(str(played("market making").location).removeprefix("file://"))
    found = import_log(ws, path, role="validation", base="a script of this test")
    name, _, digest = found.subject.rpartition("@")
    assert name == "mockllm/model, taught market_making"
    fitted = {(edge.source, edge.mode) for edge in ws.state.graph.edges if edge.target == digest}
    assert len(fitted) == 2
    assert {mode for _, mode in fitted} == {"fit"}
    assert any(("construction", "traces", "train") in _held(ws, source) for source, _ in fitted)


def test_a_lesson_that_a_log_does_not_name_counts_as_tainted_by_everything(
    ws: Workspace, played: Callable[[str], Any], tmp_path: Path
) -> None:
    from inspect_ai.log import write_eval_log

    log = played("market making").model_copy(deep=True)
    del log.eval.metadata[OWN]["lesson"]
    write_eval_log(log, str(tmp_path / "bare.eval"))
    with pytest.raises(FirewallError, match="R5"):
        import_log(ws, tmp_path / "bare.eval", role="validation", base="a script of this test")


@pytest.mark.parametrize(
    ("options", "said"),
    [({"split": "train"}, "learn from train"), ({"lesson": 0}, "1 item or more"), ({"task": "no.jsonl"}, "no file")],
)
def test_a_lesson_that_can_not_be_given_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(TaskUnfit, match=said):
        TASKS["market making"](**{**FEW, **options})


def test_a_lesson_is_of_another_split_than_what_is_played() -> None:
    for split in ("dev", "validation", "test"):
        lesson = TASKS["market making"](**{**FEW, "split": split}).metadata[OWN]["lesson"]
        assert lesson["family"] == "construction/traces/train"


def test_a_solver_without_a_lesson_says_what_it_needs() -> None:
    with pytest.raises(TaskUnfit, match="give `lesson`"):
        oversee("market making")


def test_a_judge_that_says_nothing_teaches_nobody_and_the_log_says_so(evaluated: Callable[..., Any]) -> None:
    log = evaluated(
        TASKS["market making"](**FEW), model=scripted(quoting), model_roles={"judge": scripted(lambda text: "dunno")}
    )
    assert log.status == "error"
    assert "could not be taught" in log.error.message


@pytest.mark.parametrize("lesson", [True, False])
def test_a_time_limit_ends_a_play_and_is_no_error(
    evaluated: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, lesson: bool
) -> None:
    """Met while players learn, or in a play of players that have learned."""
    quick = Seated.ask
    texts = [
        text for item in Drawn(task="traces", items=2).page().items for p in case_of(item).pieces for text in p.texts
    ]

    async def slow(self: Seated, seat: str, asks: Sequence[Ask]) -> list[Reply]:
        mine = any(text in turn.content for ask in asks for turn in ask.messages for text in texts)
        if lesson or mine:
            await anyio.sleep(60)
        return await quick(self, seat, asks)

    monkeypatch.setattr(Seated, "ask", slow)
    task = TASKS["market making"](**FEW)
    log = evaluated(task, model=scripted(quoting), model_roles={"judge": scripted(letter)}, time_limit=3)
    assert log.status == "success", log.error
    assert {sample.limit.type for sample in log.samples} == {"time"}


def test_the_adversary_moves_by_the_prompt_that_it_was_given(evaluated: Callable[..., Any], tmp_path: Path) -> None:
    from superalign.oversight.prompts.chat import SHELF
    from superalign.oversight.prompts.template import file_of

    shipped = file_of("adversary", SHELF)[0].decode()
    own = tmp_path / "mine.md"
    own.write_text(shipped.replace("A market predicts", "WORD-OF-MINE: a market predicts"), encoding="utf-8")
    heard.clear()
    task = TASKS["market making"](**{**FEW, "items": 1}, prompts=f"adversary={own}")
    log = evaluated(task, model=scripted(quoting), model_roles={"judge": scripted(letter)})
    assert log.status == "success", log.error
    assert any("WORD-OF-MINE" in prompt for prompt in heard)


def _held(ws: Workspace, digest: str) -> set[tuple[str, ...]]:
    return {tuple(str(family).split("/")) for family, _ in ws.state.graph.nodes[digest].holds}
