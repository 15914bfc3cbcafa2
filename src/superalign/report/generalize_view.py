"""What a ledger holds of a sweep of weak-to-strong methods; figures are a stranger's JSON: checked, never trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from superalign.report.measured import EventLike, number_of
from superalign.report.views import Number

STAGE = "generalize"
FLOOR, CEILING = "weak floor", "ceiling"
BOUNDS = (FLOOR, CEILING)
HONEST = ("labels", "unsupervised")
"""Kinds of methods that never meet the truth."""
SETTINGS = ("wide", "natural", "distractor")
"""In this order; others follow as they were measured."""
MAX_CASES, MAX_METHODS, MAX_ROWS = 24, 120, 200
"""Of a page; what is left out is counted."""
DIGITS = 6


@dataclass(slots=True)
class MethodView:
    """One method in one setting, or one of the two bounds."""

    name: str
    kind: str = ""
    source: str = ""
    truths: str = ""
    """True labels that it buys, "" for none."""
    seeds: int = 0
    """In how many it was played, 0 where that isn't told."""
    figures: dict[str, Number] = field(default_factory=dict)

    @property
    def honest(self) -> bool:
        """Does it do without the truth?"""
        return self.kind in HONEST

    def value(self, figure: str) -> float | None:
        """The value of a figure, None where there is none or it is refused."""
        found = self.figures.get(figure)
        return None if found is None else found.value


@dataclass(slots=True)
class CaseView:
    """One setting under one supervision."""

    setting: str
    supervision: str
    methods: dict[str, MethodView] = field(default_factory=dict)
    contrasts: dict[tuple[str, str], Number] = field(default_factory=dict)

    @property
    def seeds(self) -> int:
        """In how many most of its methods were played; of two numbers that are as common, the greater."""
        told = Counter(method.seeds for method in self.methods.values() if method.seeds)
        return max(told, key=lambda n: (told[n], n), default=0)

    def fewer(self, name: str) -> str:
        """In how many seeds a method was played, where that differs from most of the case; else "".

        >>> case = CaseView("wide", "weak", {n: MethodView(n, seeds=s) for n, s in (("a", 20), ("b", 20), ("c", 1))})
        >>> case.fewer("a"), case.fewer("c"), case.fewer("not there")
        ('', '1 seed', '')
        """
        seeds = self.methods[name].seeds if name in self.methods else 0
        return "" if seeds in (0, self.seeds) else f"{seeds:,} seed{'' if seeds == 1 else 's'}"

    @property
    def ranked(self) -> list[MethodView]:
        """Methods and bounds, the most accurate first; those without an accuracy last."""
        return sorted(self.methods.values(), key=lambda m: -(m.value("accuracy") or 0.0))

    @property
    def students(self) -> list[MethodView]:
        """Ranked, without the bounds."""
        return [method for method in self.ranked if method.name not in BOUNDS]


Pair = tuple[str, str]


@dataclass(slots=True)
class SweepView:
    """All that the ledger holds of one sweep."""

    cases: dict[Pair, CaseView] = field(default_factory=dict)
    """(setting, supervision) → case."""
    sgr: dict[tuple[str, str, str], Number] = field(default_factory=dict)
    """(setting, difficulty, method)."""
    hard: dict[Pair, Number] = field(default_factory=dict)
    """(difficulty, what was learned from) → accuracy on hard questions."""
    scaling: dict[str, dict[Pair, Number]] = field(default_factory=dict)
    """Method → (weak, strong) → PGR."""
    scaled: dict[str, dict[Pair, Number]] = field(default_factory=dict)
    """The same, accuracy; bounds too."""
    truth: dict[Pair, dict[str, Number]] = field(default_factory=dict)
    """(condition, probe) → part → number."""
    consistency: dict[Pair, Number] = field(default_factory=dict)
    """(form, method, "" for none)."""
    left_out: int = 0
    """Measurements that found no room."""

    @property
    def ordered(self) -> list[CaseView]:
        """Cases, known settings first, weak models' labels before others'."""
        place = {name: i for i, name in enumerate(SETTINGS)}
        return sorted(self.cases.values(), key=lambda c: (c.supervision != "weak", place.get(c.setting, len(place))))

    @property
    def leading(self) -> list[CaseView]:
        """Cases of the first one's supervision: weak models' labels, where there are any."""
        ordered = self.ordered
        return [case for case in ordered if case.supervision == ordered[0].supervision]

    @property
    def beside(self) -> list[CaseView]:
        """Cases that are drawn side by side: with a PGR to quote, of the first one's supervision, three at most."""
        quoted = [case for case in self.ordered if any(m.value("pgr") is not None for m in case.students)]
        return [case for case in quoted if case.supervision == quoted[0].supervision][:3]


def sweep_of(events: Iterable[EventLike], *, board: str | None = None) -> SweepView:
    """The view of one sweep, the latest measurement of each thing; without a key, of the sweep measured last."""
    told = [event for event in events if event.type == "measurement" and _tags(event).get("stage") == STAGE]
    keys = [key for event in told if (key := str(_tags(event).get("board", "")))]
    board = board or (keys[-1] if keys else "")
    view = SweepView()
    for event in told:
        if str(_tags(event).get("board", "")) == board:
            _add(view, rounded(number_of(event)))
    return view


def _tags(event: EventLike) -> Mapping[str, Any]:
    tags = event.body.get("tags")
    return tags if isinstance(tags, Mapping) else {}


def rounded(number: Number) -> Number:
    """What a page shows of it: the last digits of a zero are no result."""
    value, low, high = (None if x is None else round(x, DIGITS) for x in (number.value, number.low, number.high))
    return replace(number, value=value, low=low, high=high)


def _add(view: SweepView, number: Number) -> None:
    tags, figure = number.tags, number.tags.get("figure", "")
    method = tags.get("method", "")
    pair = tags.get("weak", ""), tags.get("strong", "")
    if figure == "sgr":
        _keep(view, view.sgr, (tags.get("setting", ""), tags.get("difficulty", ""), method), number)
    elif figure == "hard accuracy":
        _keep(view, view.hard, (tags.get("difficulty", ""), tags.get("arm", method)), number)
    elif figure in ("scaling", "scaling accuracy"):
        table = view.scaling if figure == "scaling" else view.scaled
        if method in table or len(table) < MAX_METHODS:
            _keep(view, table.setdefault(method, {}), pair, number)
        else:
            view.left_out += 1
    elif figure == "truth":
        probe = tags.get("condition", ""), tags.get("probe", "")
        if probe in view.truth or len(view.truth) < MAX_ROWS:
            _keep(view, view.truth.setdefault(probe, {}), tags.get("part", ""), number)
        else:
            view.left_out += 1
    elif figure == "consistency":
        _keep(view, view.consistency, (tags.get("form", ""), method), number)
    elif figure and method and tags.get("setting"):
        _add_to_case(view, number, figure, method)
    else:
        view.left_out += 1


def _keep(view: SweepView, table: dict[Any, Number], key: Any, number: Number) -> None:
    """The latest of a thing; beyond MAX_ROWS things it is counted and left out."""
    if key in table or len(table) < MAX_ROWS:
        table[key] = number
    else:
        view.left_out += 1


def _add_to_case(view: SweepView, number: Number, figure: str, method: str) -> None:
    tags = number.tags
    key = tags["setting"], tags.get("supervision", "")
    if key not in view.cases and len(view.cases) >= MAX_CASES:
        view.left_out += 1
        return
    case = view.cases.setdefault(key, CaseView(*key))
    if figure == "contrast":
        _keep(view, case.contrasts, (method, tags.get("other", "")), number)
        return
    if method not in case.methods and len(case.methods) >= MAX_METHODS:
        view.left_out += 1
        return
    found = case.methods.setdefault(method, MethodView(method))
    found.kind, found.source = tags.get("kind", found.kind), tags.get("source", found.source)
    found.truths = tags["truths"] if whole(tags.get("truths", "")) else found.truths
    found.seeds = whole(tags.get("seeds", "")) or found.seeds
    _keep(view, found.figures, figure, number)


def whole(text: str) -> int:
    """A number that a tag tells, 0 for what is none.

    >>> whole("20"), whole("-3"), whole("1e9"), whole("9" * 30)
    (20, 0, 0, 0)
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
