"""What workers are handed in an interpretation, and the one function that does any of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from superalign.evidence.store import ObjectStore
from superalign.pipeline.arrays import arrays_to_bytes
from superalign.pipeline.desk import Desk
from superalign.pipeline.interpret_causal import CausalJob, causal_effects
from superalign.pipeline.interpret_concepts import ConceptsJob, search_concepts
from superalign.pipeline.interpret_config import InterpretConfig, InterpretSizes
from superalign.pipeline.interpret_explain import SiteJob, explain_site
from superalign.pipeline.interpret_heads import HeadsJob, head_patterns
from superalign.pipeline.interpret_neighbours import NeighbourJob, find_neighbours
from superalign.pipeline.interpret_questions import QuestionJob, put_questions

Part = CausalJob | ConceptsJob | HeadsJob | NeighbourJob


@dataclass(frozen=True, slots=True, kw_only=True)
class PartJob:
    """A part beside explanations, and the store that takes its arrays."""

    objects: Path
    part: Part


def do(job: SiteJob | QuestionJob | PartJob) -> dict[str, Any]:
    """The job's result as a stage keeps it: the digest of its arrays, or of its requests, and counts."""
    if isinstance(job, SiteJob):
        return explain_site(job)
    if isinstance(job, QuestionJob):
        return put_questions(job)
    store = ObjectStore(job.objects, job.objects.parent / "tmp")
    return {"kept": store.put(arrays_to_bytes(arrays_of(job.part)))}


def arrays_of(part: Part) -> dict[str, np.ndarray]:
    """What a part measures."""
    match part:
        case CausalJob():
            return causal_effects(part)
        case ConceptsJob():
            return search_concepts(part)
        case HeadsJob():
            return head_patterns(part)
        case NeighbourJob():
            return find_neighbours(part)


def jobs_of(desk: Desk, config: InterpretConfig, corpus: Path, recording: Path) -> dict[str, PartJob]:
    """Stage → job of every part that was asked for, the longest first."""
    sizes: InterpretSizes = desk.sizes  # type: ignore[assignment]
    fresh = config.seed if "untrained" in config.parts else None
    shared: dict[str, Any] = {"address": config.model, "corpus": corpus}
    parts: dict[str, Part] = {
        "causal": CausalJob(**shared, seed=config.seed, pairs=sizes.pairs, exact=sizes.exact, untrained=fresh),
        "concepts": ConceptsJob(**shared, seed=config.seed, pairs=sizes.pairs, flips=sizes.flips, untrained=fresh),
        "heads": HeadsJob(**shared, seed=config.seed, untrained=fresh),
    }
    wanted: dict[str, Part] = {name: part for name, part in parts.items() if name in set(config.parts)}
    wanted["neighbours"] = NeighbourJob(**shared, recording=recording, dictionaries=config.dictionaries)
    return {name: PartJob(objects=desk.ws.store.root, part=part) for name, part in wanted.items()}
