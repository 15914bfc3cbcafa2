"""`superalign train`: the pipeline up to this stage, and what the stage measured."""

from __future__ import annotations

from typing import Annotated

import tyro

from superalign.cli.run import stage
from superalign.pipeline.config import RunConfig


def main(config: Annotated[RunConfig, tyro.conf.arg(name="")]) -> None:
    """Train alone: a weak model labels what it saw no truth of, a strong one learns; performance gap recovered."""
    stage(config, "train")
