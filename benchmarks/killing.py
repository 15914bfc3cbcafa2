"""Killed at random moments, a run loses nothing: `python benchmarks/killing.py [KILLS] [--json]`.

A tiny run is started, killed with SIGKILL after a random time, and started again, until KILLS (200) kills are done and
the last run has finished. After every kill the ledger must verify to V1 and still hold every event that it held before;
every finished run must hold the measurements, to the last bit, of one that was never stopped.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from superalign.evidence import Workspace, verify
from superalign.models import load_model
from superalign.pipeline import RunConfig, sizes
from superalign.pipeline import run as run_module
from superalign.pipeline.desk import Desk
from superalign.pipeline.pages import drawn
from superalign.pipeline.run import run
from superalign.tasks.slips import draw

TINY = dataclasses.replace(
    sizes("quick"),
    seeds=1,
    train_pairs=200,
    half_a=60,
    half_b=80,
    test_pairs=160,
    checks=15,
    dev_pairs=60,
    validation_pairs=80,
    install_pairs=40,
    install_on=30,
    install_near=10,
    audit_pairs=30,
    audit_sweep=10,
    kinds=("trigger",),
    organism_seeds=1,
    steps=8,
    trace_pairs=10,
    mutant_pairs=20,
    once_pairs=60,
    gallery=2,
    draws=100,
)


def played(workspace: Path) -> int:
    """A child process that runs the pipeline in that workspace; its process id."""
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - the child's own, until it ends
        try:
            run(RunConfig(workspace=workspace, preset="quick", model="family:s", workers=1))
        except BaseException:  # noqa: BLE001 - whatever it is, the parent sees the status
            os._exit(1)
        os._exit(0)
    return child


def warm() -> None:
    """Draw the items once, here: children start with them, and are killed in what they do, not in what they load."""
    for split in ("train", "dev", "validation", "test"):
        draw(split)
    for size in ("xs", "s"):
        load_model(f"family:{size}")
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder), create=True) as ws:
        desk = Desk(ws=ws, config=RunConfig(workspace=Path(folder)), sizes=TINY, say=lambda text: None)
        drawn(desk)


def measurements(workspace: Path) -> list[tuple[str, object, object, object]]:
    """Name, value and interval of everything measured."""
    with Workspace.open(workspace, create=False, write=False) as ws:
        bodies = [e.body for e in ws.ledger.events("measurement")]
    return [(b["name"], b["value"], b["low"], b["high"]) for b in bodies]


def digests(workspace: Path) -> list[str]:
    """The digests of all events, as the auditor's checkpoint would hold them."""
    if not (workspace / "ledger.sqlite").is_file():
        return []
    report = verify(workspace, keep=True)
    if not report.ok and report.events:
        raise AssertionError(f"after a kill: {report.findings[:3]}")
    return list(report.seen.contents) if report.seen else []


def main() -> None:
    """Kill, check, go on; then print."""
    kills = next((int(word) for word in sys.argv[1:] if word.isdigit()), 200)
    dice, console = random.Random(0), Console(stderr=True)
    run_module.sizes = lambda preset: TINY
    began, done, finished, moments = time.monotonic(), 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"SUPERALIGN_KEYS": f"{folder}/keys", "SUPERALIGN_CACHE": f"{folder}/cache"}
        warm()
        began = time.monotonic()
        whole = Path(folder) / "whole"
        if os.waitpid(played(whole), 0)[1]:
            raise SystemExit("the run that is never stopped failed")
        took, expected = time.monotonic() - began, measurements(whole)
        console.print(f"never stopped: {took:.0f} s, {len(expected)} measurements")
        while done < kills:
            os.environ["SUPERALIGN_CACHE"] = f"{folder}/cache{finished}"
            workspace, seen = Path(folder) / f"ws{finished}", []
            while True:
                child = played(workspace)
                delay = dice.uniform(0.05, took) if done < kills else 600.0
                end = time.monotonic() + delay
                while time.monotonic() < end and not (ended := os.waitpid(child, os.WNOHANG))[0]:
                    time.sleep(0.005)
                if not ended[0]:
                    os.kill(child, signal.SIGKILL)
                    ended = os.waitpid(child, 0)
                now = digests(workspace)
                if now[: len(seen)] != seen:
                    raise AssertionError(f"events were lost after kill {done}")
                if os.WIFSIGNALED(ended[1]):
                    done, seen = done + 1, now
                    moments.append(len(now))
                    continue
                if ended[1]:
                    raise AssertionError(f"run {finished} failed after kill {done}")
                break
            if measurements(workspace) != expected:
                raise AssertionError(f"run {finished} measured something else than one never stopped")
            finished += 1
            console.print(f"{done} kills, {finished} runs finished alike ({time.monotonic() - began:.0f} s)")
    result = {"kills": done, "runs": finished, "moments": len(set(moments)), "measurements": len(expected)}
    print(json.dumps(result) if "--json" in sys.argv else "  ".join(f"{k} {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
