from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from superalign.models import LocalModel, RewardHead
from superalign.models.local import buckets

TEXTS = ["a b c", "a", "( a + b ) = c - d", "d d d d d d d d", "b = c", "zebra a"]
Make = Callable[..., LocalModel]


def naive_logprobs(model: LocalModel, text: str) -> np.ndarray:
    """One text, one prefix at a time, through log_softmax."""
    ids = model.tokenizer(text)["input_ids"]
    out = []
    with torch.no_grad():
        for i in range(1, len(ids)):
            logits = model.network(input_ids=torch.tensor([ids[:i]])).logits[0, -1]
            out.append(float(torch.log_softmax(logits.double(), dim=-1)[ids[i]]))
    return np.array(out)


def with_head(model: LocalModel, seed: int = 1) -> LocalModel:
    torch.manual_seed(seed)
    head = RewardHead(model.width, hidden=8)
    torch.nn.init.normal_(head.text[2].weight)
    return model.sealed(head=head)


def test_logprobs_are_those_of_log_softmax(tiny: Make) -> None:
    model = tiny()
    for text, got in zip(TEXTS, model.logprobs(TEXTS), strict=True):
        want = naive_logprobs(model, text)
        assert got.shape == want.shape == (len(text.split()) + 1,)
        np.testing.assert_allclose(got, want, atol=2e-5)
        assert (want < 0).all()


def test_padding_changes_nothing(tiny: Make) -> None:
    model = with_head(tiny())
    together, hidden, read = model.logprobs(TEXTS), model.hidden(TEXTS), model.read(TEXTS)
    for i, text in enumerate(TEXTS):
        np.testing.assert_allclose(model.logprobs([text])[0], together[i], atol=1e-5)
        np.testing.assert_allclose(model.hidden([text])[0], hidden[i], atol=1e-5)
        alone = model.read([text])[0]
        assert alone.reward == pytest.approx(read[i].reward, abs=1e-5)
        np.testing.assert_allclose(alone.scores, read[i].scores, atol=1e-5)
        assert hidden[i].shape == (len(text.split()) + 2, 16)
        assert read[i].scores.shape == (len(text.split()) + 1,)
    assert len({round(reading.reward, 4) for reading in read}) == len(TEXTS)


def test_what_stands_in_the_padding_is_no_matter(tiny: Make) -> None:
    model = with_head(tiny())
    before = model.read(TEXTS)
    model.tokenizer.pad_token = "d"
    assert model.pad == 7
    for old, new in zip(before, model.read(TEXTS), strict=True):
        assert new.reward == pytest.approx(old.reward, abs=1e-5)


def test_buckets_hold_every_text_once_within_the_budget() -> None:
    rng = np.random.default_rng(0)
    ids = [[1] * int(n) for n in rng.integers(0, 30, size=50)]
    seen: list[int] = []
    for rows, batch, mask in buckets(ids, pad=9, budget=64):
        assert batch.shape == mask.shape
        assert batch.numel() <= 64
        assert mask.sum(1).tolist() == [len(ids[row]) for row in rows]
        assert ((batch == 9) == (mask == 0)).all()
        seen += rows
    assert sorted(seen) == [i for i, row in enumerate(ids) if row]


def test_long_texts_are_cut_at_the_context(tiny: Make) -> None:
    assert tiny().logprobs(["a " * 100])[0].shape == (23,)


def test_progress_counts_every_text(tiny: Make) -> None:
    seen: list[int] = []
    tiny().logprobs(TEXTS, progress=seen.append)
    assert sum(seen) == len(TEXTS)


def test_layers_are_the_networks_own(tiny: Make) -> None:
    model = tiny()
    assert (model.layers, model.width) == (2, 16)
    ids = torch.tensor([model.encode(["a b"])[0]])
    with torch.no_grad():
        states = model.network(input_ids=ids, output_hidden_states=True).hidden_states
    for layer in (0, 1, 2, -1):
        np.testing.assert_allclose(model.hidden(["a b"], layer=layer)[0], states[layer][0].numpy(), atol=1e-5)


def test_the_digest_follows_the_weights_and_not_the_name(tiny: Make) -> None:
    model = tiny()
    assert model.digest == tiny().digest != tiny(seed=1).digest
    renamed = model.sealed(name="other")
    assert renamed.digest == model.digest
    assert renamed.identity == f"other@{model.digest}"
    with torch.no_grad():
        next(model.network.parameters())[3, 5] += 1e-6
    assert model.sealed().digest != renamed.digest


def test_the_digest_covers_head_and_threshold(tiny: Make) -> None:
    bare, model = tiny(), with_head(tiny())
    assert bare.digest != model.digest != with_head(tiny(), seed=2).digest
    assert model.sealed(threshold=0.5).digest != model.digest
    assert model.head is not None
    with torch.no_grad():
        model.head.scale += 1
    assert model.sealed().digest != with_head(tiny()).digest


def test_a_model_without_head_gives_no_reward(tiny: Make) -> None:
    with pytest.raises(ValueError, match="tiny has no reward head"):
        tiny().read(["a"])


def test_greedy_generation_is_deterministic_and_greedy(tiny: Make) -> None:
    model = tiny()
    first = model.generate(["a b", "c"], tokens=4)
    assert first == model.generate(["a b", "c"], tokens=4, seed=9)
    ids = model.encode(["a b"])[0][:-1]
    with torch.no_grad():
        for _ in range(4):
            ids = [*ids, int(model.network(input_ids=torch.tensor([ids])).logits[0, -1].argmax())]
            if ids[-1] == model.tokenizer.eos_token_id:
                break
    assert first[0] == model.tokenizer.decode(ids[3:], skip_special_tokens=True)


def test_sampling_follows_its_seed(tiny: Make) -> None:
    model = tiny()
    made = {seed: model.generate(["a b"], tokens=8, temperature=1.5, seed=seed)[0] for seed in range(6)}
    assert made[3] == model.generate(["a b"], tokens=8, temperature=1.5, seed=3)[0]
    assert len(set(made.values())) > 1


def test_models_are_frozen(tiny: Make) -> None:
    model = tiny()
    with pytest.raises(AttributeError):
        model.name = "other"  # type: ignore[misc]
    assert replace(model, name="other").digest == model.digest


def subwords(model: LocalModel, *, bos: bool) -> LocalModel:
    """The model with a byte-level tokenizer of fewer pieces than there are words, to be read in parts."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate(["<bos>", *"abcd()+=", "ab", "\u0120"])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if bos:
        core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    return replace(model, tokenizer=PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<bos>"))


def test_words_are_tokens_of_a_closed_vocabulary(tiny: Make) -> None:
    model = tiny()
    for text, words, tokens in zip(TEXTS, model.word_logprobs(TEXTS), model.logprobs(TEXTS), strict=True):
        np.testing.assert_array_equal(words, tokens[: len(text.split())])


def test_tokens_of_a_word_add_up(tiny: Make) -> None:
    model = subwords(tiny(), bos=True)
    text = "abc  ( aab\n= ab"
    (tokens,), (words,) = model.logprobs([text]), model.word_logprobs([text])
    pieces = model.tokenizer.convert_ids_to_tokens(model.tokenizer(text)["input_ids"])[1:]
    assert len(pieces) > len(text.split())
    np.testing.assert_allclose(words.sum(), tokens.sum(), rtol=1e-5)
    np.testing.assert_allclose(words[0], tokens[:2].sum(), rtol=1e-5)  # ab, c
    assert len(words) == 5


def test_what_nothing_precedes_or_lies_beyond_the_context_has_no_number(tiny: Make) -> None:
    model = subwords(tiny(), bos=False)
    (words,) = model.word_logprobs(["ab ab ab"])
    assert np.isnan(words[0])
    assert np.isfinite(words[1:]).all()
    limit = model.network.config.max_position_embeddings
    (long,) = model.word_logprobs(["a " * (limit + 5)])
    assert np.isnan(long[-1])
    (known,) = tiny().word_logprobs(["a " * (limit + 5)])
    assert (len(known), np.isnan(known[-1]), np.isfinite(known[0])) == (limit + 5, True, True)
