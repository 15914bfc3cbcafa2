"""The server of any Speaker: requests checked, answers as the protocol has them, waiting ones batched."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from superalign.models.errors import ModelError, Unaskable
from superalign.models.remote import Terms
from superalign.models.serving import MOST, BadRequest, Batches, ask_of, main
from superalign.models.speaker import Ask, Reply, Turn
from superalign.models.speakers import speaker_at

SPEC = importlib.util.spec_from_file_location("faulty_server", Path(__file__).with_name("faulty_server.py"))
assert SPEC is not None
assert SPEC.loader is not None
faulty = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(faulty)

FITS = {"type": "json_schema", "json_schema": {"schema": {"b": 1, "a": 2}}}
HELLO = {"messages": [{"role": "user", "content": "hello"}], "seed": 1}


def sent(server: object, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection(*server.server_address, timeout=20)  # type: ignore[attr-defined]
    try:
        connection.request(method, path, body=body or None, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, {"temperature": 1.0, "tokens": 256}),
        ({"max_tokens": 5, "temperature": 0}, {"tokens": 5, "temperature": 0.0}),
        ({"max_completion_tokens": 6, "max_tokens": 5}, {"tokens": 6}),
        ({"stop": "x"}, {"stop": ("x",)}),
        ({"stop": ["x", "y"]}, {"stop": ("x", "y")}),
        ({"logprobs": True, "top_logprobs": 3}, {"alternatives": 3}),
        ({"logprobs": True}, {"alternatives": 1}),
        ({"top_logprobs": 3}, {"alternatives": 0}),
        ({"response_format": {"type": "json_object"}}, {"schema": ""}),
        ({"response_format": FITS}, {"schema": '{"b": 1, "a": 2}'}),
        ({"response_format": {"type": "json_schema", "json_schema": [1]}}, {"schema": ""}),
        ({"n": 1, "stream": False, "user": "me", "top_p": 1}, {}),
    ],
)  # fmt: skip
def test_a_request_is_read(more: dict[str, object], expected: dict[str, object]) -> None:
    ask = ask_of(HELLO | more)
    base = Ask(messages=(Turn("user", "hello"),), tokens=256, temperature=1.0, seed=1)
    assert ask == replace(base, **expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ([], "body"),
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [3]}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, r"messages\[0\].role"),
        ({"messages": [{"role": "user", "content": 3}]}, r"messages\[0\].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, r"messages\[0\].content"),
        (HELLO | {"n": 2}, "n:"),
        (HELLO | {"stream": True}, "stream"),
        (HELLO | {"max_tokens": 0}, "max_tokens"),
        (HELLO | {"max_tokens": "many"}, "max_tokens"),
        (HELLO | {"max_tokens": True}, "max_tokens"),
        (HELLO | {"max_tokens": 1 << 40}, "max_tokens"),
        (HELLO | {"temperature": -1}, "temperature"),
        (HELLO | {"temperature": float("nan")}, "temperature"),
        (HELLO | {"seed": 1.5}, "seed"),
        (HELLO | {"stop": [""]}, "stop"),
        (HELLO | {"stop": {"a": 1}}, "stop"),
        (HELLO | {"logprobs": True, "top_logprobs": 99}, "top_logprobs"),
        (HELLO | {"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}}, "response_format"),
        (HELLO | {"stop": "\ud800"}, "half a character"),
        ({"messages": [{"role": "user", "content": "a\ud83d"}]}, "half a character"),
        (HELLO | {"response_format": {"type": "json_schema", "json_schema": {"schema": {"\udc00": 1}}}}, "half a char"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(told: object, names: str) -> None:
    with pytest.raises(BadRequest, match=names):
        ask_of(told)


def test_roles_and_parts_of_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    ask = ask_of({"messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": parts}]})
    assert ask.messages == (Turn("system", "d"), Turn("user", "ab"))


def test_requests_without_a_seed_draw_one_each() -> None:
    told = {"messages": HELLO["messages"]}
    assert len({ask_of(told).seed for _ in range(20)}) > 15


def test_the_protocol_over_the_wire() -> None:
    path = "/v1/chat/completions"
    with faulty.running() as server:
        told = json.dumps(HELLO | {"logprobs": True, "top_logprobs": 2}).encode()
        status, answer = sent(server, "POST", path, told)
        assert status == 200
        assert answer["object"] == "chat.completion"
        (choice,) = answer["choices"]  # type: ignore[misc]
        assert choice["finish_reason"] == "stop"
        assert choice["message"]["content"] == faulty.said(ask_of(json.loads(told))).text
        assert choice["logprobs"]["content"][0]["top_logprobs"][1]["token"] == "other"
        assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}
        status, models = sent(server, "GET", "/v1/models")
        assert (status, models["data"][0]["id"]) == (200, "echo@0")  # type: ignore[index]
        for method, where, body, headers, expected in [
            ("POST", path, b"{", {}, 400),
            ("POST", path, b"[" * 100_000, {}, 400),
            ("POST", path, b"{}", {}, 400),
            ("POST", path, b"\xff", {}, 400),
            ("POST", "/v1/completions", b"{}", {}, 404),
            ("GET", "/etc/passwd", b"", {}, 404),
            ("POST", path, b"", {"Content-Length": str(MOST + 1)}, 413),
            ("POST", path, b"", {"Content-Length": "-5"}, 411),
            ("POST", path, b"", {"Content-Length": "²"}, 411),
            ("POST", path, b"", {"Content-Length": "9" * 5_000}, 413),
            ("POST", path, b'{"messages": [{"role": "user", "content": "\\ud800"}]}', {}, 400),
        ]:
            status, told_back = sent(server, method, where, body, **headers)
            assert (status, "message" in told_back["error"]) == (expected, True)  # type: ignore[operator]


@pytest.mark.parametrize("given", [None, "Bearer wrong", "Bearer é"])
def test_a_key_is_asked_for(given: str | None) -> None:
    with faulty.running(key="right") as server:
        headers = {"Authorization": given} if given else {}
        assert sent(server, "GET", "/v1/models", **headers)[0] == 401
        assert sent(server, "POST", "/v1/chat/completions", json.dumps(HELLO).encode(), **headers)[0] == 401
        assert sent(server, "GET", "/v1/models", Authorization="Bearer right")[0] == 200


@pytest.mark.parametrize(
    ("reply", "status", "says"),
    [
        (Reply(kind="refused", text="I won't"), 200, '"refusal": "I won\'t"'),
        (Reply(kind="cut", text="ab"), 200, '"finish_reason": "length"'),
        (Reply(kind="none", why="context"), 400, "context_length_exceeded"),
        (Reply(kind="none", why="template"), 400, "chat template refuses"),
        (Reply(kind="none", why="timeout"), 503, "no answer: timeout"),
        (ModelError("out of memory: ask for less"), 500, "out of memory"),
    ],
)
def test_every_kind_of_reply_has_its_form(reply: Reply | ModelError, status: int, says: str) -> None:
    class Saying(faulty.Echo):
        def ask(self, asks: list[Ask]) -> list[Reply]:
            if isinstance(reply, ModelError):
                raise reply
            return [reply for _ in asks]

    with faulty.running(Saying()) as server:
        got, told = sent(server, "POST", "/v1/chat/completions", json.dumps(HELLO).encode())
    assert (got, says in json.dumps(told)) == (status, True)


def test_requests_that_wait_together_are_one_batch() -> None:
    sizes = list[int]()

    class Counting(faulty.Echo):
        def ask(self, asks: list[Ask]) -> list[Reply]:
            sizes.append(len(asks))
            return super().ask(asks)

    batches = Batches(Counting(), window=20.0, most=8)  # so long that only the eighth request ends the wait
    listed = [Ask(messages=(Turn("user", str(i)),), tokens=1) for i in range(8)]
    came = dict[Ask, Reply]()
    threads = [Thread(target=lambda ask=ask: came.__setitem__(ask, batches.ask(ask))) for ask in listed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sizes == [8]
    assert [came[ask].text for ask in listed] == [faulty.said(ask).text for ask in listed]


def together(batches: Batches, count: int) -> dict[str, str]:
    """What becomes of requests 0, 1, … that come at once: their text, or the error."""
    came = dict[str, str]()

    def put(name: str) -> None:
        try:
            came[name] = batches.ask(Ask(messages=(Turn("user", name),), tokens=1)).text
        except ModelError as error:
            came[name] = str(error)

    threads = [Thread(target=put, args=(str(i),)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return came


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("error", "says"), [(ModelError("too long"), "too long"), (KeyError("x"), "the model failed")])
def test_what_one_client_sends_fails_nobody_elses_request(error: Exception, says: str) -> None:
    class Choosy(faulty.Echo):
        def ask(self, asks: list[Ask]) -> list[Reply]:
            if any(ask.messages[0].content == "3" for ask in asks):
                raise error
            return super().ask(asks)

    came = together(Batches(Choosy(), window=20.0, most=6), 6)
    assert came.pop("3").startswith(says)
    assert came == {n: faulty.said(Ask(messages=(Turn("user", n),), tokens=1)).text for n in "01245"}


def test_what_would_fail_every_request_is_not_tried_for_each() -> None:
    tried = list[int]()

    class Broke(faulty.Echo):
        def ask(self, asks: list[Ask]) -> list[Reply]:
            tried.append(len(asks))
            raise Unaskable("no money left")

    assert together(Batches(Broke(), window=20.0, most=4), 4) == dict.fromkeys("0123", "no money left")
    assert tried == [4]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_speaker_that_loses_replies_does_not_end_the_server() -> None:
    class Losing(faulty.Echo):
        def ask(self, asks: list[Ask]) -> list[Reply]:
            return super().ask(asks)[1:]

    batches = Batches(Losing(), window=0.0)
    for _ in range(2):
        with pytest.raises(ModelError, match="the model failed"):
            batches.ask(Ask(messages=(Turn("user", "hi"),), tokens=1))


def test_an_address_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["hf:/nowhere/at/all"])
    assert "no *.safetensors weights in this folder" in capsys.readouterr().err


def test_a_shipped_model_is_served_by_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "superalign.models.serving", "family:xs", "--port", "0", "--key-from", "SERVED"]
    environment = {**os.environ, "SERVED": "a-key", "OMP_NUM_THREADS": "1"}
    monkeypatch.setenv("ASKING", "a-key")
    listed = [Ask(messages=(Turn("user", f"def f{i}("),), tokens=6, alternatives=3) for i in range(5)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            speaker = speaker_at(address, terms=Terms(key_from="ASKING", retries=0))
            served = speaker.ask(listed)
            speaker.close()
        finally:
            process.terminate()
    local = speaker_at("family:xs")
    assert address.endswith(f"#{local.identity}")
    for here, there in zip(local.ask(listed), served, strict=True):
        assert (there.kind, there.text, there.read, there.written) == (here.kind, here.text, here.read, here.written)
        assert [t.text for t in there.tokens] == [t.text for t in here.tokens]
        assert [t.logprob for t in there.tokens] == pytest.approx([t.logprob for t in here.tokens], abs=1e-5)
