"""A workspace's leaderboard as an Inspect log: every stored episode a sample, to be read in `inspect view`.

    with Workspace.open(path, create=False, write=False) as ws:
        export_board(ws, Path("board.eval"), protocols=("debate",), tasks=("slips",))

Nothing is computed anew but the means: the talks, beliefs, failures and costs are those in the store. Truths are opened
through the evaluator, as scoring does it: the log holds them, so it is as secret as they are. Ledger, head and the
digests of what went in stand in the log's metadata.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superalign.evidence import SuperalignError, Workspace
from superalign.inspecting.importing import OWN
from superalign.inspecting.scoring import CLUSTER

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

    from superalign.oversight.types import Episode

MEANS = ("accuracy", "belief", "failed")


class NothingToExport(SuperalignError):
    """The workspace holds no such episodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What went out."""

    path: Path
    samples: int
    cells: tuple[str, ...]
    """Task: protocol."""


def export_board(
    ws: Workspace, out: Path, *, tasks: Sequence[str] = (), protocols: Sequence[str] = (), board: str = ""
) -> Exported:
    """Write the episodes of one leaderboard (the last, or the one whose key begins so) to `out`, .eval or .json.

    Raises NothingToExport where there is none, or none of these tasks and protocols.
    """
    from inspect_ai.log import write_eval_log

    from superalign.pipeline.board_recount import boards_of

    if out.suffix not in (".eval", ".json"):
        raise NothingToExport(f"{out}: an Inspect log ends in .eval or .json")
    boards = [each for each in boards_of(ws)[0] if each.key.startswith(board)]
    if not boards:
        raise NothingToExport(f"{ws.path} holds no {f'leaderboard {board}' if board else 'leaderboard'}")
    found = list(_cells(ws, boards[-1], tasks, protocols))
    if not found:
        told = ", ".join([*tasks, *protocols])
        raise NothingToExport(f"{ws.path}: no cell of its leaderboard is of {told or 'anything that was played'}")
    samples, subjects = [], dict[str, str]()
    for task, name, seed, subject, digest in found:
        subjects[f"{task}: {name}, seed {seed}"] = subject
        samples += list(_samples(ws, boards[-1], task, name, digest))
    log = _log(ws, boards[-1].key, samples, subjects, [digest for *_, digest in found])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(log, str(out))
    cells = dict.fromkeys(f"{task}: {name}" for task, name, *_ in found)
    return Exported(path=out, samples=len(samples), cells=tuple(cells))


def _cells(
    ws: Workspace, board: Any, tasks: Sequence[str], protocols: Sequence[str]
) -> Iterator[tuple[str, str, int, str, str]]:
    """Task, cell, seed, subject and digest of the episodes, of every cell and seed that was played."""
    from superalign.pipeline.stored import Stored

    done, config = Stored(ws, board), board.config
    for task in config.tasks:
        for name in _names(board, task):
            for seed in range(config.seed, config.seed + config.seeds):
                wanted = (not tasks or task in tasks) and (not protocols or name in protocols)
                result = done(f"{task}: {name}, seed {seed}") if wanted else None
                if result is not None:
                    yield task, name, seed, str(result["subject"]), str(result["episodes"])


def _names(board: Any, task: str) -> list[str]:
    from superalign.pipeline.board_scores import cells_of, chosen_protocols

    return [cell.name for cell in cells_of(task, chosen_protocols(board.config))]


def _samples(ws: Workspace, board: Any, task: str, name: str, digest: str) -> Iterator[EvalSample]:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ModelOutput

    from superalign.inspecting.playing import score_of, verdict_words, written
    from superalign.oversight import case_of
    from superalign.pipeline.pages import put_page, truths_of

    desk, page = board.desk(ws), board.page(task, "validation")
    cases = {item.id: case_of(item) for item in page.items}
    truths = truths_of(desk, page, put_page(desk, page))
    for stored in ws.store.get_json(digest)["episodes"]:
        case, episode = cases[stored["item"]], _episode(stored)
        target = case.options[int(truths[case.item]["answer"])]
        sides = "-".join("x" if side is None else str(side) for side in stored["sides"])
        score = score_of({**stored, "protocol": name, "digest": digest}, target)
        ident = "_".join(part for part in (task, name.replace(" ", "-"), case.item, sides, str(stored["seed"])) if part)
        metadata = {"item": case.item, CLUSTER: case.cluster, "task": task, "protocol": name, "seed": stored["seed"]}
        words = verdict_words(case, episode)
        yield EvalSample(
            id=ident,
            epoch=1,
            input=f"{case.question}\noptions: {', '.join(case.options)}",
            choices=list(case.options),
            target=target,
            messages=written(case, episode),
            output=ModelOutput.from_content("judge", words),
            scores={"verdict": score},
            metadata={**metadata, "sides": list(stored["sides"])},
            store={OWN: {"episode": {**stored, "digest": digest}}},
        )


def _episode(stored: Mapping[str, Any]) -> Episode:
    """A stored episode as one that can be written out; costs and answers are left in the store."""
    from superalign.oversight.types import Charge, Episode, Message, Quote

    def said(message: Mapping[str, Any]) -> Message:
        quotes = tuple(Quote(*_fields(Quote, quote)) for quote in message["quotes"])
        charges = tuple(Charge(*_fields(Charge, charge)) for charge in message["charges"])
        own = {key: message[key] for key in ("speaker", "side", "text")}
        return Message(**own, quotes=quotes, charges=charges, belief=tuple(message["belief"]))

    own = {key: stored[key] for key in ("protocol", "item", "task", "cluster", "question", "seed")}
    listed = {key: tuple(stored[key]) for key in ("options", "sides", "failures")}
    beliefs = tuple(None if belief is None else tuple(belief) for belief in stored["beliefs"])
    belief = None if stored["belief"] is None else tuple(stored["belief"])
    return Episode(**own, **listed, messages=tuple(map(said, stored["messages"])), beliefs=beliefs, belief=belief)


def _fields(kind: Any, stored: Any) -> list[Any]:
    """A named tuple's fields from JSON: a list, or an object."""
    listed = [stored[name] for name in kind._fields] if isinstance(stored, Mapping) else list(stored)
    return [tuple(part) if isinstance(part, list) else part for part in listed]


def _log(
    ws: Workspace, board: str, samples: list[EvalSample], subjects: Mapping[str, str], inputs: Sequence[str]
) -> EvalLog:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalResults, EvalSpec, EvalStats

    import superalign

    when = datetime.fromisoformat(ws.ledger[len(ws.ledger) - 1].time).astimezone(UTC).isoformat()
    judges = sorted(set(subjects.values()))
    about = {"board": board, "head": ws.ledger.head, "subjects": dict(subjects), "episodes": list(inputs)}
    spec = EvalSpec(
        created=when,
        task="superalign board",
        task_id=board[:22],
        eval_id=board[:22],
        run_id=board[22:44],
        dataset=EvalDataset(name="validation", samples=len(samples), sample_ids=[sample.id for sample in samples]),
        model=judges[0][: judges[0].rfind("@") + 17] if len(judges) == 1 else "judges of a board",
        config=EvalConfig(),
        packages={"superalign": superalign.__version__},
        metadata={"exported": about},
    )
    results = EvalResults(total_samples=len(samples), completed_samples=len(samples), scores=_results(samples))
    return EvalLog(
        status="success",
        eval=spec,
        results=results,
        stats=EvalStats(started_at=when, completed_at=when),
        samples=samples,
    )


def _results(samples: Sequence[EvalSample]) -> list[Any]:
    """A row a task, cell and value: its mean, with the clustered standard error."""
    from inspect_ai.log import EvalMetric, EvalScore
    from inspect_ai.scorer import SampleScore, Score, stderr

    error, out = stderr(cluster=CLUSTER), []
    cells: dict[tuple[str, str], list[EvalSample]] = {}
    for sample in samples:
        cells.setdefault((sample.metadata["task"], sample.metadata["protocol"]), []).append(sample)
    for (task, name), own in cells.items():
        for key in MEANS:
            values = [float((sample.scores or {})["verdict"].value[key]) for sample in own]  # type: ignore[index]
            given = [
                SampleScore(score=Score(value=value), sample_id=sample.id, sample_metadata=sample.metadata)
                for value, sample in zip(values, own, strict=True)
            ]
            found = {"mean": sum(values) / len(values), "stderr": float(error(given))}  # type: ignore[arg-type]
            metrics = {metric: EvalMetric(name=metric, value=value) for metric, value in found.items()}
            title = f"{task}: {name}, {key}"
            out.append(EvalScore(name=title, scorer="verdict", metrics=metrics, scored_samples=len(own)))
    return out
