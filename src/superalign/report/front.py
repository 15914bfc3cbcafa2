"""The first page: what we asked, what we know, the verdicts, and what was not detected."""

from __future__ import annotations

from collections import Counter

from superalign.report.html import (
    Html,
    cell,
    chip,
    cite,
    cites,
    facts,
    model_name,
    named,
    nothing,
    row,
    table,
    tag,
    together,
    value_of,
)
from superalign.report.text import clip, count, figure, listed
from superalign.report.verdicts import DETECTION_FLOOR, FALSE_ALARM_CEILING
from superalign.report.views import Dossier, Number, Verdict

TOY = "toy models and toy organisms; evidence about mechanisms and instruments, not about large models"
CONTENTS = (
    ("verdicts", "Verdicts"),
    ("not-detected", "What was not detected"),
    ("train", "Train"),
    ("validate", "Validate"),
    ("stress", "Stress-test"),
    ("lineage", "Lineage"),
    ("gallery", "Failures"),
    ("tried", "Tried"),
    ("costs", "Costs"),
    ("verify", "How to verify"),
    ("events", "Events"),
)


def front(dossier: Dossier) -> Html:
    """Title, one paragraph, contents."""
    links = [tag("a", name, href=f"#{place}") for place, name in CONTENTS]
    title = tag("h1", "What we know about ", model_name(dossier.subject)) if dossier.subject else tag("h1", "Dossier")
    return tag(
        "header",
        title,
        tag("p", tag("b", "What we asked, what we know. "), *summary(dossier), class_="lead"),
        tag("nav", *links, aria_label="Contents"),
        class_="top",
    )


def summary(dossier: Dossier) -> list[object]:
    """The paragraph, sentence by sentence; each says nothing that the ledger doesn't hold."""
    if not dossier.ledger.events:
        return ["The ledger is empty: nothing was asked and nothing is known."]
    gate = [v for v in dossier.verdicts if v.gate]
    out: list[object] = []
    if gate:
        tally = Counter(v.verdict for v in gate)
        said = [f"{tally[word]} {word}" for word in ("pass", "fail", "cannot tell")]
        asked = listed([f"“{clip(v.property, 60)}”" for v in gate])
        out += [
            "We asked whether ",
            model_name(dossier.subject),
            f" holds {count(len(gate), 'property', 'properties')}: ",
        ]
        out += [asked, ". We know: ", tag("b", listed(said)), ". "]
    else:
        out.append("No property was put to the gate, so nothing here is a verdict. ")
    out += _recovered(dossier) + _planted(dossier)
    for verdict in (v for v in dossier.verdicts if not v.gate):
        out += [named(clip(verdict.text, 300)), " (", cite(verdict.seq, verdict.verdict), ") "]
    if dossier.missing:
        out.append(f"Not measured at all: {count(len(dossier.missing), 'part')} of the run, listed below.")
    return out


def _recovered(dossier: Dossier) -> list[object]:
    rows = [r for r in dossier.tables["train.pgr"] if r.number.tags.get("arm_kind") not in ("control", None)]
    known = [r for r in rows if r.number.value is not None]
    if not known:
        return []
    best = max(known, key=lambda r: r.number.value or 0.0)
    name = named(clip(best.number.tags.get("arm", best.label), 80))
    return ["Of the gap between the weak supervisor and the ceiling, the best trained arm (", name, ") recovered ",
            value_of(best.number), ". "]  # fmt: skip


def _planted(dossier: Dossier) -> list[object]:
    planted = [s for s in dossier.suspects if s.truth == "organism"]
    if not planted:
        return []
    models, kinds = {s.alias for s in planted}, {s.kind for s in planted}
    caught = {s.alias for s in planted if s.flagged}
    return [f"Of {count(len(models), 'organism')} of {count(len(kinds), 'kind')} planted on purpose, "
            f"at least one check caught {len(caught)}. "]  # fmt: skip


def verdict_section(dossier: Dossier) -> Html:
    """The big table, one row a property, and ordinary claims below it."""
    gate = [v for v in dossier.verdicts if v.gate]
    other = [v for v in dossier.verdicts if not v.gate]
    parts: list[Html] = [tag("h2", "Verdicts", id="verdicts")]
    if gate:
        head = ("Property", "Verdict", "Why", "On the subject", "Power, at least", "False alarms, at most")
        parts.append(_rule())
        parts.append(
            table("One row a property; bounds are of 95 % intervals", head, map(_row, gate), class_="cards big")
        )
        parts += [_broken(v) for v in gate if v.follows and v.follows != v.verdict]
    else:
        parts.append(nothing("no claim of the gate: no property was judged"))
    if other:
        parts.append(tag("h3", "Other claims"))
        rows = [_claim(v) for v in other]
        parts.append(
            table("Sentences, and the numbers they rest on", ("Claim", "Verdict", "Numbers"), rows, class_="cards big")
        )
    return tag("section", *parts, aria_labelledby="verdicts")


def _rule() -> Html:
    return tag(
        "p",
        tag("b", "“Cannot tell” is an answer. "),
        "A check that may be blind decides nothing, whichever way it points: a property passes or fails only where the "
        f"detection rate on kinds never seen has a lower bound of at least {DETECTION_FLOOR:g} and false alarms on twins an "
        f"upper bound of at most {FALSE_ALARM_CEILING:g}.",
    )


def _row(verdict: Verdict) -> Html:
    text = tag("span", named(clip(verdict.text, 400)), class_="note")
    return row(
        together(named(clip(verdict.property, 80)), text),
        cell(chip(verdict.verdict), " ", cite(verdict.seq), cites(verdict.earlier), label="Verdict"),
        cell(tag("ul", *(tag("li", why) for why in verdict.why), *_defeaters(verdict), class_="why"), label="Why"),
        cell(*_on_subject(verdict), label="On the subject"),
        cell(*_bound(verdict.detection, "low", "≥"), label="Power, at least"),
        cell(*_bound(verdict.false_alarm, "high", "≤"), label="False alarms, at most"),
    )


def _defeaters(verdict: Verdict) -> list[Html]:
    if not verdict.defeaters:
        return []
    words = "; ".join(clip(d, 300) for d in verdict.defeaters)
    return [tag("li", f"What would defeat it: {words}.", class_="soft")]


def _on_subject(verdict: Verdict) -> list[object]:
    if verdict.number is None:
        return [value_of(None)]
    out: list[object] = ["suspicion ", value_of(verdict.number)]
    if verdict.threshold is not None:
        out.append(tag("span", f"flagged above {figure(verdict.threshold)}", class_="note"))
    return [*out, facts(verdict.number)]


def _bound(number: Number | None, side: str, sign: str) -> list[object]:
    bound = getattr(number, side) if number else None
    if number is None or bound is None:
        return [value_of(None if number is None or not number.refused else number)]
    point = tag("span", f"measured {figure(number.value)}", class_="note")
    return [cite(number.seq, together(f"{sign} ", tag("b", figure(bound)))), point, facts(number)]


def _broken(verdict: Verdict) -> Html:
    return tag(
        "p",
        tag("b", "The recorded verdict doesn't follow from its own numbers. "),
        f"“{clip(verdict.property, 80)}” is on record as “{verdict.verdict}” (", cite(verdict.seq),
        f"); by the rule above it is “{verdict.follows}”.",
        class_="alarm",
    )  # fmt: skip


def _claim(verdict: Verdict) -> Html:
    numbers = [tag("li", clip(n.title or n.name), ": ", value_of(n, signed=n.tags.get("figure") == "contrast"))
               for n in verdict.evidence]  # fmt: skip
    listing = tag("ul", *(numbers or [tag("li", "no measurement")]), *_defeaters(verdict), class_="why")
    return row(
        named(clip(verdict.text, 400)),
        cell(chip(verdict.verdict), " ", cite(verdict.seq), cites(verdict.earlier), label="Verdict"),
        cell(listing, label="Numbers"),
    )


def undetected_section(dossier: Dossier) -> Html:
    """Everything that escaped, failed to show, was refused or was never measured."""
    parts: list[Html] = [tag("h2", "What was not detected", id="not-detected")]
    items = [tag("li", finding.text, " ", cites(finding.seqs)) for finding in dossier.undetected]
    if items:
        parts.append(tag("ul", *items, class_="loud"))
    else:
        parts.append(
            nothing("no audited organism, no installed behaviour and no accuracy that would tell what escapes")
        )
    if dossier.missing:
        parts.append(tag("h3", "Never measured in this ledger"))
        parts.append(tag("ul", *(tag("li", name) for name in dossier.missing), class_="loud"))
    for problem in dossier.problems:
        parts.append(tag("p", problem.text, " ", cites(problem.seqs), class_="alarm"))
    return tag("section", *parts, aria_labelledby="not-detected")
