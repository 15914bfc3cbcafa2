"""Tokens per second of `LocalModel.logprobs` against a bare, perfectly packed forward pass, in one run.

    python benchmarks/logprobs.py [family:m]

Prints the ratio of medians over alternating rounds; the texts differ in length, so that bucketing is exercised.
"""

from __future__ import annotations

import statistics
import sys
import time
from functools import partial

import numpy as np
import torch

from superalign.models import load_model, token_logprobs
from superalign.tasks.slips import draw

ROUNDS, TEXTS = 7, 600
BARE = (1_024, 2_048, 4_096, 8_192, 16_384)
"""Tokens a batch of the bare baseline: the best of them is the one to beat."""


def main(address: str = "family:m") -> None:
    """Alternate ours and bare, one thread, and print both rates and their ratio."""
    torch.set_num_threads(1)
    model, rng = load_model(address), np.random.default_rng(0)
    texts = [" ".join(s.sound[: int(rng.integers(12, 49))]) for s in draw("dev")[:TEXTS]]
    ids = model.encode(texts)
    total = sum(map(len, ids))
    width = 48
    packed = torch.tensor([t for row in ids for t in row][: total // width * width]).view(-1, width)

    def bare(rows: int) -> None:
        with torch.inference_mode():
            for at in range(0, len(packed), rows):
                batch = packed[at : at + rows]
                token_logprobs(model.network(input_ids=batch).logits, batch)

    work = {"ours": (lambda: model.logprobs(texts), total)}
    for tokens in BARE:
        work[f"bare, batches of {tokens:,} tokens"] = (partial(bare, tokens // width), packed.numel())
    rates: dict[str, list[float]] = {name: [] for name in work}
    for round_number in range(ROUNDS + 1):
        for name, (go, count) in work.items():
            began = time.perf_counter()
            go()
            if round_number:
                rates[name].append(count / (time.perf_counter() - began))
    middle = {name: statistics.median(found) for name, found in rates.items()}
    for name, rate in middle.items():
        print(f"{rate:10,.0f} tokens/s  {name}")
    ours = middle.pop("ours")
    print(f"ratio of ours to the best bare: {ours / max(middle.values()):.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
