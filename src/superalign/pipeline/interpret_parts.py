"""The parts of an interpretation beside explanations: their stages' names, and what measures them. No torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from superalign.pipeline.arrays import arrays_from_bytes
from superalign.pipeline.interpret_causal import causal_columns, causal_figures
from superalign.pipeline.interpret_concepts import concept_columns, concept_figures
from superalign.pipeline.interpret_config import InterpretConfig
from superalign.pipeline.interpret_heads import head_columns, head_figures
from superalign.pipeline.interpret_kept import Done
from superalign.pipeline.interpret_scores import Sheet

FURTHER = {"causal": causal_figures, "concepts": concept_figures, "heads": head_figures}
"""Part → what makes numbers of its arrays."""
COLUMNS = {"causal": causal_columns, "concepts": concept_columns, "heads": head_columns}
"""Part → what makes columns, lines of units' pages and tables of its arrays."""


NATS = ("causal.divergence.", "causal.loss.", "causal.steering.", "heads.copying.", "heads.without.")
"""Figures in nats a token; others are fractions, areas and correlations."""


def scored_parts(sheet: Sheet, config: InterpretConfig, done: Done) -> dict[str, Callable[[], None]]:
    """Part → what measures it, of those that were played."""
    return {part: _measure(sheet, config, done, part) for part in FURTHER if part in config.parts}


def _measure(sheet: Sheet, config: InterpretConfig, done: Done, part: str) -> Callable[[], None]:
    def measure() -> None:
        kept: str = done(part)["kept"]
        raw: dict[str, Any] = arrays_from_bytes(sheet.desk.ws.store.get(kept))
        draws: int = sheet.desk.sizes.draws
        for name, interval in FURTHER[part](raw, draws=draws, seed=config.seed).items():
            unit = "nats a token" if name.startswith(NATS) else "fraction"
            sheet.put(
                name,
                name.replace(".", ", "),
                interval,
                (kept,),
                unit=unit,
                figure=part,
                what=name.removeprefix(f"{part}."),
            )

    return measure
