"""The desk a run works at: workspace, sizes, and stages that are done only once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

from superalign.engine import run_parallel
from superalign.evidence import Measurement, Workspace
from superalign.pipeline.config import RunConfig, Sizes
from superalign.pipeline.lineage import adapter_in, enter_adapted, made_here
from superalign.stats import Interval

if TYPE_CHECKING:
    from superalign.models import LocalModel

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
        config = {k: v for k, v in stated(self.config).items() if k not in ("workers", "json")}
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
            "run": self.key("run"),
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

    def once(self, name: str, work: Callable[[], Any], *, actor: str = "evaluator") -> Any:
        """What was made under this name for any configuration of the workspace, else made now.

        The name has to say all that counts, as digests of what it is made of do.
        """
        if self.finished(name) is None:
            for event in self.ws.ledger.events("stage"):
                if event.body["stage"] == name:
                    kept = self.ws.store.get_json(event.body["result"])
                    return self.finish(name, kept, seconds=0.0, actor=actor)
        return self.stage(name, work, actor=actor)

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


def stated(config: Any) -> dict[str, str]:
    """A configuration as the ledger states it: where the workspace lies is no part of it.

    An option that was `added` later is left out at its default, so that what was done before is still found.
    """
    added = {f.name for f in fields(config) if f.metadata.get("added") and getattr(config, f.name) == f.default}
    return {k: str(v) for k, v in asdict(config).items() if k != "workspace" and k not in added}


def listed(config: Any) -> dict[str, Any]:
    """Options as the `run` events of sweeps and interpretations state them, several values as a list.

    Where things lie, and on how many processes, is no part of it.
    """
    told = {k: list(v) if isinstance(v, tuple) else str(v) for k, v in asdict(config).items()}
    return {k: v for k, v in told.items() if k not in ("workspace", "workers", "json")}


class Named(Protocol):
    """What scoring needs to know of a model: never its weights."""

    @property
    def identity(self) -> str:
        """`name@digest`."""

    @property
    def threshold(self) -> float:
        """Reward under which the single verdict is *altered*."""


def register(
    desk: Desk, model: LocalModel, *, quarantined: bool = False, base: str = "", address: str = "", blob: bool = False
) -> None:
    """Register a model; `base` is the reason for which it is a declared common base.

    Of an `address` with an adapter the base and the adapter are declared, and the model is their child. What was fitted
    in this workspace keeps its lineage: it is no base.
    """
    meta: Mapping[str, Any] = {"parameters": sum(p.numel() for p in model.network.parameters())}
    desk.ws.node(kind="model", digest=model.digest, name=model.name, quarantined=quarantined, meta=meta)
    if base and address and adapter_in(address):
        enter_adapted(desk, model, address, reason=base)
    elif base and not made_here(desk, model.digest):
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
