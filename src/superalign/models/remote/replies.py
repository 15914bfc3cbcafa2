"""From a raw response, as it lies in the store, to a Reply: by one function a form, the same at first and years later.

    heard("openai", raw)         # the body of a chat completion
    heard("inspect", raw)        # Inspect's ModelOutput as JSON
    heard("reply", raw)          # a local model's Reply as JSON

Standard library only: whoever recounts kept replies needs neither Inspect nor a network.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from superalign.models.remote.refusals import CONTEXT_WHY, FILTER_WHY, filtered
from superalign.models.speaker import Kind, Reply, Token

MOST_TOKENS = 1 << 40
"""Of one response: no provider bills so many."""


class Malformed(ValueError):
    """The response is not of its form."""


def heard(form: str, raw: bytes) -> Reply:
    """The reply in a raw response: its kind, text, tokens and usage. Raises Malformed for what is not of that form."""
    try:
        told = json.loads(raw)
        return FORMS[form](told)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise Malformed(f"no {form} response: {type(error).__name__}") from error


def _openai(told: Any) -> Reply:
    """A chat completion, or the error by which a server says that it filters the content."""
    if "choices" not in told and filtered(json.dumps(told)):
        return Reply(kind="refused", why=FILTER_WHY)
    choice = told["choices"][0]
    message, ended = choice["message"], choice.get("finish_reason")
    usage = told.get("usage") or {}
    refusal = message.get("refusal")
    kind: Kind = "refused" if refusal or ended == "content_filter" else "cut" if ended == "length" else "answer"
    return Reply(
        kind=kind,
        text=_text(refusal or message.get("content")),
        why=(("refusal" if refusal else FILTER_WHY) if kind == "refused" else ""),
        tokens=_tokens((choice.get("logprobs") or {}).get("content")),
        read=_count(usage, "prompt_tokens"),
        written=_count(usage, "completion_tokens"),
    )


def _inspect(told: Any) -> Reply:
    usage = told.get("usage") or {}
    names = ("input_tokens", "input_tokens_cache_read", "input_tokens_cache_write")
    counted: dict[str, Any] = {
        "read": sum(_count(usage, name) for name in names),
        "written": _count(usage, "output_tokens"),
    }
    if not told.get("choices"):
        if told.get("error"):
            return Reply(kind="refused", why=FILTER_WHY, **counted)
        raise Malformed("a model output without a choice")
    choice = told["choices"][0]
    content, ended = choice["message"]["content"], choice.get("stop_reason")
    parts = content if isinstance(content, list) else []
    if ended == "content_filter" or any(part.get("refusal") for part in parts):
        why = (choice.get("stop_details") or {}).get("category") or FILTER_WHY
        return Reply(kind="refused", text=_text(content), why=str(why), **counted)
    if ended == "model_length" and not counted["written"]:
        return Reply(kind="none", why=CONTEXT_WHY, **counted)
    kind: Kind = "cut" if ended in ("max_tokens", "model_length") else "answer"
    return Reply(
        kind=kind, text=_text(content), tokens=_tokens((choice.get("logprobs") or {}).get("content")), **counted
    )


def _reply(told: Any) -> Reply:
    tokens = tuple(Token(text, value, tuple((t, v) for t, v in among)) for text, value, among in told["tokens"])
    return Reply(**{**told, "tokens": tokens})


def raw_of(reply: Reply) -> bytes:
    """A local model's reply as it is kept: all but where it is kept, how often it was asked, how long it took."""
    told = asdict(reply)
    for name in ("raw", "sent", "seconds"):
        del told[name]
    return json.dumps(told, ensure_ascii=False, sort_keys=True).encode()


def _count(usage: Any, name: str) -> int:
    """Tokens that a provider counted. Raises ValueError for what is no count: it would go into sums of money."""
    count = int(usage.get(name) or 0)
    if not 0 <= count <= MOST_TOKENS:
        raise ValueError(f"{name} is {count}")
    return count


def _text(content: Any) -> str:
    """Of a message: its content as it is, or its parts of text, joined."""
    if isinstance(content, list):
        content = "".join(
            str(part.get("text") or "") for part in content if part.get("type") in ("text", "output_text")
        )
    if content is not None and not isinstance(content, str):
        raise TypeError("a message's content is text")
    return _whole(content or "")


def _whole(text: str) -> str:
    """Halves of characters (JSON may hold them, as where an answer was cut) become U+FFFD: no text can be sent on with
    them, hashed or stored."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _tokens(rows: Any) -> tuple[Token, ...]:
    return tuple(
        Token(
            _whole(str(row["token"])),
            float(row["logprob"]),
            tuple((_whole(str(other["token"])), float(other["logprob"])) for other in row.get("top_logprobs") or ()),
        )
        for row in rows or ()
    )


FORMS: dict[str, Callable[[Any], Reply]] = {"openai": _openai, "inspect": _inspect, "reply": _reply}
