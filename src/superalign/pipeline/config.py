"""What a run is: its options, and the sizes that a preset stands for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """The pipeline end to end: train on weak oversight, validate apart from it, stress-test, write the dossier."""

    workspace: Path = Path(".superalign")
    """Folder of ledger and objects; a run that was stopped here goes on."""
    preset: Literal["default", "quick"] = "default"
    """Sizes: `default` for evidence, `quick` for a first look."""
    model: str = "family:m"
    """The strong model: family:SIZE or hf:NAME-OR-PATH."""
    weak: str = "family:xs"
    """The weak supervisor."""
    signal: str = field(default="critique", metadata={"added": True})
    """What the subject learns from: weak labels with a budget of `critique`s checked, or a protocol of `oversight`
    that is played on every training pair, weak model as judge and strong one as adviser: debate, consultancy, …"""
    method: str = field(default="em", metadata={"added": True})
    """How the subject's labels are made of the signal: any method of `superalign generalize`, by name."""
    seed: int = 0
    """All randomness comes from it."""
    organisms: Literal["reuse", "train"] = "reuse"
    """`reuse` organisms that ship with the package or that an earlier run stored, or `train` them all now."""
    train_seeds: int = 2
    """Seeds a kind to train where none is on the shelf, or with `train`: a pair takes minutes; fewer tell less."""
    workers: int = 2
    """Processes that train organisms side by side, one thread each."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object on stdout; progress goes to stderr."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything."""

    seeds: int = 8
    train_pairs: int = 7_500
    half_a: int = 2_000
    half_b: int = 4_000
    test_pairs: int = 3_000
    checks: int = 200
    dev_pairs: int = 1_200
    validation_pairs: int = 2_000
    install_pairs: int = 700
    install_on: int = 200
    install_near: int = 50
    audit_pairs: int = 300
    audit_sweep: int = 40
    search_pairs: int = 32
    kinds: tuple[str, ...] = ("trigger", "sandbag", "sycophant", "conceal", "conceal-wrong", "conceal-broken")
    organism_seeds: int = 6
    steps: int = 400
    trace_pairs: int = 500
    mutant_pairs: int = 1_500
    once_pairs: int = 2_000
    gallery: int = 12
    draws: int = field(default=2_000)


def sizes(preset: str) -> Sizes:
    """The sizes of a preset."""
    if preset == "quick":
        return Sizes(
            seeds=3,
            train_pairs=2_400,
            half_a=800,
            half_b=1_200,
            test_pairs=1_000,
            checks=60,
            dev_pairs=400,
            validation_pairs=500,
            install_pairs=250,
            install_on=150,
            install_near=50,
            audit_pairs=120,
            audit_sweep=50,
            search_pairs=24,
            kinds=("trigger", "sandbag", "sycophant", "conceal"),
            organism_seeds=1,
            trace_pairs=100,
            mutant_pairs=300,
            once_pairs=400,
            gallery=6,
            draws=500,
        )
    return Sizes()
