"""`superalign tasks`: list the tasks, check your own data, audit for blind tells, export for training, make mutants.

superalign tasks check questions.jsonl                            # what is there, or every line that is broken
superalign tasks export questions.jsonl --split train --format preference
superalign tasks audit --task mutants --split validation --form words
superalign tasks mutants --from src/ --tests "python -m pytest -q -x" --out mutants.jsonl    # of your own package
superalign tasks mutants --out build/                             # the shipped ones again, from CPython's own tests
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from superalign.tasks import Page

SPLITS = ("train", "dev", "validation", "test")
ANY = "any number"


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksConfig:
    """Which task, which split, and what to do with it."""

    action: tyro.conf.Positional[Literal["list", "check", "audit", "export", "mutants"]] = "list"
    """List what there is, check your own data, audit for blind tells, write training data, or make mutants."""
    file: tyro.conf.Positional[Path | None] = None
    """Your own data to check, audit or export: JSON Lines, Parquet, Arrow, or a folder of `datasets` (docs/data.md)."""
    task: Literal["slips", "traces", "mutants", "rules", "pixels"] = "slips"
    """The task."""
    split: Literal["train", "dev", "validation", "test"] = "dev"
    """The split."""
    view: Literal["pair", "single"] = "pair"
    """Which of two, or one alone (pixels: which of ten digits; rules have one view)."""
    form: Literal["source", "words"] = "source"
    """Mutants as whole functions, or as windows of lexed words."""
    format: Literal["auto", "preference", "unpaired", "stepwise"] = "auto"
    """Format to export in: TRL's three; auto takes the one that the page has."""
    n: int | None = None
    """Items, or faults to try, from 1 (default: all mutants and pixels, 200 faults of a package, else 1000)."""
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Folder of your own package with its tests (mutants; without it the shipped ones are built again)."""
    tests: str | None = None
    """Command that tests the package: it fails when something is wrong."""
    seconds: float = 60.0
    """Limit of one run of that command; raised, it tries again what ran out of time under a lower one."""
    out: Path | None = None
    """File to write (default: preferences.jsonl, mutants.jsonl), or the folder of a build (mutants-build)."""
    made: Path | None = None
    """File of your own mutants to audit or export instead of the shipped ones."""
    seed: int = 0
    """Seed of every draw."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def main(config: Annotated[TasksConfig, tyro.conf.arg(name="")]) -> None:
    """List the tasks, check your own data, audit, export in TRL's formats, or make mutants."""
    from superalign.evidence import SuperalignError

    actions: dict[str, Callable[[TasksConfig], None]] = {
        "list": _list,
        "check": _check,
        "audit": _audit,
        "export": _export,
        "mutants": _mutants,
    }
    if config.n is not None and config.n < 1:
        raise SuperalignError(f"--n {config.n}: ask for 1 item or more")
    if config.file is None and config.action == "check":
        raise SuperalignError("no file to check: superalign tasks check FILE")
    if config.file is not None and config.action not in ("check", "audit", "export"):
        raise SuperalignError(f"{config.action} reads no file, and {config.file} was given: leave it out")
    try:
        actions[config.action](config)
    except ValueError as error:
        raise SuperalignError(str(error)) from error


def _list(config: TasksConfig) -> None:
    from superalign.tasks.mutants import mutants_index
    from superalign.tasks.pixels import pixels
    from superalign.tasks.slips import draw

    counts = {split: len(draw(split)) for split in SPLITS}
    pictures = {split: len(pixels(split=split).items) for split in SPLITS}
    shipped = mutants_index()["shipped"]
    held = {"slips": counts, "traces": ANY, "mutants": shipped, "rules": ANY, "pixels": pictures}
    print(json.dumps(held) if config.json else "\n".join(f"{name:8} {count}" for name, count in held.items()))


def _check(config: TasksConfig) -> None:
    from superalign.tasks.own import BrokenLines, own_data
    from superalign.tasks.own_check import checked, complaint, lines

    assert config.file is not None
    try:
        told = checked(own_data(config.file), seed=config.seed)
    except BrokenLines as error:
        if not config.json:
            raise
        print(json.dumps(complaint(error)))
        sys.exit(1)
    print(json.dumps(told) if config.json else "\n".join(lines(told)))


def _page(config: TasksConfig) -> Page:
    if config.file is not None:
        from superalign.tasks.own import own_data
        from superalign.tasks.own_pages import own_page

        options = {"n": config.n, "seed": config.seed, "view": config.view}
        return own_page(own_data(config.file), split=config.split, **options)
    from superalign.tasks import load_mutants, mutants, pixels, rules, slips, traces

    n = 1000 if config.n is None else config.n
    if config.task == "rules":
        return rules(split=config.split, n=n, seed=config.seed)
    if config.task == "pixels":
        view = "pair" if config.view == "pair" else "ten"
        return pixels(split=config.split, view=view, n=config.n, seed=config.seed)
    if config.task == "mutants":
        made = load_mutants(config.made) if config.made else None
        options: dict[str, Any] = {"n": config.n, "seed": config.seed, "form": config.form, "made": made}
        return mutants(split=config.split, view=config.view, **options)
    make = slips if config.task == "slips" else traces
    return make(split=config.split, view=config.view, n=n, seed=config.seed)


def _export(config: TasksConfig) -> None:
    from superalign.tasks.own_export import written

    out = config.out or Path("preferences.jsonl")
    rows = [{**row, "split": config.split} for row in _rows(config)]  # whoever reads the file knows it
    written(rows, out)
    print(json.dumps({"out": str(out), "rows": len(rows)}) if config.json else out)


def _rows(config: TasksConfig) -> list[dict[str, Any]]:
    from superalign.tasks.own_export import exported, own_rows

    if config.file is None:
        return exported(_page(config), config.format)
    from superalign.tasks.own import own_data

    return own_rows(own_data(config.file), config.split, config.format)[: config.n]


def _audit(config: TasksConfig) -> None:
    from superalign.tasks import audit
    from superalign.tasks.own_audit import blind_page

    page = _page(config)
    own = config.file is not None and not page.task.endswith(".mutant")
    results = blind_page(page, seed=config.seed) if own else audit(page)
    for r in results:
        row = {"attacker": r.attacker, "accuracy": round(r.accuracy, 4), "limit": r.limit, "passed": r.passed}
        print(json.dumps(row) if config.json else f"{r.attacker:16} {r.accuracy:.3f} of at most {r.limit:.3f}")
    sys.exit(0 if all(r.passed for r in results) else 1)


def _mutants(config: TasksConfig) -> None:
    from superalign.evidence import SuperalignError

    if (config.from_ is None) != (config.tests is None):
        raise SuperalignError("--from and --tests go together: the folder of a package, and the command that tests it")
    (_own if config.from_ else _build)(config)


def _own(config: TasksConfig) -> None:
    from superalign.tasks.mutants_own import own_mutants

    assert config.from_ is not None
    assert config.tests is not None
    out = config.out or Path("mutants.jsonl")
    with _bar() as show:
        report = own_mutants(
            config.from_,
            config.tests,
            out,
            n=200 if config.n is None else config.n,
            seconds=config.seconds,
            seed=config.seed,
            progress=lambda done, total: show("mutants", done, total),
        )
    if config.json:
        row = {"out": str(out), "mutants": len(report.made), "tried": report.tried, "outcomes": dict(report.outcomes)}
        print(json.dumps(row | {"left_out": list(report.left_out)}))
        return
    for name in report.left_out:
        print(f"left out: {name}", file=sys.stderr)
    print(f"{len(report.made)} of {report.tried} faults are seen by the tests ({dict(report.outcomes)}): {out}")


def _build(config: TasksConfig) -> None:
    from superalign.tasks.mutants_build import build

    out = config.out or Path("mutants-build")
    with _bar() as show:
        made = build(out, seed=config.seed, progress=show)
    summary = {"out": str(out), "shipped": made["shipped"], "verified": made["verified"], "left_out": made["left_out"]}
    print(json.dumps(summary) if config.json else f"{made['verified']} verified, shipped {made['shipped']}: {out}")


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """A line on stderr that tells how far it is, and the function that moves it: (what, done, total)."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("mutants", total=None)
        yield lambda what, done, total: progress.update(bar, description=what, completed=done, total=total)
