"""V1: the firewall again, from the ledger alone: events on what came before, numbers and claims on what came after."""

from __future__ import annotations

from collections.abc import Iterator

from .errors import FirewallError, SuperalignError
from .events import Event
from .findings import Finding
from .opening import read_clusters, read_grams
from .rules import check_again, check_event
from .state import State
from .store import ObjectStore

_CONFLICT = "don't rely on what this event says; ask who wrote it, and how"


def replay(store: ObjectStore, events: list[Event]) -> Iterator[Finding]:
    """Every event that breaks a rule, or contradicts an earlier one; every number and claim that later events undid."""
    state = State(lambda digest: read_clusters(store, digest), lambda digest: read_grams(store, digest))
    sound: list[Event] = []
    for event in events:
        try:
            check_event(state, event.type, event.body, event.actor)
        except FirewallError as error:
            yield _broken(event, error)
        except SuperalignError as error:
            yield _contradicts(event, error)
            continue
        else:
            if event.type in ("measurement", "claim"):
                sound.append(event)
        try:
            state.fold(event)
        except SuperalignError as error:
            yield _contradicts(event, error)
    for event in sound:
        try:
            check_again(state, event.type, event.body)
        except FirewallError as error:
            yield _broken(event, error, f"a later event undoes this {event.type}: ")


def _broken(event: Event, error: FirewallError, why: str = "") -> Finding:
    return Finding(seq=event.seq, what=f"{error.rule}: {why}{error.message}", where=error.path, do=error.do)


def _contradicts(event: Event, error: SuperalignError) -> Finding:
    return Finding(seq=event.seq, what=str(error), where=f"event {event.seq}", do=_CONFLICT)
