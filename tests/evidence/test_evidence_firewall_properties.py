"""Over random lineages: nothing from a validation signal reaches `fit`, and taint is what the paths say."""

from typing import NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from superalign.evidence import FirewallError, Signal, Use
from superalign.evidence.events import Event
from superalign.evidence.firewall import check_use
from superalign.evidence.lineage import Edge, Node
from superalign.evidence.state import State

V = "construction/slips/validation"
SIGNAL = "0" * 64


def told(state: State, type: str, **body) -> None:
    event = Event(seq=1, prev="", time="", type=type, actor="", body=body, digest="", signature="")
    state.fold(event)


def world(kinds: list[tuple[str, bool]], kind: str = "labels") -> tuple[State, list[str]]:
    """A validation signal and a row of nodes; every node is described, so that only the signal taints."""
    state = State(lambda digest: None)
    told(state, "signal", name="v", digest=SIGNAL, family=V, role="validation", kind=kind)
    told(state, "contains", digest=SIGNAL, families=[], clusters=None)
    digests = [f"{i + 1:064x}" for i in range(len(kinds))]
    for digest, (node, quarantined) in zip(digests, kinds, strict=True):
        told(state, "node", digest=digest, kind=node, name=node, quarantined=quarantined, meta={})
        told(state, "contains", digest=digest, families=[], clusters=None)
        if node == "signal":
            signal = Signal(name="s", digest=digest, family="own/x/train", role="train", kind="judge")
            state.signals[digest] = signal
    return state, digests


PRODUCING = ("fit", "contains")
NODES = st.tuples(st.sampled_from(["model", "data", "signal", "session"]), st.booleans())
EDGES = st.lists(
    st.tuples(st.integers(0, 8), st.integers(1, 8), st.sampled_from(["fit", "contains", "read", "select", "report"])),
    max_size=20,
)


class Arrival(NamedTuple):
    """What a walk from one node to another was like, as far as the rules care."""

    selected: bool
    reported: bool
    last: str


def arrivals(edges: set[tuple[str, str, str]], start: str, end: str) -> set[Arrival]:
    """Every way to get from start to end, round cycles too: the independent reference, edge by edge."""
    todo = [(start, Arrival(False, False, ""))]
    seen = set(todo)
    while todo:
        at, way = todo.pop()
        for source, target, mode in edges:
            step = (target, Arrival(way.selected or mode == "select", way.reported or mode == "report", mode))
            if source == at and step not in seen:
                seen.add(step)
                todo.append(step)
    return {way for at, way in seen if at == end and way.last}


@settings(max_examples=150, deadline=None)
@given(kinds=st.lists(NODES, min_size=1, max_size=8), wanted=EDGES, tool=st.booleans())
def test_no_path_from_validation_to_fit_survives(kinds, wanted, tool):
    """Write whatever the firewall allows, in any order: no model outside quarantine ends up made from the signal."""
    state, digests = world(kinds, "probe" if tool else "labels")
    places = [SIGNAL, *digests]
    written: set[tuple[str, str, str]] = set()
    for a, b, mode in wanted:
        if a >= len(places) or b >= len(places) or a == b:
            continue
        try:
            check_use(state, Use(places[a], places[b], mode))
        except FirewallError as error:
            assert error.rule in ("R4", "R6", "quarantine", "budget")  # noqa: PT017 - which of them depends on the path
            continue
        state.graph.add_edge(Edge(places[a], places[b], mode))
        written.add((places[a], places[b], mode))
    for digest, (kind, quarantined) in zip(digests, kinds, strict=True):
        if kind != "model" or quarantined:
            continue
        for way in arrivals(written, SIGNAL, digest):
            chosen = way.selected and not tool
            fitted = way.last in PRODUCING or (tool and way.last == "select")
            assert way.reported or chosen or not fitted


MODEL = ("model", False)


@settings(max_examples=150, deadline=None)
@example(kinds=[MODEL, MODEL], wanted=[(0, 1, "fit"), (1, 2, "select"), (2, 1, "fit")])
@example(kinds=[MODEL, MODEL], wanted=[(0, 1, "fit"), (1, 2, "fit"), (2, 1, "read")])
@given(kinds=st.lists(NODES, min_size=1, max_size=7), wanted=EDGES)
def test_taint_is_what_the_paths_say(kinds, wanted):
    """Fit-taint: a walk without report or select that ends in a producing edge, in whatever order."""
    state, digests = world(kinds)
    places = [SIGNAL, *digests]
    written = set()
    for a, b, mode in wanted:
        if a < len(places) and b < len(places) and a != b:
            state.graph.add_edge(Edge(places[a], places[b], mode))
            written.add((places[a], places[b], mode))
    for digest, (kind, _) in zip(digests, kinds, strict=True):
        hows = {t.how for t in state.graph.tokens(digest) if t.family == V}
        ways = {way for way in arrivals(written, SIGNAL, digest) if not way.reported}
        fit = {way for way in ways if not way.selected and way.last in PRODUCING}
        assert bool(hows & {"fit", "holds"}) == bool(fit), (kind, hows, ways)
        assert ("select" in hows) == any(way.selected for way in ways)
        assert ("read" in hows) == any(not way.selected and way.last == "read" for way in ways)
        if kind == "model":
            assert "holds" not in hows
        for token in state.graph.tokens(digest):
            steps = state.graph.path(digest, token).steps
            assert (steps[0].digest, steps[-1].digest) == (digest, SIGNAL) or token.family != V


@settings(max_examples=80, deadline=None)
@given(kinds=st.lists(NODES, min_size=2, max_size=6), wanted=EDGES, tried=EDGES, order=st.randoms())
def test_a_trial_and_a_rebuild_agree_with_the_graph(kinds, wanted, tried, order):
    """What was only tried leaves no trace, and the order of the edges makes no difference to the taint."""
    state, digests = world(kinds)
    other, _ = world(kinds)
    places = [SIGNAL, *digests]

    def edges_of(pairs):
        return [Edge(places[a], places[b], m) for a, b, m in pairs if a < len(places) and b < len(places) and a != b]

    edges = edges_of(wanted)
    for edge in edges:
        state.graph.add_edge(edge)
    with state.graph.trial():
        state.graph.add_node(Node("f" * 64, "model", "planned"))
        for edge in [*edges_of(tried), Edge(digests[0], "f" * 64, "fit"), Edge("f" * 64, digests[1], "contains")]:
            state.graph.add_edge(edge)
            list(state.graph.tokens(digests[-1]))
    order.shuffle(edges)
    for edge in edges:
        other.graph.add_edge(edge)
    other.graph._stale = True
    assert state.graph.edges == other.graph.edges
    assert set(state.graph.nodes) == set(other.graph.nodes)
    for digest in places:
        assert set(other.graph.tokens(digest)) == set(state.graph.tokens(digest))
        for token in state.graph.tokens(digest):
            assert state.graph.path(digest, token).steps[0].digest == digest


def test_a_trial_forgets_that_provenance_became_known():
    """A node that nobody described is tainted by everything again, once the plan that described it is gone."""
    state = State(lambda digest: None)
    for digest in ("1" * 64, "2" * 64, "3" * 64):
        told(state, "node", digest=digest, kind="model", name="m", quarantined=False, meta={})
    told(state, "contains", digest="1" * 64, families=[], clusters=None)
    for edges in ([("1" * 64, "2" * 64)], [("2" * 64, "3" * 64), ("1" * 64, "2" * 64)]):
        before = {digest: set(state.graph.tokens(digest)) for digest in state.graph.nodes}
        with state.graph.trial():
            for source, target in edges:
                state.graph.add_edge(Edge(source, target, "fit"))
            assert {d: set(state.graph.tokens(d)) for d in state.graph.nodes} != before
        assert {digest: set(state.graph.tokens(digest)) for digest in state.graph.nodes} == before
