"""The lineage as a drawing: left to right, what went into what, and which signals measured it."""

from __future__ import annotations

from typing import NamedTuple

from superalign.report.html import Html, cell, cite, fold, named, nothing, row, table, tag, together
from superalign.report.lineage import layers
from superalign.report.plots import drawing, words
from superalign.report.text import clip
from superalign.report.views import Lineage, LineageEdge, LineageNode

WIDTH, HEIGHT, ACROSS, DOWN = 178, 54, 74, 18
LANE = 4
Slot = tuple[str | int, LineageEdge | None]
"""A place in a column: (box, None), or (column, line) where a line only passes."""
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


class Plan(NamedTuple):
    """Where everything lies: left upper corners of the boxes, and for each line the lanes that it runs through."""

    boxes: dict[str, tuple[float, float]]
    lanes: dict[LineageEdge, list[tuple[float, float]]]


def places(lineage: Lineage) -> Plan:
    """Columns by what comes after what; a line over several columns has a lane of its own in each, so that it hides no box.

    Order within a column by the mean of the neighbours (Sugiyama et al. 1981), a few sweeps to and fro.
    """
    column = layers(lineage.drawn_nodes, lineage.drawn_edges)
    slots: dict[int, list[Slot]] = {}
    for node in lineage.drawn_nodes:
        slots.setdefault(column[node.key], []).append((node.key, None))
    ties: list[tuple[Slot, Slot]] = []
    for edge in lineage.drawn_edges:
        chain: list[Slot] = [
            (edge.source, None),
            *((index, edge) for index in range(column[edge.source] + 1, column[edge.target])),
        ]
        for slot in chain[1:]:
            slots.setdefault(int(slot[0]), []).append(slot)
        ties += zip(chain, [*chain[1:], (edge.target, None)], strict=True)
    _untangle(slots, ties)
    boxes: dict[str, tuple[float, float]] = {}
    lanes: dict[LineageEdge, list[tuple[float, float]]] = {edge: [] for edge in lineage.drawn_edges}
    tallest = max((_height(members) for members in slots.values()), default=0.0)
    for index in sorted(slots):
        y = (tallest - _height(slots[index])) / 2
        for key, edge in slots[index]:
            if edge is None:
                boxes[str(key)] = (index * (WIDTH + ACROSS), y)
            else:
                lanes[edge].append((index * (WIDTH + ACROSS), y + LANE / 2))
            y += (HEIGHT if edge is None else LANE) + DOWN
    return Plan(boxes, lanes)


def _height(members: list[Slot]) -> float:
    return sum((HEIGHT if edge is None else LANE) + DOWN for _, edge in members) - DOWN


def _untangle(slots: dict[int, list[Slot]], ties: list[tuple[Slot, Slot]]) -> None:
    near: dict[Slot, list[Slot]] = {}
    for one, other in ties:
        near.setdefault(one, []).append(other)
        near.setdefault(other, []).append(one)
    order = {slot: i / len(members) for members in slots.values() for i, slot in enumerate(members)}
    for _ in range(8):
        for index in (*sorted(slots), *sorted(slots, reverse=True)):
            pull = {s: sum(order[n] for n in near[s]) / len(near[s]) if s in near else order[s] for s in slots[index]}
            slots[index].sort(key=lambda slot: pull[slot])
            order |= {slot: i / len(slots[index]) for i, slot in enumerate(slots[index])}


def graph(lineage: Lineage, subject: str) -> Html:
    """The boxes and lines."""
    plan = places(lineage)
    ends = [*plan.boxes.values(), *(at for lane in plan.lanes.values() for at in lane)]
    width, height = max(x for x, _ in ends) + WIDTH, max(y for _, y in ends) + HEIGHT
    lines = [_line(e, plan) for e in lineage.drawn_edges]
    boxes = [_box(n, plan.boxes[n.key], subject.rpartition("@")[2] == n.digest) for n in lineage.drawn_nodes]
    about = f"{len(boxes)} boxes and {len(lines)} lines; the lists below say the same"
    inside = tag("g", *lines, *boxes, transform="translate(4 4)")
    return drawing(width + 8, height + 8, "graph", "Lineage from left to right", about, inside)


def _line(edge: LineageEdge, plan: Plan) -> Html:
    (x, y), (end, last) = plan.boxes[edge.source], plan.boxes[edge.target]
    x, y, last = x + WIDTH, y + HEIGHT / 2, last + HEIGHT / 2
    look = edge.mode if edge.mode in _MODES else "fit"
    path = f"M{x:g} {y:g}"
    for left, lane in [*plan.lanes[edge], (end, last)]:
        bend = max((left - x) / 2, 24)
        path += f"C{x + bend:g} {y:g} {left - bend:g} {lane:g} {left:g} {lane:g}"
        x, y = (left + WIDTH, lane) if left != end else (left, lane)
        path += f"H{x:g}" if left != end else ""
    tip = f"M{end - 7:g} {last - 4:g}L{end:g} {last:g}L{end - 7:g} {last + 4:g}"
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
        words(x + 14, y + 47, "" if roles == "–" else roles),
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
