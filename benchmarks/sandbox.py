"""CPU and wall time of the sandbox over bare Python: `python benchmarks/sandbox.py [--json]`.

One-shot: a start for each program (`python -I -S -c pass`); fork and batch: one start for all of them. CPU is this
process's, its children's, and inside what the start's control group counted, where one could be made (without, CPU that
the namespace's first process reaped is not seen). Bare and sandboxed alternate in one run; medians of all rounds.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from superalign.sandbox import Isolation, Limits, Program, play, run, standing, start
from superalign.sandbox.cgroups import Groups, groups

ROUNDS, SHOTS, PROGRAMS = 7, 20, 300
ONE = Program(source="def f(x):\n    return sorted([x, 3, 1])[0] * 2", call="f", arguments=((2,),))


COUNTED = [0.0]
"""CPU seconds that control groups counted so far."""


@contextmanager
def counting(limits: Limits) -> Iterator[Groups]:
    """The sandbox's own groups, read once more at the end."""
    with groups(limits) as made:
        yield made
        COUNTED[0] += made.cpu() or 0.0


def spent(work: Callable[[], object], grouped: bool) -> tuple[float, float]:
    """CPU and wall milliseconds of the work and its children, by their control group where they are in one."""

    def cpu() -> float:
        who = (resource.RUSAGE_SELF,) if grouped else (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return COUNTED[0] + sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, who))

    before, began = cpu(), time.perf_counter()
    work()
    return 1e3 * (cpu() - before), 1e3 * (time.perf_counter() - began)


def bare_shots() -> None:
    """As many bare starts."""
    for _ in range(SHOTS):
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)


def bare_calls() -> None:
    """The same programs, compiled and called in a bare process."""
    script = f"for _ in range({PROGRAMS}):\n    s = {{}}; exec({ONE.source!r}, s); s['f'](2)"
    subprocess.run([sys.executable, "-I", "-S", "-c", script], check=True)


def main() -> None:
    """Run all and print, per program, milliseconds over bare."""
    start.groups = counting  # type: ignore[attr-defined]
    with groups(Limits()) as made:
        counted = made.cpu() is not None
    result: dict[str, dict[str, float]] = {}
    for layer in [layer for layer in standing() if isinstance(layer, Isolation)]:

        def shots(layer: Isolation = layer) -> None:
            for _ in range(SHOTS):
                run([sys.executable, "-I", "-S", "-c", "pass"], isolation=layer)

        def forks(layer: Isolation = layer) -> None:
            list(play([ONE] * PROGRAMS, isolation=layer))

        def batches(layer: Isolation = layer) -> None:
            list(play([ONE] * PROGRAMS, mode="batch", trusted=True, isolation=layer, limits=Limits(wall=60, cpu=30)))

        works = {
            "bare start": (bare_shots, SHOTS),
            "one-shot": (shots, SHOTS),
            "bare call": (bare_calls, PROGRAMS),
            "fork": (forks, PROGRAMS),
            "batch": (batches, PROGRAMS),
        }
        rounds = [
            {name: spent(work, counted and "bare" not in name) for name, (work, _) in works.items()}
            for _ in range(ROUNDS)
        ]
        for name, (_, count) in works.items():
            for i, what in enumerate(("cpu_ms", "wall_ms")):
                value = statistics.median(r[name][i] for r in rounds) / count
                result.setdefault(f"{layer.name}: {name}", {})[what] = value
    if "--json" in sys.argv:
        print(json.dumps(result))
        return
    for name, row in result.items():
        print(f"{name:24} CPU {row['cpu_ms']:8.3f} ms   wall {row['wall_ms']:8.3f} ms")


if __name__ == "__main__":
    main()
