"""Fixtures: a reproducible workspace, and a short hand for building lineage in it."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from superalign.evidence import Answers, Claim, Measurement, Signal, Workspace, holdout
from superalign.evidence.ledger import connect


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def entropy(seed: str = "seed") -> Callable[[int], bytes]:
    """Bytes that look random and are the same in every run."""
    counter = count()
    return lambda n: hashlib.shake_128(f"{seed}{next(counter)}".encode()).digest(n)


class Lab:
    """Builds lineage by name: the digest of a thing is the hash of its name."""

    def __init__(self, ws: Workspace) -> None:
        self.ws = ws

    def base(self, name: str = "base") -> str:
        self.ws.node(kind="model", digest=digest(name), name=name)
        self.ws.base(digest(name), reason="the family")
        return digest(name)

    def data(self, name: str, *families: str, quarantined: bool = False, clusters: str | None = None) -> str:
        split = [tuple(f.split("/")) for f in families]
        self.ws.contains(digest(name), families=split, name=name, quarantined=quarantined, clusters_digest=clusters)
        return digest(name)

    def signal(
        self, name: str, family: str, role: str, kind: str = "labels", actor: str = "evaluator", known: bool = True
    ) -> str:
        """A signal; a fitted one that was fitted to nothing here, unless its provenance is still to be said."""
        signal = Signal(name=name, digest=digest(name), family=family, role=role, kind=kind)
        self.ws.signal(signal, actor=actor)
        if known and kind not in ("labels", "person"):
            self.ws.contains(digest(name), families=[])
        return digest(name)

    def model(self, name: str, *sources: str, mode: str = "fit", quarantined: bool = False) -> str:
        self.ws.node(kind="model", digest=digest(name), name=name, quarantined=quarantined)
        for source in sources:
            self.ws.use(source, digest(name), mode)
        return digest(name)

    def admit(self, signal: str) -> None:
        """Let the signal in to validate: three models that know nothing score nothing by it."""
        controls = {}
        for name in ("null", "constant", "garbage"):
            nothing = f"{name}@{self.base(name)}"
            fields = {"value": 0.5, "low": 0.45, "high": 0.55, "name": f"control.{name}", "n": 900, "role": "dev"}
            controls[name] = self.ws.measure(self.measurement(nothing, signal, **fields))
        holdout.admit(self.ws, signal, chance=0.5, baseline=0.6, n=900, controls=controls)

    def ask(self, signal: str, model: str) -> None:
        """Ask the signal's family about the model, within a budget."""
        family = self.ws.state.signals[signal].family
        if family not in self.ws.state.budgets:
            self.admit(signal)
            holdout.open_budget(self.ws, family, mechanism="thresholdout")
        name = self.ws.state.graph.nodes[model].name
        holdout.ask(self.ws, signal, f"{name}@{model}", Answers(values=(1.0,), clusters=("c",)), reference=1.0)

    def measurement(self, subject: str, *signals: str, **fields: Any) -> Measurement:
        defaults: dict[str, Any] = {"name": "accuracy", "title": "Accuracy", "value": 0.9, "low": 0.8}
        defaults |= {"high": 0.95, "n": 100, "clusters": 10, "subject": subject, "signals": signals}
        return Measurement(**{**defaults, **fields})

    def measure(self, subject: str, *signals: str, **fields: Any) -> int:
        known = self.ws.state.graph.nodes.get(subject)
        named = f"{known.name}@{subject}" if known else subject
        return self.ws.measure(self.measurement(named, *signals, **fields))

    def claim(self, subject: str, *measurements: int, **fields: Any) -> int:
        known = self.ws.state.graph.nodes.get(subject)
        named = f"{known.name}@{subject}" if known else subject
        defaults: dict[str, Any] = {"text": "it is good", "verdict": "pass", "measurements": measurements}
        return self.ws.claim(Claim(**{**defaults, "subject": named, **fields}))


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills are tested, power cuts can't be: don't wait for the disk."""

    def fast(path: Path, *, write: bool) -> sqlite3.Connection:
        db = connect(path, write=write)
        db.execute("PRAGMA synchronous = OFF")
        return db

    monkeypatch.setattr("superalign.evidence.opening.connect", fast)
    monkeypatch.setattr("superalign.evidence.store.sync_folder", lambda folder: None)


@pytest.fixture
def open_ws(tmp_path: Path) -> Callable[..., Workspace]:
    """Opens the same workspace again and again, with a clock that ticks one second an event."""

    def open_(name: str = "ws", **options: Any) -> Workspace:
        ticks = count(1_700_000_000)
        return Workspace.open(
            tmp_path / name,
            **{
                "keys_dir": tmp_path / "keys",
                "clock": lambda: float(next(ticks)),
                "entropy": entropy(),
                "passphrase": lambda: "correct horse",
                **options,
            },
        )

    return open_


@pytest.fixture
def ws(open_ws: Callable[..., Workspace]) -> Iterator[Workspace]:
    with open_ws() as workspace:
        yield workspace


@pytest.fixture
def lab(ws: Workspace) -> Lab:
    """A short hand for lineage, in a workspace whose reviewer is enrolled."""
    ws.enrol()
    return Lab(ws)


@pytest.fixture
def lab_of() -> Callable[[Workspace], Lab]:
    return Lab


@pytest.fixture
def entropy_of() -> Callable[[], Callable[[int], bytes]]:
    return entropy


@pytest.fixture
def digest_of() -> Callable[[str], str]:
    return digest
