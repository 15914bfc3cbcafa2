"""Prover and estimator: a prover shows where an estimator is wrong, by halves, down to a part that the judge can judge.

Brown-Cohen, Irving and Piliouras 2025 (2506.13609). The root claim is "option 0 is right", its sub-claims say the same
of parts of the case. The estimator gives the root a probability. In each round the claim falls into two halves, the
estimator gives a probability to each, and the prover answers with signs and with the half to go on with. What is left
in the end, at most `leaf` pieces, the judge judges.

Kept: an estimator that commits to probabilities of all sub-claims before it knows where the prover goes; signs in
{−1, 0, +1} (a charge against option 1 in a half: its probability is too low; against option 0: too high; no charge: 0);
one path down, and one look of the judge; a zero-sum payoff at the leaf, sign × (the judge's probability − the
estimator's); an estimator trained by turns against the prover that exploits it most, so that in the end no error is
left that this prover finds. Simplified: claims are cut by the rules and not by the prover; no bits are drawn from the
probabilities for the judge to judge a step by: steps add log-odds up, and only leaves are judged; all leaves are as
deep, up to one round, so payoffs don't grow with depth (λ = 1); the root is fitted to the lesson's true answers, the
leaves to the judge. The paper believes the estimator's root; here it is corrected by the error that the judge found at
the leaf: verdict = root + (judge − estimator), in log-odds. That holds where evidence adds up over parts, our form of
(ε, ρ)-stability: an error of a leaf moves the root by no more than itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from superalign.oversight.play import play
from superalign.oversight.protocols.controls import QUOTES
from superalign.oversight.protocols.ladder import Read, SpanJudge, fitted_spans, log_odds, whole
from superalign.oversight.table import Belief, Lesson, Play, Protocol, Request, Table
from superalign.oversight.types import Case, Charge, Episode, Judge, Message, Players, Position

NAME = "prover-estimator"
Span = tuple[int, int]
"""Pieces from the first to before the last."""


class Claim(NamedTuple):
    """That option 0 is right, by these pieces, and what the estimator believes of it."""

    span: Span
    estimate: Belief


def prover_estimator(*, leaf: int = QUOTES, rounds: int = 3) -> Protocol:
    """The judge reads a part of at most `leaf` pieces; prover and estimator are trained by turns for `rounds`."""
    protocol = Protocol(
        name=NAME,
        title=f"a prover for an assigned side shows where a trained estimator errs; {leaf} pieces are judged",
        play=_rules(leaf),
        seats=("prover", "estimator"),
        sides=1,
        train=lambda lesson: _trained(protocol, lesson, leaf, rounds),
        source="Brown-Cohen, Irving and Piliouras 2025, 2506.13609",
    )
    return protocol


def _rules(leaf: int) -> Callable[[Table], Play]:
    def rules(table: Table) -> Play:
        pieces = len(table.case.pieces)
        root = yield from _estimate(table, (0, pieces))
        if root is None:
            return None
        span, estimate = (0, pieces), root
        while span[1] - span[0] > leaf:
            for half in halved(span):
                if (yield from _estimate(table, half)) is None:
                    return None
            yield from table.say("prover")
            span, estimate = descent(table.messages, pieces)[-1]
        judged = yield from table.believe(table.view_of(range(*span)))
        if judged is None:
            return None
        belief = corrected(root, estimate, judged)
        table.beliefs.append(belief)
        return belief

    return rules


def _estimate(table: Table, span: Span) -> Play:
    """The estimator's probability of one claim, for all to hear."""
    (row,) = yield (Request("estimator", "knows", part_of(table.case, span)),)
    belief = table.normal(row)
    if belief is not None:
        said = Message(speaker="estimator", belief=belief, text=f"pieces {span[0]} to {span[1] - 1}")
        table.hear("estimator", said)
    return belief


def part_of(case: Case, span: Span) -> Case:
    """A case of these pieces alone: what a sub-claim is about."""
    low, high = span
    return replace(case, item=f"{case.item}[{low}:{high}]", pieces=case.pieces[low:high])


def halved(span: Span) -> tuple[Span, Span]:
    """Two halves, the second no shorter.

    >>> halved((2, 5))
    ((2, 3), (3, 5))
    """
    low, high = span
    middle = (low + high) // 2
    return (low, middle), (middle, high)


def descent(messages: Sequence[Message], pieces: int) -> list[Claim]:
    """Claims that a play has gone by: the whole, then the half in which each first charge of the prover lies.

    A prover that charges nothing there goes where the estimator is less sure.
    """
    stated = [m.belief for m in messages if m.speaker == "estimator"]
    claims = [Claim((0, pieces), stated[0])]
    for k, said in enumerate(m for m in messages if m.speaker == "prover"):
        parts = [Claim(*each) for each in zip(halved(claims[-1].span), stated[2 * k + 1 :], strict=False)]
        named = [part for c in said.charges[:1] for part in parts if part.span[0] <= c.piece < part.span[1]]
        claims.append((named or sorted(parts, key=lambda part: max(part.estimate)))[0])
    return claims


def corrected(root: Belief, estimate: Belief, judged: Belief) -> Belief:
    """The root's estimate, moved by the error that the judge has found at the leaf (log-odds).

    >>> corrected((0.5, 0.5), (0.5, 0.5), (0.75, 0.25)), corrected((0.75, 0.25), (0.75, 0.25), (0.5, 0.5))
    ((0.75, 0.25), (0.5, 0.5))
    """
    logit = float(log_odds(np.array([root, judged])).sum() - log_odds(np.array([estimate]))[0])
    first = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
    return float(round(first, 12)), float(round(1 - first, 12))


def payoff(case: Case, episode: Episode) -> float:
    """What the prover is paid, and the estimator pays: how much the judge believes less than the estimator, at the
    leaf, in the option that the prover charged there. 0 where it charged nothing, or the play failed.
    """
    said = [m for m in episode.messages if m.speaker == "prover"]
    judged = episode.beliefs[0] if episode.belief is not None else None
    if judged is None or not said or not said[-1].charges:
        return 0.0
    charge, leaf = said[-1].charges[0], descent(episode.messages, len(case.pieces))[-1]
    inside = leaf.span[0] <= charge.piece < leaf.span[1]
    return leaf.estimate[charge.option] - judged[charge.option] if inside else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prover:
    """Knows judge and estimator, and goes where what the judge will say serves its side most."""

    judge: Judge
    estimator: SpanJudge
    leaf: int

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases, 2): what the estimator believes."""
        return self.estimator.knows(cases)

    def moves(self, positions: Sequence[Position]) -> list[Message]:
        """A charge each half: first the half to go on with, at its best leaf; the other only where an error helps."""
        halves = [halved(descent(p.view.messages, len(p.case.pieces))[-1].span) for p in positions]
        under = [[leaves(part, self.leaf) for part in parts] for parts in halves]
        asked = list(dict.fromkeys((i, span) for i, parts in enumerate(under) for spans in parts for span in spans))
        errors = dict(zip(asked, self._errors([(positions[i].case, span) for i, span in asked]), strict=True))
        return [self._move(p, i, under[i], errors) for i, p in enumerate(positions)]

    def _errors(self, parts: Sequence[tuple[Case, Span]]) -> list[float]:
        """The judge's log-odds of option 0 less the estimator's, a part."""
        judged = self.judge.beliefs([whole(case, range(*span)) for case, span in parts])
        known = self.estimator.knows([part_of(case, span) for case, span in parts])
        return [float(error) for error in log_odds(judged) - log_odds(known)]

    def _move(
        self, position: Position, i: int, under: Sequence[Sequence[Span]], errors: Mapping[tuple[int, Span], float]
    ) -> Message:
        if position.side is None:
            return Message(speaker=position.seat)
        sign = 1 if position.side == 0 else -1
        best = [max(((sign * errors[i, span], span[0]) for span in spans), key=lambda g: g[0]) for spans in under]
        best.sort(key=lambda gain: -gain[0])
        charged = [best[0], *(gain for gain in best[1:] if gain[0] > 0)]
        return Message(speaker=position.seat, charges=tuple(Charge(1 - position.side, piece) for _, piece in charged))


def leaves(span: Span, leaf: int) -> list[Span]:
    """The parts of at most `leaf` pieces that halving ends with.

    >>> leaves((0, 7), 2)
    [(0, 1), (1, 3), (3, 5), (5, 7)]
    """
    return [span] if span[1] - span[0] <= leaf else [part for half in halved(span) for part in leaves(half, leaf)]


def _trained(protocol: Protocol, lesson: Lesson, leaf: int, rounds: int) -> Players:
    """The estimator fitted to true roots and to the judge's leaves, those that provers have led to in all rounds."""
    judge, read = lesson.players["judge"], Read()
    cases = {case.item: case for case in lesson.cases}
    first = {case.item: float(answer == 0) for case, answer in zip(lesson.cases, lesson.answers, strict=True)}
    views, targets = [whole(case) for case in lesson.cases], list(first.values())
    estimator = fitted_spans(judge, views, np.array(targets), width=leaf, read=read)
    for turn in range(rounds):
        players = {
            "judge": judge,
            "estimator": estimator,
            "prover": Prover(judge=judge, estimator=estimator, leaf=leaf),
        }
        for episode in play(protocol, lesson.cases, players, seed=lesson.seed + turn):
            if episode.belief is None or episode.beliefs[0] is None:
                continue
            case = cases[episode.item]
            span = descent(episode.messages, len(case.pieces))[-1].span
            views += [whole(case), whole(case, range(*span))]
            targets += [first[episode.item], episode.beliefs[0][0]]
        estimator = fitted_spans(judge, views, np.array(targets), width=leaf, read=read)
    prover = Prover(judge=judge, estimator=estimator, leaf=leaf)
    return {**lesson.players, "estimator": estimator, "prover": prover}
