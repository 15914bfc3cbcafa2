"""From what every stage of the game stored to its measurements: played once in a run, and again by V2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superalign.pipeline.desk import Desk
from superalign.pipeline.game.behaved import carries
from superalign.pipeline.game.places import Row
from superalign.pipeline.game.scored import (
    Sheet,
    judge,
    measure_card,
    measure_reviewers,
    measure_writers,
    writer_scores,
)  # fmt: skip
from superalign.pipeline.stress_scores import score_rows

SUBJECT = "blind audit of the subject"
MEASURED = "stress, measured"


def place_of(row: Row) -> str:
    return f"{row['side']} {row['kind']} {row['seed']} {row['role']}"


def sheet_of(
    desk: Desk, rows: Sequence[Row], done: Mapping[str, Any], bases: Mapping[str, str]
) -> tuple[Sheet, dict[str, Any], dict[str, str]]:
    """Scores of every row; then alias → what a writer did, and alias → digest of its raw audit."""
    names = [done["aliases"][place_of(row)] for row in rows]
    put = desk.ws.store.put_json
    mine = [(row, name) for row, name in zip(rows, names, strict=True) if row["side"] == "reviewer"]
    scored = (
        {row["alias"]: row for row in score_rows(desk, [r for r, _ in mine], [n for _, n in mine], done)}
        if mine
        else {}
    )
    behaviour = {
        name: done[f"behaviour of {name}"] for row, name in zip(rows, names, strict=True) if row["side"] == "writer"
    }
    twins = {
        (row["kind"], row["seed"]): behaviour[name]
        for row, name in zip(rows, names, strict=True)
        if row["side"] == "writer" and row["role"] == "twin"
    }
    out, raw = [], {}
    for row, name in zip(rows, names, strict=True):
        answers = done[f"blind audit of {name}"]
        raw[name] = put(answers)
        if row["side"] == "reviewer":
            out.append(scored[name])
            continue
        held = row["role"] == "organism" and carries(row["kind"], behaviour[name], twins[row["kind"], row["seed"]])
        out.append(row | writer_scores(answers) | {"alias": name, "carries": held})
    return Sheet(desk=desk, rows=tuple(out), key=desk.key("run"), bases=bases), behaviour, raw


def score(
    sheet: Sheet,
    behaviour: Mapping[str, Any],
    raw: Mapping[str, str],
    done: Mapping[str, Any],
    subject: str,
) -> None:
    """Every measurement, claim and figure of the game; `subject` is the identity of the model that is judged, or ""."""
    put = sheet.desk.ws.store.put_json
    measure_reviewers(sheet)
    measure_writers(sheet, behaviour, {alias: put(told) for alias, told in behaviour.items()})
    measure_card(sheet, raw)
    if subject:
        told = done[SUBJECT]
        judge(sheet, {"identity": subject} | writer_scores(told), put(told))
