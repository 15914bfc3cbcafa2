"""R3, no self-grading: a grader takes nothing from the candidate and shares no training with it."""

from __future__ import annotations

from .canonical import Digest
from .errors import refusal
from .state import State

_PARTS = ("fit", "contains")
_MADE = ("fit", "contains", "select")
_ALL = ("fit", "contains", "select", "read")
_GIVEN = ("data", "signal")
"""What a grader that reads it is given examples of: as good as fitted to it."""


def check_self_grading(state: State, subject: Digest, signal: Digest, *, white_box: bool) -> None:
    """Raise R3 unless the grader `signal` is independent of the candidate `subject`.

    Labels by construction have no ancestors and pass at once. Common ancestors up to a declared base that both descend
    from are allowed; so is reading the candidate's activations, if the measurement says `white_box`.
    """
    graph = state.graph
    if not graph.ins.get(signal):
        return
    grader = _taught(state, signal)
    label, candidate = graph.label(signal), graph.label(subject)
    if subject in graph.ancestors([signal], _MADE):
        raise refusal(
            "R3",
            f"{label} takes parameters or labels from {candidate}, which it is to grade",
            f"{label} ← … ← {candidate}",
            "grade with something not made from the candidate; record mode 'read' if only activations were read",
        )
    made = graph.ancestors([subject], _PARTS)
    allowed = graph.ancestors((grader & made & graph.bases.keys()) - {subject}, _ALL)
    if shared := _shared(state, grader - allowed - {signal}, made - allowed - {subject}):
        raise refusal(
            "R3",
            f"{label} and {candidate} were both fitted to {shared} after their declared base",
            f"{label} ← … ← {shared} → … → {candidate}",
            "fit the grader on other clusters, or declare the common ancestor with ws.base if that is what it is",
        )
    read = {e.source for part in grader for e in graph.ins.get(part, ()) if e.mode == "read"}
    if subject in read and not white_box:
        raise refusal(
            "R3",
            f"{label} read {candidate}'s activations, and the measurement doesn't say so",
            f"{label} ←(read)← {candidate}",
            "set white_box=True",
        )


def _taught(state: State, signal: Digest) -> set[Digest]:
    """All that a grader was made from, and the data and labels that it was shown."""
    graph = state.graph
    parts = graph.ancestors([signal], _PARTS)
    shown = {e.source for part in parts for e in graph.ins.get(part, ()) if e.mode == "read"}
    return parts | graph.ancestors({d for d in shown if graph.nodes[d].kind in _GIVEN}, _PARTS)


def _shared(state: State, grader: set[Digest], made: set[Digest]) -> str | None:
    """What both were fitted to: a node, or a family whose clusters aren't known to be apart."""
    if common := grader & made:
        return state.graph.label(min(common))
    theirs: dict[str, list[Digest]] = {}
    for digest in made:
        for family, _ in state.graph.nodes[digest].holds:
            theirs.setdefault(family, []).append(digest)
    for digest in sorted(grader):
        for family, _ in sorted(state.graph.nodes[digest].holds):
            if any(not _apart(state, family, digest, other) for other in theirs.get(family, ())):
                return family
    return None


def _apart(state: State, family: str, a: Digest, b: Digest) -> bool:
    lists = [_clusters(state, family, digest) for digest in (a, b)]
    return lists[0] is not None and lists[1] is not None and lists[0].isdisjoint(lists[1])


def _clusters(state: State, family: str, digest: Digest) -> frozenset[str] | None:
    listed = state.clusters_of.get(digest, {}).get(family)
    return None if listed is None else state.clusters(listed)
