"""Runs the probes: inside each layer that stands, and outside where harmless, so that each can be seen to work."""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from superalign.sandbox.layers import Isolation
from superalign.sandbox.limits import Limits, Outcome
from superalign.sandbox.probe import Probe
from superalign.sandbox.probes import PROBES
from superalign.sandbox.start import run

GOT = b"GOT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One probe in one layer, and outside."""

    probe: str
    title: str
    group: str
    layer: str
    held: bool
    """The attempt failed inside."""
    outside: bool | None
    """The same attempt succeeded outside; None where it was not tried there."""
    how: str
    """How it ended inside."""


def selftest(layers: list[Isolation], *, say: Callable[[str], None] = lambda text: None) -> Iterator[Tried]:
    """Try every probe in every layer, and the end of a daemon that outlives its start."""
    with host() as prepared:
        for probe in PROBES:
            say(probe.title)
            script = filled(probe.script, prepared)
            outside = _outside(script) if probe.bare else None
            for layer in layers:
                got, how = _inside(probe, script, layer)
                yield _tried(probe, layer, held=not got, outside=outside, how=how)
    for layer in layers:
        say("a daemon that outlives its start")
        survived = _daemon(layer)
        probe = Probe(name="daemon", title="leave a daemon behind", group="processes", script="")
        yield _tried(probe, layer, held=not survived, outside=None, how="all ended" if not survived else "it lives on")


def filled(script: str, prepared: Mapping[str, str]) -> str:
    """The script with what the tester prepared; other braces are Python's own."""
    for name, value in prepared.items():
        script = script.replace(f"{{{name}}}", value)
    return script


def _tried(probe: Probe, layer: Isolation, *, held: bool, outside: bool | None, how: str) -> Tried:
    return Tried(
        probe=probe.name,
        title=probe.title,
        group=probe.group,
        layer=layer.name,
        held=held,
        outside=outside,
        how=how,
    )


@contextmanager
def host() -> Iterator[dict[str, str]]:
    """What the probes reach for: listeners, a private file, a process with a secret, an open file."""
    secret, abstract = secrets.token_hex(12), f"superalign-{secrets.token_hex(6)}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="superalign-host-")))
        (folder / "secret").write_text(secret)
        folder.chmod(0o700)
        public = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="superalign-open-")))
        for name, mode in (("own", 0o600), ("anyone", 0o666)):
            (public / name).write_text("x")
            (public / name).chmod(mode)
        public.chmod(0o755)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for place in (f"\0{abstract}", str(folder / "socket"), str(public / "socket")):
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(place)
            server.listen(64)
        (public / "socket").chmod(0o777)
        marker = f"marker-{secrets.token_hex(6)}"
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()", marker],
                stdin=subprocess.PIPE,
                env={"SECRET": secret},
            )
        )
        opened = os.open(folder / "secret", os.O_RDONLY)
        stack.callback(os.close, opened)
        os.set_inheritable(opened, True)
        os.environ["SUPERALIGN_PROBE"] = secret
        stack.callback(os.environ.pop, "SUPERALIGN_PROBE", None)
        yield {
            "secret": secret,
            "abstract": abstract,
            "folder": str(folder),
            "open": str(public),
            "home": os.path.expanduser("~"),
            "port": str(listener.getsockname()[1]),
            "pid": str(process.pid),
            "marker": marker,
        }
        assert process.stdin
        process.stdin.close()


def _outside(script: str) -> bool:
    """Does the attempt succeed without any sandbox?"""
    with tempfile.TemporaryDirectory() as folder:
        try:
            tried = subprocess.run(
                [sys.executable, "-I", "-S", "-c", script],
                cwd=folder,
                capture_output=True,
                timeout=20,
                check=False,
                close_fds=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return GOT in tried.stdout


def _inside(probe: Probe, script: str, layer: Isolation) -> tuple[bool, str]:
    outcome = run([sys.executable, "-I", "-S", "-c", script], limits=probe.limits, isolation=layer)
    last = outcome.stderr.decode(errors="replace").strip().splitlines()[-1:] or [""]
    return GOT in outcome.stdout, _ended(outcome, last[0])


def _ended(outcome: Outcome, last: str) -> str:
    """How it ended, in a word or two."""
    if outcome.kind != "exited":
        return {"signalled": f"signal {outcome.code}", "output": "output capped", "disk": "disk capped"}.get(
            outcome.kind, outcome.kind
        )
    if found := re.search(r"\[Errno (\d+)\]", last):
        return errno.errorcode.get(int(found[1]), found[1])
    return last.split(":")[0][:30] or "refused"


def _daemon(layer: Isolation) -> bool:
    """Does a process that left its group, session and parent outlive its start?"""
    marker = f"daemon-{secrets.token_hex(6)}"
    script = (
        "import os, sys, time\n"
        "for _ in range(2):\n    if os.fork():\n        os._exit(0)\n    os.setsid()\n"
        "for fd in (0, 1, 2):\n    os.close(fd)\n"
        "time.sleep(20)"
    )
    run([sys.executable, "-I", "-S", "-c", script, marker], limits=Limits(wall=2.0), isolation=layer)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        if not lives(marker):
            return False
        time.sleep(0.05)
    return True


def lives(marker: str) -> bool:
    """Does any process on this machine have the marker on its command line?"""
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and marker.encode() in (folder / "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False
