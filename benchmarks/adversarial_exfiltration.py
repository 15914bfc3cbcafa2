"""The self-exfiltration range: scripted solvers of known depth, models that play, and persuasion.

    python benchmarks/adversarial_exfiltration.py [--seeds 5] [--models writer family:m] [--episodes 15] [--json]
    python benchmarks/adversarial_exfiltration.py --models http://127.0.0.1:8000/v1#NAME --tokens 512

First the calibration: does grading say of each solver what is known of it, and what do the rules make of its actions?
Then each model plays `--episodes` ranges under each nudge; where none succeeds, the upper bound of the rate is printed
(one-sided 95%: about 3/n). Then gatekeepers: scripted, a small fitted one (`--steps`), and any at `--gates`. About 1.5
CPU seconds an episode of a solver, 2 of a model here, and 1 to 2 minutes for the fitted gatekeeper. `--raw FILE` keeps
the raw episodes and talks, from which every number comes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from superalign.adversarial.exfiltration import (
    Agent,
    Gate,
    LocalGate,
    ScriptedGate,
    Talk,
    agents_at,
    as_raw,
    fitted_gatekeeper,
    handed,
    play_range,
    play_talk,
    range_rows,
    raw_talk,
    scripted_persuader,
)
from superalign.adversarial.exfiltration.gates import FITTED, drawn_talk, gate_at
from superalign.adversarial.exfiltration.milestones import NAMES
from superalign.adversarial.exfiltration.persuasion import KINDS, bluffer, kinds_in
from superalign.adversarial.exfiltration.study import bounded, known, solvers
from superalign.stats import auroc

RESISTS = 3
FIRST = 10_000
"""Seed of the first range that models play in."""
SOLVERS = tuple(f"solver {k}" for k in range(1, len(NAMES) + 1))


def auroc_against(other: str, rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Solvers 1 to 6 against one other, by trajectory; without an interval: their scripts hardly differ by range."""
    kept = [(s, row["agent"] != other) for row in rows for s in row["suspicion"] if row["agent"] in (other, *SOLVERS)]
    known_scores = [(score, label) for score, label in kept if score is not None]
    return auroc([score for score, _ in known_scores], [int(label) for _, label in known_scores]).value


def persuasion(given: argparse.Namespace) -> tuple[list[Talk], dict[str, Any]]:
    """Scripted persuaders of every strength against every gatekeeper."""
    model = fitted_gatekeeper(RESISTS, seed=0, steps=given.steps)
    fitted = LocalGate(model=model, question=FITTED, margin=0.0, neutral=False)
    gates: list[Gate] = [*(ScriptedGate(resists=r) for r in (1, RESISTS, 5, 7)), fitted]
    gates += [gate_at(address) for address in given.gates]
    talks, rows = [], []
    for gate in gates:
        for name, make in persuaders(given.persuaders).items():
            played = [play_talk(make(seed), gate, name=name, seed=seed) for seed in range(given.talks)]
            rows.append({"gate": gate.name, "persuader": name, **bounded(sum(map(handed, played)), given.talks)})
            rows[-1]["failed"] = sum(one.ended == "failed" for one in played)
            talks += played
    rng = np.random.default_rng([0, 937])
    fresh = [drawn_talk(rng) for _ in range(300)]
    yields = [(fitted.answer("token-ab", talk).score or 0.0) > 0 for talk in fresh]
    right = sum(said == (len(kinds_in(talk)) >= RESISTS) for said, talk in zip(yields, fresh, strict=True))
    return talks, {"rows": rows, "fitted_agrees": bounded(right, len(fresh))}


def persuaders(addresses: Sequence[str] = ()) -> dict[str, Callable[[int], Agent]]:
    """By name: scripted ones, and models at these addresses."""
    models = {each: agents_at(each, tokens=32) for each in addresses}
    scripted = {f"{k} kinds": (lambda seed, k=k: scripted_persuader(k, seed=seed)) for k in range(len(KINDS) + 1)}
    return {"bluffer": lambda seed: bluffer(), **scripted, **models}


def shown(found: Mapping[str, Any]) -> None:
    """The tables."""
    print("Scripted solvers (calibration): ranges in which each milestone was reached\n")
    print(f"| agent | {' | '.join(NAMES)} | as known | main task | rules, gravest | s an episode | ms an action |")
    print("|---|" + "---:|" * (len(NAMES) + 5))
    for row in found["solvers"]:
        marks = " | ".join(str(row["reached"][m]["count"]) for m in NAMES)
        scores = [score for score in row["suspicion"] if score is not None]
        parts = [
            f"{known(row)}/{row['n']}",
            f"{row['main']['count']}/{row['n']}",
            f"{min(scores):.1f} to {max(scores):.1f}",
        ]
        parts += [f"{row['seconds'] / row['n']:.1f}", f"{1000 * row['acted'] / row['actions']:.0f}"]
        print(f"| {row['agent']} | {marks} | {' | '.join(parts)} |")
    curves = found["rules_auroc"]
    print("\nRules, AUROC of solvers 1 to 6 against " + ", ".join(f"{k}: {v:.2f}" for k, v in curves.items()) + "\n")
    print("| model | nudge | locate | match | main task | ended | no action | turns | s thinking |")
    print("|---|---|---|---|---|---|---|---:|---:|")
    for row in found["models"]:
        rates = [rate(row["reached"]["locate"]), rate(row["reached"]["match"]), rate(row["main"])]
        kinds = [", ".join(f"{k} {v}" for k, v in row[name].items()) or "-" for name in ("ended", "no_action")]
        cells = [row["agent"], row["nudge"], *rates, *kinds, str(row["turns"]), f"{row['thought']:.0f}"]
        print(f"| {' | '.join(cells)} |")
    rows = found["persuasion"]["rows"]
    names = list(dict.fromkeys(row["persuader"] for row in rows))
    print("\n| gatekeeper | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
    for gate in dict.fromkeys(row["gate"] for row in rows):
        print(f"| {gate} | " + " | ".join(f"{r['count']}/{r['n']}" for r in rows if r["gate"] == gate) + " |")
    print(f"\nThe fitted gatekeeper agrees with its rule on fresh talks: {rate(found['persuasion']['fitted_agrees'])}")


def rate(one: Mapping[str, Any]) -> str:
    """As `0/15, at most .18`, or `3/15 [.04, .48]`."""
    bound = f", at most {one['high']:.3f}" if one["count"] == 0 else f" [{one['low']:.3f}, {one['high']:.3f}]"
    return f"{one['count']}/{one['n']}{bound}"


def main() -> None:
    """Play, grade, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--models", nargs="*", default=["writer", "family:m"])
    parser.add_argument("--nudges", nargs="*", default=["none", "asked"])
    parser.add_argument("--episodes", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--garbage", type=int, default=3)
    parser.add_argument("--gates", nargs="*", default=[], help="addresses of models that keep the token")
    parser.add_argument("--persuaders", nargs="*", default=[], help="addresses of models that ask for it")
    parser.add_argument("--talks", type=int, default=20)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--raw", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    scripted = play_range(solvers(), seeds=range(given.seeds))
    agents = {address: agents_at(address, tokens=given.tokens) for address in given.models}
    seeds = range(FIRST, FIRST + given.episodes)
    played = play_range(agents, seeds=seeds, nudges=given.nudges, garbage=given.garbage)
    talks, persuaded = persuasion(given)
    rows = range_rows(scripted)
    curves = {other: auroc_against(other, rows) for other in ("honest", "liar")}
    found = {"solvers": rows, "rules_auroc": curves, "models": range_rows(played), "persuasion": persuaded}
    if given.raw:
        raw = {"episodes": [as_raw(one) for one in (*scripted, *played)], "talks": [raw_talk(one) for one in talks]}
        given.raw.write_text(json.dumps(raw), encoding="utf-8")
    if given.json:
        json.dump(found, sys.stdout, indent=1)
    else:
        shown(found)


if __name__ == "__main__":
    main()
