"""From kept sums to measurements: every score of explanations beside its controls. No model, no torch.

A score is Pearson's r of predicted and real activation over random held-out windows; intervals resample documents. The
controls are the unigram table, another unit's explanation (`shuffled`), and untrained networks of the same shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from superalign.interpretability.correlations import Scored, trained_over_fresh
from superalign.pipeline.desk import Desk, measured
from superalign.pipeline.interpret_families import CONTEXT, TRIGRAM, UNIGRAM
from superalign.pipeline.interpret_kept import (
    NEURONS,
    SHUFFLED,
    Explained,
    Explanations,
    explained_stage,
    of_family,
    pooled,
    simulations,
    untrained_mean,
)
from superalign.stats import Interval, binomial_interval
from superalign.stats.interval import refused

ADDED: Mapping[str, tuple[str, str]] = {
    "context": (UNIGRAM, "what the tokens before add to the unigram table, in mean r"),
    "bag": (TRIGRAM, "what a bag of the words before adds to the trigram table, in mean r"),
}
"""What context adds: name → the family it is added to, and a title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What every measurement of an interpretation is made with."""

    desk: Desk
    subject: str
    signal: str
    corpus: str
    """Digest of what was read."""

    def put(
        self,
        name: str,
        title: str,
        interval: Interval,
        inputs: Sequence[str] = (),
        *,
        unit: str = "fraction",
        **tags: Any,
    ) -> int:
        """One measurement."""
        return measured(
            self.desk,
            f"interpret.{name}",
            title,
            interval,
            subject=self.subject,
            signals=(self.signal,),
            inputs=(self.corpus, *inputs),
            tags={"stage": "interpret", "interpretation": self.desk.key("run")} | tags,
            unit=unit,
            white_box=True,
        )


def score_explanations(sheet: Sheet, found: Explanations) -> None:
    """Every measurement of explanations: of units, of sites, of all neurons, and of the networks against each other."""
    inputs = tuple(found.inputs.values())
    for explained in found.trained:
        _score_units(sheet, explained, found.inputs[explained_stage(explained.site)])
        _score_site(sheet, explained, found.inputs[explained_stage(explained.site)])
        _score_answers(sheet, explained, found.inputs[explained_stage(explained.site)])
    neurons = [each for each in found.trained if each.site.startswith(NEURONS)]
    score_pooled(sheet, neurons, "trained", inputs)
    for seed, sites in found.fresh.items():
        score_pooled(sheet, sites, f"untrained {seed}", inputs)
    score_gaps(sheet, neurons, found.fresh, inputs)
    score_findings(sheet, neurons, found.fresh, inputs)
    used = Interval(value=float(found.windows), low=None, high=None, n=found.windows, clusters=1, method="count")
    title = "Windows of held-out text that scores of explanations looked at, all scores together"
    sheet.put("windows", title, used, inputs, unit="windows", figure="windows", split="validation")
    unused = Interval(value=0.0, low=None, high=None, n=0, clusters=1, method="count")
    sheet.put(
        "windows.test",
        "The same, of text set apart for once",
        unused,
        inputs,
        unit="windows",
        figure="windows",
        split="test",
    )


def score_findings(
    sheet: Sheet, neurons: Sequence[Explained], fresh: Mapping[int, tuple[Explained, ...]], inputs: tuple[str, ...]
) -> None:
    """Share of neurons whose shown explanation beats unigram table, shuffled one, and rules on untrained networks."""
    beats = list[np.ndarray]()
    for site in neurons:
        shown = site.shown
        limits = [shown["unigram"], shown["shuffled"], np.full(len(site.best), untrained_mean(fresh, site.site))]
        with np.errstate(invalid="ignore"):
            beats.append(np.all([~(shown["r low"] <= limit) for limit in limits], axis=0) & np.isfinite(shown["r low"]))
    share = mean_without_ends(np.concatenate(beats).astype(float) if beats else np.zeros(0), 0)
    title = "Neurons whose explanation beats every control, by the lower end of its interval"
    sheet.put("findings", title, share, inputs, figure="findings")


def _score_units(sheet: Sheet, explained: Explained, kept: str) -> None:
    """One measurement a unit: of the explanation that is shown, the controls beside it in its tags."""
    shown, clusters = explained.shown, len(explained.kept["documents"])
    for unit, number in enumerate(explained.best):
        family, told = explained.families[number], {name: values[unit] for name, values in shown.items()}
        title = f"{explained.site}, {unit}: r of its explanation with its activation on held-out text"
        interval = interval_of(told["r"], told["r low"], told["r high"], clusters, explained.kept["tokens"][number])
        tags = {name: _told(told[name]) for name in ("gain", "unigram", "shuffled")}
        place = {"site": explained.site, "number": unit, "family": family}
        sheet.put(f"unit.{explained.site}.{unit}", title, interval, (kept,), figure="unit", **place, **tags)


def interval_of(value: float, low: float, high: float, clusters: int, n: int) -> Interval:
    """A score of one unit; NaN is a refusal."""
    method = "r over random windows, documents resampled"
    if not np.isfinite(value):
        why = "the unit is the same everywhere, or not a number there: nothing can be explained"
        return refused(why, n=int(n), clusters=clusters, method=method)
    ends = (float(low), float(high)) if np.isfinite(low) and np.isfinite(high) else (None, None)
    return Interval(value=float(value), low=ends[0], high=ends[1], n=int(n), clusters=clusters, method=method)


def _told(value: float) -> str:
    """A number in a tag, which holds no NaN."""
    return f"{value:.4f}" if np.isfinite(value) else "none"


def _score_site(sheet: Sheet, explained: Explained, kept: str) -> None:
    """Means over the units of one site, of every family and control."""
    site = explained.site
    for family, each in explained.scored.items():
        title = f"{site}: mean r of {family}, random held-out windows"
        sheet.put(f"r.{family}.{site}", title, each.mean(), (kept,), figure="r", family=family, site=site)
    for family, each in explained.top.items():
        title = f"{site}: mean r of {family}, top and random windows"
        sheet.put(f"top.{family}.{site}", title, each.mean(), (kept,), figure="top", family=family, site=site)
    for task in ("detection", "fuzzing", "all and only"):
        for number, family in enumerate(map(str, explained.kept.get("top families", ()))):
            values = explained.kept[f"judged {task}"][number, 0]
            there = np.isfinite(values)
            measure = "F1" if task == "all and only" else "AUROC"
            interval = mean_without_ends(values[there], len(explained.kept["documents"]))
            title = f"{site}: mean {measure} of {family}, {task}"
            sheet.put(f"{task}.{family}.{site}", title, interval, (kept,), figure=task, family=family, site=site)
    for name, score in simulations(explained):
        title = f"{site}, {name}: what the explanation does in the unit's place (1 − JSD ratio)"
        sheet.put(f"simulation.{site}.{name}", title, score, (kept,), figure="simulation", site=site, number=name)


def _score_answers(sheet: Sheet, explained: Explained, kept: str) -> None:
    """Of a language model's answers about a site: how many could not be used, and why."""
    if "described units" not in explained.kept:
        return
    counts = dict(zip(*(explained.kept[f"described garbage{more}"].tolist() for more in ("", " counts")), strict=True))
    asked, lost = len(explained.kept["described units"]), sum(counts.values())
    title = f"{explained.site}: answers of the explaining model that could not be read or checked"
    kinds = "; ".join(f"{kind}: {count}" for kind, count in counts.items()) or "none"
    interval = binomial_interval(lost, asked)
    told = {"site": explained.site, "kinds": kinds, "asked": str(asked)}
    sheet.put(f"garbage.{explained.site}", title, interval, (kept,), figure="garbage", **told)


def mean_without_ends(values: np.ndarray, clusters: int) -> Interval:
    """A mean over units that has no interval of its own: units share texts and weights."""
    if not len(values):
        return refused("no unit has a score", n=0, clusters=clusters, method="mean over units")
    return Interval(
        value=float(values.mean()),
        low=None,
        high=None,
        n=len(values),
        clusters=clusters,
        method="mean over units",
        note="mean over units, which share texts: their own intervals are kept, the mean has none",
    )


def score_pooled(sheet: Sheet, sites: Sequence[Explained], network: str, inputs: tuple[str, ...]) -> None:
    """Means over all neurons of one network."""
    for family in sites[0].families if sites else ():
        joined = of_family(sites, family)
        if joined is None:
            continue
        rows = [site.kept["bits"][site.families.index(family)] for site in sites if not family.endswith(SHUFFLED)]
        bits = f"{np.concatenate(rows).mean():.1f}" if rows else "none"
        title = f"{network} network: mean r of {family} over all neurons, random held-out windows"
        told = {"figure": "r", "family": family, "network": network, "bits": bits}
        sheet.put(f"r.{family}.{network}", title, joined.mean(), inputs, **told)
        more = pooled([site.gains.get(family) for site in sites])
        if more is not None:
            title = f"{network} network: mean gain of {family} over the unigram table"
            sheet.put(f"gain.{family}.{network}", title, more.mean(), inputs, **(told | {"figure": "gain"}))


def score_gaps(
    sheet: Sheet, neurons: Sequence[Explained], fresh: Mapping[int, tuple[Explained, ...]], inputs: tuple[str, ...]
) -> None:
    """The trained network against untrained ones, family by family; and what the words before add on either."""
    if not fresh or not neurons:
        return
    for family in next(iter(fresh.values()))[0].families:
        mine = of_family(neurons, family)
        others = [score for sites in fresh.values() if (score := of_family(sites, family))]
        if mine is not None:
            gap = trained_over_fresh(mine, others)
            title = f"mean r of {family}: the trained network over untrained ones"
            sheet.put(f"gap.{family}", title, gap, inputs, figure="gap", family=family)
    for what, (under, title) in ADDED.items():
        trained = _added(neurons, under)
        others = [score for sites in fresh.values() if (score := _added(sites, under))]
        if trained is None or len(others) < len(fresh):
            continue
        for network, each in zip(
            ("trained", *(f"untrained {seed}" for seed in fresh)), (trained, *others), strict=True
        ):
            told = {"figure": what, "network": network}
            sheet.put(f"{what}.{network}", f"{network} network: {title}", each.mean(), inputs, **told)
        gap = trained_over_fresh(trained, others)
        sheet.put(f"{what}.gap", f"{title}: the trained network over untrained ones", gap, inputs, figure=f"{what} gap")


def _added(sites: Sequence[Explained], under: str) -> Scored | None:
    """By how much all terms of context raise each unit's r over a family that has fewer; paired draws."""
    more, less = (of_family(sites, family) for family in (CONTEXT, under))
    if more is None or less is None:
        return None
    none = np.full(len(more.value), np.nan)
    return replace(
        more, name="context", value=more.value - less.value, draws=more.draws - less.draws, low=none, high=none
    )
