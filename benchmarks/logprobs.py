"""Tokens per second of `LocalModel.logprobs` against a bare, perfectly packed forward pass, in one run.

    python benchmarks/logprobs.py [family:m]

Prints the ratio of medians over alternating rounds; the texts differ in length, so that bucketing is exercised.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np
import torch

from superalign.models import load_model, token_logprobs
from superalign.tasks.slips import draw

ROUNDS, TEXTS = 7, 600


def main(address: str = "family:m") -> None:
    """Alternate ours and bare, one thread, and print both rates and their ratio."""
    torch.set_num_threads(1)
    model, rng = load_model(address), np.random.default_rng(0)
    texts = [" ".join(s.sound[: int(rng.integers(12, 49))]) for s in draw("dev")[:TEXTS]]
    ids = model.encode(texts)
    total = sum(map(len, ids))
    width = 48
    packed = torch.tensor([t for row in ids for t in row][: total // width * width]).view(-1, width)

    def bare() -> None:
        with torch.inference_mode():
            for at in range(0, len(packed), 8192 // width):
                batch = packed[at : at + 8192 // width]
                token_logprobs(model.network(input_ids=batch).logits, batch)

    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    for round_number in range(ROUNDS + 1):
        for name, work, count in (("ours", lambda: model.logprobs(texts), total), ("bare", bare, packed.numel())):
            began = time.perf_counter()
            work()
            if round_number:
                rates[name].append(count / (time.perf_counter() - began))
    ours, plain = (statistics.median(rates[name]) for name in ("ours", "bare"))
    print(f"ours {ours:,.0f} tokens/s, bare {plain:,.0f} tokens/s, ratio {ours / plain:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
