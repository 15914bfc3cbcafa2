"""Node, edge, signal and measurement events → the lineage: what was fitted on what, and what measured it."""

from __future__ import annotations

from collections.abc import Iterable

from superalign.report.measured import EventLike
from superalign.report.text import count
from superalign.report.views import Lineage, LineageEdge, LineageNode

MOST_DRAWN = 28
ROLES = ("train", "dev", "validation", "test")


class _Facts:
    """What the events say of each digest, collected in order."""

    def __init__(self) -> None:
        self.first: dict[str, tuple[int, str, str]] = {}  # digest -> seq, kind, name
        self.roles: dict[str, set[str]] = {}
        self.families: dict[str, set[str]] = {}
        self.family_role: dict[str, str] = {}
        self.marks: dict[str, set[str]] = {}
        self.edges: dict[tuple[str, str, str], int] = {}
        self.aliases: dict[str, str] = {}

    def read(self, event: EventLike) -> None:
        body = event.body
        digest = str(body.get("digest", ""))
        if event.type == "node":
            self.first.setdefault(digest, (event.seq, str(body.get("kind")), str(body.get("name"))))
            if body.get("quarantined") is True:
                self.marks.setdefault(digest, set()).add("quarantined")
        elif event.type == "signal":
            self.first.setdefault(digest, (event.seq, "signal", str(body.get("name"))))
            self.families.setdefault(digest, set()).add(str(body.get("family")))
            self.family_role.setdefault(str(body.get("family")), str(body.get("role")))
        elif event.type in ("promote", "demote"):
            for family in self.families.get(str(body.get("signal")), ()):
                self.family_role[family] = str(body.get("role"))
        elif event.type == "contains":
            self.families.setdefault(digest, set()).update(str(f) for f in body.get("families") or ())
        elif event.type == "base":
            self.marks.setdefault(digest, set()).add("declared base")
        elif event.type == "edge":
            key = (str(body.get("source")), str(body.get("target")), str(body.get("mode")))
            self.edges.setdefault(key, event.seq)
        elif event.type == "unseal":
            self.aliases[str(body.get("alias"))] = str(body.get("subject"))

    def measured(self, event: EventLike) -> None:
        """A derived edge: signals and data → the model they measured."""
        subject = str(event.body.get("subject", ""))
        target = self.aliases.get(subject, subject).rpartition("@")[2]
        if target not in self.first:
            return
        for source in (*(event.body.get("signals") or ()), *(event.body.get("inputs") or ())):
            known = self.first.get(str(source))
            if known and known[1] in ("signal", "data") and source != target:
                self.edges.setdefault((str(source), target, "measured"), event.seq)

    def roles_of(self, digest: str) -> tuple[str, ...]:
        roles = {self.family_role.get(f, f.rpartition("/")[2]) for f in self.families.get(digest, ())}
        return tuple(sorted(roles, key=lambda r: (ROLES.index(r) if r in ROLES else 9, r)))


def lineage_of(events: Iterable[EventLike]) -> Lineage:
    """The whole lineage as lists, and folded into at most MOST_DRAWN boxes for drawing."""
    facts, kept = _Facts(), list(events)
    for event in kept:
        facts.read(event)
    for event in kept:
        if event.type == "measurement":
            facts.measured(event)
    nodes = tuple(
        LineageNode(digest, kind, name, digest, facts.roles_of(digest), tuple(sorted(facts.marks.get(digest, ()))), seq)
        for digest, (seq, kind, name) in facts.first.items()
    )
    edges = tuple(
        LineageEdge(s, t, mode, seq)
        for (s, t, mode), seq in facts.edges.items()
        if s in facts.first and t in facts.first
    )
    drawn, folded, left_out = _folded(nodes, edges)
    return Lineage(nodes=nodes, edges=edges, drawn_nodes=drawn, drawn_edges=folded, left_out=left_out)


def _folded(
    nodes: tuple[LineageNode, ...], edges: tuple[LineageEdge, ...]
) -> tuple[tuple[LineageNode, ...], tuple[LineageEdge, ...], int]:
    """Quarantined models become one box, and so do data sets of one name and role; models stay apart."""
    groups: dict[str, list[LineageNode]] = {}
    for node in nodes:
        groups.setdefault(_fold_key(node), []).append(node)
    boxes = {key: _box(key, members) for key, members in groups.items()}
    shown = dict(list(boxes.items())[:MOST_DRAWN])
    key_of = {node.digest: key for key, members in groups.items() for node in members}
    seen: dict[tuple[str, str, str], LineageEdge] = {}
    for edge in edges:
        source, target = key_of[edge.source], key_of[edge.target]
        if source != target and source in shown and target in shown:
            seen.setdefault((source, target, edge.mode), LineageEdge(source, target, edge.mode, edge.seq))
    fitted = {(e.source, e.target) for e in seen.values() if e.mode != "measured"}
    out = [e for e in seen.values() if e.mode != "measured" or (e.source, e.target) not in fitted]
    return tuple(shown.values()), tuple(out), len(boxes) - len(shown)


def _fold_key(node: LineageNode) -> str:
    if "quarantined" in node.marks:
        return f"quarantined {node.kind}"
    if node.kind == "model":
        return node.digest
    return "|".join(("together", node.kind, node.name, *node.roles))


def _box(key: str, members: list[LineageNode]) -> LineageNode:
    first = members[0]
    if len(members) == 1:
        return first._replace(key=key)
    name = first.name
    if "quarantined" in first.marks:
        name = {"model": "organisms and twins", "data": "data of organisms, twins"}.get(first.kind, first.kind)
    digest = count(len(members), first.kind) if first.kind != "data" else count(len(members), "data set")
    return first._replace(key=key, name=name, digest=digest, members=len(members))


def layers(nodes: Iterable[LineageNode], edges: Iterable[LineageEdge]) -> dict[str, int]:
    """Box → column, left to right: after everything that went into it, sources as far right as they can be.

    Boxes on a cycle (which no honest ledger has) stay where the first way in put them.
    """
    keys, kept = [n.key for n in nodes], list(edges)
    column = dict.fromkeys(keys, 0)
    waiting = {k: sum(e.target == k for e in kept) for k in keys}
    ready = [k for k in keys if not waiting[k]]
    while ready:
        key = ready.pop(0)
        for edge in (e for e in kept if e.source == key):
            column[edge.target] = max(column[edge.target], column[key] + 1)
            waiting[edge.target] -= 1
            if not waiting[edge.target]:
                ready.append(edge.target)
    entered = {e.target for e in kept}
    for key in keys:
        after = [column[e.target] for e in kept if e.source == key]
        if key not in entered and after:
            column[key] = max(0, min(after) - 1)
    return column
