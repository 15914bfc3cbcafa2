"""The server of models/serving.py with faults put in at stated rates, and a journal of every answer it completed.

    python tests/models/faulty_server.py echo --journal FILE --faults 429=.05 500=.05 drop=.02 torn=.02 broken=.02

Kinds: 429, retry (429 with Retry-After), 500, slow, drop (closed before an answer), torn (closed in the middle of it),
broken (no JSON), empty (JSON, but no completion). A journal's line is `noted(ask)` of the request, written once
its answer went out whole. `echo` is a speaker without a model: its answer is a digest of the request.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from superalign.models.serving import Call, ChatServer
from superalign.models.speaker import Ask, Reply, Speaker, Token


class Echo:
    """A speaker without a model; counts what it was asked."""

    identity = "echo@0"

    def __init__(self) -> None:
        self.asked: Counter[Ask] = Counter()

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        self.asked.update(asks)
        return [said(ask) for ask in asks]


def said(ask: Ask) -> Reply:
    """What Echo says: the same to the same request."""
    text = hashlib.sha256(f"{ask.messages}{ask.temperature}{ask.seed}".encode()).hexdigest()[:8]
    tokens = (Token(text[0], -0.5, ((text[0], -0.5), ("other", -1.5))[: ask.alternatives]),) if ask.alternatives else ()
    return Reply(kind="answer", text=text, tokens=tokens, read=sum(len(t.content) for t in ask.messages), written=4)


def noted(ask: Ask) -> str:
    """A request's name in the journal."""
    return ask.key("")


class Faulty(ChatServer):
    """Draws a fault for each request that comes, from a generator with a seed."""

    def __init__(
        self,
        speaker: Speaker,
        *,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
        journal: Path | None = None,
        port: int = 0,
        key: str = "",
        after: str = "0",
        slow: float = 0.05,
    ) -> None:
        self.faults, self.after, self.slow, self.journal = dict(faults or {}), after, slow, journal
        self.rng, self.lock = random.Random(seed), Lock()
        self.received: Counter[str] = Counter()
        self.completed: Counter[str] = Counter()
        self.put_in: Counter[str] = Counter()
        super().__init__(speaker, port=port, key=key, handler=FaultyCall, window=0.0)

    def draw(self) -> str:
        with self.lock:
            left = self.rng.random()
            for kind, rate in self.faults.items():
                left -= rate
                if left < 0:
                    self.put_in[kind] += 1
                    return kind
        return ""

    def note(self, digest: str) -> None:
        with self.lock:
            self.completed[digest] += 1
            if self.journal:
                with self.journal.open("a") as file:
                    file.write(digest + "\n")


class FaultyCall(Call):
    server: Faulty

    def answer(self, ask: Ask, body: bytes) -> None:
        digest = noted(ask)
        with self.server.lock:
            self.server.received[digest] += 1
        kind = self.server.draw()
        if kind in ("429", "retry"):
            return self.fail(
                429, "slow down", "rate_limit", [("Retry-After", self.server.after)] if kind == "retry" else []
            )
        if kind == "500":
            return self.fail(500, "oh dear", "server_error")
        if kind in ("drop", "torn"):
            if kind == "torn":
                self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"choices": [{"mess')
                self.wfile.flush()
            self.close_connection = True
            with suppress(OSError):  # the client may have gone first
                self.connection.shutdown(socket.SHUT_RDWR)
            return None
        if kind in ("broken", "empty"):
            data = b'{"choices": [{"message": {"cont' if kind == "broken" else b'{"choices": []}'
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))
            return None
        if kind == "slow":
            time.sleep(self.server.slow)
        super().answer(ask, body)
        return self.server.note(digest)


@contextmanager
def running(speaker: Speaker | None = None, **named: Any) -> Iterator[Faulty]:
    """A server in a thread of this process; its address is `at(server)`."""
    with Faulty(speaker or Echo(), **named) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def at(server: Faulty) -> str:
    return f"{server.url}#{server.model}"


def main() -> None:
    from superalign.models.speakers import speaker_at

    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slow", type=float, default=0.05)
    parser.add_argument("--after", default="0")
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--faults", nargs="*", default=[])
    told = parser.parse_args()
    faults = {kind: float(rate) for kind, _, rate in (fault.partition("=") for fault in told.faults)}
    speaker = Echo() if told.address == "echo" else speaker_at(told.address)
    with Faulty(
        speaker, faults=faults, seed=told.seed, journal=told.journal, port=told.port, after=told.after, slow=told.slow
    ) as server:
        print(json.dumps({"url": server.url, "model": server.model}), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
