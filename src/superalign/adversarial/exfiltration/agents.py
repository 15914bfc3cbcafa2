"""Models as agents: at any address, on this machine or behind a chat-completions server.

    agent = agent_at("hf:/models/small")                      # or family:m, writer, http://127.0.0.1:8000/v1#NAME
    play_episode(agent, drawn_fixture(seed=0), name="small")

A server's key comes from the environment (SUPERALIGN_AGENT_KEY), when it is needed. Any callable is an agent too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from superalign.adversarial.exfiltration.episode import Agent, Message
from superalign.models.chat import Chat, chat_of, said

if TYPE_CHECKING:
    from superalign.models import LocalModel

KEY = "SUPERALIGN_AGENT_KEY"
TOKENS = 256
"""Of an answer, at most."""


def agent_at(address: str, *, tokens: int = TOKENS, temperature: float = 0.8, seed: int = 0) -> Agent:
    """The agent at an address: `family:SIZE`, `hf:NAME-OR-PATH`, `writer`, or `http(s)://HOST/v1#MODEL`.

    Temperature is for models on this machine; a server is asked at 0. Raises ModelError for another address.
    """
    return agents_at(address, tokens=tokens, temperature=temperature)(seed)


def agents_at(address: str, *, tokens: int = TOKENS, temperature: float = 0.8) -> Callable[[int], Agent]:
    """As `agent_at`, an agent a seed, the model loaded once: episodes that share a seed would share their draws."""
    if address.startswith(("http://", "https://")):
        chat = chat_of(address, key_from=KEY)
        return lambda seed: chat_agent(chat, tokens=tokens, seed=seed)
    model = _local(address)
    return lambda seed: local_agent(model, tokens=tokens, temperature=temperature, seed=seed)


def _local(address: str) -> LocalModel:
    if address == "writer":
        from superalign.adversarial.writers import load_writer

        return load_writer()
    from superalign.models import load_model

    return load_model(address)


def chat_agent(chat: Chat, *, tokens: int = TOKENS, seed: int = 0) -> Agent:
    """A model behind a server. Its answers raise ModelError where none comes."""
    return lambda messages: said(chat, messages, tokens=tokens, seed=seed)


def local_agent(model: LocalModel, *, tokens: int = TOKENS, temperature: float = 0.8, seed: int = 0) -> Agent:
    """A model on this machine, given the talk as plain text: its last part, where the whole does not fit."""
    from superalign.models.sampling import sample

    limit = int(getattr(model.network.config, "max_position_embeddings", 1024))
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
