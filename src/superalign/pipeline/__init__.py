"""The pipeline: composes train, validate, stress-test and the gate; writes no algorithm of its own.

Light to import: `from superalign.pipeline.run import run` loads torch.
"""

from superalign.pipeline.config import RunConfig, Sizes, sizes

__all__ = ["RunConfig", "Sizes", "sizes"]
