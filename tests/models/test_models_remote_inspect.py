"""`inspect:PROVIDER/MODEL`: against a loopback server and Inspect's mock model, and outputs of every kind."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from superalign.models.errors import ModelError
from superalign.models.remote import KeyRefused, Terms, WrongAddress
from superalign.models.remote.replies import Malformed, heard
from superalign.models.speaker import Ask, Reply, Token, Turn
from superalign.models.speakers import speaker_at

pytest.importorskip("inspect_ai")
pytestmark = pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")  # of tenacity, in Inspect

SPEC = importlib.util.spec_from_file_location("faulty_server", Path(__file__).with_name("faulty_server.py"))
assert SPEC is not None
assert SPEC.loader is not None
faulty = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(faulty)

KEY = "sk-very-secret-0123456789"


def asks(n: int, **named: object) -> list[Ask]:
    turns = (Turn("system", "be brief"), Turn("user", "a"), Turn("assistant", "b"))
    return [Ask(messages=(*turns, Turn("user", f"question {i}")), tokens=8, **named) for i in range(n)]  # type: ignore[arg-type]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("LOOP_API_KEY", KEY)
    return monkeypatch


def test_a_provider_with_every_fault_is_counted_and_kept(served: pytest.MonkeyPatch, tmp_path: Path) -> None:
    faults = dict.fromkeys(("429", "500", "drop", "torn", "broken", "empty"), 0.07)
    with faulty.running(faults=faults, key=KEY, seed=2) as server:
        served.setenv("LOOP_BASE_URL", server.url)
        terms = Terms(concurrency=4, backoff=0.002, retries=30, kept=tmp_path, price_in=1, price_out=1, limit_usd=9)
        speaker = speaker_at("inspect:openai-api/loop/tiny", terms=terms)
        listed = asks(40, alternatives=2, temperature=0.7, seed=3)
        replies = speaker.ask(listed)
        again = speaker.ask(listed)
        tally = speaker.tally()
        speaker.close()
    assert [r.text for r in replies] == [faulty.said(ask).text for ask in listed], "every parameter went through"
    assert replies[0].tokens[0].alternatives[1] == ("other", -1.5)
    assert replies[0].written == 4
    assert tally.sent == sum(server.received.values()) == 40 + sum(server.put_in.values())
    assert set(server.completed.values()) == {1}
    assert {r.sent for r in again} == {0}
    assert [(r.text, r.tokens) for r in again] == [(r.text, r.tokens) for r in replies]
    assert speaker.identity == f"inspect:openai-api/loop/tiny at {server.url}"
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in repr((speaker, speaker.line, tally))


def test_a_key_of_the_providers_own_variable_is_cut_out_as_well(served: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Telling(faulty.Echo):
        def ask(self, listed: list[Ask]) -> list[Reply]:
            return [Reply(kind="answer", text=f"your key is {KEY}", read=1, written=1) for _ in listed]

    with faulty.running(Telling(), key=KEY) as server:
        served.setenv("LOOP_BASE_URL", server.url)
        speaker = speaker_at("inspect:openai-api/loop/tiny", terms=Terms(kept=tmp_path))
        (reply,) = speaker.ask(asks(1))
        speaker.close()
    assert reply.text == "your key is [key]"
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("kind", "why"), [("429", "rate limit"), ("500", "server error"), ("drop", "connection"), ("broken", "malformed")]
)
def test_what_never_comes_is_of_its_kind(kind: str, why: str, served: pytest.MonkeyPatch) -> None:
    with faulty.running(faults={kind: 1.0}, key=KEY) as server:
        served.setenv("LOOP_BASE_URL", server.url)
        speaker = speaker_at("inspect:openai-api/loop/tiny", terms=Terms(backoff=0.0, retries=1))
        (reply,) = speaker.ask(asks(1))
        speaker.close()
    assert (reply.kind, reply.why, reply.sent) == ("none", why, 2)
    assert sum(server.received.values()) == 2, "neither Inspect nor the client tried again by itself"


def test_a_timeout_is_one(served: pytest.MonkeyPatch) -> None:
    with faulty.running(faults={"slow": 1.0}, key=KEY, slow=0.6) as server:
        served.setenv("LOOP_BASE_URL", server.url)
        speaker = speaker_at("inspect:openai-api/loop/tiny", terms=Terms(backoff=0.0, retries=0, timeout=0.1))
        (reply,) = speaker.ask(asks(1))
        speaker.close()
    assert (reply.kind, reply.why) == ("none", "timeout")


def test_a_context_overflow_is_no_answer(served: pytest.MonkeyPatch) -> None:
    class Long(faulty.Echo):
        def ask(self, listed: list[Ask]) -> list[Reply]:
            return [Reply(kind="none", why="context") for _ in listed]

    with faulty.running(Long(), key=KEY) as server:
        served.setenv("LOOP_BASE_URL", server.url)
        for address in ("inspect:openai-api/loop/tiny", faulty.at(server)):
            speaker = speaker_at(address, terms=Terms(key_from="LOOP_API_KEY"))
            (reply,) = speaker.ask(asks(1))
            speaker.close()
            assert (reply.kind, reply.why, reply.sent) == ("none", "context", 1)


def test_a_wrong_key_and_a_wrong_address_are_raised(served: pytest.MonkeyPatch) -> None:
    with faulty.running(key="another") as server:
        served.setenv("LOOP_BASE_URL", server.url)
        speaker = speaker_at("inspect:openai-api/loop/tiny", terms=Terms(key_from="LOOP_API_KEY"))
        with pytest.raises(KeyRefused, match="LOOP_API_KEY") as raised:
            speaker.ask(asks(9))
        assert KEY not in str(raised.value)
        speaker.close()
    nobody = speaker_at("inspect:openai-api/loop/tiny", terms=Terms(backoff=0.0, retries=1))
    with pytest.raises(WrongAddress, match="nobody answers"):
        nobody.ask(asks(1))
    nobody.close()


def test_the_mock_model_answers_without_a_network() -> None:
    speaker = speaker_at("inspect:mockllm/model")
    replies = speaker.ask(asks(3, alternatives=4))
    assert {(r.kind, r.text, r.tokens) for r in replies} == {("answer", "Default output from mockllm/model", ())}
    assert replies[0].read > 0
    speaker.close()


def test_half_a_character_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    from inspect_ai.model import ModelOutput

    async def generate(*_: object, **__: object) -> ModelOutput:
        return ModelOutput.from_content("mockllm/model", "cut: \ud83d")

    speaker = speaker_at("inspect:mockllm/model")
    monkeypatch.setattr(speaker.line.model, "generate", generate)  # type: ignore[attr-defined]
    assert speaker.ask(asks(1))[0].text == "cut: \ufffd"
    speaker.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("inspect:nosuch/x", "not recognized"),
        ("inspect:openai-api/nokey/x", "NOKEY_API_KEY"),
        ("inspect:nothing", "PROVIDER/MODEL"),
    ],
)
def test_what_cannot_be_opened(address: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        speaker_at(address)


def test_without_inspect_there_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai.model", None)
    with pytest.raises(ModelError, match=r"superalign\[inspect\]"):
        speaker_at("inspect:mockllm/model")


def output(content: object, stop: str, **more: object) -> dict[str, object]:
    choice = {"message": {"role": "assistant", "content": content}, "stop_reason": stop}
    usage = {"input_tokens": 4, "output_tokens": 2, "input_tokens_cache_read": 3}
    return {"choices": [choice | dict(more)], "usage": usage}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (output("yes", "stop"), Reply(kind="answer", text="yes", read=7, written=2)),
        (output("ye", "max_tokens"), Reply(kind="cut", text="ye", read=7, written=2)),
        (output("ye", "model_length"), Reply(kind="cut", text="ye", read=7, written=2)),
        (output("", "content_filter"), Reply(kind="refused", why="content filter", read=7, written=2)),
        (
            output("no", "content_filter", stop_details={"category": "cyber"}),
            Reply(kind="refused", text="no", why="cyber", read=7, written=2),
        ),
        (
            output([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "a"}], "stop"),
            Reply(kind="answer", text="a", read=7, written=2),
        ),
        (
            output([{"type": "text", "text": "I can't", "refusal": True}], "stop"),
            Reply(kind="refused", text="I can't", why="content filter", read=7, written=2),
        ),
        (
            output("a", "stop", logprobs={"content": [{"token": "a", "logprob": -0.5}]}),
            Reply(kind="answer", text="a", read=7, written=2, tokens=(Token("a", -0.5),)),
        ),
        ({**output("too long", "model_length"), "usage": None}, Reply(kind="none", why="context")),
        ({"choices": [], "error": "moderated"}, Reply(kind="refused", why="content filter")),
    ],
)
def test_an_output_becomes_a_reply(told: dict[str, object], expected: Reply) -> None:
    assert heard("inspect", json.dumps(told).encode()) == expected


def test_an_output_without_a_choice_is_malformed() -> None:
    with pytest.raises(Malformed):
        heard("inspect", b'{"choices": []}')
