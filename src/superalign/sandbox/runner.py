"""The runner: trusted code inside the sandbox that executes programs one after the other and frames what they say.

In fork mode each program is a process of its own that holds neither the pipe to the parent nor the nonce's channel:
all it can write to is a pipe of its own, whose content counts as that program's word and nothing more. Expected
answers never come in here. In batch mode programs share this process: for code of our own making only.

Started by `play` as a script, beside `frames.py`; standard library only.
"""

import contextlib
import gc
import json
import os
import select
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from frames import MAX_FRAME, NotPlain, decode, encode, frame

KEPT_OUTPUT = 4096


class TooSlow(BaseException):
    """A call ran over its time."""


def _alarm(number, where):
    raise TooSlow


def execute(program, counted):
    """Run one program's calls; one entry a call: a plain value, or the kind of its failure."""
    space = {"__name__": "program", "canary": lambda *given, **named: counted.append(1)}
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


def forked(program, tell, lone):
    """Run one program in a process of its own and read its word, up to its time."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        for fd in (tell, 0):
            os.close(fd)
        os.setpgid(0, 0)
        _mute()
        counted = []
        try:
            results = execute(program, counted)
        except TooSlow:  # the alarm went off between two calls
            results = [{"kind": "timeout"}] * len(program["arguments"])
        said = json.dumps({"results": results, "canary": len(counted)}, separators=(",", ":")).encode()
        while said:
            said = said[os.write(write, said) :]
        os._exit(0)
    os.close(write)
    said, kind = _read(read, program["seconds"] * (len(program["arguments"]) + 1) + 1.0)
    os.close(read)
    for target in (-child, child) if not lone else (-child, child, -1):
        with contextlib.suppress(OSError):
            os.kill(target, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    while True:  # whatever it left behind was handed to this process, or to the namespace's first one
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            break
    if kind != "said":
        return {"kind": kind}
    try:
        word = json.loads(said)
        return {"kind": "said", "results": word["results"], "canary": word["canary"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {"kind": "silent", "status": status}


def _read(pipe, seconds):
    said, end = b"", time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return said, "timeout"
        chunk = os.read(pipe, 1 << 16)
        if not chunk:
            return said, "said"
        said += chunk
        if len(said) > MAX_FRAME:
            return said, "too large"


def _mute():
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (1, 2):
        os.dup2(nothing, fd)


def batched(program):
    """Run one program in this process."""
    counted = []
    results = execute(program, counted)
    return {"kind": "said", "results": results, "canary": len(counted)}


def main():
    """Read the job from standard input, run its programs, and tell the parent of each."""
    nonce, tell = sys.stdin.buffer.read(16), int(sys.argv[1])
    mode, lone = sys.argv[2], sys.argv[3] == "lone"
    job = json.loads(sys.stdin.buffer.read())
    gc.freeze()
    if mode == "batch":
        _mute()
    for at, program in enumerate(job["programs"]):
        word = forked(program, tell, lone) if mode == "fork" else batched(program)
        message = frame(nonce, {**word, "at": at})
        while message:
            message = message[os.write(tell, message) :]


if __name__ == "__main__":
    main()
