"""Lineage: nodes, edges and what flows along them, folded from the events and from nothing else.

Each node carries a set of tokens (family, how, tool). Adding an edge pushes the source's tokens through it,
and on through everything behind it, until nothing is new; so taint is always up to date, and a question costs
a look-up. The table of what passes which edge is in docs/ledger.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from .canonical import Digest
from .types import Step, TaintPath

UNKNOWN, QUARANTINE = "?", "!"
TOOLS = ("probe", "monitor", "explanation")
"""Interpretability and oversight tools: choosing by them is fitting to them (R6)."""
FITTED = (*TOOLS, "judge", "reward")
"""Signals that are fitted detectors: an instance that a quarantined model was fitted against is burnt."""


class Edge(NamedTuple):
    source: Digest
    target: Digest
    mode: str


class Token(NamedTuple):
    """What a node carries: a family (or UNKNOWN, QUARANTINE), how it came, and whether a tool brought it."""

    family: str
    how: str
    """holds, fit, select or read."""
    tool: bool


@dataclass(slots=True)
class Node:
    digest: Digest
    kind: str
    name: str
    quarantined: bool = False
    holds: set[tuple[str, bool]] = field(default_factory=set)
    """Families it holds itself, and whether as a tool."""
    described: bool = False
    """Somebody said what it holds (`contains`), that it is a base, or it is a signal that is fitted to nothing."""
    signal_kind: str = ""
    person: bool = False
    """A session of the person who reviews; every other session is an agent's."""

    @property
    def label(self) -> str:
        """What people read: name and the first four digits, data marked as such."""
        text = f"{self.name}@{self.digest[:4]}"
        return f"data {text}" if self.kind == "data" else text

    def agrees(self, kind: str, quarantined: bool) -> bool:
        """One digest may be data and a signal at once (a file of labels), and nothing else twice."""
        same = self.kind == kind or {self.kind, kind} == {"data", "signal"}
        return same and self.quarantined == quarantined


def passed(token: Token, mode: str, target: str) -> Token | None:
    """The token after an edge of that mode into a node of kind `target`, or None.

    >>> passed(Token("a/b/c", "read", False), "fit", "data").how
    'fit'
    """
    name, how, tool = token
    if mode == "report" or (name == QUARANTINE and mode == "read" and target != "data"):
        return None
    if name in (UNKNOWN, QUARANTINE):
        return token
    if how == "select" or mode == "select":
        return Token(name, "fit" if tool and how != "select" else "select", tool)
    if mode == "read":
        return Token(name, "read", tool)
    if how == "holds" and mode == "contains" and target != "model":
        return token
    return Token(name, "fit", tool)


class Graph:
    """Nodes, edges and the tokens each node carries."""

    def __init__(self) -> None:
        self.nodes: dict[Digest, Node] = {}
        self.edges: set[Edge] = set()
        self.ins: dict[Digest, list[Edge]] = defaultdict(list)
        self.outs: dict[Digest, list[Edge]] = defaultdict(list)
        self.bases: dict[Digest, str] = {}
        self.strict = True
        """A fitted signal needs provenance like a model (not so in ledgers of format 1)."""
        self._tokens: dict[Digest, dict[Token, tuple[Edge, Token] | None]] = defaultdict(dict)
        self._stale = False
        self._undo: list[Callable[[], object]] | None = None

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Nodes and edges added inside are gone afterwards: what a plan would do, at the cost of the plan alone."""
        undo, self._undo = self._undo, []
        try:
            yield
        finally:
            for step in reversed(self._undo):
                step()
            self._undo = undo

    def add_node(self, node: Node) -> None:
        """Add a node that isn't there yet."""
        self.nodes[node.digest] = node
        for table in (self.nodes, self._tokens):
            self._later(partial(table.pop, node.digest, None))
        self._seed(node)

    def describe(self, digest: Digest, families: Iterable[tuple[str, bool]] = (), *, whole: bool = True) -> None:
        """Say what a node holds; with no families: that it holds none, but is known.

        Not `whole`: where it comes from is still to be said.
        """
        node = self.nodes[digest]
        node.described |= whole
        node.holds.update(families)
        if whole:
            self._known(digest)
        self._seed(node)

    def add_base(self, digest: Digest, reason: str) -> None:
        """Declare a common base."""
        self.bases[digest] = reason
        self.describe(digest)

    def add_edge(self, edge: Edge) -> None:
        """Add an edge between nodes that exist and push the source's tokens through it."""
        if edge in self.edges:
            return
        self.edges.add(edge)
        self.ins[edge.target].append(edge)
        self.outs[edge.source].append(edge)
        for step in (partial(self.edges.discard, edge), self.ins[edge.target].pop, self.outs[edge.source].pop):
            self._later(step)
        if edge.mode in ("fit", "contains") or (edge.mode == "read" and self.nodes[edge.target].kind == "signal"):
            self._known(edge.target)
        if not self._stale:
            self._push([(edge, token) for token in self._tokens[edge.source]])

    def tokens(self, digest: Digest) -> Iterable[Token]:
        """Everything a node carries."""
        if self._stale:
            self._rebuild()
        return self._tokens[digest].keys()

    def arrivals(self, through: Iterable[tuple[Edge, Token]]) -> Iterator[tuple[Node, Token, TaintPath]]:
        """What these tokens, pushed through these edges, would newly bring: node, token and path. Changes nothing."""
        if self._stale:
            self._rebuild()
        todo = list(through)
        via: dict[tuple[Digest, Token], tuple[Edge, Token]] = {}
        while todo:
            edge, token = todo.pop()
            node = self.nodes[edge.target]
            after = passed(token, edge.mode, node.kind)
            if after is None or after in self._tokens[edge.target] or (edge.target, after) in via:
                continue
            via[edge.target, after] = edge, token
            yield node, after, self._path_via(edge.target, after, via)
            todo += [(out, after) for out in self.outs.get(edge.target, ())]

    def _path_via(
        self, digest: Digest, token: Token, via: Mapping[tuple[Digest, Token], tuple[Edge, Token]]
    ) -> TaintPath:
        steps, last = [Step(self.label(digest), digest, "")], token
        while (digest, last) in via:
            edge, last = via[digest, last]
            digest = edge.source
            steps.append(Step(self.label(digest), digest, edge.mode))
        behind = self.path(digest, last).steps[1:] if last in self._tokens[digest] else ()
        return TaintPath(family=token.family, how=token.how, steps=(*steps, *behind))

    def path(self, digest: Digest, token: Token) -> TaintPath:
        """How the node came to carry that token, as far back as where it was first held."""
        steps, first = [Step(self.label(digest), digest, "")], token
        while (via := self._tokens[digest][token]) is not None:
            edge, token = via
            digest = edge.source
            steps.append(Step(self.label(digest), digest, edge.mode))
        return TaintPath(family=first.family, how=first.how, steps=tuple(steps))

    def label(self, digest: Digest) -> str:
        """What people read: name and the first four digits; "?" where there is no node."""
        return self.nodes[digest].label if digest in self.nodes else f"?@{digest[:4]}"

    def ancestors(self, digests: Iterable[Digest], modes: tuple[str, ...]) -> set[Digest]:
        """The nodes themselves and all that went into them by those modes."""
        return set(self._reach(digests, modes, self.ins, backwards=True))

    def descendants(self, digest: Digest, modes: tuple[str, ...]) -> Iterator[Digest]:
        """The node itself and all it went into by those modes."""
        return self._reach([digest], modes, self.outs, backwards=False)

    def _reach(
        self,
        start: Iterable[Digest],
        modes: tuple[str, ...],
        table: dict[Digest, list[Edge]],
        *,
        backwards: bool,
    ) -> Iterator[Digest]:
        todo = list(start)
        seen = set(todo)
        while todo:
            digest = todo.pop()
            yield digest
            for edge in table.get(digest, ()):
                other = edge.source if backwards else edge.target
                if edge.mode in modes and other not in seen:
                    seen.add(other)
                    todo.append(other)

    def _own(self, node: Node) -> Iterator[Token]:
        yield from (Token(family, "holds", tool) for family, tool in node.holds)
        if node.quarantined:
            yield Token(QUARANTINE, "holds", False)
        if not self._is_known(node):
            yield Token(UNKNOWN, "holds", False)

    def _is_known(self, node: Node) -> bool:
        if node.described or node.kind == "session" or (node.kind == "signal" and not self.strict):
            return True
        made = ("fit", "contains", "read") if node.kind == "signal" else ("fit", "contains")
        return any(e.mode in made for e in self.ins.get(node.digest, ()))

    def _seed(self, node: Node) -> None:
        if self._stale:
            return
        carried = self._tokens[node.digest]
        fresh = [t for t in self._own(node) if t not in carried]
        carried.update(dict.fromkeys(fresh))
        self._push([(edge, token) for edge in self.outs.get(node.digest, ()) for token in fresh])

    def _push(self, todo: list[tuple[Edge, Token]]) -> None:
        while todo:
            edge, token = todo.pop()
            target = self.nodes[edge.target]
            after = passed(token, edge.mode, target.kind)
            carried = self._tokens[edge.target]
            if after is None or after in carried:
                continue
            carried[after] = (edge, token)
            self._later(partial(carried.pop, after, None))
            todo += [(out, after) for out in self.outs.get(edge.target, ())]

    def _known(self, digest: Digest) -> None:
        """Its provenance is known now: take back the token that said it wasn't."""
        token = Token(UNKNOWN, "holds", False)
        if token not in self._tokens[digest] or self._tokens[digest][token] is not None:
            return
        if self.outs.get(digest):
            self._stale = True
            self._later(self._mistrust)
        else:
            del self._tokens[digest][token]
            self._later(lambda: self._tokens[digest].update({token: None}))

    def _later(self, step: Callable[[], object]) -> None:
        if self._undo is not None:
            self._undo.append(step)

    def _mistrust(self) -> None:
        self._stale = True

    def _rebuild(self) -> None:
        self._stale = False
        self._tokens = defaultdict(dict)
        for node in self.nodes.values():
            self._tokens[node.digest].update(dict.fromkeys(self._own(node)))
        self._push([(e, t) for e in self.edges for t in list(self._tokens[e.source])])
