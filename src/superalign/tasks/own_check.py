"""What is in a file of your own: rows, splits, clusters, options, balance, near-duplicates and the blind-tell figure.

told = checked(own_data(Path("questions.jsonl")))
told["splits"]["dev"]["rows"], told["blind"][0]["accuracy"]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from superalign.tasks.item import SPLITS
from superalign.tasks.own import NAMED, BrokenLines, OwnData
from superalign.tasks.own_audit import blind
from superalign.tasks.own_pages import items_of
from superalign.tasks.own_splits import near


def checked(data: OwnData, *, seed: int = 0) -> dict[str, Any]:
    """Everything `superalign tasks check` says of a file that is whole, as JSON values.

    `answers` counts labels, or where rows have options of their own the right one's place as the file has it. `near`
    counts rows of a later split most of whose 13-grams stand in an earlier one. `blind` is empty where one cluster is
    all there is, and of mutants (`superalign tasks audit`).
    """
    clusters = [row.cluster for row in data.rows] or [mutant.path for mutant in data.made]
    told: dict[str, Any] = {
        "name": data.name,
        "form": data.form,
        "digest": data.digest,
        "rows": len(clusters),
        "clusters": len(set(clusters)),
        "split_by": "column" if data.by_column else "hash of the cluster",
        "splits": {split: _split(data, clusters, split) for split in SPLITS},
        "options": dict(sorted(Counter(len(row.texts) for row in data.rows).items())) if data.form == "choice" else {},
        "answers": dict(sorted(Counter(_answers(data)).items())),
        "near": near(list(_texts(data)), data.splits),
        "passed_over": list(data.passed_over),
        "blind": [],
    }
    if data.rows and len(set(clusters)) > 1:
        items, truths = items_of(data, range(len(data.rows)), seed=seed)
        told["blind"] = [
            {"attacker": r.attacker, "accuracy": round(r.accuracy, 4), "limit": round(r.limit, 4), "passed": r.passed}
            for r in blind(items, truths, seed=seed)
        ]
    return told


def complaint(error: BrokenLines) -> dict[str, Any]:
    """The same of a file that isn't whole: how many rows are broken, and the first of them."""
    return {
        "file": str(error.path),
        "form": error.form,
        "rows": error.count,
        "broken": len(error.broken),
        "first": [each._asdict() for each in error.broken[:NAMED]],
    }


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What `checked` found, as lines for people."""
    yield f"{told['name']}: {told['rows']} rows of {told['form']} in {told['clusters']} clusters"
    for split, there in told["splits"].items():
        yield f"  {split:10} {there['rows']:6} rows, {there['clusters']} clusters"
    yield f"  split by the {told['split_by']}"
    if told["options"]:
        yield f"  options    {', '.join(f'{n} rows of {k}' for k, n in told['options'].items())}"
    if told["answers"]:
        yield f"  answers    {', '.join(f'{word}: {n}' for word, n in told['answers'].items())}"
    for each in told["blind"]:
        verdict = "at or under" if each["passed"] else "ABOVE"
        reach = f"{each['attacker']} reaches {each['accuracy']:.3f}"
        yield f"  unread     {reach}, {verdict} its limit of {each['limit']:.3f}"
    if told["near"]:
        yield f"  near       {told['near']} rows nearly repeat one of an earlier split: give both one cluster"
    if told["passed_over"]:
        yield f"  not read   fields {', '.join(told['passed_over'])}"


def _texts(data: OwnData) -> Iterator[str]:
    """All that a row says, of mutants their sound side."""
    for row in data.rows:
        yield " ".join((row.context, row.question, *row.texts))
    for mutant in data.made:
        yield mutant.sound


def _split(data: OwnData, clusters: list[str], split: str) -> dict[str, int]:
    held = [cluster for cluster, where in zip(clusters, data.splits, strict=True) if where == split]
    return {"rows": len(held), "clusters": len(set(held))}


def _answers(data: OwnData) -> Iterator[str]:
    for row in data.rows:
        if isinstance(row.answer, tuple):
            yield "right" if all(row.answer) else "wrong"
        elif data.form == "choice":
            yield row.texts[int(row.answer)] if data.labels else f"place {row.answer}"
        elif data.form != "preference":
            yield str(row.answer)
