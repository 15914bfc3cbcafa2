"""vLLM's interface, imitated: what is handed to it, and what becomes of what it hands back."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from superalign.models import LocalModel, ModelError, QuarantineError, load_model
from superalign.models.chatting import speaker_of
from superalign.models.generation import Request, continuations
from superalign.models.speaker import Ask, Turn
from superalign.models.speakers import speaker_at
from superalign.models.vllm import files_digest, vllm_speaker

Folder = Callable[..., Path]
USER = Turn("user", "Which one?")


@dataclass
class SamplingParams:
    """The fields of vLLM's own that are used, with its defaults."""

    max_tokens: int | None = 16
    temperature: float = 1.0
    seed: int | None = None
    stop: list[str] | None = None
    logprobs: int | None = None
    prompt_logprobs: int | None = None


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: Sequence[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


@dataclass
class RequestOutput:
    prompt_token_ids: list[int]
    prompt_logprobs: list[dict[int, Logprob] | None] | None
    outputs: list[CompletionOutput] = field(default_factory=list)


class LLM:
    """vLLM's offline class over a local model: keeps to its documented calls, and fails on any other."""

    made: list[dict[str, Any]] = []  # noqa: RUF012 - what was asked for, to be looked at

    def __init__(self, model: str, *, trust_remote_code: bool, load_format: str, **options: Any) -> None:
        assert not trust_remote_code
        self.model: LocalModel = load_model(f"hf:{model}", allow_organism=True)  # vLLM knows no quarantine
        self.made.append({"load_format": load_format} | options)
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=self.model.context))

    def get_tokenizer(self) -> Any:
        return self.model.tokenizer

    def generate(
        self,
        prompts: list[dict[str, list[int]]],
        sampling_params: SamplingParams | Sequence[SamplingParams],
        *,
        use_tqdm: bool = True,
    ) -> list[RequestOutput]:
        each = [sampling_params] * len(prompts) if isinstance(sampling_params, SamplingParams) else sampling_params
        assert not use_tqdm
        return [self._one(p["prompt_token_ids"], s) for p, s in zip(prompts, each, strict=True)]

    def _one(self, ids: list[int], told: SamplingParams) -> RequestOutput:
        assert len(ids) + (told.max_tokens or 0) <= self.model.context  # vLLM raises
        request = Request(
            ids=tuple(ids), tokens=told.max_tokens or 16, temperature=told.temperature, seed=told.seed or 0,
            stop=tuple(told.stop or ()), alternatives=(told.logprobs or 0) + 1,
        )  # fmt: skip
        (made,) = continuations(self.model, [request])
        (free,) = continuations(self.model, [Request(ids=request.ids, tokens=request.tokens, seed=request.seed,
                                                     temperature=request.temperature, alternatives=3)])  # fmt: skip
        drawn = made.drawn if made.ended != "end" else made.drawn - 1
        places = []
        for at in range(drawn):
            best = sorted(free.alternatives[at], key=lambda each: -each[1])[: told.logprobs or 0]
            place = {-1 - i: Logprob(value, i + 1, text) for i, (text, value) in enumerate(best)}
            place[free.ids[at]] = Logprob(free.logprobs[at], 1, free.pieces[at])
            places.append(place)
        end = [1] if made.ended == "end" else []
        output = CompletionOutput(
            index=0, text=made.text, token_ids=[*free.ids[:drawn], *end], cumulative_logprob=None,
            logprobs=[*places, *({1: Logprob(-0.5, 1, "<|end|>")} for _ in end)] if told.logprobs is not None else None,
            finish_reason="stop" if made.ended in ("end", "stop") else "length",
        )  # fmt: skip
        read = None
        if told.prompt_logprobs is not None:
            text = self.model.tokenizer.decode(ids)
            (values,) = self.model.logprobs([text.removeprefix("<|begin|>")])
            read = [None, *({token: Logprob(float(v), 1, "")} for token, v in zip(ids[1:], values, strict=True))]
        return RequestOutput(prompt_token_ids=ids, prompt_logprobs=read, outputs=[output])


@pytest.fixture
def imitation(monkeypatch: pytest.MonkeyPatch) -> type[LLM]:
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, SamplingParams  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    LLM.made.clear()
    return LLM


def test_it_says_what_the_local_model_says(hf_folder: Folder, imitation: type[LLM]) -> None:
    folder = hf_folder("llama")
    asks = [
        Ask(messages=(USER,), tokens=6),
        Ask(messages=(USER,), tokens=6, temperature=1.0, seed=3, alternatives=2),
        Ask(messages=(Turn("system", "Judge."), USER), tokens=9, stop=("e",)),
        Ask(messages=(USER,), tokens=6),
        Ask(messages=(Turn("user", "a b " * 90),), tokens=4),
        Ask(messages=(Turn("user", "word " * 18),), tokens=90),
    ]
    told = vllm_speaker(f"vllm:{folder}").ask(asks)
    local = speaker_of(load_model(f"hf:{folder}")).ask(asks)
    for one, other in zip(told, local, strict=True):
        assert (one.kind, one.text, one.why, one.read, one.sent) == (
            other.kind,
            other.text,
            other.why,
            other.read,
            other.sent,
        )
        assert one.written == other.written
        assert [token.text for token in one.tokens] == [token.text for token in other.tokens]
        assert [len(token.alternatives) for token in one.tokens] == [len(token.alternatives) for token in other.tokens]
    assert told[3].sent == 0
    assert told[4].why == told[5].why == "context"


def test_prompt_log_probabilities(hf_folder: Folder, imitation: type[LLM]) -> None:
    folder = hf_folder("llama")
    texts = ["The judge reads.", "", "Who?"]
    got, want = vllm_speaker(f"vllm:{folder}").logprobs(texts), load_model(f"hf:{folder}").logprobs(texts)
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_identity_follows_the_files(hf_folder: Folder, imitation: type[LLM]) -> None:
    one, other = hf_folder("llama"), hf_folder("llama", seed=1)
    assert vllm_speaker(f"vllm:{one}").identity == f"tiny-llama@{files_digest(one)}"
    assert vllm_speaker(f"vllm:{other}").identity != vllm_speaker(f"vllm:{one}").identity
    narrow = vllm_speaker(f"vllm:{one}?dtype=bfloat16&quantise=4bit")
    assert narrow.identity == f"tiny-llama.bfloat16.4bit@{files_digest(one)}"
    assert imitation.made[-1] == {"load_format": "bitsandbytes", "dtype": "bfloat16", "quantization": "bitsandbytes"}
    assert imitation.made[0] == {"load_format": "safetensors"}
    with pytest.raises(ModelError, match="not to 8bit"):
        vllm_speaker(f"vllm:{one}?quantise=8bit")


def test_organisms_stay_in_quarantine(hf_folder: Folder, imitation: type[LLM], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(hf_folder("llama"), tmp_path / "m"))
    (folder / "superalign.json").write_text('{"organism": true}')
    with pytest.raises(QuarantineError, match="an organism or its twin"):
        speaker_at(f"vllm:{folder}")
    assert not imitation.made
    assert speaker_at(f"vllm:{folder}", allow_organism=True).identity.startswith("m@")


def test_what_vllm_gives_up_is_no_answer(
    hf_folder: Folder, imitation: type[LLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LLM._one

    def aborted(self: LLM, ids: list[int], told: SamplingParams) -> RequestOutput:
        made = real(self, ids, told)
        made.outputs[0].finish_reason = "abort"
        return made

    monkeypatch.setattr(LLM, "_one", aborted)
    (reply,) = vllm_speaker(f"vllm:{hf_folder('llama')}").ask([Ask(messages=(USER,), tokens=6)])
    assert (reply.kind, reply.why, reply.text) == ("none", "abort", "")


def test_without_vllm_there_is_a_hint(hf_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ModelError, match=r"needs vLLM, which is not here: pip install vllm"):
        vllm_speaker(f"vllm:{hf_folder('llama')}")


@pytest.mark.parametrize("error", [ValueError("no such architecture"), RuntimeError("Engine core failed")])
def test_what_vllm_refuses_is_a_model_error(
    hf_folder: Folder, imitation: type[LLM], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(self: LLM, **_: Any) -> None:
        raise error

    monkeypatch.setattr(LLM, "__init__", fail)
    with pytest.raises(ModelError, match=str(error)):
        vllm_speaker(f"vllm:{hf_folder('llama')}")
    with pytest.raises(ModelError, match=r"no \*\.safetensors weights"):
        vllm_speaker("vllm:./nowhere")
