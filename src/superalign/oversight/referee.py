"""The referee: whether a charge holds, by the truths of a page. It is the only player who is handed any.

`PieceReferee` looks the truth up; `ExecutingReferee` runs the one test that a fault is said to fail, in the sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from superalign.oversight.types import Case, Charge

if TYPE_CHECKING:
    from superalign.tasks.mutants import Mutant


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceReferee:
    """A charge holds when its option is wrong, and its piece is the first in which the options differ.

    In code that is where the alteration stands, in calculations the step that is wrong. What has one text for all
    options (a picture, say) has no such place, and nothing to check: ValueError.
    """

    truths: Mapping[str, Mapping[str, Any]]
    """Item → truth, with its `answer`."""

    def holds(self, case: Case, charge: Charge) -> bool:
        """Does it? One check."""
        if any(len(piece.texts) < 2 for piece in case.pieces):
            raise ValueError(
                f"{case.task}: no charge can be checked, its options share one text: play without a referee"
            )
        return charge.option != self.truths[case.item]["answer"] and charge.piece == differs_at(case)


def differs_at(case: Case) -> int | None:
    """The first piece in which the options differ; None where none does."""
    return next((i for i, piece in enumerate(case.pieces) if len(set(piece.texts)) > 1), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutingReferee:
    """A charge about a function of `mutants` holds when its place is where the options differ, and a test says so.

    One check runs one test, the one that the fault is on record to fail, on the function that is accused, in the
    sandbox. The truth's answer says no more than which source stands behind which option. A run that ends by a limit,
    or cannot be made, is no verdict: MutantsError, which fails that check alone.
    """

    truths: Mapping[str, Mapping[str, Any]]
    """Item → truth, with `answer`, `path`, `function`, `line`, `key` and `witness`."""
    split: str
    wall: float = 10.0
    """Limit of one run, seconds."""
    remote: ClassVar[bool] = True
    """Its calls overlap, and one that fails is counted."""

    def holds(self, case: Case, charge: Charge) -> bool:
        """Does it? One check. Raises MutantsError where the test gives no verdict."""
        from superalign.tasks.executing import Job, MutantsError, execute, library_path
        from superalign.tasks.subjects import subjects

        truth = self.truths[case.item]
        if charge.piece != differs_at(case):
            return False
        found = _mutant(truth, self.split)
        subject = next(s for s in subjects(self.split) if s.path == found.path)
        text = found.sound if charge.option == truth["answer"] else found.faulty
        job = Job(id=case.item, function=found.function, start=found.start, text=text, witness=found.witness)
        (verdict,) = execute(subject, [job], library_path(), wall=self.wall)
        if verdict.outcome not in ("killed", "survived"):
            raise MutantsError(f"{found.path}, {found.function}: the test {found.witness} ended as {verdict.outcome}")
        return verdict.outcome == "killed"


def _mutant(truth: Mapping[str, Any], split: str) -> Mutant:
    """The shipped mutant that a truth speaks of. Raises MutantsError where there is none."""
    from superalign.tasks.executing import MutantsError
    from superalign.tasks.mutants import shipped

    for made in shipped():
        same = (made.path, made.function, made.line, list(made.key), made.kind, made.witness)
        if made.split == split and same == tuple(
            truth[k] if k != "key" else list(truth[k]) for k in ("path", "function", "line", "key", "kind", "witness")
        ):
            return made
    raise MutantsError(f"{truth.get('path')}: {truth.get('function')} holds no such fault: check the truths")
