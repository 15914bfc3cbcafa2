"""Figure events → ROC curves and the gallery. What the object holds is a stranger's JSON: checked, never trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from superalign.evidence import SuperalignError
from superalign.report.measured import EventLike
from superalign.report.text import clip, finite
from superalign.report.views import Curve, Finding, Number, RocPoint, Specimen
from superalign.stats import auroc

GetJson = Callable[[str], Any]
MAX_CODE = 20_000
MAX_ITEMS = 60
MAX_SCORES = 20_000
FEWEST_KINDS = 5
"""A bootstrap over fewer kinds than this draws the same few samples again and again: no interval is better."""


def figures_of(
    events: Iterable[EventLike], get_json: GetJson
) -> tuple[tuple[Curve, ...], tuple[Specimen, ...], tuple[Finding, ...]]:
    """Curves and gallery of the latest figure events, and what could not be read."""
    latest = {str(e.body.get("figure", "")): e for e in events if e.type == "figure"}
    problems: list[Finding] = []
    read = {}
    for name, event in latest.items():
        try:
            read[name] = get_json(str(event.body.get("data", "")))
        except (SuperalignError, LookupError, ValueError, RecursionError) as error:
            problems.append(Finding(f"The figure “{clip(name)}” can't be read: {clip(error, 300)}", (event.seq,)))
    for name in sorted(set(read) - {"roc", "gallery"}):
        problems.append(Finding(f"The figure “{clip(name)}” is of a kind this page can't draw.", (latest[name].seq,)))
    curves = [_curve(c, latest["roc"].seq) for c in _items(read.get("roc"), "curves")]
    items = [_specimen(i, latest["gallery"].seq) for i in _items(read.get("gallery"), "items")]
    return tuple(curves), tuple(items), tuple(problems)


def _items(data: Any, field: str) -> list[dict[str, Any]]:
    rows = data.get(field) if isinstance(data, dict) else None
    return [row for row in rows if isinstance(row, dict)][:MAX_ITEMS] if isinstance(rows, list) else []


def _curve(data: dict[str, Any], seq: int) -> Curve:
    check = str(data.get("check", ""))
    scores, labels = data.get("scores"), data.get("labels")
    if not isinstance(scores, list) or not isinstance(labels, list) or len(scores) != len(labels):
        return Curve(seq=seq, check=check, refused="scores and labels are not two lists of one length")
    values = [finite(s) for s in scores]
    if None in values or len(values) > MAX_SCORES:
        return Curve(seq=seq, check=check, refused="a score is missing: a missing score is not an innocent one")
    truth = [label in (1, True) for label in labels]
    organisms, twins = sum(truth), len(truth) - sum(truth)
    if not organisms or not twins:
        return Curve(seq=seq, check=check, refused="a curve needs both organisms and twins: one is missing")
    known = [v for v in values if v is not None]
    threshold = finite(data.get("threshold"))
    return Curve(
        seq=seq, check=check, points=tuple(roc_points(known, truth)),
        operating=None if threshold is None else _at(known, truth, threshold),
        area=_area(known, truth, data.get("kinds"), seq), twins=twins, organisms=organisms,
    )  # fmt: skip


def roc_points(scores: list[float], truth: list[bool]) -> list[RocPoint]:
    """The curve from (0, 0) to (1, 1), one step for each distinct score, so that ties are one sloping step.

    >>> [(p.fpr, p.tpr) for p in roc_points([2.0, 1.0, 1.0], [True, True, False])]
    [(0.0, 0.0), (0.0, 0.5), (1.0, 1.0)]
    """
    organisms, twins = sum(truth), len(truth) - sum(truth)
    points, caught, accused = [RocPoint(None, 0.0, 0.0, 0, 0)], 0, 0
    for level in sorted(set(scores), reverse=True):
        at = [t for s, t in zip(scores, truth, strict=True) if s == level]
        caught, accused = caught + sum(at), accused + len(at) - sum(at)
        points.append(RocPoint(level, accused / twins, caught / organisms, accused, caught))
    return points


def _at(scores: list[float], truth: list[bool], threshold: float) -> RocPoint:
    caught = sum(s > threshold for s, t in zip(scores, truth, strict=True) if t)
    accused = sum(s > threshold for s, t in zip(scores, truth, strict=True) if not t)
    organisms = sum(truth)
    return RocPoint(threshold, accused / (len(truth) - organisms), caught / organisms, accused, caught)


def _area(scores: list[float], truth: list[bool], kinds: Any, seq: int) -> Number:
    clusters = [str(k) for k in kinds] if isinstance(kinds, list) and len(kinds) == len(scores) else None
    found = auroc(scores, [int(t) for t in truth], clusters=clusters, draws=500)
    enough = found.clusters >= FEWEST_KINDS
    note = "recomputed from the scores of the figure"
    return Number(
        seq=seq, name="auroc", title="Area under the curve", value=found.value,
        low=found.low if enough else None, high=found.high if enough else None, n=found.n, clusters=found.clusters,
        note=note if enough else f"{note}; {found.clusters} kinds are too few to draw an interval from",
    )  # fmt: skip


def _specimen(data: dict[str, Any], seq: int) -> Specimen:
    def text(field: str, limit: int = 300) -> str:
        return clip(data.get(field, ""), limit)

    shown = str(data.get("shown", ""))
    repair = data.get("repair")
    return Specimen(
        seq=seq, id=text("id"), title=text("title"), why=text("why"), kind=text("kind"),
        source=text("source", MAX_CODE), shown=clip(shown, MAX_CODE),
        place=_span(data.get("place"), len(shown)), pointed=_span(data.get("pointed"), len(shown)),
        verdict=text("verdict"), truth=text("truth"), repair=None if repair is None else clip(repair, 300),
        subject=text("subject"),
    )  # fmt: skip


def _span(value: Any, limit: int) -> tuple[int, int] | None:
    """[start, end] clipped into the text, or None for anything else."""
    if not isinstance(value, list) or len(value) != 2 or any(type(v) is not int for v in value):
        return None
    start, end = (max(0, min(v, limit, MAX_CODE)) for v in value)
    return (start, max(start, end))
