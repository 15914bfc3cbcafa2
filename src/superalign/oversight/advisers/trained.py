"""Advisers that are trained: a small policy over pieces, paid for what a judge believes, that asks it nothing at play.

    adviser = train_adviser(judge, knower, cases, protocol=PROTOCOLS["debate"], seed=0)
    [(one.kl, one.reward, one.right) for one in adviser.curve]     # right: only where answers are given, to report

Reward is the log-score of the judge's belief in the side argued for, never truth (Michael et al. 2023, 2311.08702, §3);
where two argue it is zero-sum, and both seats are played by one policy. `reinforce`: REINFORCE (Williams 1992) whose
baseline is the mean of a play's own repetitions, less a price on KL from the start, which is uniform. `expert
iteration`: it imitates a planner in the positions that it gets into itself (Anthony et al. 2017, 1705.08439).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from superalign.oversight.advisers.plan import PlanAdviser
from superalign.oversight.advisers.search import concerning, judged, not_shown, said, sides_of, weights_of
from superalign.oversight.play import play
from superalign.oversight.table import Protocol
from superalign.oversight.types import Adviser, Case, Episode, Judge, Message, Position, View

HIDDEN, WORDS, RARE = 16, 24, 0.05
"""Units of the net; the commonest words it is told of, each in at least this share of pieces."""
FLOOR = 1e-3
"""Beliefs under it are as bad as it: log-scores have an end."""
BATCH, PLAYS, RATE = 24, 4, 0.02
"""Cases a round, repetitions of each play, Adam's rate."""
PRICE = 0.01
"""Reward, in nats, that a nat of KL costs."""
PASSES = 20
"""Steps of imitation a round, over all that experts have shown so far."""
TINY = 1e-9
"""Nats under which a spread of rewards is rounding: then there is nothing to learn from."""
Method = Literal["reinforce", "expert iteration"]


class Round(NamedTuple):
    """What one round of training saw before it changed anything: reward of what was played, and its distance."""

    reward: float
    """Mean log-score of the judge's belief in the side argued for, nats; before the rival's is taken off."""
    kl: float
    """Nats a move, from the start."""
    right: float | None
    """Share of plays after which the judge believes the truth, ties half; None without answers. Never fitted to."""
    asked: int
    """Views that the judge was asked about so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How an adviser is trained: all but judge and knower."""

    cases: Sequence[Case] = field(repr=False)
    answers: Sequence[int] | None = field(default=None, repr=False)
    protocol: Protocol
    seed: int = 0
    rounds: int = 60
    method: Method = "reinforce"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Policy:
    """Scores pieces by a net of one hidden layer; softmax over what is not shown yet."""

    words: tuple[str, ...]
    inner: np.ndarray
    """(hidden, features)."""
    outer: np.ndarray
    """(hidden,)."""

    def scores(self, x: np.ndarray) -> np.ndarray:
        """(pieces,) from (pieces, features)."""
        found: np.ndarray = np.tanh(x @ self.inner.T) @ self.outer
        return found


class Choice(NamedTuple):
    """A position as the policy saw it, and which row was chosen."""

    key: tuple[str, str, int]
    """Item, seat, side."""
    x: np.ndarray
    row: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedAdviser:
    """Quotes the piece that its policy rates highest; it was trained against one judge, and no judge is asked."""

    policy: Policy
    knower: Adviser
    training: Training
    curve: tuple[Round, ...] = ()
    sample: bool = False
    """Draw from the policy instead, by the position's draw."""
    heard: list[Choice] | None = field(default=None, repr=False)
    """Where choices are noted, while it is trained."""
    statics: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    @property
    def asked(self) -> list[int]:
        """No view a move; what training has asked is in the curve."""
        return []

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases, options): the knower's beliefs."""
        return self.knower.knows(cases)

    def moves(self, positions: Sequence[Position]) -> list[Message]:
        """A quote each; a message without one where nothing is left."""
        sides, weights = sides_of(self.knower, positions), weights_of(self.knower, positions)
        return [self._move(*each) for each in zip(positions, sides, weights, strict=True)]

    def against(self, judge: Judge, **dials: Any) -> TrainedAdviser:
        """One trained in the same way against another judge; `dials` are of its Training. TypeError for others."""
        return _trained(judge, self.knower, replace(self.training, **dials))

    def _move(self, position: Position, side: int, weight: np.ndarray | None) -> Message:
        left, x = self.seen(position, side, weight)
        if not left:
            return Message(speaker=position.seat)
        scores = self.policy.scores(x)
        if self.sample:
            chances = np.exp(scores - scores.max())
            row = int(np.random.default_rng(position.draw).choice(len(left), p=chances / chances.sum()))
        else:
            row = int(scores.argmax())
        if self.heard is not None:
            self.heard.append(Choice((position.case.item, position.seat, side), x, row))
        return said(position, side, weight, left[row])

    def seen(self, position: Position, side: int, weight: np.ndarray | None) -> tuple[list[int], np.ndarray]:
        """Pieces that can be quoted, and (pieces, features) of them."""
        case = position.case
        left = concerning(case, not_shown(position))
        if (case.item, side) not in self.statics:
            self.statics[case.item, side] = _static(case, side, weight, self.policy.words)
        fixed, linked = self.statics[case.item, side]
        mine, theirs = np.zeros(len(case.pieces)), np.zeros(len(case.pieces))
        for message in position.view.messages:
            for quote in message.quotes:
                (mine if message.speaker == position.seat else theirs)[quote.piece] = 1.0
        state = np.array([position.turns_left, mine.sum(), theirs.sum()]) / 6
        touch = np.stack([(linked * shown).max(axis=1) for shown in (mine, theirs)], axis=1)
        rows = np.concatenate([fixed, touch, np.tile(state, (len(case.pieces), 1))], axis=1)
        return left, rows[left]


def train_adviser(
    judge: Judge,
    knower: Adviser,
    cases: Sequence[Case],
    answers: Sequence[int] | None = None,
    *,
    protocol: Protocol,
    seed: int = 0,
    rounds: int | None = None,
    method: Method = "reinforce",
) -> TrainedAdviser:
    """An adviser trained to be believed by this judge in this protocol: one that hears all and judges at the end.

    `answers` go into the curve and nowhere else. `rounds`: 60, or 8 of expert iteration, where not given. The same seed
    gives the same policy. Raises ValueError without cases or rounds, for another method, or for a protocol in which no
    side is assigned.
    """
    usual = {"reinforce": 60, "expert iteration": 8}
    if method not in usual:
        raise ValueError(f"advisers are trained by {' or '.join(usual)}, not by {method!r}")
    rounds = usual[method] if rounds is None else rounds
    how = Training(cases=cases, answers=answers, protocol=protocol, seed=seed, rounds=rounds, method=method)
    return _trained(judge, knower, how)


def _trained(judge: Judge, knower: Adviser, how: Training) -> TrainedAdviser:
    if not how.cases or how.rounds < 1 or not 0 < how.protocol.sides == len(how.protocol.seats):
        raise ValueError(
            f"{len(how.cases)} cases, {how.rounds} rounds, {how.protocol.name}: an adviser is trained on a case or "
            "more, for a round or more, and in a protocol in which every adviser is assigned a side"
        )
    rng = np.random.default_rng([how.seed, 47])
    learner = TrainedAdviser(policy=_start(how.cases, rng), knower=knower, training=how, sample=True)
    truth = None if how.answers is None else {c.item: a for c, a in zip(how.cases, how.answers, strict=True)}
    expert = PlanAdviser(judge=judge, knower=knower) if how.method == "expert iteration" else None
    adam, curve, lessons, asked = _Adam(), list[Round](), list[Choice](), 0
    for number in range(how.rounds):
        some = [how.cases[i] for i in sorted(rng.permutation(len(how.cases))[:BATCH].tolist())]
        plays = [_played(judge, learner, how, some, number * PLAYS + k) for k in range(1 if expert else PLAYS)]
        asked += sum(len(one.episodes) for one in plays)
        if expert is None:
            seen = [choice for one in plays for choice in one.choices]
            policy = adam.step(learner.policy, _Batch.joined(seen), _advantages(plays))
        else:
            lessons += _shown_by(expert, learner, plays[0].positions)
            policy = learner.policy
            for _ in range(PASSES if lessons else 0):
                policy = adam.step(policy, _Batch.joined(lessons), np.ones(len(lessons)))
        curve.append(_row(learner.policy, plays, truth, asked + sum(expert.asked if expert else ())))
        learner = replace(learner, policy=policy)
    return replace(learner, curve=tuple(curve), sample=False)


class _Played(NamedTuple):
    """One repetition of a round's plays."""

    episodes: list[Episode]
    beliefs: np.ndarray
    """(episodes, options) when all is said."""
    choices: list[Choice]
    positions: list[Position]
    own: dict[tuple[str, str, int], float]
    """Key of a choice → log-score of the judge's belief in that side."""
    paid: dict[tuple[str, str, int], float]
    """The same, less the rival's where there is one."""


@dataclass(slots=True)
class _Deaf:
    """Sits in for the judge while a play is under way: it is asked once, at the end of it."""

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        return np.full((len(views), 2), 0.5)


@dataclass(slots=True)
class _Noting:
    """Passes positions on, and keeps them."""

    adviser: TrainedAdviser
    positions: list[Position] = field(default_factory=list)

    def moves(self, positions: Sequence[Position]) -> list[Message]:
        self.positions.extend(positions)
        return self.adviser.moves(positions)


def _played(judge: Judge, learner: TrainedAdviser, how: Training, cases: Sequence[Case], number: int) -> _Played:
    choices: list[Choice] = []
    seated = _Noting(replace(learner, heard=choices))
    players = {"judge": _Deaf(), **dict.fromkeys(how.protocol.seats, seated)}
    episodes = list(play(how.protocol, cases, players, seed=1_000_003 * how.seed + number))
    beliefs = judged(judge, [episode.view for episode in episodes])
    scores = np.log(np.clip(np.nan_to_num(beliefs, nan=0.0), FLOOR, None))
    own, paid = {}, {}
    for episode, score in zip(episodes, scores, strict=True):
        for seat, side in zip(how.protocol.seats, episode.sides, strict=True):
            assert side is not None  # every seat of these protocols has one
            own[episode.item, seat, side] = float(score[side])
            paid[episode.item, seat, side] = float(score[side] - (score[1 - side] if how.protocol.sides == 2 else 0))
    return _Played(episodes, beliefs, choices, seated.positions, own, paid)


def _row(policy: Policy, plays: Sequence[_Played], truth: Mapping[str, int] | None, asked: int) -> Round:
    kl = _Batch.joined([choice for one in plays for choice in one.choices]).kl(policy)
    reward = float(np.mean([score for one in plays for score in one.own.values()]))
    right = None
    if truth is not None:
        pairs = [(row, truth[e.item]) for one in plays for e, row in zip(one.episodes, one.beliefs, strict=True)]
        right = float(np.mean([(row[a] > row[1 - a]) + 0.5 * (row[a] == row[1 - a]) for row, a in pairs]))
    return Round(reward, float(kl.mean()), right, asked)


def _advantages(plays: Sequence[_Played]) -> np.ndarray:
    """A number a choice: its play's reward less the mean over repetitions, over the spread of all."""
    mean = {key: float(np.mean([one.paid[key] for one in plays])) for key in plays[0].paid}
    found = np.array([one.paid[choice.key] - mean[choice.key] for one in plays for choice in one.choices])
    spread = float(found.std()) if len(found) else 0.0
    return found / spread if spread > TINY else np.zeros_like(found)


def _shown_by(expert: PlanAdviser, learner: TrainedAdviser, positions: Sequence[Position]) -> list[Choice]:
    """What an expert would choose in these positions; where it is silent there is nothing to imitate."""
    sides, weights = sides_of(learner.knower, positions), weights_of(learner.knower, positions)
    found = []
    for position, side, weight, message in zip(positions, sides, weights, expert.moves(positions), strict=True):
        if message.quotes:
            left, x = learner.seen(position, side, weight)
            key = (position.case.item, position.seat, side)
            found.append(Choice(key, x, left.index(message.quotes[0].piece)))
    return found


class _Batch(NamedTuple):
    """Choices end to end."""

    x: np.ndarray
    """(pieces of all, features)."""
    first: np.ndarray
    """(choices,) where each begins."""
    of: np.ndarray
    """(pieces of all,) whose it is."""
    rows: np.ndarray
    """(choices,) the piece that was chosen, among all."""

    @classmethod
    def joined(cls, choices: Sequence[Choice]) -> _Batch:
        """From choices one by one."""
        sizes = np.array([len(choice.x) for choice in choices])
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        rows = first + np.array([choice.row for choice in choices])
        return cls(np.concatenate([c.x for c in choices]), first, np.repeat(np.arange(len(sizes)), sizes), rows)

    def logs(self, scores: np.ndarray) -> np.ndarray:
        """Log-probabilities, each choice a softmax."""
        z = scores - np.maximum.reduceat(scores, self.first)[self.of]
        found: np.ndarray = z - np.log(np.add.reduceat(np.exp(z), self.first))[self.of]
        return found

    def kl(self, policy: Policy) -> np.ndarray:
        """(choices,) nats from the uniform start."""
        logs = self.logs(policy.scores(self.x))
        far = np.add.reduceat(np.exp(logs) * logs, self.first) + np.log(np.bincount(self.of))
        found: np.ndarray = np.maximum(far, 0.0)
        return found

    def slopes(self, policy: Policy, worth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of mean(worth · log π(chosen) − PRICE · KL), by the net's two layers."""
        units = np.tanh(self.x @ policy.inner.T)
        logs = self.logs(units @ policy.outer)
        p = np.exp(logs)
        far = np.add.reduceat(p * logs, self.first)
        slope = -p * (worth[self.of] + PRICE * (logs - far[self.of]))
        slope[self.rows] += worth
        slope /= len(self.first)
        back = slope[:, None] * policy.outer * (1 - units**2)
        return back.T @ self.x, units.T @ slope


@dataclass(slots=True)
class _Adam:
    """Ascent (Kingma and Ba 2015)."""

    steps: int = 0
    means: list[np.ndarray] = field(default_factory=list)
    squares: list[np.ndarray] = field(default_factory=list)

    def step(self, policy: Policy, batch: _Batch, worth: np.ndarray) -> Policy:
        slopes = batch.slopes(policy, worth)
        self.steps += 1
        none = [np.zeros_like(slope) for slope in slopes]
        self.means = [0.9 * m + 0.1 * g for m, g in zip(self.means or none, slopes, strict=True)]
        self.squares = [0.99 * s + 0.01 * g**2 for s, g in zip(self.squares or none, slopes, strict=True)]
        a, b = 1 - 0.9**self.steps, 1 - 0.99**self.steps
        moves = [RATE * (m / a) / (np.sqrt(s / b) + 1e-8) for m, s in zip(self.means, self.squares, strict=True)]
        return replace(policy, inner=policy.inner + moves[0], outer=policy.outer + moves[1])


def _start(cases: Sequence[Case], rng: np.random.Generator) -> Policy:
    """Uniform, told of the commonest words of these cases."""
    seen: dict[str, int] = {}
    pieces = [piece for case in cases for piece in case.pieces]
    for piece in pieces:
        for word in dict.fromkeys(word for text in piece.texts for word in text.split()):
            seen[word] = seen.get(word, 0) + 1
    common = sorted((w for w in seen if seen[w] >= RARE * len(pieces)), key=lambda w: (-seen[w], w))[:WORDS]
    features = 5 + 2 * len(common) + 2 + 3
    return Policy(
        words=tuple(common),
        inner=rng.standard_normal((HIDDEN, features)) / features**0.5,
        outer=np.zeros(HIDDEN),
    )


def _static(case: Case, side: int, weight: np.ndarray | None, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Features of each piece that nothing shown changes, (pieces, features), and how pieces hang together.

    (pieces, pieces): the share of the words of one that stand in another, rare words counting more (log n/df).
    """
    n, sign = len(case.pieces), 1 - 2 * side
    texts = [piece.texts[min(side, len(piece.texts) - 1)].split() for piece in case.pieces]
    others = [piece.texts[1 - side].split() if len(piece.texts) == 2 else [] for piece in case.pieces]
    known = {word: i for i, word in enumerate(sorted({w for text in texts for w in text} | set(case.question.split())))}
    has = np.zeros((n, len(known)))
    for row, text in zip(has, texts, strict=True):
        row[[known[word] for word in text]] = 1.0
    rarity = np.log(n / np.clip(has.sum(axis=0), 1, None))
    total = np.clip(has @ rarity, 1e-9, None)
    linked = (has * rarity) @ has.T / total[:, None]
    asked = np.zeros(len(known))
    asked[[known[word] for word in case.question.split()]] = rarity[[known[word] for word in case.question.split()]] > 1
    near = (has * rarity) @ asked / total
    onward = (linked * (near > 0)).max(axis=1)
    speaks = np.zeros(n) if weight is None else sign * weight / max(1e-9, float(np.abs(weight).max()))
    plain = np.stack([speaks, np.linspace(-1, 1, n), near, onward, np.array([len(t) for t in texts]) / 10], axis=1)
    told = np.array(
        [[text.count(w) - other.count(w) for w in words] for text, other in zip(texts, others, strict=True)]
    )
    told = told.reshape(n, len(words)).astype(float)
    return np.concatenate([plain, told, sign * told], axis=1), linked
