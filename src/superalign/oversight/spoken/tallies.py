"""What a run counts and keeps: failures of episodes by seat and kind, replies by kind, digests of raw responses.

    tallied(episodes), replies_by(players), heard_by(players)

Every episode stays in its denominator, every reply in its own: a refusal among a judge's samples fails no episode, and
stands in `replies_by` alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from superalign.oversight.types import Episode, Players

JUDGE = "judge"
"""Whose failures are named without a seat."""


def tallied(episodes: Iterable[Episode]) -> dict[str, dict[str, int]]:
    """Seat → kind → failures, both in order of the alphabet; an episode can have several. Empty where nothing failed.

    >>> from superalign.oversight.types import Episode
    >>> of = dict(protocol="", item="", task="", cluster="", question="", options=(), sides=(), seed=0, messages=())
    >>> one = Episode(**of, beliefs=(), belief=None, failures=("refused: a", "nan", "not JSON: a", "refused: a"))
    >>> tallied([one])
    {'a': {'not JSON': 1, 'refused': 2}, 'judge': {'nan': 1}}
    """
    counts: dict[str, dict[str, int]] = {}
    for episode in episodes:
        for failure in episode.failures:
            kind, _, seat = failure.rpartition(": ")
            named = counts.setdefault(seat if kind else JUDGE, {})
            named[kind or failure] = named.get(kind or failure, 0) + 1
    return {seat: dict(sorted(counts[seat].items())) for seat in sorted(counts)}


def replies_by(players: Players) -> dict[str, dict[str, int]]:
    """Seat → kind → replies that came in, "read" those that held an answer; of players in words. Seats that one player
    holds have its counts, all of them together.
    """
    counts = {seat: getattr(player, "counted", None) for seat, player in players.items()}
    return {seat: dict(sorted(found.items())) for seat, found in sorted(counts.items()) if found is not None}


def heard_by(players: Players) -> dict[str, str]:
    """Key of an ask → digest of the raw response in the object store, of all players in words: for a run's record."""
    heard: dict[str, str] = {}
    for player in players.values():
        heard |= getattr(player, "heard", {})
    return dict(sorted(heard.items()))
