"""Scores of a sweep, from the stored answers of every seed and the opened truths: no model is needed here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from superalign.generalization.contrasts import contrasts
from superalign.generalization.graded import Graded, accuracy
from superalign.generalization.material import score
from superalign.generalization.methods import all_methods
from superalign.generalization.scores import figures
from superalign.pipeline.desk import Desk
from superalign.pipeline.generalize_answers import unpacked
from superalign.pipeline.generalize_beyond import score_hard, score_truth
from superalign.pipeline.generalize_config import GeneralizeConfig
from superalign.pipeline.generalize_pages import PLAIN
from superalign.pipeline.generalize_plan import BESIDE, PRIMARY, Case, by_body, cases_of, overseen_cases, scaling_cases
from superalign.pipeline.generalize_sheet import Done, Sheet, sheet_of
from superalign.stats.interval import Interval, refused


class Answered(NamedTuple):
    """Stored answers of one case."""

    logits: dict[str, np.ndarray]
    """Method → (seeds, exam) log-odds, of those that could be played in every seed."""
    untrained: dict[str, np.ndarray]
    """Method → (some seeds, exam)."""
    stored: dict[str, Mapping[str, Any]]
    """Method → what its stage stored."""
    failed: dict[str, str]
    """Method → why it has no number."""


def answered(case: Case, done: Done) -> Answered:
    """What a case's stages stored, read; a method that failed in a seed has no number, and the reason stands for it."""
    out = Answered({}, {}, {}, {})
    for name in case.methods:
        kept = done(case.answers(name))
        if "why" in kept:
            out.failed[name] = f"not played: it {kept['why']}"
            continue
        seeds = kept["seeds"]
        bad = [f"seed {seed}: {row['failed']}" for seed, row in seeds.items() if "failed" in row]
        if bad:
            out.failed[name] = f"failed in {len(bad)} of {len(seeds)} seeds; {bad[0]}"
            continue
        out.stored[name] = kept
        out.logits[name] = np.stack([unpacked(row["logits"]) for row in seeds.values()])
        control = [row["untrained"] for row in seeds.values() if "untrained" in row]
        if control and all("logits" in row for row in control):
            out.untrained[name] = np.stack([unpacked(row["logits"]) for row in control])
    return out


def scored(desk: Desk, config: GeneralizeConfig, methods: tuple[str, ...], done: Done) -> dict[str, Callable[[], None]]:
    """Part of the sweep → what scores it."""
    known = all_methods()
    frozen, changing = by_body({name: known[name] for name in methods})
    work = {
        "methods": lambda: score_cases(desk, config, cases_of(config, frozen), done),
        "bodies": lambda: score_bodies(desk, config, cases_of(config, changing), done),
        "oversight": lambda: score_cases(desk, config, overseen_cases(config), done),
        "scaling": lambda: score_scaling(desk, config, done),
        "easy-to-hard": lambda: score_hard(desk, config, done),
        "truth": lambda: score_truth(desk, config, done),
    }
    return {part: work[part] for part in config.parts if part in work}


def score_bodies(desk: Desk, config: GeneralizeConfig, cases: Sequence[Case], done: Done) -> None:
    """Every figure of methods that change the network, in their few seeds, beside zero-shot and naive in the same."""
    for case in cases:
        sheet, found, seeds = sheet_of(desk, config, case.asked, done), answered(case, done), desk.sizes.body_seeds
        bounds = {"seeds": dict(islice(done(case.bounds)["seeds"].items(), seeds))}
        for name in case.methods:
            _score_method(sheet, case, name, found, bounds)
        beside = answered(case._replace(methods=BESIDE if "methods" in config.parts else ()), done)
        logits = {name: rows[:seeds] for name, rows in beside.logits.items()} | found.logits
        both = found._replace(logits=logits, stored=beside.stored | found.stored)
        _score_contrasts(sheet, case, both, of=found.logits)


def score_cases(desk: Desk, config: GeneralizeConfig, cases: Sequence[Case], done: Done) -> None:
    """Every figure of every method in every case, and what is told apart."""
    for case in cases:
        sheet = sheet_of(desk, config, case.asked, done)
        bounds, found = done(case.bounds), answered(case, done)
        floor, ceiling = (_rows(bounds, part) for part in ("floor", "ceiling"))
        shared = desk.ws.store.put_json(bounds)
        where = {"setting": case.setting.name, "supervision": case.supervision}
        for name, logits in (("weak floor", floor), ("ceiling", ceiling)):
            interval = accuracy(logits, sheet.truth, sheet.clusters)
            put = {"method": name, "kind": "bound", "figure": "accuracy", "seeds": len(logits)}
            sheet.put(
                _name(case, name, "accuracy"), f"{_told(case)}: {name}, accuracy", interval, (shared,), **where, **put
            )
        if np.isnan(floor).any():
            raise ValueError(f"{case.supervision} says nothing of some of the exam: it bounds no gap")
        for name in case.methods:
            _score_method(sheet, case, name, found, bounds)
        _score_contrasts(sheet, case, found, of=found.logits)


def _score_method(sheet: Sheet, case: Case, name: str, found: Answered, bounds: Mapping[str, Any]) -> None:
    """All figures of one method; of one that failed, its accuracy is refused and says why."""
    method, floor, ceiling = all_methods()[name], _rows(bounds, "floor"), _rows(bounds, "ceiling")
    shared = sheet.desk.ws.store.put_json(bounds)
    curve = {int(k): score(_rows(bounds, "taught", k), sheet.truth) for k in _counts(bounds)}
    tags = {
        "setting": case.setting.name,
        "supervision": case.supervision,
        "method": name,
        "kind": method.kind,
        "source": method.source,
        "truths": method.truths,
        "seeds": len(floor),
    }
    if name in found.failed:
        no = refused(found.failed[name], n=len(sheet.truth), clusters=len(set(sheet.clusters.tolist())), method="")
        sheet.put(_name(case, name, "accuracy"), f"{_told(case)}: {name}", no, (shared,), figure="accuracy", **tags)
        return
    stored = sheet.desk.ws.store.put_json(found.stored[name])
    graded = Graded(
        truth=sheet.truth, clusters=sheet.clusters, floor=floor, ceiling=ceiling, student=found.logits[name]
    )
    measures = figures(
        graded,
        curve=curve if len(curve) > 1 else None,
        untrained=found.untrained.get(name),
        seed=sheet.desk.config.seed,
        draws=sheet.desk.sizes.draws,
    )
    for figure, interval in measures.items():
        title = f"{_told(case)}: {name}, {figure}"
        sheet.put(_name(case, name, figure), title, interval, (shared, stored), figure=figure, **tags)
    spent = [row["seconds"] for row in found.stored[name]["seeds"].values()]
    seconds = Interval(
        value=float(np.mean(spent)), low=None, high=None, level=0.95, n=len(spent), clusters=len(spent), method="mean"
    )
    sheet.put(
        _name(case, name, "seconds"), f"{_told(case)}: {name}, seconds", seconds, (stored,), figure="seconds", **tags
    )


def _score_contrasts(sheet: Sheet, case: Case, found: Answered, *, of: Iterable[str]) -> None:
    """Each of these methods beside zero-shot and naive."""
    right = {name: score(logits, sheet.truth) for name, logits in found.logits.items()}
    asked = set(of)
    primary = [pair for pair in PRIMARY if set(pair) <= asked]
    seen = {frozenset(pair) for pair in primary}
    further = []
    for pair in ((name, other) for name in of for other in BESIDE if name != other and other in right):
        if frozenset(pair) not in seen:
            seen.add(frozenset(pair))
            further.append(pair)
    for each in contrasts(right, sheet.clusters, primary, exploratory=further):
        inputs = tuple(sheet.desk.ws.store.put_json(found.stored[name]) for name in (each.method, each.other))
        sheet.put(
            _name(case, f"{each.method} - {each.other}", "accuracy"),
            f"{_told(case)}: {each.method} minus {each.other}, accuracy",
            each.difference,
            inputs,
            figure="contrast",
            setting=case.setting.name,
            supervision=case.supervision,
            method=each.method,
            other=each.other,
            kind=all_methods()[each.method].kind,
            family=each.family,
            p=each.p,
            corrected=each.corrected,
            same=each.same,
            verdict=each.verdict,
        )


def score_scaling(desk: Desk, config: GeneralizeConfig, done: Done) -> None:
    """PGR and accuracies over pairs of sizes."""
    sheet = sheet_of(desk, config, PLAIN, done)
    for case in scaling_cases(config):
        _score_pair(sheet, config, case, done(case.bounds), answered(case, done))


def _score_pair(sheet: Sheet, config: GeneralizeConfig, case: Case, bounds: Mapping[str, Any], found: Answered) -> None:
    """One pair of sizes: accuracies of floor, ceiling and students, and PGR of students."""
    sizes = {"weak": config.weak, "between": config.between, "strong": config.strong, "larger": config.larger}
    floor, ceiling = (_rows(bounds, part) for part in ("floor", "ceiling"))
    store, weak, strong = sheet.desk.ws.store, case.setting.view.reading, case.setting.strong
    shared = store.put_json(bounds)
    for name, logits in {"weak floor": floor, "ceiling": ceiling, **found.logits}.items():
        tags = {"weak": sizes[weak], "strong": sizes[strong], "seeds": len(floor), "method": name}
        title, key = f"{sizes[weak]} to {sizes[strong]}: {name}", f"scaling.{weak}.{strong}.{name}"
        inputs = (shared, *([store.put_json(found.stored[name])] if name in found.stored else []))
        interval = accuracy(logits, sheet.truth, sheet.clusters)
        sheet.put(f"{key}.accuracy", f"{title}, accuracy", interval, inputs, figure="scaling accuracy", **tags)
        if name in found.stored:
            graded = Graded(truth=sheet.truth, clusters=sheet.clusters, floor=floor, ceiling=ceiling, student=logits)
            interval = sheet.gap(graded)
            sheet.put(f"{key}.pgr", f"{title}, PGR", interval, inputs, figure="scaling", **tags)


def _rows(bounds: Mapping[str, Any], part: str, k: str = "") -> np.ndarray:
    """(seeds, exam) log-odds of what a case's bounds hold."""
    return np.stack([unpacked(row[part][k] if k else row[part]) for row in bounds["seeds"].values()])


def _counts(bounds: Mapping[str, Any]) -> list[str]:
    """Numbers of true labels that every seed has answers of."""
    each = [set(row["taught"]) for row in bounds["seeds"].values()]
    return sorted(set.intersection(*each), key=int)


def _name(case: Case, method: str, figure: str) -> str:
    return f"{case.setting.name}.{case.supervision}.{method}.{figure}"


def _told(case: Case) -> str:
    return f"{case.setting.name}, {case.supervision}"
