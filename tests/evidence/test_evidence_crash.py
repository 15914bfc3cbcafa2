"""Killed at any moment: the workspace opens again, nothing is half there, and it verifies."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from superalign.evidence import FORMAT, Unwritable, verify

WRITER = """
import sys
from pathlib import Path
from superalign.evidence import Workspace

with Workspace.open(Path(sys.argv[1]), keys_dir=Path(sys.argv[2])) as ws:
    for i in range(100_000):
        if i % 3:
            ws.ledger.append("note", {"i": i, "object": ws.store.put(str(i).encode())}, actor="trainer")
        else:
            with ws.ledger.transaction():
                for j in range(40):
                    ws.ledger.append("note", {"batch": j, "text": "x" * 3000}, actor="trainer")
        print(len(ws.ledger), flush=True)
"""


def test_killed_while_writing(tmp_path, open_ws):
    dice = random.Random(7)
    for _ in range(5):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "ws"), str(tmp_path / "keys")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            writer.stdout.readline()
            time.sleep(dice.uniform(0, 0.08))
            os.kill(writer.pid, signal.SIGKILL)
            said = [int(line) for line in writer.stdout.read().split("\n")[:-1]]
        report = verify(tmp_path / "ws")
        assert (report.ok, report.findings) == (True, ())
        with open_ws() as ws:
            assert len(ws.ledger) == report.events
            assert not said or len(ws.ledger) >= max(said)
            batches = [e.seq for e in ws.ledger.events("note") if "batch" in e.body]
            assert len(batches) % 40 == 0
            assert not (ws.path / "tmp").exists()
        assert verify(tmp_path / "ws").ok


def caught_mid_write(ws, open_ws, target: Path) -> int:
    """A copy of the workspace as a kill would leave it: pages of an open transaction already in the file."""
    for i in range(30):
        ws.ledger.append("note", {"i": i, "text": "x" * 900}, actor="notary")
    before = len(ws.ledger)
    ws.ledger._db.execute("PRAGMA cache_size = 2")
    with ws.ledger.transaction():
        for _ in range(60):
            ws.ledger.append("note", {"text": "y" * 900}, actor="notary")
        shutil.copytree(ws.path, target)
    return before


def test_a_hot_journal_is_rolled_back_on_a_copy(ws, open_ws, tmp_path):
    before = caught_mid_write(ws, open_ws, tmp_path / "killed")
    journal = tmp_path / "killed" / "ledger.sqlite-journal"
    stored = (tmp_path / "killed" / "ledger.sqlite").read_bytes()
    assert journal.stat().st_size > 512
    assert b"y" * 900 in stored
    report = verify(tmp_path / "killed")
    assert (report.ok, report.events) == (True, before)
    assert (tmp_path / "killed" / "ledger.sqlite").read_bytes() == stored
    with pytest.raises(Unwritable, match="left mid-write"):
        open_ws("killed", write=False)
    (ws.ledger.keyring.folder / "head").unlink()  # it belongs to the original, which is ahead
    with open_ws("killed") as again:
        assert len(again.ledger) == before
    assert verify(tmp_path / "killed").ok
    assert not journal.exists()


def test_a_journal_that_names_another_file_is_not_played(ws, open_ws, tmp_path):
    """SQLite would follow the name in it, and delete that file."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    caught_mid_write(ws, open_ws, tmp_path / "killed")
    name = str(victim).encode()
    tail = (0).to_bytes(4, "big") + name + len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big")
    with (tmp_path / "killed" / "ledger.sqlite-journal").open("ab") as journal:
        journal.write(tail + bytes.fromhex("d9d505f920a163d7"))
    report = verify(tmp_path / "killed")
    assert report.findings[0].what == "a rollback journal that can't be trusted"
    assert victim.exists()


def test_killed_while_it_was_created(tmp_path, open_ws):
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "ledger.sqlite").touch()
    assert not verify(tmp_path / "ws").ok
    with open_ws() as ws:
        assert len(ws.ledger) == 1
    assert verify(tmp_path / "ws").ok
    assert sqlite3.connect(tmp_path / "ws" / "ledger.sqlite").execute("PRAGMA user_version").fetchone() == (FORMAT,)
