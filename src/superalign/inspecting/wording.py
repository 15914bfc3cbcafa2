"""Between Inspect's messages and superalign's asks, both ways.

ask_of(messages, config, seed=3)                     # what a local model is asked, from what Inspect asks
output_of(name, replies)                             # what Inspect is answered
messages, config = asked(ask)                        # what an Inspect model is asked, from what superalign asks
reply_of(output)                                     # what superalign is answered
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from superalign.evidence import SuperalignError

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput

    from superalign.models.speaker import Ask, Reply

TOKENS = 256
"""Of an answer, at most, where nobody says."""
STOPPED = {"answer": "stop", "cut": "max_tokens", "refused": "content_filter"}
"""Kind of a reply → Inspect's reason; of none: model_length for a full context, else unknown."""
PENALTIES = ("frequency_penalty", "presence_penalty", "logit_bias")
CUTS = ("top_p", "top_k")
"""Options that change what is drawn, and are not honoured; cuts change nothing where nothing is drawn."""


class Unfit(SuperalignError):
    """Inspect asks what a model of text cannot do."""


def ask_of(messages: Sequence[ChatMessage], config: GenerateConfig, *, seed: int, tokens: int = TOKENS) -> Ask:
    """One request. Raises Unfit for pictures and the like, for messages of tools, and for another distribution."""
    from superalign.models.speaker import Ask, Turn

    other = [name for name in (*PENALTIES, *(CUTS if config.temperature else ())) if getattr(config, name)]
    if other and (other != ["top_p"] or config.top_p != 1):
        raise Unfit(f"superalign's models draw from their whole distribution: leave out {', '.join(other)}")
    turns = []
    for message in messages:
        if message.role == "tool" or getattr(message, "tool_calls", None):
            raise Unfit("superalign's models call no tools: give the task one that does, or leave the tools out")
        if not isinstance(message.content, str) and any(part.type != "text" for part in message.content):
            raise Unfit("superalign's models read text alone: leave out pictures, sound and documents")
        turns.append(Turn(message.role, message.text))
    schema = (
        config.response_schema.json_schema.model_dump(exclude_none=True, by_alias=True)
        if config.response_schema
        else None
    )
    return Ask(
        messages=tuple(turns),
        tokens=config.max_tokens or tokens,
        temperature=config.temperature or 0.0,
        seed=seed,
        stop=tuple(config.stop_seqs or ()),
        alternatives=config.top_logprobs or (1 if config.logprobs else 0),
        schema=json.dumps(schema, sort_keys=True) if schema else "",
    )


def output_of(name: str, digest: str, replies: Sequence[Reply], *, logprobs: bool, top: int) -> ModelOutput:
    """A choice a reply; usage is theirs together, the prompt counted once: it is one prompt."""
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage

    choices = [
        ChatCompletionChoice(
            message=ChatMessageAssistant(content=reply.text, model=name, source="generate"),
            stop_reason=_stopped(reply),  # type: ignore[arg-type]
            logprobs=_logprobs(reply, top) if logprobs else None,
        )
        for reply in replies
    ]
    read, written = max(reply.read for reply in replies), sum(reply.written for reply in replies)
    usage = ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written)
    why = next((reply.why for reply in replies if reply.kind in ("refused", "none")), None)
    return ModelOutput(model=name, choices=choices, usage=usage, metadata={"weights": digest}, error=why or None)


def _stopped(reply: Reply) -> str:
    return STOPPED.get(reply.kind) or ("model_length" if reply.why == "context" else "unknown")


def _logprobs(reply: Reply, top: int) -> Any:
    from inspect_ai.model import Logprob, Logprobs, TopLogprob

    def listed(token: Any) -> list[TopLogprob] | None:
        return [TopLogprob(token=text, logprob=value) for text, value in token.alternatives[:top]] if top else None

    return Logprobs(content=[Logprob(token=t.text, logprob=t.logprob, top_logprobs=listed(t)) for t in reply.tokens])


def asked(ask: Ask) -> tuple[list[ChatMessage], GenerateConfig]:
    """The messages and the configuration by which Inspect asks the same."""
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageUser,
        GenerateConfig,
        ResponseSchema,
    )
    from inspect_ai.util import JSONSchema

    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
    messages: list[Any] = [kinds[turn.role](content=turn.content) for turn in ask.messages]
    told: dict[str, Any] = {"logprobs": True, "top_logprobs": ask.alternatives} if ask.alternatives else {}
    if ask.schema:
        form = JSONSchema.model_validate(json.loads(ask.schema))
        told["response_schema"] = ResponseSchema(name="answer", json_schema=form)
    config = GenerateConfig(
        max_tokens=ask.tokens, temperature=ask.temperature, seed=ask.seed, stop_seqs=list(ask.stop) or None, **told
    )
    return messages, config


def reply_of(output: ModelOutput) -> Reply:
    """What came of one request to an Inspect model, its kind by the reason that it stopped for."""
    from superalign.models.speaker import Reply, Token

    usage = output.usage
    told = {"read": usage.input_tokens if usage else 0, "written": usage.output_tokens if usage else 0}
    if output.empty:
        return Reply(kind="none", why=output.error or "no choice", **told)
    choice = output.choices[0]
    if choice.stop_reason == "content_filter":
        return Reply(kind="refused", text=output.completion, why="content filter", **told)
    if choice.stop_reason == "model_length" and not output.completion:
        return Reply(kind="none", why="context", **told)
    if output.error and not output.completion:
        return Reply(kind="none", why=output.error[:80], **told)
    tokens = tuple(
        Token(one.token, one.logprob, tuple((t.token, t.logprob) for t in one.top_logprobs or ()))
        for one in (choice.logprobs.content if choice.logprobs else ())
    )
    kind = "cut" if choice.stop_reason in ("max_tokens", "model_length") else "answer"
    return Reply(kind=kind, text=output.completion, tokens=tokens, **told)  # type: ignore[arg-type]
