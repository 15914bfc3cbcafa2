"""Does any honest method beat all published ones in every setting? Chosen on dev files, confirmed on test, once.

python benchmarks/generalization_contest.py --keep DIR              # the choice: dev files, seeds 0 to 7
python benchmarks/generalization_contest.py --keep DIR --confirm    # test files, seeds 100 to 107: asked once, for good

Settings: wide, natural, and the distractor, quiet and loud. All methods that use no truth of half B are played, ours
(`methods.moments`) beside the published ones. The choice takes the one whose largest deficit, over settings, to the
best is smallest. `--confirm` seals a plan, asks the sealed test split once, and contrasts the winner with every
published method in every setting: Holm over all of them, two one-sided tests within a point, and what could have been
told. *Oracle* cheats: the truth of half B fits a head that is added to the belief, so it bounds what such heads gain.
What was played is kept in DIR, by setting and method, and not played again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from superalign.evidence import Answers, Workspace, holdout
from superalign.generalization import (
    DISTRACTOR,
    LOUD,
    METHODS,
    NATURAL,
    WIDE,
    Course,
    Material,
    Method,
    Questions,
    Reading,
    Setting,
    bounds_of,
    course_of,
    lesson_of,
    questions_of,
    read,
    score,
    taught,
)
from superalign.generalization.contrasts import contrasts
from superalign.generalization.distractor import distracted
from superalign.generalization.graded import mean_over
from superalign.generalization.leaks import apart
from superalign.generalization.methods.moments import OURS, Believer, fit_toward
from superalign.pipeline.config import RunConfig, sizes
from superalign.pipeline.desk import Desk
from superalign.pipeline.held import DESIGN_EFFECT, measure_controls
from superalign.pipeline.pages import open_page, truth_signal
from superalign.stats import holm
from superalign.stats.power import mde_mean
from superalign.tasks import slips

SETTINGS: Mapping[str, tuple[Setting, str]] = {
    "wide": (WIDE, "plain"),
    "natural": (NATURAL, "plain"),
    "quiet": (DISTRACTOR, "quiet"),
    "loud": (LOUD, "loud"),
}
"""Name → setting, and which questions it asks."""
CHOSEN, CONFIRMED = tuple(range(8)), tuple(range(100, 108))
TRAIN, MARGIN, LEVEL = 6_000, 0.01, 0.95
HELD, BELOW = "construction/slips/test", ("weak", "between", "strong")
MODELS = {"weak": "family:xs", "between": "family:s", "strong": "family:m"}
HONEST = ("labels", "unsupervised", "control")
PARTS = ("first", "second", "belief")
REFERENCES = ("floor", "ceiling", "oracle")
PUBLISHED = {name: each for name, each in METHODS.items() if each.kind in HONEST and each not in OURS}
PLAYED: Mapping[str, Method] = PUBLISHED | {each.name: each for each in OURS}
console = Console(width=150)


class Played(NamedTuple):
    """Correctness (seeds, n) of every method in one setting, and the clusters of its items."""

    right: dict[str, np.ndarray]
    clusters: np.ndarray


@cache
def asked(split: str, form: str) -> Questions:
    """Questions of a split, plain or with a distractor; of train those that repeat no held-out one."""
    questions = questions_of(slips(split=split, view="pair", n=TRAIN if split == "train" else None))
    if split == "train":
        for held in ("dev", "test"):
            questions = apart(questions_of(slips(split=held, view="pair")), questions)
    if form == "plain":
        return questions
    return distracted(questions, seed=("train", "dev", "test").index(split), loud=form == "loud")


def material(keep: Path, split: str, form: str) -> Material:
    """The same as the family reads them; features are kept."""
    questions, file = asked(split, form), keep / f"read-{split}-{form}.npz"
    name = hashlib.sha256("\0".join(questions.ids).encode()).hexdigest()
    if not file.exists() or str(np.load(file)["name"]) != name:
        from superalign.models import load_model

        parts: dict[str, Any] = {"name": np.array(name)}
        for who in BELOW:
            console.print(f"{MODELS[who]} reads {split}, {form}")
            for view, reading in read(load_model(MODELS[who]), questions, who).items():
                parts |= {f"{view}/{part}": getattr(reading, part) for part in PARTS}
        np.savez(file, **parts)
    with np.load(file) as found:
        views = sorted({key.split("/")[0] for key in found if "/" in key})
        sides = {view: Reading(**{part: found[f"{view}/{part}"] for part in PARTS}) for view in views}
    return questions.material(sides)


def played(keep: Path, split: str, seeds: Sequence[int], name: str) -> Played:
    """Every method and reference in one setting; what is kept is not played again. Truth only scores."""
    setting, form = SETTINGS[name]
    train, exam = material(keep, "train", form), material(keep, split, form)

    @cache
    def course(seed: int) -> Course:
        return course_of(train, setting, seed=seed)

    @cache
    def bounds(seed: int) -> Any:
        return bounds_of(course(seed), exam)

    view = SimpleNamespace(readings=exam.readings)
    jobs: dict[str, Callable[[int], np.ndarray]] = {
        "floor": lambda seed: bounds(seed).floor,
        "ceiling": lambda seed: bounds(seed).ceiling,
        "oracle": lambda seed: oracle(course(seed)).logits(exam.readings[setting.strong]),
    }
    for who, one in PLAYED.items():
        jobs[who] = lambda seed, one=one: taught(course(seed), one, view).logits  # type: ignore[misc]
    right = {}
    for who, job in jobs.items():
        slug = who.replace(" ", "_").replace(",", "")
        file = keep / f"{split}-{name}-{slug}-{seeds[0]}-{len(seeds)}-{code_of(who)}.npz"
        if not file.exists():
            began = time.process_time()
            np.savez_compressed(file, right=np.stack([score(job(seed), exam.truth) for seed in seeds]))
            console.print(f"{split}, {name}: {who}, {time.process_time() - began:.1f} s")
        right[who] = np.load(file)["right"]
    return Played(right, exam.clusters)


def code_of(who: str) -> str:
    """Digest of the file that a method is written in: it is played again when that changes."""
    if who not in PLAYED:
        return "reference"
    return hashlib.sha256(Path(str(sys.modules[PLAYED[who].fit.__module__].__file__)).read_bytes()).hexdigest()[:8]


def oracle(course: Course) -> Believer:
    """The belief and a head that half B's truth fits beside it: cheating, and a bound."""
    lesson = lesson_of(course, PLAYED["zero-shot"])
    return Believer(heads=fit_toward(lesson, course.material.truth[course.half_b].astype(float)))


def deficits(found: Mapping[str, Played]) -> dict[str, float]:
    """Method → its largest distance, over settings, to the best honest accuracy there."""
    best = {name: max(one.right[who].mean() for who in PLAYED) for name, one in found.items()}
    return {who: float(max(best[name] - one.right[who].mean() for name, one in found.items())) for who in PLAYED}


def show(found: Mapping[str, Played], behind: Mapping[str, float], title: str) -> None:
    """Accuracies by setting, best worst case first."""
    table = Table("method", *found, "worst deficit", title=title)
    for who in (*REFERENCES, *sorted(PLAYED, key=lambda who: behind[who])):
        mark = f"{who} (ours)" if who in PLAYED and PLAYED[who] in OURS else who
        cells = [f"{one.right[who].mean():.4f}" for one in found.values()]
        table.add_row(mark, *cells, f"{behind[who]:.4f}" if who in behind else "")
    console.print(table)


def choose(keep: Path) -> str:
    """The choice on dev files: the table, and the winner's name, which is kept."""
    found = {name: played(keep, "dev", CHOSEN, name) for name in SETTINGS}
    behind = deficits(found)
    winner = min(behind, key=lambda who: behind[who])
    show(found, behind, f"dev files, seeds {CHOSEN[0]} to {CHOSEN[-1]}")
    console.print(f"winner by worst-case deficit: {winner} ({behind[winner]:.4f})")
    (keep / "choice.json").write_text(json.dumps({"winner": winner, "deficits": behind}, indent=1))
    return winner


def compared(found: Mapping[str, Played], pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Every pair in every setting, one Holm over all of them; with what could have been told at the first step."""
    rows: list[dict[str, Any]] = []
    for name, one in found.items():
        for each in contrasts(one.right, one.clusters, pairs, margin=MARGIN, level=LEVEL):
            spread, groups = (
                mean_over(one.right[each.method] - one.right[each.other], one.clusters),
                each.difference.clusters,
            )
            strict = 1 - (1 - LEVEL) / (len(pairs) * len(found))
            least = [mde_mean(spread.error * groups**0.5, groups, level=level) for level in (LEVEL, strict)]
            gap = each.difference
            rows.append(
                {
                    "setting": name, "method": each.method, "other": each.other,
                    "difference": gap.value, "low": gap.low, "high": gap.high,
                    "p": each.p, "p_same": each.p_same, "told": least[0], "told, corrected": least[1],
                }
            )  # fmt: skip
    for row, p, same in zip(rows, holm([r["p"] for r in rows]), holm([r["p_same"] for r in rows]), strict=True):
        sign = "better" if row["difference"] > 0 else "worse"
        verdict = sign if p <= 1 - LEVEL else "equivalent" if same <= 1 - LEVEL else "not told"
        row |= {"corrected": float(p), "same": float(same), "verdict": verdict}
    return rows


def show_contrasts(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Differences in points of accuracy."""
    table = Table(
        "setting", "against", "difference", "95 %", "p, Holm", "p alike, Holm", "power .8 at", "verdict", title=title
    )
    for row in rows:
        ends = f"[{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]"
        cells = (f"{100 * row['difference']:+.2f}", ends, f"{row['corrected']:.2g}", f"{row['same']:.2g}")
        table.add_row(row["setting"], row["other"], *cells, f"{100 * row['told, corrected']:.2f}", row["verdict"])
    console.print(table)


def confirm(keep: Path) -> None:
    """Seal the plan, ask test once, print all contrasts; a second time only prints them."""
    chosen = json.loads((keep / "choice.json").read_text())
    winner = chosen["winner"]
    rivals = sorted(set(PUBLISHED) - {winner}, key=lambda who: chosen["deficits"][who])
    plan = {
        "winner": winner, "rivals": rivals, "settings": list(SETTINGS), "seeds": list(CONFIRMED), "exam": HELD,
        "primary": "accuracy, winner minus each rival in each setting, crossed seeds and clusters, two-sided",
        "code": {who: code_of(who) for who in PLAYED},
        "correction": "holm over all primary contrasts together", "margin": MARGIN, "level": LEVEL,
    }  # fmt: skip
    with Workspace.open(keep / "workspace", keys_dir=keep / "keys") as ws:
        desk = Desk(ws=ws, config=RunConfig(workspace=ws.path), sizes=sizes("default"), say=console.print)
        if not ws.ledger.events("plan"):
            ws.ledger.append("plan", plan, actor="evaluator")
        (sealed, *_) = ws.ledger.events("plan")
        if not ws.state.queries.get(HELD):
            if sealed.body != plan:
                raise SystemExit("another plan was sealed in this workspace: that one is confirmed, or none is")
            _ask(desk, keep, plan, sealed.digest)
        result = ws.store.get_json(ws.ledger.events("note")[-1].body["text"].split()[-1])
        console.print(
            f"plan {sealed.digest[:12]}…; the one answer of {HELD}: {ws.state.queries[HELD][0]['released']:.4f}"
        )
    show_contrasts(result["primary"], f"test files, {winner} against every published method")
    show_contrasts(result["beside"], "beside it, not confirmed")
    for name, accuracies in result["accuracy"].items():
        console.print(name, {who: round(value, 4) for who, value in accuracies.items()})


def _ask(desk: Desk, keep: Path, plan: Mapping[str, Any], sealed: str) -> None:
    """Admit test, play, ask for the winner's mean over settings and seeds, and keep what follows from its answers."""
    ws, winner = desk.ws, plan["winner"]
    page = open_page(desk, slips(split="test", view="pair"))
    signal = truth_signal(desk, "slips", "test")
    for control in ("null", "constant", "garbage"):
        digest = hashlib.sha256(_control(control).encode()).hexdigest()
        ws.node(kind="model", digest=digest, name=f"control-{control}", actor="evaluator")
        ws.base(digest, reason="a model that knows nothing")
    n = int(len(page.truths) / DESIGN_EFFECT)
    controls = measure_controls(desk, page, "slips", "test")
    holdout.admit(ws, signal, chance=0.5, baseline=0.5, n=n, controls=controls)
    holdout.open_budget(ws, HELD, mechanism="single-shot")
    found = {name: played(keep, "test", CONFIRMED, name) for name in SETTINGS}
    plain = [found[name].right[winner].mean(axis=0) for name, (_, form) in SETTINGS.items() if form == "plain"]
    answers = Answers(values=tuple(map(float, np.mean(plain, axis=0))), clusters=tuple(page.clusters.tolist()))
    beside = [(winner, who) for who in (*REFERENCES[1:], *(one.name for one in OURS)) if who != winner]
    result = {
        "primary": compared(found, [(winner, rival) for rival in plan["rivals"]]),
        "beside": compared(found, beside),
        "accuracy": {name: {who: float(x.mean()) for who, x in one.right.items()} for name, one in found.items()},
    }
    subject = _subject(desk, winner, answers)
    with ws.ledger.transaction():
        holdout.ask(ws, signal, subject, answers, plan=sealed)
        ws.ledger.append("note", {"text": f"contrasts: {ws.store.put_json(result)}"}, actor="evaluator")


def _subject(desk: Desk, winner: str, answers: Answers) -> str:
    """Register the winner's students as one model: made of the family, taught by train, selected by dev."""
    from superalign.models import load_model

    ws, digest = desk.ws, hashlib.sha256(repr((winner, answers)).encode()).hexdigest()
    student = load_model(MODELS["strong"])
    ws.node(kind="model", digest=student.digest, name=student.name)
    ws.base(student.digest, reason="the embedded family")
    ws.node(kind="model", digest=digest, name="winner")
    for source, mode in (
        (student.digest, "fit"),
        (truth_signal(desk, "slips", "train"), "fit"),
        (truth_signal(desk, "slips", "dev"), "select"),
    ):
        ws.use(source, digest, mode)
    return f"winner@{digest}"


def _control(name: str) -> str:
    from superalign.pipeline.held import CONTROLS

    return f"a model that knows nothing: {CONTROLS[name]}"


def main() -> None:
    """Choose, or confirm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, default=Path(".contest"), help="what was read and played is kept here")
    parser.add_argument("--confirm", action="store_true", help="ask test, once and for good")
    given = parser.parse_args()
    given.keep.mkdir(parents=True, exist_ok=True)
    confirm(given.keep) if given.confirm else choose(given.keep)


if __name__ == "__main__":
    main()
