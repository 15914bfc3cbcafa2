"""The engine: where work runs. Today this process and local workers."""

from superalign.engine.workers import run_parallel

__all__ = ["run_parallel"]
