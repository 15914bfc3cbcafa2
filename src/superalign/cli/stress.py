"""`superalign stress`: the pipeline up to this stage, and what the stage measured."""

from __future__ import annotations

from typing import Annotated

import tyro

from superalign.cli.run import stage
from superalign.pipeline.config import RunConfig


def main(config: Annotated[RunConfig, tyro.conf.arg(name="")]) -> None:
    """Train and validate, then audit organisms, twins and subject blind; what was done before is used."""
    stage(config, "stress")
