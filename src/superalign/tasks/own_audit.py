"""The blind-tell audit of your own data: what is reached by whoever never reads the question.

Attackers, each a conditional logit (McFadden 1974) fitted on half of the clusters, tried on the other half, both ways:

- `metadata`: an option's place, lengths, which option is longest; where all rows have the same options, also bits of
  the id and the lengths of the texts, crossed with the option;
- `answers` (options of a row's own, and preferences): also the words of the options, never those of question or
  passage. Of preferences this is less than a flaw: which of two answers is better can often be seen from them alone. It
  is what a judge has to beat before the question is worth asking.

Chance is the share of the commonest label where rows share their options, else one in so many. An attacker fails the
data when it comes more than five points, or two standard errors where they are more, above chance. A page of mutants is
audited by `superalign.tasks.audit`, which sees the edit.

    for told in blind(items, truths): print(told.attacker, told.accuracy, told.limit, told.passed)
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from superalign.tasks.audit import MARGIN, AuditResult
from superalign.tasks.item import Item, Page

MOST = 8000
"""Options that are looked at: those of the first items."""
_HASHES, _WORDS = 1024, 64
"""Columns that features are hashed to; words of an option that are read."""
_STEPS, _RIDGE = 150, 1.0


def blind_page(page: Page, *, seed: int = 0) -> tuple[AuditResult, ...]:
    """`blind` of a page. Raises ValueError where all items share one cluster."""
    return blind(page.items, page.truths, split=page.split, seed=seed)


def blind(
    items: Sequence[Item], truths: Mapping[str, Mapping[str, Any]], *, split: str = "all", seed: int = 0
) -> tuple[AuditResult, ...]:
    """One result an attacker; reads truths, so evaluator only. Raises ValueError for fewer than two clusters.

    Example: `all(result.passed for result in blind(page.items, page.truths))`
    """
    items = items[: MOST // max(len(item.options) for item in items)]
    answers = np.array([truths[item.id]["answer"] for item in items])
    halves = _halves(items, seed)
    same = len({item.options for item in items}) == 1 and not _has_sides(items[0])
    chance = _chance(items, answers, same)
    found = []
    for attacker in ("metadata",) if same else ("metadata", "answers"):
        rows = [_features(item, same=same, words=attacker == "answers") for item in items]
        accuracy = _accuracy(rows, answers, halves)
        slack = max(MARGIN, 2 * float(np.sqrt(chance * (1 - chance) / len(items))))
        found.append(
            AuditResult(
                task=items[0].task,
                split=split,
                attacker=attacker,
                accuracy=accuracy,
                n=len(items),
                limit=chance + slack,
                passed=accuracy <= chance + slack,
            )
        )
    return tuple(found)


def _has_sides(item: Item) -> bool:
    return set(item.options) <= set(item.input)


def _chance(items: Sequence[Item], answers: np.ndarray, same: bool) -> float:
    if same:
        return max(Counter(answers.tolist()).values()) / len(items)
    return float(np.mean([1 / len(item.options) for item in items]))


def _halves(items: Sequence[Item], seed: int) -> np.ndarray:
    """(n,) bool: two halves that share no cluster, larger clusters dealt first, each to the smaller half."""
    sizes = Counter(item.cluster for item in items)
    if len(sizes) < 2:
        raise ValueError(f"the audit needs two clusters, to fit on one and attack the other: got {len(sizes)}")
    names = sorted(sizes)
    order = [names[i] for i in np.random.default_rng([seed, 71]).permutation(len(names))]
    held, taken = {False: 0, True: 0}, {}
    for name in sorted(order, key=lambda name: -sizes[name]):
        side = held[True] < held[False]
        taken[name], held[side] = side, held[side] + sizes[name]
    return np.array([taken[item.cluster] for item in items])


def _features(item: Item, *, same: bool, words: bool) -> list[dict[str, float]]:
    """What the attacker sees of each option."""
    texts = [item.input.get(option, option) for option in item.options]
    lengths = [len(text.split()) for text in texts]
    signs = [len(text) for text in texts]
    rows = []
    for at, text in enumerate(texts):
        row = {
            f"place {at} of {len(texts)}": 1.0,
            "longest": float(lengths[at] == max(lengths)),
            "shortest": float(lengths[at] == min(lengths)),
            "most signs": float(signs[at] == max(signs)),
            "longer": float(np.log1p(lengths[at]) - np.mean(np.log1p(lengths))),
        }
        shown = _shown(item) if same else {}
        row |= {f"{name} for {at}": value for name, value in shown.items()}
        if words:
            row |= {f"word {word}": 1.0 for word in text.casefold().split()[:_WORDS]}
        rows.append(row)
    return rows


def _shown(item: Item) -> dict[str, float]:
    """What is known of a whole item unread: bits of its id, and how long its texts are."""
    bits = f"{int(item.id, 16):064b}"
    told = {f"id {i}": 1.0 if bit == "1" else -1.0 for i, bit in enumerate(bits[:16])}
    for name, text in item.input.items():
        told[f"length {name}"] = float(np.log1p(len(text.split())))
        told[f"lines {name}"] = float(np.log1p(text.count("\n")))
    return told


def _accuracy(rows: list[list[dict[str, float]]], answers: np.ndarray, halves: np.ndarray) -> float:
    """Share of right answers, each half attacked with what the other taught; a tie counts its share."""
    widest = max(map(len, rows))
    cells = np.zeros((len(rows), widest, _HASHES), dtype=np.float32)
    there = np.zeros((len(rows), widest), dtype=bool)
    for i, row in enumerate(rows):
        there[i, : len(row)] = True
        for at, features in enumerate(row):
            for name, value in features.items():
                cells[i, at, zlib.crc32(name.encode()) % _HASHES] += value
    right = 0.0
    for side in (False, True):
        fit, tried = halves == side, halves != side
        scores = np.where(there[tried], cells[tried] @ _fitted(cells[fit], there[fit], answers[fit]), -np.inf)
        best = scores >= scores.max(1, keepdims=True) - 1e-9
        right += float((best[np.arange(len(best)), answers[tried]] / best.sum(1)).sum())
    return right / len(rows)


def _fitted(cells: np.ndarray, there: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """(d,) weights of a conditional logit, by steps under a bound on its curvature."""
    centred = np.where(there[..., None], cells - cells.sum(1, keepdims=True) / there.sum(1)[:, None, None], 0)
    most = np.abs(centred).max(1)
    bound = (most * most.sum(1, keepdims=True)).sum(0) + _RIDGE
    weights = ahead = np.zeros(cells.shape[2], dtype=np.float32)
    at = np.arange(len(cells))
    for step in range(_STEPS):  # accelerated as in Nesterov 1983
        scores = np.where(there, centred @ ahead, -np.inf)
        likely = np.exp(scores - scores.max(1, keepdims=True))
        likely /= likely.sum(1, keepdims=True)
        likely[at, answers] -= 1
        last, weights = weights, ahead - (np.einsum("nk,nkd->d", likely, centred) + _RIDGE * ahead) / bound
        ahead = weights + step / (step + 3) * (weights - last)
    return weights
