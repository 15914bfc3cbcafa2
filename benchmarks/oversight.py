"""What the engine itself costs: `python benchmarks/oversight.py [--json]`.

Plays of protocols by players that answer at once, so that all the time is the engine's: milliseconds of CPU an
episode-turn, medians of rounds; a turn is one belief of the judge. Beside it, what the judge's own model takes: the
texts of a debate read through the table, and the same texts in one bare call, tokens a second, alternating.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import numpy as np
import torch
from rich.console import Console

from superalign.models import load_model
from superalign.oversight import PROTOCOLS, Message, Quote, case_of, play
from superalign.oversight.judges import LikelihoodJudge
from superalign.oversight.judges.likelihood import PREFIX
from superalign.tasks import slips

ROUNDS, ITEMS = 5, 400


class Instant:
    """A calibration fixture: believes nothing, quotes the next piece, knows nothing."""

    def beliefs(self, views: Any) -> np.ndarray:
        return np.full((len(views), 2), 0.5)

    def knows(self, cases: Any) -> np.ndarray:
        return np.full((len(cases), 2), 0.5)

    def moves(self, positions: Any) -> list[Message]:
        out = []
        for p in positions:
            piece = sum(len(m.quotes) for m in p.view.messages) % len(p.case.pieces)
            out.append(Message(speaker="", quotes=(Quote(piece, p.case.pieces[piece].texts),)))
        return out

    def holds(self, case: Any, charge: Any) -> bool:
        return False


def overhead() -> dict[str, float]:
    """Protocol → milliseconds of CPU an episode-turn."""
    cases = [case_of(item) for item in slips(split="dev", view="pair", n=ITEMS).items]
    everybody = dict.fromkeys(
        ("judge", "referee", "adviser", "a", "b", "critic", "second critic", "adversary", "prover", "estimator"),
        Instant(),
    )
    out = {}
    for name, protocol in PROTOCOLS.items():
        if name == "bisection":
            continue
        times = []
        for _ in range(ROUNDS):
            began = time.process_time()
            episodes = list(play(protocol, cases, everybody))
            turns = sum(max(1, len(e.beliefs)) for e in episodes)
            times.append(1000 * (time.process_time() - began) / turns)
        out[name] = statistics.median(times)
    return out


def throughput() -> dict[str, float]:
    """Tokens a second of the judge's model: through the table (a debate's first beliefs), and bare."""
    model = load_model("family:m")
    cases = [case_of(item) for item in slips(split="dev", view="pair", n=ITEMS).items]
    through, bare = [], []
    for _ in range(ROUNDS):
        judge = LikelihoodJudge(model=model, name="m")
        players = dict.fromkeys(("adviser", "a", "b"), Instant()) | {"judge": judge}
        began = time.process_time()
        list(play(PROTOCOLS["oracle"], cases, players))
        spent = time.process_time() - began
        tokens = sum(len(text.split()) for text in judge.remembered)
        through.append(tokens / spent)
        texts = [PREFIX + text for text in judge.remembered]
        began = time.process_time()
        model.logprobs(texts)
        bare.append(tokens / (time.process_time() - began))
    mine, best = statistics.median(through), statistics.median(bare)
    return {"through the table": mine, "bare": best, "ratio": mine / best}


def main() -> None:
    """Measure, then print a table or one JSON object."""
    torch.set_num_threads(1)
    costs, speed = overhead(), throughput()
    if "--json" in sys.argv:
        print(json.dumps({"ms_a_turn": costs, "tokens_a_second": speed}))
        return
    console = Console()
    for name, value in sorted(costs.items(), key=lambda pair: pair[1]):
        console.print(f"{name:28} {value:.3f} ms an episode-turn")
    console.print(", ".join(f"{name} {value:,.3g}" for name, value in speed.items()))


if __name__ == "__main__":
    main()
