"""A server that speaks the chat-completions protocol, asked over HTTP with the standard library alone.

    line = OpenAILine("http://127.0.0.1:8000/v1#name", terms)
    line.send(ask)                        # the body of the response, the key cut out of it

Connections are kept alive and shared between threads. A redirection is not followed (it could carry the key elsewhere),
a proxy of the environment is not used. Servers differ: where one refuses `max_tokens`, log-probabilities or a schema by
name, it is asked without from then on (with `max_completion_tokens` instead of the first).
"""

from __future__ import annotations

import json
import ssl
import time
from collections import deque
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from superalign.models.errors import ModelError
from superalign.models.remote.refusals import (
    CONTEXT_WHY,
    FILTER_WHY,
    Fault,
    fault_of,
    keyless,
    plain,
    seconds_of,
    told_by,
)
from superalign.models.remote.terms import Terms, key_of
from superalign.models.speaker import Ask

MOST = 16 << 20
"""Bytes of a response that are read."""
PIECE = 1 << 16
STALE = 1.0
"""Seconds that a connection idled, after which a server may have closed it without a fault."""


class OpenAILine:
    """One server and one model on it. Thread-safe."""

    form = "openai"

    def __init__(self, address: str, terms: Terms, *, clock: Callable[[], float] = time.monotonic) -> None:
        url, _, self.model = address.partition("#")
        wrong = ModelError(f"{_safe(address)!r} is no server's address: write http://HOST:PORT/v1#MODEL")
        try:
            parts = urlsplit(url)
            self._port = parts.port
        except ValueError:  # its words quote the address
            raise wrong from None
        graphic = all("!" <= each <= "~" for each in url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not self.model or not graphic:
            raise wrong
        if parts.username or parts.password or parts.query:
            raise ModelError(
                f"{_safe(address)}: an address holds no key or password, for it is written into every record: "
                "put it into an environment variable and name that in key_from"
            )
        self.identity = f"{url.rstrip('/')}#{self.model}"
        self._key = key_of(terms)
        self._terms, self._clock = terms, clock
        self._host, self._secure = parts.hostname, parts.scheme == "https"
        self._path = parts.path.rstrip("/") + "/chat/completions"
        self._idle: deque[tuple[HTTPConnection, float]] = deque()  # and since when
        self._without: set[str] = set()
        self._tls = ssl.create_default_context() if self._secure else None

    def __repr__(self) -> str:
        return f"OpenAILine({self.identity!r})"

    def send(self, ask: Ask) -> bytes:
        """The raw body of a response. Raises Fault, or a ModelError for what would fail every further request too."""
        while True:
            without = set(self._without)
            status, header, body = self._post(json.dumps(self._asked(ask, without)).encode())
            if status == 200:
                return body
            said = told_by(body)
            if status in (400, 422) and self._learn(said, without):
                continue
            after = seconds_of(header, time.time())
            fault = fault_of(
                status, said, after=after, address=self.identity, key=self._key, key_from=self._terms.key_from
            )
            if fault.why == FILTER_WHY and body.lstrip().startswith(b"{"):
                return body
            if fault.why == CONTEXT_WHY:
                fault.said = ""
            raise fault

    def _asked(self, ask: Ask, without: set[str]) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": turn.role, "content": turn.content} for turn in ask.messages],
            "max_completion_tokens" if "max_tokens" in without else "max_tokens": ask.tokens,
            "temperature": ask.temperature,
            "seed": ask.seed,
        }
        if ask.stop:
            asked["stop"] = list(ask.stop)
        if ask.alternatives and "logprobs" not in without:
            asked |= {"logprobs": True, "top_logprobs": ask.alternatives}
        if ask.schema and "response_format" not in without:
            fits = {"name": "answer", "schema": json.loads(ask.schema)}
            asked["response_format"] = {"type": "json_schema", "json_schema": fits}
        return asked

    def _learn(self, said: str, without: set[str]) -> bool:
        """Whether the server names a parameter that it does not take, and that was sent now."""
        for name in ("max_tokens", "logprobs", "response_format"):
            named = name in said and ("max_completion_tokens" in said if name == "max_tokens" else True)
            if (
                named
                and name not in without
                and any(w in said for w in ("nsupported", "not support", "nknown", "nrecogn"))
            ):
                self._without.add(name)
                return True
        return False

    def _post(self, data: bytes) -> tuple[int, str | None, bytes]:
        """Status, Retry-After and body, the key cut out. Raises Fault for what goes wrong on the way."""
        until = self._clock() + self._terms.timeout
        connection, idle = self._connection()
        connecting, sent = connection.sock is None, False
        try:
            if connecting:
                connection.connect()
                connecting = False
            self._patience(connection, until)
            headers = {"Content-Type": "application/json", "Accept": "application/json"}
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            connection.request("POST", self._path, body=data, headers=headers)
            sent = True
            response = connection.getresponse()
            body = self._body(response, connection, until)
        except TimeoutError as error:
            connection.close()
            raise Fault("timeout", billed=sent, refused=connecting) from error
        except (OSError, HTTPException) as error:
            connection.close()
            # closed by the server while it idled: the request was not seen there, and goes out again at once
            stale = idle is not None and idle > STALE and isinstance(error, ConnectionError)
            raise Fault(
                "connection",
                after=0.0 if stale else None,
                billed=sent and not stale,
                refused=not sent and idle is None,
                said=plain(str(error), self._key),
            ) from error
        if response.will_close:
            connection.close()
        else:
            self._idle.append((connection, self._clock()))
        return response.status, response.getheader("Retry-After"), keyless(body, self._key)

    def _body(self, response: HTTPResponse, connection: HTTPConnection, until: float) -> bytes:
        pieces, size = [], 0
        while piece := response.read1(PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > MOST:
                raise HTTPException(f"a response of over {MOST >> 20} MiB")
            self._patience(connection, until)
        if response.length:
            raise HTTPException(f"{response.length} bytes of the body are missing")
        response.close()  # of the response only: the connection takes the next one
        return b"".join(pieces)

    def _patience(self, connection: HTTPConnection, until: float) -> None:
        """Wait on the socket no longer than is left. Raises TimeoutError if nothing is."""
        left = until - self._clock()
        if left <= 0:
            raise TimeoutError
        if connection.sock is not None:
            connection.sock.settimeout(left)

    def _connection(self) -> tuple[HTTPConnection, float | None]:
        """A connection, and for how many seconds it has been idle; None: it is new."""
        try:
            connection, since = self._idle.pop()
            return connection, self._clock() - since
        except IndexError:
            pass
        if self._secure:
            return HTTPSConnection(self._host, self._port, timeout=self._terms.timeout, context=self._tls), None
        return HTTPConnection(self._host, self._port, timeout=self._terms.timeout), None

    def close(self) -> None:
        """Close idle connections."""
        while self._idle:
            self._idle.pop()[0].close()


def _safe(address: str) -> str:
    """The address without what stands before the host's name, where a password could be, or in a query."""
    scheme, found, rest = address.partition("://")
    kept = (rest if found else scheme).rpartition("@")[2].partition("?")[0]
    return f"{scheme}://{kept}" if found else kept
