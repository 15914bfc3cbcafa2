"""The firewall at plan and load time: may this go into that? The rules are in docs/ledger.md."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from types import MappingProxyType

from .canonical import Digest
from .errors import LineageConflict, refusal
from .lineage import QUARANTINE, TOOLS, UNKNOWN, Edge, Node, Token, passed
from .state import State
from .types import ROLES, Signal, TaintPath, Use

DOWN = ("fit", "contains", "select")
"""Modes by which a thing descends from another."""


def add_planned(state: State, use: Use) -> None:
    """Give a planned target, whose digest is only known after training, a node, within `graph.trial()`."""
    if use.target not in state.graph.nodes:
        state.graph.add_node(Node(use.target, use.kind, "planned", use.quarantined))


def check_use(state: State, use: Use) -> None:
    """Raise the rule's FirewallError unless `use.source` may go into `use.target` by `use.mode`.

    Checked is what the edge would carry into a model or a session, its target or one further down. Data and signals
    may be derived from anything: the taint goes along, and is stopped where it would reach a model.
    """
    graph = state.graph
    for end, digest in (("source", use.source), ("target", use.target)):
        if digest not in graph.nodes:
            raise refusal(
                "R5",
                f"the {end} of this use, {digest[:8]}…, has no node, so it counts as tainted by everything",
                f"{graph.label(use.target)} ←({use.mode})← {graph.label(use.source)}",
                "register it first (ws.node, ws.contains or ws.signal) and say where it comes from",
            )
    target, edge = graph.nodes[use.target], Edge(use.source, use.target, use.mode)
    if use.mode in ("fit", "contains") and use.target in graph.bases and state.format > 1:
        raise refusal(
            "R3",
            f"{target.label} is a declared base, and would be fitted on",
            f"{target.label} ←({use.mode})← {graph.label(use.source)}",
            "a base is finished: register what comes of it as a model of its own",
        )
    carried = sorted(graph.tokens(use.source))
    if target.kind not in ("data", "signal"):
        for token in carried:
            after = passed(token, use.mode, target.kind)
            if after is not None:
                _check_token(state, use, token, after)
    behind = {use.target} if target.kind in ("model", "session") else set()
    check_downstream(state, [(edge, token) for token in carried], checked=behind)


def check_contains(state: State, digest: Digest, families: Iterable[str]) -> None:
    """Raise R4 where what a node is now said to hold would reach a model or session that was made from it."""
    out = state.graph.outs.get(digest, ())
    check_downstream(state, [(edge, Token(family, "holds", False)) for edge in out for family in sorted(families)])


def check_downstream(
    state: State,
    through: Iterable[tuple[Edge, Token]],
    *,
    roles: Mapping[str, str] = MappingProxyType({}),
    checked: Container[Digest] = (),
) -> None:
    """What was used before it was described: its taint would reach, late, models and sessions that exist already.

    It is refused, lest a validation signal reach `fit` by a detour in time. Where it is so, the family is given up
    first: then it may be said. Unknown and quarantined provenance pass: they only take evidence away. `roles` are
    those of families that come with this event; nodes that were `checked` are passed over.
    """
    if state.format == 1:
        return
    for node, token, path in state.graph.arrivals(through):
        if node.kind in ("data", "signal") or node.quarantined or node.digest in checked:
            continue
        if token.family in (UNKNOWN, QUARANTINE):
            continue
        _check_role(state, token, node, path, roles.get(token.family))
        inherited = state.graph.nodes[path.steps[1].digest].kind in ("model", "session")
        if token.how == "select" and node.kind == "model" and not inherited:
            _check_paid(state, {node.digest}, token, path)


def _check_token(state: State, use: Use, token: Token, after: Token) -> None:
    target = state.graph.nodes[use.target]
    path = _path(state, use, token)
    if token.family == UNKNOWN:
        raise refusal(
            "R5",
            f"nobody said what {_last(path)} holds or was made from, and {target.label} would be made from it",
            path,
            "say it: ws.contains for data, ws.use for what it was fitted to, ws.base for a declared base",
        )
    if token.family == QUARANTINE:
        if not target.quarantined and target.kind == "model":
            raise refusal(
                "quarantine",
                f"{target.label} would descend from {_last(path)}, which is quarantined",
                path,
                "train candidates on nothing that was planted, or put this model in quarantine too",
            )
        return
    if target.quarantined:
        return
    _check_role(state, after, target, path)
    inherited = token.how == "select" and state.graph.nodes[use.source].kind in ("model", "session")
    if after.how == "select" and not inherited:
        wrapped = state.graph.ancestors((use.source, use.target), ("contains", "select"))
        _check_paid(state, wrapped, token, path)


def _check_role(state: State, after: Token, target: Node, path: TaintPath, role: str | None = None) -> None:
    """R4 (R6 for tools): fitting needs train; selecting, at most validation; reading, by whom.

    A person reads at most validation, an agent at most dev; what a model is shown it is as good as fitted to.
    """
    role, token = role or state.role_of(after.family), after
    agent = state.format > 1 and target.kind == "session" and not target.person
    choosing = reading = "dev" if agent else "validation"
    if state.format > 1 and target.kind == "model":
        reading = "train"
    highest = {"fit": "train", "holds": "train", "select": choosing, "read": reading}[after.how]
    if ROLES.index(role) <= ROLES.index(highest):
        return
    rule = "R6" if token.tool else "R4"
    doing = {"fit": "fitted to", "holds": "fitted to", "select": "selected by", "read": "shown"}[after.how]
    raise refusal(
        rule,
        f"{target.label} would be {doing} {token.family}, which is held for {role}",
        path,
        f"use a {highest} signal, or give this one up for good with ws.demote, or plant it in quarantine",
    )


def _check_paid(state: State, chosen: set[Digest], token: Token, path: TaintPath) -> None:
    """Selecting by a validation family costs an answer of its budget: one that was asked about what is chosen."""
    if state.format == 1 or state.role_of(token.family) != "validation":
        return
    if chosen & {state.resolve(query["subject"]) for query in state.queries.get(token.family, ())}:
        return
    raise refusal(
        "budget",
        f"{path.steps[0].label} would be selected by {token.family}, which was never asked about it within a budget",
        path,
        "ask it: holdout.open_budget, then holdout.ask for every candidate; or select by a dev family",
    )


def _path(state: State, use: Use, token: Token) -> TaintPath:
    behind = state.graph.path(use.source, token)
    first = behind.steps[0]._replace(mode=use.mode)
    label = state.graph.nodes[use.target].label
    start = type(first)(label, use.target, "")
    return TaintPath(family=token.family, how=token.how, steps=(start, first, *behind.steps[1:]))


def _last(path: TaintPath) -> str:
    return path.steps[-1].label


def check_base(state: State, digest: Digest) -> None:
    """R3: a base is a model: data or labels that two were fitted to stay shared, whatever one calls them."""
    node = state.graph.nodes.get(digest)
    if state.format == 1 or node is None or digest in state.graph.bases:
        return
    if node.kind != "model":
        raise refusal("R3", f"{node.label} is no model, so it is no base", node.label, "declare the model itself")


def check_signal(state: State, signal: Signal, actor: str) -> None:
    """R4: a family has one role, a new signal comes with it, and a trainer brings no validation signals."""
    label = f"{signal.name}@{signal.digest[:4]}"
    if actor == "trainer" and signal.role not in ("train", "dev"):
        raise refusal(
            "R4",
            f"the trainer registers {label} as {signal.role}",
            label,
            "let the evaluator register what validates (actor='evaluator')",
        )
    held, split = state.role_of(signal.family), signal.family.rsplit("/", 1)[-1]
    known = signal.family in state.roles
    token = Token(signal.family, "holds", signal.kind in TOOLS)
    used = [(edge, token) for edge in state.graph.outs.get(signal.digest, ())]
    check_downstream(state, used, roles={} if known else {signal.family: signal.role})
    rises = ROLES.index(signal.role) > ROLES.index(held) and (known or split in ROLES)
    if rises:
        do = "let the reviewer promote the family, with a reason"
    elif known and signal.role != held:
        do = "lower the family with ws.demote first, for good"
    else:
        return
    raise refusal("R4", f"{label} comes as {signal.role}, but its family {signal.family} is {held}", label, do)


def check_move(state: State, signal: Digest, role: str, *, promote: bool) -> None:
    """R4: `demote` only lowers; what raises is a promotion, by the reviewer."""
    known = state.signals.get(signal)
    if known is None:
        raise LineageConflict(f"{signal[:8]}… is not a signal: register it with ws.signal first")
    if promote:
        return
    held = state.role_of(known.family)
    if ROLES.index(role) > ROLES.index(held):
        raise refusal(
            "R4",
            f"{known.name}@{signal[:4]} would rise from {held} to {role} without the reviewer",
            known.family,
            "let a person sign it: ws.promote(signal, role, reason)",
        )


def burnt_by(state: State, signal: Digest) -> Edge | None:
    """The first edge by which a quarantined model was fitted against this detector, or None."""
    graph = state.graph
    for digest in graph.descendants(signal, DOWN):
        for edge in graph.outs.get(digest, ()):
            target = graph.nodes[edge.target]
            fits = edge.mode in ("fit", "contains") or graph.nodes[signal].signal_kind in TOOLS
            if edge.mode in DOWN and fits and target.kind == "model" and target.quarantined:
                return edge
    return None
