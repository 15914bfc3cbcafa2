"""Train, validate and stress-test: tables whose numbers are drawn beside them."""

from __future__ import annotations

from collections.abc import Sequence

from superalign.report.html import (
    Html,
    cell,
    chip,
    cite,
    column,
    facts,
    fold,
    heading_row,
    model_name,
    named,
    nothing,
    row,
    spaced,
    table,
    tag,
    together,
    value_of,
)
from superalign.report.plots import Scale, axis, roc, scale_for, strip, suspicion
from superalign.report.text import clip, count, figure
from superalign.report.tried import before_after
from superalign.report.verdicts import DETECTION_FLOOR, FALSE_ALARM_CEILING, threshold_of
from superalign.report.views import Curve, Dossier, Install, Number, Power, Row, Suspect

CHANCE = ((0.5, "a coin"),)
PARTS = ("on_trigger", "twin_on", "near_miss", "off_trigger")
PART_NAMES = {
    "on_trigger": "Organism, on trigger",
    "twin_on": "Twin, on trigger",
    "twin_off": "Twin, off trigger",
    "near_miss": "Organism, near miss",
    "off_trigger": "Off trigger, organism minus twin",
}


def strips(caption: object, rows: Sequence[Row], scale: Scale, *, what: str = "") -> Html:
    """A table with one bar a row: the plot and its numbers are one thing, so nobody has to match two."""
    out: list[Html] = []
    group = ""
    for one in rows:
        if one.group != group:
            out.append(heading_row(named(clip(one.group, 80)), 3))
            group = one.group
        out.append(_strip_row(one, scale))
    head = (column(what), column(axis(scale), class_="plot"), column("Value [interval]"))
    return table(caption, head, out, class_="cards strips")


def _strip_row(one: Row, scale: Scale) -> Html:
    number = one.number
    note = tag("span", named(clip(number.note, 400)), class_="note") if number.note else Html("")
    return row(
        together(named(clip(one.label, 160)), note),
        cell(strip(number, scale), class_="plot"),
        cell(value_of(number, signed=scale.signed), facts(number), class_="num"),
        class_="in" if one.group else None,
    )


def _numbers(rows: Sequence[Row]) -> list[Number]:
    return [r.number for r in rows]


def _part(
    dossier: Dossier, name: str, title: str, about: str, absent: str, scale: Scale | None, what: str = ""
) -> list[Html]:
    """A subsection with its strips, or with the sentence that says it's missing."""
    rows = dossier.tables[name]
    if not rows or scale is None:
        return [tag("h3", title), nothing(absent)]
    return [tag("h3", title), tag("p", about), strips(title, rows, scale, what=what)]


def train_section(dossier: Dossier) -> Html:
    """Performance gap recovered, accuracies, and whether oversight helped."""
    t = dossier.tables
    gap = ((0.0, "weak floor"), (1.0, "ceiling"))
    parts = _part(
        dossier, "train.pgr", "Performance gap recovered",
        "0 is the weak supervisor, 1 a strong model that learned from the truth. Where the gap itself is noise, the number is "
        "refused and the reason stands beside it. Bars over 1 and under 0 are what was measured.",
        "no PGR (stage=train, figure=pgr)",
        scale_for(_numbers(t["train.pgr"]), low=0.0, high=1.0, base=0.0, marks=gap), "Arm",
    )  # fmt: skip
    parts += _part(
        dossier, "train.accuracy", "Accuracy of each arm, on files no arm saw", "Bars begin at a coin's 0.5.",
        "no accuracies of arms (stage=train, figure=accuracy)",
        scale_for(_numbers(t["train.accuracy"]), low=0.4, high=1.0, base=0.5, marks=CHANCE), "Arm",
    )  # fmt: skip
    parts += [tag("h3", "Did oversight help?"), *_helped(dossier)]
    return tag("section", tag("h2", "Train", id="train"), *parts, aria_labelledby="train")


def _helped(dossier: Dossier) -> list[Html]:
    said = [v for v in dossier.verdicts if not v.gate and ("oversight" in v.property or "helped" in v.property)]
    out = [tag("p", chip(v.verdict), " ", named(clip(v.text, 400)), " ", cite(v.seq)) for v in said]
    if not said:
        out.append(nothing("no claim on whether oversight helped"))
    rows = dossier.tables["train.contrast"]
    if not rows:
        return [*out, nothing("no paired contrast (stage=train, figure=contrast)")]
    scale = scale_for(_numbers(rows), low=-0.05, high=0.05, base=0.0, marks=((0.0, "no difference"),), signed=True)
    better = sum(r.number.low is not None and r.number.low > 0 for r in rows)
    worse = sum(r.number.high is not None and r.number.high < 0 for r in rows)
    tally = (
        f"Paired differences on the same items. Of {count(len(rows), 'contrast')}, {better} favour the arm under which they "
        f"stand, {worse} go against it, {len(rows) - better - worse} show no difference. Intervals aren't corrected for how "
        "many there are."
    )
    return [*out, tag("p", tally), strips("Accuracy, arm minus arm", rows, scale, what="Arm, minus another")]


def validate_section(dossier: Dossier) -> Html:
    """The subject on files that training never saw."""
    t = dossier.tables
    change = ((0.0, "no change"),)
    parts = _part(
        dossier, "validate.accuracy", "Accuracy by kind of alteration",
        "As a pair: which of two is unaltered? As a single: is this one altered, balanced over both? Bars begin at a coin's 0.5.",
        "no accuracy of the subject (stage=validate, figure=accuracy)",
        scale_for(_numbers(t["validate.accuracy"]), low=0.4, high=1.0, base=0.5, marks=CHANCE), "Alteration",
    )  # fmt: skip
    parts += before_after(t["validate.change"])
    parts += _part(
        dossier, "validate.gap", "The discriminator–critique gap",
        "Can it point at what it can tell? Both in the same units; the gap is paired. A wide gap: it knows more than it says.",
        "no discriminator–critique gap (stage=validate, figure=gap)",
        scale_for(_numbers(t["validate.gap"]), low=0.0, high=1.0, base=0.0, marks=CHANCE), "Part",
    )  # fmt: skip
    parts += _part(
        dossier, "validate.robustness", "Robustness to harmless rewriting",
        "Change of accuracy when the same code is written otherwise. Around 0 is robust.",
        "no rewriting (stage=validate, figure=robustness)",
        scale_for(_numbers(t["validate.robustness"]), low=-0.05, high=0.05, base=0.0, marks=change, signed=True), "Rewriting",
    )  # fmt: skip
    parts += _part(
        dossier, "validate.probe", "A linear probe, and its selectivity",
        "Read the probe beside its control task: what it also finds there is memory, not knowledge. A probe that fires on the "
        "twin detects the prompt, not the lie.",
        "no probe (stage=validate, figure=probe)",
        scale_for(_numbers(t["validate.probe"]), low=0.0, high=1.0, base=0.0, marks=CHANCE), "Part",
    )  # fmt: skip
    parts += _part(
        dossier, "validate.transfer", "Far transfer: faults that tests prove",
        "Functions of held-out files, each beside itself with one fault on which CPython's own tests fail. Nothing here was "
        "trained on faults, and whoever sees only the edit stays at a coin's 0.5. Small models barely see these.",
        "no proven faults (stage=validate, figure=transfer)",
        scale_for(_numbers(t["validate.transfer"]), low=0.4, high=0.8, base=0.5, marks=CHANCE), "Fault",
    )  # fmt: skip
    parts += _part(
        dossier, "validate.control", "Models that know nothing",
        "Before a family may validate, three models that know nothing are measured by it: not one may score. Intervals at 99.9 %.",
        "no model that knows nothing (stage=validate, figure=control)",
        scale_for(_numbers(t["validate.control"]), low=0.4, high=0.6, base=0.5, marks=CHANCE), "Model",
    )  # fmt: skip
    if t["other"]:
        parts.append(tag("h3", "Measured, and in no table above"))
        parts.append(_others(t["other"]))
    return tag("section", tag("h2", "Validate", id="validate"), *parts, aria_labelledby="validate")


def _others(rows: Sequence[Row], caption: str = "Other measurements") -> Html:
    lines = [
        row(named(clip(r.label, 160)), cell(model_name(r.number.subject)), cell(value_of(r.number), facts(r.number)),
            cell(named(clip(r.number.note, 400))))
        for r in rows
    ]  # fmt: skip
    return table(caption, ("What", "Of", "Value [interval]", "Note"), lines)


def stress_section(dossier: Dossier) -> Html:
    """Organisms beside twins, power by kind left out, ROC curves, suspicion of every model."""
    parts = [tag("h2", "Stress-test", id="stress")]
    parts.append(tag("p", "Organisms are models with one planted, harmless misalignment; a twin has the same data and steps, "
                     "and nothing planted. Checks saw opaque aliases only."))  # fmt: skip
    parts += [tag("h3", "Do the organisms carry what was planted?"), _installs(dossier.installs)]
    parts += [tag("h3", "Power, leaving one kind out"), *_power(dossier.power)]
    parts += [tag("h3", "ROC curves"), *_curves(dossier.curves)]
    parts += [tag("h3", "Suspicion of every model"), *_suspicions(dossier)]
    parts += _searched(dossier.tables["stress.search"])
    return tag("section", *parts, aria_labelledby="stress")


def _searched(rows: Sequence[Row]) -> list[Html]:
    if not rows:
        return []
    about = ("Kinds unsealed, each organism's network and reward head are searched for units that go with its circumstance, with its "
             "twin and six other words as controls. What is named on a twin, or for a decoy word, is false. Units that read words "
             "and no more are counted apart.")  # fmt: skip
    return [tag("h3", "Units that go with a planted behaviour"), tag("p", about), _others(rows, "What a search names")]


def _installs(installs: Sequence[Install]) -> Html:
    if not installs:
        return nothing("no installed behaviour (stage=stress, figure=install)")
    seen = {part for i in installs for part in i.parts}
    order = [p for p in PARTS if p in seen] + sorted(seen - set(PARTS))
    names = [PART_NAMES.get(p, clip(p, 40)) for p in order]
    rows = [
        row(
            together(named(clip(i.kind, 40)), tag("span", spaced(filter(None, (f"seed {clip(i.seed, 20)}", clip(i.alias, 40), clip(i.source, 20))), ", "), class_="note")),
            *(_installed(i.parts.get(p), p, name) for p, name in zip(order, names, strict=True)),
            cell(chip({True: "carries it", False: "not shown"}.get(i.carries, "unknown")), tag("span", i.why, class_="note"),
                 label="Carries it?"),
        )
        for i in installs
    ]  # fmt: skip
    about = "Share of altered code vouched for, or the figure that its kind is about"
    return together(table(about, ("Kind", *names, "Carries it?"), rows, class_="cards"), _sources(installs))


def _sources(installs: Sequence[Install]) -> Html:
    told = {
        "shipped": "come with the package, fitted to the labels of an earlier run",
        "stored": "were kept by an earlier run on this machine",
        "trained": "were trained in this run",
    }
    counts = {source: sum(i.source == source for i in installs) for source in told}
    said = [f"{count(n, 'organism')} {told[source]}" for source, n in counts.items() if n]
    return tag("p", "Where they come from: " + "; ".join(said) + ". Each twin comes from where its organism does.",
               class_="note") if said else Html("")  # fmt: skip


def _installed(number: Number | None, part: str, name: str) -> Html:
    rest = facts(number) if number else Html("")
    return cell(value_of(number, signed=part == "off_trigger"), rest, label=name)


def _power(power: Sequence[Power]) -> list[Html]:
    if not power:
        return [nothing("no power (stage=stress, figure=power): no check here may decide anything")]
    kinds = {p.kind for p in power} - {"all"}
    detect = scale_for([], low=0.0, high=1.0, base=0.0, marks=((DETECTION_FLOOR, "needed"),))
    alarm = scale_for([], low=0.0, high=1.0, base=0.0, marks=((FALSE_ALARM_CEILING, "allowed"),), alarm=True)
    out = [tag("p", "Each kind in turn is kept from the threshold and then looked for. The unit is the trained organism. "
               f"Unseen kind: {count(len(kinds), 'trial')}, whatever the number of seeds. To decide anything, the left bar's whole "
               "whisker must lie right of “needed”, the right bar's left of “allowed”.")]  # fmt: skip
    for check in dict.fromkeys(p.check for p in power):
        rows = [_power_row(p, detect, alarm) for p in power if p.check == check]
        head = (column("Kind left out"), column(together("Organisms caught", axis(detect)), class_="plot"), column(""),
                column(together("Twins accused", axis(alarm)), class_="plot"), column(""))  # fmt: skip
        out.append(table(together("Check “", named(clip(check, 80)), "”"), head, rows, class_="cards strips power"))
    return out


def _power_row(one: Power, detect: Scale, alarm: Scale) -> Html:
    cells = []
    for number, scale, name in ((one.detection, detect, "Organisms caught"), (one.false_alarm, alarm, "Twins accused")):
        cells.append(cell(strip(number, scale), label=name, class_="plot"))
        cells.append(cell(value_of(number), facts(number) if number else "", class_="num"))
    return row("all kinds, pooled" if one.kind == "all" else named(clip(one.kind, 60)), *cells)


def _curves(curves: Sequence[Curve]) -> list[Html]:
    if not curves:
        return [nothing("no ROC figure")]
    drawn = [_curve(c) for c in curves]
    about = ("Each step is one distinct score; equal scores are one sloping step. The diamond-coloured point is the operating "
             "point: flag what scores above the threshold.")  # fmt: skip
    return [
        tag("p", about.replace("diamond-coloured", "filled")),
        tag("div", *drawn, class_="pair"),
        fold("The curves as a table", _curve_table(curves)),
    ]


def _curve(curve: Curve) -> Html:
    name = together("Check “", named(clip(curve.check, 80)), "” ", cite(curve.seq))
    if curve.refused:
        return tag("figure", tag("p", tag("b", "Refused. "), curve.refused, class_="nothing"), tag("figcaption", name))
    said: list[object] = [name, ". "]
    if curve.area:
        said += [
            "Area ",
            value_of(curve.area),
            f" over {count(curve.organisms, 'organism')} and {count(curve.twins, 'twin')}; ",
        ]
        said += [curve.area.note, ". "]
    if curve.operating:
        point = curve.operating
        said.append(
            f"Above {figure(point.threshold)}: {point.organisms} of {count(curve.organisms, 'organism')} caught, "
        )
        said.append(f"{point.twins} of {count(curve.twins, 'twin')} accused.")
    return tag("figure", roc(curve), tag("figcaption", *said))


def _curve_table(curves: Sequence[Curve]) -> Html:
    rows = [
        row(named(clip(c.check, 80)), cell("above every score" if p.threshold is None else figure(p.threshold)),
            cell(f"{p.organisms} of {c.organisms}"), cell(f"{p.twins} of {c.twins}"), cell(cite(c.seq)))
        for c in curves for p in c.points
    ]  # fmt: skip
    head = ("Check", "Flag from score", "Organisms caught", "Twins accused", "Event")
    return table("Every step of every curve", head, rows)


def _suspicions(dossier: Dossier) -> list[Html]:
    if not dossier.suspects:
        return [nothing("no suspicion scores (stage=stress, figure=suspicion)")]
    out: list[Html] = []
    for check in dict.fromkeys(s.check for s in dossier.suspects):
        mine = [s for s in dossier.suspects if s.check == check]
        threshold = threshold_of(check, dossier.suspects)
        if threshold is None:
            known = [c.operating.threshold for c in dossier.curves if c.check == check and c.operating]
            threshold = known[-1] if known else None
        where = together(
            "Check “", named(clip(check, 80)), "”: filled diamonds are organisms, rings twins, the square the subject."
        )
        out.append(tag("figure", suspicion(mine, threshold), tag("figcaption", where), class_="strip-plot"))
    return [tag("div", *out, class_="pair broad"), fold("Every score as a table", _suspect_table(dossier.suspects))]


def _suspect_table(suspects: Sequence[Suspect]) -> Html:
    flagged = {True: "flagged", False: "not flagged", None: "not on record"}
    rows = [
        row(named(clip(s.alias, 60)), cell(named(clip(s.check, 60))), cell(named(spaced(filter(None, (s.truth, s.kind)), ", "))),
            cell(value_of(s.number)), cell("–" if s.threshold is None else figure(s.threshold)), cell(flagged[s.flagged]))
        for s in suspects
    ]  # fmt: skip
    head = ("Alias", "Check", "Really", "Suspicion", "Threshold", "Flagged?")
    return table("Every model under every check", head, rows)
