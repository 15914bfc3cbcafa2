"""`verify` on workspaces somebody changed: every byte, every order, and files meant to hurt the reader."""

import json
import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from superalign.evidence import KeyMissing, SuperalignError, Tampered, canonical, sha256, verify
from superalign.evidence.events import signed_bytes
from superalign.evidence.keys import Keyring
from superalign.evidence.reading import Row, read_rows
from superalign.evidence.soundness import Chain


@pytest.fixture
def sample(lab):
    """A small honest history."""
    model = lab.model("m", lab.base(), lab.data("d", "construction/slips/train"))
    signal = lab.signal("v", "construction/slips/validation", "validation")
    seq = lab.measure(model, signal, inputs=(lab.ws.store.put(b"raw output"),))
    lab.claim(model, seq, tags={"scope": "in-distribution"})
    lab.ws.seal("slips/validation", {"i": 1})
    lab.root = lab.ws.checkpoint()
    lab.ws.ledger.append("figure", {"figure": "roc", "data": lab.ws.store.put_json([1, 2])}, actor="evaluator")
    return lab


def rows_of(ws) -> list[Row]:
    return [row for row in read_rows(ws.path / "ledger.sqlite") if isinstance(row, Row)]


def found_in(rows: list[Row]) -> list[int]:
    chain = Chain(None)
    return [finding.seq for row in rows for finding in chain.check(row)[1]]


def whats(report) -> list[tuple[int | None, str]]:
    return [(f.seq, f.what) for f in report.findings]


def test_an_honest_workspace(sample):
    report = verify(sample.ws.path)
    assert (report.ok, report.findings, report.level) == (True, (), 1)
    assert (report.events, report.head) == (len(sample.ws.ledger), sample.ws.ledger.head)
    assert report.note.startswith("self-consistent only")


def test_anchors(sample):
    for anchor in (sample.root, sample.ws.ledger.head, sample.ws.ledger[3].digest):
        report = verify(sample.ws.path, anchor=anchor)
        assert (report.ok, report.anchored) == (True, True)
        assert report.note.startswith("consistent with the anchor")
    for anchor in ("0" * 64, "nonsense"):
        report = verify(sample.ws.path, anchor=anchor)
        assert (report.ok, report.anchored) == (False, False)


def test_keys(sample, tmp_path):
    folder = sample.ws.ledger.keyring.folder
    for keys in (folder, folder / "public.json"):
        report = verify(sample.ws.path, keys=keys)
        assert (report.ok, report.keys) == (True, str(keys))
    other = Keyring(tmp_path / "other")
    other.create(os.urandom)
    report = verify(sample.ws.path, keys=tmp_path / "other")
    assert whats(report)[0] == (0, "the ledger's keys are not the ones you hold")
    assert len(report.findings) >= report.events
    for bad in ("nowhere", "bad.json"):
        (tmp_path / "bad.json").write_text("[")
        with pytest.raises(KeyMissing, match=r"public\.json"):
            verify(sample.ws.path, keys=tmp_path / bad)
    with pytest.raises(SuperalignError, match="belong to the pipeline"):
        verify(sample.ws.path, level=2)


def test_every_changed_byte_is_found(sample):
    """Each byte of every column of every event: the first finding is at the event that was changed."""
    rows = rows_of(sample.ws)
    assert found_in(rows) == []
    for i, row in enumerate(rows):
        for column in ("digest", "signature", "entry"):
            good = getattr(row, column)
            for at in range(len(good)):
                bad = good[:at] + bytes([good[at] ^ (0x20 if at % 2 else 0x01)]) + good[at + 1 :]
                chain = Chain(None)
                chain.check(rows[0])  # the keys; then straight to the event before this one
                chain._prev, chain._next = rows[i - 1].digest.decode() if i else "0" * 64, i
                found = [f.seq for f in chain.check(row._replace(**{column: bad}))[1]]
                assert found, (row.seq, column, at)
                assert found[0] == row.seq


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_dropped_reordered_or_repeated_event_is_found(sample, data):
    rows = rows_of(sample.ws)
    order = data.draw(st.lists(st.sampled_from(range(len(rows))), min_size=1, max_size=len(rows) + 2))
    renumber = data.draw(st.booleans())
    changed = [rows[i]._replace(seq=at) if renumber else rows[i] for at, i in enumerate(order)]
    assert bool(found_in(changed)) == (order != list(range(len(order))))


def edit(ws, statement: str, *values) -> None:
    """Change the file as someone would who knows SQLite."""
    with sqlite3.connect(ws.path / "ledger.sqlite") as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        db.execute(statement, values)
        for _, sql in triggers:
            db.execute(sql)
    db.close()


def rewrite(ws, seq: int, *, sign: bool, **changes) -> None:
    """Change an event and all that follow so that the chain holds; with the keys (`sign`) or without."""
    rows = rows_of(ws)
    prev = rows[seq - 1].digest.decode() if seq else "0" * 64
    for row in rows[seq:]:
        entry = json.loads(row.entry) | {"prev": prev} | (changes if row.seq == seq else {})
        prev = sha256(canonical(entry))
        signature = row.signature.decode()
        if sign:
            signature = ws.ledger.keyring.private(entry["actor"]).sign(signed_bytes(prev)).hex()
        edit(
            ws,
            "UPDATE event SET entry = ?, digest = ?, signature = ? WHERE seq = ?",
            canonical(entry).decode(),
            prev,
            signature,
            row.seq,
        )


def test_changes_in_the_file(sample, open_ws):
    ws = sample.ws
    edit(ws, "UPDATE event SET entry = replace(entry, '0.9', '0.99') WHERE entry LIKE '%\"value\":0.9%'")
    seq = ws.ledger.events("measurement")[0].seq
    assert whats(verify(ws.path))[0] == (seq, f"event {seq} no longer has its own hash")
    ws.close()
    with pytest.raises(Tampered, match=rf"tampered with \(event {seq} was changed\): run `superalign verify`"):
        open_ws()


def test_a_cut_tail_needs_the_anchor(sample):
    ws, head = sample.ws, sample.ws.ledger.head
    edit(ws, "DELETE FROM event WHERE seq = ?", len(ws.ledger) - 1)
    assert verify(ws.path).ok
    assert not verify(ws.path, anchor=head).ok


def test_a_rewritten_history_lacks_signatures(sample):
    ws, seq = sample.ws, sample.ws.ledger.events("measurement")[0].seq
    body = {**ws.ledger[seq].body, "value": 0.99}
    rewrite(ws, seq, sign=False, body=body)
    first = verify(ws.path).findings[0]
    assert (first.seq, first.what) == (seq, "the signature isn't the evaluator's")


def test_with_all_keys_only_the_anchor_tells(sample):
    ws, seq = sample.ws, sample.ws.ledger.events("measurement")[0].seq
    rewrite(ws, seq, sign=True, body={**ws.ledger[seq].body, "value": 0.99})
    report = verify(ws.path)
    assert [f.what for f in report.findings] == ["the checkpoint's root isn't that of the events before it"]
    assert not verify(ws.path, anchor=sample.root).ok


@pytest.mark.parametrize(
    ("kind", "changes", "what"),
    [
        ("measurement", {"actor": "trainer"}, "trainer may not write a measurement event"),
        ("measurement", {"type": "rumour"}, "not a type of event"),
        ("measurement", {"body": {}}, "a measurement event lacks"),
        ("measurement", {"type": "genesis"}, "genesis is the first event"),
        ("base", {"body": {"digest": "1" * 64, "reason": "x"}}, "has no node"),
        (
            "node",
            {"body": {"digest": "1" * 64, "kind": "data", "name": "", "quarantined": False, "meta": {}}},
            "has no node",
        ),
        ("signal", {"actor": "trainer"}, "R4: the trainer registers"),
    ],
)
def test_signed_nonsense_is_found(sample, kind, changes, what):
    """Whoever holds the keys still can't write what the format or the rules exclude."""
    ws = sample.ws
    rewrite(ws, ws.ledger.events(kind)[0].seq, sign=True, **changes)
    assert any(what in f.what for f in verify(ws.path).findings)


def test_v1_runs_the_firewall_again(sample, digest_of):
    """Signed by all the right keys, well-formed, and against the rules: V0 is content, V1 isn't."""
    ws = sample.ws
    ws.ledger.guard = None
    model, signal = digest_of("m"), digest_of("v")
    edge = ws.ledger.append("edge", {"source": signal, "target": model, "mode": "fit"}, actor="trainer")
    undone = [ws.ledger.events(type)[0].seq for type in ("measurement", "claim")]
    assert verify(ws.path, level=0).ok
    findings = verify(ws.path).findings
    assert [(f.seq, f.what[:2]) for f in findings] == [(edge.seq, "R4"), *((seq, "R1") for seq in undone)]
    assert "a later event undoes this measurement" in findings[1].what
    assert "a later event undoes this claim" in findings[2].what
    assert "←(fit)← v@" in findings[1].where


def test_later_roles_and_choices_do_not_undo_a_claim(sample, digest_of):
    ws = sample.ws
    sample.ask(digest_of("v"), digest_of("m"))
    ws.use(digest_of("v"), digest_of("m"), "select")
    ws.demote(digest_of("v"), "train", "burnt afterwards")
    assert verify(ws.path).ok


def test_objects(sample, tmp_path):
    ws = sample.ws
    objects = [p for p in (ws.path / "objects").rglob("*") if p.is_file()]
    raw = ws.store.path(sha256(b"raw output"))
    raw.chmod(0o644)
    raw.write_bytes(b"raw outpux")
    figure = ws.store.path(ws.ledger.events("figure")[0].body["data"])
    figure.unlink()
    os.symlink("/etc/passwd", figure)
    (ws.path / "objects" / "00").mkdir(exist_ok=True)
    (ws.path / "objects" / "00" / "notes.txt").write_text("hello")
    os.symlink(tmp_path, ws.path / "objects" / "zz")
    assert len(objects) == 3
    found = {(Path(f.where).name, f.what.split(":")[0]) for f in verify(ws.path).findings}
    assert found == {
        (raw.name, "its bytes don't have the hash it is named by"),
        (figure.name, "not an object"),
        ("notes.txt", "not an object"),
        ("zz", "not a folder of objects"),
    }
    figure.unlink()
    assert any("is missing" in f.what for f in verify(ws.path).findings)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE VIEW extra AS SELECT 1",
        "CREATE TABLE extra (x)",
        "DROP TRIGGER event_no_update",
        "CREATE TRIGGER more AFTER INSERT ON event BEGIN SELECT 1; END",
        "PRAGMA application_id = 5",
        "ALTER TABLE event ADD COLUMN more",
    ],
)
def test_another_schema_is_found(sample, sql):
    with sqlite3.connect(sample.ws.path / "ledger.sqlite") as db:
        db.execute(sql)
    db.close()
    assert not verify(sample.ws.path, level=0).ok


@pytest.mark.parametrize(
    "entry",
    ["[" * 100_000, "x" * (3 << 20), '{"seq":1}', "null", '{"a":1,"a":1}', b"\xff\xfe", 5, ""],
)
def test_rows_that_want_to_hurt_are_findings(sample, entry):
    ws, seq = sample.ws, 2
    data = entry if isinstance(entry, bytes) else str(entry).encode()
    edit(ws, "UPDATE event SET entry = ?, digest = ? WHERE seq = ?", entry, sha256(data), seq)
    report = verify(ws.path)
    assert not report.ok
    assert all(f.what and f.where and f.do for f in report.findings)


def test_a_ledger_that_is_a_link(sample, tmp_path):
    (tmp_path / "other").mkdir()
    os.symlink(sample.ws.path / "ledger.sqlite", tmp_path / "other" / "ledger.sqlite")
    with pytest.raises(SuperalignError, match="no ledger"):
        verify(tmp_path / "other")


@pytest.mark.parametrize("text", ["[" * 60_000, '{"a":' * 9_000 + "1" + "}" * 9_000, '["notary"]', '{"notary": 5}'])
def test_keys_that_want_to_hurt(sample, tmp_path, text):
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(KeyMissing, match=r"public\.json"):
        verify(sample.ws.path, keys=tmp_path / "keys.json")


def test_a_name_that_no_file_can_have(sample):
    with pytest.raises(KeyMissing, match="no public keys at"):
        verify(sample.ws.path, keys=Path("k" * 5000))


def test_weights_that_a_stage_names_are_missed(sample):
    """Nothing but a stage's result names an organism's weights; without them there is nothing to ask again."""
    ws = sample.ws
    weights = ws.store.put(b"weights")
    row = ws.store.put_json({"kind": "trigger", "weights": weights, "labels": "0" * 64})
    seq = ws.ledger.append("stage", {"stage": "plant", "result": row}, actor="trainer").seq
    for other in ("not JSON", "[1]", '{"weights": "../../x"}', "[" * 100_000):
        ws.ledger.append("stage", {"stage": "plant", "result": ws.store.put(other.encode())}, actor="trainer")
    assert verify(ws.path).ok
    ws.store.path(weights).unlink()
    assert whats(verify(ws.path)) == [(seq, f"object {weights} is missing")]


def test_an_inventory_knows_what_there_was(sample, digest_of):
    """An input that is a node needn't be an object: only who took stock can say that it was one."""
    ws, data = sample.ws, sample.ws.store.put(b"a page of items")
    ws.node(kind="data", digest=data, name="page")
    ws.contains(data, families=[])
    sample.measure(digest_of("m"), inputs=(data,), role="train")
    body = {"html": ws.store.put(b"<!doctype html>"), "inventory": ws.store.put_json(ws.store.digests())}
    seq = ws.ledger.append("dossier", body, actor="notary").seq
    assert verify(ws.path).ok
    ws.store.path(data).unlink()
    assert whats(verify(ws.path)) == [(seq, f"object {data} is missing")]
