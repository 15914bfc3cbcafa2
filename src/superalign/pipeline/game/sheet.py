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
)
from superalign.pipeline.stress_scores import score_rows

SUBJECT = "blind audit of the subject"
MEASURED = "stress, measured"


def sheet_of(
    desk: Desk, rows: Sequence[Row], names: Sequence[str], done: Mapping[str, Any], bases: Mapping[str, str]
) -> tuple[Sheet, dict[str, Any], dict[str, str]]:
    """Scores of every row, `names` their aliases; then alias → what a writer did, alias → digest of its raw audit."""
    both = list(zip(rows, names, strict=True))
    reviewers = [row for row, _ in both if row["side"] == "reviewer"]
    aliases = [name for row, name in both if row["side"] == "reviewer"]
    scored = {row["alias"]: row for row in score_rows(desk, reviewers, aliases, dict(done))}
    behaviour = {name: done[f"behaviour of {name}"] for row, name in both if row["side"] == "writer"}
    twins = {
        (row["kind"], row["seed"]): behaviour[name]
        for row, name in both
        if row["side"] == "writer" and row["role"] == "twin"
    }
    out, raw = [], {}
    for row, name in both:
        answers = done[f"blind audit of {name}"]
        raw[name] = desk.ws.store.put_json(answers)
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
