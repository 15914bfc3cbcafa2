"""What can go wrong, each in one sentence: what, where, what to do. The CLI prints it and exits 1."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SuperalignError(Exception):
    """A failure a person can act on; its text is a whole sentence with what, where and what to do."""


class WorkspaceMissing(SuperalignError):
    """There is no workspace where one was expected."""


class WorkspaceLocked(SuperalignError):
    """Another process holds the workspace, or the database in it."""


class NewerFormat(SuperalignError):
    """The workspace was written by a newer version of superalign."""


class DiskFull(SuperalignError):
    """No space left; nothing was half-written."""


class Unwritable(SuperalignError):
    """The place can't be written to (read-only, or not permitted)."""


class Tampered(SuperalignError):
    """Stored bytes are not what the ledger, or their own name, says they are."""


class KeyMissing(SuperalignError):
    """The private key of a principal isn't on this machine, or isn't safe to use."""


class NotAllowed(SuperalignError):
    """A principal tried to write a type of event that isn't theirs."""


class BadEvent(SuperalignError):
    """A body that can't go into the ledger: wrong fields, wrong types, too large, or not JSON."""


class ObjectMissing(SuperalignError):
    """A digest that the object store doesn't have."""


class LineageConflict(SuperalignError):
    """Two facts about one digest that can't both hold."""


class SealBroken(SuperalignError):
    """A sealed truth that isn't there, or was sealed otherwise before."""


class FirewallError(SuperalignError):
    """A use, measurement or claim that breaks a rule of the firewall.

    `rule` is R1…R6, "quarantine", "budget" or "admission", `path` the way the taint came, `do` what to do instead.

    >>> print(FirewallError(rule="R1", message="m was trained on it", path="m ← d", do="use another"))
    R1: m was trained on it
        path: m ← d
        do:   use another
    """

    def __init__(self, *, rule: str, message: str, path: str, do: str) -> None:
        self.rule, self.message, self.path, self.do = rule, message, path, do
        super().__init__(f"{rule}: {message}\n    path: {path}\n    do:   {do}")


class TrainedOnIt(FirewallError):
    """R1: the model was fitted, by some path, to the family that should judge it."""


class SelectedByIt(FirewallError):
    """R2: the family selected the model, so its number is `dev`, with how many were tried."""


class SelfGrading(FirewallError):
    """R3: the grader comes from the candidate, or shares its training."""


class AboveItsRole(FirewallError):
    """R4: a signal used above its role; roles only go down."""


class UnknownProvenance(FirewallError):
    """R5: nobody said where it comes from, so it counts as tainted by everything."""


class OptimisedAgainst(FirewallError):
    """R6: the model was optimised against the monitor, probe or explanation that should judge it."""


class QuarantineLeak(FirewallError):
    """A model outside quarantine would descend from one inside."""


class BudgetSpent(FirewallError):
    """A hold-out asked more than its budget allows, or outside one."""


class NotAdmitted(FirewallError):
    """A signal that can't tell a better model from luck, or on which a model that knows nothing scores."""


RULES: dict[str, type[FirewallError]] = {
    "R1": TrainedOnIt,
    "R2": SelectedByIt,
    "R3": SelfGrading,
    "R4": AboveItsRole,
    "R5": UnknownProvenance,
    "R6": OptimisedAgainst,
    "quarantine": QuarantineLeak,
    "budget": BudgetSpent,
    "admission": NotAdmitted,
}


def refusal(rule: str, message: str, path: object, do: str) -> FirewallError:
    """The error of that rule, ready to raise."""
    return RULES[rule](rule=rule, message=message, path=str(path), do=do)


@contextmanager
def disk_errors(place: Path, doing: str) -> Iterator[None]:
    """Turn a full or read-only disk into one clear sentence; let every other OSError through."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFull(
                f"no space left while {doing} at {place}: free some space and run the same command again; "
                "nothing is half-written"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise Unwritable(
                f"not permitted while {doing} at {place} ({error.strerror}): make it writable or choose "
                "another --workspace"
            ) from error
        raise


@contextmanager
def sqlite_errors(place: Path) -> Iterator[None]:
    """Turn SQLite's named failures (full, busy, read-only, corrupt) into one clear sentence each."""
    try:
        yield
    except UnicodeDecodeError as error:  # SQLite's own message quotes damaged bytes
        raise _damaged(error, place) from error
    except sqlite3.Error as error:
        raise _sentence(error, place) from error


def _sentence(error: sqlite3.Error, place: Path) -> SuperalignError:
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if extended == sqlite3.SQLITE_READONLY_ROLLBACK:
        return Unwritable(
            f"the ledger {place} was left mid-write by a process that was killed: run the pipeline on it, "
            "which puts it right, or `superalign verify`, which checks a copy"
        )
    code = extended & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DiskFull(
            f"no space left while writing the ledger {place}: free some space and run the same command "
            "again; "
            "everything before this event is safe"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return WorkspaceLocked(f"the ledger {place} is locked by another program: close it and run again")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return Unwritable(f"the ledger {place} can't be opened for writing ({error}): check owner and mode")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(error, place)
    return SuperalignError(f"the ledger {place} failed: {error}; run `superalign verify` to see what is stored")


def _damaged(error: Exception, place: Path) -> Tampered:
    return Tampered(f"the ledger {place} is damaged ({error}): restore it from a copy; don't repair it")
