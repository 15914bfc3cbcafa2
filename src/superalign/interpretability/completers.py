"""Where explanations in words come from: anything that completes messages, and how its answers are read.

    complete = local(load_model("hf:NAME"), tokens=80)
    complete = http("http://127.0.0.1:8000/v1", model="name", key="…")
    complete(messages, schema=SCHEMA, seed=0)            # text
    parsed(text, SCHEMA)                                 # a dict, or Garbage that says of which kind

An answer is JSON that fits its schema, or it is garbage: nothing is guessed from it.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from superalign.models import LocalModel

Messages = Sequence[Mapping[str, str]]
Schema = Mapping[str, Any]
MOST = 1 << 20
"""Bytes of a reply that are read."""


class Completer(Protocol):
    """Continues a conversation."""

    def __call__(self, messages: Messages, *, schema: Schema, seed: int) -> str:
        """The next message, which should be JSON that fits `schema`."""


class Garbage(ValueError):
    """An answer that can't be read; `kind` says why, in a few words, to be counted."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"an answer is {kind}")
        self.kind = kind


class CompletionError(OSError):
    """A server that did not answer; the message says which, why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Local:
    """A model on this machine, greedy. The schema is told in the prompt, not enforced: answers are checked anyhow."""

    model: LocalModel
    tokens: int

    def __call__(self, messages: Messages, *, schema: Schema, seed: int) -> str:
        """The model's continuation of the conversation. Raises ValueError for one beyond the model's context."""
        told = chat(self.model, messages)
        length = len(self.model.tokenizer(told, add_special_tokens=True)["input_ids"])
        limit = int(getattr(self.model.network.config, "max_position_embeddings", length + self.tokens))
        if length + self.tokens > limit:
            raise ValueError(
                f"{self.model.name}: a prompt of {length} tokens and {self.tokens} to answer, its context is {limit}: "
                "show fewer windows, or take a model that reads more"
            )
        return self.model.generate([told], tokens=self.tokens, seed=seed)[0]


def local(model: LocalModel, *, tokens: int = 96) -> Local:
    """Completes by a model on this machine."""
    return Local(model=model, tokens=tokens)


def chat(model: LocalModel, messages: Messages) -> str:
    """The conversation in the model's own format, or as plain paragraphs where its tokenizer has none."""
    if getattr(model.tokenizer, "chat_template", None):
        told: str = model.tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
        )
        return told
    return "\n\n".join([*(message["content"] for message in messages), ""])


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """A server that speaks the chat-completions protocol."""

    url: str
    model: str
    key: str = ""
    tokens: int = 256
    timeout: float = 60.0

    def __repr__(self) -> str:
        return f"Http(url={self.url!r}, model={self.model!r})"  # never the key

    def __call__(self, messages: Messages, *, schema: Schema, seed: int) -> str:
        """The reply's text. Raises CompletionError where none comes."""
        form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
        asked = {
            "model": self.model, "messages": list(messages), "temperature": 0, "seed": seed, "max_tokens": self.tokens,
            "response_format": form,
        }  # fmt: skip
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/chat/completions", data=json.dumps(asked).encode(), headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as reply:
                told = json.loads(reply.read(MOST))
                return str(told["choices"][0]["message"]["content"] or "")
        except (urllib.error.URLError, TimeoutError) as error:
            raise CompletionError(f"{self.url}, {self.model}: {error}: check address, model and key") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise CompletionError(f"{self.url}: the reply isn't a chat completion: is the address right?") from error


def http(url: str, *, model: str, key: str = "", tokens: int = 256, timeout: float = 60.0) -> Http:
    """Completes by a server. Raises ValueError for an address that isn't http or https."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no http address: give one as in http://127.0.0.1:8000/v1")
    return Http(url=url, model=model, key=key, tokens=tokens, timeout=timeout)


def parsed(text: str, schema: Schema) -> dict[str, Any]:
    """The JSON object that the answer is. Raises Garbage: empty, not JSON, other fields, another type, too long.

    Schemas are objects whose properties are strings (`maxLength`) or arrays of integers (`minItems`, `maxItems`,
    `enum` of the items).
    """
    if not text.strip():
        raise Garbage("empty")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Garbage("not JSON") from error
    if not isinstance(found, dict) or set(found) != set(schema["required"]):
        raise Garbage("of other fields")
    for name, wanted in schema["properties"].items():
        _fits(found[name], wanted)
    return found


def _fits(value: Any, wanted: Schema) -> None:
    if wanted["type"] == "string":
        if not isinstance(value, str):
            raise Garbage("of another type")
        if not value.strip():
            raise Garbage("empty")
        if len(value) > wanted["maxLength"]:
            raise Garbage("too long")
        return
    if not isinstance(value, list) or any(type(item) is not int for item in value):
        raise Garbage("of another type")
    if not wanted["minItems"] <= len(value) <= wanted["maxItems"]:
        raise Garbage("of another length")
    if any(item not in wanted["items"]["enum"] for item in value):
        raise Garbage("out of range")
