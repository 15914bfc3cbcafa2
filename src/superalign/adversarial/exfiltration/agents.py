"""Models as agents, at any address.

    agent = agent_at("hf:/models/small")       # or family:m, writer, inspect:PROVIDER/MODEL, http://127.0.0.1:8000/v1#NAME
    play_episode(agent, drawn_fixture(seed=0), name="small")

A model here whose tokenizer has a chat template is asked by it, others are given the talk as plain text. A server's key
comes from the environment (SUPERALIGN_AGENT_KEY). Any callable is an agent too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from superalign.adversarial.exfiltration.episode import Agent, Message
from superalign.models.errors import ModelError
from superalign.models.keyed import HERE, keyed
from superalign.models.remote.terms import Terms
from superalign.models.speaker import Ask, Reply, Speaker, Turn

if TYPE_CHECKING:
    from superalign.models import LocalModel

KEY = "SUPERALIGN_AGENT_KEY"
TOKENS = 256
"""Of an answer, at most."""
DECLINED = "I decline."
"""Before the words of a refusal that the provider marks: whoever counts refusals by words counts it."""


def agent_at(
    address: str, *, tokens: int = TOKENS, temperature: float = 0.8, seed: int = 0, terms: Terms | None = None
) -> Agent:
    """The agent at an address: `family:SIZE`, `hf:NAME-OR-PATH`, `writer`, or any that `speaker_at` takes, on `terms`.

    Temperature is for models on this machine; others are asked at 0. Raises ModelError for another address.
    """
    return agents_at(address, tokens=tokens, temperature=temperature, terms=terms)(seed)


def agents_at(
    address: str, *, tokens: int = TOKENS, temperature: float = 0.8, terms: Terms | None = None
) -> Callable[[int], Agent]:
    """As `agent_at`, an agent a seed, the model loaded once: episodes that share a seed would share their draws."""
    if address != "writer" and not address.startswith(HERE):
        speaker = keyed(address, KEY, terms=terms)
        return lambda seed: chat_agent(speaker, tokens=tokens, seed=seed)
    model = _local(address)
    if getattr(model.tokenizer, "chat_template", None):
        from superalign.models.chatting import speaker_of

        here = speaker_of(model)
        return lambda seed: chat_agent(here, tokens=tokens, temperature=temperature, seed=seed)
    return lambda seed: local_agent(model, tokens=tokens, temperature=temperature, seed=seed)


def _local(address: str) -> LocalModel:
    if address == "writer":
        from superalign.adversarial.writers import load_writer

        return load_writer()
    from superalign.models import load_model

    return load_model(address)


def chat_agent(speaker: Speaker, *, tokens: int = TOKENS, temperature: float = 0.0, seed: int = 0) -> Agent:
    """A model that is asked in words; each answer of a talk has a seed of its own.

    Of a talk that doesn't fit its context the oldest turns after the first are left out. A refusal that the provider
    marks is said to be one (DECLINED). Raises ModelError where no answer comes.
    """

    def answer(messages: Sequence[Message]) -> str:
        turns = [Turn(each["role"], each["content"]) for each in messages]
        reply = _asked(turns)
        while reply.why == "context" and not reply.text and len(turns) > 2:
            del turns[1:3]
            reply = _asked(turns)
        return words_of(reply, speaker)

    def _asked(turns: Sequence[Turn]) -> Reply:
        draw = 1_000 * seed + len(turns)
        (reply,) = speaker.ask([Ask(messages=tuple(turns), tokens=tokens, temperature=temperature, seed=draw)])
        return reply

    return answer


def words_of(reply: Reply, speaker: Speaker) -> str:
    """What a reply says in a talk. Raises ModelError where none came."""
    if reply.kind == "none":
        raise ModelError(f"{speaker.identity}: no answer ({reply.why}): check address, model and key")
    return f"{DECLINED} {reply.text}".strip() if reply.kind == "refused" else reply.text


def local_agent(model: LocalModel, *, tokens: int = TOKENS, temperature: float = 0.8, seed: int = 0) -> Agent:
    """A model on this machine, given the talk as plain text: its last part, where the whole does not fit."""
    from superalign.models.sampling import sample

    limit = model.context
    room = max(1, min(tokens, limit // 2))

    def answer(messages: Sequence[Message]) -> str:
        text = fitting(model, as_text(messages), limit - room)
        (made,) = sample(model, [text], tokens=room, temperature=temperature, seed=1_000 * seed + len(messages))
        return made.partition("\nuser:")[0].strip()

    return answer


def as_text(messages: Sequence[Message]) -> str:
    """A talk as plain text that ends where the assistant begins.

    >>> as_text([{"role": "user", "content": "hi"}])
    'user: hi\\n\\nassistant:'
    """
    return "\n\n".join([*(f"{each['role']}: {each['content']}" for each in messages), "assistant:"])


def fitting(model: LocalModel, text: str, most: int) -> str:
    """The end of a text, of at most so many tokens: cut at blanks, earliest words first."""
    words = text.split(" ")
    low, high = 0, len(words) - 1  # the fewest words to drop: what is left of fewer words has fewer tokens
    while low < high:
        middle = (low + high) // 2
        if len(model.tokenizer(" ".join(words[middle:]))["input_ids"]) <= most:
            high = middle
        else:
            low = middle + 1
    return " ".join(words[low:])
