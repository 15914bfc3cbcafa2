"""Workers give every job's result once, and raise what a job raised."""

import math
import os
import signal
import subprocess
import sys
import time

import pytest

from superalign.engine import run_parallel


@pytest.mark.parametrize("workers", [1, 2])
def test_every_result_comes_back_once(workers):
    found = list(run_parallel(math.factorial, [3, 4, 5], workers=workers))
    assert {done.index: done.result for done in found} == {0: 6, 1: 24, 2: 120}
    assert all(done.seconds >= 0 for done in found)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_job_is_heard(workers):
    with pytest.raises(ValueError, match="negative"):
        list(run_parallel(math.factorial, [3, -1, 5], workers=workers))


PARENT = """
import time
from superalign.engine import run_parallel
if __name__ == "__main__":
    for _ in run_parallel(time.sleep, [0.0, 600.0, 600.0], workers=2):
        print("working", flush=True)
"""


def _children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def test_workers_of_a_killed_parent_die(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "working\n"
        workers = _children(parent.pid)
        assert len(workers) >= 2
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while any(_alive(pid) for pid in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in workers)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"
