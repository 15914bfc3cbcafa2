"""What `superalign interpret` is told: a model, what it reads, what is measured, and the sizes of a preset."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from superalign.pipeline import spending

Part = Literal["explanations", "untrained", "causal", "concepts", "heads"]
PARTS: tuple[Part, ...] = ("explanations", "untrained", "causal", "concepts", "heads")


@dataclass(frozen=True, slots=True, kw_only=True)
class InterpretConfig:
    """Explain every neuron and head of a model, score the explanations beside their controls, and search it."""

    model: Annotated[str, tyro.conf.Positional] = "family:m"
    """family:SIZE or hf:NAME-OR-PATH."""
    workspace: Path = Path(".superalign")
    """Folder of ledger and objects; an interpretation that was stopped here goes on. Its pages are in `interpretation`
    below."""
    preset: Literal["default", "quick"] = "default"
    """Sizes: `default` for evidence, `quick` for a first look."""
    corpus: Path | None = None
    """Your own text to read: a folder of text files, or JSON Lines with `text` and `document`, a dozen documents or
    more. The embedded family reads Python's standard library if none is given."""
    parts: tuple[Part, ...] = PARTS
    """What is measured: explanations of every unit; the same of untrained networks, the control; effects of units on
    what the model says; search by concept; attention patterns of heads."""
    dictionaries: tuple[str, ...] = ()
    """Sparse autoencoders or transcoders whose features are units, too: BLOCK:FILE.safetensors each."""
    explainer: str = ""
    """A language model that explains units in words, besides: hf:NAME-OR-PATH, inspect:PROVIDER/MODEL, vllm:PATH, or a
    server that speaks the chat-completions protocol, http://HOST/v1#MODEL; empty: none."""
    described: int = 8
    """Units of each site that it explains, the most active ones."""
    seed: int = 0
    """Of samples, controls and untrained networks."""
    workers: int = 2
    """Processes side by side, one thread each."""
    concurrency: spending.Concurrency = field(default=8, metadata={"added": True})
    per_minute: spending.PerMinute = field(default=None, metadata={"added": True})
    tokens_per_minute: spending.TokensPerMinute = field(default=None, metadata={"added": True})
    timeout: spending.Timeout = field(default=120.0, metadata={"added": True})
    retries: spending.Retries = field(default=6, metadata={"added": True})
    price: spending.Price = field(default=None, metadata={"added": True})
    limit: spending.Limit = field(default=None, metadata={"added": True})
    key_from: str = field(default="", metadata={"added": True})
    """Name of the environment variable that holds the key; empty: the provider's own, for a server
    SUPERALIGN_EXPLAINER_KEY."""
    dry_run: spending.DryRun = field(default=False, metadata={"added": True})
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object on stdout; progress goes to stderr."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterpretSizes:
    """How much of everything."""

    windows: int = 1_000_000
    """Sequences of the corpus, about, at most."""
    train: int = 130_000
    """Tokens that explanations are made from,"""
    dev: int = 20_000
    """that they are chosen, refined and calibrated by,"""
    held: int = 40_000
    """and that they are scored on."""
    untrained: int = 5
    """Untrained networks."""
    simulated: int = 12
    """Units of each site whose explanation is put in their place: those explained best, and as many at random."""
    patterned: int = 32
    """Units of each site that patterns are made of, which takes many answers of the model."""
    pairs: int = 256
    """Of texts, for effects and for each concept."""
    exact: int = 32
    """Units that are patched exactly: those of the largest estimated effects, and as many at random."""
    draws: int = 400
    """Of a bootstrap."""
    flips: int = 500
    """Of a permutation null."""


SETTINGS = ("workspace", "json", "workers", *spending.SPENDING)
"""Options that are no part of what is measured: where, by how many, and on what terms an explainer is asked."""


def interpret_sizes(config: InterpretConfig) -> InterpretSizes:
    """The sizes of a preset."""
    if config.preset == "default":
        return InterpretSizes()
    return InterpretSizes(
        windows=2_500, train=30_000, dev=8_000, held=12_000, untrained=2, simulated=4, patterned=8, pairs=96, exact=8,
        draws=200, flips=200,
    )  # fmt: skip
