"""The sandbox provider: Inspect's own conformance checks, limits, and ways out that stay closed."""

from __future__ import annotations

import inspect
import json
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("inspect_ai")

from superalign.sandbox import Isolation, standing

if not any(isinstance(layer, Isolation) and layer.name == "bwrap" for layer in standing()):
    pytest.skip("bubblewrap does not stand on this machine", allow_module_level=True)

UNFIT = {"test_exec_as_user": "makes a user, and becomes it: there is one user in here, without rights"}
"""Conformance checks that don't fit, and why."""
SLOW = ("kills", "large")


def environment(**limits: Any) -> Any:
    from superalign.inspecting.sandbox import BwrapConfig, BwrapEnvironment

    return BwrapEnvironment(BwrapConfig(**limits))


def played(work: Callable[[Any], Awaitable[Any]], box: Any = None) -> Any:
    """Run async work on a sandbox."""
    import anyio

    return anyio.run(work, box or environment())


def conformance() -> list[Any]:
    from inspect_ai.util._sandbox import self_check

    return [f for name, f in inspect.getmembers(self_check, inspect.isfunction) if name.startswith("test_")]


def checks() -> list[Any]:
    return [
        pytest.param(f, id=f.__name__, marks=[pytest.mark.slow] if any(w in f.__name__ for w in SLOW) else [])
        for f in conformance()
    ]


@pytest.mark.parametrize("check", checks())
def test_it_conforms_to_what_inspect_asks_of_a_provider(check: Any) -> None:
    if check.__name__ in UNFIT:
        pytest.skip(UNFIT[check.__name__])

    async def work(box: Any) -> None:
        await check(box)

    played(work)


ESCAPES = ("tcp", "udp", "raw-socket", "netlink", "read-secret", "read-shadow", "read-home", "write-host",
           "write-system", "symlink", "become-root", "environment", "host-proc", "host-environ", "signal")  # fmt: skip


@pytest.mark.parametrize("name", ESCAPES)
def test_no_way_out_opens_through_the_provider(name: str) -> None:
    from superalign.sandbox import interpreter
    from superalign.sandbox.probes import PROBES
    from superalign.sandbox.selftest import GOT, filled, host

    probe = next(p for p in PROBES if p.name == name)

    async def work(box: Any) -> Any:
        await box.write_file("probe.py", script)
        return await box.exec([interpreter("bwrap"), "probe.py"], timeout=8)

    with host() as prepared:
        script = filled(probe.script, prepared)
        came = played(work)
    assert GOT.decode() not in came.stdout


def test_files_last_from_order_to_order_with_their_modes_links_and_times() -> None:
    async def work(box: Any) -> None:
        await box.exec(["sh", "-c", "mkdir -p d/e; echo x > d/e/f; chmod 640 d/e/f; ln -s e/f d/l; chmod 500 d"])
        await box.exec(["sh", "-c", "mkfifo pipe; touch -d 2001-02-03T04:05:06Z d/e/f; echo hidden > .h; chmod 0 .h"])
        told = await box.exec(["sh", "-c", "stat -c '%a %Y' d d/e/f .h | cut -d' ' -f1,2; readlink d/l; ls pipe"])
        lines = told.stdout.split("\n")
        assert lines[0].startswith("500 ")
        assert lines[1] == "640 981173106"
        assert lines[2].startswith("0 ")
        assert lines[3] == "e/f"
        assert told.returncode != 0  # the pipe was left behind

    played(work)


def test_what_a_command_leaves_running_ends_with_it_and_a_time_out_keeps_the_files() -> None:
    async def work(box: Any) -> None:
        script = "(while true; do date +%N > beat; sleep 0.05; done) & sleep 0.3"
        await box.exec(["sh", "-c", script])
        first = await box.read_file("beat")
        assert await box.read_file("beat") == first
        with pytest.raises(TimeoutError, match="ended after 1 s"):
            await box.exec(["sh", "-c", "echo kept > here; sleep 30"], timeout=1)
        assert await box.read_file("here") == "kept\n"

    played(work)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["no-such-program"], 127, "no-such-program: No such file"),
        (["sh", "-c", "kill -9 $PPID"], 137, "the sandbox ended"),
        (["sh", "-c", "exec python3 -c 'x = bytearray(3 << 30)'"], None, "MemoryError"),
    ],
)
def test_a_command_that_ends_badly_is_told_of(command: list[str], code: int | None, said: str) -> None:
    from superalign.sandbox import interpreter

    command = [part.replace("python3", interpreter("bwrap")) for part in command]

    async def work(box: Any) -> Any:
        await box.write_file("before", "x")
        came = await box.exec(command)
        assert await box.read_file("before") == "x"
        return came

    came = played(work)
    assert not came.success
    assert code in (None, came.returncode)
    assert said in came.stderr


def answer(header: Any, *parts: bytes) -> bytes:
    """What a sample might say in the driver's place."""
    told = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack(">Q", len(told)) + told + b"".join(parts)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 40,
        answer({}),
        answer({"sizes": [9]}),
        answer({"sizes": [0, 0, 0], "how": "exited"}),
        answer({"sizes": [0, 0, 0], "how": "exited", "code": "0"}),
        answer({"sizes": [0, 0, 0], "how": "done", "code": 0}),  # no answer to a command
        answer({"sizes": [float("inf"), 0, 0], "how": "exited", "code": 0}),
        answer({"sizes": [True, 0, 0], "how": "exited", "code": 0}, b"x"),
        answer({"sizes": [0, 0, 9], "how": "exited", "code": 0}, b"x"),
        answer(b"[" * 100_000),
        answer({"sizes": [0, 0, 0], "how": "exited", "code": 0, "said": "x" * (2 << 20)}),  # too much to be parsed
    ],
    ids=range(13),
)
def test_a_malformed_answer_is_none(said: bytes) -> None:
    from superalign.inspecting.sandbox import _heard

    assert _heard(said, "exec") is None


def test_a_forged_answer_is_the_samples_own_word() -> None:
    from superalign.inspecting.sandbox import _heard

    heard = _heard(answer({"sizes": [1, 2, 3], "how": "exited", "code": 0}, b"abbccc"), "exec")
    assert heard is not None
    assert heard[1:] == (b"a", b"bb", b"ccc")


def test_what_inspect_cancels_ends_at_once_and_the_files_stay_as_they_were() -> None:
    import anyio

    async def work(box: Any) -> None:
        await box.write_file("before", "x")
        began = time.monotonic()
        with anyio.move_on_after(1) as limit:
            await box.exec(["sh", "-c", "rm before; sleep 60"])
        assert limit.cancelled_caught
        assert time.monotonic() - began < 20
        assert await box.read_file("before") == "x"

    played(work)


def test_a_folder_that_a_command_closes_keeps_its_files() -> None:
    async def work(box: Any) -> None:
        await box.write_file("kept", "x")
        await box.exec(["sh", "-c", "chmod 0 ."])
        assert await box.read_file("kept") == "x"

    played(work)


def test_a_folder_that_is_not_there_is_named_and_limits_that_are_none_are_refused() -> None:
    async def work(box: Any) -> Any:
        return await box.exec(["true"], cwd="nowhere")

    came = played(work)
    assert came.returncode == 127
    assert "nowhere: No such file" in came.stderr
    with pytest.raises(ValueError, match="memory_mb"):
        environment(memory_mb=64)


def test_more_output_than_is_allowed_raises_with_its_beginning() -> None:
    from inspect_ai.util import OutputLimitExceededError, override_sandbox_output_limit

    async def work(box: Any) -> None:
        with override_sandbox_output_limit(1000), pytest.raises(OutputLimitExceededError) as raised:
            await box.exec(["sh", "-c", "yes | head -c 100000"])
        assert raised.value.truncated_output == "y\n" * 500

    played(work)
