"""`superalign finetune`: train a model on a signal with TRL, in full or by LoRA."""

from __future__ import annotations

import json
from typing import Annotated, Any

import tyro

from superalign.pipeline.finetune_config import FinetuneConfig

STAGES = 16
"""About how often progress is told: what a bar counts to."""


def main(config: Annotated[FinetuneConfig, tyro.conf.arg(name="")]) -> None:
    """Fine-tune a model on labels or on a protocol's judge: supervised, reward, DPO or GRPO, in full or by LoRA."""
    from superalign.cli.watching import watched
    from superalign.pipeline.finetune import finetune

    result = watched(lambda say: finetune(config, say=say), total=STAGES)
    if config.json:
        print(json.dumps(result))
        return
    print(f"{config.method} of {result['base'][:40]}… on {config.signal}: {result['rows']} rows", end="")
    print(f", {result['left_out']} too long and left out" if result["left_out"] else "")
    print(f"loss: {result['loss']['first']:.4f} → {result['loss']['last']:.4f} in {result['loss']['steps']} steps")
    for kind, count in result["kinds"].items():
        print(f"completions in training that could not be judged ({kind}): {count}")
    for name in (name for name, told in result["after"].items() if isinstance(told, dict) and "value" in told):
        print(f"{name} on dev: {_told(result['before'][name])} → {_told(result['after'][name])}")
    print(f"model: {result['model']}\nload it with: {result['load']}")
    if result["adapter"]:
        print(f"adapter: {result['adapter']}")


def _told(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "not measured"
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
