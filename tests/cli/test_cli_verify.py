"""`superalign verify` and `view` on what strangers send: findings and notes, never a traceback, a hang or a lie."""

import json
import os
import sqlite3

import pytest

from superalign.cli import main
from superalign.evidence import FORMAT, Workspace, export

HTML = b"<!doctype html><p>the recorded page"
CONFIG = {"preset": "quick", "model": "family:s", "weak": "family:xs", "organisms": "reuse"}
CONFIG |= {"seed": "0", "train_seeds": "2"}


@pytest.fixture
def ws(tmp_path, monkeypatch):
    """A workspace with one note in it."""
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    with Workspace.open(tmp_path / "ws") as made:
        made.ledger.append("note", {"text": "hello"}, actor="notary")
        yield made


@pytest.fixture
def verified(capsys):
    """Exit code and JSON answer of `verify`."""

    def call(path, *options):
        with pytest.raises(SystemExit) as stopped:
            main(["verify", "--workspace", str(path), "--json", *map(str, options)])
        return stopped.value.code, json.loads(capsys.readouterr().out)

    return call


def whats(answer):
    return [f["what"] for f in answer["findings"]]


@pytest.mark.parametrize("level", ["2", "3"])
def test_a_rejected_ledger_is_read_no_further(ws, verified, level):
    """Its findings are all said, as JSON too, and scoring never meets it: here it would never come back."""
    ws.close()
    file = ws.path / "ledger.sqlite"
    file.unlink()
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA application_id = 0x53414c31")
        db.execute(f"PRAGMA user_version = {FORMAT}")
        db.execute(f"CREATE VIEW event AS SELECT ({endless}) AS seq, '' AS digest, '' AS signature, '' AS entry")
    db.close()
    code, answer = verified(ws.path, "--level", level)
    assert code == 1
    assert whats(answer) == ["its tables and triggers are not those of a ledger", "the ledger has no events"]
    assert answer["notes"] == ["scores were not recomputed: a ledger with findings is not read any further"]
    assert "scores_recomputed" not in answer


RUNS = {
    "empty": ({"config": {}, "sizes": {}}, "None can't be the preset of a run"),
    "no objects": ({"config": [], "sizes": 5}, "the config of this run is no object"),
    "endless": ({"config": CONFIG, "sizes": {"seeds": 10**11}}, "100000000000 can't be the size seeds of a run"),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_no_program_of_ours_ran(ws, verified, name):
    body, what = RUNS[name]
    seq = ws.ledger.append("run", body, actor="notary").seq
    assert verified(ws.path)[0] == 0
    code, answer = verified(ws.path, "--level", 2)
    assert (code, [(f["seq"], f["what"]) for f in answer["findings"]]) == (1, [(seq, what)])
    assert answer["note"] == "1 findings: don't rely on this workspace"


def test_nothing_moves_the_cursor(ws, capsys):
    """Names come from strangers: shown on a terminal, they stay in their line and in sight."""
    name = "m\x1b[2J\x1b[Hok: V1, 3 events\nconsistent with the anchor\n\x1b[8m\u202e"
    ws.node(kind="model", digest="1" * 64, name=name)
    ws.ledger.guard = None
    ws.ledger.append(
        "node", {"digest": "1" * 64, "kind": "data", "name": name, "quarantined": False, "meta": {}}, actor="notary"
    )
    with pytest.raises(SystemExit):
        main(["verify", "--workspace", str(ws.path)])
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3
    assert out.isprintable() or {c for c in out if not c.isprintable()} == {"\n"}
    assert "⟨U+001B⟩[2J" in out
    assert "⟨U+000A⟩consistent" in out


@pytest.mark.parametrize(
    "options",
    [
        ["--anchor", "a" * 5000],
        ["--anchor", "seen.jso"],
        ["--keys", "k" * 5000],
        ["--workspace", "w" * 5000],
    ],
)
def test_odd_options_are_one_sentence(ws, options):
    with pytest.raises(SystemExit) as stopped:
        main(["verify", "--workspace", str(ws.path), *options])
    assert isinstance(stopped.value.code, str)
    assert stopped.value.code.startswith("superalign: ")
    assert len(stopped.value.code) < 400


def test_a_kept_checkpoint_is_an_anchor(ws, verified, tmp_path):
    assert verified(ws.path, "--keep", tmp_path / "seen.json")[1]["anchored"] is False
    assert verified(ws.path, "--anchor", tmp_path / "seen.json")[1]["anchored"] is True
    assert verified(ws.path, "--anchor", ws.ledger.head)[1]["anchored"] is True
    code, answer = verified(ws.path, "--anchor", "0" * 64)
    assert (code, answer["anchored"]) == (1, False)


class TestThePageAStrangerReads:
    @pytest.fixture
    def recorded(self, ws):
        page = ws.store.put(HTML)
        ws.ledger.append("dossier", {"html": page, "head": ws.ledger.head}, actor="notary")
        return ws

    def test_view_opens_the_recorded_one(self, recorded, verified, capsys):
        page = recorded.path / "dossier.html"
        page.write_bytes(b"<h1>forged</h1>")
        assert "is not the page that event 2 records" in whats(verified(recorded.path)[1])[0]
        main(["view", "--workspace", str(recorded.path), "--json"])
        assert json.loads(capsys.readouterr().out) == {"dossier": str(page)}
        assert page.read_bytes() == HTML
        assert verified(recorded.path)[0] == 0

    def test_it_says_what_came_after(self, recorded, verified, capsys):
        data = recorded.store.put_json({"curves": []})
        recorded.ledger.append("figure", {"figure": "roc", "data": data}, actor="evaluator")
        main(["view", "--workspace", str(recorded.path), "--json"])
        assert "1 measurements, claims and figures came after it" in capsys.readouterr().err
        assert (recorded.path / "dossier.html").read_bytes() == HTML
        assert "1 measurements, claims and figures came after it" in verified(recorded.path)[1]["notes"][0]

    def test_a_link_in_its_place_is_not_followed(self, recorded, tmp_path, capsys):
        (tmp_path / "mine").write_text("keep me")
        os.symlink(tmp_path / "mine", recorded.path / "dossier.html")
        main(["view", "--workspace", str(recorded.path), "--json"])
        assert (tmp_path / "mine").read_text() == "keep me"
        assert (recorded.path / "dossier.html").read_bytes() == HTML

    def test_a_bundle_is_checked_as_one(self, recorded, verified, tmp_path):
        export(recorded.path, tmp_path / "run.zip")
        assert verified(tmp_path / "run.zip")[0] == 0

    def test_one_that_nobody_recorded_is_no_evidence(self, ws, verified):
        (ws.path / "dossier.html").write_text("anything")
        code, answer = verified(ws.path)
        assert code == 0
        assert answer["notes"] == ["dossier.html: no event records this page, so nothing here vouches for it"]
