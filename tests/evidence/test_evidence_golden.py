"""One golden ledger a format, each must verify forever; and today's code must still write the newest.

If a change breaks `test_the_same_history_is_written_today` but not the first test, the format drifted: give it a new
number instead. `python tests/evidence/test_evidence_golden.py` wrote the newest.
"""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.evidence import Answers, Claim, Measurement, Signal, SuperalignError, Workspace, holdout, sha256, verify
from superalign.evidence.events import types_of
from superalign.evidence.keys import PRINCIPALS


class Golden(NamedTuple):
    """A ledger that was written once, and what an auditor kept of it."""

    format: int
    head: str
    root: str

    @property
    def path(self) -> Path:
        """Its workspace."""
        return Path(__file__).parent / f"golden{self.format}"


FIRST = Golden(
    1,
    "fc50248d758ca0db895d848784172af4883141d6ed7db38c15298eb5005c5706",
    "0b4c7fa9d46bec9d19b9ab5041abfe8c0046e0870f4785e1466abb8d7cbf5eaa",
)
NEWEST = Golden(
    2,
    "9437f8e99fe3da67e382fdf065a1018a279fd610a4d3d3b9ea3f1f53cabd0b0c",
    "ad10a9fe8d7817f022a5d6499bac31a0c28c0643c8ce57b92514ed981efb7059",
)
ALL = pytest.mark.parametrize("golden", [FIRST, NEWEST], ids=["format 1", "format 2"])


def write_golden(ws: Workspace) -> str:
    """At least one event of every type of format 2; returns the checkpoint's root."""
    ws.enrol()
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
    ws.node(kind="session", digest=d["agent"], name="a person reads", actor="reviewer")
    ws.use(signals[0].digest, d["agent"], "read", actor="researcher")
    ws.demote(probe, "dev", "looked at")
    ws.promote(probe, "validation", "fresh items drawn")
    ws.seal("slips/validation", {"i1": True, "i2": {"place": [3, 5]}, "ø": None})
    ws.evaluator().truths("slips/validation")
    ws.alias("x7", f"m@{d['m']}")
    holdout.fingerprint(ws, signals[0].family, [["a", "b", "c"] * 9, ["def", "f"]])
    holdout.screen(ws, d["data"], [["x", "y"] * 20, []])
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
    asked(ws, signals[0], f"m@{d['m']}")
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
    for type, actor in (("proposal", "researcher"), ("verdict", "reviewer")):
        ws.ledger.append(type, {}, actor=actor)
    root = ws.checkpoint()
    ws.ledger.append("dossier", {"html": ws.store.put(b"<!doctype html>"), "head": root}, actor="notary")
    ws.ledger.append("note", {"text": "the end"}, actor="reviewer")
    return root


def asked(ws: Workspace, signal: Signal, subject: str) -> None:
    """Admit the signal, open its budget and ask it twice: once it says nothing new, once it does."""
    controls = {}
    for name in ("null", "constant", "garbage"):
        ws.node(kind="model", digest=sha256(name.encode()), name=name)
        ws.base(sha256(name.encode()), reason="knows nothing")
        known = {"value": 0.5, "low": 0.47, "high": 0.53, "n": 900, "clusters": 90, "signals": (signal.digest,)}
        nothing = f"{name}@{sha256(name.encode())}"
        controls[name] = ws.measure(Measurement(name=f"control.{name}", title=name, subject=nothing, **known))
    holdout.admit(ws, signal, chance=0.5, baseline=0.6, n=900, controls=controls)
    holdout.open_budget(ws, signal.family, mechanism="thresholdout", allowed=3)
    answers = Answers(values=(1.0, 0.0, 1.0, 1.0), clusters=("a", "a", "b", "c"))
    for reference in (0.75, 0.1):
        holdout.ask(ws, signal, subject, answers, reference=reference)


@ALL
def test_it_verifies_forever(golden):
    report = verify(golden.path, anchor=golden.root, keys=golden.path / "public.json")
    assert (report.ok, report.findings, report.anchored, report.head) == (True, (), True, golden.head)


@ALL
def test_it_holds_every_type(golden):
    with Workspace.open(golden.path, write=False) as ws:
        assert ws.ledger.format == golden.format
        assert {e.type for e in ws.ledger.events()} == set(types_of(golden.format))
        assert ws.evaluator().truth("slips/validation", "i2") == {"place": [3, 5]}


def test_the_same_history_is_written_today(open_ws: Callable[..., Workspace], monkeypatch):
    monkeypatch.setattr("superalign.evidence.opening.__version__", "0.1.0")
    with open_ws() as ws:
        assert write_golden(ws) == NEWEST.root
        assert ws.ledger.head == NEWEST.head


def test_an_old_ledger_is_continued_in_its_own_format(open_ws, tmp_path, entropy_of):
    """Nobody's workspace is stranded: what the old format knows goes on, what it lacks is refused by name."""
    shutil.copytree(FIRST.path, tmp_path / "ws")
    draw = entropy_of()
    keys = tmp_path / "keys" / draw(16).hex()
    keys.mkdir(parents=True, mode=0o700)
    for principal in PRINCIPALS:  # as format 1 kept them: the reviewer's too, and open
        (keys / f"{principal}.key").write_text(draw(32).hex())
        (keys / f"{principal}.key").chmod(0o600)
    with open_ws() as ws:
        ws.ledger.append("query", {"free": True}, actor="evaluator")
        ws.ledger.append("note", {"text": "still here"}, actor="reviewer")
        with pytest.raises(SuperalignError, match="begin a new workspace: this one is older"):
            holdout.fingerprint(ws, "construction/slips/test", [["a"]])
    assert verify(tmp_path / "ws").ok


CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=8)


def changed(changes: list[tuple[float, int]], folder: Path) -> Path:
    data = bytearray((NEWEST.path / "ledger.sqlite").read_bytes())
    for where, flip in changes:
        data[int(where * len(data))] ^= flip
    (folder / "ledger.sqlite").write_bytes(data)
    shutil.copytree(NEWEST.path / "objects", folder / "objects")
    return folder


@settings(max_examples=100, deadline=None)
@given(changes=CHANGES)
def test_no_change_to_the_file_makes_verify_crash_or_lie(changes, tmp_path_factory):
    """Random bytes of the SQLite file are changed: a finding, a clear error, or the same history."""
    folder = changed(changes, tmp_path_factory.mktemp("fuzz"))
    try:
        report = verify(folder, keys=NEWEST.path / "public.json")
    except SuperalignError:
        return
    finally:
        shutil.rmtree(folder)
    assert not report.ok or report.head == NEWEST.head


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
            passphrase=lambda: "correct horse",
        ) as made:
            print("ROOT", write_golden(made), "HEAD", made.ledger.head)
            public = made.ledger.keyring.folder / "public.json"
            shutil.copytree(made.path, NEWEST.path, ignore=shutil.ignore_patterns("lock", "tmp"))
            shutil.copy(public, NEWEST.path / "public.json")
    print(sqlite3.connect(NEWEST.path / "ledger.sqlite").execute("PRAGMA integrity_check").fetchone())
