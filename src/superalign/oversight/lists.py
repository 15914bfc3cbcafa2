"""Lists of claims, drawn and chosen: best of n by a reward, with a modifier for length (McAleese et al. 2407.00215).

reward, drawn = fit_reward(faulty, sound, planted)       # on items that it is not measured on
best_lists(scores, reward, modifiers, n=28, rng=rng)     # a modifier: which lines are claimed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from superalign.oversight.inclusion import Planted
from superalign.stats import StatsError
from superalign.stats.interval import Array

LIST = ("best", "mean", "worst", "claims", "share", "top")
"""What a reward sees of a list: its scores, how many claims and of how many lines, whether the first line is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListReward:
    """Log-odds that a list of claims includes the fault, from what the critic itself knows of the list."""

    weight: Array

    def of(self, scores: Array, lists: NDArray[np.bool_]) -> Array:
        """(lines,) scores and (m, lines) lists → (m,) log-odds."""
        return np.asarray(_list_features(scores, lists) @ self.weight)


def draw_lists(scores: Array, n: int, rng: np.random.Generator, *, spread: float = 0.5) -> NDArray[np.bool_]:
    """`n` lists of claims, (n, lines): scores disturbed by `spread` standard deviations, cut at a random length.

    Lines without a score are never claimed. The empty list is always the first of them: a critic may say nothing.
    """
    known = np.isfinite(scores)
    wide = spread * np.std(scores[known]) if known.any() else 0.0
    noisy = np.where(known, scores + wide * rng.normal(size=(n, len(scores))), -np.inf)
    longest = min(int(known.sum()), 8)
    lengths = np.r_[0, rng.integers(0, longest + 1, size=n - 1)]
    ranks = np.argsort(np.argsort(-noisy, axis=1, kind="stable"), axis=1)
    return np.asarray((ranks < lengths[:, None]) & known)


def _list_features(scores: Array, lists: NDArray[np.bool_]) -> Array:
    """(m, 1 + 6): one, then `LIST`, all but the first 0 for an empty list."""
    count = lists.sum(axis=1)
    said = np.where(lists, np.nan_to_num(scores), 0.0)
    some = np.maximum(count, 1)
    best = np.where(lists, scores, -np.inf).max(axis=1, initial=-np.inf)
    worst = np.where(lists, scores, np.inf).min(axis=1, initial=np.inf)
    top = lists[:, int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))].astype(float)
    rows = (best, said.sum(axis=1) / some, worst, count, count / len(scores), top)
    return np.stack([np.ones(len(lists)), *(np.where(count > 0, row, 0.0) for row in rows)], axis=1)


def fit_reward(
    faulty: Sequence[Array], sound: Sequence[Array], planted: Planted, *, lists: int = 8, seed: int = 0
) -> ListReward:
    """Fit a reward by logistic regression on `lists` random lists of every text: does the list include the fault?

    On sound texts no list does. A trace of ridge (0.001). Raises StatsError when no list includes a fault.
    """
    rng, x, y = np.random.default_rng([seed, 28]), [], []
    for i, texts in enumerate(zip(faulty, sound, strict=True)):
        for side, scores in enumerate(texts):
            drawn = draw_lists(scores, lists, rng)
            here = drawn[:, int(planted.first[i]) : int(planted.last[i]) + 1].any(axis=1)
            x.append(_list_features(scores, drawn))
            y.append(here * float(side == 0))
    rows, labels = np.concatenate(x), np.concatenate(y)
    if not labels.any():
        raise StatsError("no list includes a fault: nothing can be learnt of which lists do")

    def loss(weight: Array) -> tuple[float, Array]:
        o = rows @ weight
        value = (np.logaddexp(0, o) - labels * o).mean() + 1e-3 * (weight**2).sum()
        return float(value), rows.T @ (1 / (1 + np.exp(-o)) - labels) / len(o) + 2e-3 * weight

    return ListReward(weight=minimize(loss, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B").x)


def best_lists(
    scores: Array, reward: ListReward, modifiers: Array, *, n: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], Array]:
    """Of `n` drawn lists the one with the greatest reward + modifier × claims, for each modifier: (T, lines).

    Beside it the reward's own P(fault included) of each choice, (T,): what best-of-n promises, not what it holds.
    """
    drawn = draw_lists(scores, n, rng)
    worth = reward.of(scores, drawn)
    chosen = np.argmax(worth + np.outer(modifiers, drawn.sum(axis=1)), axis=1)
    return drawn[chosen], 1 / (1 + np.exp(-worth[chosen])) * drawn[chosen].any(axis=1)
