"""The desk a run works at: workspace, sizes, models, pages of items, signals, and stages that are done only once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from superalign.engine import run_parallel
from superalign.evidence import Measurement, Signal, Workspace
from superalign.models import LocalModel
from superalign.pipeline.config import RunConfig, Sizes
from superalign.stats import Interval
from superalign.tasks.item import Page

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Everything the stages share."""

    ws: Workspace
    config: RunConfig
    sizes: Sizes
    say: Say

    def key(self, name: str, *parts: Any) -> str:
        """Digest that names one stage of one configuration; host settings such as workers do not count."""
        config = {k: str(v) for k, v in asdict(self.config).items() if k not in ("workspace", "workers", "json")}
        text = json.dumps([name, config, asdict(self.sizes), parts], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def finished(self, name: str, *parts: Any) -> Any | None:
        """The stored result of a stage, or None when it has not been done."""
        key = self.key(name, *parts)
        for event in self.ws.ledger.events("stage"):
            if event.body["key"] == key:
                return self.ws.store.get_json(event.body["result"])
        return None

    def finish(self, name: str, result: Any, *parts: Any, seconds: float, actor: str = "evaluator") -> Any:
        """Store a stage's result and say in the ledger that it is done; returns it as a resumed run would read it."""
        digest = self.ws.store.put_json(result)
        body = {
            "stage": name,
            "key": self.key(name, *parts),
            "state": "done",
            "seconds": round(seconds, 3),
            "result": digest,
        }
        self.ws.ledger.append("stage", body, actor=actor)
        return self.ws.store.get_json(digest)

    def stage(self, name: str, work: Callable[[], Any], *parts: Any, actor: str = "evaluator") -> Any:
        """Do `work` once: its JSON result is stored, and handed back from the store ever after."""
        done = self.finished(name, *parts)
        if done is not None:
            return done
        self.say(name)
        began = time.monotonic()
        return self.finish(name, work(), *parts, seconds=time.monotonic() - began, actor=actor)

    def stages(self, work: Callable[[Any], Any], jobs: Mapping[str, tuple[Any, str]]) -> dict[str, Any]:
        """Like `stage` for many jobs in workers: stage name → (job, a part of its key) gives name → result."""
        results = {name: self.finished(name, part) for name, (_, part) in jobs.items()}
        names = [name for name, result in results.items() if result is None]
        for done in run_parallel(work, [jobs[name][0] for name in names], workers=self.config.workers):
            name = names[done.index]
            self.say(name)
            results[name] = self.finish(name, done.result, jobs[name][1], seconds=done.seconds)
        return results

    @contextmanager
    def together(self, name: str, *parts: Any):  # type: ignore[no-untyped-def]
        """All events of a block, and the stage's end, in one transaction; yields False when it was done before."""
        if self.finished(name, *parts) is not None:
            yield False
            return
        with self.ws.ledger.transaction():
            yield True
            self.finish(name, {}, *parts, seconds=0.0)


def put_page(desk: Desk, page: Page) -> str:
    """Store a page's items, register them as data, seal the truths; returns the data digest."""
    items = [{"id": i.id, "cluster": i.cluster, "input": dict(i.input)} for i in page.items]
    digest = desk.ws.store.put_json({"task": page.task, "split": page.split, "items": items})
    task = page.task.split(".")[0]
    clusters = desk.ws.store.put_json(sorted({i.cluster for i in page.items}))
    desk.ws.contains(
        digest,
        families=[("construction", task, page.split)],
        clusters_digest=clusters,
        name=f"{page.task}/{page.split}",
    )
    desk.ws.seal(f"{page.task}/{page.split}/{digest[:8]}", {k: dict(v) for k, v in page.truths.items()})
    return digest


def truths_of(desk: Desk, page: Page, digest: str) -> dict[str, Any]:
    """The page's truths through the evaluator's handle; the opening is on record."""
    return desk.ws.evaluator().truths(f"{page.task}/{page.split}/{digest[:8]}")


def truth_signal(desk: Desk, task: str, split: str) -> str:
    """Register the truth of one split of a task as a signal of the split's role; returns its digest."""
    family = f"construction/{task}/{split}"
    digest = hashlib.sha256(f"truth of {family}".encode()).hexdigest()
    desk.ws.signal(Signal(name=f"truth of {task}/{split}", digest=digest, family=family, role=split, kind="labels"))
    return digest


def register(desk: Desk, model: LocalModel, *, quarantined: bool = False, base: str = "", blob: bool = False) -> None:
    """Register a model; `base` is the reason for which it is a declared common base."""
    meta: Mapping[str, Any] = {"parameters": sum(p.numel() for p in model.network.parameters())}
    desk.ws.node(kind="model", digest=model.digest, name=model.name, quarantined=quarantined, meta=meta)
    if base:
        desk.ws.base(model.digest, reason=base)


def measured(
    desk: Desk,
    name: str,
    title: str,
    interval: Interval,
    *,
    subject: str,
    signals: tuple[str, ...],
    tags: Mapping[str, Any],
    note: str = "",
    **more: Any,
) -> int:
    """Write one interval as a Measurement; returns its sequence number."""
    note = note or interval.note
    return desk.ws.measure(
        Measurement(
            name=name,
            title=title,
            value=interval.value,
            low=interval.low,
            high=interval.high,
            level=interval.level,
            n=interval.n,
            clusters=interval.clusters,
            subject=subject,
            signals=signals,
            tags=dict(tags),
            note=note,
            **more,
        )
    )
