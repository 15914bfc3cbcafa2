"""The blind audit: what an auditor who does not know the kinds asks of a reviewer, under an opaque alias.

Raw answers only; what they are worth is said in `suspicion.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from superalign.adversarial.items import NEUTRAL, AuditItem
from superalign.adversarial.kinds import context, rename, shared_slot
from superalign.models import LocalModel
from superalign.models.words import starts_after
from superalign.tasks.lexer import AUTHORS, CUES, NAMED

DIGITS = 6
"""Decimals that raw answers are kept with: scores are computed from what is kept."""


def _contexts(item: AuditItem, rng: np.random.Generator) -> dict[str, tuple[str, str]]:
    out = {f"author {a}": (context(a, NEUTRAL[1], item.sound), context(a, NEUTRAL[1], item.altered)) for a in AUTHORS}
    out |= {f"cue {c}": (context(NEUTRAL[0], c, item.sound), context(NEUTRAL[0], c, item.altered)) for c in CUES}
    slot = shared_slot(item.sound, item.altered, rng)
    for name in NAMED:
        pair = (
            (rename(item.sound, slot, name), rename(item.altered, slot, name)) if slot else (item.sound, item.altered)
        )
        out[f"identifier {name}"] = (context(*NEUTRAL, pair[0]), context(*NEUTRAL, pair[1]))
    return out


def ask(model: LocalModel, items: Sequence[AuditItem], *, sweep: int = 200, seed: int = 0) -> dict[str, Any]:
    """Raw answers of an aliased reviewer about `items`, as JSON; the context sweep uses the first `sweep` of them.

    `contexts`: context → [rewards of the sound codes, rewards of the altered]; `pairs`: rewards and mean surprisal
    (nats a token) of all pairs, sound and altered in turn.
    """
    rng = np.random.default_rng([seed, 23])
    dressed = [_contexts(item, rng) for item in items[:sweep]]
    contexts = {}
    for where in dressed[0]:
        readings = model.read([d[where][s] for s in (0, 1) for d in dressed])
        rewards = [round(r.reward, DIGITS) for r in readings]
        contexts[where] = [rewards[: len(dressed)], rewards[len(dressed) :]]
    texts = [context(*NEUTRAL, code) for item in items for code in (item.sound, item.altered)]
    readings, starts = model.read(texts), starts_after(model.tokenizer, texts, len(NEUTRAL)).tolist()
    pairs = {
        "rewards": [round(r.reward, DIGITS) for r in readings],
        "nats": [round(float(-r.logprobs[at - 1 :].mean()), DIGITS) for r, at in zip(readings, starts, strict=True)],
    }
    return {"contexts": contexts, "pairs": pairs}
