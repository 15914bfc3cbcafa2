"""A small client of servers that speak the chat-completions protocol: standard library only.

    server = Chat(url="http://127.0.0.1:8000/v1", model="name", key_from="SUPERALIGN_JUDGE_KEY")
    said(server, [{"role": "user", "content": "..."}], tokens=16)

A key is read from the environment when it is needed, kept nowhere, and in no message of an error.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from superalign.models.errors import ModelError

MOST = 1 << 20
"""Bytes of a reply that are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A server and the model to ask there."""

    url: str
    """Up to the version, as in http://127.0.0.1:8000/v1."""
    model: str
    key_from: str = ""
    """Name of the environment variable that holds the key; empty, or not set: no key is sent."""
    timeout: float = 60.0


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: it would carry the key to another host."""

    def redirect_request(self, *given: object, **named: object) -> None:
        return None


def chat_of(address: str, *, key_from: str = "") -> Chat:
    """The server at `http(s)://HOST/PATH#MODEL`. Raises ModelError for another address."""
    url, _, model = address.partition("#")
    if not url.startswith(("http://", "https://")) or not model:
        raise ModelError(f"{address!r} is no server's address: write http://HOST:PORT/v1#MODEL")
    return Chat(url=url.rstrip("/"), model=model, key_from=key_from)


def said(chat: Chat, messages: Sequence[Mapping[str, str]], *, tokens: int, seed: int = 0) -> str:
    """The reply's text, at temperature 0. Raises ModelError where none comes, or what comes is no chat completion."""
    asked = {"model": chat.model, "messages": list(messages), "temperature": 0, "seed": seed, "max_tokens": tokens}
    key = os.environ.get(chat.key_from, "") if chat.key_from else ""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{chat.url}/chat/completions", data=json.dumps(asked).encode(), headers=headers)
    try:
        with urllib.request.build_opener(_Stay()).open(request, timeout=chat.timeout) as reply:
            told = json.loads(reply.read(MOST))
            return str(told["choices"][0]["message"]["content"] or "")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise ModelError(f"{chat.url}, {chat.model}: {error}: check address, model and key") from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ModelError(f"{chat.url}: the reply is no chat completion: is the address right?") from error
