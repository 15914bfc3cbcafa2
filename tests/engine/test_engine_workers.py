"""Workers give every job's result once, and raise what a job raised."""

import math

import pytest

from superalign.engine import run_parallel


@pytest.mark.parametrize("workers", [1, 2])
def test_every_result_comes_back_once(workers):
    found = dict(run_parallel(math.factorial, [3, 4, 5], workers=workers))
    assert found == {0: 6, 1: 24, 2: 120}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_job_is_heard(workers):
    with pytest.raises(ValueError, match="negative"):
        list(run_parallel(math.factorial, [3, -1, 5], workers=workers))
