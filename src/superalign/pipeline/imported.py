"""Evaluations of other harnesses as evidence: rows of samples in the store, and Measurements that follow from them.

    seqs = measure_imported(ws, raw)              # raw: what `inspecting.importing` stored; the same for `verify`

No number is copied: each metric is recomputed from the samples, clustered. A sample that errored, or that its scorer
left unscored, stays in the denominator at the least that was possible, and is counted by kind.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from superalign.evidence import Event, Finding, Measurement, SuperalignError, Workspace, is_digest
from superalign.stats import Interval, mean_interval, proportion_interval

MOST = 1_000_000
"""Samples of one import."""
UNSCORED = "unscored"
"""Kind of a failure that the row itself does not name."""


class ImportedUnfit(SuperalignError):
    """What is stored of an import is not what an import stores."""


def measure_imported(ws: Any, raw: str, *, log: str) -> list[int]:
    """A Measurement a scorer and value of the import stored under `raw`; returns their sequence numbers.

    Raises FirewallError where a signal may not judge the subject, ImportedUnfit for an object that is no import.
    """
    stored = ws.store.get_json(raw)
    rows = _rows(stored)
    found = []
    for scorer, signal in sorted(_texts(stored, "signals").items()):
        keys = sorted({key for row in rows for key in row["scores"].get(scorer, {})})
        for key in keys:
            values, failures = _values(rows, scorer, key)
            interval = interval_of(values, [row["cluster"] for row in rows])
            reported = stored.get("reported", {}).get(scorer, {}).get(key)
            found.append(
                ws.measure(
                    Measurement(
                        name=".".join(part for part in ("inspect", stored["task"], scorer, key) if part),
                        title=f"{stored['task']}: {scorer}{f', {key}' if key else ''}",
                        value=interval.value,
                        low=interval.low,
                        high=interval.high,
                        level=interval.level,
                        n=interval.n,
                        clusters=interval.clusters,
                        unit="fraction" if _is_fraction(values) else "score",
                        subject=stored["subject"],
                        signals=(signal,),
                        role=stored["role"],
                        inputs=(log, raw),
                        cost=stored.get("cost", {}),
                        tags={
                            "stage": "inspect",
                            "task": stored["task"],
                            "scorer": scorer,
                            "failures": failures,
                            **({} if reported is None else {"reported": reported}),
                        },
                        note=_note(interval, reported, failures),
                    )
                )
            )
    if not found:
        raise ImportedUnfit(
            "no sample of this import has a number to compute from: each failed, or its score is a list"
        )
    return found


def interval_of(values: Sequence[float], clusters: Sequence[str]) -> Interval:
    """The mean with its clustered interval: Korn–Graubard between 0 and 1, else t, or wild under 40 clusters."""
    if _is_fraction(values):
        return proportion_interval(values, clusters=clusters)
    return mean_interval(values, clusters=clusters, method="rule")


def _is_fraction(values: Sequence[float]) -> bool:
    return all(0 <= value <= 1 for value in values)


def _values(rows: Sequence[Mapping[str, Any]], scorer: str, key: str) -> tuple[list[float], dict[str, int]]:
    """A value a sample: failures at 0, or at the least that was seen where values leave [0, 1]; `failed` at 1."""
    told = [row["scores"].get(scorer, {}).get(key) for row in rows]
    seen = [value for value in told if value is not None]
    least = min([0.0, *seen]) if _is_fraction(seen) else min(seen)
    worst = 1.0 if key == "failed" else least
    kinds = Counter(row["failure"] or UNSCORED for row, value in zip(rows, told, strict=True) if value is None)
    return [worst if value is None else float(value) for value in told], dict(sorted(kinds.items()))


def _note(interval: Interval, reported: float | None, failures: Mapping[str, int]) -> str:
    parts = [interval.note] if interval.note else []
    if failures:
        parts.append(f"{sum(failures.values())} samples without a score count as the least possible")
    if reported is not None and interval.value is not None and not math.isclose(reported, interval.value, abs_tol=1e-6):
        parts.append(f"the log itself reports {reported:.6g}")
    return "; ".join(parts)


def imports_of(ws: Workspace) -> tuple[list[Event], list[Finding]]:
    """The events by which evaluations came in, and what is wrong with others."""
    kept, odd = [], []
    for event in ws.ledger.events("run"):
        if "imported" not in event.body:
            continue
        if is_digest(event.body["imported"]) and is_digest(event.body.get("log")):
            kept.append(event)
        else:
            what = "an import names no stored rows, or no log"
            odd.append(Finding(seq=event.seq, what=what, where=f"event {event.seq}", do="import the log again"))
    return kept, odd


def replay_import(event: Event, tally: Any, ws: Workspace) -> None:
    """Every Measurement of one import again, from the stored rows alone."""
    measure_imported(tally, event.body["imported"], log=event.body["log"])


def _rows(stored: Any) -> list[Mapping[str, Any]]:
    """The rows, checked: a stranger may have stored them."""
    wanted = {"task", "subject", "role", "signals", "rows"}
    if not isinstance(stored, Mapping) or not wanted <= stored.keys() or not isinstance(stored["rows"], list):
        raise ImportedUnfit("the object stored for this import holds no rows: import the log again")
    rows: list[Mapping[str, Any]] = stored["rows"]
    if not 0 < len(rows) <= MOST:
        raise ImportedUnfit(f"an import of {len(rows)} samples: it may have 1 to {MOST}")
    for row in rows:
        fits = isinstance(row, Mapping) and isinstance(row.get("cluster"), str) and isinstance(row.get("failure"), str)
        if not fits or not isinstance(row.get("scores"), Mapping):
            raise ImportedUnfit("a row of this import has no cluster, scores and failure: import the log again")
        for scores in row["scores"].values():
            if not all(v is None or (isinstance(v, int | float) and math.isfinite(v)) for v in scores.values()):
                raise ImportedUnfit("a row of this import holds a value that is no number: import the log again")
    return rows


def _texts(stored: Mapping[str, Any], name: str) -> Mapping[str, str]:
    found = stored[name]
    if not isinstance(found, Mapping) or not all(is_digest(digest) for digest in found.values()):
        raise ImportedUnfit(f"the {name} of this import are no digests: import the log again")
    return found
