"""The object store: whole or not at all, and never believed without its hash."""

import errno
import hashlib

import pytest

from superalign.evidence import BadEvent, DiskFull, ObjectMissing, ObjectStore, Tampered


@pytest.fixture
def store(tmp_path):
    return ObjectStore(tmp_path / "objects", tmp_path / "tmp")


def test_bytes_files_and_json_come_back(store, tmp_path):
    data = bytes(range(256)) * 9000
    (tmp_path / "file").write_bytes(data)
    digest = store.put(data)
    assert digest == hashlib.sha256(data).hexdigest() == store.put_file(tmp_path / "file")
    assert store.get(digest) == data
    assert store.path(digest) == tmp_path / "objects" / digest[:2] / digest[2:]
    assert store.get_json(store.put_json({"b": [1, None], "a": 0.5})) == {"a": 0.5, "b": [1, None]}
    assert store.put_json({"a": 1, "b": 2}) == store.put_json({"b": 2.0, "a": 1})
    assert list((tmp_path / "tmp").iterdir()) == []


def test_in(store):
    assert store.put(b"") in store
    assert "0" * 64 not in store
    assert "../../etc/passwd" not in store
    assert 5 not in store


@pytest.mark.parametrize("path", ["..", "../../etc/passwd", "0" * 63 + "/", "A" * 64])
def test_no_path_is_taken_from_a_digest(store, path):
    with pytest.raises(BadEvent, match="64 hex digits"):
        store.path(path)


def test_changed_and_missing_objects(store):
    digest = store.put(b"true")
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"false")
    with pytest.raises(Tampered, match="its own hash"):
        store.get(digest)
    with pytest.raises(ObjectMissing, match="is not in"):
        store.get("0" * 64)


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_full_disk_leaves_nothing_behind(store, tmp_path, monkeypatch, step):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(step, full)
        with pytest.raises(DiskFull, match="no space left while storing an object"):
            store.put(b"data")
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p.parent.name != "tmp"] == []
    assert store.get(store.put(b"data")) == b"data"


@pytest.mark.parametrize("data", [b"[" * 100_000, b"{", b"\xff\xfe", b"", b"nul"])
def test_objects_that_are_no_json(store, data):
    digest = store.put(data)
    with pytest.raises(Tampered, match="isn't JSON that can be read"):
        store.get_json(digest)


def test_huge_json_is_not_read(store, monkeypatch):
    digest = store.put_json(list(range(1000)))
    assert len(store.get_json(digest)) == 1000
    monkeypatch.setattr("superalign.evidence.store.MAX_JSON", 1000)
    with pytest.raises(Tampered, match="too much JSON"):
        store.get_json(digest)
    with pytest.raises(ObjectMissing):
        store.get_json("0" * 64)


def test_every_digest_that_is_there(store, tmp_path):
    assert store.digests() == []
    digests = sorted(store.put(str(i).encode()) for i in range(20))
    (tmp_path / "objects" / digests[0][:2] / "notes.txt").write_text("")
    assert store.digests() == digests
