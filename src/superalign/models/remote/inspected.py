"""A model of any provider of Inspect, asked through its public interface. Needs the extra `[inspect]`.

    line = InspectLine("inspect:openai/gpt-4o", terms)
    line.send(ask)                       # Inspect's ModelOutput as JSON

Inspect's and the client libraries' own retries are off, so that each try is counted here. A provider that has no seed,
no log-probabilities or no schemas leaves them out by itself (Inspect ignores what a provider does not take): then the
seed only tells samples apart in the index, and `Reply.tokens` is empty. One event loop serves all, in a thread.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import cache
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from superalign.models.errors import ModelError
from superalign.models.remote.refusals import CONTEXT_WHY, Fault, fault_of, keyless, plain, too_long
from superalign.models.remote.terms import Terms, key_of
from superalign.models.speaker import Ask

NO_RETRIES = {
    "openai",
    "openai-api",
    "anthropic",
    "groq",
    "together",
    "fireworks",
    "sambanova",
    "openrouter",
    "perplexity",
}
"""Providers whose further arguments go to a client that takes `max_retries`."""
BUGS = (TypeError, AttributeError, NameError, ImportError, AssertionError)
MISSING = "needs Inspect: pip install 'superalign[inspect]'"


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The loop on which every provider's client lives, running in a daemon thread."""
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="inspect", daemon=True).start()
    return loop


class InspectLine:
    """One model of one provider. Thread-safe."""

    form = "inspect"

    def __init__(self, address: str, terms: Terms) -> None:
        self.name = address.removeprefix("inspect:")
        if "/" not in self.name:
            raise ModelError(f"{address!r} is no model of Inspect: write inspect:PROVIDER/MODEL")
        self._terms, self._key = terms, key_of(terms)
        self.model = asyncio.run_coroutine_threadsafe(self._open(), _loop()).result()
        self._key = self._key or str(getattr(self.model.api, "api_key", None) or "")  # its own variable's
        url = str(getattr(self.model.api, "base_url", None) or "")
        parts = urlsplit(url)
        if parts.username or parts.password or parts.query:
            raise ModelError(
                f"{address}: its base URL holds a password or a query, which would be written into records"
            )
        self.identity = f"inspect:{self.name}" + (f" at {url.rstrip('/')}" if url else "")

    def __repr__(self) -> str:
        return f"InspectLine({self.identity!r})"

    async def _open(self) -> Any:
        """Inspect's model, made on the loop that it will run on."""
        try:
            from inspect_ai.model import get_model
        except ModuleNotFoundError as error:
            raise ModelError(f"inspect:{self.name} {MISSING}") from error
        provider = self.name.partition("/")[0]
        arguments: dict[str, Any] = {"max_retries": 0} if provider in NO_RETRIES else {}
        coming = asyncio.ensure_future(
            _called(get_model, self.name, api_key=self._key or None, memoize=False, **arguments)
        )
        await asyncio.wait([coming])
        if failure := coming.exception():
            said = str(getattr(failure, "message", failure))
            raise ModelError(f"inspect:{self.name}: {_plain(said, self._key)}")
        model = coming.result()
        if provider == "mockllm":  # it would fetch a tokenizer from the network to count tokens
            model.api.count_text_tokens = _bytes
        return model

    def close(self) -> None:
        """Let the provider's connections go."""
        asyncio.run_coroutine_threadsafe(self.model.api.aclose(), _loop()).result(10)

    def send(self, ask: Ask) -> bytes:
        """The output as JSON. Raises Fault, or a ModelError for what would fail every further request too."""
        coming = asyncio.run_coroutine_threadsafe(asyncio.wait_for(self._asked(ask), self._terms.timeout), _loop())
        failure = coming.exception()
        if failure is None:
            told = coming.result().model_dump(mode="json", exclude_none=True)
            return keyless(json.dumps(told).encode(), self._key)  # pydantic's own writer fails at half a character
        raise self._fault(_cause(failure)) from None

    async def _asked(self, ask: Ask) -> Any:
        from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, GenerateConfig

        kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
        config = GenerateConfig(
            max_tokens=ask.tokens,
            temperature=ask.temperature,
            seed=ask.seed,
            stop_seqs=list(ask.stop) or None,
            logprobs=True if ask.alternatives else None,
            top_logprobs=ask.alternatives or None,
            response_schema=_schema(ask.schema),
            max_retries=0,
            max_connections=self._terms.concurrency,
            adaptive_connections=False,
        )
        return await self.model.generate(
            [kinds[turn.role](content=turn.content) for turn in ask.messages], config=config
        )

    def _fault(self, failure: BaseException) -> Fault:
        """What a provider's error amounts to. Raises what is a mistake in a program, and what stays so."""
        if isinstance(failure, ModelError):
            raise failure
        if isinstance(failure, TimeoutError) or "Timeout" in type(failure).__name__:
            return Fault("timeout", billed=True)
        said = str(getattr(failure, "provider_message", None) or failure)
        status, after = getattr(failure, "status_code", None), None
        decision = self.model.api.should_retry(failure)
        if not isinstance(decision, bool):
            after = decision.retry_after
        if isinstance(status, int) and status >= 300:
            return fault_of(
                status, said, after=after, address=self.identity, key=self._key, key_from=self._terms.key_from
            )
        names = {type(cause).__name__ for cause in _causes(failure)}
        if names & {"ConnectError", "ConnectionRefusedError", "gaierror"}:
            return Fault("connection", refused=True)
        if any("Connect" in name or "Protocol" in name or name in ("ReadError", "WriteError") for name in names):
            return Fault("connection", billed=True)
        if any("JSON" in name or "Validation" in name or "OpenAIResponse" in name for name in names):
            return Fault("malformed", billed=True)
        if too_long(said):
            return Fault(CONTEXT_WHY, again=False)
        if isinstance(failure, BUGS):
            raise failure
        return Fault(type(failure).__name__, again=bool(decision), after=after or None, said=_plain(said, self._key))


async def _called(make: Any, *given: Any, **named: Any) -> Any:
    return make(*given, **named)


async def _bytes(text: str) -> int:
    return len(text.encode())


def _schema(schema: str) -> Any:
    """A JSON schema as Inspect takes it; None where none is given. Raises ModelError for one that it cannot hold."""
    if not schema:
        return None
    from inspect_ai.model import ResponseSchema
    from inspect_ai.util import JSONSchema
    from pydantic import ValidationError

    try:
        return ResponseSchema(name="answer", json_schema=JSONSchema(**json.loads(schema)))
    except (ValidationError, ValueError) as error:
        raise ModelError(f"Inspect cannot hold this answer's schema: {str(error).splitlines()[0]}") from error


def _cause(failure: BaseException) -> BaseException:
    """What went wrong at the last try, behind the retry that did not take place."""
    last = getattr(failure, "last_attempt", None)
    return (last.exception() or failure) if last is not None else failure


def _causes(failure: BaseException | None) -> Iterator[BaseException]:
    while failure is not None:
        yield failure
        failure = failure.__cause__ or failure.__context__


def _plain(said: str, key: str) -> str:
    """A provider's words without the key and without the markup of a terminal."""
    for mark in ("[bold]", "[/bold]", "[blue]", "[/blue]", "[red]", "[/red]"):
        said = said.replace(mark, "")
    return plain(said, key)
