"""What runs inside the sandbox for one order: lay the sample's files out, do it, take them up again.

Started by `sandbox` as a script; standard library only. On standard input: the order (JSON, its length before it), the
sample's files as the last order left them, and what is to be fed or written. On standard output, the same way: what
came of it, both outputs, and the files. Whatever the command started is ended before the files are taken up.

It shares its user with the command, which may therefore kill it, or speak in its place: about its own sample only. Who
reads its answer takes it for the command's word, and hands the files back without looking into them.
"""

import contextlib
import errno
import json
import os
import signal
import stat
import struct
import subprocess
import sys
import threading

HOME = "/box/work"
ROOTS = (HOME, "/tmp")
"""What lasts from one order to the next."""


def take(size):
    """So many bytes of standard input."""
    data = bytearray()
    while len(data) < size:
        piece = os.read(0, min(1 << 20, size - len(data)))
        if not piece:
            sys.exit("the order was cut off")
        data += piece
    return bytes(data)


def tell(found, *parts):
    """One answer: its header, then the parts."""
    header = json.dumps({**found, "sizes": [len(part) for part in parts]}).encode()
    for data in (struct.pack(">Q", len(header)), header, *parts):
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]


def laid_out(archive):
    """Write the files of an archive below the roots."""
    for root in ROOTS:
        os.makedirs(root, exist_ok=True)
    if not archive:
        return
    size = struct.unpack(">Q", archive[:8])[0]
    at, closing = 8 + size, []
    for root, name, kind, mode, moment, length, target in json.loads(archive[8:at]):
        path = os.path.join(ROOTS[root], name)
        if kind == "d":
            os.makedirs(path, exist_ok=True)
            closing.append((path, mode))
        elif kind == "l":
            os.symlink(target, path)
        else:
            with open(path, "wb") as file:
                file.write(archive[at : at + length])
            os.chmod(path, mode)
            os.utime(path, ns=(moment, moment))
            at += length
    for path, mode in reversed(closing):
        os.chmod(path, mode)


def taken_up():
    """All files, folders and links below the roots as an archive; sockets, pipes and devices are left behind."""
    entries, parts = [], []
    for number, root in enumerate(ROOTS):
        with contextlib.suppress(OSError):
            os.chmod(root, 0o700)  # closed, it would look empty
        for folder, folders, files in os.walk(root, onerror=None):
            for name in sorted(folders):
                path = os.path.join(folder, name)
                mode = stat.S_IMODE(os.lstat(path).st_mode)
                if not os.path.islink(path):
                    os.chmod(path, mode | 0o700)
                    entries.append([number, os.path.relpath(path, root), "d", mode, 0, 0, ""])
            for name in sorted([*files, *(f for f in folders if os.path.islink(os.path.join(folder, f)))]):
                path = os.path.join(folder, name)
                about, shown = os.lstat(path), os.path.relpath(path, root)
                if stat.S_ISLNK(about.st_mode):
                    entries.append([number, shown, "l", 0, 0, 0, os.readlink(path)])
                elif stat.S_ISREG(about.st_mode):
                    os.chmod(path, stat.S_IMODE(about.st_mode) | 0o400)
                    with open(path, "rb") as file:
                        parts.append(file.read())
                    mode, moment = stat.S_IMODE(about.st_mode), about.st_mtime_ns
                    entries.append([number, shown, "f", mode, moment, len(parts[-1]), ""])
    header = json.dumps(entries).encode()
    return b"".join([struct.pack(">Q", len(header)), header, *parts])


def execute(order, feed):
    """Run a command; how it ended, its code, and up to `most` bytes of either output."""
    environment = {**os.environ, "HOME": HOME, **order["env"]}
    try:
        process = subprocess.Popen(
            order["command"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=os.path.join(HOME, order["cwd"] or ""),
            env=environment,
            start_new_session=True,
        )
    except PermissionError as error:
        return {"how": "forbidden", "error": str(error)}, b"", b""
    except OSError as error:
        missing = error.filename or order["command"][0]  # the program, or the folder that it was to start in
        return {"how": "exited", "code": 127}, b"", f"{missing}: {error.strerror}\n".encode("utf-8", "surrogateescape")
    outputs = [bytearray(), bytearray()]
    threads = [
        threading.Thread(target=drain, args=(pipe, out, order["most"]), daemon=True)
        for pipe, out in zip((process.stdout, process.stderr), outputs, strict=True)
    ]
    threads.append(threading.Thread(target=fed, args=(process.stdin, feed), daemon=True))
    for thread in threads:
        thread.start()
    how = "exited"
    try:
        code = process.wait(order["seconds"])
    except subprocess.TimeoutExpired:
        how, code = "timeout", 137
    end_all()
    for thread in threads[:2]:
        thread.join(2.0)
    code = code if code >= 0 else 128 - code  # a signal, as shells have it
    return {"how": how, "code": code}, bytes(outputs[0]), bytes(outputs[1])


def drain(pipe, out, most):
    """Read all that comes, and keep the first `most` bytes and one more."""
    while piece := os.read(pipe.fileno(), 1 << 16):
        out += piece[: most + 1 - len(out)]


def fed(pipe, data):
    """Write all of it, as far as it is read."""
    with contextlib.suppress(BrokenPipeError, OSError), pipe:
        pipe.write(data)


def end_all():
    """End every process in here but this one: the namespace bounds what is hit."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(-1, signal.SIGKILL)


def read(order):
    """A file's bytes, up to `most` and one more."""
    path = os.path.join(HOME, order["path"])
    if os.path.isdir(path):  # some may not even be opened
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    with open(path, "rb") as file:
        return file.read(order["most"] + 1)


def write(order, data):
    """Write a file, and the folders on its way."""
    path = os.path.join(HOME, order["path"])
    if os.path.dirname(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def main():
    """One order."""
    order = json.loads(take(struct.unpack(">Q", take(8))[0]))
    archive, feed = take(order["archive"]), take(order["feed"])
    os.unlink(os.path.abspath(__file__))
    laid_out(archive)
    found, out, err = {"how": "done"}, b"", b""
    try:
        if order["what"] == "exec":
            found, out, err = execute(order, feed)
        elif order["what"] == "read":
            out = read(order)
        else:
            write(order, feed)
    except OSError as error:
        found = {"how": "error", "error": type(error).__name__, "said": error.strerror or str(error)}
    tell(found, out, err, taken_up() if order["what"] != "read" else b"")


if __name__ == "__main__":
    main()
