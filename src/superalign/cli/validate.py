"""`superalign validate`: the pipeline up to this stage, and what the stage measured."""

from __future__ import annotations

from typing import Annotated

import tyro

from superalign.cli.run import stage
from superalign.pipeline.config import RunConfig


def main(config: Annotated[RunConfig, tyro.conf.arg(name="")]) -> None:
    """Train, then validate on files that the training never saw; what was done before in the workspace is used."""
    stage(config, "validate")
