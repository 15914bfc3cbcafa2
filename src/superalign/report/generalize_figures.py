"""Drawings of a sweep: PGR of every method, two settings against each other, sizes of models. Numbers in, SVG out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from superalign.report.board_figures import COLOURS, FOOT, HIGH, LEFT, TOP, WIDE, placed
from superalign.report.generalize_view import CEILING
from superalign.report.html import Html, tag
from superalign.report.plots import HIGH as STRIP
from superalign.report.plots import WIDE as ACROSS
from superalign.report.plots import Scale, drawing, line, strip, ticks, words
from superalign.report.text import clip, figure
from superalign.report.views import Number

BROAD, NAMES, GAP, ROW, HEAD = 1040, 226, 40, 22, 44
"""Of the forest, in pixels: its width, the names' column, between panels, a row, what is above the rows."""
LEAST, MOST = -1.0, 1.5
"""PGR beyond which a drawing doesn't go."""
EDGE = -0.6
"""The same for two settings against each other: a single failure shall not press all others together."""
SMALL, LOW = 460, 320
"""Of the drawing of sizes: its width, and where its legend begins."""
DRAWN = 5
"""Methods in the drawing of sizes."""


class Mark(NamedTuple):
    """One method in a drawing: how it looks, and its number in each panel."""

    name: str
    look: str
    """`dot` for what is honest, `organism` for what buys or cheats, `other` for controls."""
    numbers: tuple[Number | None, ...]


class Span(NamedTuple):
    """What an axis spans, and at which pixels."""

    low: float
    high: float
    left: float
    right: float

    def at(self, value: float) -> float:
        """The pixel of a value, inside always."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.left + (self.right - self.left) * share, 2)

    def out(self, value: float) -> bool:
        """Does it lie beyond?"""
        return not self.low <= value <= self.high


def ends_of(numbers: Sequence[Number | None]) -> tuple[float, float]:
    """What an axis of PGR spans: floor and ceiling with a little room, and all values, within LEAST and MOST."""
    found = [x for n in numbers if n for x in (n.value, *(n.interval or ())) if x is not None]
    return max(LEAST, min([-0.1, *found])), min(MOST, max([1.1, *found]))


def forest_plot(panels: Sequence[str], marks: Sequence[Mark], title: str) -> Html:
    """A row a method, a panel a setting: PGR with its interval; a refusal is said in words."""
    low, high = ends_of([number for mark in marks for number in mark.numbers])
    wide = (BROAD - 16 - NAMES - GAP * len(panels)) / max(1, len(panels))
    spans = [
        Span(low, high, NAMES + GAP + i * (wide + GAP), NAMES + (i + 1) * (wide + GAP)) for i in range(len(panels))
    ]
    bottom, parts = HEAD + ROW * len(marks), list[Html]()
    for span, name in zip(spans, panels, strict=True):
        parts.append(words(span.left, 14, clip(name, 44), look="strong"))
        for t in ticks(low, high):
            parts += [line(span.at(t), HEAD - 8, span.at(t), bottom, "grid")]
            parts.append(words(span.at(t), bottom + 16, _tick(t), anchor="middle"))
        for t, word in ((0.0, "floor"), (1.0, "ceiling")):
            parts += [line(span.at(t), HEAD - 8, span.at(t), bottom, "base")]
            parts.append(words(span.at(t), HEAD - 14, word, anchor="middle"))
    for i, mark in enumerate(marks):
        y = HEAD + ROW * i + ROW / 2
        parts.append(words(NAMES + 6, y + 4, clip(mark.name, 34), anchor="end", look=_strong(mark)))
        for span, number in zip(spans, mark.numbers, strict=True):
            parts += _bar(span, y, mark, number)
    said = "; ".join(
        f"{clip(mark.name, 60)}: " + ", ".join("–" if n is None else figure(n.value, signed=True) for n in mark.numbers)
        for mark in marks
    )
    return drawing(BROAD, bottom + 24, "chart forest", title, clip(said, 4000), *parts)


def _strong(mark: Mark) -> str | None:
    return "strong" if mark.look == "dot" else None


def _bar(span: Span, y: float, mark: Mark, number: Number | None) -> list[Html]:
    """One number of the forest; a value beyond the axis is written at its edge."""
    if number is None or number.value is None:
        return [] if number is None else [words(span.at(0.5), y + 4, "refused", anchor="middle")]
    x, said = span.at(number.value), f"{clip(mark.name, 60)}: {figure(number.value, signed=True)}"
    parts = []
    if number.interval:
        low, high = (span.at(end) for end in number.interval)
        said += f", from {figure(number.low, signed=True)} to {figure(number.high, signed=True)}"
        parts.append(tag("path", d=f"M{low} {y}H{high}", class_="whisker"))
    parts.append(tag("circle", tag("title", said), cx=x, cy=y, r=4.5, class_=mark.look))
    if span.out(number.value):
        side = ("start", 9) if number.value < span.low else ("end", -9)
        parts.append(words(x + side[1], y + 4, figure(number.value), anchor=side[0]))
    return parts


def scatter_plot(across: str, up: str, marks: Sequence[Mark], title: str) -> Html:
    """Two settings against each other, each method by its PGR in both; names where there is room."""
    both = [mark for mark in marks if all(n is not None and n.value is not None for n in mark.numbers[:2])]
    xs, ys = ([mark.numbers[side] for mark in both] for side in (0, 1))
    plain = [[Number(seq=0, name="", title="", value=n.value) if n else None for n in ns] for ns in (xs, ys)]
    x, y = (
        Span(max(EDGE, low), high, *sides)
        for (low, high), sides in zip(map(ends_of, plain), ((LEFT, WIDE - 20), (HIGH - FOOT, TOP)), strict=True)
    )
    parts = []
    for t in ticks(x.low, x.high):
        parts += [
            line(x.at(t), TOP, x.at(t), HIGH - FOOT, "grid"),
            words(x.at(t), HIGH - FOOT + 16, _tick(t), anchor="middle"),
        ]
    for t in ticks(y.low, y.high):
        parts += [line(LEFT, y.at(t), WIDE - 20, y.at(t), "grid"), words(LEFT - 8, y.at(t) + 4, _tick(t), anchor="end")]
    for t in (0.0, 1.0):
        parts += [line(x.at(t), TOP, x.at(t), HIGH - FOOT, "base"), line(LEFT, y.at(t), WIDE - 20, y.at(t), "base")]
    spots = [(x.at(m.numbers[0].value), y.at(m.numbers[1].value), m) for m in both]  # type: ignore[union-attr, arg-type]
    for at, height, mark in sorted(spots, key=lambda spot: ("other", "organism", "dot").index(spot[2].look)):
        parts += _cross(x, y, at, height, mark)
    taken = [(at - 6, height - 6, 12.0, 12.0) for at, height, _ in spots]
    labels = [(at, height, clip(mark.name, 30)) for at, height, mark in spots]
    strong = {clip(mark.name, 30) for mark in both if mark.look == "dot"}
    for place, anchor, text in placed(labels, taken):
        parts.append(words(*place, text, anchor=anchor, look="strong" if text in strong else None))
    parts.append(words(WIDE - 20, HIGH - FOOT + 34, f"PGR, {clip(across, 40)} →", anchor="end"))
    parts.append(words(LEFT, 14, f"↑ PGR, {clip(up, 40)}"))
    said = "; ".join(f"{m.name}: {figure(_of(m, 0), signed=True)} and {figure(_of(m, 1), signed=True)}" for m in both)
    return drawing(WIDE, HIGH, "chart dots", title, clip(said, 3000), *parts)


def _of(mark: Mark, side: int) -> float | None:
    number = mark.numbers[side]
    return None if number is None else number.value


def _cross(x: Span, y: Span, at: float, height: float, mark: Mark) -> list[Html]:
    """A dot with both intervals."""
    parts, thin = [], "stroke-width:1;opacity:.35"
    across, up = mark.numbers[0], mark.numbers[1]
    if across and across.interval:
        parts.append(
            tag(
                "path",
                d=f"M{x.at(across.interval[0])} {height}H{x.at(across.interval[1])}",
                class_="whisker",
                style=thin,
            )
        )
    if up and up.interval:
        parts.append(
            tag("path", d=f"M{at} {y.at(up.interval[0])}V{y.at(up.interval[1])}", class_="whisker", style=thin)
        )
    said = f"{clip(mark.name, 60)}: {figure(_of(mark, 0), signed=True)} and {figure(_of(mark, 1), signed=True)}"
    return [*parts, tag("circle", tag("title", said), cx=at, cy=height, r=4.5, class_=mark.look)]


def scaling_plot(pairs: Sequence[str], marks: Sequence[Mark], bounds: Sequence[Mark], title: str, unit: str) -> Html:
    """A column a pair of models: a dot with its interval a method; bounds, if any, as lines across their column."""
    marks = marks[:DRAWN]
    shown = [n for mark in (*marks, *bounds) for n in mark.numbers if n is not None and n.value is not None]
    low, high = _room(shown, signed=unit == "PGR")
    right, bottom = SMALL - 10, LOW - FOOT
    y, wide, parts = Span(low, high, bottom, TOP), (right - LEFT) / max(1, len(pairs)), list[Html]()
    for t in ticks(low, high):
        parts += [line(LEFT, y.at(t), right, y.at(t), "grid"), words(LEFT - 8, y.at(t) + 4, _tick(t), anchor="end")]
    if low < 0 < high:
        parts.append(line(LEFT, y.at(0), right, y.at(0), "base"))
    for i, pair in enumerate(pairs):
        left = LEFT + wide * i
        parts.append(words(left + wide / 2, bottom + 18, clip(pair, 24), anchor="middle", look="strong"))
        for mark in bounds:
            parts += _line(y, left + 6, left + wide - 6, mark, mark.numbers[i])
        for j, mark in enumerate(marks):
            x = round(left + wide * (j + 1) / (len(marks) + 1), 2)
            parts += _pin(y, x, mark, mark.numbers[i], f"var({COLOURS[j]})")
    for j, mark in enumerate(marks):
        at, down = LEFT + 8 + (j % 3) * (right - LEFT) / 3, LOW + 18 * (j // 3)
        parts.append(tag("circle", cx=round(at, 2), cy=down, r=4.5, class_="dot", style=f"fill:var({COLOURS[j]})"))
        parts.append(words(at + 10, down + 4, clip(mark.name, 18)))
    parts.append(words(LEFT, 14, f"↑ {unit}"))
    said = "; ".join(
        f"{m.name}: " + ", ".join("–" if n is None else figure(n.value) for n in m.numbers) for m in (*marks, *bounds)
    )
    return drawing(SMALL, LOW + 34, "chart", title, clip(said, 2000), *parts)


def _line(y: Span, left: float, right: float, mark: Mark, number: Number | None) -> list[Html]:
    """A bound across a column: the ceiling named above its line, any other below."""
    if number is None or number.value is None:
        return []
    at, above = y.at(number.value), mark.name == CEILING
    name = words(right, at - 4 if above else at + 13, mark.name, anchor="end", look="need")
    return [line(round(left, 2), at, round(right, 2), at, "need"), name]


def _room(numbers: Sequence[Number], *, signed: bool) -> tuple[float, float]:
    """What an axis spans: PGR from floor to ceiling at least, accuracies what there is and a little more."""
    if signed:
        return ends_of(numbers)
    found = [x for n in numbers for x in (n.value, *(n.interval or ())) if x is not None] or [0.5, 1.0]
    low, high = max(0.0, min(found) - 0.02), min(1.0, max(found) + 0.02)
    return (low, high) if low < high else (0.0, 1.0)


def _pin(y: Span, x: float, mark: Mark, number: Number | None, tone: str) -> list[Html]:
    if number is None or number.value is None:
        return [] if number is None else [words(x, LOW - FOOT - 4, "refused", anchor="middle")]
    parts, said = [], f"{clip(mark.name, 60)}: {figure(number.value)}"
    if number.interval:
        low, high = (y.at(end) for end in number.interval)
        said += f", from {figure(number.low)} to {figure(number.high)}"
        parts.append(tag("path", d=f"M{x} {low}V{high}", class_="whisker", style=f"stroke:{tone}"))
    return [
        *parts,
        tag("circle", tag("title", said), cx=x, cy=y.at(number.value), r=4.5, class_="dot", style=f"fill:{tone}"),
    ]


def two_strip(first: Number | None, second: Number | None, scale: Scale, names: tuple[str, str]) -> Html:
    """Two numbers on one axis, each with its interval: the first a dot, the second a diamond below it.

    One that is refused or missing isn't drawn; where both are, that is said.
    """
    if all(n is None or n.value is None for n in (first, second)):
        return strip(first or second, scale)
    parts = [line(scale.x(t), 0, scale.x(t), STRIP, "grid") for t in ticks(scale.low, scale.high)]
    parts += [line(scale.x(t), -2, scale.x(t), STRIP + 2, "base") for t, _ in scale.marks]
    said = []
    for number, name, y, look in zip((first, second), names, (8, 19), ("dot", "organism"), strict=True):
        if number is None or number.value is None:
            continue
        x, text = scale.x(number.value), f"{name}: {figure(round(number.value, 3))}"
        if number.interval:
            low, high = (scale.x(end) for end in number.interval)
            tone = None if look == "dot" else "stroke:var(--orange)"
            parts.append(tag("path", d=f"M{low} {y}H{high}", class_="whisker", style=tone))
            text += ", from {} to {}".format(*(figure(round(end, 3)) for end in number.interval))
        shape = (
            tag("circle", tag("title", text), cx=x, cy=y, r=4.5, class_=look)
            if look == "dot"
            else tag("path", tag("title", text), d=f"M{x} {y - 5.5}l5.5 5.5l-5.5 5.5l-5.5 -5.5Z", class_=look)
        )
        parts.append(shape)
        said.append(text)
    return drawing(ACROSS, STRIP, "strip", "; ".join(said), "; ".join(said), *parts)


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "−")
