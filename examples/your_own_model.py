"""Your own causal language model through the whole pipeline, by its folder on disk or its name on the hub.

    python examples/your_own_model.py /models/my-model

Weights must be safetensors; no remote code is run. The first run of a hub name downloads it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from superalign.pipeline import RunConfig
from superalign.pipeline.run import run


def main(path: str, workspace: str = ".superalign-mine") -> None:
    """Run the quick preset on `hf:path`; the weak supervisor is the smallest family member."""
    result = run(RunConfig(workspace=Path(workspace), model=f"hf:{path}", preset="quick"), say=print)
    print(result.verdicts)


if __name__ == "__main__":
    main(*sys.argv[1:])
