"""The pipeline: composes train, validate, stress-test and the gate; writes no algorithm of its own."""

from superalign.pipeline.config import RunConfig, Sizes, sizes
from superalign.pipeline.run import RunResult, run

__all__ = ["RunConfig", "RunResult", "Sizes", "run", "sizes"]
