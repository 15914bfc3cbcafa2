"""Fine-tuning by TRL: every method learns, is decided by its seed, leaves the base alone, resumes to the same bits."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch

from superalign.models import LocalModel, load_model, save_model, weights_digest
from superalign.models.adapters import load_adapted
from superalign.training.trl.errors import FinetuneError
from superalign.training.trl.fitting import Fitted, fit_with_trl
from superalign.training.trl.paying import Pay, paid
from superalign.training.trl.recipe import TrlRecipe
from superalign.training.trl.reward import begin_reward, load_reward, pack_reward, unpack_reward
from superalign.training.trl.tokens import fitting

pytest.importorskip("trl", reason='TRL is an extra: pip install "superalign[trl]"')

PAIRS = [{"prompt": f"which? {i % 7} ", "chosen": "aaa", "rejected": "bbb"} for i in range(12)]
RECIPE = TrlRecipe(steps=6, batch=4, rate=5e-3, every=2, tokens=4, generations=2, schedule="constant")


def bytes_model(seed: int = 0, **tokens: Any) -> LocalModel:
    """A fresh GPT-2 that reads bytes: 2 layers, width 16, context 96."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    named = {"eos_token": "<eos>", "pad_token": "<pad>"} | tokens
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **{k: v for k, v in named.items() if v})
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(words), n_positions=96, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1,
        pad_token_id=0, resid_pdrop=0.1,
    )  # fmt: skip
    return LocalModel(name="bytes", network=GPT2LMHeadModel(config).eval(), tokenizer=tokenizer).sealed()


@pytest.fixture(scope="module")
def base() -> LocalModel:
    return bytes_model()


def vowels(prompts: list[str], completions: list[str], **columns: Any) -> list[float | None]:
    """Pays for lower-case letters; what has none can't be judged."""
    found = [sum(c.islower() for c in text) for text in completions]
    return [float(n) if n else None for n in found]


def fit(base: LocalModel, method: str, **named: Any) -> Fitted:
    recipe = named.pop("recipe", RECIPE)
    reward = vowels if method == "grpo" else None
    return fit_with_trl(base, PAIRS, method=method, recipe=recipe, reward=reward, **named)


METHODS = ("sft", "reward", "dpo", "grpo")


@pytest.fixture(scope="module")
def once(base: LocalModel) -> dict[tuple[str, int], Fitted]:
    """Every method in full and by LoRA."""
    found = {
        (method, rank): fit(base, method, recipe=TrlRecipe(**{**_fields(RECIPE), "rank": rank}))
        for method in METHODS
        for rank in (0, 2)
    }
    gc.freeze()  # every training ends with a search for garbage, which need not go through all of TRL
    return found


def _fields(recipe: TrlRecipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}


class Killed(Exception):
    """What the tests raise in the middle of a training."""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rank", [0, 2])
def test_a_run_that_was_killed_ends_with_the_same_weights(
    base: LocalModel, once: dict[tuple[str, int], Fitted], tmp_path: Path, method: str, rank: int
) -> None:
    recipe, before = TrlRecipe(**{**_fields(RECIPE), "rank": rank}), base.digest
    done: list[int] = []

    def kill(step: int, total: int) -> None:
        done.append(step)
        if len(done) in (3, 6):
            raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            fit(base, method, recipe=recipe, resume=tmp_path / "state", progress=kill)
    fitted = fit(base, method, recipe=recipe, resume=tmp_path / "state", progress=kill)
    whole = once[method, rank]
    assert done == [1, 2, 3, 3, 4, 5, 5, 6]  # states are kept after steps 2 and 4
    assert fitted.digest == whole.digest
    assert fitted.losses == whole.losses
    assert fitted.samples == whole.samples
    assert fitted.adapter == whole.adapter
    assert not (tmp_path / "state").exists()
    assert weights_digest(base.network, base.head, base.threshold) == before


@pytest.mark.parametrize("rank", [0, 2])
def test_every_method_moves_the_model_towards_what_it_is_told(
    base: LocalModel, once: dict[tuple[str, int], Fitted], rank: int
) -> None:
    """Longer runs than those that are killed: the loss falls, and of GRPO what is earned rises."""
    recipe = TrlRecipe(**{**_fields(RECIPE), "rank": rank, "steps": 30, "rate": 2e-2 if rank else 5e-3})
    for method in ("sft", "reward", "dpo"):
        slower = {} if method == "sft" else {"rate": 5e-3}
        fitted = fit(base, method, recipe=TrlRecipe(**{**_fields(recipe), **slower}))
        assert len(fitted.losses) == 30
        assert sum(fitted.losses[-5:]) < (0.995 if rank else 0.9) * sum(fitted.losses[:5]), method
    longer = TrlRecipe(**{**_fields(recipe), "batch": 16, "generations": 8})
    fitted = fit(base, "grpo", recipe=longer)
    earned = [[s["reward"] for s in fitted.samples if lo <= s["step"] < lo + 8] for lo in (0, 22)]
    assert sum(earned[1]) / len(earned[1]) > sum(earned[0]) / len(earned[0])
    assert fitted.model is not None
    assert fitted.digest not in (base.digest, once["grpo", rank].digest)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_step_in_several_passes_is_logged_with_the_same_loss(method: str) -> None:
    """Whether TRL divides by the tokens of the whole step, or transformers by the number of passes."""
    still = bytes_model()
    for module in still.network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    whole, parts = (
        fit(still, method, recipe=TrlRecipe(**{**_fields(RECIPE), "steps": 2, "accumulate": n})) for n in (1, 2)
    )
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4)


def test_another_seed_gives_other_weights(base: LocalModel, once: dict[tuple[str, int], Fitted]) -> None:
    other = fit(base, "sft", recipe=TrlRecipe(**{**_fields(RECIPE), "seed": 1}))
    assert other.digest != once["sft", 0].digest
    assert fit(base, "sft").digest == once["sft", 0].digest


def test_random_numbers_of_others_are_left_alone(base: LocalModel) -> None:
    torch.manual_seed(5)
    before = torch.rand(2)
    torch.manual_seed(5)
    fit(base, "sft")
    assert torch.equal(torch.rand(2), before)


def test_saved_models_load_again_and_the_adapter_on_its_base_is_the_same_model(
    base: LocalModel, once: dict[tuple[str, int], Fitted], tmp_path: Path
) -> None:
    fitted = once["dpo", 2]
    assert fitted.model is not None
    save_model(fitted.model, tmp_path / "whole")
    assert load_model(f"hf:{tmp_path / 'whole'}").digest == fitted.digest
    save_model(base, tmp_path / "base")
    (tmp_path / "adapter").mkdir()
    for name, data in fitted.adapter.items():
        (tmp_path / "adapter" / name).write_bytes(data)
    found = load_adapted(f"hf:{tmp_path / 'base'}?adapter={tmp_path / 'adapter'}")
    assert (found.base, found.model.digest) == (base.digest, fitted.digest)
    assert not any(str(tmp_path.parent).encode() in data for data in fitted.adapter.values())


@pytest.mark.parametrize("rank", [0, 2])
def test_a_reward_model_scores_as_it_was_trained_and_goes_to_disk_and_back(
    base: LocalModel, once: dict[tuple[str, int], Fitted], tmp_path: Path, rank: int
) -> None:
    model = once["reward", rank].reward
    assert model is not None
    texts = [row["prompt"] + row[side] for row in PAIRS[:4] for side in ("chosen", "rejected")]
    scores = model.score(texts)
    batch = model.tokenizer([text + "<eos>" for text in texts], padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = model.network(**batch).logits.squeeze(-1)  # as transformers reads them
    assert torch.allclose(torch.from_numpy(scores).float(), theirs, atol=1e-5)
    body = model.as_body(base)
    assert body.logits((texts[::2], texts[1::2])) == pytest.approx(scores[::2] - scores[1::2], abs=1e-5)
    model.save(tmp_path)
    assert load_reward(tmp_path).digest == model.digest == unpack_reward(pack_reward(model), base).digest
    assert (load_reward(tmp_path).score(texts) == scores).all()
    assert begin_reward(base, seed=0).digest != model.digest


def test_completions_that_cannot_be_judged_are_counted_and_earn_the_floor(
    base: LocalModel, once: dict[tuple[str, int], Fitted]
) -> None:
    fitted = once["grpo", 0]
    assert len(fitted.samples) == RECIPE.steps * RECIPE.batch
    silent = [s for s in fitted.samples if not any(c.islower() for c in s["said"])]
    assert fitted.kinds == ({"unscored": len(silent)} if silent else {})
    assert {s["reward"] for s in silent} <= {RECIPE.floor}
    odd = paid(lambda **_: [None, float("inf"), 2, Pay(1.0, "")], ["p"] * 4, ["a"] * 4, {})
    assert [pay.kind for pay in odd] == ["unscored", "unscored", "", ""]
    with pytest.raises(FinetuneError, match="got 2 completions, and paid 1"):
        paid(lambda **_: [1.0], ["p"] * 2, ["a"] * 2, {})


def test_grpo_stays_near_the_base_where_it_is_told_to(base: LocalModel) -> None:
    """All weights and a KL: the reference is a copy of the base."""
    recipe = TrlRecipe(**{**_fields(RECIPE), "steps": 12, "batch": 8, "rate": 1e-2})

    def moved(beta: float) -> float:
        fitted = fit(base, "grpo", recipe=TrlRecipe(**{**_fields(recipe), "beta": beta})).model
        assert fitted is not None
        texts = [row["prompt"] + row["chosen"] for row in PAIRS]
        pairs = zip(fitted.logprobs(texts), base.logprobs(texts), strict=True)
        return sum(float(abs(mine - theirs).mean()) for mine, theirs in pairs)

    assert moved(20.0) < 0.8 * moved(0.0)


def test_rows_of_messages_are_trained_on_with_a_chat_template(base: LocalModel) -> None:
    def said(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    rows = [{"prompt": said("user", f"q{i}"), "completion": said("assistant", "yes")} for i in range(4)]
    with pytest.raises(FinetuneError, match="no chat template: set"):
        fit_with_trl(base, rows, method="sft", recipe=RECIPE)
    model = bytes_model()
    model.tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    assert len(fit_with_trl(model, rows, method="sft", recipe=RECIPE).losses) == RECIPE.steps


BAD: tuple[tuple[str, list[dict[str, Any]], str], ...] = (
    ("dpo", [], "no rows"),
    ("dpo", [{"prompt": "p", "chosen": "c"}], r"row 0: the field 'rejected' is missing"),
    ("dpo", [PAIRS[0], {"prompt": "p", "chosen": "c"}], r"row 1, field 'rejected' is missing"),
    ("dpo", [PAIRS[0], {**PAIRS[0], "chosen": 3, "line": 9}], r"row 1 \(line 9\), field 'chosen' is int '3'"),
    ("dpo", [{**PAIRS[0], "rejected": " "}], "field 'rejected' is empty"),
    ("dpo", [{**PAIRS[0], "chosen": "\ud83d"}], "field 'chosen' holds half a character"),
    ("sft", [{"messages": [{"role": "user", "content": "\ude00"}]}], "field 'messages' holds half a character"),
    ("dpo", [{**PAIRS[0], "sure": 1.5}], "field 'sure': 1.5 is no probability"),
    ("reward", [{**PAIRS[0], "sure": float("nan")}], "field 'sure'"),
    ("sft", [{"prompt": [{"role": "user"}], "completion": "c"}], "is no message"),
    ("sft", [{"prompt": "p", "completion": [{"role": "a", "content": "b"}]}], "is list"),
    ("sft", [{"label": 1}], "a row of sft is {prompt, completion} or"),
    ("sft", [{"text": "a" * 400}], "none of 1 rows fits into 96 tokens"),
    ("ppo", [{"text": "a"}], "there is no method 'ppo'"),
)


@pytest.mark.parametrize(("method", "rows", "message"), BAD)
def test_bad_rows_are_named(base: LocalModel, method: str, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(FinetuneError, match=message):
        fit_with_trl(base, rows, method=method, recipe=RECIPE)


ODD: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("sft", {"steps": 0}, "steps, batch"),
    ("sft", {"rate": float("nan")}, "the rate is above 0"),
    ("sft", {"accumulate": 3}, "a multiple of accumulate"),
    ("sft", {"clip": float("inf")}, "every number is finite"),
    ("grpo", {"floor": float("nan")}, "every number is finite"),
    ("dpo", {"beta": 0.0}, "beta is above 0"),
    ("grpo", {"generations": 1}, "give at least two"),
    ("grpo", {"generations": 3}, "do not fill batches"),
    ("grpo", {"tokens": 96}, "fewer than the context"),
    ("grpo", {"batch": 64}, "takes 32 prompts, and there are 12"),
)


@pytest.mark.parametrize(("method", "fields", "message"), ODD)
def test_recipes_that_cannot_be_trained_with_are_refused(
    base: LocalModel, method: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(FinetuneError, match=message):
        fit(base, method, recipe=TrlRecipe(**{**_fields(RECIPE), **fields}))


def test_a_loss_that_is_no_number_stops_with_its_step(base: LocalModel) -> None:
    with pytest.raises(FinetuneError, match=r"not finite at step \d|the loss is (nan|inf) at step \d"):
        fit(base, "sft", recipe=TrlRecipe(**{**_fields(RECIPE), "rate": 1e30, "steps": 30, "clip": 1e30}))


def test_tokenizers_without_what_training_needs(base: LocalModel) -> None:
    with pytest.raises(FinetuneError, match="no end-of-text token"):
        fit(bytes_model(eos_token=None), "sft")
    padless = bytes_model(pad_token=None)  # pads with end-of-text, as TRL does
    assert fit(padless, "reward").reward is not None
    assert padless.tokenizer.pad_token is None  # the model's own is left as it is


def test_long_rows_are_left_out_and_counted(base: LocalModel) -> None:
    rows = [*PAIRS[:4], {"prompt": "x" * 200, "chosen": "a", "rejected": "b"}]
    fitted = fit_with_trl(base, rows, method="dpo", recipe=RECIPE)
    assert (fitted.rows, fitted.left_out) == (5, 1)


def test_a_state_of_another_run_is_refused_and_other_folders_are_left_alone(base: LocalModel, tmp_path: Path) -> None:
    def kill(step: int, total: int) -> None:
        raise Killed

    state = tmp_path / "state"
    with pytest.raises(Killed):
        fit(base, "sft", resume=state, progress=kill)
    with pytest.raises(FinetuneError, match="of a training with another base, data, recipe"):
        fit(base, "dpo", resume=state)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    with pytest.raises(FinetuneError, match="no state of a training"):
        fit(base, "sft", resume=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_prompts_of_messages_leave_room_for_how_answers_begin() -> None:
    tokenizer = bytes_model().tokenizer
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}12345{% endif %}"
    )
    rows = [{"prompt": [{"role": "user", "content": "x" * n}]} for n in (10, 11)]
    recipe = TrlRecipe(length=19, tokens=4)
    assert fitting(rows, tokenizer, recipe, "grpo") == rows[:1]


def test_a_torn_state_is_not_gone_on_from(
    base: LocalModel, once: dict[tuple[str, int], Fitted], tmp_path: Path
) -> None:
    """Killed while a checkpoint and a line of the log were being written."""
    state = tmp_path / "state"

    def kill(step: int, total: int) -> None:
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        fit(base, "sft", resume=state, progress=kill)
    torn = state / "checkpoint-4" / "trainer_state.json"
    torn.write_text(torn.read_text()[:40])
    with (state / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    done: list[int] = []
    fitted = fit(base, "sft", resume=state, progress=lambda step, total: done.append(step))
    assert done == [3, 4, 5, 6]
    assert fitted.digest == once["sft", 0].digest


def test_where_trl_is_missing_the_error_says_what_to_install(base: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("superalign.training.trl.errors.find_spec", lambda name: None if name == "trl" else object())
    with pytest.raises(FinetuneError, match=r'trl, which is not installed: pip install "superalign\[trl\]"'):
        fit(base, "sft")


def test_no_telemetry_is_sent(base: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL would tell its makers of every training; here its queue stays empty."""
    from huggingface_hub.utils import _telemetry

    def sent(*_: Any, **__: Any) -> None:
        raise AssertionError("telemetry was queued")

    monkeypatch.setattr(_telemetry._TELEMETRY_QUEUE, "put", sent)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.delenv("CI", raising=False)
    fit(base, "sft")
