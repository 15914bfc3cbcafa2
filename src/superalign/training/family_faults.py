"""Functions of the corpus with their synthetic faults, coded for the size `l`: what it learns to doubt.

Each fault is kept as a splice of ids: `codes[place : place + width]` becomes `new`. Nothing is executed: these are
*altered*, not proven faulty. What an edit reads (its key) is drawn as often as its mirror, so that the edit alone
tells nothing.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from superalign.tasks.faults import KINDS, Fault, synthetic_faults
from superalign.training.family_text import coded, rich_tokens

PER_FUNCTION, PER_KIND = 40, 5


@dataclass(frozen=True, slots=True)
class Splice:
    """One fault of a function: kind (index in `KINDS`), place, how many ids it replaces, by which, and its weight."""

    kind: int
    place: int
    width: int
    new: np.ndarray
    key: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function as codes of `family_text.coded`, and the faults found for it."""

    path: str
    codes: np.ndarray
    faults: tuple[Splice, ...]


def splice(sound: np.ndarray, altered: np.ndarray) -> tuple[int, int, np.ndarray] | None:
    """Place, width and new ids of the one edit between two id arrays; None when they read the same.

    >>> splice(np.array([1, 2, 3]), np.array([1, 7, 8, 3]))
    (1, 1, array([7, 8]))
    """
    short = min(len(sound), len(altered))
    differ = np.flatnonzero(sound[:short] != altered[:short])
    place = int(differ[0]) if len(differ) else short
    if place == len(sound) == len(altered):
        return None
    tail = np.flatnonzero(sound[::-1][: short - place] != altered[::-1][: short - place])
    same = int(tail[0]) if len(tail) else short - place
    return place, len(sound) - place - same, altered[place : len(altered) - same]


def functions_of(
    files: Mapping[str, str],
    rng: np.random.Generator,
    *,
    per_function: int = PER_FUNCTION,
    per_kind: int = PER_KIND,
) -> list[Function]:
    """Every function of `files` with a fault that the words of `l` can show; what does not parse is left out."""
    found = []
    for path, source in files.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in CPython's tests
            try:
                tree = ast.parse(source)
            except SyntaxError:
                continue
        groups: dict[tuple[str, int], list[Fault]] = {}
        for fault in synthetic_faults(tree, rng, per_function=per_function, per_kind=per_kind):
            groups.setdefault((fault.function, fault.start), []).append(fault)
        found += [function for group in groups.values() if (function := _coded(path, group)).faults]
    return found


def _coded(path: str, group: Sequence[Fault]) -> Function:
    names: dict[str, int] = {}
    sound = coded(rich_tokens(group[0].sound), names)
    faults = []
    for fault in group:
        edit = splice(sound, coded(rich_tokens(fault.faulty), names))
        if edit:
            faults.append(Splice(KINDS.index(fault.kind), *edit, fault.key))
    return Function(path=path, codes=sound, faults=tuple(faults))


def balanced_chances(
    functions: Sequence[Function],
    shown: Callable[[Sequence[np.ndarray]], Iterable[Splice]] | None = None,
    *,
    rounds: int = 3,
) -> list[np.ndarray]:
    """Per function the chance of each fault to be admitted, such that an edit is shown as often as its mirror.

    Kinds commoner than the middle one are held back, by the square root. An edit without a mirror has no chance.
    `shown` draws a sample of what rows show under given chances; each round the direction that it shows oftener is held
    back by the ratio.
    """
    counts = Counter((f.kind, f.key) for function in functions for f in function.faults)
    chance = {name: 1.0 if name == _mirror(name) else min(1.0, counts[_mirror(name)] / n) for name, n in counts.items()}
    mass: Counter[int] = Counter()
    for name, n in counts.items():
        mass[name[0]] += chance[name] * n
    middle = float(np.median(list(mass.values()))) if mass else 1.0
    chance = {name: p * min(1.0, (middle / mass[name[0]]) ** 0.5) if p else 0.0 for name, p in chance.items()}
    for _ in range(rounds if shown else 0):
        seen = Counter((fault.kind, fault.key) for fault in shown(_spread(functions, chance)))
        chance = {name: p * min(1.0, (seen[_mirror(name)] + 2) / (seen[name] + 2)) for name, p in chance.items()}
    return _spread(functions, chance)


def _mirror(name: tuple[int, tuple[str, str]]) -> tuple[int, tuple[str, str]]:
    return name[0], (name[1][1], name[1][0])


def _spread(functions: Sequence[Function], chance: Mapping[tuple[int, tuple[str, str]], float]) -> list[np.ndarray]:
    return [np.array([chance[f.kind, f.key] for f in function.faults]) for function in functions]


def digest(functions: Sequence[Function]) -> str:
    """SHA-256 over functions and faults: what the contrast was trained on."""
    whole = hashlib.sha256()
    for function in functions:
        whole.update(function.path.encode() + function.codes.tobytes())
        for fault in function.faults:
            whole.update(f"{fault.kind} {fault.place} {fault.width}".encode() + fault.new.tobytes())
    return whole.hexdigest()
