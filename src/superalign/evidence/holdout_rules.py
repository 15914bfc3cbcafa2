"""The firewall for hold-outs: what is admitted, what was asked and how often, what a training set repeats.

These hold in ledgers of format 2 and later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .budgets import ALLOWED, ROLE_OF, checked_settings
from .canonical import Digest
from .claims import check_measurement
from .errors import BadEvent, LineageConflict, Tampered, refusal
from .fingerprints import WIDTH, Grams, repeats
from .state import State
from .types import ROLES, Signal

CONTROLS = ("null", "constant", "garbage")
"""Models that know nothing: one that answers nothing, one that always answers the same, one that answers at random."""
MOST = 10_000_000
"""Items that an admission may state: a reader computes with that number."""


def check_admission(state: State, body: Mapping[str, Any]) -> None:
    """Refuse a signal with headroom under twice its minimum detectable effect, or on which a control scores."""
    from superalign.stats.power import mde_two_proportions  # scipy loads where it is needed

    signal = _signal(state, body["signal"])
    chance, baseline, optimum, n = (body[k] for k in ("chance", "baseline", "optimum", "n"))
    if None in (chance, baseline, optimum, body["mde"]) or not 0 <= chance <= baseline < optimum <= 1:
        raise BadEvent(f"the admission of {signal.name} needs rates with 0 <= chance <= baseline < optimum <= 1")
    if not 1 <= n <= MOST:
        raise BadEvent(f"the admission of {signal.name} states {n} items: it may be 1 to {MOST}")
    least = mde_two_proportions(baseline, n)
    if not math.isclose(least, body["mde"], abs_tol=1e-9):
        raise Tampered(f"the admission of {signal.name} states an MDE of {body['mde']}, and it is {least:.6f}")
    headroom = optimum - baseline
    if headroom < 2 * least:
        raise refusal(
            "admission",
            f"{signal.name} has a headroom of {headroom:.3f}, under twice the effect of {least:.3f} that it can show",
            f"n = {n}, baseline {baseline:.3f}, optimum {optimum:.3f}",
            "take more items, or a harder task: this one can't tell a better model from luck",
        )
    if set(body["controls"]) != set(CONTROLS):
        raise BadEvent(f"an admission needs the controls {', '.join(CONTROLS)}, each a measurement")
    subjects = [_check_control(state, signal, name, seq, body) for name, seq in sorted(body["controls"].items())]
    if len(set(subjects)) < len(CONTROLS):
        raise BadEvent(f"the controls of {signal.name} are of {len(set(subjects))} models: each is a model of its own")


def _check_control(state: State, signal: Signal, name: str, seq: Any, body: Mapping[str, Any]) -> str:
    chance = body["chance"]
    measured = state.measurements.get(seq) if type(seq) is int else None
    if measured is None or signal.digest not in measured["signals"]:
        raise BadEvent(f"control {name} of {signal.name} cites event {seq}, which is no measurement by it")
    value, low, high = (measured[k] for k in ("value", "low", "high"))
    if measured["n"] < body["n"] or None in (value, low, high) or not low <= value <= high:
        raise BadEvent(f"control {name} of {signal.name} (event {seq}) has fewer items than stated, or no interval")
    if low > chance:
        raise refusal(
            "admission",
            f"{signal.name} gives a {name} model {measured['value']} where knowing nothing is worth {chance:.3f}",
            f"event {seq}: {measured['name']}",
            "mend the scorer or balance the items: whoever knows nothing must score nothing",
        )
    return str(state.resolve(measured["subject"]) or measured["subject"])


def check_budget(state: State, body: Mapping[str, Any]) -> None:
    """A family gets one budget, once, by a mechanism as strict as its role asks, after a signal of it was admitted."""
    family, mechanism, allowed = body["family"], body["mechanism"], body["allowed"]
    if family in state.budgets:
        raise refusal("budget", f"{family} has its budget already", family, "ask within it: a budget never grows")
    role = state.role_of(family)
    if ROLES.index(ROLE_OF[mechanism]) < ROLES.index(role):
        fitting = next(m for m, r in ROLE_OF.items() if r == role)
        raise refusal(
            "budget", f"{mechanism} is too loose for {family}, which is held for {role}", family, f"use {fitting}"
        )
    if not 1 <= allowed <= ALLOWED[mechanism]:
        raise BadEvent(f"a {mechanism} budget of {allowed}: it may be 1 to {ALLOWED[mechanism]}")
    if checked_settings(mechanism, body["settings"]) != body["settings"]:
        raise BadEvent(f"a {mechanism} budget must state all its settings: see superalign.evidence.budgets.DEFAULTS")
    if not any(state.signals[s].family == family for s in state.admissions):
        raise refusal(
            "admission",
            f"no signal of {family} was admitted, so nobody knows what its numbers can show",
            family,
            "admit one first: holdout.admit",
        )


def check_query(state: State, body: Mapping[str, Any], *, late: bool = False) -> None:
    """A query is of a family with a budget, inside it, about a subject the firewall lets through, charged rightly."""
    signal = _signal(state, body["signal"])
    budget = state.budgets.get(signal.family)
    if budget is None or budget["mechanism"] != body["mechanism"]:
        raise refusal("budget", f"{signal.family} has no such budget", signal.family, "open one: holdout.open_budget")
    if signal.digest not in state.admissions:
        raise refusal("admission", f"{signal.name} was never admitted", signal.family, "admit it first: holdout.admit")
    asked = state.queries.get(signal.family, ())
    spent = sum(q["fresh"] for q in asked)
    if spent >= budget["allowed"]:
        raise refusal(
            "budget",
            f"{signal.family} was asked for all its {budget['allowed']} answers; it is burned",
            signal.family,
            "validate on a family that nobody has asked yet",
        )
    if body["left"] != budget["allowed"] - spent - body["fresh"]:
        raise Tampered(f"a query of {signal.family} says {body['left']} answers are left, and it isn't so")
    _check_charged(signal, body, asked)
    if body["mechanism"] == "single-shot" and body["plan"] not in state.plans:
        raise refusal(
            "budget",
            f"{signal.family} answers once, for a plan written before",
            signal.family,
            "write the plan into the ledger, and pass the digest of that event",
        )
    pretended = {"name": "query", "subject": body["subject"], "signals": [signal.digest]}
    check_measurement(state, {**pretended, "role": "dev", "tried": 2, "white_box": True}, late=late)


def _check_charged(signal: Signal, body: Mapping[str, Any], asked: Sequence[Mapping[str, Any]]) -> None:
    """What is not charged says nothing new: the asker's own number again, or the last release again."""
    if body["released"] is None:
        raise BadEvent(f"a query of {signal.family} releases no number")
    if body["fresh"]:
        return
    last = next((q["released"] for q in reversed(asked) if q["fresh"]), None)
    known = {"single-shot": None, "thresholdout": body["reference"], "ladder": last}[body["mechanism"]]
    if known is None or body["released"] != known:
        raise Tampered(f"a query of {signal.family} releases {body['released']}, uncharged, though nobody knew it")


def check_fingerprint(state: State, body: Mapping[str, Any]) -> None:
    """A fingerprint is of the width that all are compared in, and its object is there and sound."""
    if body["width"] != WIDTH:
        raise BadEvent(f"fingerprints are of {WIDTH} words, not {body['width']}")
    _grams(state, body["grams"], body["n"])


def check_screen(state: State, body: Mapping[str, Any]) -> None:
    """A screened data set was compared with every fingerprinted family that is held, and repeats none of it."""
    if body["data"] not in state.graph.nodes:
        raise LineageConflict(f"a screen names {body['data'][:8]}…, which has no node: register it first")
    own = _grams(state, body["grams"], body["n"])
    label = state.graph.label(body["data"])
    if not own:
        raise BadEvent(f"the screen of {label} compared no item: pass the words of all its items")
    if body["quarantined"] != state.graph.nodes[body["data"]].quarantined:
        raise Tampered(f"the screen of {label} is wrong on whether it is quarantined")
    held = [f for f in sorted(state.fingerprints) if state.role_of(f) != "train"]
    if sorted(body["shared"]) != held:
        raise BadEvent(f"the screen of {label} must count what it shares with each of {held or 'no family'}")
    for family in held:
        found = repeats(own, (g for d, n in state.fingerprints[family] for g in _grams(state, d, n)))
        if len(found) != body["shared"][family]:
            raise Tampered(f"the screen of {label} counts {body['shared'][family]} repeats of {family}: {len(found)}")
        if found and not body["quarantined"]:
            raise refusal(
                "R4",
                f"{len(found)} of {len(own)} items of {label} repeat {family}, held for {state.role_of(family)}",
                f"{label}, item {found[0]}",
                "drop them: holdout.repeated names their places",
            )


def check_screened(state: State, subject: Digest, families: set[str]) -> None:
    """R5 unless all data that the subject was fitted to was compared with the fingerprints of those families."""
    wanted = {f for f in families if f in state.fingerprints}
    if not wanted:
        return
    graph = state.graph
    for digest in sorted(graph.ancestors([subject], ("fit", "contains"))):
        node, missing = graph.nodes[digest], sorted(wanted - state.screened.get(digest, frozenset()))
        holds_items = node.kind == "data" or (node.signal_kind == "labels" and digest in state.clusters_of)
        if missing and holds_items and not node.quarantined:
            raise refusal(
                "R5",
                f"nobody compared {graph.label(digest)} with the fingerprint of {missing[0]}",
                f"{graph.label(subject)} ← … ← {graph.label(digest)}",
                "screen it after the family's fingerprint was taken: holdout.screen",
            )


def check_released(state: State, subject: Digest | None, body: Mapping[str, Any], *, claimed: bool = False) -> None:
    """A number of role `test`, or by a family held for it, is the one that a single-shot query released of it.

    Before its budget is open, the three controls of its admission may be measured; they carry no claim.
    """
    for digest in body["signals"]:
        signal = state.signals.get(digest)
        if signal is None or (body["role"] != "test" and state.role_of(signal.family) != "test"):
            continue
        told = [q for q in state.queries.get(signal.family, ()) if q["signal"] == digest]
        mine = [q for q in told if (state.resolve(q["subject"]) or q["subject"]) == (subject or body["subject"])]
        if not mine and not claimed and _is_control(state, signal, subject or body["subject"], body):
            continue
        if not mine:
            raise refusal(
                "budget",
                f"{signal.family} is held for test, and wasn't asked about {body['subject']:.40}",
                signal.family,
                "ask once, for a plan: holdout.ask; or measure on a validation family",
            )
        if body["value"] not in [q["released"] for q in mine]:
            raise refusal(
                "budget",
                f"{body['name']} is {body['value']}, and {signal.family} released {mine[-1]['released']}",
                signal.family,
                "write down the number that was released",
            )


def _is_control(state: State, signal: Signal, subject: str, body: Mapping[str, Any]) -> bool:
    if body["role"] == "test" or signal.family in state.budgets or not body["name"].startswith("control."):
        return False
    earlier = [m["subject"] for m in state.measurements.values() if signal.digest in m["signals"]]
    return len({subject, *(state.resolve(name) or name for name in earlier)}) <= len(CONTROLS)


def _signal(state: State, digest: Digest) -> Signal:
    known = state.signals.get(digest)
    if known is None:
        raise LineageConflict(f"{digest[:8]}… is not a signal: register it with ws.signal first")
    return known


def _grams(state: State, digest: Digest, n: int) -> Grams:
    found = state.grams(digest)
    if found is None or len(found) != n:
        raise Tampered(f"the fingerprint {digest[:8]}… is missing, damaged, or not of {n} items")
    return found
