"""The firewall at plan and load time: may this go into that? The rules are in docs/ledger.md."""

from __future__ import annotations

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

    Checked is what the edge would carry into a model or a session. Data and signals may be derived from
    anything: the taint goes along, and is stopped where it would reach a model.
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
    target = graph.nodes[use.target]
    if use.mode == "report" or target.kind in ("data", "signal"):
        return
    for token in sorted(graph.tokens(use.source)):
        after = passed(token, use.mode, target.kind)
        if after is not None:
            _check_token(state, use, token, after)


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
    if not target.quarantined:
        _check_role(state, token, after, target, path)
        _check_paid(state, use, token, after, path)


def _check_role(state: State, token: Token, after: Token, target: Node, path: TaintPath) -> None:
    """R4 (R6 for tools): fitting needs train; selecting and reading, at most validation; an agent reads only dev."""
    role = state.role_of(token.family)
    agent = state.format > 1 and target.kind == "session" and not target.person
    reading = "dev" if agent else "validation"
    highest = {"fit": "train", "holds": "train", "select": "validation", "read": reading}[after.how]
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


def _check_paid(state: State, use: Use, token: Token, after: Token, path: TaintPath) -> None:
    """Selecting by a validation family costs an answer of its budget: one that was asked about what is chosen."""
    if state.format == 1 or after.how != "select" or state.role_of(token.family) != "validation":
        return
    asked = {state.resolve(query["subject"]) for query in state.queries.get(token.family, ())}
    if asked & state.graph.ancestors((use.source, use.target), DOWN):
        return
    label = state.graph.nodes[use.target].label
    raise refusal(
        "budget",
        f"{label} would be selected by {token.family}, which was never asked about it within a budget",
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
