"""One door: every event passes here before it is stored, and again when it is verified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .claims import check_claim, check_measurement, in_distribution
from .errors import LineageConflict, refusal
from .firewall import check_base, check_contains, check_move, check_signal, check_use
from .holdout_rules import (
    check_admission,
    check_budget,
    check_fingerprint,
    check_query,
    check_released,
    check_screen,
    check_screened,
)
from .state import State
from .types import Signal, Use


def check_event(state: State, type: str, body: Mapping[str, Any], actor: str) -> None:
    """Raise FirewallError or LineageConflict unless this event may follow what `state` already knows.

    Events that say nothing about lineage, roles or evidence pass.
    """
    match type:
        case "signal":
            check_signal(state, Signal(**body), actor)
        case "edge":
            check_use(state, Use(body["source"], body["target"], body["mode"]))
        case "contains":
            check_contains(state, body["digest"], body["families"])
        case "base":
            check_base(state, body["digest"])
        case "demote" | "promote":
            check_move(state, body["signal"], body["role"], promote=type == "promote")
        case "measurement":
            check_measurement(state, body)
            _check_printed(state, body)
            _check_held_out(state, body)
        case "query" if state.format > 1:
            check_query(state, body)
        case "admission":
            check_admission(state, body)
        case "budget":
            check_budget(state, body)
        case "fingerprint":
            check_fingerprint(state, body)
        case "screen":
            check_screen(state, body)
        case "claim":
            check_standing(state, body)
        case "genesis" if state.begun:
            raise LineageConflict("a second genesis event: a ledger begins once")


def check_standing(state: State, body: Mapping[str, Any], *, late: bool = False) -> None:
    """Raise unless the claim and every measurement under it stand; `late` asks again after all that came since."""
    check_claim(state, body, late=late)
    for seq in body["measurements"]:
        _check_held_out(state, state.measurements[seq], claimed=True)


def check_again(state: State, type: str, body: Mapping[str, Any]) -> None:
    """Raise where what came later undoes a measurement (its subject knew its signal after all) or a claim."""
    if type == "claim":
        check_standing(state, body, late=True)
    elif state.format > 1:
        check_measurement(state, body, late=True)


def _check_printed(state: State, body: Mapping[str, Any]) -> None:
    subject = state.resolve(body["subject"])
    if subject is None or body["in_distribution"] or not in_distribution(state, subject, body["signals"]):
        return
    raise refusal(
        "R1",
        f"{body['name']} is from a task its subject was trained on, and doesn't say in_distribution",
        state.graph.label(subject),
        "set in_distribution=True (ws.measure does so by itself)",
    )


def _check_held_out(state: State, body: Mapping[str, Any], *, claimed: bool = False) -> None:
    """What format 2 asks of a measurement besides: its test numbers released, its subject's data screened."""
    if state.format == 1:
        return
    subject = state.resolve(body["subject"])
    check_released(state, subject, body, claimed=claimed)
    if body["role"] != "train" and subject in state.graph.nodes:
        check_screened(state, subject, {state.signals[s].family for s in body["signals"] if s in state.signals})
