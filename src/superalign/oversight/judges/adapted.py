"""A judge adapted to a protocol: refitted on that protocol's own transcripts, so that it knows how it is played.

The base judge's log-odds after everything, after each seat alone and after the first turn, who argues for what, what is
charged, checked and claimed to be believed; all of it odd in the options, so that swapping them swaps the belief; then
logistic regression (ridge, no intercept). What looks like a protocol's advantage may be a judge's naivety: an adapted
judge discounts what a consultant always shows (knowledge of the game, not of the case).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from superalign.oversight.judges.logistic import fitted_logistic
from superalign.oversight.types import Episode, Judge, Message, View

SEATS = 2
"""Seats whose quotes are read apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedJudge:
    """The base judge, and what was learned about the game."""

    judge: Judge
    protocol: str
    weights: tuple[float, ...]
    scale: tuple[float, ...]

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        """(views, 2); NaN where the base judge has no belief about all that it was shown."""
        x = features(self.judge, views) / np.array(self.scale)
        first = 1 / (1 + np.exp(-np.clip(x @ np.array(self.weights), -30, 30)))
        return np.stack([first, 1 - first], axis=1)


def adapted(judge: Judge, protocol: str, episodes: Sequence[Episode], answers: Sequence[int]) -> AdaptedJudge:
    """Fit to episodes of the training split and the true options, an answer an episode.

    Raises ValueError without episodes, or when they are of other protocols or of more than two options.
    """
    other = {e.protocol for e in episodes} - {protocol}
    if not episodes or other:
        raise ValueError(f"a judge is adapted to {protocol} by its own episodes: got {len(episodes)}, {sorted(other)}")
    return fitted_to(judge, protocol, [episode.view for episode in episodes], 1.0 - np.array(answers))


def fitted_to(judge: Judge, protocol: str, views: Sequence[View], first: np.ndarray) -> AdaptedJudge:
    """Fit to views and targets P(the first option is right), hard or soft, one a view."""
    x, y = features(judge, views), np.asarray(first, dtype=np.float64)
    heard = np.isfinite(x).all(axis=1)
    if not heard.any():
        raise ValueError(f"{protocol}: its judge has no belief about any of {len(views)} views: nothing to adapt")
    x, y = x[heard], y[heard]
    found, scale = fitted_logistic(x, y)
    return AdaptedJudge(
        judge=judge, protocol=protocol, weights=tuple(map(float, found)), scale=tuple(map(float, scale))
    )


def features(judge: Judge, views: Sequence[View]) -> np.ndarray:
    """(views, features), odd in the two options; NaN where the judge is silent. Raises ValueError for more options."""
    if any(len(view.options) != 2 for view in views):
        raise ValueError("an adapted judge tells two options apart: say which two sides are argued for")
    parts = [view for v in views for view in (v, _first(v), *(_only(v, k) for k in range(SEATS)))]
    beliefs = judge.beliefs(parts)
    logits = _log_odds(beliefs).reshape(len(views), -1)
    logits[~np.isfinite(beliefs).all(axis=1).reshape(len(views), -1)[:, 0]] = np.nan
    return np.array([_row(view, row) for view, row in zip(views, logits, strict=True)])


def _log_odds(beliefs: np.ndarray) -> np.ndarray:
    p = np.clip(np.nan_to_num(beliefs, nan=0.5), 1e-6, None)
    odds: np.ndarray = np.log(p[:, 0] / p[:, 1])
    return odds


def _row(view: View, logits: np.ndarray) -> list[float]:
    sides = {m.side for m in view.messages if m.side is not None}
    argued = (1.0 - 2.0 * sides.pop()) if len(sides) == 1 else 0.0
    charges = [charge for m in view.messages for charge in m.charges]
    signs = {holds: sum(2.0 * c.option - 1.0 for c in charges if c.holds is holds) for holds in (True, False, None)}
    stated = sum(float(_log_odds(np.array([m.belief]))[0]) for m in view.messages if len(m.belief) == 2)
    return [*logits, argued, argued * abs(logits[0]), argued * abs(logits[1]), *signs.values(), stated]


def _first(view: View) -> View:
    return replace(view, messages=view.messages[:1])


def _only(view: View, place: int) -> View:
    speakers: dict[str, list[Message]] = {}
    for message in view.messages:
        speakers.setdefault(message.speaker, []).append(message)
    said = list(speakers.values())
    return replace(view, messages=tuple(said[place]) if place < len(said) else ())
