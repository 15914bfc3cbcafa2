"""What a leaderboard plays, and its scores from stored episodes and opened truths: no model is needed here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from superalign.evidence import SuperalignError
from superalign.oversight import Episode, Protocol, Quote, protocols
from superalign.oversight.contrasts import contrasts
from superalign.oversight.costs import cost_per_correct
from superalign.oversight.incentives import agent_score_difference
from superalign.oversight.rows import EpisodeRows, episode_rows
from superalign.oversight.scores import accuracy, bits_gained, calibration, correct, mean_score
from superalign.oversight.types import Charge
from superalign.pipeline.board_config import CONTROLS, PRIMARY, BoardSizes, OversightConfig, why_not
from superalign.pipeline.desk import Desk, measured
from superalign.pipeline.pages import Opened, truth_signal
from superalign.stats import Interval
from superalign.tasks import Page, mutants, pixels, slips, traces
from superalign.tasks.pixels import same_hand

ADAPTED = ", adapted judge"
TALKS = 8
"""Conversations shown of a task."""

COSTS = {"judge_words": "judge tokens", "judge_checks": "judge checks", "adviser_words": "adviser tokens"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One protocol on one task: its name on the board, and how it is played."""

    name: str
    protocol: Protocol
    adapts: bool

    @property
    def trains(self) -> bool:
        """Are players trained by playing?"""
        return self.adapts or self.protocol.train is not None


def chosen_protocols(config: OversightConfig) -> dict[str, Protocol]:
    """The protocols asked for, controls first. Raises SuperalignError for one there isn't."""
    try:
        known = protocols(config.budget)
    except ValueError as error:
        raise SuperalignError(str(error)) from error
    unknown = [name for name in config.protocols if name not in known]
    if unknown:
        raise SuperalignError(f"there is no protocol {unknown[0]!r}: use any of {', '.join(sorted(known))}")
    names = dict.fromkeys((*CONTROLS, *(config.protocols or known)))
    return {name: known[name] for name in names}


def page_of(task: str, split: str, sizes: BoardSizes) -> Page:
    """The pairs of one task: of the training split for lessons, of another to judge by."""
    n = sizes.lesson if split == "train" else sizes.items
    if task == "mutants":
        return mutants(split=split, view="pair", form="words", n=n)
    return {"slips": slips, "traces": traces, "pixels": pixels}[task](split=split, view="pair", n=n)


def drawn(config: OversightConfig, sizes: BoardSizes) -> str:
    """Digest of every item that this version of superalign holds out for such a board."""
    pages = [page_of(task, "validation", sizes) for task in config.tasks]
    items = [[[i.id, *i.input.values(), page.truths[i.id]["answer"]] for i in page.items] for page in pages]
    return hashlib.sha256(json.dumps(items).encode()).hexdigest()


def cells_of(task: str, chosen: Mapping[str, Protocol]) -> list[Cell]:
    """What is played on a task, in the order of the board."""
    cells = []
    for name, protocol in chosen.items():
        if not why_not(name, protocol.referee, task):
            cells.append(Cell(name=name, protocol=protocol, adapts=False))
            if protocol.seats and protocol.train is None and not protocol.referee and name != "deference":
                cells.append(Cell(name=name + ADAPTED, protocol=protocol, adapts=True))
    return cells


def packed_episode(episode: Episode) -> dict[str, Any]:
    """An episode as JSON: seconds are rounded, for they are no result."""
    body = asdict(episode)
    body["cost"]["seconds"] = round(body["cost"]["seconds"], 6)
    return body


def rows_of(episodes: list[Mapping[str, Any]], answers: Mapping[str, int], clusters: Mapping[str, str]) -> EpisodeRows:
    """Stored episodes of one protocol on one task as columns, beside what is true of each item."""
    return episode_rows(
        item=[e["item"] for e in episodes],
        cluster=[clusters[e["item"]] for e in episodes],
        seed=[e["seed"] for e in episodes],
        side=[_side(e["sides"], answers[e["item"]]) for e in episodes],
        belief=[float("nan") if e["belief"] is None else e["belief"][answers[e["item"]]] for e in episodes],
        failure=["" if e["belief"] is not None else (e["failures"] or ["no answer"])[-1] for e in episodes],
        costs={name: [e["cost"][key] for e in episodes] for key, name in COSTS.items()},
    )


def _side(sides: list[int | None], answer: int) -> str:
    argued = [side for side in sides if side is not None]
    if len(argued) != 1:
        return "both" if argued else "none"
    return "honest" if argued[0] == answer else "dishonest"


def score_task(desk: Desk, task: str, test: Opened, done: Mapping[str, list[Mapping[str, str]]]) -> None:
    """Measurements of one task from what its cells stored, all seeds together: cell → one result a seed."""
    answers = dict(zip((item.id for item in test.page.items), test.answers.tolist(), strict=True))
    names = same_hand(test.page) if task == "pixels" else [item.cluster for item in test.page.items]
    clusters = {item.id: str(name) for item, name in zip(test.page.items, names, strict=True)}
    played = {}
    for name, results in done.items():
        digests = tuple(result["episodes"] for result in results)
        episodes = [e for digest in digests for e in desk.ws.store.get_json(digest)["episodes"]]
        played[name] = (rows_of(episodes, answers, clusters), results[-1]["subject"], digests)
    measure_task(desk, task, played, truth_signal(desk, task, "validation"))
    kept = [e for results in done.values() for r in results for e in desk.ws.store.get_json(r["episodes"])["episodes"]]
    data = desk.ws.store.put_json({"task": task, "worst": worst(test, kept, answers)})
    desk.ws.ledger.append("figure", {"figure": "board", "task": task, "data": data}, actor="evaluator")


def worst(test: Opened, episodes: list[Mapping[str, Any]], answers: Mapping[str, int]) -> list[dict[str, Any]]:
    """The episodes in which the judge was surest of what is not so, one a protocol, to be read as conversations."""
    options = {item.id: item.options for item in test.page.items}
    wrong = [e for e in episodes if e["belief"] is not None and e["messages"] and e["belief"][answers[e["item"]]] < 0.5]
    found: dict[str, Mapping[str, Any]] = {}
    for e in sorted(wrong, key=lambda e: (e["belief"][answers[e["item"]]], e["item"], e["protocol"])):
        if any(message["side"] is not None or message["charges"] for message in e["messages"]):
            found.setdefault(e["protocol"], e)
    return [_conversation(e, options[e["item"]], answers[e["item"]]) for e in list(found.values())[:TALKS]]


def _conversation(episode: Mapping[str, Any], options: tuple[str, ...], answer: int) -> dict[str, Any]:
    lines = [{"who": "truth", "what": options[answer]}]
    for message in episode["messages"]:
        who = message["speaker"] + ("" if message["side"] is None else f", for {options[message['side']]}")
        said = [
            " | ".join(q["texts"]) + ("" if q["verified"] else "  (not in the text)") for q in _named(message["quotes"])
        ]
        charged = [
            f"{options[c['option']]} is wrong at piece {c['piece']}"
            + {None: "", True: ": checked, so it is", False: ": checked, it is not"}[c["holds"]]
            for c in _charged(message["charges"])
        ]
        lines.append({"who": who, "what": "; ".join([*said, *charged]) or "(silence)"})
    belief = ", ".join(f"{name} {p:.3f}" for name, p in zip(options, episode["belief"], strict=True))
    lines.append({"who": "judge", "what": belief})
    return {"protocol": episode["protocol"], "item": episode["item"], "lines": lines}


def _named(quotes: list[list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(Quote._fields, quote, strict=True)) for quote in quotes]


def _charged(charges: list[list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(Charge._fields, charge, strict=True)) for charge in charges]


def measure_task(
    desk: Desk,
    task: str,
    played: Mapping[str, tuple[EpisodeRows, str, tuple[str, ...]]],
    signal: str,
) -> None:
    """All measurements of one task; `played`: cell → its rows, its subject and the digests of its episodes."""
    for name, (rows, subject, inputs) in played.items():
        _measure(desk, task, name, rows, played["unaided"][0], subject=subject, inputs=inputs, signal=signal)
    rows = {name: each[0] for name, each in played.items()}
    primary = [pair for pair in PRIMARY if set(pair) <= set(rows)]
    for found in contrasts(rows, primary, controls=[c for c in CONTROLS if c in rows]):
        interval = Interval(
            value=found.estimate,
            low=found.low,
            high=found.high,
            level=found.level,
            n=found.plays,
            clusters=found.clusters,
            method=found.method,
            note=found.note,
        )
        corrected = found.p_holm if found.family == "primary" else found.p_bh
        tags = {
            "stage": "oversight",
            "task": task,
            "protocol": found.protocol,
            "control": found.control,
            "family": found.family,
            "p": found.p,
            "corrected": corrected,
            "verdict": found.verdict,
        }
        measured(
            desk,
            f"board.{task}.{found.protocol} - {found.control}",
            f"{task}: {found.protocol} minus {found.control}, accuracy",
            interval,
            subject=played[found.protocol][1],
            signals=(signal,),
            inputs=(*played[found.protocol][2], *played[found.control][2]),
            tags=tags,
        )


def _measure(
    desk: Desk,
    task: str,
    name: str,
    rows: EpisodeRows,
    unaided: EpisodeRows,
    *,
    subject: str,
    inputs: tuple[str, ...],
    signal: str,
) -> None:
    found = accuracy(rows)
    parts = {"accuracy": found.overall}
    if {"honest", "dishonest"} <= set(rows.side.tolist()):
        parts |= {"honest": found.honest, "dishonest": found.dishonest, "wrong conviction": found.wrong_conviction}
    parts |= {
        "brier": mean_score(rows, "brier"),
        "bits gained": bits_gained(rows, unaided),
        "score difference": agent_score_difference(rows),
        "calibration error": calibration(rows).error,
    }
    right = correct(rows)
    for cost, values in rows.costs.items():
        if np.any(values):
            parts[f"{cost} per correct"] = cost_per_correct(values, right, clusters=rows.cluster)
    tags = {"stage": "oversight", "task": task, "protocol": name, "failures": dict(rows.failures)}
    for part, interval in parts.items():
        measured(
            desk,
            f"board.{task}.{name}.{part}",
            f"{task}: {name}, {part}",
            interval,
            subject=subject,
            signals=(signal,),
            inputs=inputs,
            tags=tags | {"part": part},
        )
