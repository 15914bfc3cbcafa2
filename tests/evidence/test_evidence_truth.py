"""Sealed truth: committed, opened by the handle alone, logged, and never quietly changed."""

import hashlib
import hmac
import json
import stat

import pytest

from superalign.evidence import BadEvent, LineageConflict, SealBroken, Tampered, Unwritable, verify
from superalign.evidence.truth import SealMissing, root_of

TRUTHS = {"i1": {"altered": True, "place": [3, 9]}, "i2": None, "i3": "x" * 50}


@pytest.fixture
def root(ws):
    return ws.seal("slips/validation", TRUTHS)


def test_only_the_handle_opens_and_it_is_logged(ws, root):
    assert ws.ledger.events("read") == []
    handle = ws.evaluator()
    assert handle.truths("slips/validation") == TRUTHS
    assert handle.truth("slips/validation", "i2") is None
    assert [e.body for e in ws.ledger.events("read")] == [{"split": "slips/validation", "root": root, "n": 3}]
    ws.evaluator().truth("slips/validation", "i1")
    assert len(ws.ledger.events("read")) == 2
    assert verify(ws.path).ok


def test_the_commitment_is_the_one_the_format_says(ws, root):
    """Recomputed from docs/ledger.md with the standard library only."""
    event = ws.ledger.events("seal")[0].body
    sealed = json.loads((ws.path / "sealed" / f"{root}.json").read_text())
    promised = ws.store.get_json(event["commitments"])
    for item, truth in TRUTHS.items():
        salt = hmac.new(sealed["master"].encode(), item.encode(), "sha256").hexdigest()
        text = json.dumps({"id": item, "salt": salt, "truth": truth}, sort_keys=True, separators=(",", ":"))
        assert promised[item] == hashlib.sha256(text.encode()).hexdigest()


def test_nothing_of_it_is_in_ledger_or_objects(ws, root):
    stored = [ws.path / "ledger.sqlite", *(p for p in (ws.path / "objects").rglob("*") if p.is_file())]
    assert not any(b"xxxxxxxx" in p.read_bytes() for p in stored)
    file = ws.path / "sealed" / f"{root}.json"
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)


def test_equal_truths_do_not_look_alike(ws):
    ws.seal("a/test", {"i1": True, "i2": True})
    ws.seal("b/test", {"i1": True, "i2": True})
    seen = [c for e in ws.ledger.events("seal") for c in ws.store.get_json(e.body["commitments"]).values()]
    assert len(set(seen)) == 4


def test_sealing_again(ws, root):
    assert ws.seal("slips/validation", dict(reversed(TRUTHS.items()))) == root
    with pytest.raises(SealBroken, match="sealed before with other truths"):
        ws.seal("slips/validation", {**TRUTHS, "i2": 1})


@pytest.mark.parametrize("change", ["truth", "item", "master", "json", "gone"])
def test_changed_truths_are_not_opened(ws, root, change):
    file = ws.path / "sealed" / f"{root}.json"
    value = json.loads(file.read_text())
    if change == "truth":
        value["truths"]["i2"] = 1
    elif change == "item":
        del value["truths"]["i2"]
    elif change == "master":
        value["master"] = "00"
    file.write_text("{" if change == "json" else json.dumps(value))
    if change == "gone":
        file.unlink()
    with pytest.raises(SealBroken, match="restore"):
        ws.evaluator().truths("slips/validation")
    assert ws.ledger.events("read") == []


def test_what_is_not_there(ws, root):
    with pytest.raises(SealBroken, match="nothing is sealed under 'slips/test'"):
        ws.evaluator().truths("slips/test")
    with pytest.raises(SealBroken, match="no sealed item 'i9'"):
        ws.evaluator().truth("slips/validation", "i9")


def test_an_auditor_reads_what_was_opened_before(ws, open_ws, root):
    ws.seal("slips/test", {"i": 1})
    ws.evaluator().truths("slips/validation")
    ws.close()
    with open_ws(write=False) as reader:
        assert reader.evaluator().truths("slips/validation") == TRUTHS
        with pytest.raises(Unwritable):
            reader.evaluator().truths("slips/test")


def test_aliases(ws, lab):
    base = lab.base()
    ws.alias("x1", f"base@{base}")
    assert b"base@" not in json.dumps([e.body for e in ws.ledger.events("alias")]).encode()
    with pytest.raises(Tampered, match="another subject"):
        ws.alias("x1", f"other@{base}")
    with pytest.raises(LineageConflict, match="contains '@'"):
        ws.alias("x@1", f"base@{base}")
    with pytest.raises(BadEvent, match="not a registered alias"):
        ws.unseal("x2")
    assert ws.unseal("x1") == ws.unseal("x1") == f"base@{base}"
    assert len(ws.ledger.events("unseal")) == 1
    body = {"alias": "x1", "subject": f"other@{base}", "salt": ws.ledger.events("unseal")[0].body["salt"]}
    with pytest.raises(Tampered, match="committed to another subject"):
        ws.ledger.append("unseal", body, actor="evaluator")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[]", "{}", '{"split": 1, "master": 2, "truths": []}', '{"truths": {"i1": NaN}, "master": ""}'],
)
def test_a_sealed_file_that_wants_to_hurt(ws, root, text):
    (ws.path / "sealed" / f"{root}.json").write_text(text)
    with pytest.raises(SealBroken, match="restore"):
        ws.evaluator().truths("slips/validation")


def test_gone_huge_and_damaged_are_told_apart(ws, root, monkeypatch):
    monkeypatch.setattr("superalign.evidence.truth.MAX_SEALED", 10)
    with pytest.raises(SealBroken, match="is over"):
        ws.sealed.read(root)
    (ws.path / "sealed" / f"{root}.json").unlink()
    with pytest.raises(SealMissing, match="is gone"):
        ws.sealed.read(root)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"alias": "x", "salt": "0", "subject": float("nan")},
        {"alias": "x", "salt": "0", "subject": "\ud800"},
        {"what": "x", "salt": "0", "truth": [[[[]]]], "more": 1},
        {"split": "s", "master": "m", "truths": 5},
        {"split": "s", "master": "m", "truths": {"\ud800": 1}},
    ],
)
def test_what_cannot_have_been_promised_has_no_root(value):
    assert root_of(value) is None


def test_a_sealed_value_keeps_its_own_root(ws, root):
    assert root_of(ws.sealed.read(root)) == root
