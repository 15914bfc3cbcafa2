"""Landlock: file and network rules that a process puts on itself, for where namespaces are refused.

`include/uapi/linux/landlock.h`; the kernel says which rights it knows (its ABI), and only those may be asked for:
refer (2), truncate (3), TCP bind and connect (4), device ioctl (5), abstract sockets and signals (6).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

CREATE, ADD, RESTRICT = 444, 445, 446  # the same numbers on every architecture
_ABI, _PATH_BENEATH = 1, 1
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 38, 22, 2
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14 | 1 << 15
"""Rights that a rule on a single file may name: the others are about folders."""
FIRST_ABI, FOR_ONESELF = 3, 6
"""Below 3 files can be truncated unasked; below 6 a process may signal all others of its user: as root, which has a
user for each start, that is nobody."""


def libc() -> ctypes.CDLL:
    """The C library, errno kept."""
    return ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """The Landlock ABI of this kernel; 0 where it has none, or a filter forbids to ask."""
    return max(0, int(libc().syscall(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_ABI))))


def _known(version: int) -> int:
    rights = (1 << 13) - 1
    for least, bit in ((2, 13), (3, 14), (5, 15)):
        rights |= (version >= least) << bit
    return rights


def ruleset(readable: Iterable[Path], writable: Iterable[Path]) -> int:
    """A file descriptor of a rule set: those paths may be read and run, or written too, nothing else.

    Raises OSError where the kernel refuses; paths that don't exist are left out.
    """
    version = abi()
    handled, net, scoped = _known(version), 3 if version >= 4 else 0, 3 if version >= 6 else 0
    attributes = struct.pack("QQQ", handled, net, scoped)[: 8 * (1 + (version >= 4) + (version >= 6))]
    lib = libc()
    handle = int(lib.syscall(CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)))
    if handle < 0:
        raise OSError(ctypes.get_errno(), "the kernel made no Landlock rule set")
    try:
        for paths, rights in ((readable, EXECUTE | READ_FILE | READ_DIR), (writable, handled)):
            for path in paths:
                _allow(lib, handle, path, rights & handled)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _allow(lib: ctypes.CDLL, handle: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not path.is_dir():
            rights &= ON_FILES
        rule = struct.pack("=Qi", rights, place)
        if lib.syscall(ADD, handle, ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0)) < 0:
            raise OSError(ctypes.get_errno(), f"the kernel refused a Landlock rule for {path}")
    finally:
        os.close(place)


class Restriction:
    """What a child puts on itself between fork and exec: prepared here, so that little is left to do there."""

    def __init__(self, handle: int, filter: bytes) -> None:
        lib = libc()
        self._prctl, self._syscall, self._handle = lib.prctl, lib.syscall, handle
        self._filter = ctypes.create_string_buffer(filter, len(filter))
        self._program = struct.pack("H6xQ", len(filter) // 8, ctypes.addressof(self._filter))

    def enter(self) -> None:
        """End with the parent; no new privileges, the file rules, the system-call filter. OSError where refused."""
        self._demand(self._prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0))
        self._demand(self._prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        self._demand(self._syscall(RESTRICT, self._handle, 0))
        self._demand(self._prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, self._program, 0, 0))

    def _demand(self, answer: int) -> None:
        if answer != 0:
            raise OSError(ctypes.get_errno(), "the kernel refused a restriction")
