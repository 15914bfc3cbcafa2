"""The command line with a tiny preset, for tests that stop it in the middle: `python tiny_cli.py run …`."""

import dataclasses
import sys

from superalign.cli import main
from superalign.cli import run as cli_run
from superalign.pipeline import run as pipeline_run
from superalign.pipeline.config import sizes

TINY = dataclasses.replace(
    sizes("quick"),
    seeds=2,
    train_pairs=200,
    half_a=60,
    half_b=80,
    test_pairs=160,
    checks=15,
    dev_pairs=60,
    validation_pairs=80,
    install_pairs=40,
    audit_pairs=30,
    audit_sweep=10,
    kinds=("trigger", "sandbag"),
    steps=8,
    trace_pairs=10,
    mutant_pairs=20,
    once_pairs=60,
    gallery=2,
    draws=100,
)

if __name__ == "__main__":
    pipeline_run.sizes = cli_run.sizes = lambda preset: TINY
    main(sys.argv[1:])
