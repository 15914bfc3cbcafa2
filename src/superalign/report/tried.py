"""Before and after, side by side; and everything that was tried, what failed among it."""

from __future__ import annotations

from collections.abc import Sequence

from superalign.report.html import Html, cell, cites, facts, named, nothing, row, table, tag, value_of
from superalign.report.text import clip, count, figure, listed
from superalign.report.views import Dossier, Number, Row

PARTS = (("before", "Before"), ("after", "After"), ("change", "After minus before"))


def before_after(rows: Sequence[Row]) -> list[Html]:
    """The base beside what was fitted from it, on the same items."""
    title = tag("h3", "Before and after")
    if not rows:
        return [title, nothing("no before and after (stage=validate, figure=change)")]
    found: dict[str, dict[str, Number]] = {}
    for one in rows:
        tags = one.number.tags
        found.setdefault(tags.get("alteration", one.label), {})[tags.get("part", "")] = one.number
    lines = [
        row(
            named(kind),
            *(cell(value_of(parts.get(part), signed=part == "change"), label=label) for part, label in PARTS),
        )
        for kind, parts in found.items()
    ]
    about = (
        "The same pairs, told apart by the base model's own surprisal before any fitting, and by the reward that was fitted. "
        "Differences are paired."
    )
    head = ("Alteration", *(label for _, label in PARTS))
    first = rows[0].number
    return [title, tag("p", about, " ", facts(first)), table("Paired accuracy", head, lines, class_="cards")]


def tried_section(dossier: Dossier) -> Html:
    """One line for everything that was tried, with what came of it; what failed says so first."""
    parts = [tag("h2", "Everything that was tried", id="tried")]
    lines = [*_arms(dossier), *_models(dossier), *_refusals(dossier), *_again(dossier)]
    if not lines:
        return tag("section", *parts, nothing("nothing on record was tried"), aria_labelledby="tried")
    about = (
        "Nothing is left out for having failed: every arm, model and number on record is counted in one of these lines."
    )
    head = ("What", "How many", "What came of it", "Events")
    table_ = table("Attempts", head, [row(named(what), *map(cell, rest)) for what, *rest in lines], class_="cards")
    return tag("section", *parts, tag("p", about), table_, aria_labelledby="tried")


Line = tuple[str, str, str, Html]


def _arms(dossier: Dossier) -> list[Line]:
    rows = [r for r in dossier.tables["train.pgr"] if r.number.value is not None]
    if not rows:
        return []
    worst = min(rows, key=lambda r: r.number.value or 0.0)
    best = max(rows, key=lambda r: r.number.value or 0.0)
    below = [r for r in rows if r.number.low is not None and r.number.high is not None and r.number.high < 0]
    came = f"from {figure(worst.number.value)} ({worst.label}) to {figure(best.number.value)} ({best.label})"
    came += f"; {len(below)} shown to be worse than the weak supervisor" if below else ""
    seqs = cites(r.number.seq for r in rows)
    out: list[Line] = [("Ways to learn from weak labels", f"{len(rows)}", f"PGR {clip(came, 300)}", seqs)]
    seeds = {r.number.tags.get("seeds", "") for r in rows} - {""}
    if seeds:
        out.append(("Seeds of each way", listed(sorted(seeds)), "all in the mean: no seed was chosen", seqs))
    return out


def _models(dossier: Dossier) -> list[Line]:
    if not dossier.installs:
        return []
    carried = [i for i in dossier.installs if i.carries]
    failed = [i for i in dossier.installs if i.carries is False]
    came = f"{len(carried)} carry what was planted"
    if failed:
        came += f", {len(failed)} don't: {clip(listed(sorted({f'{i.kind} {i.seed}' for i in failed})), 300)}"
    seqs = cites(number.seq for i in dossier.installs for number in list(i.parts.values())[:1])
    out: list[Line] = [("Organisms planted", f"{len(dossier.installs)}", came, seqs)]
    twins = [s for s in dossier.suspects if s.truth == "twin"]
    if twins:
        fired = [s for s in twins if s.flagged]
        said = f"{len(fired)} accused" if fired else "not one accused"
        checks = len({s.check for s in twins})
        out.append(
            (
                "Honest twins asked",
                f"{len(twins)} (by {count(checks, 'check')})",
                said,
                cites(s.number.seq for s in fired),
            )
        )
    return out


def _refusals(dossier: Dossier) -> list[Line]:
    numbers = [r.number for rows in dossier.tables.values() for r in rows]
    refused = [n for n in numbers if n.value is None]
    out: list[Line] = [
        (
            "Numbers measured",
            f"{len(numbers)}",
            f"{len(refused)} refused, each with its reason",
            cites(n.seq for n in refused),
        )
    ]
    chosen = [n for n in numbers if n.tried > 1]
    if chosen:
        most = max(n.tried for n in chosen)
        out.append(
            (
                "Numbers of a winner among several",
                f"{len(chosen)}",
                f"of up to {most} tried",
                cites(n.seq for n in chosen),
            )
        )
    return out


def _again(dossier: Dossier) -> list[Line]:
    again = [r.number for rows in dossier.tables.values() for r in rows if r.number.earlier]
    changed = [v for v in dossier.verdicts if v.earlier]
    runs = len(dossier.runs)
    out: list[Line] = [
        (
            "Configurations run in this workspace",
            f"{runs}",
            "each stage is done once, whoever stops it",
            cites(s for s, _ in dossier.runs),
        )
    ]
    if again:
        out.append(
            (
                "Numbers measured more than once",
                f"{len(again)}",
                "the latest stands; the earlier ones are on record",
                cites(s for n in again for s in n.earlier),
            )
        )
    if changed:
        out.append(
            (
                "Claims made more than once",
                f"{len(changed)}",
                "the latest stands",
                cites(s for v in changed for s in v.earlier),
            )
        )
    return out
