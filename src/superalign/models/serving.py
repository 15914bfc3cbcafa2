"""Any Speaker behind the chat-completions protocol: serve a checkpoint to whatever tool speaks it.

    python -m superalign.models.serving family:m --port 8000        # prints http://127.0.0.1:8000/v1#family-m@…
    curl http://127.0.0.1:8000/v1/models

`POST /v1/chat/completions` takes messages, max_tokens, temperature, seed, stop, logprobs, top_logprobs and, as far as
the speaker heeds it, a JSON schema as response_format; n is 1 and nothing is streamed. Requests that wait at the same
time are put to the speaker as one batch. Standard library only; bound to this machine unless another host is named.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import secrets
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Condition, Thread
from typing import Any, cast

from superalign.models.errors import ModelError, Unaskable
from superalign.models.speaker import Ask, Reply, Role, Speaker, Token, Turn

MOST = 4 << 20
"""Bytes of a request that are read: a prompt of a million tokens."""
TOKENS, MAX_TOKENS, MAX_ALTERNATIVES = 256, 1 << 20, 20
"""Of an answer where the request names no limit; the largest limit; the most alternatives, as everywhere."""
WINDOW = 0.002
"""Seconds that the first request of a batch waits for others."""
BATCH = 64
IDLE = 120.0
"""Seconds after which a connection that says nothing is closed."""
ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
FINISH = {"answer": "stop", "cut": "length", "refused": "content_filter"}


class BadRequest(ValueError):
    """What the client sent is no request of this protocol."""


class Batches:
    """Puts requests that wait together to the speaker as one batch, in one thread of its own.

    Where a batch fails, each of its requests is put once more by itself: what one client sent fails nobody else's.
    """

    def __init__(self, speaker: Speaker, *, window: float = WINDOW, most: int = BATCH) -> None:
        self.speaker, self.window, self.most = speaker, window, most
        self._waiting: list[tuple[Ask, Future[Reply]]] = []
        self._news = Condition()
        Thread(target=self._serve, name="batches", daemon=True).start()

    def ask(self, ask: Ask) -> Reply:
        """The reply, once its batch is done. Raises what the speaker raised."""
        future: Future[Reply] = Future()
        with self._news:
            self._waiting.append((ask, future))
            self._news.notify()
        return future.result()

    def _serve(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting)
                self._news.wait_for(lambda: len(self._waiting) >= self.most, self.window)
                batch, self._waiting = self._waiting[: self.most], self._waiting[self.most :]
            self._put(batch)

    def _put(self, batch: Sequence[tuple[Ask, Future[Reply]]]) -> None:
        done: Future[list[Reply]] = Future()
        worker = Thread(target=_answer, args=(self.speaker, [ask for ask, _ in batch], done), daemon=True)
        worker.start()
        worker.join()
        failure = done.exception() if done.done() else ModelError("the model failed: see the server's own output")
        if failure is None:
            for (_, future), reply in zip(batch, done.result(), strict=True):
                future.set_result(reply)
        elif len(batch) == 1 or isinstance(failure, Unaskable):
            for _, future in batch:
                future.set_exception(failure)
        else:
            for one in batch:
                self._put([one])


def _answer(speaker: Speaker, asks: Sequence[Ask], done: Future[list[Reply]]) -> None:
    """In a thread of its own, so that a fault in the model shows its traceback and leaves the server up."""
    try:
        replies = speaker.ask(asks)
    except ModelError as error:
        return done.set_exception(error)
    if len(replies) != len(asks):
        raise ValueError(f"{speaker.identity} gave {len(replies)} replies to {len(asks)} requests")
    return done.set_result(replies)


def ask_of(told: Any) -> Ask:
    """The request in a chat-completions body. Raises BadRequest, saying which field is wrong."""
    if not isinstance(told, dict):
        raise BadRequest("the body is no JSON object")
    try:
        json.dumps(told, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadRequest("half a character (a surrogate without its other half) is no text") from error
    if told.get("n") not in (None, 1):
        raise BadRequest("n: only one answer a request is given: send it n times, with seeds of their own")
    if told.get("stream"):
        raise BadRequest("stream: answers are not streamed here: leave it out")
    asked = told.get("max_completion_tokens")
    tokens = _number(told, "max_tokens" if asked is None else "max_completion_tokens", TOKENS, 1, MAX_TOKENS, int)
    stop = told.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(one, str) and one for one in stops):
        raise BadRequest("stop: a string, or a list of strings")
    alternatives = _number(told, "top_logprobs", 0, 0, MAX_ALTERNATIVES, int)
    return Ask(
        messages=_turns(told.get("messages")),
        tokens=int(tokens),
        temperature=_number(told, "temperature", 1.0, 0.0, 100.0, float),
        seed=int(_number(told, "seed", secrets.randbits(31), -(1 << 63), (1 << 63) - 1, int)),
        stop=tuple(stops),
        alternatives=int(alternatives or 1) if told.get("logprobs") else 0,
        schema=_schema(told.get("response_format")),
    )


def _turns(messages: Any) -> tuple[Turn, ...]:
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages: a list of at least one")
    turns = []
    for place, message in enumerate(messages):
        role = ROLES.get(str(message.get("role"))) if isinstance(message, dict) else None
        if role is None:
            raise BadRequest(f"messages[{place}].role: one of {', '.join(ROLES)}")
        content = message.get("content")
        if isinstance(content, list) and all(isinstance(p, dict) and p.get("type") == "text" for p in content):
            content = "".join(str(part.get("text", "")) for part in content)
        if not isinstance(content, str):
            raise BadRequest(f"messages[{place}].content: a string, or parts of type text")
        turns.append(Turn(role, content))
    return tuple(turns)


def _number(told: dict[str, Any], name: str, default: float, low: float, high: float, kind: type) -> float:
    value = told.get(name)
    if value is None:
        return default
    fits = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    if not fits or not low <= value <= high:
        raise BadRequest(f"{name}: {'a whole number' if kind is int else 'a number'} from {low:g} to {high:g}")
    return cast(float, kind(value))


def _schema(shape: Any) -> str:
    """The JSON schema in a response_format; empty for another format, which is accepted and not heeded."""
    if not isinstance(shape, dict) or shape.get("type") != "json_schema":
        return ""
    named = shape.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(schema, dict | None):
        raise BadRequest("response_format.json_schema.schema: a JSON schema")
    return json.dumps(schema) if schema else ""


def told_of(reply: Reply, *, model: str, number: int, created: int) -> dict[str, Any]:
    """A chat completion's body from a reply that is an answer, cut or refused."""
    refused = reply.kind == "refused"
    logprobs = {"content": [_token(token) for token in reply.tokens], "refusal": None} if reply.tokens else None
    message = {"role": "assistant", "content": None if refused else reply.text}
    message["refusal"] = (reply.text or reply.why) if refused else None
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": logprobs, "finish_reason": FINISH[reply.kind]}],
        "usage": {
            "prompt_tokens": reply.read,
            "completion_tokens": reply.written,
            "total_tokens": reply.read + reply.written,
        },
    }


def _token(token: Token) -> dict[str, Any]:
    pairs = [(token.text, token.logprob), *token.alternatives]
    rows = [{"token": text, "logprob": max(value, -9999.0), "bytes": list(text.encode())} for text, value in pairs]
    return {**rows[0], "top_logprobs": rows[1:]}


class ChatServer(ThreadingHTTPServer):
    """The server of one speaker; `handler` lets tests put faults in between."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self,
        speaker: Speaker,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        key: str = "",
        window: float = WINDOW,
        handler: type[Call] | None = None,
    ) -> None:
        self.speaker, self.model, self.key = speaker, speaker.identity, key
        self.batches = Batches(speaker, window=window)
        self.numbers = count(1)
        super().__init__((host, port), handler or Call)

    @property
    def url(self) -> str:
        """Up to the version, as in http://127.0.0.1:8000/v1."""
        host, port = self.server_address[:2]
        return f"http://{host if isinstance(host, str) else host.decode()}:{port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news; anything else is printed as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Call(BaseHTTPRequestHandler):
    """One connection: keeps it alive, and answers each request with one write."""

    server: ChatServer
    protocol_version = "HTTP/1.1"
    timeout = IDLE
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet where they fit

    def do_GET(self) -> None:
        if not self._let_in():
            return
        if self.path.rstrip("/") != "/v1/models":
            return self.fail(404, "no such path: GET /v1/models, POST /v1/chat/completions", "not_found")
        self.give(
            200, {"object": "list", "data": [{"id": self.server.model, "object": "model", "owned_by": "superalign"}]}
        )

    def do_POST(self) -> None:
        body = self._body()
        if body is None or not self._let_in():
            return
        if self.path.rstrip("/") != "/v1/chat/completions":
            return self.fail(404, "no such path: POST /v1/chat/completions", "not_found")
        try:
            ask = ask_of(json.loads(body))
        except BadRequest as error:
            return self.fail(400, str(error), "invalid_request_error")
        except (ValueError, RecursionError):
            return self.fail(400, "the body is no JSON", "invalid_request_error")
        self.answer(ask, body)

    def answer(self, ask: Ask, body: bytes) -> None:
        """Put the request to the speaker and send what comes."""
        try:
            reply = self.server.batches.ask(ask)
        except ModelError as error:
            return self.fail(500, str(error), "server_error")
        self.reply(reply)

    def reply(self, reply: Reply) -> None:
        """Send a reply: a completion, or the error that stands for no answer."""
        if reply.kind == "none":
            if reply.why == "context":
                return self.fail(400, "the prompt exceeds the model's context length", "context_length_exceeded")
            if reply.why == "template":  # asked again, it would be refused again
                return self.fail(400, "the model's chat template refuses these messages", "invalid_request_error")
            return self.fail(503, f"no answer: {reply.why}", "server_error")
        number = next(self.server.numbers)
        self.give(200, told_of(reply, model=self.server.model, number=number, created=int(time.time())))

    def fail(self, status: int, message: str, code: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send an error as these servers do."""
        self.give(status, {"error": {"message": message, "type": code, "code": code}}, headers)

    def give(self, status: int, told: object, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send a JSON body."""
        data = json.dumps(told).encode()
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(data))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        told = length.isascii() and length.isdigit()
        if not told or len(length) > 20 or int(length) > MOST:
            self.close_connection = True
            self.fail(413 if told else 411, f"a body of at most {MOST} bytes, its length given", "bad_length")
            return None
        return self.rfile.read(int(length))

    def _let_in(self) -> bool:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if self.server.key and not hmac.compare_digest(given.encode(), self.server.key.encode()):
            self.fail(401, "wrong key", "invalid_api_key")
            return False
        return True

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: their prompts are nobody's business, and their number is large."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the model at an address until interrupted."""
    from superalign.models.speakers import speaker_at

    parser = argparse.ArgumentParser(prog="python -m superalign.models.serving", description=__doc__.split("\n")[0])
    parser.add_argument("address", help="family:SIZE, hf:NAME-OR-PATH, vllm:… or any other that speaks")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    parser.add_argument("--key-from", default="", help="environment variable with the key that clients must send")
    told = parser.parse_args(arguments)
    key = os.environ.get(told.key_from, "").strip() if told.key_from else ""
    if told.key_from and not key:
        parser.error(f"the environment variable {told.key_from} holds no key")
    try:
        speaker = speaker_at(told.address)
    except ModelError as error:
        parser.error(str(error))
    with ChatServer(speaker, host=told.host, port=told.port, key=key) as server:
        print(f"{server.url}#{server.model}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)


if __name__ == "__main__":
    main()
