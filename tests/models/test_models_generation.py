"""Generation in batches: the same tokens as one by one, seeds of one's own, stops, limits, kinds of ends."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from superalign.models import LocalModel, ModelError, load_model
from superalign.models import generation as under_test
from superalign.models.decoding import Pieces
from superalign.models.generation import Continuation, Request, continuations, ends_of

Folder = Callable[..., Path]
PROMPTS = (
    "The judge reads what both sides say, and asks which answer is right. One side is honest; the other is paid.",
    "Who?",
    "def area(width, height):\n",
    "Zwölf Boxkämpfer jagen Viktor",
    "x",
)


@pytest.fixture
def model(hf_folder: Folder) -> LocalModel:
    return load_model(f"hf:{hf_folder('llama')}")


def requests(model: LocalModel, **fields: object) -> list[Request]:
    told = {"tokens": 20} | fields
    return [Request(ids=tuple(ids), **told) for ids in model.encode(PROMPTS)]  # type: ignore[arg-type]


def alone(model: LocalModel, request: Request) -> list[int]:
    """By transformers' own loop, without padding; up to an end-of-text."""
    start = torch.tensor([request.ids])
    with torch.inference_mode():
        made = model.network.generate(  # type: ignore[operator]
            start, attention_mask=torch.ones_like(start), max_new_tokens=request.tokens, do_sample=False, pad_token_id=0
        )
    ids = made[0, start.shape[1] :].tolist()
    return ids[: next((i for i, each in enumerate(ids) if each in ends_of(model)), len(ids))]


def test_a_batch_says_what_each_prompt_says_alone(hf_folder: Folder, architecture: str) -> None:
    model = load_model(f"hf:{hf_folder(architecture)}")
    asked = requests(model)
    lengths = [len(request.ids) for request in asked]
    assert max(lengths) > 30
    assert min(lengths) < 4
    for request, made in zip(asked, continuations(model, asked), strict=True):
        assert list(made.ids) == alone(model, request)
        assert made.ended in ("end", "limit")


def test_rows_that_end_leave_the_others_alone(hf_folder: Folder, architecture: str) -> None:
    """The longest ends first, at the context where there is one, and stays in the batch until half of it has ended."""
    model = load_model(f"hf:{hf_folder(architecture)}")
    lengths, limits = (88, 3, 9, 4, 30), (40, 40, 2, 30, 40)
    asked = [
        Request(ids=tuple(5 + (i * 7 + at) % 300 for at in range(n)), tokens=limit)
        for i, (n, limit) in enumerate(zip(lengths, limits, strict=True))
    ]
    for request, made in zip(asked, continuations(model, asked), strict=True):
        room = min(request.tokens, model.context - len(request.ids))
        assert list(made.ids) == alone(model, replace(request, tokens=room))
        assert made.ended in ("end", "limit" if room == request.tokens else "context")


def test_log_probabilities_are_of_the_tokens_that_were_emitted(hf_folder: Folder, architecture: str) -> None:
    model = load_model(f"hf:{hf_folder(architecture)}")
    asked = [
        Request(ids=r.ids, tokens=8, temperature=warm, seed=i, alternatives=k)
        for i, (r, warm, k) in enumerate(zip(requests(model), (0.0, 0.9, 1.3, 0.0, 2.0), (3, 0, 5, 1, 2), strict=True))
    ]
    for request, made in zip(asked, continuations(model, asked), strict=True):
        whole = torch.tensor([[*request.ids, *made.ids]])
        with torch.inference_mode():
            said = torch.log_softmax(model.network(input_ids=whole).logits[0].double(), -1)[len(request.ids) - 1 :]
        assert len(made.logprobs) == len(made.ids) == len(made.alternatives)
        for place, token in enumerate(made.ids):
            assert made.logprobs[place] == pytest.approx(float(said[place, token]), abs=1e-4)
            best = torch.sort(said[place], descending=True)
            values = [value for _, value in made.alternatives[place]]
            np.testing.assert_allclose(values, best.values[: request.alternatives], atol=1e-4)
            if request.alternatives and request.temperature == 0:
                assert made.alternatives[place][0][1] == pytest.approx(made.logprobs[place], abs=1e-6)


def told(made: Continuation) -> tuple[str, tuple[int, ...], str]:
    return made.text, made.ids, made.ended


def test_a_draw_depends_on_its_own_seed_only(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    asked = [
        Request(ids=tuple(ids), tokens=12, temperature=1.0, seed=seed)
        for seed in range(4)
        for ids in model.encode(PROMPTS)
    ]
    together = {request: told(made) for request, made in zip(asked, continuations(model, asked), strict=True)}
    assert len(set(together.values())) > len(asked) - 4
    shuffled = rng.sample(asked, len(asked))
    for request, made in zip(shuffled, continuations(model, shuffled), strict=True):
        assert told(made) == together[request]
    for request in asked[::3]:
        (made,) = continuations(model, [request])
        assert told(made) == together[request]
    monkeypatch.setattr(under_test, "ROWS", 3)
    for request, made in zip(asked, continuations(model, asked), strict=True):
        assert told(made) == together[request]


def test_draws_follow_the_distribution(model: LocalModel) -> None:
    ids = tuple(model.encode(["The judge"])[0])
    asked = [Request(ids=ids, tokens=1, temperature=1.5, seed=seed) for seed in range(3_000)]
    counted: dict[int, int] = {}
    for made in continuations(model, asked):
        counted[made.ids[0] if made.ids else 1] = counted.get(made.ids[0] if made.ids else 1, 0) + 1
    with torch.inference_mode():
        want = torch.softmax(model.network(input_ids=torch.tensor([ids])).logits[0, -1].double() / 1.5, -1)
    for token in want.topk(5).indices.tolist():
        share, p = counted.get(token, 0) / len(asked), float(want[token])
        assert abs(share - p) < 4.5 * (p * (1 - p) / len(asked)) ** 0.5


def test_every_draw_is_the_next_of_its_stream(model: LocalModel) -> None:
    """Against a loop over one text and one prefix at a time."""
    asked = [replace(request, temperature=1.2, seed=9 + i, tokens=10) for i, request in enumerate(requests(model))]
    for request, made in zip(asked, continuations(model, asked), strict=True):
        ids = list(request.ids)
        for uniform in np.random.default_rng(request.seed).random(request.tokens):
            with torch.inference_mode():
                logits = model.network(input_ids=torch.tensor([ids])).logits[0, -1].double() / 1.2
            cumulative = torch.softmax(logits, -1).cumsum(-1).numpy()
            ids.append(int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right")))
            if ids[-1] in ends_of(model):
                break
        assert [each for each in ids[len(request.ids) :] if each not in ends_of(model)] == list(made.ids)


@pytest.mark.parametrize("warm", [1e-6, 1e-310, 5e-324])
def test_the_coldest_draws_are_greedy(model: LocalModel, warm: float) -> None:
    asked = requests(model, tokens=6)
    cold = continuations(model, [replace(request, temperature=warm) for request in asked])
    assert [made.ids for made in cold] == [made.ids for made in continuations(model, asked)]


@pytest.mark.parametrize("at", [1, 4, 9])
@pytest.mark.parametrize("warm", [0.0, 1.0])
def test_nothing_from_a_stop_string_on_is_returned(model: LocalModel, at: int, warm: float) -> None:
    """The stop string is put together from the middle of one token to the middle of a later one."""
    asked = requests(model, temperature=warm, seed=7)
    for request, free in zip(asked, continuations(model, asked), strict=True):
        text = free.text
        if len(text) < at + 5:
            continue
        stop = text[at : at + 4]
        stopped = Request(ids=request.ids, tokens=20, temperature=warm, seed=7, stop=("never there", stop))
        (made,) = continuations(model, [stopped])
        assert made.text == text[: text.index(stop)]
        assert "".join(made.pieces) == made.text
        assert made.ended == "stop"
        assert made.ids == free.ids[: len(made.ids)]
        assert made.drawn <= free.drawn
        assert made.logprobs == pytest.approx(free.logprobs[: len(made.ids)], abs=1e-4)


def test_a_stop_string_may_span_tokens(model: LocalModel) -> None:
    (free,) = continuations(model, requests(model)[:1])
    pieces = [i for i in range(1, len(free.pieces)) if free.pieces[i - 1] and free.pieces[i]]
    spanning = free.pieces[pieces[2] - 1][-1] + free.pieces[pieces[2]][0]
    (made,) = continuations(model, requests(model, stop=(spanning,))[:1])
    assert made.ended == "stop"
    assert made.text == free.text[: free.text.index(spanning)]


def test_a_limit_and_an_end_are_told_apart(model: LocalModel) -> None:
    (made,) = continuations(model, requests(model, tokens=3)[:1])
    assert (made.ended, made.drawn, len(made.ids)) == ("limit", 3, 3)
    with torch.no_grad():
        model.network.lm_head.weight[1] *= 3  # type: ignore[union-attr,operator]
    ended = [each for each in continuations(model, requests(model, temperature=1.0, tokens=60)) if each.ended == "end"]
    assert ended
    for each in ended:
        assert each.drawn == len(each.ids) + 1
        assert "<|end|>" not in each.text


@pytest.mark.parametrize(("left", "ended", "drawn"), [(0, "context", 0), (-3, "context", 0), (2, "context", 2)])
def test_the_context_is_a_limit_of_its_own(model: LocalModel, left: int, ended: str, drawn: int) -> None:
    ids = tuple([5] * (model.context - left))
    long, short = continuations(model, [Request(ids=ids, tokens=8), Request(ids=(5, 6), tokens=8)])
    assert (long.ended, long.drawn) == (ended, drawn)
    assert short.ids == continuations(model, [Request(ids=(5, 6), tokens=8)])[0].ids


def test_a_network_without_a_number_says_so(model: LocalModel) -> None:
    with torch.no_grad():
        model.network.lm_head.weight[3] = float("nan")  # type: ignore[union-attr]
    for made in continuations(model, requests(model)):
        assert (made.ended, made.text, made.drawn) == ("broken", "", 0)


@pytest.mark.parametrize("most", [1, 2, 4])
def test_where_memory_runs_out_the_batch_is_halved(
    model: LocalModel, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(model, alternatives=2, temperature=0.7)
    want = [told(made) for made in continuations(model, asked)]
    real, tried = model.network.forward, []

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor, **others: object) -> object:
        tried.append(len(input_ids))
        if len(input_ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(input_ids=input_ids, attention_mask=attention_mask, **others)

    forward.__signature__ = inspect.signature(real)  # type: ignore[attr-defined]
    monkeypatch.setattr(model.network, "forward", forward)
    assert [told(made) for made in continuations(model, asked)] == want
    assert max(tried) > most


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"ids": (), "tokens": 1}, "an empty prompt"),
        ({"ids": (5,), "tokens": 0}, "0 tokens"),
        ({"ids": (5,), "tokens": 1, "temperature": -1.0}, "temperature -1.0"),
        ({"ids": (5,), "tokens": 1, "temperature": float("nan")}, "temperature nan"),
        ({"ids": (5,), "tokens": 1, "temperature": float("inf")}, "temperature inf"),
        ({"ids": (5,), "tokens": 1, "stop": ("",)}, "empty stop string"),
    ],
)
def test_requests_that_make_no_sense_are_refused(model: LocalModel, fields: dict[str, object], why: str) -> None:
    with pytest.raises((ModelError, ValueError), match=why):
        continuations(model, [Request(**fields)])  # type: ignore[arg-type]


def test_no_request_is_no_work(model: LocalModel) -> None:
    assert continuations(model, []) == []


@pytest.mark.parametrize("text", ["größer → 日本語 ok", "a b  c\n\td", "", "🙂🙃", "e\u0301 ö"])
def test_pieces_join_to_the_decoded_text(model: LocalModel, text: str) -> None:
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = Pieces(model.tokenizer)
    assert len(pieces.split(ids)) == len(ids)
    assert "".join(pieces.split(ids)) == text


def test_blanks_stay_where_a_decoder_drops_the_first() -> None:
    """As decoders of the SentencePiece kind do: the blank before a token is told only by the tokens before it."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"\u2581a": 0, "\u2581b": 1, "c": 2}, unk_token="c"))
    core.decoder = decoders.Metaspace()
    pieces = Pieces(PreTrainedTokenizerFast(tokenizer_object=core))
    assert pieces.split([0, 1, 2, 0, 1] * 5) == ["a", " b", "c", " a", " b", *[" a", " b", "c", " a", " b"] * 4]
    assert [pieces.one(each) for each in (0, 1, 2)] == [" a", " b", "c"]


def test_pieces_of_any_tokens_join_to_what_decoding_gives(model: LocalModel) -> None:
    rng = random.Random(1)
    pieces = Pieces(model.tokenizer)
    for _ in range(200):
        ids = [rng.randrange(len(model.tokenizer)) for _ in range(rng.randrange(1, 40))]
        assert "".join(pieces.split(ids)) == pieces.text(ids)
