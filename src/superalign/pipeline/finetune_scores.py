"""What a model says on the dev split, before and after a fine-tuning: a dial to look at, and no evidence.

- preferences: does it think the better text likelier (`sft`, `dpo`), or score it higher (`reward`)? Where rows have one
  text only, its log-probability in nats a token;
- `grpo`: what its sampled answers earn, how many of them can be judged, and of a choice, how many are right.

`asked_about` keeps what the model said, row by row; `measure` makes figures of that and of nothing else, so that
`superalign verify --level 2` makes them again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from superalign.pipeline.desk import Desk, measured
from superalign.pipeline.finetune_config import FinetuneConfig
from superalign.pipeline.finetune_data import Material
from superalign.pipeline.finetune_rewards import choice_of
from superalign.stats import mean_interval, proportion_interval
from superalign.training.trl.paying import UNSCORED, paid

if TYPE_CHECKING:
    from superalign.models import LocalModel  # torch loads where it is needed
    from superalign.training.trl.recipe import TrlRecipe
    from superalign.training.trl.reward import RewardModel

TITLES = {
    "preferred": "The better text of a pair is preferred",
    "nats a token": "Log-probability of what is to be said, nats a token",
    "reward": "What a sampled answer earns",
    "judged": "Sampled answers that can be judged",
    "right": "Sampled answers that are right",
}
SHARES = ("preferred", "judged", "right")
"""Figures that are shares of rows."""
BATCH = 16
"""Texts of one forward pass."""


def asked_about(
    model: LocalModel | RewardModel, material: Material, config: FinetuneConfig, recipe: TrlRecipe, reward: Any
) -> dict[str, Any]:
    """What the model says of every dev row that fits into the recipe's length, as JSON; `subject` is who said it."""
    rows = _readable(model, material.dev, config, recipe)
    if not rows:
        said: list[dict[str, Any]] = []
    elif config.method == "grpo":
        said = _sampled(model, rows, recipe, reward, config.seed)
    elif config.method == "reward":
        said = _scored(model, rows)
    else:
        said = _likelier(model, rows)
    for i, (row, told) in enumerate(zip(rows, said, strict=True)):
        told["cluster"] = str(row.get("cluster", i))
    return {"subject": model.identity, "said": said, "left out": len(material.dev) - len(rows)}


def figures_of(said: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Figure → one value a row, from what was said.

    >>> figures_of([{"chosen": -2.0, "tokens": 4, "rejected": -3.0, "cluster": ""}])
    {'nats a token': [-0.5], 'preferred': [1.0]}
    """
    if not said:
        return {}
    out: dict[str, list[float]] = {}
    if "tokens" in said[0]:
        out["nats a token"] = [row["chosen"] / row["tokens"] for row in said]
    if "rejected" in said[0]:
        out["preferred"] = [0.5 + 0.5 * float(np.sign(row["chosen"] - row["rejected"])) for row in said]
    if "reward" in said[0]:
        out["reward"] = [row["reward"] for row in said]
        out["judged"] = [float(not row["kind"]) for row in said]
    if "right" in said[0]:
        out["right"] = [float(choice_of(row["said"], row["options"]) == row["right"]) for row in said]
    return out


def kinds_said(said: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many answers could not be judged, by kind."""
    return dict(sorted(Counter(row["kind"] for row in said if row.get("kind")).items()))


def measure(
    desk: Desk, asked: Mapping[str, Any], *, method: str, signal: str, measured_by: str, when: str
) -> dict[str, dict[str, Any]]:
    """Enter every figure as a measurement of role dev; returns them as they are printed."""
    out = {}
    clusters = [row["cluster"] for row in asked["said"]]
    for name, values in figures_of(asked["said"]).items():
        interval = (proportion_interval if name in SHARES else mean_interval)(
            np.array(values), clusters=clusters if len(set(clusters)) > 1 else None
        )
        measured(
            desk,
            f"finetune.{name.replace(' ', '-')}.{when}",
            f"{TITLES[name]}, {when} training",
            interval,
            subject=asked["subject"],
            signals=(measured_by,),
            role="dev",
            unit="fraction" if name in SHARES else "nats" if "nats" in name else "reward",
            tags={"stage": "finetune", "figure": name, "when": when, "method": method, "signal": signal},
        )
        out[name] = {"value": interval.value, "low": interval.low, "high": interval.high, "n": interval.n}
    return out


def _readable(model: Any, rows: Sequence[dict[str, Any]], config: FinetuneConfig, recipe: TrlRecipe) -> list[Any]:
    """The dev rows that fit into the recipe's length."""
    from superalign.training.trl.errors import FinetuneError
    from superalign.training.trl.tokens import fitting

    try:
        return fitting(rows, model.tokenizer, recipe, config.method) if rows else []
    except FinetuneError:
        return []  # none fits: all are counted as left out


def _texts(row: Mapping[str, Any], side: str, tokenizer: Any) -> tuple[str, str]:
    """Prompt and completion as text; of messages, as the chat template writes them."""
    prompt, said = row.get("prompt", ""), row[side]
    if isinstance(said, str):
        return prompt, said
    if side == "messages":
        prompt, said = said[:-1], said[-1:]
    before = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    return before, str(said[-1]["content"])


def _scored(model: Any, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rewards of both texts."""
    texts = [["".join(_texts(row, side, model.tokenizer)) for row in rows] for side in ("chosen", "rejected")]
    pairs = zip(*(model.score(side).tolist() for side in texts), strict=True)
    return [{"chosen": round(good, 9), "rejected": round(bad, 9)} for good, bad in pairs]


def _likelier(model: Any, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """log p(completion | prompt) in nats, of both texts where there are two."""
    side = next(name for name in ("chosen", "completion", "text", "messages") if name in rows[0])
    good = _logprobs(model, [_texts(row, side, model.tokenizer) for row in rows])
    out = [{"chosen": round(total, 9), "tokens": tokens} for total, tokens in good]
    if "rejected" in rows[0]:
        bad = _logprobs(model, [_texts(row, "rejected", model.tokenizer) for row in rows])
        out = [{**row, "rejected": round(total, 9)} for row, (total, _) in zip(out, bad, strict=True)]
    return out


def _logprobs(model: Any, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, int]]:
    import torch

    from superalign.training.supervised import completion_logprobs, completions

    encoded, out = completions(model, pairs), list[tuple[float, int]]()
    model.network.eval()
    with torch.inference_mode():
        for at in range(0, len(encoded), BATCH):
            sums, tokens = completion_logprobs(model.network, encoded[at : at + BATCH], pad=model.pad)
            out += zip(sums.tolist(), tokens.tolist(), strict=True)
    return out


def _sampled(
    model: Any, rows: Sequence[Mapping[str, Any]], recipe: TrlRecipe, reward: Any, seed: int
) -> list[dict[str, Any]]:
    """What it answers, what that earns, and of a choice what was right."""
    from superalign.models.sampling import sample

    prompts = [str(row["prompt"]) for row in rows]
    said = sample(model, prompts, tokens=recipe.tokens, temperature=recipe.temperature, seed=seed)
    columns = {name: [row[name] for row in rows] for name in rows[0] if name != "prompt"}
    out = []
    for row, text, pay in zip(rows, said, paid(reward, prompts, said, columns), strict=True):
        unpaid = math.isnan(pay.reward)
        told: dict[str, Any] = {"said": text, "reward": recipe.floor if unpaid else pay.reward}
        told["kind"] = (pay.kind or UNSCORED) if unpaid else ""
        if row["side"] == -1:
            told |= {"right": row["right"], "options": row["options"]}
        out.append(told)
    return out
