"""How a reader judge is trained: on lines of fresh passages of the train split, drawn in every way that a game may.

    judge = train_reader(size="xs")                  # a judge: shown few lines
    knower = train_reader(size="m")                  # an adviser's own reading: mostly all that concerns the question

What is right is the truth of the whole passage, whatever was shown of it: a judge that is shown a lure alone is misled,
unless it has learned how lures look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from superalign.engine.threads import one_thread
from superalign.oversight.judges.reader import (
    SHAPES,
    STRIDE,
    Read,
    ReaderJudge,
    Shape,
    connected,
    forward,
    frozen,
    joined,
    lexed,
    padded,
    shapes,
)
from superalign.tasks import rules

BATCH, WARM, DECAY = 128, 200, 0.01
PAGE, DRAWS = 2048, 4
"""Questions that are generated at once, and how often each is used, shown other lines every time."""
Progress = Callable[[int, int], None]
WAYS = ("chain", "chain but one", "lure", "lure and reply", "random", "all that concerns it", "some of it", "one-sided")


class Diet(NamedTuple):
    """How a size is trained: steps, peak rate, and the share of each of WAYS."""

    steps: int
    rate: float
    shares: tuple[float, ...]


DIETS = {
    "xs": Diet(1000, 3e-3, (0.16, 0.06, 0.1, 0.16, 0.06, 0.1, 0.16, 0.2)),
    "m": Diet(600, 1.5e-3, (0.06, 0.03, 0.03, 0.06, 0.02, 0.8, 0.0, 0.0)),
}


def train_reader(
    *,
    size: Literal["xs", "m"] = "xs",
    facts: int = 40,
    depth: int = 3,
    quotes: int = 6,
    seed: int = 0,
    steps: int | None = None,
    progress: Progress | None = None,
) -> ReaderJudge:
    """A reader fitted to the train split of rules, shown up to `quotes` lines of a passage or those that concern it.

    `steps` is the size's own where not given; `progress` hears (steps done, steps in all). The same seed gives the same
    bits on one machine with one torch. Raises ValueError for another size, no steps or quotes, or what `rules` refuses.
    """
    if size not in SHAPES:
        raise ValueError(f"readers come in {', '.join(SHAPES)}: there is no size {size!r}")
    diet = DIETS[size]
    steps = diet.steps if steps is None else steps
    if min(quotes, steps) < 1:
        raise ValueError(f"{quotes} quotes, {steps} steps: each is at least 1")
    import torch

    rng = np.random.default_rng([seed, 43])
    parts = {name: torch.from_numpy(array).requires_grad_() for name, array in _start(SHAPES[size], rng).items()}
    optimiser = torch.optim.AdamW(parts.values(), lr=diet.rate, betas=(0.9, 0.98), weight_decay=DECAY)
    batches = _batches(rng, diet.shares, facts=facts, depth=depth, quotes=quotes, seed=seed)
    warm = min(WARM, max(1, steps // 3))
    with one_thread():
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = diet.rate * min(1.0, (step + 1) / warm) * (1 - step / steps)
            reads, answers = next(batches)
            length = -(-max(len(one.codes) for one in reads) // STRIDE) * STRIDE
            batch = padded(reads, length, len(reads))
            logits = forward(parts, SHAPES[size], *map(torch.from_numpy, batch))
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(answers))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parts.values(), 1.0)
            optimiser.step()
            if progress:
                progress(step + 1, steps)
    weights = frozen({name: part.detach().numpy() for name, part in parts.items()})
    return ReaderJudge(weights=weights, size=size, facts=facts, depth=depth, quotes=quotes, seed=seed, steps=steps)


def _start(size: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    found = {}
    for name, shape in shapes(size).items():
        if name.endswith("norm"):
            start = np.ones(shape)
        elif name.endswith("bias"):
            start = np.zeros(shape)
        elif name == "words":
            start = rng.standard_normal(shape)
        else:
            start = rng.standard_normal(shape) / shape[0] ** 0.5
            start *= 1 / size.layers**0.5 if name.endswith("out") else 1.0
        found[name] = start.astype(np.float32)
    return found


def _batches(
    rng: np.random.Generator, shares: tuple[float, ...], *, facts: int, depth: int, quotes: int, seed: int
) -> Iterator[tuple[list[Read], np.ndarray]]:
    """Batches without end, each of texts of about one length."""
    page = 0
    while True:
        source = rules(split="train", n=PAGE, facts=facts, depth=depth, seed=1_000_003 * seed + page)
        page += 1
        drawn: list[tuple[Read, int]] = []
        for item in source.items:
            lines, question = item.input["passage"].splitlines(), item.input["question"]
            truth = source.truths[item.id]
            near = connected(lines, question)
            concern = [i for i, line in enumerate(lines) if line in near]
            sides = rules_by_side(lines, question)
            words, asked = [lexed(line) for line in lines], lexed(question, question=True)
            for _ in range(DRAWS):
                chosen = lines_shown(
                    WAYS[rng.choice(len(WAYS), p=shares)], truth, concern, sides, len(lines), quotes, rng
                )
                drawn.append((joined([asked, *(words[i] for i in chosen)]), truth["answer"]))
        order = sorted(rng.permutation(len(drawn)).tolist(), key=lambda i: len(drawn[i][0].codes))
        cuts = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
        for i in rng.permutation(len(cuts)):
            yield [drawn[k][0] for k in cuts[i]], np.array([drawn[k][1] for k in cuts[i]])


def rules_by_side(lines: list[str], question: str) -> tuple[list[int], list[int]]:
    """Places of the rules that speak for no and for yes, whomever they are about."""
    topic = question.split()[-2]
    spoken = [line.split()[-3:-1] for line in lines]
    against = [i for i, words in enumerate(spoken) if words == ["not", topic]]
    return against, [i for i, words in enumerate(spoken) if words[-1] == topic and i not in against]


def lines_shown(
    way: str,
    truth: Mapping[str, Any],
    concern: list[int],
    sides: tuple[list[int], list[int]],
    lines: int,
    quotes: int,
    rng: np.random.Generator,
) -> list[int]:
    """Places of the lines that are shown in one of the WAYS, with others at random up to a number that is drawn."""
    chain, lures = truth["chain"], truth["lures"]
    lure = lures[int(rng.integers(len(lures)))]
    if way == "all that concerns it":
        return concern
    if way == "lure and reply":
        return sorted({*chain, *lure})
    if way == "some of it":
        return sorted(rng.permutation(concern)[: int(rng.integers(quotes + 1))].tolist())
    core = {"chain": chain, "chain but one": rng.permutation(chain)[1:].tolist(), "lure": lure}.get(way, [])
    if way == "one-sided":
        core = rng.permutation(sides[int(rng.integers(2))])[: int(rng.integers(1, 4))].tolist()
    wanted = int(rng.integers(quotes + 1))
    if way != "random":
        wanted = max(wanted, min(len(core), quotes))
    rest = [i for i in rng.permutation(lines).tolist() if i not in core]
    return sorted([*rng.permutation(core).tolist(), *rest][:wanted])
