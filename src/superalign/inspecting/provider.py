"""superalign's models as a provider of Inspect: `--model superalign/family:xs`, `superalign/hf:/models/small`.

    inspect eval superalign/debate --model superalign/hf:/models/small@0123456789abcdef
    inspect eval task.py --model superalign/hf:/quarantine/m -M allow_organism=true

The log names the model with the digest of its weights, whether or not the name had one; each output carries all of its
digits. Honoured: seed, num_choices (choice i draws with seed + i), temperature (none given: 0, greedy), stop_seqs,
max_tokens, logprobs and top_logprobs of the emitted tokens, response_schema (told, not enforced). Tools are refused,
and so is what would draw from another distribution: penalties and biases, top_p and top_k above temperature 0.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    ModelAPI,
    ModelInfo,
    ModelOutput,
    set_model_info,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from superalign.inspecting.batching import Batches
from superalign.inspecting.naming import (
    LIVE,
    Named,
    Renamed,
    canonical_name,
    check_name,
    live_model,
    split_name,
    stamped,
    unchanged,
)
from superalign.inspecting.wording import TOKENS, Unfit, ask_of, output_of

if TYPE_CHECKING:
    from superalign.models import LocalModel

CONNECTIONS = 64
"""Requests that may wait for one model: they share its batches."""


class SuperalignAPI(ModelAPI):
    """One local model, loaded when Inspect makes it, known by its digest ever after."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's own signature)
        allow_organism: bool | str = False,
        window_ms: float = 3.0,
        **model_args: Any,
    ) -> None:
        """Load the model. Raises Renamed for a wrong digest, QuarantineError for an organism, ModelError otherwise."""
        if model_args:
            raise Unfit(f"superalign's models take allow_organism and window_ms, not {', '.join(sorted(model_args))}")
        named = split_name(model_name)
        self.address = named.address
        self._stamp = None if named.address.startswith(LIVE) else stamped(named.address)
        self.local: LocalModel = _loaded(named.address, named.digest, allowed=str(allow_organism).lower() == "true")
        check_name(named, self.local.digest)
        if not named.address.startswith(LIVE):
            self._stamp = unchanged(named.address, self._stamp)  # they may have changed while they were read
        self._name = canonical_name(named.address, self.local.digest)
        super().__init__(model_name=self._name, base_url=base_url, api_key=api_key, config=config)
        if config.adaptive_connections is None:
            config.adaptive_connections = False
        from superalign.models.chatting import speaker_of

        self._batches = Batches(speaker_of(self.local).ask, window=float(window_ms) / 1000, waiting=CONNECTIONS)
        for name in (self._name, f"superalign/{self._name}"):
            set_model_info(name, ModelInfo(organization="superalign", model=self._name, output_tokens=TOKENS))

    @property
    def model_name(self) -> str:
        """The name, with the digest. Raises Renamed where the files at the address are no longer those loaded."""
        self._stamp = unchanged(self.address, self._stamp)
        return self._name

    @model_name.setter
    def model_name(self, name: str) -> None:
        if name != self._name:
            raise Renamed(f"{self._name} can't be called {name}: its name is that of its weights")

    @property
    def batch_sizes(self) -> list[int]:
        """Of the batches so far."""
        return self._batches.sizes

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """Answer by these weights alone. Raises Renamed where they changed, Unfit for tools and pictures."""
        if tools and tool_choice != "none":
            raise Unfit("superalign's models call no tools: give the task one that does, or leave the tools out")
        name = self.model_name
        seed = secrets.randbits(31) if config.seed is None else config.seed
        asks = [ask_of(input, config, seed=seed + choice) for choice in range(config.num_choices or 1)]
        replies = await self._batches.ask(asks)
        top = config.top_logprobs or 0
        return output_of(name, self.local.digest, replies, logprobs=bool(config.logprobs or top), top=top)

    async def count_text_tokens(self, text: str) -> int:
        """By the model's own tokenizer."""
        return len(self.local.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else 0

    async def tokenize(self, text: str) -> list[int]:
        """Token ids, without special ones."""
        return list(self.local.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def max_tokens(self) -> int | None:
        """Of an answer, where nobody says."""
        return TOKENS

    def max_connections(self) -> int:
        """Requests at a time."""
        return CONNECTIONS

    def connection_key(self) -> str:
        """One pool a model, by its digest."""
        return self._name

    def collapse_user_messages(self) -> bool:
        """Chat templates want turns that alternate."""
        return True

    def collapse_assistant_messages(self) -> bool:
        """Chat templates want turns that alternate."""
        return True

    async def aclose(self) -> None:
        """End the worker; the model stays usable, for Inspect closes models that it still remembers."""


def _loaded(address: str, digest: str, *, allowed: bool) -> LocalModel:
    from superalign.models import QuarantineError, load_model

    if not address.startswith(LIVE):
        return load_model(address, allow_organism=allowed)
    model = live_model(Named(address, digest))
    if model.organism and not allowed:
        raise QuarantineError(f"{model.name} is an organism or twin, in quarantine: pass -M allow_organism=true")
    return model
