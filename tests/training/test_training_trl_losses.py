"""Our trainers' losses are TRL's on the same batch, to 1e-5, and where the two differ by definition a test says how.

TRL's side is what its trainers compute: `compute_loss` on a batch of their own data loader.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from superalign.models import LocalModel
from superalign.oversight.advisers.trained import Choice, _advantages, _Played
from superalign.training import bodies
from superalign.training.bodies_recipe import BodyRecipe
from superalign.training.preference import dpo_loss
from superalign.training.reviewer import pair_loss
from superalign.training.supervised import completion_logprobs, completions
from superalign.training.trl.paying import paying
from superalign.training.trl.recipe import TrlRecipe, resolved
from superalign.training.trl.reward import begin_reward
from superalign.training.trl.rows import checked
from superalign.training.trl.running import Place, quietly
from superalign.training.trl.tokens import tokenizer_of
from superalign.training.trl.trainers import trainer_of

from .test_training_trl_fitting import bytes_model

trl = pytest.importorskip("trl", reason='TRL is an extra: pip install "superalign[trl]"')

ROWS = [
    {"prompt": "one ", "chosen": "aaaa", "rejected": "b"},
    {"prompt": "twenty-two ", "chosen": "ac", "rejected": "bbbbb"},
    {"prompt": "3 ", "chosen": "aba", "rejected": "cab"},
    {"prompt": "fo ur ", "chosen": "c", "rejected": "bb"},
]
SURE = [1.0, 0.9, 0.6, 0.25]
NEAR = 1e-5


@pytest.fixture(scope="module")
def base() -> LocalModel:
    return bytes_model()


@pytest.fixture(scope="module")
def moved(base: LocalModel) -> LocalModel:
    """A policy that is not its reference."""
    network = copy.deepcopy(base.network)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return LocalModel(name="moved", network=network.eval(), tokenizer=base.tokenizer).sealed()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(folder=tmp_path)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quietly():
        yield


def theirs(base: LocalModel, rows: list[dict[str, Any]], method: str, place: Place, **fields: Any) -> Any:
    """A TRL trainer on `base`, all rows one batch, without dropout."""
    reward = paying(lambda prompts, completions, **_: [0.0] * len(completions), place, floor=0.0)
    recipe = resolved(TrlRecipe(steps=1, batch=4, generations=2, **fields), method, context=base.context)
    trainer = trainer_of(
        base, checked(rows, method), method, recipe=recipe, tokenizer=tokenizer_of(base), place=place, keep=False,
        name="theirs", reward=reward if method == "grpo" else None,
    )  # fmt: skip
    trainer.model.eval()
    return trainer


def batch_of(trainer: Any) -> dict[str, Any]:
    return dict(next(iter(trainer.get_train_dataloader())))


def loss_of(trainer: Any, batch: dict[str, Any], policy: LocalModel | None = None) -> float:
    if policy is not None:
        trainer.model.load_state_dict(policy.network.state_dict())
    return float(trainer.compute_loss(trainer.model, dict(batch)).detach())


def sums(model: LocalModel, side: str, rows: list[dict[str, Any]] = ROWS) -> torch.Tensor:
    encoded = completions(model, [(row["prompt"], row[side]) for row in rows])
    with torch.no_grad():
        return completion_logprobs(model.network, encoded, pad=model.pad)[0]


def ratios(policy: LocalModel, base: LocalModel, rows: list[dict[str, Any]] = ROWS) -> torch.Tensor:
    chosen, rejected = (sums(policy, side, rows) - sums(base, side, rows) for side in ("chosen", "rejected"))
    return chosen - rejected


def test_supervised_loss_is_the_mean_over_completion_tokens(base: LocalModel, place: Place) -> None:
    rows = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in ROWS]
    trainer = theirs(base, rows, "sft", place)
    with torch.no_grad():
        encoded = completions(base, [(row["prompt"], row["completion"]) for row in rows])
        total, tokens = completion_logprobs(base.network, encoded, pad=base.pad)
    assert loss_of(trainer, batch_of(trainer)) == pytest.approx(float(-total.sum() / tokens.sum()), abs=NEAR)


def test_dpo_loss_of_sure_labels(base: LocalModel, moved: LocalModel, place: Place) -> None:
    trainer = theirs(base, ROWS, "dpo", place, beta=0.3)
    ours = dpo_loss(ratios(moved, base), torch.ones(4), beta=0.3)
    found = loss_of(trainer, batch_of(trainer), moved)
    assert found == pytest.approx(float(ours), abs=NEAR)
    assert abs(found - np.log(2)) > 0.01  # the policy is not its reference


def test_dpo_loss_of_unsure_labels_is_theirs_of_both_orders(base: LocalModel, moved: LocalModel, place: Place) -> None:
    """sure·l(chosen, rejected) + (1 − sure)·l(rejected, chosen), row by row; within TRL's trainer as without."""
    ours = float(dpo_loss(ratios(moved, base), torch.tensor(SURE), beta=0.3))
    mixed = 0.0
    for row, sure in zip(ROWS, SURE, strict=True):
        swapped = {**row, "chosen": row["rejected"], "rejected": row["chosen"]}
        for each, weight in ((row, sure), (swapped, 1 - sure)):
            trainer = theirs(base, [each], "dpo", place, beta=0.3)
            mixed += weight * loss_of(trainer, batch_of(trainer), moved) / 4
    assert ours == pytest.approx(mixed, abs=NEAR)
    rows = [{**row, "sure": sure} for row, sure in zip(ROWS, SURE, strict=True)]
    trainer = theirs(base, rows, "dpo", place, beta=0.3)
    assert loss_of(trainer, batch_of(trainer), moved) == pytest.approx(ours, abs=NEAR)


def test_label_smoothing_of_trl_is_another_loss(base: LocalModel, moved: LocalModel, place: Place) -> None:
    """Its loss "sigmoid" does not read it; "robust" is ((1 − ε)·l − ε·l′) / (1 − 2ε), and no mean of the two."""
    trainer, smooth = theirs(base, ROWS, "dpo", place, beta=0.3), 0.2
    batch, r = batch_of(trainer), 0.3 * ratios(moved, base)
    trainer.label_smoothing = smooth
    assert loss_of(trainer, batch, moved) == pytest.approx(float(-logsigmoid(r).mean()), abs=NEAR)
    trainer.loss_types = ["robust"]
    robust = ((1 - smooth) * -logsigmoid(r) - smooth * -logsigmoid(-r)) / (1 - 2 * smooth)
    assert loss_of(trainer, batch, moved) == pytest.approx(float(robust.mean()), abs=NEAR)
    ours = float(dpo_loss(ratios(moved, base), torch.full((4,), 1 - smooth), beta=0.3))
    assert abs(ours - float(robust.mean())) > 0.01


def test_reward_loss_is_bradley_terry(base: LocalModel, place: Place) -> None:
    """TRL's, that of `fit_body` on pairs, and that of reviewers without their loss of single texts."""
    trainer, fresh = theirs(base, ROWS, "reward", place), begin_reward(base, seed=0)
    texts = tuple([row["prompt"] + row[side] for row in ROWS] for side in ("chosen", "rejected"))
    body = fresh.as_body(base)
    lesson = bodies._Lesson(
        network=body.model.network, head=body.head, ids=bodies._encoded(body.model, texts, "last"),
        goals=torch.ones(4), recipe=BodyRecipe(), steps=1, pad=body.model.pad,
    )  # fmt: skip
    ours = float(sum(part.detach() for part in lesson.parts(np.arange(4), 0)))
    assert loss_of(trainer, batch_of(trainer)) == pytest.approx(ours, abs=NEAR)
    first, second = (torch.from_numpy(fresh.score(side)) for side in texts)
    alone = 0.5 * sum(binary_cross_entropy_with_logits(x, torch.ones_like(x)) for x in (first, second))
    of_pair = pair_loss(first, second, *[torch.ones_like(first)] * 4) - alone
    assert float(of_pair) == pytest.approx(ours, abs=NEAR)


def test_reward_loss_with_soft_labels_and_with_centring(base: LocalModel, place: Place) -> None:
    """λ·mean (r(chosen) + r(rejected))² comes on top, which none of our trainers has; soft labels are ours alone."""
    fresh = begin_reward(base, seed=0)
    first, second = (
        torch.from_numpy(fresh.score([row["prompt"] + row[side] for row in ROWS])) for side in ("chosen", "rejected")
    )
    centred = float(-logsigmoid(first - second).mean() + 0.7 * ((first + second) ** 2).mean())
    trainer = theirs(base, ROWS, "reward", place, centre=0.7)
    assert loss_of(trainer, batch_of(trainer)) == pytest.approx(centred, abs=NEAR)
    rows = [{**row, "sure": sure} for row, sure in zip(ROWS, SURE, strict=True)]
    trainer = theirs(base, rows, "reward", place, centre=0.7)
    soft = binary_cross_entropy_with_logits(first - second, torch.tensor(SURE, dtype=torch.float64))
    want = float(soft + 0.7 * ((first + second) ** 2).mean())
    assert loss_of(trainer, batch_of(trainer)) == pytest.approx(want, abs=NEAR)


def test_grpo_on_its_first_step_is_reinforce(base: LocalModel, place: Place) -> None:
    """With answers of one token its gradient is that of −mean(worth · log π), the objective of `oversight.advisers`.

    By definition it differs for longer answers (a mean over tokens, not a sum) and on later passes (clipped ratios);
    its price on KL is an estimate a token, ours is exact.
    """
    trainer = theirs(base, [{"prompt": row["prompt"]} for row in ROWS], "grpo", place)
    trainer.loss_type = "grpo"
    worth = torch.tensor([1.0, -0.5, 0.25, -0.75])
    prompt, said = torch.tensor([[5, 6], [7, 8], [5, 9], [6, 6]]), torch.tensor([[10], [11], [12], [10]])
    inputs = {
        "prompt_ids": prompt, "prompt_mask": torch.ones_like(prompt), "completion_ids": said,
        "completion_mask": torch.ones_like(said), "advantages": worth, "num_items_in_batch": torch.tensor(4),
    }  # fmt: skip
    trainer.model.zero_grad()
    trainer.compute_loss(trainer.model, inputs).backward()
    network = copy.deepcopy(base.network)
    logs = torch.log_softmax(network(input_ids=prompt).logits[:, -1], dim=-1).gather(1, said).squeeze(1)
    (-(worth * logs).mean()).backward()
    pairs = zip(trainer.model.named_parameters(), network.named_parameters(), strict=True)
    for (name, mine), (_, other) in pairs:
        if other.grad is not None:
            assert mine.grad == pytest.approx(other.grad, abs=NEAR), name


def test_what_a_play_is_worth(base: LocalModel) -> None:
    """Reward less the mean of its own repetitions, over the spread of all: TRL's `scale_rewards="batch"`, but for
    1e-4 in the denominator and n − 1; its default is the spread of the group."""
    rewards = np.array([[0.2, -1.0, 0.5], [0.9, -0.4, 0.1]])  # (repetitions, plays)
    keys = [("item", "seat", side) for side in range(3)]
    choices = [Choice(key, np.zeros((1, 1)), 0) for key in keys]
    plays = [
        _Played([], np.zeros((0, 2)), choices, [], {}, dict(zip(keys, row, strict=True))) for row in rewards.tolist()
    ]  # fmt: skip
    centred = rewards - rewards.mean(axis=0)
    batch = centred / (rewards.std(ddof=1) + 1e-4)
    ours = _advantages(plays).reshape(2, 3)
    assert ours == pytest.approx(centred / centred.std())
    assert np.corrcoef(ours.ravel(), batch.ravel())[0, 1] == pytest.approx(1.0)


def test_quiet_is_put_back() -> None:
    level = logging.getLogger("trl").level
    with quietly():
        assert logging.getLogger("trl").level == logging.ERROR
    assert logging.getLogger("trl").level == level
