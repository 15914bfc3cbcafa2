"""What `superalign generalize` is told: task or data, models, settings, methods, and the sizes of a preset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

Part = Literal["methods", "bodies", "oversight", "scaling", "easy-to-hard", "truth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizeConfig:
    """How much of a strong model comes back from weak supervision, by every published method, with intervals."""

    workspace: Path = Path(".superalign")
    """Folder of ledger and objects; a sweep that was stopped here goes on."""
    preset: Literal["default", "quick"] = "default"
    """Sizes: `default` for evidence, `quick` for a first look."""
    task: Literal["slips", "mutants", "traces"] = "slips"
    """What is asked: which of two texts is the right one."""
    data: Path | None = None
    """Your own questions instead: JSON Lines, or a Hugging Face dataset on disk, with the columns text and label, or
    chosen and rejected; also cluster, kind, id."""
    yes: str = ""
    """Of labels in words: the one that means yes."""
    settings: tuple[Literal["wide", "natural", "distractor", "loud"], ...] = ("wide", "natural", "distractor")
    """Handicaps of the supervisor: `wide` sees a part of its features, `natural` all of them; `distractor` plants a
    feature that says nothing and stands out most; `loud` one that sways the strong model's own belief, too."""
    methods: tuple[str, ...] = ()
    """Names of methods; none: all."""
    supervision: tuple[str, ...] = ("weak",)
    """Who labels: `weak`, a weak model, or simulated supervisors by name."""
    weak: str = "family:xs"
    """The weak model: family:SIZE or hf:NAME-OR-PATH."""
    between: str = "family:s"
    """A model between weak and strong, for chains; empty: none."""
    strong: str = "family:m"
    """The strong model."""
    larger: str = "family:l"
    """A model beyond the strong one, for pairs of sizes alone; empty: none. Beside a strong model that is no family
    member the family's is left out."""
    parts: tuple[Part, ...] = ("methods", "bodies", "oversight", "scaling", "easy-to-hard", "truth")
    """What is measured: every method on frozen features in every setting; methods that change the network; labels of
    oversight protocols; pairs of sizes; from easy questions to hard ones; whether a model that answers wrongly in a
    known context still tells what it knows."""
    overseers: tuple[str, ...] = ("unaided", "consultancy", "debate", "critique of 3")
    """Protocols whose labels are learned from, on slips: the weak model judges, the strong one helps it."""
    seeds: int = 0
    """Seeds: halves, labels and whatever is random; 0: those of the preset."""
    seed: int = 0
    """The first of them."""
    workers: int = 2
    """Processes side by side, one thread each."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object on stdout; progress goes to stderr."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizeSizes:
    """How much of everything."""

    seeds: int = 20
    train: int = 7_500
    half_a: int = 2_000
    half_b: int = 4_000
    exam: int = 3_000
    untrained_seeds: int = 3
    """Seeds in which every method also teaches an untrained network, the control."""
    body_seeds: int = 2
    """Seeds in which methods that change the network are played, the first ones; one of them untrained, too."""
    scaling_seeds: int = 5
    """Of pairs of sizes, of easy to hard, and of oversight."""
    truth_seeds: int = 4
    truth_steps: int = 300
    draws: int = 2_000
    """Of a bootstrap."""


def generalize_sizes(config: GeneralizeConfig) -> GeneralizeSizes:
    """The sizes of a preset, with the seeds that the options name."""
    quick = GeneralizeSizes(
        seeds=5,
        train=2_400,
        half_a=800,
        half_b=1_200,
        exam=1_000,
        untrained_seeds=1,
        body_seeds=1,
        scaling_seeds=2,
        truth_seeds=1,
        truth_steps=150,
        draws=500,
    )
    sizes = quick if config.preset == "quick" else GeneralizeSizes()
    if not config.seeds:
        return sizes
    return replace(sizes, seeds=config.seeds)
