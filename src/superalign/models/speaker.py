"""What is asked of a language model in words, and what comes back: one interface behind `hf:`, `inspect:` and servers.

    speaker = speaker_at("hf:/models/small")                        # or inspect:openai/gpt-4o, http://127.0.0.1:8000/v1#name
    (reply,) = speaker.ask([Ask(messages=(Turn("user", "Which option is right? Answer with one letter."),), tokens=4)])
    reply.kind, reply.text, reply.tokens[0].alternatives

One reply an ask, in their order, whatever happened: a refusal, a cut and an answer that never came are replies of their
kind, so that they stay in every denominator. Only what would fail every further ask, too, is raised: a key that is
refused, a spending limit that is reached. What was paid for until then is kept, where anything is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple, Protocol

Role = Literal["system", "user", "assistant"]
Kind = Literal["answer", "cut", "refused", "none"]
"""A whole answer; one that the limit of tokens cut off; a refusal that the provider marks as one; no answer at all."""


class Turn(NamedTuple):
    """One message of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request. Everything that decides what may come back is in it."""

    messages: tuple[Turn, ...]
    tokens: int
    """Of the answer, at most."""
    temperature: float = 0.0
    """0 is greedy."""
    seed: int = 0
    """Of this request's own draws: other requests beside it do not change what it gets."""
    stop: tuple[str, ...] = ()
    """Strings before which the answer ends."""
    alternatives: int = 0
    """Of how many of the likeliest tokens log-probabilities are given, at each place of the answer; 0: of none."""
    schema: str = ""
    """JSON schema that the answer shall fit, as JSON; empty: free. Who reads the answer checks it anyhow."""

    def key(self, identity: str) -> str:
        """SHA-256 over this request and whom it goes to: equal keys, and only they, may share an answer."""
        told = json.dumps([identity, asdict(self)], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(told.encode()).hexdigest()


class Token(NamedTuple):
    """One token of an answer."""

    text: str
    logprob: float
    """Of this token, which was emitted, in nats."""
    alternatives: tuple[tuple[str, float], ...] = ()
    """The likeliest tokens in its place with their log-probabilities, likeliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of one request."""

    kind: Kind
    text: str = ""
    why: str = ""
    """Of a refusal or of no answer: in a few words, to be counted, as in "content filter", "timeout", "context"."""
    tokens: tuple[Token, ...] = ()
    """Of the answer, with log-probabilities; empty where the model gives none, or none were asked for."""
    read: int = 0
    """Tokens of the prompt, as they are billed."""
    written: int = 0
    """Tokens of the answer, as they are billed."""
    raw: str = ""
    """Digest of the raw response in the object store; empty where nothing is kept."""
    sent: int = 1
    """Requests that went out for it, failed ones included; 0: it was there already."""
    seconds: float = 0.0
    """From the first request to the answer."""


class Speaker(Protocol):
    """Whoever can be asked: a model here, behind a server, or behind Inspect."""

    @property
    def identity(self) -> str:
        """`name@digest` over the weights; of a model whose weights nobody sees, its address, and no digest."""

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply an ask, in their order."""
