"""Inline SVG: strips (a bar with its interval), ROC curves, suspicion by model. Numbers in, coordinates out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from superalign.report.html import Html, tag, together
from superalign.report.text import clip, figure
from superalign.report.views import Curve, Number, Suspect

WIDE, HIGH = 320, 26
_FAR = 1e9
_PAD = 8


class Scale(NamedTuple):
    """What a strip's axis spans, where its bars begin, and the values that deserve a name."""

    low: float
    high: float
    base: float
    marks: tuple[tuple[float, str], ...] = ()
    signed: bool = False
    alarm: bool = False
    """Drawn in the colour of false alarms."""

    def x(self, value: float) -> float:
        """The coordinate of a value in a strip; grows with the value, and stays inside."""
        inside = min(max(value, self.low), self.high)
        return round(_PAD + (WIDE - 2 * _PAD) * (inside - self.low) / (self.high - self.low), 2)


def scale_for(
    numbers: Iterable[Number], *, low: float, high: float, base: float, marks: Sequence[tuple[float, str]] = (),
    signed: bool = False, alarm: bool = False,
) -> Scale:  # fmt: skip
    """A scale that holds [low, high] and every value and bound."""
    found = [v for n in numbers for v in (n.value, n.low, n.high) if v is not None]
    ends = [min(max(v, -_FAR), _FAR) for v in (*found, low, high)]
    room = 0.02 * (max(ends) - min(ends)) if found else 0.0
    bottom = min(ends) - room if min(ends) < low else low
    top = max(ends) + room if max(ends) > high else high
    return Scale(bottom, top, base, tuple(marks), signed, alarm)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most `most` round values within [low, high].

    >>> ticks(0.0, 1.0)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    span = high - low
    if not span > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span))
    for step in (power * f for f in (0.1, 0.2, 0.25, 0.5, 1, 2, 2.5, 5)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [round(i * step, 12) for i in range(first, last + 1)]
    return [low]


def line(x1: float, y1: float, x2: float, y2: float, look: str) -> Html:
    """One straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=look)


def words(x: float, y: float, text: object, *, anchor: str = "start", look: str | None = None) -> Html:
    """A text in a drawing."""
    return tag("text", text, x=round(x, 2), y=round(y, 2), text_anchor=anchor, class_=look)


def drawing(width: float, height: float, look: str, title: str, about: str, *parts: Html) -> Html:
    """An SVG that says in words what it shows."""
    inside = together(tag("title", title), tag("desc", about) if about != title else Html(""), *parts)
    return tag("svg", inside, viewBox=f"0 0 {width:g} {height:g}", role="img", class_=look)


def axis(scale: Scale) -> Html:
    """The head of a column of strips: round values, and names for those that have one."""
    named = dict(scale.marks)
    shown = sorted({t for t in ticks(scale.low, scale.high) if all(abs(scale.x(t) - scale.x(m)) > 34 for m in named)})
    parts = [words(scale.x(t), 30, _tick(t), anchor="middle") for t in shown]
    for value, name in scale.marks:
        at = scale.x(value)
        anchor = "start" if at < 60 else "end" if at > WIDE - 60 else "middle"
        parts.append(words(at, 30, _tick(value), anchor="middle", look="strong"))
        parts.append(words(at - 4 if anchor == "start" else at + 4 if anchor == "end" else at, 14, name, anchor=anchor))
    about = "axis from " + figure(scale.low) + " to " + figure(scale.high)
    return drawing(WIDE, 34, "strip", about, about, *parts)


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def strip(number: Number | None, scale: Scale) -> Html:
    """One bar from the base to the value, its interval as a whisker; a refusal as an empty dashed box."""
    middle = HIGH / 2
    parts = [line(scale.x(t), 0, scale.x(t), HIGH, "grid") for t in ticks(scale.low, scale.high)]
    parts += [line(scale.x(v), -2, scale.x(v), HIGH + 2, "base") for v, _ in scale.marks]
    tone = " alarm2" if scale.alarm else ""
    if number is None or number.value is None:
        text = "not measured" if number is None else "refused"
        left = scale.x(scale.low)
        parts.append(tag("rect", x=left, y=5, width=scale.x(scale.high) - left, height=HIGH - 10, class_="void"))
        parts.append(words(WIDE / 2, middle + 4, text, anchor="middle"))
        return drawing(WIDE, HIGH, "strip", text, text, *parts)
    at, base = scale.x(number.value), scale.x(scale.base)
    parts.append(
        tag("rect", x=min(at, base), y=7, width=round(abs(at - base), 2), height=HIGH - 14, class_=f"bar{tone}")
    )
    said = figure(number.value, signed=scale.signed)
    if number.interval:
        low, high = (scale.x(bound) for bound in number.interval)
        path = f"M{low} {middle - 4}V{middle + 4}M{low} {middle}H{high}M{high} {middle - 4}V{middle + 4}"
        parts.append(tag("path", d=path, class_="whisker"))
        said += f", from {figure(number.low, signed=scale.signed)} to {figure(number.high, signed=scale.signed)}"
    parts.append(tag("circle", cx=at, cy=middle, r=4.5, class_=f"dot{tone}"))
    return drawing(WIDE, HIGH, "strip", said, said, *parts)


SIDE, EDGE, TOP = 300, 42, 34


def roc_xy(fpr: float, tpr: float) -> tuple[float, float]:
    """Where a point of a ROC curve lies: right with the false alarms, up with the detections."""
    span = SIDE - EDGE - 14
    return round(EDGE + span * fpr, 2), round(TOP + span * (1 - tpr), 2)


def roc(curve: Curve) -> Html:
    """One curve with its operating point; ties are one sloping step, drawn as such."""
    parts = []
    for share in (0.0, 0.5, 1.0):
        (x, _), (_, y) = roc_xy(share, 0), roc_xy(0, share)
        parts += [line(x, roc_xy(0, 1)[1], x, roc_xy(0, 0)[1], "grid"), line(EDGE, y, roc_xy(1, 0)[0], y, "grid")]
        parts += [words(x, SIDE - 2, _tick(share), anchor="middle"), words(EDGE - 8, y + 4, _tick(share), anchor="end")]
    parts.append(line(*roc_xy(0, 0), *roc_xy(1, 1), "chance"))
    path = "M" + "L".join(f"{x} {y}" for x, y in (roc_xy(p.fpr, p.tpr) for p in curve.points))
    parts.append(tag("path", d=path, class_="curve"))
    about = f"{curve.organisms} organisms, {curve.twins} twins"
    if curve.operating:
        x, y = roc_xy(curve.operating.fpr, curve.operating.tpr)
        parts.append(tag("circle", cx=x, cy=y, r=7, class_="organism"))
        about += (
            f"; operating point: {curve.operating.organisms} organisms caught, {curve.operating.twins} twins accused"
        )
    parts.append(words(SIDE - 14, SIDE + 18, "twins accused →", anchor="end"))
    parts.append(words(4, 12, "↑ organisms caught"))
    return drawing(SIDE, SIDE + 24, "chart roc", f"ROC curve of check {clip(curve.check, 60)}", about, *parts)


ROW, BROAD = 40, 560
_SHAPES = {"organism": "organism", "twin": "twin", "subject": "subject"}


def suspicion(suspects: Sequence[Suspect], threshold: float | None) -> Html:
    """One dot a model by what it was: organisms by kind, twins, base, subject; the threshold across all."""
    groups = suspicion_rows(suspects)
    values = [s.number.value for s in suspects if s.number.value is not None] + (
        [threshold] if threshold is not None else []
    )
    near = [min(max(v, -_FAR), _FAR) for v in values] or [0.0]
    low, high = min(0.0, *near), max(near)
    high = high if high > low else low + 1
    height = ROW * len(groups) + 44

    def x(value: float) -> float:
        return round(14 + (BROAD - 28) * (min(max(value, low), high) - low) / (high - low), 2)

    parts = [line(x(t), 18, x(t), height - 26, "grid") for t in ticks(low, high)]
    parts += [words(x(t), height - 6, _tick(t), anchor="middle") for t in ticks(low, high)]
    if threshold is not None:
        at = x(threshold)
        parts.append(line(at, 14, at, height - 26, "need"))
        side = "end" if at > BROAD / 2 else "start"
        parts.append(words(at, 9, f"flagged above {figure(threshold)}", anchor=side, look="need"))
    for i, (name, truth, members) in enumerate(groups):
        top = 24 + ROW * i
        parts.append(words(0, top + 8, name, look="strong"))
        parts += [line(0, top + ROW - 6, BROAD, top + ROW - 6, "grid")]
        piles = _piles([(x(v), m) for m in members if (v := m.number.value) is not None])
        for (at, same), (after, _) in zip(piles, [*piles[1:], (math.inf, [])], strict=True):
            parts.append(_shape(truth, at, top + 22, same))
            if len(same) > 1 and after - at > 32:
                parts.append(words(at + 11, top + 26, f"×{len(same)}"))
    title = f"Suspicion of each model under check {clip(suspects[0].check if suspects else '', 60)}"
    return drawing(BROAD, height, "chart dots", title, "the same numbers are in the table below", *parts)


def suspicion_rows(suspects: Sequence[Suspect]) -> list[tuple[str, str, list[Suspect]]]:
    """(name, truth, members) for each line of the plot: organisms by kind first, the subject last."""
    found: dict[tuple[int, str, str], list[Suspect]] = {}
    order = {"organism": 0, "twin": 1, "base": 2, "subject": 4}
    for one in suspects:
        kind = one.kind if one.truth == "organism" else ""
        found.setdefault((order.get(one.truth, 3), one.truth, kind), []).append(one)
    plural = {"organism": "organisms", "twin": "twins", "base": "base models", "subject": "the subject"}
    return [
        (clip(f"{plural.get(truth, truth)}{': ' + kind if kind else ''}", 60), truth, members)
        for (_, truth, kind), members in sorted(found.items())
    ]


def _piles(marks: list[tuple[float, Suspect]]) -> list[tuple[float, list[Suspect]]]:
    """Models at one spot (as exact ties are) share a mark, which says how many they are."""
    found: dict[int, tuple[float, list[Suspect]]] = {}
    for at, one in sorted(marks, key=lambda mark: mark[0]):
        found.setdefault(round(at), (at, []))[1].append(one)
    return list(found.values())


def _shape(truth: str, x: float, y: float, same: list[Suspect]) -> Html:
    said = tag("title", "; ".join(f"{clip(one.alias, 40)}: {figure(one.number.value)}" for one in same[:20]))
    look = _SHAPES.get(truth, "other")
    if truth == "twin":
        return tag("circle", said, cx=x, cy=y, r=5.5, class_=look)
    if truth == "subject":
        return tag("rect", said, x=round(x - 6, 2), y=y - 6, width=12, height=12, class_=look)
    return tag("path", said, d=f"M{x} {y - 8}L{round(x + 7, 2)} {y}L{x} {y + 8}L{round(x - 7, 2)} {y}Z", class_=look)
