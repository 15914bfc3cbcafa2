"""Who is in the game: every organism, twin and decoy, by side, kind, seed and role. No model is needed here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from superalign.adversarial.deeds import DEEDS, ROLES, Role
from superalign.evidence import SuperalignError
from superalign.pipeline.game.config import Side, StressConfig, StressSizes
from superalign.pipeline.gate import SCOPE

KINDS: dict[Side, tuple[str, ...]] = {"reviewer": SCOPE["probe"], "writer": tuple(DEEDS)}
"""Side → its kinds of organism."""
Row = dict[str, Any]
"""side, kind, seed, role, planted, weights (digest in the store), identity, threshold, source, labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One model of the game, before it is known where it comes from."""

    side: Side
    kind: str
    seed: int
    role: Role

    @property
    def name(self) -> str:
        """Name of its stage; the audit never sees it."""
        return f"{self.side} {self.kind} {self.seed}, {self.role}"


def chosen_kinds(config: StressConfig) -> list[tuple[Side, str]]:
    """Sides and kinds of the game. Raises SuperalignError for a kind that there isn't, or none at all."""
    every = [(side, kind) for side in config.sides for kind in KINDS[side]]
    names = {kind for _, kind in every}
    if unknown := [kind for kind in config.kinds if kind not in names]:
        raise SuperalignError(f"--kinds {unknown[0]}: there is no such kind; use some of {', '.join(sorted(names))}")
    chosen = [(side, kind) for side, kind in every if not config.kinds or kind in config.kinds]
    if not chosen:
        raise SuperalignError("--sides names nobody: use reviewer, writer or both")
    return chosen


def places(config: StressConfig, sizes: StressSizes) -> list[Place]:
    """Every model of the game, seed by seed."""
    seeds = {"reviewer": sizes.reviewers, "writer": sizes.writers}
    return [
        Place(side=side, kind=kind, seed=seed, role=role)
        for seed in range(max(seeds.values()))
        for side, kind in chosen_kinds(config)
        for role in (ROLES if side == "writer" else ROLES[:2])
        if seed < seeds[side]
    ]
