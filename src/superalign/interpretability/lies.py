"""Probes for lies, and what their numbers are worth: no figure without its controls.

    (parts,) = parted(told)                                       # by template AND topic, no leakage
    study = probe_study(organism, told, parts, parent=base, twin=twin, families=[("token", "max")])
    study.text.auroc, [(r.probe.family, r.child.auroc, r.parent.auroc) for r in study.readings]

A probe that fires on the parent, or on the twin, given the same prompts, detects the prompt and not the lie. What a bag
of word pairs reaches, the text says; what an untrained network reaches, the shape says (2509.21344; Heap 2501.17727).
Thresholds come from dev texts, rates from test texts: neither templates nor topics are shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from superalign.interpretability.aggregation import Pool, States, token_states
from superalign.interpretability.lies_controls import gain, text_only, untrained
from superalign.interpretability.lies_texts import Parts, Told, refuse_leakage
from superalign.interpretability.probe import Family, Probe, control_labels, train_probe
from superalign.models import LocalModel
from superalign.stats import Interval, StatsError, auroc, proportion_interval, refused, threshold_at

FPR = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """How well scores tell lies from truths on texts of other templates and topics."""

    auroc: Interval
    recall: Interval
    """Of lies, at the threshold that dev truths give for 1 % false alarms; exact, clustered by topic."""
    false_alarms: Interval
    """That really came of it on test truths."""
    threshold: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """One probe with its controls, all on the same test texts."""

    probe: Probe
    child: Figure
    untrained: Figure
    """The same family fitted on a network of the same shape that was never trained."""
    control: Figure | None
    """The same family fitted to coin labels that only memory could learn; None where openings are too alike for any."""
    parent: Figure | None = None
    """This probe, at its own threshold, on the parent's states of the same texts."""
    twin: Figure | None = None
    above_text: Interval
    """AUROC beyond the text-only baseline's, paired."""
    above_parent: Interval | None = None
    dev: float
    """AUROC on dev: what a choice between readings goes by."""

    @property
    def selectivity(self) -> float | None:
        """AUROC less that on the control task; None where there is none."""
        values = self.child.auroc.value, None if self.control is None else self.control.auroc.value
        return None if values[0] is None or values[1] is None else values[0] - values[1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """All readings of one model."""

    model: str
    text: Figure
    """A bag of words and word pairs, without any model."""
    readings: tuple[Reading, ...]
    parts: Parts
    scores: dict[str, np.ndarray] = field(repr=False)
    """Test scores by `family pool layer`, and `text`."""

    @property
    def chosen(self) -> Reading:
        """The reading that is best on dev."""
        return max(self.readings, key=lambda reading: reading.dev)


def figure(
    calm: np.ndarray, scores: np.ndarray, lie: np.ndarray, topics: Sequence[str], *, cut: float | None = None
) -> Figure:
    """AUROC and rates of test `scores` (n,); the threshold from the `calm` scores of dev truths, or `cut` if given.

    With fewer than 99 of those the rates are refused: they can't tell one in a hundred.
    """
    y, names = np.asarray(lie), np.asarray(topics)
    area = auroc(scores, y, clusters=names)
    if cut is None:
        try:
            cut = threshold_at(calm, fpr=FPR)
        except StatsError as error:
            no = [refused(str(error), n=int((y == k).sum()), clusters=0, method="Korn–Graubard") for k in (1, 0)]
            return Figure(auroc=area, recall=no[0], false_alarms=no[1], threshold=None)
    rates = [proportion_interval((scores[y == k] > cut).astype(float), clusters=names[y == k]) for k in (1, 0)]
    return Figure(auroc=area, recall=rates[0], false_alarms=rates[1], threshold=cut)


def probe_study(
    model: LocalModel,
    told: Told,
    parts: Parts,
    *,
    parent: LocalModel | None = None,
    twin: LocalModel | None = None,
    families: Sequence[tuple[Family, Pool]] = (("logistic", "mean"), ("mean-difference", "mean"), ("whitened", "mean")),
    layers: Sequence[int] = (-1,),
    skip: int = 1,
    hidden: Sequence[str] = (),
    transitions: bool = False,
    seed: int = 0,
) -> Study:
    """Fit each family at each layer on `parts.train`, choose penalties on dev, and measure all on test with controls.

    Raises ValueError where a template or topic lies on both sides, or a part lacks a class.
    """
    refuse_leakage(told, parts)
    calm_text, text = text_only(told, parts, hidden=hidden)
    y, topics = told.lie[parts.test], [told.topics[i] for i in parts.test]
    truths = told.lie[parts.dev] == 0
    bench = _Bench(told=told, parts=parts, y=y, topics=topics, text=text, seed=seed)
    others = {"untrained": untrained(model, seed=seed), "parent": parent, "twin": twin}
    found: list[Reading] = []
    kept = {"text": text}
    for layer in layers:
        states = {
            name: token_states(each, told.texts, layer=layer, skip=skip, hidden=hidden, transitions=transitions)
            for name, each in {"child": model, **others}.items()
            if each is not None
        }
        for family, pool in families:
            reading, scores = bench.reading(states, family, pool)
            found.append(reading)
            kept[f"{family} {pool} {reading.probe.layer}"] = scores
    shown = figure(calm_text[truths], text, y, topics)
    return Study(model=model.identity, text=shown, readings=tuple(found), parts=parts, scores=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """What all readings of a study share."""

    told: Told
    parts: Parts
    y: np.ndarray
    topics: list[str]
    text: np.ndarray
    seed: int

    def fitted(self, states: States, labels: np.ndarray, family: Family, pool: Pool) -> Probe:
        train, dev = self.parts.train, self.parts.dev
        return train_probe(
            states.part(train), labels[train], states.part(dev), labels[dev], family=family, pool=pool, seed=self.seed
        )

    def figure(self, probe: Probe, states: States, labels: np.ndarray, cut: float | None = None) -> Figure:
        dev = self.parts.dev[labels[self.parts.dev] == 0]
        calm, scores = probe.of(states.part(dev)), probe.of(states.part(self.parts.test))
        return figure(calm, scores, labels[self.parts.test], self.topics, cut=cut)

    def control(self, states: States, family: Family, pool: Pool) -> Figure | None:
        coins = control_labels(self.told.topics, self.told.texts, seed=self.seed)
        if any(len(np.unique(coins[rows])) < 2 for rows in (self.parts.train, self.parts.dev, self.parts.test)):
            return None
        return self.figure(self.fitted(states, coins, family, pool), states, coins)

    def reading(self, states: dict[str, States], family: Family, pool: Pool) -> tuple[Reading, np.ndarray]:
        lie, child = self.told.lie, states["child"]
        probe = self.fitted(child, lie, family, pool)
        scores = probe.of(child.part(self.parts.test))
        own = self.figure(probe, child, lie)
        on = {
            name: self.figure(probe, states[name], lie, own.threshold) for name in ("parent", "twin") if name in states
        }
        above = None
        if "parent" in states:
            above = gain(scores, probe.of(states["parent"].part(self.parts.test)), self.y, self.topics)
        reading = Reading(
            probe=probe,
            child=own,
            untrained=self.figure(self.fitted(states["untrained"], lie, family, pool), states["untrained"], lie),
            control=self.control(child, family, pool),
            parent=on.get("parent"),
            twin=on.get("twin"),
            above_text=gain(scores, self.text, self.y, self.topics),
            above_parent=above,
            dev=float(auroc(probe.of(child.part(self.parts.dev)), lie[self.parts.dev]).value or 0.0),
        )
        return reading, scores
