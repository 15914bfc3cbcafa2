"""`vllm:NAME-OR-PATH`: a model that vLLM runs, behind the same interface as any other. Optional.

    speaker = vllm_speaker("vllm:models/llama-instruct?dtype=bfloat16")          # pip install vllm
    (reply,) = speaker.ask([Ask(messages=(Turn("user", "Is it right?"),), tokens=4)])

Only vLLM's offline interface is used: `LLM(model=…)`, `get_tokenizer()`, `generate(prompts, sampling_params)` with
`SamplingParams(max_tokens, temperature, seed, stop, logprobs, prompt_logprobs)`, and the fields of `RequestOutput`.
Messages become tokens here, as for a local model (`models.chatting`), so that both read the same prompt.

Tested against a small imitation of that interface only: not one line of this has run on a GPU.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from superalign.models.addresses import ModelAddress, folder_at, parsed
from superalign.models.chatting import Prompt, prompt_of
from superalign.models.errors import ModelError
from superalign.models.hub import complete, quiet, refused
from superalign.models.load import manifest_of, quarantined
from superalign.models.speaker import Ask, Reply, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmSpeaker:
    """A Speaker over vLLM's `LLM`."""

    identity: str
    """`name@digest` over the weight files of a folder; the address of a model of the hub."""
    llm: Any
    context: int
    """Tokens of prompt and answer together."""
    needs_template: bool = False

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply an ask, in their order; equal asks are answered once. Kinds as of `LocalSpeaker.ask`."""
        from vllm import SamplingParams

        began = time.monotonic()
        tokenizer = self.llm.get_tokenizer()
        said: dict[Ask, Reply] = {}
        ready: list[tuple[Ask, Prompt]] = []
        for ask in dict.fromkeys(asks):
            prompt = prompt_of(tokenizer, ask, who=self.identity, strict=self.needs_template)
            if prompt is None:
                said[ask] = Reply(kind="none", why="template")
            elif len(prompt.ids) >= self.context:
                said[ask] = Reply(kind="none", why="context")
            else:
                ready.append((ask, prompt))
        told = [
            SamplingParams(
                max_tokens=min(ask.tokens, self.context - len(prompt.ids)),
                temperature=ask.temperature,
                seed=ask.seed % (1 << 63),
                stop=[*ask.stop, *prompt.stop] or None,
                logprobs=ask.alternatives,
            )
            for ask, prompt in ready
        ]
        prompts = [{"prompt_token_ids": list(prompt.ids)} for _, prompt in ready]
        made = self.llm.generate(prompts, told, use_tqdm=False) if ready else []
        seconds = time.monotonic() - began
        for (ask, prompt), each in zip(ready, made, strict=True):
            said[ask] = _reply(ask, prompt, each.outputs[0], context=self.context, seconds=seconds)
        first = {ask: i for i, ask in reversed(list(enumerate(asks)))}
        return [said[ask] if first[ask] == i else replace(said[ask], sent=0) for i, ask in enumerate(asks)]

    def logprobs(self, texts: Sequence[str]) -> list[list[float]]:
        """Log-probability of every token of each text given those before it, in nats: tokens - 1 numbers a text."""
        from vllm import SamplingParams

        tokenizer = self.llm.get_tokenizer()
        ids = [list(tokenizer(text, add_special_tokens=True)["input_ids"])[: self.context - 1] for text in texts]
        asked = [i for i, row in enumerate(ids) if row]
        told = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0)
        made = self.llm.generate([{"prompt_token_ids": ids[i]} for i in asked], told, use_tqdm=False) if asked else []
        out: list[list[float]] = [[] for _ in ids]
        for i, each in zip(asked, made, strict=True):
            places = zip(ids[i], each.prompt_logprobs, strict=True)
            out[i] = [float(place[token].logprob) for token, place in places if place is not None]
        return out


def vllm_speaker(address: str, *, needs_template: bool = False, allow_organism: bool = False) -> VllmSpeaker:
    """Load the model at a `vllm:` address into vLLM.

    Raises ModelError where vLLM is not installed, the address is wrong, a shard is missing, or vLLM refuses the model;
    QuarantineError for an organism.
    """
    at = parsed(address, schemes=("vllm",))
    try:
        from vllm import LLM
    except ImportError as error:
        raise ModelError(f"{at}: needs vLLM, which is not here: pip install vllm (Linux, CUDA), or use hf:…") from error
    quarantined(manifest_of(at), at, allow_organism=allow_organism)
    path = folder_at(at)
    if path is not None:
        complete(str(at), path)
        identity = f"{path.name}@{files_digest(path)}"
    else:
        identity = f"{at}@revision {at.revision}" if at.revision else str(at)
    try:
        llm = LLM(model=at.where, trust_remote_code=False, **_options(at))
    except (OSError, ValueError, RuntimeError) as error:
        raise refused(str(at), error) from quiet(error)
    marks = "".join(f".{each}" for each in (at.dtype, at.quantise) if each)
    name, sign, digest = identity.partition("@")
    context = int(llm.llm_engine.model_config.max_model_len)
    return VllmSpeaker(identity=f"{name}{marks}{sign}{digest}", llm=llm, context=context, needs_template=needs_template)


def files_digest(folder: Path) -> str:
    """SHA-256 over names and bytes of the safetensors files in `folder`: what vLLM runs, without loading it twice.

    Not the digest of `models.weights_digest`, which is over tensors: the same weights in other shards differ here.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _options(at: ModelAddress) -> dict[str, Any]:
    options: dict[str, Any] = {"load_format": "safetensors"}
    options |= {"dtype": at.dtype} if at.dtype else {}
    options |= {"revision": at.revision} if at.revision else {}
    if at.quantise == "8bit":
        raise ModelError(f"{at}: vLLM quantises to 4bit as it loads, not to 8bit: use quantise=4bit, or hf:…")
    return options | ({"quantization": "bitsandbytes", "load_format": "bitsandbytes"} if at.quantise else {})


def _reply(ask: Ask, prompt: Prompt, made: Any, *, context: int, seconds: float) -> Reply:
    tokens = []
    for token, place in zip(made.token_ids, made.logprobs or [], strict=False):
        ranked = sorted(place.values(), key=lambda each: each.rank)[: ask.alternatives]
        others = tuple((str(each.decoded_token or ""), float(each.logprob)) for each in ranked)
        tokens.append(Token(str(place[token].decoded_token or ""), float(place[token].logprob), others))
    if made.finish_reason not in ("stop", "length"):  # abort, error
        return Reply(kind="none", why=str(made.finish_reason), read=len(prompt.ids), seconds=seconds)
    cut = made.finish_reason == "length"
    short = cut and context - len(prompt.ids) < ask.tokens
    return Reply(
        kind="cut" if cut else "answer",
        text=made.text,
        why="context" if short else "",
        tokens=tuple(_within(tokens, made.text)),
        read=len(prompt.ids),
        written=len(made.token_ids),
        seconds=seconds,
    )


def _within(tokens: Sequence[Token], text: str) -> list[Token]:
    """The tokens that spell `text`, the last cut where it ends: those of an end or a stop string are not in it."""
    out: list[Token] = []
    left = len(text)
    for token in tokens:
        if left <= 0:
            break
        out.append(token._replace(text=token.text[:left]))
        left -= len(token.text)
    return out
