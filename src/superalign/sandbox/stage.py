"""A file system in memory for one start: capped in bytes and in files, seen by nobody else, gone with its last process.

bubblewrap's own temporary file systems are capped in bytes alone. So the child, before it becomes bubblewrap, mounts
this one in a mount namespace of its own (as an ordinary user: in a user namespace), and bubblewrap binds its folders.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

PLACES = ("/mnt", "/media", "/srv", "/opt")
NODES = 8_192
"""Files and folders in it, beside those that the start is given."""
FOLDERS = ("box", "tmp", "shm")
_NEWNS, _NEWUSER, _REC, _SLAVE, _NOSUID, _NODEV = 0x20000, 0x10000000, 0x4000, 0x80000, 2, 4


def place(taken: Iterable[Path] = ()) -> Path | None:
    """An existing folder to cover that holds nothing which the start needs."""
    busy = [Path(path).resolve() for path in taken]
    for name in PLACES:
        here = Path(name)
        if here.is_dir() and not here.is_symlink() and not any(path.is_relative_to(here) for path in busy):
            return here
    return None


class Stage:
    """What a child does between fork and exec: prepared here, so that little is left to do there."""

    def __init__(self, where: Path, *, size: int, uid: int, files: Mapping[str, bytes]) -> None:
        lib = ctypes.CDLL(None, use_errno=True)
        self._unshare, self._mount, self._uid, self._files = lib.unshare, lib.mount, uid, dict(files)
        self.where = where
        nodes = NODES + 2 * len(files)
        self._options = f"size={size},nr_inodes={nodes},mode=0755".encode()

    def make(self) -> None:
        """Mount it, and write the files; OSError where the kernel refuses."""
        user, group, root = os.geteuid(), os.getegid(), os.geteuid() == 0
        self._demand(self._unshare(_NEWNS if root else _NEWNS | _NEWUSER))
        if not root:
            maps = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
            for name, text in maps.items():
                handle = os.open(f"/proc/self/{name}", os.O_WRONLY)
                os.write(handle, text.encode())
                os.close(handle)
        self._demand(self._mount(b"none", b"/", None, _REC | _SLAVE, None))
        where = os.fsencode(self.where)
        self._demand(self._mount(b"tmpfs", where, b"tmpfs", _NOSUID | _NODEV, self._options))
        for name in FOLDERS:
            os.mkdir(self.where / name)
            os.chmod(self.where / name, 0o777 if name == "box" else 0o1777)
        for name, data in self._files.items():
            write_file(self.where / "box", name, data, uid=self._uid if root else None)

    def _demand(self, answer: int) -> None:
        if answer != 0:
            raise OSError(ctypes.get_errno(), "the kernel refused a file system of the start's own")


def write_file(folder: Path, name: str, data: bytes, *, uid: int | None) -> None:
    """Write one file below a folder, with the folders on its way, all of them owned by `uid` where that is given."""
    place = folder
    for part in Path(name).parts[:-1]:
        place = place / part
        if not place.is_dir():
            os.mkdir(place)
            if uid is not None:
                os.chown(place, uid, uid)
    handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        if uid is not None:
            os.fchown(handle, uid, uid)
    finally:
        os.close(handle)
