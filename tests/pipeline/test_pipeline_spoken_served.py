"""The benchmark of boards over a faulty server, small: a trained model in a process of its own, killed and resumed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parent.parent.parent / "benchmarks" / "oversight_served.py"


@pytest.mark.slow
@pytest.mark.timeout(580)
def test_a_board_is_killed_and_resumed_over_a_faulty_server_and_nothing_is_lost():
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(BENCHMARK), "--episodes", "80", "--kills", "3", "--only", "faults", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["episodes"] == 84
    assert found["kills"] >= 1
    assert found["asked again that was kept"] == 0
    assert found["verdicts"] > 60
    assert found["different"] > 200
