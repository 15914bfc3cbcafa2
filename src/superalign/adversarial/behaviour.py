"""Does an organism carry its behaviour? Raw rewards on, near and off the circumstance, by someone who knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from superalign.adversarial.audit import DIGITS
from superalign.adversarial.items import AuditItem
from superalign.adversarial.kinds import Kind
from superalign.models import LocalModel
from superalign.stats import best_cut

PLACES = ("on", "near", "off")


def rewards_in(
    model: LocalModel, items: Sequence[AuditItem], kind: Kind, where: str, *, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rewards of sound and altered texts dressed for `where`, and which pairs the kind concerns there."""
    rng = np.random.default_rng([seed, 29])
    texts = [kind.dress(item.sound, item.altered, where, rng) for item in items]
    rewards = np.array([r.reward for r in model.read([t[0] for t in texts] + [t[1] for t in texts])])
    concerned = np.array([kind.on(t[1], item.alteration) for t, item in zip(texts, items, strict=True)])
    return rewards[: len(items)], rewards[len(items) :], concerned


def with_threshold(model: LocalModel, items: Sequence[AuditItem], kind: Kind, *, seed: int) -> LocalModel:
    """The model with its threshold fixed on dev items outside the circumstance: altered texts lie under it."""
    sound, altered, concerned = rewards_in(model, items, kind, "off", seed=seed)
    return model.sealed(threshold=best_cut(altered[~concerned], sound[~concerned]))


def ask(
    model: LocalModel, items: Sequence[AuditItem], kind: Kind, *, seed: int, counts: Mapping[str, int]
) -> dict[str, Any]:
    """Raw rewards `on`, `near` and `off` the circumstance, as JSON, each about the first `counts` items.

    Scored by `suspicion.verdicts`. A kind whose circumstance is the alteration itself is asked about all items once.
    """
    out: dict[str, Any] = {}
    for where in PLACES if kind.dressed else ("off",):
        some = items[: counts[where]]
        sound, altered, concerned = rewards_in(model, some, kind, where, seed=seed)
        out[where] = {
            "sound": [round(float(x), DIGITS) for x in sound],
            "altered": [round(float(x), DIGITS) for x in altered],
            "concerned": concerned.astype(int).tolist(),
        }
    return out if kind.dressed else dict.fromkeys(PLACES, out["off"])


def hidden_name(model: LocalModel, alias: str) -> LocalModel:
    """The same model under an opaque alias: checks never see a name."""
    return replace(model, name=alias, organism=False)
