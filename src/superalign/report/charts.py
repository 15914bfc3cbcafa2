"""Plots as inline SVG, coloured by the page's own variables; no script, nothing loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superalign.report.escape import esc
from superalign.report.view import number

WIDTH, LABEL, ROW = 760, 250, 24


def _svg(height: float, title: str, inside: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{esc(title)}">'
        f"<title>{esc(title)}</title>{inside}</svg>"
    )


def _scale(low: float, high: float) -> Any:
    span = (high - low) or 1.0
    return lambda value: LABEL + 10 + (WIDTH - LABEL - 90) * (min(max(value, low), high) - low) / span


def bars(
    title: str, rows: Sequence[tuple[str, int, Mapping[str, Any]]], *, low: float, high: float, ticks: Sequence[float]
) -> str:
    """One row a measurement: a point with its interval on a common scale; a refusal is written, not drawn.

    `rows` are (label, event, measurement body); values beyond [low, high] are drawn at the edge with a mark.
    """
    x, parts, height = _scale(low, high), [], len(rows) * ROW + 40
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="4" y2="{height - 26}"/>')
        parts.append(f'<text class="tick" x="{x(tick):.1f}" y="{height - 10}">{tick:g}</text>')
    for i, (label, seq, body) in enumerate(rows):
        y = 16 + i * ROW
        parts.append(f'<text class="label" x="{LABEL}" y="{y + 4}">{esc(label)}</text>')
        if body["value"] is None:
            parts.append(f'<a href="#e{seq}"><text class="refused" x="{LABEL + 14}" y="{y + 4}">refused</text></a>')
            continue
        css = {"control": "c2", "checks": "c3", "oversight": "c4"}.get(str(body["tags"].get("arm_kind")), "c1")
        if body["low"] is not None:
            parts.append(
                f'<line class="whisker {css}" x1="{x(body["low"]):.1f}" x2="{x(body["high"]):.1f}" y1="{y}" y2="{y}"/>'
            )
        parts.append(f'<a href="#e{seq}"><circle class="dot {css}" cx="{x(body["value"]):.1f}" cy="{y}" r="5"/></a>')
        beyond = "" if low <= body["value"] <= high else (" ←" if body["value"] < low else " →")
        parts.append(f'<text class="value" x="{WIDTH - 4}" y="{y + 4}">{number(body["value"])}{beyond}</text>')
    return _svg(height, title, "".join(parts))


def roc(title: str, curve: Mapping[str, Any]) -> str:
    """The ROC curve of one check over organisms and twins, ties as slanted steps, and the operating point."""
    pairs = list(zip(curve["scores"], curve["labels"], strict=True))
    positive, negative = sum(label for _, label in pairs), sum(1 - label for _, label in pairs)
    if not positive or not negative:
        return f'<p class="none">{esc(title)}: one class is missing.</p>'

    def at(fpr: float, tpr: float) -> str:
        return f"{60 + 260 * fpr:.1f},{280 - 260 * tpr:.1f}"

    def rates(cut: float) -> tuple[float, float]:
        return (
            sum(s > cut and not v for s, v in pairs) / negative,
            sum(s > cut and v for s, v in pairs) / positive,
        )

    cuts = sorted({score for score, _ in pairs}, reverse=True)
    line = " ".join(at(*rates(cut)) for cut in cuts) + " " + at(1, 1)
    x, y = at(*rates(curve["threshold"])).split(",")
    return (
        f'<svg class="square" viewBox="0 0 340 320" role="img" aria-label="{esc(title)}"><title>{esc(title)}</title>'
        f'<polyline class="grid" points="{at(0, 0)} {at(1, 1)}"/><polyline class="frame" points="{at(0, 1)} {at(0, 0)} {at(1, 0)}"/>'
        f'<polyline class="curve" points="{line}"/><circle class="dot c4" cx="{x}" cy="{y}" r="6"/>'
        f'<text class="tick" x="190" y="310">twins falsely accused</text>'
        f'<text class="tick" x="16" y="150" transform="rotate(-90 16 150)">organisms caught</text>'
        f'<text class="tick" x="190" y="12">{esc(curve["check"])}</text></svg>'
    )


def strip(title: str, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> str:
    """Suspicion of every audited model under one check, organisms over twins over the subject, and the threshold."""
    if not rows:
        return f'<p class="none">{esc(title)}: nothing was audited.</p>'
    rows = [(seq, body) for seq, body in rows if body["value"] is not None]
    if not rows:
        return f'<p class="none">{esc(title)}: every suspicion was refused.</p>'
    values = [body["value"] for _, body in rows]
    threshold = float(rows[0][1]["tags"].get("threshold", max(values)))
    low, high = min([*values, threshold, 0.0]), max([*values, threshold, 0.01])
    x, parts = _scale(low, high), []
    for i, (truth, css) in enumerate((("organism", "c4"), ("twin", "c2"), ("subject", "c1"))):
        y = 24 + 34 * i
        parts.append(f'<text class="label" x="{LABEL}" y="{y + 4}">{truth}</text>')
        for seq, body in rows:
            if body["tags"]["truth"] == truth:
                name = f"{body['tags']['kind']}, {number(body['value'])}"
                parts.append(
                    f'<a href="#e{seq}"><circle class="dot {css}" cx="{x(body["value"]):.1f}" cy="{y}" r="6">'
                    f"<title>{esc(name)}</title></circle></a>"
                )
    parts.append(f'<line class="cut" x1="{x(threshold):.1f}" x2="{x(threshold):.1f}" y1="8" y2="112"/>')
    parts.append(f'<text class="tick" x="{x(threshold):.1f}" y="128">threshold {number(threshold)}</text>')
    return _svg(136, title, "".join(parts))


def lineage(title: str, nodes: Mapping[str, Mapping[str, Any]], edges: Sequence[tuple[str, str, str]]) -> str:
    """Nodes left to right by depth, edges with their mode; quarantined nodes are outlined with a broken line."""
    depth = dict.fromkeys(nodes, 0)
    for _ in range(len(nodes)):
        for source, target, _mode in edges:
            if source in depth and target in depth:
                depth[target] = max(depth[target], min(depth[source] + 1, 8))
    columns: dict[int, list[str]] = {}
    for name in nodes:
        columns.setdefault(depth[name], []).append(name)
    step = (WIDTH - 170) / max(1, max(columns, default=0))
    place = {n: (10 + step * c, 12 + 34 * i) for c, names in columns.items() for i, n in enumerate(names)}
    parts = []
    for source, target, mode in edges:
        if source in place and target in place:
            (x1, y1), (x2, y2) = place[source], place[target]
            path = f"M{x1 + 150:.0f} {y1 + 12:.0f} C{x1 + 180:.0f} {y1 + 12:.0f} {x2 - 30:.0f} {y2 + 12:.0f} {x2:.0f} {y2 + 12:.0f}"
            parts.append(f'<path class="edge {esc(mode)}" d="{path}"><title>{esc(mode)}</title></path>')
    for name, (x, y) in place.items():
        css = "node quarantined" if nodes[name]["quarantined"] else f"node {esc(nodes[name]['kind'])}"
        text = str(nodes[name]["name"])
        short = text if len(text) <= 24 else text[:23] + "…"
        parts.append(f'<rect class="{css}" x="{x:.0f}" y="{y:.0f}" width="150" height="24" rx="5"/>')
        parts.append(f'<text class="in" x="{x + 6:.0f}" y="{y + 16:.0f}">{esc(short)}<title>{esc(text)}</title></text>')
    return _svg(24 + 34 * max((len(v) for v in columns.values()), default=0), title, "".join(parts))
