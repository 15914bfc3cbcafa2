"""A package in memory: its files, and the faults of the functions that are no tests. Nothing of it is executed here.

package = read_package(Path("src"), leave_out=frozenset({Path("mutants.jsonl").resolve()}))
copy = with_fault(package, *package.faults[0])
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from superalign.tasks.executing import MutantsError
from superalign.tasks.faults import Fault, synthetic_faults
from superalign.tasks.mutants_driver import find

_TESTS = re.compile(r"(^|/)(tests?/|testing/|conftest\.py$|test_[^/]*\.py$|[^/]*_test\.py$|setup\.py$)")
_IGNORED = re.compile(r"(^|/)(\.[^/]+|__pycache__|node_modules|[^/]+\.egg-info)(/|$)")
_LARGEST, _ALL = 4 << 20, 64 << 20
_RAISE = "raise BaseException('superalign: a test runs this copy')"
"""No `except Exception` of the package swallows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A folder in memory: every file, and the faults of those that are no tests."""

    files: Mapping[str, bytes]
    faults: tuple[tuple[str, Fault], ...]
    left_out: tuple[str, ...]
    """Files that are no Python, with the line."""
    digest: str


def read_package(folder: Path, *, seed: int = 0, leave_out: Set[Path] = frozenset()) -> Package:
    """Files and faults of a folder, the faults in random order; `leave_out` (resolved paths) is no part of it.

    Raises MutantsError when there is no such folder, no function in it, or more than 64 MiB.
    """
    if not folder.is_dir():
        raise MutantsError(f"{folder} is no folder: --from takes the folder of a package together with its tests")
    files = dict(_files(folder, leave_out))
    rng = np.random.default_rng(seed)
    faults: list[tuple[str, Fault]] = []
    left_out: list[str] = []
    for name in sorted(files):
        if name.endswith(".py") and not _TESTS.search(name):
            try:
                faults += [(name, fault) for fault in synthetic_faults(files[name].decode("utf-8"), rng, per_kind=3)]
            except SyntaxError as error:
                left_out.append(f"{name}, line {error.lineno}: {error.msg}")
            except ValueError as error:  # null bytes, or no UTF-8
                left_out.append(f"{name}: {error}")
            except (RecursionError, MemoryError):
                left_out.append(f"{name}: nested too deeply for Python to read it")
    if not faults:
        raise MutantsError(
            f"{folder} holds no function of three lines or more outside of its tests"
            + (f"; left out: {'; '.join(left_out)}" if left_out else "")
        )
    digest = hashlib.sha256(b"".join(hashlib.sha256(n.encode() + b"\0" + files[n]).digest() for n in sorted(files)))
    order = rng.permutation(len(faults))
    return Package(
        files=files,
        faults=tuple(faults[int(i)] for i in order),
        left_out=tuple(left_out),
        digest=digest.hexdigest(),
    )


def _files(folder: Path, leave_out: Set[Path]) -> Iterator[tuple[str, bytes]]:
    total = 0
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if _IGNORED.search(name) or path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
            continue
        if path.resolve() in leave_out:
            continue
        data = path.read_bytes()
        total += len(data)
        if total > _ALL:
            raise MutantsError(f"{folder} holds more than 64 MiB: point --from at the package and its tests alone")
        yield name, data


def unparsed(package: Package) -> dict[str, bytes]:
    """Its files, those that have a fault through the unparser, as a changed copy has them."""
    changed = {name: ast.unparse(ast.parse(package.files[name])).encode() for name in _faulty(package)}
    return {**package.files, **changed}


def raising(package: Package) -> dict[str, bytes]:
    """Its files, every function that has a fault raising at once: tests that run this copy cannot pass."""
    changed = {}
    for name, functions in _faulty(package).items():
        tree = ast.parse(package.files[name])
        for function, start in functions:
            if place := find(tree, function, start):
                place[0][place[1]].body = ast.parse(_RAISE).body
        changed[name] = ast.unparse(tree).encode()
    return {**package.files, **changed}


def with_fault(package: Package, path: str, fault: Fault) -> dict[str, bytes] | None:
    """Its files with one fault in the place of its function; None when no function stands there."""
    tree = ast.parse(package.files[path])
    place = find(tree, fault.function, fault.start)
    if place is None:
        return None
    place[0][place[1]] = ast.parse(fault.faulty).body[0]
    return {**package.files, path: ast.unparse(tree).encode()}


def _faulty(package: Package) -> dict[str, set[tuple[str, int]]]:
    """Files that have a fault, and where their faulty functions stand."""
    found: dict[str, set[tuple[str, int]]] = {}
    for name, fault in package.faults:
        found.setdefault(name, set()).add((fault.function, fault.start))
    return found
