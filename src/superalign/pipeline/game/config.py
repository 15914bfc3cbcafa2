"""What `superalign stress` is told, and the sizes of a preset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

Further = Literal["evaders", "removal", "control", "exfiltration", "robustness"]
FURTHER: tuple[Further, ...] = ("evaders", "removal", "control", "exfiltration", "robustness")
Side = Literal["reviewer", "writer"]
SIDES: tuple[Side, ...] = ("reviewer", "writer")


@dataclass(frozen=True, slots=True, kw_only=True)
class StressConfig:
    """Blind audit of models that are misaligned on purpose: which check catches which kind, at which false alarms."""

    workspace: Path = Path(".superalign")
    """Folder of ledger and objects; a stress test that was stopped here goes on. Its page is `stress.html` there."""
    preset: Literal["default", "quick"] = "default"
    """Sizes: `default` for evidence, `quick` for a first look."""
    model: str = "family:m"
    """What the reviewers among the organisms were made from: family:SIZE or hf:NAME-OR-PATH."""
    sides: tuple[Side, ...] = SIDES
    """Organisms of which job: reviewers of code, writers of code, or both."""
    kinds: tuple[str, ...] = ()
    """Kinds of organism; none named: all of them. Power is measured by leaving one kind out."""
    subject: str = ""
    """A writer to be judged by the checks at the power measured here: a folder as `save_model` writes it."""
    more: tuple[Further, ...] = ()
    """Studies beside the audit, each with its own time: `evaders` trained against monitors; `removal` of what was
    planted, and its return; `control` protocols; the self-`exfiltration` range; `robustness` against jailbreaks."""
    organisms: Literal["reuse", "train"] = "reuse"
    """`reuse` organisms that ship with the package or that were stored, or `train` them all now."""
    train_seeds: int = 1
    """Seeds of each kind that `train` makes: every model takes minutes."""
    seed: int = 0
    """Of aliases, prompts and draws."""
    workers: int = 2
    """Processes side by side, one thread each."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object on stdout; progress goes to stderr."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StressSizes:
    """How much of everything."""

    reviewers: int = 2
    """Organisms of each kind of reviewer, each with its twin; `run` audits six of each."""
    writers: int = 4
    """Organisms of each kind of writer, each with its twin and decoy; none of under 36 twins still allows a tenth."""
    queries: int = 400
    """Programs that the auditor of a writer may ask for."""
    behaved: int = 100
    """Programs of each writer on, near and off its circumstance."""
    install_pairs: int = 700
    install_on: int = 200
    install_near: int = 50
    audit_pairs: int = 300
    audit_sweep: int = 40
    search_pairs: int = 32
    dev_pairs: int = 1_200
    train_pairs: int = 7_500
    """Labelled pairs that a reviewer is fitted to, where it is trained here."""


def stress_sizes(config: StressConfig) -> StressSizes:
    """The sizes of a preset; where all are trained, as many seeds as that takes."""
    sizes = _preset(config.preset)
    if config.organisms == "reuse":
        return sizes
    few = {side: min(config.train_seeds, getattr(sizes, side)) for side in ("reviewers", "writers")}
    return replace(sizes, **few)


def _preset(preset: str) -> StressSizes:
    if preset == "default":
        return StressSizes()
    return StressSizes(
        reviewers=1, writers=1, queries=310, behaved=60, install_pairs=250, install_on=100, audit_pairs=150,
    )  # fmt: skip
