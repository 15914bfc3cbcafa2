"""The lineage as a drawing: left to right, what went into what, and which signals measured it."""

from __future__ import annotations

from superalign.report.html import Html, cell, cite, fold, named, nothing, row, table, tag, together
from superalign.report.lineage import layers
from superalign.report.plots import drawing, words
from superalign.report.text import clip
from superalign.report.views import Lineage, LineageEdge, LineageNode

WIDTH, HEIGHT, ACROSS, DOWN = 178, 54, 74, 18
_MODES = {
    "fit": "fitted on",
    "select": "selected by",
    "read": "read",
    "report": "reported on",
    "contains": "part of",
    "measured": "measured by (from measurements)",
}


def lineage_section(lineage: Lineage, subject: str) -> Html:
    """Drawing, legend, and both lists."""
    parts = [tag("h2", "Lineage", id="lineage")]
    if not lineage.nodes:
        return tag(
            "section",
            *parts,
            nothing("no lineage: no model, data set or signal is registered"),
            aria_labelledby="lineage",
        )
    parts.append(tag("p", "Left to right, what went into what. ", tag("b", "Solid and dashed orange lines are optimisation"),
                     " (fitted on, selected by); ", tag("b", "dotted blue lines are measurement"), ". A signal that has both into "
                     "one model would break the firewall. The role of data and signals stands in the box."))  # fmt: skip
    parts.append(tag("figure", tag("div", graph(lineage, subject), class_="scroll wide", tabindex=0, role="group"),
                     tag("figcaption", *_legend(lineage))))  # fmt: skip
    parts.append(fold(f"All {len(lineage.nodes)} models, data sets and signals, and {len(lineage.edges)} edges",
                      _node_table(lineage), _edge_table(lineage)))  # fmt: skip
    return tag("section", *parts, aria_labelledby="lineage")


def _legend(lineage: Lineage) -> list[object]:
    out: list[object] = ["Dashed boxes are quarantined. Thick box: the subject."]
    if lineage.left_out:
        out.append(f" {lineage.left_out} boxes are not drawn; they are in the list.")
    return out


def places(lineage: Lineage) -> dict[str, tuple[float, float]]:
    """Box → left upper corner; a column holds what comes after everything in the columns before it."""
    column = layers(lineage.drawn_nodes, lineage.drawn_edges)
    by_column: dict[int, list[str]] = {}
    for node in lineage.drawn_nodes:
        by_column.setdefault(column[node.key], []).append(node.key)
    order = {key: float(i) for keys in by_column.values() for i, key in enumerate(keys)}
    for _ in range(6):
        for index in (*sorted(by_column), *sorted(by_column, reverse=True)):
            weights = {key: _pull(key, lineage.drawn_edges, order) for key in by_column[index]}
            by_column[index].sort(key=lambda key: weights[key])
            order |= {key: float(i) for i, key in enumerate(by_column[index])}
    tallest = max((len(keys) for keys in by_column.values()), default=1)
    out = {}
    for index, keys in by_column.items():
        top = (tallest - len(keys)) * (HEIGHT + DOWN) / 2
        out |= {key: (index * (WIDTH + ACROSS), top + i * (HEIGHT + DOWN)) for i, key in enumerate(keys)}
    return out


def _pull(key: str, edges: tuple[LineageEdge, ...], order: dict[str, float]) -> float:
    near = [order[e.source] for e in edges if e.target == key] + [order[e.target] for e in edges if e.source == key]
    return sum(near) / len(near) if near else order[key]


def graph(lineage: Lineage, subject: str) -> Html:
    """The boxes and lines."""
    at = places(lineage)
    width = max(x for x, _ in at.values()) + WIDTH + 4
    height = max(y for _, y in at.values()) + HEIGHT + 4
    lines = [_line(e, at) for e in lineage.drawn_edges]
    boxes = [_box(n, at[n.key], subject.rpartition("@")[2] == n.digest) for n in lineage.drawn_nodes]
    about = f"{len(boxes)} boxes and {len(lines)} lines; the lists below say the same"
    return drawing(
        width + 4,
        height + 4,
        "graph",
        "Lineage from left to right",
        about,
        tag("g", *lines, *boxes, transform="translate(4 4)"),
    )


def _line(edge: LineageEdge, at: dict[str, tuple[float, float]]) -> Html:
    (x1, y1), (x2, y2) = at[edge.source], at[edge.target]
    x1, y1, y2 = x1 + WIDTH, y1 + HEIGHT / 2, y2 + HEIGHT / 2
    bend = max(abs(x2 - x1) / 2, 24)
    look = edge.mode if edge.mode in _MODES else "fit"
    path = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
    tip = f"M{x2 - 7} {y2 - 4}L{x2} {y2}L{x2 - 7} {y2 + 4}"
    return together(tag("path", d=path, class_=f"edge {look}"), tag("path", d=tip, class_=f"edge {look} tip"))


def _box(node: LineageNode, at: tuple[float, float], it: bool) -> Html:
    x, y = at
    look = f"box {node.kind if node.kind in ('model', 'data', 'signal', 'session') else 'data'}"
    look += " quarantined" if "quarantined" in node.marks else ""
    round_ = {"model": 4, "signal": 26}.get(node.kind, 12)
    digest = node.digest if node.members > 1 else node.digest[:8]
    roles = listed_roles(node)
    name = node.name if len(node.name) <= 24 else f"{node.name[:23]}…"
    return tag(
        "g",
        tag("title", clip(f"{node.kind} {node.name}, {digest}, {roles}", 300)),
        tag("rect", x=x, y=y, width=WIDTH, height=HEIGHT, rx=round_, class_=look + (" it" if it else "")),
        words(x + 14, y + 18, name, look="strong"),
        words(x + 14, y + 33, f"{node.kind} {digest}" if node.members == 1 else digest),
        words(x + 14, y + 47, roles),
    )


def listed_roles(node: LineageNode) -> str:
    """Roles and marks in a few words: "validation", "declared base", "quarantined"."""
    return ", ".join((*(clip(r, 20) for r in node.roles), *node.marks)) or "–"


def _node_table(lineage: Lineage) -> Html:
    rows = [
        row(
            named(clip(n.name, 80)),
            cell(n.kind),
            cell(tag("code", n.digest[:16])),
            cell(listed_roles(n)),
            cell(cite(n.seq)),
        )
        for n in lineage.nodes
    ]
    return table("Everything registered", ("Name", "Kind", "Digest", "Role", "Event"), rows)


def _edge_table(lineage: Lineage) -> Html:
    names = {n.digest: together(named(clip(n.name, 60)), f"@{n.digest[:8]}") for n in lineage.nodes}
    rows = [
        row(names[e.target], cell(_MODES.get(e.mode, clip(e.mode, 20))), cell(names[e.source]), cell(cite(e.seq)))
        for e in lineage.edges
    ]
    return table("What went into what", ("This", "was", "that", "Event"), rows)
