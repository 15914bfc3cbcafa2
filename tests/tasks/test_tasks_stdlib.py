from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from superalign.tasks import stdlib
from superalign.tasks.stdlib import NEAR_DUPLICATE, data_path, grams, index, source_files

SPLITS = ("corpus", "train", "dev", "validation", "test")
HELD = SPLITS[2:]


@pytest.fixture
def fresh_cache() -> Iterator[None]:
    stdlib._sources.cache_clear()
    yield
    stdlib._sources.cache_clear()


def test_the_archive_is_the_pinned_one() -> None:
    assert hashlib.sha256(data_path("stdlib.tar.xz").read_bytes()).hexdigest() == index()["archive_sha256"]
    entries = index()["files"]
    assert hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest() == index()["splits_sha256"]


def test_every_file_is_the_pinned_one_and_in_one_split() -> None:
    seen: Counter[str] = Counter()
    for split in SPLITS:
        for path, text in source_files(split).items():
            seen[path] += 1
            assert hashlib.sha256(text.encode()).hexdigest() == index()["files"][path]["sha256"], path
    assert set(seen) == set(index()["files"])
    assert set(seen.values()) == {1}


def test_no_two_splits_share_a_text() -> None:
    digests = Counter(entry["sha256"] for entry in index()["files"].values())
    assert digests.most_common(1)[0][1] == 1


def test_the_corpus_holds_no_test_of_a_held_out_module() -> None:
    held = [PurePosixPath(path) for split in HELD for path in source_files(split)]
    assert not any(part.startswith("test_") for path in held for part in path.parts)
    stems = {part for path in held for part in path.with_suffix("").parts} - {"__init__"}
    corpus = [PurePosixPath(path).with_suffix("") for path in source_files("corpus")]
    tests = [path for path in corpus if path.parts[0] == "test"]
    assert len(tests) > 20
    for path in tests:
        assert not {part.removeprefix("test_") for part in path.parts} & stems, path


def test_the_corpus_shares_little_with_held_out_files() -> None:
    held = set().union(*(grams(text) for split in HELD for text in source_files(split).values()))
    corpus = source_files("corpus")
    sample = sorted(corpus)[::9]
    assert len(sample) > 15
    shares = {}
    for path in sample:
        own = grams(corpus[path])
        shares[path] = len(own & held) / max(1, len(own))
    assert max(shares.values()) <= NEAR_DUPLICATE, max(shares, key=shares.__getitem__)
    some = next(iter(source_files("test").values()))
    assert grams(some) <= held  # the fingerprint would have seen a copy


def test_a_tampered_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_cache: None) -> None:
    raw = bytearray(data_path("stdlib.tar.xz").read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "stdlib.tar.xz").write_bytes(raw)
    monkeypatch.setattr(stdlib, "data_path", lambda name: tmp_path / name)
    with pytest.raises(ValueError, match=r"SHA-256 .* reinstall"):
        source_files("dev")


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="no split 'holdout'"):
        source_files("holdout")
