"""Hold-outs, asked within a budget: admit a signal, open its budget, ask; fingerprint what is held, screen what trains.

admit(ws, signal, chance=.5, baseline=.62, n=900, controls={"null": 7, "constant": 8, "garbage": 9})
open_budget(ws, "construction/mutants/validation", mechanism="thresholdout", allowed=10)
release = ask(ws, signal, "m@…", answers, reference=.71)      # release.value is all that the asker hears
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .budgets import ALLOWED, Answers, Asked, Release, answer, checked_settings
from .canonical import Digest
from .commitment import commitment
from .errors import BadEvent, SealBroken, Tampered, refusal
from .fingerprints import WIDTH, grams, packed, repeats
from .types import Signal, family

if TYPE_CHECKING:
    from .workspace import Workspace

SEALED_KEY, SEALED_ANSWERS = "budget noise", "query answers"


def admit(
    ws: Workspace,
    signal: Signal | Digest,
    *,
    chance: float,
    baseline: float,
    n: int,
    controls: Mapping[str, int],
    optimum: float = 1.0,
) -> None:
    """Admit a signal to validate by: rates in [0, 1], `n` items (divided by the design effect where they cluster).

    `controls` names the measurements, by this signal, of models that know nothing: null, constant and garbage.
    Raises FirewallError (rule "admission") when optimum − baseline is under twice the effect that n items can show
    at power .8, or a control scores above chance. Twice changes nothing.
    """
    from superalign.stats.power import mde_two_proportions  # scipy loads where it is needed

    digest = _digest(signal)
    body = {
        "signal": digest,
        "chance": chance,
        "baseline": baseline,
        "optimum": optimum,
        "n": n,
        "mde": mde_two_proportions(baseline, n),
        "controls": dict(controls),
    }
    if ws.state.admissions.get(digest) != body:
        ws.ledger.append("admission", body, actor="evaluator")


def open_budget(
    ws: Workspace, of: str, *, mechanism: str, allowed: int | None = None, settings: Mapping[str, float] | None = None
) -> None:
    """Open the one budget of a family, by "ladder", "thresholdout" or "single-shot"; its noise is committed to here.

    Raises FirewallError (rules "budget", "admission") where the mechanism is too loose for the family's role, no
    signal of it was admitted, or it has another budget already. Twice the same changes nothing.
    """
    family(of)
    if mechanism not in ALLOWED:
        raise BadEvent(f"{mechanism!r} is no mechanism: use one of {', '.join(ALLOWED)}")
    wanted = {
        "family": of,
        "mechanism": mechanism,
        "allowed": ALLOWED[mechanism] if allowed is None else allowed,
        "settings": checked_settings(mechanism, settings or {}),
    }
    known = ws.state.budgets.get(of)
    if known is not None and {k: known[k] for k in wanted} == wanted:
        return
    key = ws.entropy(32).hex()
    noise = _seal(ws, SEALED_KEY, {"family": of, "key": key})
    ws.ledger.append("budget", {**wanted, "noise": noise}, actor="evaluator")


def ask(
    ws: Workspace,
    signal: Signal | Digest,
    subject: str,
    answers: Answers,
    *,
    reference: float | None = None,
    plan: Digest | None = None,
) -> Release:
    """Ask a hold-out about one subject (`name@digest` or an alias): what comes back is all that may be told.

    `answers` are the evaluator's own and are sealed; `reference` is the asker's number (thresholdout); `plan` the
    digest of the plan event (single-shot). The same question about the same subject is answered from the ledger,
    uncharged. Raises FirewallError (rule "budget") without a budget or when it is spent.
    """
    digest = _digest(signal)
    state = ws.state
    if digest not in state.signals or state.signals[digest].family not in state.budgets:
        name = state.signals[digest].family if digest in state.signals else f"{digest[:8]}…"
        raise refusal("budget", f"{name} has no budget", name, "open one: holdout.open_budget")
    of = state.signals[digest].family
    budget, past = state.budgets[of], state.queries.get(of, ())
    for query in past:
        if (query["signal"], query["subject"], query["reference"]) == (digest, subject, reference):
            return Release(value=query["released"], fresh=query["fresh"], left=query["left"])
    release = _answer(ws, budget, answers, reference, past)
    body = {
        "signal": digest,
        "subject": subject,
        "mechanism": budget["mechanism"],
        "reference": reference,
        "plan": plan,
        "values": _seal(ws, SEALED_ANSWERS, {"values": list(answers.values), "clusters": list(answers.clusters)}),
        "released": release.value,
        "fresh": release.fresh,
        "left": release.left,
    }
    ws.ledger.append("query", body, actor="evaluator")
    return release


def recount(ws: Workspace, of: str) -> list[tuple[float, float]]:
    """What was released and what follows from the sealed answers and noise, query by query: equal if nobody cheated.

    Raises SealBroken where a seal isn't at hand (an export leaves them out) or isn't what was promised.
    """
    budget, past = ws.state.budgets[of], ws.state.queries.get(of, ())
    pairs = []
    for at, query in enumerate(past):
        again = _answer(ws, budget, _opened(ws, query["values"]), query["reference"], past[:at])
        if (again.fresh, again.left) != (query["fresh"], query["left"]):
            raise Tampered(f"query {at} of {of} was charged otherwise than its sealed answers say")
        pairs.append((query["released"], again.value))
    return pairs


def fingerprint(ws: Workspace, of: str, items: Iterable[Sequence[str]]) -> None:
    """Take the fingerprint of a held-out family's items (each given as its words). Twice changes nothing."""
    family(of)
    taken = grams(items)
    body = {"family": of, "width": WIDTH, "n": len(taken), "grams": ws.store.put(packed(taken))}
    if (body["grams"], body["n"]) not in ws.state.fingerprints.get(of, ()):
        ws.ledger.append("fingerprint", body, actor="evaluator")


def repeated(ws: Workspace, items: Iterable[Sequence[str]]) -> dict[str, tuple[int, ...]]:
    """Held-out family → places of the items that repeat it: drop these before training. Reads no item of a hold-out."""
    own, state = grams(items), ws.state
    found = {}
    for of in sorted(state.fingerprints):
        if state.role_of(of) != "train":
            held = [g for digest, _ in state.fingerprints[of] for g in ws.grams(digest)]
            found[of] = repeats(own, held)
    return found


def screen(ws: Workspace, data: Digest, items: Sequence[Sequence[str]], *, actor: str = "trainer") -> None:
    """Put on record that a data set's items were compared with every fingerprint; refused (R4) if one is repeated.

    Data in quarantine may repeat what it likes: the count is on record. Twice changes nothing.
    """
    own = grams(items)
    shared = {of: len(places) for of, places in repeated(ws, items).items()}
    known = ws.state.graph.nodes.get(data)
    if shared and set(shared) <= ws.state.screened.get(data, frozenset()):
        return
    body = {
        "data": data,
        "grams": ws.store.put(packed(own)),
        "n": len(own),
        "width": WIDTH,
        "shared": shared,
        "quarantined": bool(known and known.quarantined),
    }
    ws.ledger.append("screen", body, actor=actor)


def _answer(
    ws: Workspace,
    budget: Mapping[str, Any],
    answers: Answers,
    reference: float | None,
    past: Sequence[Mapping[str, Any]],
) -> Release:
    before = [
        Asked(
            answers=_opened(ws, query["values"]),
            release=Release(value=query["released"], fresh=query["fresh"], left=query["left"]),
        )
        for query in past
    ]
    key = ws.sealed.read(budget["noise"])
    _check_seal(SEALED_KEY, budget["noise"], key)
    return answer(
        budget["mechanism"],
        answers,
        reference=reference,
        before=before,
        allowed=budget["allowed"],
        settings=budget["settings"],
        key=bytes.fromhex(key["truth"]["key"]),
    )


def _opened(ws: Workspace, root: Digest) -> Answers:
    kept = ws.sealed.read(root)
    _check_seal(SEALED_ANSWERS, root, kept)
    return Answers(values=tuple(kept["truth"]["values"]), clusters=tuple(kept["truth"]["clusters"]))


def _seal(ws: Workspace, what: str, truth: Mapping[str, Any]) -> Digest:
    salt = ws.entropy(32).hex()
    promise = commitment(what, salt, truth)
    ws.sealed.write(promise, {"what": what, "salt": salt, "truth": truth})
    return promise


def _check_seal(what: str, root: Digest, kept: Mapping[str, Any]) -> None:
    if kept.get("what") != what or commitment(what, str(kept.get("salt")), kept.get("truth")) != root:
        raise SealBroken(f"the sealed file {root[:8]}… isn't what was promised: restore sealed/ from a copy")


def _digest(signal: Signal | Digest) -> Digest:
    return signal.digest if isinstance(signal, Signal) else signal
