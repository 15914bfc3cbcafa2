"""Drawings of a leaderboard: what is read against what is right, the curve of budgets, reliability. No scripts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from superalign.report.html import Html, tag
from superalign.report.plots import EDGE, SIDE, drawing, line, roc_xy, ticks, words
from superalign.report.text import clip, figure
from superalign.report.views import Number

WIDE, HIGH = 680, 360
LEFT, TOP, FOOT = 44, 30, 44
LETTER, TALL, LINE = 6.6, 13, 15
"""Pixels that a letter of a label takes, about, its height, and a line with the room above it."""
LEAST, MOST = 0.5, 1e9
"""Tokens under which a judge reads nothing, and over which a drawing does not go."""
COLOURS = ("--blue", "--orange", "--teal", "--red", "--slate")


class Spot(NamedTuple):
    """One protocol in a drawing: what its judge reads in one play, and how often it is right."""

    name: str
    tokens: float
    accuracy: Number
    """With a value."""


class Frame(NamedTuple):
    """Where numbers lie: tokens to the right, by their logarithm; accuracy upwards."""

    least: float
    most: float
    low: float
    high: float
    right: float = WIDE - 20
    """Pixel at which tokens end."""
    nothing: bool = False
    """Does somebody read nothing?"""

    def x(self, tokens: float) -> float:
        """Pixel of so many tokens; none of them lie at the left edge."""
        if tokens < LEAST:
            return LEFT + 14.0
        share = math.log(tokens / self.least) / math.log(self.most / self.least)
        left = LEFT + 40 if self.nothing else LEFT
        return round(left + (self.right - left) * min(max(share, 0.0), 1.0), 2)

    def y(self, accuracy: float) -> float:
        """Pixel of an accuracy."""
        share = (min(max(accuracy, self.low), self.high) - self.low) / (self.high - self.low)
        return round(HIGH - FOOT - (HIGH - FOOT - TOP) * share, 2)


def frame_of(spots: Iterable[Spot], *, right: float = WIDE - 20) -> Frame:
    """A frame that holds all spots, their intervals, and chance."""
    spots = list(spots)
    read = [min(spot.tokens, MOST) for spot in spots if spot.tokens >= LEAST] or [1.0, 2.0]
    ends = [end for spot in spots for end in (spot.accuracy.value, *(spot.accuracy.interval or ())) if end is not None]
    least, most = min(read), max(read)
    return Frame(
        least=least / 1.15,
        most=max(most, least * 2) * 1.15,
        low=max(0.0, min([0.45, *ends])),
        high=min(1.0, max([0.6, *ends])),
        right=right,
        nothing=any(spot.tokens < LEAST for spot in spots),
    )


def frontier_of(spots: Sequence[Spot]) -> list[Spot]:
    """Those that nobody beats: no other is at least as accurate and reads less, or reads as much and is more accurate.

    >>> def spot(name, tokens, value):
    ...     return Spot(name, tokens, Number(seq=1, name="", title="", value=value))
    >>> [s.name for s in frontier_of([spot("a", 10, 0.7), spot("b", 20, 0.6), spot("c", 20, 0.9)])]
    ['a', 'c']
    """
    kept: list[Spot] = []
    for spot in sorted(spots, key=lambda s: (s.tokens, -(s.accuracy.value or 0.0), s.name)):
        if not kept or (spot.accuracy.value or 0.0) > (kept[-1].accuracy.value or 0.0):
            kept.append(spot)
    return kept


def cost_plot(spots: Sequence[Spot], controls: Sequence[str], title: str) -> Html:
    """Every protocol by what its judge reads and how often it is right; the frontier is drawn through, and named."""
    frame, best = frame_of(spots), frontier_of(spots)
    path = "M" + "L".join(f"{frame.x(s.tokens)} {frame.y(s.accuracy.value or 0.0)}" for s in best)
    parts = [*_grid(frame), tag("path", d=path, class_="curve")]
    labels = []
    looks = {s.name: "dot" if s in best else "subject" if s.name in controls else "other" for s in spots}
    for spot in sorted(spots, key=lambda s: ("other", "subject", "dot").index(looks[s.name])):
        parts += _mark(frame, spot, looks[spot.name], whisker=looks[spot.name] != "other")
        labels.insert(0, (frame.x(spot.tokens), frame.y(spot.accuracy.value or 0.0), clip(spot.name, 44)))
    strong = {clip(name, 44) for name, look in looks.items() if look != "other"}
    taken = [(frame.x(s.tokens) - 6, frame.y(s.accuracy.value or 0.0) - 6, 12.0, 12.0) for s in spots]
    for at, anchor, text in placed(labels, taken):
        parts.append(words(*at, text, anchor=anchor, look="strong" if text in strong else None))
    said = "; ".join(f"{s.name} reads {s.tokens:,.0f} and is right on {figure(s.accuracy.value)}" for s in best)
    return drawing(WIDE, HIGH, "chart dots", title, f"Nobody is better for less than these: {clip(said, 900)}.", *parts)


Box = tuple[float, float, float, float]


def placed(
    labels: Sequence[tuple[float, float, str]], taken: Sequence[Box]
) -> list[tuple[tuple[float, float], str, str]]:
    """((x, y), anchor, text) of each label that finds room beside its spot without covering another; the rest is left out.

    `taken` holds boxes (x, y, width, height) that nothing may cover; a label left out still stands in the table.
    """
    full, out = list(taken), []
    for x, y, text in labels:
        width = LETTER * len(text)
        for dx, dy, anchor in ((11, 4, "start"), (-11, 4, "end"), (0, -11, "middle"), (0, 20, "middle"), (11, -9, "start"),
                               (11, 18, "start"), (-11, -9, "end"), (-11, 18, "end")):  # fmt: skip
            left = x + dx - {"start": 0.0, "end": width, "middle": width / 2}[anchor]
            box = (left, y + dy - 10, width, float(TALL))
            own = (x - 6, y - 6, 12.0, 12.0)
            inside = left > LEFT + 2 and left + width < WIDE and box[1] > 12 and box[1] + TALL < HIGH - FOOT + 4
            if inside and not any(_meet(box, other) for other in full if other != own):
                full.append(box)
                out.append(((x + dx, y + dy), anchor, text))
                break
    return out


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def budget_plot(lines: Mapping[str, Sequence[Spot]], title: str) -> Html:
    """One line a protocol through its budgets: what its judge reads, and how often it is right; named at its end."""
    right = WIDE - 24 - LETTER * max((len(clip(name, 30)) for name in lines), default=0)
    frame = frame_of([spot for spots in lines.values() for spot in spots], right=right)
    parts, ends = _grid(frame), []
    for i, (name, spots) in enumerate(lines.items()):
        tone, aside = f"var({COLOURS[i % len(COLOURS)]})", 5 * (i - (len(lines) - 1) / 2)
        found = [(round(frame.x(s.tokens) + aside, 2), frame.y(s.accuracy.value or 0.0)) for s in spots]
        path = "M" + "L".join(f"{x} {y}" for x, y in found)
        parts.append(tag("path", d=path, class_="curve", style=f"stroke:{tone}"))
        for spot in spots:
            parts += _mark(frame, spot, "dot", whisker=True, tone=tone, aside=aside)
        ends.append((found[-1][1], found[-1][0], clip(name, 30), tone))
    for y, (was, x, name, tone) in _apart(ends):
        parts.append(
            tag("path", d=f"M{x + 8} {was}L{right + 10} {y - 4}", class_="edge", style=f"stroke:{tone};stroke-width:.7")
        )
        parts.append(tag("text", name, x=right + 14, y=y, class_="strong", style=f"fill:{tone}"))
    said = "; ".join(
        f"{name}: " + ", ".join(f"{s.tokens:,.0f} tokens {figure(s.accuracy.value)}" for s in spots)
        for name, spots in lines.items()
    )
    return drawing(WIDE, HIGH, "chart dots", title, clip(said, 1200), *parts)


def _apart(ends: Sequence[tuple[float, float, str, str]]) -> list[tuple[float, tuple[float, float, str, str]]]:
    """Labels from top to bottom, a line apart at least and inside the drawing."""
    out: list[tuple[float, tuple[float, float, str, str]]] = []
    at = TOP - LINE
    for end in sorted(ends):
        at = max(end[0] + 4, at + LINE)
        out.append((at, end))
    over = max(0.0, out[-1][0] - (HIGH - FOOT)) if out else 0.0
    return [(round(y - over, 2), end) for y, end in out]


def _grid(frame: Frame) -> list[Html]:
    """Both axes, with chance and what they mean."""
    bottom, parts = HIGH - FOOT, []
    for accuracy in ticks(frame.low, frame.high):
        y = frame.y(accuracy)
        parts += [line(LEFT, y, frame.right, y, "grid"), words(LEFT - 8, y + 4, f"{accuracy:g}", anchor="end")]
    parts.append(line(LEFT, frame.y(0.5), frame.right, frame.y(0.5), "chance"))
    if frame.nothing:
        parts.append(words(frame.x(0), bottom + 16, "0", anchor="middle"))
    for tokens in _rounds(frame.least, frame.most):
        parts += [line(frame.x(tokens), TOP, frame.x(tokens), bottom, "grid")]
        parts.append(words(frame.x(tokens), bottom + 16, f"{tokens:,g}", anchor="middle"))
    parts.append(words(LEFT, 14, "↑ accuracy"))
    parts.append(words(frame.right, bottom + 34, "tokens that the judge reads in one play →", anchor="end"))
    return parts


def _rounds(low: float, high: float) -> list[float]:
    """Round numbers of tokens within [low, high], by doubling or so.

    >>> _rounds(9, 130)
    [10, 20, 50, 100]
    """
    if low <= 0 or high <= low:
        return []
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high < 1000 * low else (1,)
    return [t for p in powers for t in (step * 10**p for step in steps) if low <= t <= high]


def _mark(frame: Frame, spot: Spot, look: str, *, whisker: bool, tone: str = "", aside: float = 0.0) -> list[Html]:
    """A dot, and its interval; `aside` keeps whiskers of several at one place apart."""
    x, y, parts = round(frame.x(spot.tokens) + aside, 2), frame.y(spot.accuracy.value or 0.0), []
    said = f"{clip(spot.name, 60)}: {spot.tokens:,.0f} tokens, {figure(spot.accuracy.value)}"
    if spot.accuracy.interval:
        low, high = (frame.y(end) for end in spot.accuracy.interval)
        said += f", from {figure(spot.accuracy.low)} to {figure(spot.accuracy.high)}"
        if whisker:
            parts.append(tag("path", d=f"M{x} {low}V{high}", class_="whisker", style=_thin(tone)))
    parts.append(
        tag("circle", tag("title", said), cx=x, cy=y, r=4.5, class_=look, style=f"fill:{tone}" if tone else None)
    )
    return parts


def _thin(tone: str) -> str:
    return "stroke-width:1;opacity:.6" + (f";stroke:{tone}" if tone else "")


def reliability_plot(name: str, bins: Sequence[Sequence[float]]) -> Html:
    """What the judge said against how often it was so, a mark a bin, as large as it; on the diagonal it is calibrated."""
    parts = []
    for share in (0.0, 0.5, 1.0):
        (x, _), (_, y) = roc_xy(share, 0), roc_xy(0, share)
        parts += [line(x, roc_xy(0, 1)[1], x, roc_xy(0, 0)[1], "grid"), line(EDGE, y, roc_xy(1, 0)[0], y, "grid")]
        parts += [words(x, SIDE - 2, f"{share:g}", anchor="middle"), words(EDGE - 8, y + 4, f"{share:g}", anchor="end")]
    parts.append(line(*roc_xy(0, 0), *roc_xy(1, 1), "chance"))
    at = [roc_xy(said, came) for said, came, _ in bins]
    whole = sum(events for _, _, events in bins) or 1.0
    for (x, y), (said, came, events) in zip(at, bins, strict=True):
        told = tag("title", f"said {figure(said)}, so it was {figure(came)} of {events:,.0f} times")
        radius = round(3 + 12 * math.sqrt(events / whole), 2)
        parts.append(tag("circle", told, cx=x, cy=y, r=radius, class_="dot", style="fill-opacity:.75"))
    parts += [words(SIDE - 14, SIDE + 18, "the judge's belief →", anchor="end"), words(4, 12, "↑ how often it was so")]
    about = "; ".join(f"{figure(said)} → {figure(came)}" for said, came, _ in bins)
    return drawing(SIDE, SIDE + 24, "chart roc", f"Reliability of {clip(name, 60)}", about, *parts)
