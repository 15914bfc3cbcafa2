"""The raw material: the source of CPython's standard library, pinned by hash, with its splits frozen by file.

`data/stdlib.tar.xz` holds the files, `data/splits.json` says which file belongs to which split and pins both by
SHA-256. The family's corpus is the split `corpus`; the build kept every dev, validation and test file, its tests, and
whatever shares too many 13-grams with them, out of it. `python -m superalign.tasks.stdlib LIB OUT` builds both again.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import re
import sys
import tarfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from superalign.tasks.lexer import lex

ARCHIVE, INDEX = "stdlib.tar.xz", "splits.json"
SHARES = (("corpus", 0.40), ("train", 0.28), ("dev", 0.05), ("validation", 0.17), ("test", 0.10))
NEAR_DUPLICATE = 0.10
"""A corpus file that shares more than this part of its 13-grams with held-out files is dropped."""
_SKIP = re.compile(
    r"(site-packages|idlelib|lib2to3|pydoc_data|turtledemo|encodings|ensurepip|__pycache__)/|/tests?/|^tests?/"
)
_TEST_BYTES = 7_000_000


def data_path(name: str) -> Path:
    """Path of a data file that ships with the tasks."""
    return Path(str(files("superalign.tasks").joinpath("data", name)))


@lru_cache(maxsize=1)
def index() -> Mapping[str, Any]:
    """The frozen splits: `files` (path → split, sha256), `vocabulary`, and the digests that pin them."""
    loaded: Mapping[str, Any] = json.loads(data_path(INDEX).read_text(encoding="utf-8"))
    return loaded


@lru_cache(maxsize=1)
def _sources() -> Mapping[str, str]:
    raw = data_path(ARCHIVE).read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if found != index()["archive_sha256"]:
        raise ValueError(
            f"{data_path(ARCHIVE)}: SHA-256 is {found[:12]}…, the splits were frozen on "
            f"{index()['archive_sha256'][:12]}…: reinstall the package"
        )
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(raw))) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        return {m.name: archive.extractfile(m).read().decode("utf-8") for m in members}  # type: ignore[union-attr]


def source_files(split: str) -> dict[str, str]:
    """Path → source text of every file of `split` (`corpus`, `train`, `dev`, `validation`, `test`), in frozen order."""
    chosen = [path for path, entry in index()["files"].items() if entry["split"] == split]
    if not chosen:
        raise ValueError(f"no split {split!r} of the standard library: use one of {[s for s, _ in SHARES]}")
    return {path: _sources()[path] for path in chosen}


def grams(source: str, n: int = 13) -> set[int]:
    """Hashes of all `n`-grams of the lexed source: the fingerprint by which near-duplicates are found."""
    tokens = lex(source).tokens
    return {hash(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}


def _read(root: Path, paths: Iterable[Path]) -> dict[str, str]:
    texts = {}
    for path in sorted(paths):
        text = path.read_bytes()
        if 2_000 <= len(text) <= 250_000 and b"\x00" not in text:
            try:
                texts[path.relative_to(root).as_posix()] = text.decode("utf-8")
            except UnicodeDecodeError:
                continue  # a few tests are written in other encodings on purpose
    return texts


def _assign(names: list[str], sizes: Mapping[str, int], rng: np.random.Generator) -> dict[str, str]:
    total, splits, done = sum(sizes.values()), {}, 0
    edges = np.cumsum([share for _, share in SHARES])
    for i in rng.permutation(len(names)):
        place = min(int(np.searchsorted(edges, done / total, side="right")), len(SHARES) - 1)
        splits[names[i]] = SHARES[place][0]
        done += sizes[names[i]]
    return splits


def build(library: Path, out: Path, *, vocabulary_size: int = 900, seed: int = 0) -> Mapping[str, Any]:
    """Freeze archive, splits and vocabulary from a CPython `Lib` folder into `out`; returns the index.

    The vocabulary counts the corpus only. Tests go to the corpus unless they test a held-out module.
    """
    everything = list(library.rglob("*.py"))
    modules = _read(library, [p for p in everything if not _SKIP.search(p.relative_to(library).as_posix())])
    rng = np.random.default_rng(seed)
    splits = _assign(sorted(modules), {k: len(v) for k, v in modules.items()}, rng)
    held = [name for name, split in splits.items() if split in ("dev", "validation", "test")]
    stems = {part for name in held for part in Path(name).with_suffix("").parts if part != "__init__"}
    tests = _read(library, (library / "test").rglob("test_*.py"))
    order = [sorted(tests)[i] for i in rng.permutation(len(tests))]
    room = _TEST_BYTES
    for name in order:
        if room > 0 and not stems & set(Path(name.replace("test_", "")).with_suffix("").parts):
            splits[name], room = "corpus", room - len(tests[name])
    texts = modules | {name: tests[name] for name in splits if name in tests}
    fingerprint = set().union(*(grams(texts[name]) for name in held))
    dropped = []
    for name in [n for n, split in splits.items() if split == "corpus"]:
        own = grams(texts[name])
        if own and len(own & fingerprint) / len(own) > NEAR_DUPLICATE:
            dropped.append(name)
            del splits[name]
    return _freeze({k: texts[k] for k in splits}, splits, dropped, out, vocabulary_size)


def _freeze(
    texts: Mapping[str, str], splits: Mapping[str, str], dropped: list[str], out: Path, size: int
) -> Mapping[str, Any]:
    counts: dict[str, int] = {}
    for name, text in texts.items():
        if splits[name] == "corpus":
            for token in lex(text).tokens:
                counts[token] = counts.get(token, 0) + 1
    from superalign.tasks import lexer

    fixed = {*lexer.INDENTS, lexer.STRING, lexer.NUMBER, *lexer.SLOTS, *lexer.NAMED, *lexer.TRACE_WORDS}
    frequent = sorted((token for token in counts if token not in fixed), key=lambda t: (-counts[t], t))[:size]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in sorted(texts):
            info = tarfile.TarInfo(name)
            raw = texts[name].encode("utf-8")
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    packed = lzma.compress(buffer.getvalue(), preset=9)
    out.mkdir(parents=True, exist_ok=True)
    (out / ARCHIVE).write_bytes(packed)
    entries = {
        name: {"split": splits[name], "sha256": hashlib.sha256(texts[name].encode()).hexdigest()}
        for name in sorted(texts)
    }
    splits_digest = hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
    made = {
        "source": f"CPython {sys.version.split()[0]}, Lib/",
        "licence": "PSF-2.0, see LICENSE.cpython.txt",
        "archive_sha256": hashlib.sha256(packed).hexdigest(),
        "splits_sha256": splits_digest,
        "near_duplicates_dropped": sorted(dropped),
        "vocabulary": frequent,
        "files": entries,
    }
    (out / INDEX).write_text(json.dumps(made, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    return made


if __name__ == "__main__":
    index_made = build(Path(sys.argv[1]), Path(sys.argv[2]))
    by_split = {s: sum(e["split"] == s for e in index_made["files"].values()) for s, _ in SHARES}
    print(json.dumps(by_split | {"dropped": len(index_made["near_duplicates_dropped"])}))
