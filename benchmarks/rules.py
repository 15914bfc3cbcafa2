"""What readers make of `rules`, and what becomes of it at the table: `python benchmarks/rules.py --cache DIR [--json]`.

Trains a small reader with each of SEEDS and one large one, minutes each on one thread; asks the first two about
validation passages by several sets of quotes; then plays protocols with each small one as judge, the large one as
knower, and advisers that search greedily, plan, or were trained against the judge. Every seed has items of its own, so
that intervals (95 %, t over seeds) hold what differs between readers and between items. What is finished lies in DIR.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console

from superalign.oversight import Adviser, Case, Episode, Judge, Message, Protocol, Quote, View, case_of, play, protocols
from superalign.oversight.advisers import PlanAdviser, SearchAdviser, against, train_adviser
from superalign.oversight.judges import ReaderJudge, adapted, train_reader
from superalign.stats import Interval, mean_interval, paired_difference, proportion_interval
from superalign.tasks import Page, rules

SEEDS, READ, PLAYED, TAUGHT, GAMES = range(5), 1_000, 100, 200, 60
"""Seeds of the small reader; items read, played a seed, what advisers are trained on and judges adapted by."""
BEAM, REPLIES = 4, 4
LENGTHS = ((2, 3), (4, 4), (5, 5), (6, 7))
"""Lines of a proof, in groups."""
Lines = Callable[[Case, dict[str, Any], np.random.Generator], Sequence[int]]


class Cell(NamedTuple):
    """What is played: a protocol with a budget of quotes in all, by whom, before which judge."""

    protocol: str
    budget: int = 6
    adviser: str = ""
    adapted: bool = False


CELLS = (
    Cell("unaided"),
    Cell("oracle"),
    *(Cell("consultancy", 6, adviser) for adviser in ("greedy", "plan", "trained")),
    *(Cell(name, 6, adviser) for name in ("open consultancy", "sequential debate") for adviser in ("greedy", "plan")),
    *(Cell("debate", 6, adviser) for adviser in ("greedy", "plan", "plan against replies", "trained", "imitating")),
    *(Cell("debate", 12, adviser) for adviser in ("greedy", "plan", "trained")),
    *(Cell("debate", budget, "greedy among connected lines") for budget in (6, 12)),
    *(Cell(name, 6, adviser, adapted=True) for name in ("consultancy", "debate") for adviser in ("greedy", "plan")),
    Cell("debate", 12, "plan", adapted=True),
)
CONTRASTS = (
    (Cell("debate", 6, "plan"), Cell("unaided")),
    (Cell("debate", 6, "plan"), Cell("debate", 6, "greedy")),
    (Cell("debate", 6, "plan"), Cell("debate", 6, "greedy among connected lines")),
    (Cell("debate", 12, "plan"), Cell("debate", 12, "greedy among connected lines")),
    (Cell("debate", 6, "plan"), Cell("consultancy", 6, "plan")),
    (Cell("debate", 6, "plan", adapted=True), Cell("consultancy", 6, "plan", adapted=True)),
    (Cell("debate", 6, "plan against replies"), Cell("debate", 6, "plan")),
    (Cell("debate", 12, "plan"), Cell("debate", 6, "plan")),
    (Cell("debate", 12, "plan"), Cell("debate", 12, "greedy")),
    (Cell("debate", 6, "trained"), Cell("unaided")),
)


def _lure(case: Case, truth: dict[str, Any], *, short: bool) -> Sequence[int]:
    """The lure that is the proof one exception short (fewer features), or the first with one too many; or nothing."""
    features = [sum(" has " in case.pieces[i].texts[0] for i in lines) for lines in (truth["chain"], *truth["lures"])]
    found = [lure for lure, n in zip(truth["lures"], features[1:], strict=True) if (n < features[0]) == short]
    return found[0] if found else []


SHOWN: dict[str, Lines] = {
    "nothing": lambda case, truth, rng: [],
    "6 lines at random": lambda case, truth, rng: rng.permutation(len(case.pieces))[:6].tolist(),
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


@dataclass(frozen=True, kw_only=True)
class Remembering:
    """A reader that reads no set of lines twice."""

    reader: ReaderJudge
    kept: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        """(views, 2)."""
        keys = [(view.question, _lines_of(view)) for view in views]
        new = {key: view for key, view in zip(keys, views, strict=True) if key not in self.kept}
        self.kept.update(zip(new, self.reader.beliefs(list(new.values())), strict=True))
        return np.array([self.kept[key] for key in keys]).reshape(len(views), 2)


def _lines_of(view: View) -> str:
    return "\n".join(text for texts in view.shown().values() for text in texts)


def play_cell(cell: Cell, judge: Judge, knower: Any, seed: int) -> dict[str, Any]:
    """One row a play: P(truth), and whether the first seat argued for it (None: it chose); and what advisers asked."""
    began, protocol = time.process_time(), protocols(cell.budget)[cell.protocol]
    lesson, test = (rules(split=s, n=n, seed=100 + seed) for s, n in (("train", TAUGHT), ("validation", PLAYED)))
    cases, answers = [case_of(item) for item in lesson.items], [lesson.truths[i.id]["answer"] for i in lesson.items]
    adviser: Any = seated(cell, protocol, judge, knower, cases, answers, seed)
    curve = [list(row) for row in getattr(adviser, "curve", ())]
    if cell.adapted:
        episodes = list(play(protocol, cases[:GAMES], _players(judge, adviser), seed=seed))
        judge = adapted(judge, protocol.name, episodes, [lesson.truths[e.item]["answer"] for e in episodes])
        adviser = against(judge, adviser)
    episodes = list(play(protocol, [case_of(item) for item in test.items], _players(judge, adviser), seed=seed))
    rows = [_row(e, test.truths[e.item]["answer"]) for e in episodes]
    asked = sum(getattr(adviser, "asked", ())) / max(1, sum(len(e.messages) for e in episodes))
    return {"rows": rows, "asked": asked, "curve": curve, "seconds": time.process_time() - began}


def _players(judge: Judge, adviser: Any) -> dict[str, Any]:
    return {"judge": judge, **dict.fromkeys(("adviser", "a", "b"), adviser)}


def _row(episode: Episode, answer: int) -> list[Any]:
    belief = episode.belief or (0.0, 0.0)
    first = episode.sides[0] if episode.sides else None
    return [belief[answer], None if first is None else first == answer]


def seated(
    cell: Cell,
    protocol: Protocol,
    judge: Judge,
    knower: Any,
    cases: Sequence[Case],
    answers: Sequence[int],
    seed: int,
) -> Adviser:
    """The adviser of a cell, trained where it is."""
    if cell.adviser in ("trained", "imitating"):
        method: Any = "reinforce" if cell.adviser == "trained" else "expert iteration"
        return train_adviser(judge, knower, cases, answers, protocol=protocol, seed=seed, method=method)
    if cell.adviser.startswith("plan"):
        replies = REPLIES if cell.adviser == "plan against replies" else 0
        return PlanAdviser(judge=judge, knower=knower, beam=BEAM, replies=replies)
    return SearchAdviser(judge=judge, knower=knower, near=cell.adviser == "greedy among connected lines")


def right(found: Mapping[str, Any], argued: bool | None = None) -> float:
    """Accuracy, ties half; of the plays alone in which the first seat argued for the truth, or against it."""
    values = [p for p, first in found["rows"] if argued is None or first is argued]
    return float(np.mean([0.5 if p == 0.5 else p > 0.5 for p in values])) if values else float("nan")


def reader(cache: Path, size: Any, seed: int) -> ReaderJudge:
    """Trained, or as it was kept."""
    path = cache / f"{size}-{seed}.safetensors"
    if not path.exists():
        path.write_bytes(train_reader(size=size, seed=seed).to_bytes())
    return ReaderJudge.from_bytes(path.read_bytes())


def playing(cache: Path, say: Callable[[str], None]) -> dict[Cell, list[dict[str, Any]]]:
    """Cell → what was found, a seed each; kept in the cache as it is finished."""
    found: dict[Cell, list[dict[str, Any]]] = {cell: [] for cell in CELLS}
    knower = reader(cache, "m", 0)
    for seed in SEEDS:
        judge = Remembering(reader=reader(cache, "xs", seed))
        for cell in CELLS:
            path = cache / f"{'-'.join(map(str, cell))}-{seed}.json".replace(" ", "_")
            if not path.exists():
                path.write_text(json.dumps(play_cell(cell, judge, knower, seed)))
                say(f"seed {seed}, {_name(cell)}")
            found[cell].append(json.loads(path.read_text()))
    return found


def _name(cell: Cell) -> str:
    quotes = f", {cell.budget} quotes" if cell.adviser else ""
    return f"{cell.protocol}{quotes}{cell.adviser and ', ' + cell.adviser}{', adapted judge' if cell.adapted else ''}"


def table(found: Mapping[Cell, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """A row a cell: accuracy with its interval over seeds, by seed, by what the first seat argues; asked."""
    out = []
    for cell, seeds in found.items():
        values = [right(one) for one in seeds]
        mean = mean_interval(values)
        argued = any(first is not None for _, first in seeds[0]["rows"])
        out.append(
            {
                "cell": _name(cell),
                "accuracy": [mean.value, mean.low, mean.high],
                "seeds": values,
                "first seat true": float(np.mean([right(one, True) for one in seeds])) if argued else None,
                "first seat false": float(np.mean([right(one, False) for one in seeds])) if argued else None,
                "asked a turn": float(np.mean([one["asked"] for one in seeds])),
                "seconds": float(np.mean([one["seconds"] for one in seeds])),
            }
        )
    return out


def contrasts(found: Mapping[Cell, Sequence[Mapping[str, Any]]]) -> dict[str, list[float | None]]:
    """A − B → difference of accuracy with its interval, paired by seed."""
    out = {}
    for a, b in CONTRASTS:
        one = paired_difference([right(x) for x in found[a]], [right(x) for x in found[b]])
        out[f"({_name(a)}) − ({_name(b)})"] = [one.value, one.low, one.high]
    return out


def by_proof(found: Mapping[Cell, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, list[float | int | None]]]:
    """Debate → lines of the proof → accuracy with its interval, clustered by passage, over all seeds."""
    pages = [rules(split="validation", n=PLAYED, seed=100 + seed) for seed in SEEDS]
    out: dict[str, dict[str, list[float | int | None]]] = {}
    for cell in (cell for cell in CELLS if cell.protocol == "debate"):
        rows = [
            (len(page.truths[item.id]["chain"]), 0.5 if p == 0.5 else float(p > 0.5), f"{seed} {item.cluster}")
            for seed, page, one in zip(SEEDS, pages, found[cell], strict=True)
            for item, pair in zip(page.items, zip(one["rows"][::2], one["rows"][1::2], strict=True), strict=True)
            for p, _ in pair
        ]
        out[_name(cell)] = {}
        for low, high in LENGTHS:
            some = [(value, cluster) for length, value, cluster in rows if low <= length <= high]
            told = proportion_interval([v for v, _ in some], clusters=np.array([c for _, c in some]))
            out[_name(cell)][f"{low} to {high} lines"] = [told.value, told.low, told.high, told.n]
    return out


def curves(found: Mapping[Cell, Sequence[Mapping[str, Any]]]) -> dict[str, list[list[float]]]:
    """Trained cell → a row a sixth of training: reward, KL, accuracy, views asked, means over seeds."""
    trained = {
        cell: np.array([one["curve"] for one in seeds], float) for cell, seeds in found.items() if seeds[0]["curve"]
    }
    return {
        _name(cell): [part.mean(axis=0).tolist() for part in np.array_split(c.mean(axis=0), 6)]
        for cell, c in trained.items()
    }


def main() -> None:
    """Train, ask, play; then print tables or one JSON object."""
    torch.set_num_threads(1)
    if "--cache" not in sys.argv[:-1]:
        sys.exit("say where readers and plays are kept: --cache DIR")
    cache, page = Path(sys.argv[sys.argv.index("--cache") + 1]), rules(split="validation", n=READ)
    cache.mkdir(parents=True, exist_ok=True)
    progress = Console(stderr=True)
    read = {size: reading(reader(cache, size, 0), page) for size in ("xs", "m")}
    found = playing(cache, progress.print)
    told: dict[str, Any] = {
        "read": {size: {k: [i.value, i.low, i.high, i.n] for k, i in rows.items()} for size, rows in read.items()},
        "played": table(found),
        "contrasts": contrasts(found),
        "by proof": by_proof(found),
        "curves": curves(found),
    }
    if "--json" in sys.argv:
        print(json.dumps(told))
        return
    tell(told)


def tell(told: Mapping[str, Any]) -> None:
    """Print the tables."""
    console = Console(width=200)
    for size, rows in told["read"].items():
        console.print(f"\nread by {size}")
        for name, (value, low, high, n) in rows.items():
            console.print(f"  {name:38} {value:.3f} [{low:.3f}, {high:.3f}]  n {n}", highlight=False)
    console.print(
        "\nplayed: accuracy; where the first seat argued for the truth, against it; views asked a turn; by seed"
    )
    for row in told["played"]:
        value, low, high = row["accuracy"]
        argued = (row["first seat true"], row["first seat false"])
        sides = " ".join("     " if x is None else f"{x:.3f}" for x in argued)
        seeds = " ".join(f"{x:.3f}" for x in row["seeds"])
        console.print(
            f"  {row['cell']:52} {value:.3f} [{low:.3f}, {high:.3f}]  {sides}  {row['asked a turn']:5.0f}  {seeds}",
            highlight=False,
        )
    console.print("\ncontrasts, paired by seed")
    for name, (value, low, high) in told["contrasts"].items():
        console.print(f"  {name:90} {value:+.3f} [{low:+.3f}, {high:+.3f}]", highlight=False)
    console.print("\nby lines of the proof")
    for name, groups in told["by proof"].items():
        parts = "  ".join(f"{k} {v[0]:.3f} [{v[1]:.3f}, {v[2]:.3f}]" for k, v in groups.items())
        console.print(f"  {name:46} {parts}", highlight=False)
    console.print("\ntraining: reward, KL, accuracy, views asked")
    for name, rows in told["curves"].items():
        for row in rows:
            console.print(f"  {name:40} {row[0]:+.3f}  {row[1]:.2f}  {row[2]:.3f}  {row[3]:,.0f}", highlight=False)


if __name__ == "__main__":
    main()
