"""The runner: trusted code inside the sandbox that executes programs one after the other and frames what they say.

In fork mode each program is a process of its own that holds neither the pipe to the parent nor the nonce: all it can
write to are two pipes of its own, one for its word, one for its calls of `canary()`. What comes through the first
counts as that program's word and nothing more; the second is counted here, byte by byte. A program may be watched: an
audit hook, which Python never takes off again, then tells of every open, import, socket and the like by the second pipe
before it happens. Expected answers never come in here. In batch mode programs share this process: for code of our own
making only.

Started by `play` as a script, beside `frames.py`; standard library only.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from frames import MAX_FRAME, NONCE, NotPlain, body_of, decode, encode

SUNG = {
    "canary": b"c",
    "open": b"o",
    "import": b"i",
    "exec": b"x",
    "socket": b"s",
    "process": b"p",
    "inside": b"r",
    "os": b"f",
}
"""What is counted, and the byte that tells of it."""
EVENTS = (
    ("socket", ("socket.",)),
    (
        "process",
        ("subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "pty."),
    ),
    ("open", ("open",)),
    ("import", ("import",)),
    ("exec", ("exec", "compile")),
    ("inside", ("ctypes.", "sys.", "gc.", "object.", "code.", "function.", "cpython.", "marshal.", "mmap.", "pickle.")),
    ("os", ("os.", "shutil.", "tempfile.", "glob.", "pathlib.", "fcntl.", "resource.", "signal.")),
)
"""Beginnings of the names of audit events, by what they count as; others are not counted."""


class TooSlow(BaseException):
    """A call ran over its time."""


def _alarm(number, where):
    raise TooSlow


def execute(program, canary):
    """Run one program's calls; one entry a call: a plain value, or the kind of its failure."""
    space = {"__name__": "program", "canary": canary}
    signal.signal(signal.SIGALRM, _alarm)
    results = []
    try:
        signal.setitimer(signal.ITIMER_REAL, program["seconds"])
        try:
            exec(compile(program["source"], "<program>", "exec"), space)
            function = space[program["call"]]
        except TooSlow:
            return [{"kind": "timeout"}] * len(program["arguments"])
        except BaseException as error:  # noqa: BLE001 - a program may raise anything, and that is its word
            return [{"kind": "error", "error": _name(error)}] * len(program["arguments"])
        for given in program["arguments"]:
            signal.setitimer(signal.ITIMER_REAL, program["seconds"])
            try:
                results.append({"kind": "value", "value": encode(function(*decode(given)))})
            except TooSlow:
                results.append({"kind": "timeout"})
            except NotPlain as error:
                results.append({"kind": "not plain", "error": str(error)[:100]})
            except BaseException as error:  # noqa: BLE001 - as above
                results.append({"kind": "error", "error": _name(error)})
    except TooSlow:
        results += [{"kind": "timeout"}] * (len(program["arguments"]) - len(results))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return results


def _name(error):
    return str(type(error).__name__)[:60]


def forked(program, tell, nonce):
    """Run one program in a process of its own and read its word, up to its time."""
    (said, say), (heard, voice) = os.pipe(), socket.socketpair()
    sung, sing = (
        heard.detach(),
        voice.detach(),
    )  # sockets: a pipe could be opened anew by its name in /proc, and drained
    child = os.fork()
    if child == 0:
        nonce[:] = bytes(len(nonce))
        try:
            for fd in (tell, 0, said, sung):
                os.close(fd)
            _alone(program, say, sing)
        finally:
            os._exit(1)
    os.close(say)
    os.close(sing)
    raw, told, kind = _read(child, said, sung, program["seconds"] * (len(program["arguments"]) + 1) + 1.0)
    os.close(said)
    os.close(sung)
    while True:  # all that is left of it was handed to the first process of the namespace, or to nobody
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.0005)
        except ChildProcessError:
            break
    word = {"kind": kind, "canary": told["canary"] if program.get("events") else told["all"]}
    if program.get("events"):
        word["events"] = {name: told[name] for name, _ in EVENTS if told[name]}
    if kind == "said":
        try:
            word["results"] = json.loads(raw)
        except (ValueError, RecursionError):
            word["kind"] = "silent"
    return word


def _alone(program, say, sing):
    """What the child does: everything from here on belongs to the program."""
    os.setsid()
    _mute()
    write = os.write
    if program.get("events"):
        sys.addaudithook(_watcher(write, sing))
    try:
        results = execute(program, lambda *given, **named: write(sing, b"c") and None)
    except TooSlow:  # the alarm went off between two calls
        results = [{"kind": "timeout"}] * len(program["arguments"])
    raw = json.dumps(results, separators=(",", ":")).encode()
    while raw:
        raw = raw[os.write(say, raw) :]


def _watcher(write, sing):
    """An audit hook that tells of each event before it happens; where it can't be told, it doesn't happen."""
    own = {"compile", "exec"}  # the runner's own, once each, by which the program begins

    def watch(event, given):
        if event in own:
            own.discard(event)
            return
        if event == "open" and "exec" in own:  # it doesn't compile, and Python looks for the line to quote
            return
        for name, beginnings in EVENTS:
            if event.startswith(beginnings):
                write(sing, SUNG[name])
                return

    return watch


def _read(child, said, sung, seconds):
    """The word, how often it sang of what, and how it ended; then nothing of it is alive."""
    raw, kind, end = bytearray(), "said", time.monotonic() + seconds
    told = {"all": 0, **dict.fromkeys(SUNG, 0)}
    ended = os.pidfd_open(child)
    waiting = {said, sung, ended}
    while waiting:
        left = end - time.monotonic()
        ready = select.select(list(waiting), [], [], left)[0] if left > 0 else []
        if not ready:
            kind = "timeout" if ended in waiting else kind
            break
        if ended in ready:
            _kill_all()  # its children may hold the pipes
            waiting.discard(ended)
            end = time.monotonic() + 5.0
        for pipe in (said, sung):
            if pipe in ready:
                piece = os.read(pipe, 1 << 16)
                if not piece:
                    waiting.discard(pipe)
                elif pipe == sung:
                    told["all"] += len(piece)
                    for name, byte in SUNG.items():
                        told[name] += piece.count(byte)
                else:
                    raw += piece
        if len(raw) > MAX_FRAME:
            kind = "too large"
            break
    os.close(ended)
    _kill_all()
    return raw, told, kind


def _kill_all():
    """Every process of this start but the runner: its namespace, user or Landlock domain bounds what is hit."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(-1, signal.SIGKILL)


def _mute():
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (1, 2):
        os.dup2(nothing, fd)


def batched(program):
    """Run one program in this process."""
    counted = []
    results = execute(program, lambda *given, **named: counted.append(1))
    return {"kind": "said", "results": results, "canary": len(counted)}


def take(size):
    """So many bytes of standard input in a buffer of which no copy is made."""
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        view = view[os.readv(0, [view]) or sys.exit("the job was cut off") :]
    return buffer


def send(tell, nonce, message):
    """One frame; the nonce is written from its own buffer, so that no copy of it lies about."""
    body = body_of(message)
    parts = [memoryview(nonce), memoryview(struct.pack(">I", len(body))), memoryview(body)]
    while parts:
        wrote = os.writev(tell, parts)
        while parts and wrote >= len(parts[0]):
            wrote -= len(parts.pop(0))
        if parts:
            parts[0] = parts[0][wrote:]


def main():
    """Read the job from standard input, run its programs, and tell the parent of each."""
    tell, mode = int(sys.argv[1]), sys.argv[2]
    nonce = take(NONCE)
    job = json.loads(take(struct.unpack(">Q", take(8))[0]))
    gc.freeze()
    if mode == "batch":
        _mute()
    send(tell, nonce, {"kind": "ready", "at": -1})
    for at, program in enumerate(job["programs"]):
        word = forked(program, tell, nonce) if mode == "fork" else batched(program)
        send(tell, nonce, {**word, "at": at})


if __name__ == "__main__":
    main()
