"""State: the whole of what the events say about lineage, roles and aliases, folded one event at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from .canonical import Digest, is_digest
from .commitment import commitment
from .errors import LineageConflict, Tampered
from .events import FORMAT, Event
from .fingerprints import Grams
from .lineage import FITTED, TOOLS, Edge, Graph, Node
from .types import ROLES, Signal

Clusters = Callable[[Digest], frozenset[str] | None]
"""Cluster ids behind an object's digest, or None where the object isn't there."""


class State:
    """Graph, roles, signals and aliases as of the last event folded in."""

    def __init__(self, clusters: Clusters, grams: Callable[[Digest], Grams | None] = lambda digest: None) -> None:
        self.graph = Graph()
        self.begun, self.format = False, FORMAT
        self.signals: dict[Digest, Signal] = {}
        self.roles: dict[str, str] = {}
        """Family → role, where a signal, demotion or promotion set it."""
        self.described: set[tuple[Digest, tuple[str, ...], Digest | None]] = set()
        self.clusters_of: dict[Digest, dict[str, Digest | None]] = {}
        """Data node → family → object that lists its clusters."""
        self.commitments: dict[str, Digest] = {}
        self.aliases: dict[str, str] = {}
        """Alias → subject, once unsealed."""
        self.measurements: dict[int, dict[str, Any]] = {}
        self.admissions: dict[Digest, dict[str, Any]] = {}
        self.budgets: dict[str, dict[str, Any]] = {}
        self.queries: dict[str, tuple[dict[str, Any], ...]] = {}
        """Family → what was asked of it, in order."""
        self.plans: set[Digest] = set()
        """Digests of the events that wrote a plan down."""
        self.fingerprints: dict[str, tuple[tuple[Digest, int], ...]] = {}
        """Family → objects of grams, and how many items each has."""
        self.screened: dict[Digest, frozenset[str]] = {}
        """Data node → families it was compared with since they last had a new fingerprint."""
        self.clusters = lru_cache(maxsize=1024)(clusters)
        self.grams = grams

    def role_of(self, family: str) -> str:
        """The family's role now; without a signal, its split's name if that is a role, else train."""
        split = family.rsplit("/", 1)[-1]
        return self.roles.get(family, split if split in ROLES else "train")

    def resolve(self, subject: str) -> Digest | None:
        """The digest a subject stands for; None for an alias not unsealed yet."""
        name, at, digest = self.aliases.get(subject, subject).rpartition("@")
        return digest if at and name and is_digest(digest) else None

    def fold(self, event: Event) -> None:
        """Take one event in. Raises LineageConflict or Tampered when it contradicts what is known."""
        self.begun = True
        handler = getattr(self, f"_on_{event.type}", None)
        if handler is not None:
            handler(event)

    def _on_genesis(self, event: Event) -> None:
        self.format = event.body["format"]
        self.graph.strict = self.format > 1

    def _on_node(self, event: Event) -> None:
        body = event.body
        known = self.graph.nodes.get(body["digest"])
        if known is None:
            node = Node(body["digest"], body["kind"], body["name"], body["quarantined"])
            node.person = event.actor == "reviewer" and body["kind"] == "session"
            self.graph.add_node(node)
        elif not known.agrees(body["kind"], body["quarantined"]):
            raise conflict(known, body["kind"], body["quarantined"])

    def _on_signal(self, event: Event) -> None:
        signal = Signal(**event.body)
        known = self.graph.nodes.get(signal.digest)
        if known is None:
            known = Node(signal.digest, "signal", signal.name)
            self.graph.add_node(known)
        elif not known.agrees("signal", known.quarantined) or self.signals.get(signal.digest, signal) != signal:
            raise conflict(known, f"{signal.kind} signal of {signal.family}", known.quarantined)
        known.kind, known.signal_kind = "signal", signal.kind
        self.signals[signal.digest] = signal
        self.roles.setdefault(signal.family, signal.role)
        whole = signal.kind not in FITTED or self.format == 1
        self.graph.describe(signal.digest, [(signal.family, signal.kind in TOOLS)], whole=whole)

    def _on_contains(self, event: Event) -> None:
        body = event.body
        self._must_exist(body["digest"], event)
        self.described.add((body["digest"], tuple(body["families"]), body["clusters"]))
        listed = self.clusters_of.setdefault(body["digest"], {})
        listed.update(dict.fromkeys(body["families"], body["clusters"]))
        self.graph.describe(body["digest"], [(family, False) for family in body["families"]])

    def _on_edge(self, event: Event) -> None:
        edge = Edge(event.body["source"], event.body["target"], event.body["mode"])
        self._must_exist(edge.source, event)
        self._must_exist(edge.target, event)
        self.graph.add_edge(edge)

    def _on_base(self, event: Event) -> None:
        self._must_exist(event.body["digest"], event)
        self.graph.add_base(event.body["digest"], event.body["reason"])

    def _on_demote(self, event: Event) -> None:
        signal = self.signals.get(event.body["signal"])
        if signal is None:
            raise LineageConflict(f"{event.body['signal'][:8]}… is not a signal: register it with ws.signal first")
        self.roles[signal.family] = event.body["role"]

    _on_promote = _on_demote

    def _on_alias(self, event: Event) -> None:
        alias = event.body["alias"]
        if "@" in alias or alias in self.commitments:
            raise LineageConflict(f"the alias {alias!r} is taken or contains '@': choose another")
        self.commitments[alias] = event.body["commitment"]

    def _on_unseal(self, event: Event) -> None:
        alias, subject, salt = (event.body[n] for n in ("alias", "subject", "salt"))
        if self.commitments.get(alias) != commitment(alias, salt, subject):
            raise Tampered(f"alias {alias!r} was committed to another subject than the one now named: don't trust it")
        self.aliases[alias] = subject

    def _on_measurement(self, event: Event) -> None:
        self.measurements[event.seq] = event.body

    def _on_plan(self, event: Event) -> None:
        self.plans.add(event.digest)

    def _on_admission(self, event: Event) -> None:
        self.admissions[event.body["signal"]] = event.body

    def _on_budget(self, event: Event) -> None:
        self.budgets[event.body["family"]] = event.body

    def _on_query(self, event: Event) -> None:
        if self.format > 1:
            family = self.signals[event.body["signal"]].family
            self.queries[family] = (*self.queries.get(family, ()), event.body)

    def _on_fingerprint(self, event: Event) -> None:
        family, taken = event.body["family"], (event.body["grams"], event.body["n"])
        if taken not in self.fingerprints.get(family, ()):
            self.fingerprints[family] = (*self.fingerprints.get(family, ()), taken)
            self.screened = {data: families - {family} for data, families in self.screened.items()}

    def _on_screen(self, event: Event) -> None:
        data = event.body["data"]
        self.screened[data] = self.screened.get(data, frozenset()) | frozenset(event.body["shared"])

    def _must_exist(self, digest: Digest, event: Event) -> None:
        if digest not in self.graph.nodes:
            raise LineageConflict(f"a {event.type} names {digest[:8]}…, which has no node: register it first")


def conflict(known: Node, kind: str, quarantined: bool) -> LineageConflict:
    """The error for a digest that is registered again as something else."""
    was, now = (f"{'quarantined ' * q}{k}" for q, k in ((known.quarantined, known.kind), (quarantined, kind)))
    return LineageConflict(
        f"{known.label} is a {was} and can't also be a {now}: give what differs its own bytes, hence its own digest"
    )
