"""Bodies: what fine-tuning learns, how it reads texts, and that a killed run ends with the same weights."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from superalign.generalization.methods.logconf import TOPS, confidence
from superalign.models import LocalModel, load_model, save_model
from superalign.tasks.slips import slips
from superalign.training import bodies
from superalign.training.bodies import Body, BodyRecipe, Texts, confident, fit_body
from superalign.training.bodies_head import BodyHead, pooled
from superalign.training.bodies_peft import opened
from superalign.training.bodies_recipe import cut, planned
from superalign.training.features import extract
from superalign.training.fused import fused
from superalign.training.generative import generative
from superalign.training.heads import fit_head
from superalign.training.loop import descend_parts

Make = Callable[..., LocalModel]
RECIPE = BodyRecipe(epochs=8, batch=8, rate=1e-2)
STILL = BodyRecipe(epochs=1, rate=0.0)
"""Nothing moves: the body is as it begins."""


def drawn(n: int, *, seed: int = 0, words: str = "cd") -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(list(words), size=rng.integers(2, 9))) for _ in range(n)]


def question(n: int = 64, *, seed: int = 0) -> tuple[Texts, np.ndarray]:
    """Single texts; the answer is whether the last word is a."""
    truth = np.random.default_rng([seed, 1]).random(n) < 0.5
    return ([f"{text} {'a' if yes else 'b'}" for text, yes in zip(drawn(n, seed=seed), truth, strict=True)],), truth


def pairs(n: int = 64, *, seed: int = 0) -> tuple[Texts, np.ndarray]:
    """Pairs of which one ends on a."""
    (first,), truth = question(n, seed=seed)
    second = [f"{text} {'b' if yes else 'a'}" for text, yes in zip(drawn(n, seed=seed + 50), truth, strict=True)]
    return (first, second), truth


def llama() -> LocalModel:
    """Another architecture: two layers of plain linear modules, untied output."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from superalign.models.words import word_tokenizer

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=13, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=24, initializer_range=0.5, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    words = ("<pad>", "<bos>", "<eos>", "<unk>", *"abcd=+-()")
    return LocalModel(name="llama", network=LlamaForCausalLM(config).eval(), tokenizer=word_tokenizer(words)).sealed()


def unpadded(body: Body, text: str) -> float:
    """The score of one text by a plain forward pass of it alone."""
    ids = body.model.tokenizer(text)["input_ids"]
    with torch.no_grad():
        states = body.model.network(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[-1]
        return float(body.head(states[:, -1])[0])


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("asked", [question, pairs])
@pytest.mark.parametrize("address", ["gpt2", "llama"])
def test_a_body_learns_and_its_base_stays(
    tiny: Make, asked: Callable[..., tuple[Texts, np.ndarray]], rank: int, address: str
) -> None:
    base = tiny() if address == "gpt2" else llama()
    texts, truth = asked()
    body = fit_body(base, texts, np.where(truth, 0.9, 0.1), recipe=replace(RECIPE, rank=rank))
    assert ((body.logits(texts) > 0) == truth).mean() >= (0.75 if rank else 0.95)
    if not rank:
        exam, right = asked(30, seed=7)
        assert ((body.logits(exam) > 0) == right).mean() >= 0.9
    assert base.sealed().digest == base.digest != body.model.digest
    assert body.model.network.state_dict().keys() == base.network.state_dict().keys()
    assert {value.dtype for value in body.model.network.state_dict().values()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in body.model.network.parameters())


def test_soft_labels_are_learned_as_said(tiny: Make) -> None:
    texts = (["a"] * 20 + ["b"] * 20,)
    body = fit_body(tiny(), texts, np.array([0.8] * 20 + [0.3] * 20), recipe=replace(RECIPE, epochs=25, decay=0.0))
    said = 1 / (1 + np.exp(-body.logits((["a", "b"],))))
    np.testing.assert_allclose(said, [0.8, 0.3], atol=0.03)


def test_swapping_a_pair_swaps_the_answer(tiny: Make) -> None:
    (first, second), truth = pairs()
    body = fit_body(tiny(), (first, second), truth, recipe=RECIPE)
    np.testing.assert_allclose(body.logits((first, second)), -body.logits((second, first)), atol=1e-5)
    np.testing.assert_allclose(body.logits((first, first)), 0, atol=1e-6)


def test_the_seed_decides(tiny: Make) -> None:
    texts, truth = question()
    recipe = replace(RECIPE, epochs=2, rank=2)
    one, same, other = (fit_body(tiny(), texts, truth, recipe=recipe, seed=seed) for seed in (1, 1, 2))
    assert one.digest == same.digest != other.digest
    np.testing.assert_array_equal(one.logits(texts), same.logits(texts))


@pytest.mark.parametrize("pairs_too", [False, True])
def test_the_last_token_is_found_where_the_id_of_padding_is_a_word(pairs_too: bool) -> None:
    """In GPT-2 id 0 is "!", and a batch is padded with it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"!": 0, "a": 1, "b": 2, "?": 3}, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=4, n_positions=12, n_embd=16, n_layer=1, n_head=2, initializer_range=0.5)
    network = GPT2LMHeadModel(config).eval()
    base = LocalModel(name="gpt", network=network, tokenizer=PreTrainedTokenizerFast(tokenizer_object=core)).sealed()
    assert base.pad == 0
    texts = ["a !", "! b ! !", "b", "a b a b a b", "!", "b a"]
    given: Texts = (texts, texts[::-1]) if pairs_too else (texts,)
    body = fit_body(base, given, np.array([1, 0, 1, 0, 0, 1.0]), recipe=replace(RECIPE, epochs=3, batch=3))
    plain = np.array([unpadded(body, text) for text in texts])
    np.testing.assert_allclose(body.logits(given), plain - plain[::-1] if pairs_too else plain, atol=1e-5)
    assert np.ptp(plain) > 0.1


def test_padding_says_nothing_in_training_either(tiny: Make) -> None:
    """One text a forward pass, which nothing pads, gives the same weights as all of a batch at once."""
    texts, truth = question()
    recipe = replace(RECIPE, epochs=2, rate=1e-3)
    alone, together = (fit_body(tiny(), texts, truth, recipe=replace(recipe, tokens=t)) for t in (1, 4_096))
    for key, value in alone.model.network.state_dict().items():
        torch.testing.assert_close(value, together.model.network.state_dict()[key], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("confidence", [0.0, 0.5])
@pytest.mark.parametrize("asked", [question, pairs])
def test_parts_add_up_to_the_gradient_of_the_batch(
    tiny: Make, asked: Callable[..., tuple[Texts, np.ndarray]], confidence: float
) -> None:
    base, (texts, truth) = tiny(), asked(16)

    def gradient(tokens: int) -> tuple[torch.Tensor, int]:
        torch.manual_seed(0)
        sides = [text for side in texts for text in side]
        head = BodyHead(base.width, offset=len(texts) == 1)
        torch.nn.init.normal_(head.line.weight)
        lesson = bodies._Lesson(
            network=base.network, head=head, ids=base.encode(sides), goals=torch.tensor(truth, dtype=torch.float32),
            recipe=replace(RECIPE, confidence=confidence, tokens=tokens), steps=10, pad=base.pad,
        )  # fmt: skip
        base.network.zero_grad()
        count = 0
        for part in lesson.parts(np.arange(16), 9):
            part.backward()  # type: ignore[no-untyped-call]
            count += 1
        weight = base.network.get_input_embeddings().weight.grad
        return torch.cat([weight.flatten(), head.line.weight.grad.flatten()]), count

    (whole, one), (summed, many) = gradient(4_096), gradient(32)
    assert one == 1
    assert many >= 4
    torch.testing.assert_close(summed, whole, atol=1e-5, rtol=1e-4)


def test_only_one_part_is_alive_at_a_time() -> None:
    """The gradient of a part is there before the next part is computed: that is what saves memory."""
    weight, seen = torch.nn.Parameter(torch.zeros(2)), []

    def parts(chosen: np.ndarray, step: int) -> Any:
        for row in chosen:
            seen.append(None if weight.grad is None else weight.grad.clone())
            yield weight[int(row)] * (row + 1.0)

    plan = planned(BodyRecipe(epochs=1, batch=2), 2)
    descend_parts([([weight], 1.0)], parts, plan, rows=2, seed=0, name="two")
    assert seen[0] is None
    assert seen[1].abs().sum() > 0


def test_cut_keeps_every_row_once_and_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 30, size=50)
    chosen = np.random.default_rng(1).permutation(50)[:33]
    groups = cut(chosen, lengths, 60)
    assert sorted(np.concatenate(groups).tolist()) == sorted(chosen.tolist())
    assert all(len(group) * lengths[group].max() <= 60 or len(group) == 1 for group in groups)
    assert [group.tolist() for group in cut(chosen[:3], lengths, 1)] == [
        [row] for row in sorted(chosen[:3].tolist(), key=lambda row: -lengths[row])
    ]


@pytest.mark.parametrize("done", [0.0, 0.05, 0.1, 0.2, 0.7, 1.0])
@pytest.mark.parametrize("top", TOPS)
def test_the_confidence_loss_keeps_the_published_schedule(done: float, top: float) -> None:
    logits, labels = torch.tensor([3.0, -1.0, 0.5, 2.0]), torch.tensor([0.2, 0.9, 0.5, 0.1])
    a = confidence(done, top)
    by_hand = (1 - a) * labels + a * torch.tensor([1.0, 0.0, 0.0, 1.0])
    torch.testing.assert_close(confident(labels, logits, done, top), by_hand)


def test_the_confidence_loss_teaches_other_weights(tiny: Make) -> None:
    texts, truth = question()
    labels = np.where(truth, 0.6, 0.4)
    plain, sure = (
        fit_body(tiny(), texts, labels, recipe=replace(RECIPE, confidence=top)).logits(texts) for top in (0.0, 0.75)
    )
    assert np.abs(sure).mean() > np.abs(plain).mean() * 1.5


class Killed(Exception):
    """Somebody pulled the plug."""


def kill_at(step: int) -> Callable[[int, int], None]:
    def progress(done: int, _: int) -> None:
        if done == step:
            raise Killed

    return progress


@pytest.mark.parametrize(
    "recipe", [BodyRecipe(rank=2), BodyRecipe(dropout=True), BodyRecipe(confidence=0.5, tokens=60)]
)
def test_a_killed_run_goes_on_to_the_same_weights(tiny: Make, tmp_path: Path, recipe: BodyRecipe) -> None:
    base, (texts, truth) = tiny(), question()
    base.network.config.resid_pdrop = 0.1
    for module in base.network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    recipe, state = replace(recipe, epochs=2, batch=8, rate=1e-3, every=4), tmp_path / "deep" / "state.pt"
    whole = fit_body(base, texts, truth, recipe=recipe)
    with pytest.raises(Killed):
        fit_body(base, texts, truth, recipe=recipe, resume=state, progress=kill_at(11))
    assert state.exists()
    steps: list[int] = []
    torch.manual_seed(999)
    again = fit_body(base, texts, truth, recipe=recipe, resume=state, progress=lambda done, _: steps.append(done))
    assert steps == list(range(9, 17))
    assert again.digest == whole.digest
    assert not list(state.parent.iterdir())


def test_the_state_of_another_run_is_refused(tiny: Make, tmp_path: Path) -> None:
    (texts, truth), state, recipe = question(), tmp_path / "state.pt", replace(RECIPE, every=1)
    with pytest.raises(Killed):
        fit_body(tiny(), texts, truth, recipe=recipe, resume=state, progress=kill_at(3))
    others: list[dict[str, Any]] = [
        {"seed": 1},
        {"labels": 1.0 - truth},
        {"base": tiny(seed=4)},
        {"recipe": replace(recipe, rate=1e-4)},
        {"texts": (texts[0][::-1],)},
    ]
    for other in others:
        same: dict[str, Any] = {"base": tiny(), "texts": texts, "labels": truth, "recipe": recipe, "resume": state}
        with pytest.raises(ValueError, match="another base, data, recipe or seed"):
            fit_body(**(same | other))
    state.write_bytes(b"what is this?")
    with pytest.raises(ValueError, match="no state of a training"):
        fit_body(tiny(), texts, truth, recipe=recipe, resume=state)


def test_a_loss_that_is_no_number_stops_and_names_the_step(tiny: Make) -> None:
    base, (texts, truth) = tiny(), question()
    with pytest.raises(ValueError, match=r"hot: the (loss|gradient) is not finite at step [1-9]\d*: lower the rate"):
        fit_body(base, texts, truth, name="hot", recipe=replace(RECIPE, rate=1e30))
    assert base.sealed().digest == base.digest


def test_a_gradient_that_is_no_number_stops_before_the_weights() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    plan = planned(BodyRecipe(), 4)
    with pytest.raises(ValueError, match="root: the gradient is not finite at step 0"):
        descend_parts([([weight], 1.0)], lambda rows, _: [weight.sqrt().sum()], plan, rows=4, seed=0, name="root")
    assert weight.item() == 0


def test_a_zero_start_says_nothing(tiny: Make) -> None:
    for texts, truth in (question(), pairs()):
        assert not fit_body(tiny(), texts, truth, recipe=STILL).logits(texts).any()


def test_an_unembedding_start_is_the_language_models_own_log_odds(tiny: Make) -> None:
    base, (texts, truth) = tiny(), question()
    body = fit_body(base, texts, truth, recipe=replace(STILL, start="unembedding", words=("a", "b")))
    for text, logit in zip(texts[0][:5], body.logits(texts)[:5], strict=True):
        with torch.no_grad():
            last = base.network(input_ids=torch.tensor([base.tokenizer(text)["input_ids"]])).logits[0, -1]
        assert logit == pytest.approx(float(last[4] - last[5]), abs=1e-4)


@pytest.mark.parametrize("asked", [question, pairs])
def test_a_probe_start_is_the_head_on_frozen_features(
    tiny: Make, asked: Callable[..., tuple[Texts, np.ndarray]]
) -> None:
    base, (texts, truth) = tiny(), asked()
    body = fit_body(base, texts, truth, recipe=replace(STILL, start="probe", pool="wide", l2=0.3))
    wide = [extract(base, side, skip=0).wide for side in texts]
    x = wide[0] - wide[1] if len(texts) == 2 else wide[0]
    head = fit_head(x, truth.astype(float), l2=0.3, symmetric=len(texts) == 2)
    np.testing.assert_allclose(body.logits(texts), head.logits(x), atol=1e-3)


def test_the_wide_pool_is_that_of_frozen_features(tiny: Make) -> None:
    base, texts = tiny(), drawn(12)
    wide = extract(base, texts, skip=0).wide
    for text, row in zip(texts, wide, strict=True):
        ids = torch.tensor([base.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            np.testing.assert_allclose(pooled(base.network, ids, torch.ones_like(ids), "wide")[0], row, atol=1e-5)


@pytest.mark.parametrize("make", ["gpt2", "llama"])
def test_lora_changes_linear_layers_by_the_rank_and_nothing_else(tiny: Make, make: str) -> None:
    base, (texts, truth) = tiny() if make == "gpt2" else llama(), question()
    body = fit_body(base, texts, truth, recipe=replace(RECIPE, rank=2))
    before, after = base.network.state_dict(), body.model.network.state_dict()
    moved = {key: after[key] - before[key] for key in before if not torch.equal(before[key], after[key])}
    inside = {"gpt2": ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"), "llama": ("self_attn", "mlp")}[make]
    assert len(moved) == {"gpt2": 8, "llama": 14}[make]
    for key, change in moved.items():
        assert any(name in key for name in inside)
        assert torch.linalg.matrix_rank(change, atol=1e-4) <= 2


def test_training_begins_at_the_base_with_lora_too(tiny: Make) -> None:
    base = tiny()
    network = tiny().network
    tuning = opened(network, rank=3, alpha=16, seed=0)
    ids = torch.tensor([[1, 4, 5, 6, 2]])
    with torch.no_grad():
        torch.testing.assert_close(network(input_ids=ids).logits, base.network(input_ids=ids).logits)
        for parameter in tuning.parameters:
            parameter += 0.1
        changed = network(input_ids=ids).logits
        torch.testing.assert_close(tuning.close()(input_ids=ids).logits, changed, atol=1e-4, rtol=1e-4)


def test_a_missing_peft_is_named(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(module: str, *rest: Any, **more: Any) -> Any:
        if module == "peft":
            raise ImportError(module)
        return real(module, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"superalign\[local\]"):
        opened(tiny().network, rank=1, alpha=1, seed=0)


def test_fused_is_the_same_network_and_leaves_no_trace(tiny: Make) -> None:
    network, ids = tiny().network, torch.tensor([[1, 4, 5, 6, 2]])

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        network.zero_grad()
        out = network(input_ids=ids).logits
        out.square().sum().backward()
        return out.detach(), network.transformer.wte.weight.grad.clone()

    plain = run()
    with fused(network):
        fast = run()
        assert any("forward" in vars(module) for module in network.modules())
    for one, other in zip(plain, fast, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert not any("forward" in vars(module) for module in network.modules())


@pytest.mark.parametrize("rank", [0, 4])
def test_generative_fitting_makes_task_texts_likelier(tiny: Make, rank: int, tmp_path: Path) -> None:
    base, texts = tiny(), ["a b c d"] * 8 + ["c c c"] * 8
    recipe = replace(RECIPE, rank=rank, tokens=20)
    tuned = generative(base, texts, recipe=recipe)
    before, after = (np.concatenate(model.logprobs(["a b c d", "c c c"])).mean() for model in (base, tuned))
    assert after > before + 0.5
    assert base.sealed().digest == base.digest
    assert generative(base, texts, recipe=recipe, resume=tmp_path / "s").identity == tuned.identity
    asked, truth = question()
    assert fit_body(tuned, asked, truth, recipe=RECIPE).model.digest != tuned.digest


def test_parts_of_generative_fitting_weigh_tokens_not_texts(tiny: Make) -> None:
    texts = ["a", "b c d = + a a", "c c"]
    recipe = BodyRecipe(epochs=1, batch=3, rate=1e-3)
    one, many = (generative(tiny(), texts, recipe=replace(recipe, tokens=t)) for t in (4_096, 1))
    for key, value in one.network.state_dict().items():
        torch.testing.assert_close(value, many.network.state_dict()[key], atol=2e-4, rtol=1e-3)


def test_a_model_saved_to_disk_is_fitted_alike(tiny: Make, tmp_path: Path) -> None:
    save_model(tiny(), tmp_path / "saved")
    texts, truth = pairs(16)
    recipe = replace(RECIPE, epochs=2, rank=2)
    here, there = (fit_body(m, texts, truth, recipe=recipe) for m in (tiny(), load_model(f"hf:{tmp_path / 'saved'}")))
    assert here.digest == there.digest


@pytest.mark.slow
def test_the_family_is_fitted_on_real_pairs() -> None:
    base = load_model("family:xs")

    page = slips(split="dev", view="pair", n=400)
    sides = tuple([f"<by:none> <cue:none> {item.input[side]}" for item in page.items] for side in "ab")
    right = np.array([page.truths[item.id]["answer"] == 0 for item in page.items])
    texts, exam = (tuple(side[part] for side in sides) for part in (slice(240), slice(240, None)))
    truth, right = right[:240], right[240:]
    recipe = BodyRecipe(pool="wide", start="probe", epochs=1)
    began = fit_body(base, texts, truth, recipe=replace(recipe, rate=0.0)).logits(exam)
    tuned = fit_body(base, texts, truth, recipe=recipe).logits(exam)
    assert ((began > 0) == right).mean() > 0.75
    assert ((tuned > 0) == right).mean() > ((began > 0) == right).mean() - 0.03


@pytest.mark.parametrize(
    ("texts", "labels", "recipe", "said"),
    [
        (([],), [], {}, "0 texts and labels"),
        ((["a", "b"],), [1.0], {}, "2 texts and labels of shape"),
        ((["a", "b"],), [1.0, 1.2], {}, "from 0 to 1"),
        ((["a", "b"],), [1.0, float("nan")], {}, "from 0 to 1"),
        ((["a", "b"], ["c"]), [1.0, 0.0], {}, "2 first texts and 1 second"),
        (("ab",), [1.0, 0.0], {}, r"as \(texts,\)"),
        (["a", "b"], [1.0], {}, r"as \(texts,\)"),
        ((["a"], ["b"], ["c"]), [1.0], {}, r"as \(texts,\)"),
        ((["a"],), [1.0], {"rank": -1}, "rank -1"),
        ((["a"],), [1.0], {"start": "unembedding"}, "'1' is not one known token of tiny"),
        ((["a"],), [1.0], {"start": "unembedding", "words": ("a b", "c")}, "'a b' is not one known token"),
        ((["a"],), [1.0], {"start": "unembedding", "pool": "wide"}, "reads the last token"),
    ],
)
def test_bad_input_is_refused(tiny: Make, texts: Any, labels: Any, recipe: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit_body(tiny(), texts, np.array(labels), recipe=BodyRecipe(**recipe))


def test_a_text_without_tokens_is_named(tiny: Make) -> None:
    base = tiny()
    base.tokenizer.backend_tokenizer.post_processor = None
    with pytest.raises(ValueError, match=r"text 1 \('  '\) has 0 tokens"):
        fit_body(base, (["a", "b"], ["c", "  "]), np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match=r"text 0 \('a'\) has 1 tokens, 2 are needed"):
        fit_body(base, (["a", "b"],), np.array([1.0, 0.0]), recipe=BodyRecipe(pool="wide"))
    with pytest.raises(ValueError, match="no texts to fit"):
        generative(base, [])


def test_a_body_is_asked_what_it_was_fitted_on(tiny: Make) -> None:
    texts, truth = pairs(8)
    body = fit_body(tiny(), texts, truth, recipe=STILL)
    assert body.logits(([], [])).shape == (0,)
    with pytest.raises(ValueError, match="fitted on pairs"):
        body.logits((texts[0],))


def test_a_feature_that_never_moved_is_dropped_from_the_head(tiny: Make) -> None:
    """Its scale is rounding alone: a body that moves it by a thousandth would move the score by hundreds."""
    (texts,), truth = question(480)
    recipe = BodyRecipe(pool="wide", start="probe", epochs=1)
    still = fit_body(tiny(), (texts,), truth, recipe=replace(recipe, rate=0.0))
    assert float(still.head.scale.min()) > 1e-3 * float(still.head.scale.median())
    (exam,), right = question(60, seed=9)
    moved = fit_body(tiny(), (texts,), truth, recipe=recipe).logits((exam,))
    assert ((moved > 0) == right).mean() >= 0.9
    assert abs(moved.mean()) < 1.5
