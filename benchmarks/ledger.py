"""The ledger's speed: `python benchmarks/ledger.py [--json]`.

Appending in batches and verifying, in events per second and as ratios to the bare signatures, hashes and inserts that
no ledger of this kind can do without; the firewall's check of one use, among 100,000 artefacts; each in one run.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from superalign.evidence import Use, Workspace, verify

EVENTS, ROUNDS, ARTEFACTS = 6000, 5, 100_000
BODY = {"text": "x" * 200, "i": 0}


def seconds(work: Callable[[], object]) -> float:
    """How long that took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bare(folder: Path) -> tuple[float, float]:
    """Seconds to sign, hash and insert, and to hash and check signatures, with nothing around it."""
    key = Ed25519PrivateKey.generate()
    entries = [json.dumps({**BODY, "i": i, "more": "y" * 150}).encode() for i in range(EVENTS)]
    signed: list[tuple[bytes, bytes]] = []

    def write() -> None:
        db = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
        db.execute("CREATE TABLE IF NOT EXISTS event (entry TEXT, signature TEXT)")
        db.execute("BEGIN")
        for entry in entries:
            signature = key.sign(hashlib.sha256(entry).digest())
            signed.append((entry, signature))
            db.execute("INSERT INTO event VALUES (?, ?)", (entry.decode(), signature.hex()))
        db.execute("COMMIT")
        db.close()

    def check() -> None:
        public = key.public_key()
        for entry, signature in signed:
            json.loads(entry)
            public.verify(signature, hashlib.sha256(entry).digest())

    return seconds(write), seconds(check)


def ours(folder: Path) -> tuple[float, float]:
    """Seconds for the ledger to append as many events in one transaction, and to verify them to V1."""
    with Workspace.open(folder / "ws", keys_dir=folder / "keys") as ws:

        def write() -> None:
            with ws.ledger.transaction():
                for i in range(EVENTS):
                    ws.ledger.append("note", BODY | {"i": i}, actor="trainer")

        wrote = seconds(write)
    return wrote, seconds(lambda: verify(folder / "ws"))


def firewall(folder: Path) -> dict[str, float]:
    """Milliseconds to plan one use in a ledger of many artefacts: a chain of ten models each, fitted to data."""
    with Workspace.open(folder / "many", keys_dir=folder / "keys") as ws:

        def digest(name: str) -> str:
            return hashlib.sha256(name.encode()).hexdigest()

        with ws.ledger.transaction():
            for i in range(ARTEFACTS // 10):
                ws.contains(digest(f"d{i}"), families=[("construction", f"task{i % 50}", "train")], name=f"d{i}")
                before = digest(f"d{i}")
                for j in range(9):
                    model = digest(f"m{i}.{j}")
                    ws.node(kind="model", digest=model, name="m")
                    ws.use(before, model, "fit")
                    before = model
        uses = [Use(digest(f"m{i}.8"), digest(f"m{i + 1}.0"), "fit") for i in range(0, 2000, 10)]
        from superalign.evidence.firewall import check_use

        state = ws.state
        checks = [seconds(lambda use=use: check_use(state, use)) for use in uses]  # type: ignore[misc]
        plans = [seconds(lambda use=use: ws.check_plan([use])) for use in uses[:5]]  # type: ignore[misc]
    return {"check_ms": 1e3 * statistics.median(checks), "plan_ms": 1e3 * statistics.median(plans)}


def main() -> None:
    """Run all and print."""
    rounds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append((*bare(Path(folder)), *ours(Path(folder))))
    write0, check0, write, check = (statistics.median(column) for column in zip(*rounds, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        wall = firewall(Path(folder))
    result = {
        "append_per_s": EVENTS / write,
        "append_over_bare": write / write0,
        "verify_per_s": EVENTS / check,
        "verify_over_bare": check / check0,
        **wall,
        "artefacts": ARTEFACTS,
    }
    if "--json" in sys.argv:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:18} {value:,.3f}")


if __name__ == "__main__":
    main()
