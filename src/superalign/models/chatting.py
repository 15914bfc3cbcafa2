"""A local model that is asked in words: chat template, batches, replies by kind.

    speaker = speaker_of(load_model("hf:models/llama-instruct"))
    (reply,) = speaker.ask([Ask(messages=(Turn("user", "Is it right? Answer yes or no."),), tokens=4)])

Messages go through the tokenizer's own chat template. A template that refuses a system role, or says nothing of it,
gets its words at the head of the first user turn; neighbours of one role are joined where it insists on turns. A last
turn of the assistant is continued. Without a template, the plain form:

    System: …

    User: …

    Assistant:

and the answer ends before the next "\\n\\nUser:". `needs_template=True` makes a missing template an error instead.

What a message holds is never read as a control token: where it spells a special token, or another one of those that
were added and that the template uses (`<|im_end|>`), a blank is put behind its first character, so that untrusted text
cannot close its turn.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from superalign.models.errors import ModelError
from superalign.models.frames import broken_up
from superalign.models.generation import Continuation, Request, continuations
from superalign.models.local import LocalModel
from superalign.models.speaker import Ask, Kind, Reply, Token, Turn
from superalign.models.stamps import same

PLAIN = {"system": "System", "user": "User", "assistant": "Assistant"}
NEXT = "\n\nUser:"
"""Where an answer in the plain form is over."""


class Prompt(NamedTuple):
    """Messages as tokens, and the stop strings that their form needs beside those asked for."""

    ids: tuple[int, ...]
    stop: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSpeaker:
    """A Speaker over a white-box model of this machine. Its identity is the model's, and how it is put to it."""

    model: LocalModel
    needs_template: bool = False
    """Refuse a tokenizer without a chat template, in place of the plain form."""
    identity: str = field(init=False, default="")
    """`name~form@digest`: the form is `form_of` its tokenizer and configuration, which answers hang on as well."""

    def __post_init__(self) -> None:
        same(self.model)
        object.__setattr__(self, "identity", f"{self.model.name}~{form_of(self.model)}@{self.model.digest}")

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply an ask, in their order; equal asks are answered once.

        A prompt that fills the context is a reply of kind "none" for "context", one that the template refuses for
        "template", and one at which the network computes no number for "not a number". Tokens carry log-probabilities
        whether alternatives are asked for or not. Read and written tokens are counted without padding; written ones
        include those of the stop string and the end-of-text that the network was asked for.

        Raises ModelError without a needed template, where a single prompt does not fit in memory, and when the weights
        were changed in place: the identity would be that of the older ones.
        """
        same(self.model)
        began = time.monotonic()
        whole = list(dict.fromkeys(asks))
        prompts = [prompt_of(self.model.tokenizer, ask, who=self.identity, strict=self.needs_template) for ask in whole]
        ready = [(ask, prompt) for ask, prompt in zip(whole, prompts, strict=True) if prompt is not None]
        made = continuations(self.model, [_request(ask, prompt) for ask, prompt in ready])
        seconds = time.monotonic() - began
        said = {ask: _reply(prompt, each, seconds=seconds) for (ask, prompt), each in zip(ready, made, strict=True)}
        out: list[Reply] = []
        seen: set[Ask] = set()
        for ask in asks:
            reply = said.get(ask) or Reply(kind="none", why="template", seconds=seconds)
            out.append(replace(reply, sent=0) if ask in seen else reply)
            seen.add(ask)
        return out


def speaker_of(model: LocalModel, *, needs_template: bool = False) -> LocalSpeaker:
    """`model` as a Speaker. Raises ModelError where a template is needed and its tokenizer has none."""
    if needs_template:
        _demanded(model.tokenizer, model.identity)
    return LocalSpeaker(model=model, needs_template=needs_template)


def form_of(model: LocalModel) -> str:
    """8 hexadecimal digits over what decides, beside the weights, how a model answers: tokenizer, chat template,
    configuration, and how answers end. An edited template is another form, whose kept replies are others.
    """
    tokenizer, network = model.tokenizer, model.network
    core = getattr(tokenizer, "backend_tokenizer", None)
    told = [getattr(network, name, None) for name in ("config", "generation_config")]
    configured = [each.to_diff_dict() if each is not None else {} for each in told]
    for each in configured:
        for name in ("_name_or_path", "transformers_version", "dtype", "torch_dtype"):  # a place; and in the name
            each.pop(name, None)
    words = json.loads(core.to_str()) if core is not None else sorted(tokenizer.get_vocab().items())
    for name in ("padding", "truncation", "version") if core is not None else ():  # of the last call, or the library
        words.pop(name, None)
    marks = [tokenizer.bos_token, tokenizer.eos_token, getattr(tokenizer, "chat_template", None)]
    whole = json.dumps([words, marks, configured], sort_keys=True, default=str)
    return hashlib.sha256(whole.encode()).hexdigest()[:8]


def prompt_of(tokenizer: Any, ask: Ask, *, who: str, strict: bool = False) -> Prompt | None:
    """The tokens that `ask` is put to a model as; None where its template refuses these messages whatever the form.

    `who` is named in the ModelError that is raised for a missing template if `strict`.
    """
    control = control_tokens(tokenizer)
    turns = [Turn(turn.role, broken_up(turn.content, control)) for turn in told_schema(ask)]
    if strict:
        _demanded(tokenizer, who)
    if not getattr(tokenizer, "chat_template", None):
        ids = list(tokenizer(plain(turns), add_special_tokens=True)["input_ids"])
        ids = ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids
        return Prompt(tuple(ids), (NEXT,))
    for form in (turns, folded(turns), joined(folded(turns))):
        text = _rendered(tokenizer, form)
        if text is not None and all(turn.content.strip() in text for turn in turns if turn.role == "system"):
            return Prompt(tuple(tokenizer(text, add_special_tokens=False)["input_ids"]), ())
    return None


def told_schema(ask: Ask) -> list[Turn]:
    """The messages of `ask`, its schema told at the end of the last user turn: asked for, not enforced."""
    turns = [Turn(*turn) for turn in ask.messages]
    if ask.schema:
        at = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=len(turns) - 1)
        schema = json.dumps(json.loads(ask.schema), ensure_ascii=False)
        words = f"{turns[at].content}\n\nAnswer with JSON that fits this schema, and nothing else:\n{schema}"
        turns[at] = Turn(turns[at].role, words)
    return turns


def plain(turns: Sequence[Turn]) -> str:
    """The form for a model without a template; a last turn of the assistant stays open.

    >>> plain([Turn("user", "1 + 1?")])
    'User: 1 + 1?\\n\\nAssistant:'
    """
    said = [f"{PLAIN[turn.role]}: {turn.content}" for turn in turns]
    return "\n\n".join(said if turns and turns[-1].role == "assistant" else [*said, "Assistant:"])


def folded(turns: Sequence[Turn]) -> list[Turn]:
    """System turns at the head of the first user turn, one empty line between them."""
    system = [turn.content for turn in turns if turn.role == "system"]
    rest = [turn for turn in turns if turn.role != "system"]
    at = next((i for i, turn in enumerate(rest) if turn.role == "user"), None)
    if at is None:
        return [Turn("user", "\n\n".join(system)), *rest] if system else rest
    rest[at] = Turn("user", "\n\n".join([*system, rest[at].content]))
    return rest


def joined(turns: Sequence[Turn]) -> list[Turn]:
    """Neighbours of one role as one turn, one empty line between them."""
    out: list[Turn] = []
    for turn in turns:
        if out and out[-1].role == turn.role:
            turn = Turn(turn.role, f"{out.pop().content}\n\n{turn.content}")
        out.append(turn)
    return out


def control_tokens(tokenizer: Any) -> list[str]:
    """What no message may spell: special tokens, and added ones in the chat template, marked as special or not."""
    template = str(getattr(tokenizer, "chat_template", None) or "")
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    used = {str(each.content) for each in added if each.special or each.content in template}
    return sorted(used | {str(each) for each in getattr(tokenizer, "all_special_tokens", ())})


def _demanded(tokenizer: Any, who: str) -> None:
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            f"{who}: its tokenizer has no chat template: use the chat or instruct version of the model, save a "
            "chat_template.jinja beside it, or leave needs_template out for the plain form"
        )


def _rendered(tokenizer: Any, turns: Sequence[Turn]) -> str | None:
    """The template's text; None where it refuses these turns, or drops part of the one that is to be continued."""
    from jinja2.exceptions import TemplateError

    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    open_end = bool(turns) and turns[-1].role == "assistant"
    try:
        return str(
            tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=not open_end, continue_final_message=open_end
            )
        )
    except (TemplateError, ValueError, TypeError):  # transformers' own, and what a template's expressions raise
        return None


def _request(ask: Ask, prompt: Prompt) -> Request:
    return Request(
        ids=prompt.ids,
        tokens=ask.tokens,
        temperature=ask.temperature,
        seed=ask.seed,
        stop=(*ask.stop, *prompt.stop),
        alternatives=ask.alternatives,
    )


ENDS: dict[str, tuple[Kind, str]] = {
    "end": ("answer", ""),
    "stop": ("answer", ""),
    "limit": ("cut", ""),
    "context": ("cut", "context"),
    "broken": ("none", "not a number"),
}


def _reply(prompt: Prompt, made: Continuation, *, seconds: float) -> Reply:
    if made.ended == "context" and made.drawn == 0:
        return Reply(kind="none", why="context", seconds=seconds)
    kind, why = ENDS[made.ended]
    tokens = tuple(map(Token, made.pieces, made.logprobs, made.alternatives))
    return Reply(
        kind=kind,
        text=made.text,
        why=why,
        tokens=tokens,
        read=len(prompt.ids),
        written=made.drawn,
        seconds=seconds,
    )
