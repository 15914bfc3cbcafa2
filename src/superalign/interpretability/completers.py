"""Where explanations in words come from: anything that completes messages, and how its answers are read.

    complete = completer_at("hf:NAME")                   # or family:m, inspect:PROVIDER/MODEL, http://HOST/v1#MODEL
    complete(messages, schema=SCHEMA, seed=0)            # text
    parsed(text, SCHEMA)                                 # a dict, or Garbage that says of which kind
    said(speaker.ask([ask_of(messages, schema=SCHEMA, seed=0)])[0])      # the same, for many at a time

An answer is JSON that fits its schema, or it is garbage: nothing is guessed from it. A refusal, and an answer that
never came, are garbage of their kind. A server's key comes from the environment (SUPERALIGN_EXPLAINER_KEY).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from superalign.models.answers import CUT, Unread, read_json, unanswered
from superalign.models.keyed import HERE, keyed
from superalign.models.remote.terms import Terms
from superalign.models.speaker import Ask, Reply, Speaker, Turn

if TYPE_CHECKING:
    from superalign.models import LocalModel  # torch loads where a model here is asked

Messages = Sequence[Mapping[str, str]]
Schema = Mapping[str, Any]
KEY = "SUPERALIGN_EXPLAINER_KEY"
TOKENS = 256
"""Of an answer of a model that is asked by its chat template."""
RETRIES = 4
CONTEXT = "context"


class Completer(Protocol):
    """Continues a conversation."""

    def __call__(self, messages: Messages, *, schema: Schema, seed: int) -> str:
        """The next message, which should be JSON that fits `schema`."""


class Garbage(ValueError):
    """An answer that can't be read; `kind` says why, in a few words, to be counted."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"an answer is {kind}")
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Local:
    """A base model on this machine, greedy, given paragraphs: one with a chat template is `Asked` by it."""

    model: LocalModel
    tokens: int

    def __call__(self, messages: Messages, *, schema: Schema, seed: int) -> str:
        """The model's continuation of the conversation. Raises ValueError for one beyond the model's context."""
        told, limit = paragraphs(messages), self.model.context
        length = len(self.model.tokenizer(told, add_special_tokens=True)["input_ids"])
        if length + self.tokens > limit:
            raise ValueError(
                f"{self.model.name}: a prompt of {length} tokens and {self.tokens} to answer, its context is {limit}: "
                "show fewer windows, or take a model that reads more"
            )
        return self.model.generate([told], tokens=self.tokens, seed=seed)[0]


def local(model: LocalModel, *, tokens: int = 96) -> Local:
    """Completes by a base model on this machine."""
    return Local(model=model, tokens=tokens)


def paragraphs(messages: Messages) -> str:
    """What is said, one paragraph a message, and room for another.

    >>> paragraphs([{"role": "user", "content": "Is it right?"}])
    'Is it right?\\n\\n'
    """
    return "\n\n".join([*(message["content"] for message in messages), ""])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """A model that is asked in words, greedy. It is told the schema, and may be held to it; answers are checked."""

    speaker: Speaker
    tokens: int = TOKENS

    def __call__(self, messages: Messages, *, schema: Schema, seed: int) -> str:
        """The reply's text. Raises Garbage of its kind for a refusal, a cut or no answer, ValueError for a prompt
        beyond the model's context, ModelError for what would fail every further request.
        """
        (reply,) = self.speaker.ask([ask_of(messages, schema=schema, seed=seed, tokens=self.tokens)])
        if reply.why == CONTEXT and not reply.text:
            raise ValueError(
                f"{self.speaker.identity}: the prompt is longer than its context: show fewer windows, or take a model "
                "that reads more"
            )
        return said(reply)


def ask_of(messages: Messages, *, schema: Schema, seed: int, tokens: int = TOKENS) -> Ask:
    """The request: greedy, for JSON that fits the schema."""
    turns = tuple(Turn(each["role"], each["content"]) for each in messages)  # type: ignore[arg-type]
    return Ask(messages=turns, tokens=tokens, seed=seed, schema=json.dumps(schema, sort_keys=True))


def said(reply: Reply) -> str:
    """The text of a reply. Raises Garbage of its kind for a refusal, a cut or no answer."""
    if (other := unanswered(reply)) is not None:
        raise Garbage(other.kind)
    if reply.kind == "cut":
        raise Garbage(CUT)
    return reply.text


def completer_at(address: str, *, tokens: int = TOKENS, here: int = 96, terms: Terms | None = None) -> Completer:
    """Completes by the model at an address, on `terms`; `here`: tokens of a base model's answer on this machine.

    Raises ModelError as `speaker_at` and `load_model` do.
    """
    if not address.startswith(HERE):
        return Asked(speaker=keyed(address, KEY, terms=terms or Terms(retries=RETRIES)), tokens=tokens)
    from superalign.models import load_model

    model = load_model(address)
    if not getattr(model.tokenizer, "chat_template", None):
        return local(model, tokens=here)
    from superalign.models.chatting import speaker_of

    return Asked(speaker=speaker_of(model), tokens=tokens)


def parsed(text: str, schema: Schema) -> dict[str, Any]:
    """The JSON object that the answer is, by `models.answers`. Raises Garbage of the kind that it is instead."""
    fields = schema["properties"].items()
    wanted = {name: {"minLength": 1, **each} if each["type"] == "string" else each for name, each in fields}
    form = {"type": "object", "properties": wanted}
    found = read_json(Reply(kind="answer", text=text), form)
    if isinstance(found, Unread):
        raise Garbage(found.kind)
    return found
