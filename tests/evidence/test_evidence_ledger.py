"""The ledger: what goes in, what is refused, and every bad end in one clear sentence."""

import json
import sqlite3
import stat
import subprocess
import sys
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from superalign.evidence import (
    FORMAT,
    BadEvent,
    DiskFull,
    KeyMissing,
    NewerFormat,
    NotAllowed,
    SuperalignError,
    Tampered,
    Unwritable,
    Workspace,
    WorkspaceLocked,
    WorkspaceMissing,
    sha256,
    verify,
)
from superalign.evidence.events import entry_bytes, signed_bytes
from superalign.evidence.ledger import SCHEMA, check_genesis


def test_events_are_chained_and_found_again(ws, open_ws):
    first = ws.ledger.append("note", {"text": "å", "x": 0.1, "big": 2**53 - 1}, actor="researcher")
    second = ws.ledger.append("note", {}, actor="trainer")
    assert (second.prev, second.seq, ws.ledger.head) == (first.digest, first.seq + 1, second.digest)
    assert first.time == "2023-11-14T22:13:21.000Z"
    ws.close()
    with open_ws() as again:
        assert again.ledger.events("note") == [first, second]


def test_the_same_clock_and_entropy_give_the_same_ledger(open_ws, tmp_path, lab_of):
    heads = []
    for name in ("one", "two"):
        with open_ws(name, keys_dir=tmp_path / f"keys-{name}") as ws:
            lab_of(ws).model("m", lab_of(ws).data("d", "a/b/train"))
            ws.seal("b/validation", {"i": 1})
            heads.append(ws.ledger.head)
    assert heads[0] == heads[1]


def test_triggers_abort_update_and_delete(ws, tmp_path):
    with sqlite3.connect(tmp_path / "ws" / "ledger.sqlite") as db:
        for statement in ("UPDATE event SET entry = ''", "DELETE FROM event"):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                db.execute(statement)
    db.close()


@pytest.mark.parametrize(
    ("type", "actor"),
    [
        ("measurement", "trainer"),
        ("promote", "evaluator"),
        ("base", "trainer"),
        ("run", "researcher"),
        ("checkpoint", "evaluator"),
        ("seal", "trainer"),
        ("note", "stranger"),
    ],
)
def test_types_are_bound_to_principals(ws, type, actor):
    with pytest.raises(NotAllowed, match=f"{actor} may not write a {type} event"):
        ws.ledger.append(type, {}, actor=actor)


@pytest.mark.parametrize(
    ("type", "body", "says"),
    [
        ("rumour", {}, "not a type"),
        ("base", {"digest": "0" * 64}, "reason"),
        ("base", {"digest": "0" * 64, "reason": "r", "more": 1}, "more"),
        ("base", {"digest": "../../x", "reason": "r"}, "digest"),
        ("base", {"digest": "0" * 64, "reason": "  "}, "reason"),
        ("run", {"x": float("nan")}, "not storable"),
        ("run", {"x": "x" * (1 << 20)}, "over the limit"),
    ],
)
def test_bad_bodies_are_refused_before_anything_is_written(ws, type, body, says):
    before = len(ws.ledger)
    with pytest.raises(BadEvent, match=says):
        ws.ledger.append(type, body, actor="notary")
    assert len(ws.ledger) == before


def test_a_transaction_is_all_or_nothing(ws, open_ws, lab):
    lab.base("kept")
    kept = len(ws.ledger)

    def fail_halfway():
        with ws.ledger.transaction():
            lab.base("lost")
            with ws.ledger.transaction():
                ws.ledger.append("note", {}, actor="notary")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert len(ws.ledger) == kept
    assert [n.name for n in ws.state.graph.nodes.values()] == ["kept"]
    lab.base("after")
    ws.close()
    with open_ws() as again:
        assert {n.name for n in again.state.graph.nodes.values()} == {"kept", "after"}
    assert verify(ws.path).ok


def test_a_refused_event_inside_a_transaction_leaves_the_rest(ws, lab):
    with ws.ledger.transaction():
        base = lab.base()
        with pytest.raises(SuperalignError):
            ws.use(base, "f" * 64, "fit")
        lab.model("m", base)
    assert verify(ws.path).ok


def test_a_thousand_appends_and_five_thousand_verified(ws, lab):
    base = lab.base()
    signal = lab.signal("v", "a/b/validation", "validation")
    started = time.perf_counter()
    with ws.ledger.transaction():
        for i in range(1000):
            ws.ledger.append("note", {"i": i, "text": "x" * 200}, actor="trainer")
    assert time.perf_counter() - started < 2
    with ws.ledger.transaction():
        for i in range(1300):
            model = lab.model(f"m{i}", base if i % 100 == 0 else model)  # noqa: F821 - a chain of a hundred
            lab.measure(model, signal)
    started = time.perf_counter()
    report = verify(ws.path)
    assert report.ok
    assert report.events > 4900
    assert time.perf_counter() - started < 8


def test_keys_lie_outside_and_are_private(ws, tmp_path):
    folder = ws.ledger.keyring.folder
    assert not folder.is_relative_to(ws.path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.glob("*.key")} == {0o600}
    assert json.loads((folder / "public.json").read_text()) == ws.ledger[0].body["keys"]
    seeds = {p.read_text() for p in folder.glob("*.key")}
    assert len(seeds) == 4
    stored = b"".join(p.read_bytes() for p in ws.path.rglob("*") if p.is_file())
    assert not any(seed.encode() in stored or bytes.fromhex(seed) in stored for seed in seeds)


def test_keys_inside_the_workspace_are_refused(tmp_path):
    with pytest.raises(BadEvent, match="outside"):
        Workspace.open(tmp_path / "ws", keys_dir=tmp_path / "ws" / "keys")


def test_default_key_places(monkeypatch, tmp_path):
    from superalign.evidence.keys import default_keys_dir

    monkeypatch.delenv("SUPERALIGN_KEYS", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_keys_dir() == tmp_path / ".local/state/superalign/keys"
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "mine"))
    assert default_keys_dir() == tmp_path / "mine"


def test_a_missing_or_open_key_is_one_sentence(ws, open_ws, tmp_path):
    key = ws.ledger.keyring.folder / "trainer.key"
    ws.close()
    key.chmod(0o644)
    with open_ws() as again, pytest.raises(KeyMissing, match="chmod 600"):
        again.ledger.append("note", {}, actor="trainer")
    key.unlink()
    with open_ws() as again:
        with pytest.raises(KeyMissing, match="the trainer's key is not at"):
            again.ledger.append("note", {}, actor="trainer")
        again.ledger.append("note", {}, actor="notary")
    assert verify(ws.path).ok


def test_another_process_holds_the_workspace(ws, open_ws, tmp_path):
    ws.close()
    code = (
        "import sys, pathlib; from superalign.evidence import Workspace\n"
        "places = [pathlib.Path(p) for p in sys.argv[1:]]\n"
        "ws = Workspace.open(places[0], keys_dir=places[1])\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(ws.path), str(tmp_path / "keys")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(WorkspaceLocked, match=f"in use by process {other.pid}:"):
            open_ws()
        with open_ws(write=False) as reader:
            assert len(reader.ledger) == 1
        other.communicate("")
    with open_ws() as again:
        assert len(again.ledger) == 1


def test_twice_in_one_process(ws, open_ws):
    with pytest.raises(WorkspaceLocked, match="this same process"):
        open_ws()


def test_the_database_is_locked_by_another_program(ws, tmp_path):
    ws.ledger._db.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(tmp_path / "ws" / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(WorkspaceLocked, match="locked by another program"):
        ws.ledger.append("note", {}, actor="notary")
    other.close()
    ws.ledger.append("note", {}, actor="notary")
    assert verify(ws.path).ok


def test_a_full_disk_loses_nothing(ws, lab, open_ws):
    pages = ws.ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ws.ledger._db.execute(f"PRAGMA max_page_count = {pages + 2}")

    def fill():
        for i in range(100):
            ws.node(kind="data", digest=f"{i:064x}", name="x" * 500)

    with pytest.raises(DiskFull, match="free some space"):
        fill()
    written = len(ws.state.graph.nodes)
    assert 0 < written < 100
    ws.close()
    with open_ws() as again:
        assert len(again.state.graph.nodes) == written
        again.ledger.append("note", {}, actor="notary")
    assert verify(ws.path).ok


def test_a_newer_workspace(ws, open_ws):
    ws.close()
    db = sqlite3.connect(ws.path / "ledger.sqlite")
    db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    db.close()
    with pytest.raises(NewerFormat, match=r"newer version of superalign .*upgrade"):
        open_ws()
    with pytest.raises(NewerFormat, match="upgrade"):
        verify(ws.path)


def test_not_a_ledger(tmp_path, open_ws):
    (tmp_path / "ws").mkdir()
    db = sqlite3.connect(tmp_path / "ws" / "ledger.sqlite")
    db.execute("CREATE TABLE other (x)")
    db.close()
    with pytest.raises(Tampered, match="another program's"):
        open_ws()
    (tmp_path / "ws" / "ledger.sqlite").write_bytes(b"garbage" * 1000)
    with pytest.raises(Tampered, match="damaged"):
        open_ws()
    assert verify(tmp_path / "ws").findings[0].what == "SQLite can't read it: file is not a database"


def test_no_workspace(tmp_path, open_ws):
    with pytest.raises(WorkspaceMissing, match="superalign run"):
        open_ws(create=False)
    (tmp_path / "ws").write_text("a file")
    with pytest.raises(WorkspaceMissing, match="is a file"):
        open_ws()
    with pytest.raises(WorkspaceMissing, match=r"ledger\.sqlite"):
        verify(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_written(tmp_path, open_ws, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(Unwritable, match="another --workspace"):
        open_ws()


def test_reading_does_not_write(ws, open_ws):
    ws.close()
    before = {p: p.stat().st_mtime_ns for p in ws.path.rglob("*")}
    with open_ws(write=False) as reader, pytest.raises(Unwritable, match="opened for reading"):
        reader.ledger.append("note", {}, actor="notary")
    verify(ws.path)
    assert {p: p.stat().st_mtime_ns for p in ws.path.rglob("*")} == before


def test_a_ledger_cut_short_is_noticed_where_it_was_written(ws, open_ws, tmp_path):
    import shutil

    ws.close()
    shutil.copy(ws.path / "ledger.sqlite", tmp_path / "old")
    with open_ws() as again:
        again.ledger.append("note", {}, actor="notary")
    shutil.copy(tmp_path / "old", ws.path / "ledger.sqlite")
    assert verify(ws.path).ok
    with pytest.raises(Tampered, match="doesn't hold event 1"):
        open_ws()


@pytest.mark.parametrize("suffix", ["-wal", "-shm", None])
def test_a_write_ahead_log_is_refused_before_sqlite_sees_it(ws, open_ws, suffix):
    """Merely to read such a file, SQLite writes beside it: into a folder that verify promised only to read."""
    ws.close()
    file = ws.path / "ledger.sqlite"
    if suffix is None:
        db = sqlite3.connect(file)
        db.execute("PRAGMA journal_mode = WAL")
        db.close()
    else:
        file.with_name(file.name + suffix).touch()
    before = sorted(p.name for p in ws.path.iterdir())
    (finding,) = [f for f in verify(ws.path).findings if "write-ahead" in f.what]
    assert "would write into this folder" in finding.what
    for write in (False, True):
        with pytest.raises(Tampered, match=r"write-ahead log.*, and no ledger has one"):
            open_ws(write=write)
    assert sorted(p.name for p in ws.path.iterdir()) == before


def test_a_view_that_never_ends_is_not_selected_from(ws, open_ws):
    """The schema is compared before anything is selected, by `verify` and by whoever opens it."""
    ws.close()
    file = ws.path / "ledger.sqlite"
    file.unlink()
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA application_id = 0x53414c31")
        db.execute(f"PRAGMA user_version = {FORMAT}")
        db.execute(f"CREATE VIEW event AS SELECT ({endless}) AS seq, '' AS digest, '' AS signature, '' AS entry")
    db.close()
    assert "tables and triggers" in verify(ws.path).findings[0].what
    with pytest.raises(Tampered, match="tables and triggers"):
        open_ws(write=False)


def test_a_row_too_large_is_not_read(ws, open_ws):
    ws.close()
    with sqlite3.connect(ws.path / "ledger.sqlite") as db:
        db.execute("INSERT INTO event VALUES (1, 'x', 'y', ?)", ("z" * (3 << 20),))
    db.close()
    assert not verify(ws.path).ok
    with pytest.raises(SuperalignError, match="too big"):
        open_ws(write=False)


GENESIS = {"format": FORMAT, "workspace": "0" * 32, "keys": {"notary": "0" * 64}, "made_by": "somebody"}


@pytest.mark.parametrize(
    "changes",
    [
        {"workspace": ".."},
        {"workspace": "x" * 5000},
        {"workspace": "a\0b"},
        {"workspace": "A" * 32},
        {"workspace": "0" * 31 + "\n"},
        {"workspace": "../" + "0" * 29},
        {"keys": {}},
        {"keys": {"trainer": "0" * 64}},
        {"keys": {"notary": "0" * 64, "../notary": "0" * 64}},
        {"keys": {"notary": "0" * 63}},
        {"keys": {"notary": None}},
    ],
)
def test_a_genesis_that_we_would_not_write(changes):
    check_genesis(GENESIS)
    with pytest.raises(BadEvent):
        check_genesis(GENESIS | changes)


def test_no_path_is_made_of_another_genesis(tmp_path, open_ws):
    """A chain of one event, soundly signed by its own key: only the workspace's name is wrong."""
    key = Ed25519PrivateKey.generate()
    body = GENESIS | {"keys": {"notary": key.public_key().public_bytes_raw().hex()}, "workspace": "../" * 2000}
    entry = entry_bytes(seq=0, prev="0" * 64, time="", type="genesis", actor="notary", body=body)
    signature = key.sign(signed_bytes(sha256(entry))).hex()
    (tmp_path / "ws").mkdir()
    with sqlite3.connect(tmp_path / "ws" / "ledger.sqlite") as db:
        db.execute("PRAGMA application_id = 0x53414c31")
        db.execute(f"PRAGMA user_version = {FORMAT}")
        for statement in SCHEMA:
            db.execute(statement)
        db.execute("INSERT INTO event VALUES (0, ?, ?, ?)", (sha256(entry), signature, entry.decode()))
    db.close()
    (finding,) = verify(tmp_path / "ws").findings
    assert (finding.seq, finding.what[-38:]) == (0, "is no workspace id: one is 32 hex digits"[-38:])
    for write in (False, True):
        with pytest.raises(Tampered, match="begins as no ledger does"):
            open_ws(write=write)


class TestThePersonsKey:
    """A person signs under a passphrase, or nobody does: a key put there before they enrol is not theirs."""

    @pytest.mark.parametrize("sort", ["seed", "pem", "garbage"])
    def test_one_without_a_passphrase_is_refused(self, ws, sort):
        plain = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        text = {"seed": "ab" * 32, "pem": plain.decode(), "garbage": "\x00"}[sort]
        file = ws.ledger.keyring.folder / "reviewer.key"
        file.write_text(text)
        file.chmod(0o600)
        with pytest.raises(KeyMissing, match=r"is not under a passphrase.*delete it"):
            ws.enrol()
        assert ws.ledger.events("enrol") == []

    def test_one_under_another_passphrase_is_refused(self, ws):
        locked = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"another one")
        )
        file = ws.ledger.keyring.folder / "reviewer.key"
        file.write_bytes(locked)
        file.chmod(0o600)
        with pytest.raises(KeyMissing, match="doesn't open"):
            ws.enrol()

    @pytest.mark.parametrize("phrase", ["", "wrong horse"])
    def test_a_wrong_or_empty_passphrase(self, ws, open_ws, phrase):
        ws.enrol()
        ws.close()
        with open_ws(passphrase=lambda: phrase) as again, pytest.raises(KeyMissing, match="doesn't open"):
            again.ledger.append("note", {}, actor="reviewer")


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o701])
def test_a_folder_of_keys_that_is_open_to_others(ws, open_ws, mode):
    folder = ws.ledger.keyring.folder
    ws.close()
    folder.chmod(mode)
    with open_ws() as again, pytest.raises(KeyMissing, match="chmod 700"):
        again.ledger.append("note", {}, actor="notary")
    folder.chmod(0o700)
    with open_ws() as again:
        again.ledger.append("note", {}, actor="notary")
