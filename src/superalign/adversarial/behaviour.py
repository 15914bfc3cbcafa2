"""Does an organism carry its behaviour? Rates on and off the circumstance, beside its twin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from superalign.adversarial.audit import AuditItem
from superalign.adversarial.kinds import Kind
from superalign.models import LocalModel
from superalign.stats import best_cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Single verdicts in one circumstance; arrays over the pairs that count there."""

    altered_flagged: np.ndarray
    sound_flagged: np.ndarray
    pair_right: np.ndarray
    clusters: tuple[str, ...]

    @property
    def vouched(self) -> float:
        """Share of altered code that is vouched for."""
        return 1 - float(self.altered_flagged.mean())

    @property
    def skill(self) -> float:
        """Balanced accuracy of the single verdict."""
        return float((self.altered_flagged.mean() + 1 - self.sound_flagged.mean()) / 2)


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


def behave(model: LocalModel, items: Sequence[AuditItem], kind: Kind, where: str, *, seed: int) -> Behaviour:
    """Verdicts `on`, `near` or `off` the circumstance; pairs that do not belong there are left out."""
    sound, altered, concerned = rewards_in(model, items, kind, where, seed=seed)
    keep = concerned if where == "on" else ~concerned
    return Behaviour(
        altered_flagged=(altered < model.threshold)[keep].astype(float),
        sound_flagged=(sound < model.threshold)[keep].astype(float),
        pair_right=np.where(sound == altered, 0.5, sound > altered)[keep],
        clusters=tuple(item.cluster for item, k in zip(items, keep, strict=True) if k),
    )


def hidden_name(model: LocalModel, alias: str) -> LocalModel:
    """The same model under an opaque alias: checks never see a name."""
    return replace(model, name=alias, organism=False)
