"""The firewall at claim time: may this signal be evidence about that subject?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .canonical import Digest
from .errors import refusal
from .firewall import burnt_by
from .lineage import FITTED, QUARANTINE, UNKNOWN, Token
from .selfgrading import check_self_grading
from .state import State
from .types import ROLES, family


def check_measurement(state: State, body: Mapping[str, Any], *, late: bool = False) -> None:
    """Raise unless the measurement's signals may judge its subject in the role it claims.

    A subject that is a sealed alias passes with only its signals checked, and is checked in full in a claim.
    `late` asks again after the fact: roles and selection may have moved on since, descent may not.
    """
    subject = state.resolve(body["subject"])
    if subject is None and body["subject"] not in state.commitments:
        raise refusal(
            "R5",
            f"{body['name']} measures {body['subject']!r}, which is neither name@digest nor a registered alias",
            body["subject"],
            "name the subject with all 64 digits of its digest, or register the alias with ws.alias",
        )
    for signal in body["signals"]:
        _check_signal_role(state, signal, body, late=late)
    if subject is None:
        return
    _check_known(state, subject, body)
    _check_descent(state, subject)
    if body["role"] == "train":
        return
    for signal in body["signals"]:
        _check_taint(state, subject, signal, body, late=late)
        check_self_grading(state, subject, signal, white_box=body["white_box"])


def check_claim(state: State, body: Mapping[str, Any], *, late: bool = False) -> None:
    """Raise unless every measurement of the claim stands, and one of them is from another task."""
    subject = state.resolve(body["subject"])
    if subject is None:
        raise refusal(
            "R5",
            f"the claim is about {body['subject']!r}, which hasn't been unsealed",
            body["subject"],
            "ws.unseal the alias before claiming anything about it",
        )
    own = []
    for seq in body["measurements"]:
        measured = _measurement(state, seq)
        _check_carries(state, body, measured, seq, late=late)
        if state.resolve(measured["subject"]) == subject:
            own.append(measured)
    if not own and body["verdict"] != "cannot tell":
        raise refusal(
            "R5",
            f"the claim {body['text']!r:.60} rests on no measurement of its own subject",
            body["subject"],
            "cite one, or give the verdict 'cannot tell'",
        )
    _check_scope(state, subject, own, body)


def fit_tasks(state: State, subject: Digest) -> set[str]:
    """The tasks that the subject was fitted to, by any path and on any split."""
    return {family(t.family).task for t in state.graph.tokens(subject) if t.how in ("fit", "holds") and _is_family(t)}


def in_distribution(state: State, subject: Digest, signals: Iterable[Digest]) -> bool:
    """True when every signal is from a task the subject was trained on: other clusters, the same task."""
    trained = fit_tasks(state, subject)
    tasks = {family(state.signals[s].family).task for s in signals if s in state.signals}
    return bool(tasks) and tasks <= trained


def _is_family(token: Token) -> bool:
    return token.family not in (UNKNOWN, QUARANTINE)


def _check_signal_role(state: State, digest: Digest, body: Mapping[str, Any], *, late: bool) -> None:
    signal = state.signals.get(digest)
    if signal is None:
        raise refusal(
            "R5",
            f"{body['name']} was measured by {digest[:8]}…, which isn't a registered signal",
            digest[:8],
            "register it with ws.signal first",
        )
    if late:
        return
    label, held = f"{signal.name}@{digest[:4]}", state.role_of(signal.family)
    if ROLES.index(body["role"]) > ROLES.index(held):
        raise refusal(
            "R4",
            f"{label} is offered for {body['role']}, but its family {signal.family} is only {held}",
            label,
            f"give the measurement the role {held}, or measure with a family held for {body['role']}",
        )
    if body["role"] != "train" and signal.kind in FITTED and (edge := burnt_by(state, digest)):
        raise refusal(
            "R4",
            f"{label} is burnt: {state.graph.label(edge.target)}, in quarantine, was fitted against this instance",
            f"{state.graph.label(edge.target)} ←({edge.mode})← {state.graph.label(edge.source)}",
            "fit a fresh instance: its family is still good",
        )


def _check_known(state: State, subject: Digest, body: Mapping[str, Any]) -> None:
    graph = state.graph
    for digest in (subject, *body["signals"]):
        if digest not in graph.nodes:
            raise refusal(
                "R5",
                f"{body['subject']:.40} has no node, so it counts as tainted by everything",
                graph.label(digest),
                "register it first: ws.node, then what it was fitted to",
            )
        unknown = next((t for t in graph.tokens(digest) if t.family == UNKNOWN), None)
        if unknown is not None:
            path = graph.path(digest, unknown)
            raise refusal(
                "R5",
                f"nobody said what {path.steps[-1].label} holds or was made from",
                path,
                "say it: ws.contains for data, ws.use for what it was fitted to, ws.base for a declared base",
            )


def _check_descent(state: State, subject: Digest) -> None:
    node = state.graph.nodes[subject]
    leak = next((t for t in state.graph.tokens(subject) if t.family == QUARANTINE), None)
    if leak is not None and node.kind == "model" and not node.quarantined:
        raise refusal(
            "quarantine",
            f"{node.label} descends from a quarantined lineage",
            state.graph.path(subject, leak),
            "offer no candidate that descends from an organism or evader",
        )


def _check_taint(state: State, subject: Digest, digest: Digest, body: Mapping[str, Any], *, late: bool) -> None:
    signal, node = state.signals[digest], state.graph.nodes[subject]
    label, known = f"{signal.name}@{digest[:4]}", _known_by(state, digest)
    for token in sorted(state.graph.tokens(subject)):
        met = token.how in ("fit", "holds") or (token.how == "read" and node.kind == "model" and state.format > 1)
        if met and token.family == signal.family:
            rule, doing = ("R6", "optimised against") if token.tool else ("R1", "fitted to")
            raise refusal(
                rule,
                f"{label} is offered to validate {node.kind} {node.label}, but it was {doing} {signal.family}",
                state.graph.path(subject, token),
                "validate with a signal family that it never met",
            )
        if (
            token.how == "select"
            and token.family in known
            and not late
            and (body["role"] != "dev" or body["tried"] < 2)
        ):
            raise refusal(
                "R2",
                f"{token.family} selected {node.label}, so its number is a dev number with how many were tried",
                state.graph.path(subject, token),
                "write it with role='dev' and tried=how many candidates there were, or measure on a fresh family",
            )


def _known_by(state: State, digest: Digest) -> set[str]:
    """Families that a grader knows: its own, and what it was itself fitted to and nothing is trained on."""
    own = {state.signals[digest].family}
    if state.format == 1:
        return own
    made = {t.family for t in state.graph.tokens(digest) if t.how in ("fit", "holds") and _is_family(t)}
    return own | {family for family in made if state.role_of(family) != "train"}


def _measurement(state: State, seq: int) -> Mapping[str, Any]:
    if seq not in state.measurements:
        raise refusal(
            "R5",
            f"the claim cites event {seq}, which is no measurement",
            f"event {seq}",
            "cite measurements only",
        )
    return state.measurements[seq]


def _check_carries(state: State, body: Mapping[str, Any], measured: Mapping[str, Any], seq: int, *, late: bool) -> None:
    """One measurement under a claim: signals named, role high enough, and the firewall again."""
    if not measured["signals"]:
        raise refusal(
            "R5",
            f"measurement {seq} ({measured['name']}) names no signal, so nobody knows what measured it",
            f"event {seq}",
            "measure again, naming the signals by digest",
        )
    claimed = body["tags"].get("role", "validation")
    if claimed not in ROLES or ROLES.index(measured["role"]) < ROLES.index(claimed):
        raise refusal(
            "R1" if measured["role"] == "train" else "R2",
            f"measurement {seq} ({measured['name']}) is a {measured['role']} number and can't carry a {claimed} claim",
            f"event {seq}",
            "cite validation measurements, or tag the claim with the lower role",
        )
    if state.resolve(measured["subject"]) is None:
        raise refusal(
            "R5",
            f"measurement {seq} is of {measured['subject']!r}, which hasn't been unsealed",
            f"event {seq}",
            "ws.unseal the alias before claiming anything from it",
        )
    check_measurement(state, measured, late=late)


def _check_scope(state: State, subject: Digest, own: list[Mapping[str, Any]], body: Mapping[str, Any]) -> None:
    if not own or body["tags"].get("scope") == "in-distribution":
        return
    if all(in_distribution(state, subject, m["signals"]) for m in own):
        tasks = ", ".join(sorted(fit_tasks(state, subject)))
        raise refusal(
            "R1",
            f"every measurement under {body['text']!r:.60} is from a task its subject was trained on ({tasks})",
            state.graph.label(subject),
            "add a measurement from another task, or tag the claim {'scope': 'in-distribution'}",
        )
