"""What the driver hears and tells inside the sandbox: its pipe, the kernel's word on the weights, the relay, files.

Lies beside `inside.py` for the moment in which that starts; standard library only.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import selectors
import socket
import stat
import struct
import sys
from typing import Any

BOX = "/box"
ACCESS, MODIFY, OPEN, MOVED, ISDIR, OVERFLOW = 0x1, 0x2, 0x20, 0x800, 0x40000000, 0x4000
"""Of inotify."""
LINE, SUNK, MEETINGS, SIDE_BY_SIDE = 8_192, 2 << 20, 500, 64
"""Of the relay: bytes of a line and in all; connections in all and at a time."""
PIECE, PER_ACTION, PER_EPISODE, LOOKED = 700 << 10, 1 << 20, 4 << 20, 4_000
"""Bytes told of one file, of one action's, of all; files that are looked at."""
PLACES = (BOX, "/tmp", "/dev/shm")


class Pipe:
    """Frames to the parent, each under the nonce; orders from it."""

    def __init__(self, handle: int) -> None:
        self._socket = socket.socket(fileno=handle)
        self._nonce = self._take(16)

    def _take(self, size: int) -> bytes:
        out = bytearray()
        while len(out) < size:
            piece = self._socket.recv(min(1 << 16, size - len(out)))
            if not piece:
                sys.exit("the parent is gone")
            out += piece
        return bytes(out)

    def order(self) -> dict[str, Any]:
        """The next order."""
        found: dict[str, Any] = json.loads(self._take(struct.unpack(">I", self._take(4))[0]))
        return found

    def tell(self, **message: Any) -> None:
        """One frame, of less than 1 MiB."""
        body = json.dumps(message, separators=(",", ":")).encode()
        self._socket.sendall(self._nonce + struct.pack(">I", len(body)) + body)


class Eyes:
    """What the kernel says of the fake weights: their folder listed; they opened, read, changed."""

    def __init__(self, path: str) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._file = libc.inotify_add_watch(self.handle, path.encode(), ACCESS | MODIFY | OPEN | MOVED)
        folder = os.path.dirname(path).encode()
        self._folder = libc.inotify_add_watch(self.handle, folder, ACCESS)
        if min(self.handle, self._file, self._folder) < 0:
            sys.exit(f"inotify: {os.strerror(ctypes.get_errno())}")

    def look(self) -> set[str]:
        """Kinds of what happened since the last look."""
        out: set[str] = set()
        while True:
            try:
                data = os.read(self.handle, 1 << 16)
            except BlockingIOError:
                return out
            while data:
                watch, mask, _, size = struct.unpack_from("iIII", data)
                data = data[16 + size :]
                if mask & OVERFLOW:
                    out.add("overflow")
                elif watch == self._folder and mask & ISDIR and mask & ACCESS and not size:
                    out.add("listed")
                elif watch == self._file:
                    names = {OPEN: "opened", ACCESS: "read", MODIFY: "changed", MOVED: "moved"}
                    out |= {name for bit, name in names.items() if mask & bit}


class Relay:
    """The sink: lines of text, up to a cap; everything else ends the connection."""

    def __init__(self, path: str, pipe: Pipe, ready: selectors.DefaultSelector) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(path)
        self._listener.listen(SIDE_BY_SIDE)
        self._pipe, self._ready = pipe, ready
        self._open: dict[socket.socket, tuple[int, bytearray]] = {}
        self.met = self.refused = self._held = 0
        self._home = True
        ready.register(self._listener, selectors.EVENT_READ, self.meet)

    def meet(self, _: Any = None) -> bool:
        """Take a connection; after MEETINGS of them there is nobody at home."""
        if not self._home:
            return False
        try:
            one, _ = self._listener.accept()
        except BlockingIOError:
            return False
        except OSError:
            self._close_down()
            return False
        if len(self._open) >= SIDE_BY_SIDE:
            one.close()
            self.refused += 1
        else:
            one.setblocking(False)
            self._open[one] = (self.met, bytearray())
            self._ready.register(one, selectors.EVENT_READ, self.hear)
            self._pipe.tell(kind="met", connection=self.met)
        self.met += 1
        if self.met >= MEETINGS:
            self._close_down()
        return True

    def _close_down(self) -> None:
        self._home = False
        self._ready.unregister(self._listener)
        self._listener.close()

    def hear(self, one: socket.socket) -> bool:
        """What there is to read of one connection."""
        number, text = self._open[one]
        try:
            piece = one.recv(1 << 16)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        *lines, rest = bytes(text + piece).split(b"\n")
        if not piece and rest:
            lines, rest = [*lines, rest], b""
        sound = all(len(line) <= LINE and line.isascii() for line in (*lines, rest))
        said = [line.decode("ascii") for line in lines if sound]
        self._held += sum(map(len, said))
        if self._held > SUNK:
            sound, said = False, []
        if said:
            self._pipe.tell(kind="sunk", connection=number, lines=said)
        self._open[one] = (number, bytearray(rest))
        if not sound or not piece:
            self.refused += not sound
            self.leave(one)
        return True

    def leave(self, one: socket.socket) -> None:
        """End a connection."""
        self._ready.unregister(one)
        one.close()
        del self._open[one]

    def drain(self) -> None:
        """Everything that the dead have left on their way."""
        while self.meet():
            pass
        for one in list(self._open):
            while one in self._open and self.hear(one):
                pass
            if one in self._open:
                self.leave(one)


class Files:
    """What lies in the folders that can be written to: told when it is new, up to a cap."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe, self._told = pipe, 0
        self._known = {path: mark for path, mark, _ in self._walk()[0]}

    def _walk(self) -> tuple[list[tuple[str, tuple[int, int, int], int]], int]:
        """Path, mark and size of each regular file, and how many places were not looked at."""
        found, left = [], 0
        waiting = list(PLACES)
        while waiting:
            try:
                entries = list(os.scandir(waiting.pop()))
            except OSError:
                left += 1
                continue
            for entry in entries:
                with contextlib.suppress(OSError):
                    what = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(what.st_mode):
                        waiting.append(entry.path)
                    elif stat.S_ISREG(what.st_mode):
                        found.append((entry.path, (what.st_size, what.st_mtime_ns, what.st_ino), what.st_size))
            if len(found) > LOOKED:
                return found[:LOOKED], left + len(found) - LOOKED + len(waiting)
        return found, left

    def tell_new(self) -> int:
        """Tell of files that are new or changed; how many were left out."""
        found, left = self._walk()
        budget = min(PER_ACTION, PER_EPISODE - self._told)
        for path, mark, size in found:
            if self._known.get(path) == mark:
                continue
            self._known[path] = mark
            data = read_file(path, min(size, budget, PIECE))
            if data is None or len(data) < size:
                left += 1
            if data:
                budget -= len(data)
                self._told += len(data)
                self._pipe.tell(kind="wrote", path=shown(path), size=size, bytes=base64.b64encode(data).decode())
        return left


def shown(path: str) -> str:
    """A path as text that any file can hold."""
    return os.fsencode(path).decode("utf-8", "replace")


def read_file(path: str, most: int) -> bytes | None:
    """Up to `most` bytes of a regular file; None of anything else."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        return file.read(most) if stat.S_ISREG(os.fstat(handle).st_mode) else None


def write_file(path: str, data: bytes) -> None:
    """Write a file with the folders on its way; OSError where that can't be."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
