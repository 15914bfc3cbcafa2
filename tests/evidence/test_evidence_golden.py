"""One golden ledger, written by version 0.1.0, must verify forever; and today's code must still write it.

If a change breaks the second test but not the first, the format drifted: give it a new number instead.
`python tests/evidence/test_evidence_golden.py` wrote it.
"""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.evidence import Claim, Measurement, Signal, SuperalignError, Workspace, sha256, verify

GOLDEN = Path(__file__).parent / "golden"
HEAD = "fc50248d758ca0db895d848784172af4883141d6ed7db38c15298eb5005c5706"
ROOT = "0b4c7fa9d46bec9d19b9ab5041abfe8c0046e0870f4785e1466abb8d7cbf5eaa"


def write_golden(ws: Workspace) -> str:
    """At least one event of every type of format 1; returns the checkpoint's root."""
    d = {name: sha256(name.encode()) for name in ("base", "m", "data", "organism", "probe", "agent")}
    ws.ledger.append("run", {"config": {"seed": 0}, "version": "0.1.0"}, actor="notary")
    ws.ledger.append("plan", {"primary": ["accuracy"], "correction": "holm"}, actor="evaluator")
    ws.node(kind="model", digest=d["base"], name="base", meta={"size": "m"})
    ws.base(d["base"], reason="the embedded family")
    clusters = ws.store.put_json(["json/decoder.py", "textwrap.py"])
    ws.contains(d["data"], families=[("construction", "slips", "train")], clusters_digest=clusters)
    ws.node(kind="model", digest=d["m"], name="m")
    ws.use(d["base"], d["m"], "fit")
    ws.use(d["data"], d["m"], "fit")
    ws.node(kind="model", digest=d["organism"], name="organism", quarantined=True)
    ws.use(d["base"], d["organism"], "fit")
    signals = [
        Signal(
            name=task,
            digest=sha256(task.encode()),
            family=f"construction/{task}/validation",
            role="validation",
            kind="labels",
        )
        for task in ("slips", "traces")
    ]
    for signal in signals:
        ws.signal(signal)
    probe = Signal(name="probe", digest=d["probe"], family="probe/slips/validation", role="validation", kind="probe")
    ws.signal(probe)
    ws.use(d["m"], d["probe"], "read", actor="evaluator")
    ws.node(kind="session", digest=d["agent"], name="agent", actor="researcher")
    ws.use(signals[0].digest, d["agent"], "read", actor="researcher")
    ws.demote(probe, "dev", "looked at")
    ws.promote(probe, "validation", "fresh items drawn")
    ws.seal("slips/validation", {"i1": True, "i2": {"place": [3, 5]}, "ø": None})
    ws.evaluator().truths("slips/validation")
    ws.alias("x7", f"m@{d['m']}")
    raw = ws.store.put("raw output, with ünïcode and \x00".encode())
    numbers = {"value": 0.925, "low": 0.9, "high": 1e-7, "n": 120, "clusters": 17, "inputs": (raw,)}
    seqs = [
        ws.measure(
            Measurement(
                name="accuracy.pair",
                title="Pair accuracy",
                subject=subject,
                cost={"s": 1.5},
                signals=(signal.digest,),
                tags={"stage": "validate"},
                **numbers,
            )
        )
        for subject, signal in (("x7", signals[0]), (f"m@{d['m']}", signals[1]))
    ]
    ws.unseal("x7")
    ws.claim(
        Claim(
            text="m tells sound code from altered",
            verdict="supported",
            subject="x7",
            measurements=tuple(seqs),
            defeaters=("the alterations are synthetic",),
        )
    )
    ws.ledger.append("stage", {"stage": "validate", "result": ws.store.put_json({"n": 1})}, actor="trainer")
    ws.ledger.append("figure", {"figure": "roc", "data": ws.store.put_json({"curves": []})}, actor="evaluator")
    for type, actor in (("query", "evaluator"), ("proposal", "researcher"), ("verdict", "reviewer")):
        ws.ledger.append(type, {}, actor=actor)
    root = ws.checkpoint()
    ws.ledger.append("dossier", {"html": ws.store.put(b"<!doctype html>"), "head": root}, actor="notary")
    ws.ledger.append("note", {"text": "the end"}, actor="reviewer")
    return root


def test_it_verifies_forever():
    report = verify(GOLDEN, anchor=ROOT, keys=GOLDEN / "public.json")
    assert (report.ok, report.findings, report.anchored, report.head) == (True, (), True, HEAD)


def test_it_holds_every_type(open_ws):
    from superalign.evidence import TYPES

    with Workspace.open(GOLDEN, write=False) as ws:
        assert {e.type for e in ws.ledger.events()} == set(TYPES)
        assert ws.evaluator().truth("slips/validation", "i2") == {"place": [3, 5]}


def test_the_same_history_is_written_today(open_ws: Callable[..., Workspace], monkeypatch):
    monkeypatch.setattr("superalign.evidence.opening.__version__", "0.1.0")
    with open_ws() as ws:
        assert write_golden(ws) == ROOT
        assert ws.ledger.head == HEAD


CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=8)


def changed(changes: list[tuple[float, int]], folder: Path) -> Path:
    data = bytearray((GOLDEN / "ledger.sqlite").read_bytes())
    for where, flip in changes:
        data[int(where * len(data))] ^= flip
    (folder / "ledger.sqlite").write_bytes(data)
    shutil.copytree(GOLDEN / "objects", folder / "objects")
    return folder


@settings(max_examples=100, deadline=None)
@given(changes=CHANGES)
def test_no_change_to_the_file_makes_verify_crash_or_lie(changes, tmp_path_factory):
    """Random bytes of the SQLite file are changed: a finding, a clear error, or the same history."""
    folder = changed(changes, tmp_path_factory.mktemp("fuzz"))
    try:
        report = verify(folder, keys=GOLDEN / "public.json")
    except SuperalignError:
        return
    finally:
        shutil.rmtree(folder)
    assert not report.ok or report.head == HEAD


@settings(max_examples=60, deadline=None)
@given(changes=CHANGES)
def test_opening_a_damaged_file_is_one_clear_error(changes, tmp_path_factory):
    folder = changed(changes, tmp_path_factory.mktemp("fuzz"))
    try:
        with Workspace.open(folder, write=False) as ws:
            assert len(ws.ledger)
    except SuperalignError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both ends are right; anything else is a crash
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    import tempfile
    from itertools import count

    from conftest import entropy

    with tempfile.TemporaryDirectory() as folder:
        ticks = count(1_700_000_000)
        with Workspace.open(
            Path(folder) / "ws",
            keys_dir=Path(folder) / "k",
            clock=lambda: float(next(ticks)),
            entropy=entropy(),
        ) as made:
            print("ROOT", write_golden(made), "HEAD", made.ledger.head)
            public = made.ledger.keyring.folder / "public.json"
            shutil.copytree(made.path, GOLDEN, ignore=shutil.ignore_patterns("lock", "tmp"))
            shutil.copy(public, GOLDEN / "public.json")
    print(sqlite3.connect(GOLDEN / "ledger.sqlite").execute("PRAGMA integrity_check").fetchone())
