"""superalign's sandbox as one of Inspect's: `inspect eval task.py --sandbox bwrap`.

    task = Task(dataset=…, sandbox="bwrap")
    task = Task(dataset=…, sandbox=SandboxEnvironmentSpec("bwrap", BwrapConfig(memory_mib=1024)))

Each order (a command, a read, a write) is one start in bubblewrap: no network, a dropped user, nothing of the host but
the system's own programs to read, limits on time, memory, processes, files and output (`superalign.sandbox`). What lies
in the sample's folder and in /tmp is carried over from one order to the next; processes are not: whatever a command
leaves running is ended with it. So nothing of a sample lies on this machine, and there is nothing to clean up. Orders
of one sample follow one another. Commands that ran out of time are not tried again: they may have done something. One
that Inspect cancels (a limit of the sample's, Ctrl-C) is ended at once, and what it did to the files is forgotten.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import sys
import time
from pathlib import Path
from typing import Any, Literal, overload

from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxEnvironment,
    SandboxEnvironmentConfigType,
    SandboxEnvironmentLimits,
    SandboxUnavailableError,
    SandboxUserUnsupportedError,
    sandboxenv,
)
from pydantic import BaseModel

from superalign.sandbox import Limits, SandboxUnavailable, chosen
from superalign.sandbox.layers import BOX
from superalign.sandbox.start import started
from superalign.sandbox.watch import watch

DRIVER = "sandbox_driver.py"
MIB = 1 << 20
GRACE = 30.0
"""Seconds beyond a command's own for laying its files out and taking them up."""
HEADER = MIB
"""Bytes of the head of an answer, at most: a sample may write its own, to fill this machine's memory."""
_RAISED = {
    "FileNotFoundError": (FileNotFoundError, errno.ENOENT),
    "NotADirectoryError": (NotADirectoryError, errno.ENOTDIR),
    "IsADirectoryError": (IsADirectoryError, errno.EISDIR),
    "PermissionError": (PermissionError, errno.EACCES),
}


class BwrapConfig(BaseModel, frozen=True, extra="forbid"):
    """Limits of a sample's sandbox."""

    seconds: float = 300.0
    """Of a command that no time-out was given for."""
    memory_mib: int = 1024
    """Address space of a process."""
    files_mib: int = 256
    """Of all files of the sample together."""
    processes: int = 64


@sandboxenv(name="bwrap")
class BwrapEnvironment(SandboxEnvironment):
    """One sample's sandbox: its files between two orders, and the limits of each."""

    def __init__(self, config: BwrapConfig) -> None:
        import anyio

        super().__init__()
        self.config, self._files, self._turn = config, b"", anyio.Lock()

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """Run a command. Raises TimeoutError, PermissionError, OutputLimitExceededError, and for any user but its own
        SandboxUserUnsupportedError.
        """
        if user is not None:
            raise SandboxUserUnsupportedError(f"bwrap runs as one user without rights, not as {user!r}: name none")
        most = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE
        order = {"what": "exec", "command": cmd, "cwd": cwd, "env": env or {}, "most": most}
        found, out, err = await self._asked(order, _bytes(input), seconds=timeout or self.config.seconds)
        if found["how"] == "forbidden":
            raise PermissionError(errno.EACCES, found["error"])
        if found["how"] == "timeout":
            raise TimeoutError(f"{cmd[0]}: ended after {timeout or self.config.seconds:g} s")
        for said in (out, err):
            if len(said) > most:
                text = said[:most].decode("utf-8", "replace")
                raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, text)
        told = (said.decode("utf-8", "replace") for said in (out, err))
        return ExecResult(found["code"] == 0, int(found["code"]), *told)

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Write a file, and the folders on its way. Raises PermissionError, IsADirectoryError."""
        await self._asked({"what": "write", "path": file}, _bytes(contents), seconds=GRACE)

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...

    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...

    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        """A file's text, or bytes. Raises FileNotFoundError, PermissionError, IsADirectoryError, UnicodeDecodeError and
        OutputLimitExceededError.
        """
        most = SandboxEnvironmentLimits.MAX_READ_FILE_SIZE
        _, data, _ = await self._asked({"what": "read", "path": file, "most": most}, b"", seconds=GRACE)
        if len(data) > most:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None)
        return data.decode("utf-8") if text else data

    async def _asked(
        self, order: dict[str, Any], feed: bytes, *, seconds: float
    ) -> tuple[dict[str, Any], bytes, bytes]:
        import anyio.to_thread

        async with self._turn:
            found, out, err, files = await anyio.to_thread.run_sync(self._started, order, feed, seconds)
            self._files = self._files if files is None else files
        if found["how"] == "error":
            kind, code = _RAISED.get(str(found["error"]), (OSError, errno.EIO))
            raise kind(code, str(found["said"]), order.get("path") or order.get("cwd"))
        return found, out, err

    def _started(
        self, order: dict[str, Any], feed: bytes, seconds: float
    ) -> tuple[dict[str, Any], bytes, bytes, bytes | None]:
        """One start. Where the driver is silent the files stay as they were."""
        whole = {**order, "seconds": seconds, "archive": len(self._files), "feed": len(feed)}
        header = json.dumps(whole).encode()
        config = self.config
        limits = Limits(
            wall=seconds + GRACE,
            cpu=seconds + GRACE,
            memory=config.memory_mib * MIB,
            processes=config.processes,
            file=config.files_mib * MIB,
            output=2 * config.files_mib * MIB,
        )
        try:
            kind, said, error = _ran(struct.pack(">Q", len(header)) + header + self._files + feed, limits)
        except SandboxUnavailable as unavailable:
            raise SandboxUnavailableError(str(unavailable)) from unavailable
        heard = _heard(said, order["what"])
        if heard is None:
            ends = {"exited": "its driver was ended, or memory or files are full"}
            why = f"{ends.get(kind, kind)}: {error.decode('utf-8', 'replace').strip()[-200:]}\n"
            if order["what"] != "exec":
                raise OSError(errno.ENOSPC, why.strip(), order["path"])
            how = "timeout" if kind == "timeout" else "exited"
            return {"how": how, "code": 137}, b"", f"the sandbox ended: {why}".encode(), None
        found, out, err, files = heard
        return found, out, err, files if order["what"] != "read" else None

    @classmethod
    async def task_init(cls, task_name: str, config: SandboxEnvironmentConfigType | None) -> None:
        """Raises SandboxUnavailableError where bubblewrap does not stand on this machine, and says how to mend it."""
        try:
            chosen("bwrap")
        except SandboxUnavailable as error:
            raise SandboxUnavailableError(str(error)) from error

    @classmethod
    async def sample_init(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        """An empty sandbox. `config` is a BwrapConfig, or the path of one as JSON."""
        if isinstance(config, str):
            config = BwrapConfig.model_validate_json(Path(config).read_text(encoding="utf-8"))
        return {"default": cls(config if isinstance(config, BwrapConfig) else BwrapConfig())}

    @classmethod
    async def sample_cleanup(
        cls,
        task_name: str,
        config: SandboxEnvironmentConfigType | None,
        environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        """Forget the files: nothing else is left of a sample."""
        for each in environments.values():
            if isinstance(each, BwrapEnvironment):
                each._files = b""

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        """Read limits back."""
        return BwrapConfig(**config)

    @classmethod
    def default_concurrency(cls) -> int | None:
        """Samples at a time: twice the processors."""
        return 2 * (os.cpu_count() or 1)


def _bytes(given: str | bytes | None) -> bytes:
    return given.encode("utf-8", "surrogateescape") if isinstance(given, str) else given or b""


def _ran(order: bytes, limits: Limits) -> tuple[str, bytes, bytes]:
    """Start the driver with an order, in a thread of Inspect's: how it ended, and both outputs. Where Inspect cancels
    who waits for it, it is ended, and the cancellation goes through.
    """
    from anyio import from_thread

    files = {DRIVER: (Path(__file__).parent / DRIVER).read_bytes()}
    command = [sys.executable, "-I", "-S", "-B", f"{BOX}/{DRIVER}"]
    with started(command, files=files, readable=(), limits=limits, isolation=chosen("bwrap")) as box:

        def over() -> str | None:
            from_thread.check_cancelled()
            return box.over() if box.over else None

        return watch(box.process, order, limits, time.monotonic(), over)


def _heard(said: bytes, what: str) -> tuple[dict[str, Any], bytes, bytes, bytes] | None:
    """The driver's answer to an order; None where what was said is none. It is the sample's own word, and checked."""
    if len(said) < 8 or (end := 8 + struct.unpack(">Q", said[:8])[0]) > min(len(said), HEADER):
        return None
    try:
        header = json.loads(said[8:end])
        sizes, how = list(header["sizes"]), header["how"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    known = how in (("exited", "timeout", "error", "forbidden") if what == "exec" else ("done", "error"))
    if not known or len(sizes) != 3 or any(type(size) is not int or size < 0 for size in sizes):
        return None
    if sum(sizes) != len(said) - end:
        return None
    if how in ("exited", "timeout") and type(header.get("code")) is not int:
        return None
    if how in ("error", "forbidden") and not isinstance(header.get("error"), str):
        return None
    one, two = end + sizes[0], end + sizes[0] + sizes[1]
    return {"said": "", **header}, said[end:one], said[one:two], said[two:]
