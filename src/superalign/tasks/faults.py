"""Faults as edits of a syntax tree: one place of one function, thirteen kinds, both directions. Nothing is run here.

Each fault carries its `key`, what the edit reads as (before, after) with identifiers written `ID`: whoever wants that
the edit alone tells nothing draws as many faults of a key as of its mirror. What is removed in one place is added in
another (`not`, a call, a keyword, `+ 1`, a statement), and what comes in stands elsewhere in the same file already.
That holds of the edit, not of the whole text: a statement added, or a `return` given the value of another, is a copy of
what the function holds, and repeated lines give it away (`mutants_surface` measures how often). Text inside f-strings,
docstrings, signatures and decorators is left alone, and a comparison is never wrapped in `not`: no author writes that.

    for fault in synthetic_faults(source, np.random.default_rng(0)): print(fault.kind, fault.line, fault.faulty)
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from superalign.tasks.fault_kinds import KINDS, OPERATORS
from superalign.tasks.fault_sites import Edit, Key, Scope, functions, sites, stock

__all__ = ["KINDS", "Fault", "Key", "functions", "synthetic_faults"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One function and the same function with one edit, both unparsed. Whether the edit is a fault, tests decide."""

    kind: str
    function: str
    """Dotted name inside the file, as in `Fraction.limit_denominator`."""
    start: int
    """Line of the file at which the function's `def` stands: together with the name it is unique."""
    line: int
    """Line of the file that the edit touches."""
    key: Key
    """What the edit reads as: (before, after)."""
    sound: str
    faulty: str


def synthetic_faults(
    source: str | ast.Module,
    rng: np.random.Generator,
    *,
    kinds: Sequence[str] | None = None,
    per_function: int | None = None,
    per_kind: int | None = None,
    lines: int = 3,
) -> Iterator[Fault]:
    """Every fault of every function of a file, in random order within a function, unexecuted.

    `per_function` and `per_kind` cap how many one function yields in all and of one kind; functions of fewer than
    `lines` lines are passed over. Raises ValueError for an unknown kind, SyntaxError for text that is no Python.
    The tree that is handed in is as before whenever the generator rests between two faults.

    Example: `next(synthetic_faults("def f(a, b):\\n    c = a < b\\n    return c\\n", rng)).kind`
    """
    chosen = tuple(OPERATORS) if kinds is None else tuple(kinds)
    if unknown := [kind for kind in chosen if kind not in OPERATORS]:
        raise ValueError(f"no kind of fault is called {unknown[0]!r}: use some of {', '.join(OPERATORS)}")
    tree = ast.parse(source) if isinstance(source, str) else source
    offered = stock(tree)
    for name, function in functions(tree):
        if (function.end_lineno or 0) - function.lineno + 1 < lines:
            continue
        scope = Scope(function, list(sites(function)), rng, offered)
        found = [edit for kind in chosen for edit in OPERATORS[kind](scope)]
        sound = ast.unparse(function)
        taken: Counter[str] = Counter()
        seen = {sound}
        for i in rng.permutation(len(found)):
            edit = found[int(i)]
            if per_kind is not None and taken[edit.kind] >= per_kind:
                continue
            if per_function is not None and taken.total() >= per_function:
                break
            with _applied(edit):
                faulty = ast.unparse(function)
            if faulty in seen:  # two roads to one text
                continue
            seen.add(faulty)
            taken[edit.kind] += 1
            yield Fault(
                kind=edit.kind,
                function=name,
                start=function.lineno,
                line=edit.line,
                key=edit.key,
                sound=sound,
                faulty=faulty,
            )


@contextmanager
def _applied(edit: Edit) -> Iterator[None]:
    before = [(node, field, getattr(node, field)) for node, field, _ in edit.changes]
    for node, field, value in edit.changes:
        setattr(node, field, value)
    try:
        yield
    finally:
        for node, field, value in before:
            setattr(node, field, value)
