"""What readers make of `rules`, and what becomes of it at the table: `python benchmarks/rules.py [--json]`.

Trains both readers, minutes on one thread; asks them about validation passages by several sets of quotes, then plays
protocols with the small one as judge, the large one as knower, and advisers that search against the judge. Intervals
are 95 %, clustered by passage.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from rich.console import Console

from superalign.oversight import Case, Message, Quote, View, case_of, play, protocols
from superalign.oversight.advisers import SearchAdviser
from superalign.oversight.judges import ReaderJudge, train_reader
from superalign.stats import Interval, proportion_interval
from superalign.tasks import Page, rules

READ, PLAYED, QUOTES = 1_000, 200, 6
NAMES = ("unaided", "oracle", "deference", "consultancy", "open consultancy", "debate", "sequential debate")
Lines = Callable[[Case, dict[str, Any], np.random.Generator], Sequence[int]]


def _lure(case: Case, truth: dict[str, Any], *, short: bool) -> Sequence[int]:
    """The lure that is the proof one exception short (fewer features), or the first with one too many; or nothing."""
    features = [sum(" has " in case.pieces[i].texts[0] for i in lines) for lines in (truth["chain"], *truth["lures"])]
    found = [lure for lure, n in zip(truth["lures"], features[1:], strict=True) if (n < features[0]) == short]
    return found[0] if found else []


SHOWN: dict[str, Lines] = {
    "nothing": lambda case, truth, rng: [],
    f"{QUOTES} lines at random": lambda case, truth, rng: rng.permutation(len(case.pieces))[:QUOTES].tolist(),
    "the whole proof": lambda case, truth, rng: truth["chain"],
    "the proof one exception short": lambda case, truth, rng: _lure(case, truth, short=True),
    "an exception too many": lambda case, truth, rng: _lure(case, truth, short=False),
    "the proof and all lures": lambda case, truth, rng: [
        *truth["chain"],
        *(i for lure in truth["lures"] for i in lure),
    ],
}


def view_of(case: Case, lines: Sequence[int]) -> View:
    """A view of some lines of a passage."""
    quotes = tuple(Quote(i, case.pieces[i].texts, verified=True) for i in sorted(set(lines)))
    said = (Message(speaker="table", quotes=quotes),)
    return View(task=case.task, question=case.question, options=case.options, messages=said)


def reading(judge: ReaderJudge, page: Page) -> dict[str, Interval]:
    """What is shown → accuracy; items that have no such lines are left out."""
    rng, out = np.random.default_rng(0), {}
    for name, chosen in SHOWN.items():
        views, answers, clusters = [], [], []
        for item in page.items:
            case, truth = case_of(item), dict(page.truths[item.id])
            lines = chosen(case, truth, rng)
            if lines or name == "nothing":
                views.append(view_of(case, lines))
                answers.append(truth["answer"])
                clusters.append(item.cluster)
        out[name] = _accuracy(judge.beliefs(views), answers, clusters)
    return out


def _accuracy(beliefs: np.ndarray, answers: Sequence[int], clusters: Sequence[str]) -> Interval:
    own = beliefs[np.arange(len(answers)), answers]
    return proportion_interval(np.where(own == 0.5, 0.5, own > 0.5), clusters=np.array(clusters))


def playing(judge: ReaderJudge, knower: ReaderJudge, page: Page) -> dict[str, Interval]:
    """Protocol → accuracy, either side or order half."""
    cases = [case_of(item) for item in page.items]
    search = SearchAdviser(judge=judge, knower=knower)
    players = {"judge": judge, **dict.fromkeys(("adviser", "a", "b"), search)}
    known, out = protocols(QUOTES), {}
    for name in NAMES:
        episodes = list(play(known[name], cases, players))
        beliefs = np.array([e.belief or (0.0, 0.0) for e in episodes])
        answers = [page.truths[e.item]["answer"] for e in episodes]
        out[name] = _accuracy(beliefs, answers, [e.cluster for e in episodes])
    return out


def main() -> None:
    """Train, ask, play; then print tables or one JSON object."""
    torch.set_num_threads(1)
    console, page = Console(), rules(split="validation", n=READ)
    readers, seconds = {}, {}
    for size in ("xs", "m"):
        began = time.process_time()
        readers[size], seconds[size] = train_reader(size=size), time.process_time() - began  # type: ignore[arg-type]
    tables = {f"read by {size}": reading(judge, page) for size, judge in readers.items()}
    tables["played"] = playing(readers["xs"], readers["m"], rules(split="validation", n=PLAYED))
    if "--json" in sys.argv:
        rows = {t: {k: [i.value, i.low, i.high, i.n] for k, i in found.items()} for t, found in tables.items()}
        print(json.dumps({"seconds": seconds, **rows}))
        return
    for size, judge in readers.items():
        console.print(f"{judge.name}: {judge.parameters:,} parameters, {seconds[size]:.0f} s of CPU")
    for title, found in tables.items():
        console.print(f"\n{title}")
        for name, each in found.items():
            console.print(
                f"  {name:38} {each.value:.3f} [{each.low:.3f}, {each.high:.3f}]  n {each.n}", highlight=False
            )


if __name__ == "__main__":
    main()
