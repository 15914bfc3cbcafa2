"""Recursive reward modelling: a ladder of trained judges, each labelled by a person whom the one below it helps.

H is the judge as it is, who reads at most `quotes` pieces of a case. R_0 is fitted to what H says of pieces drawn at
random. R_k is fitted to what H says when R_{k−1} assists: R_{k−1} judges halves of halves of the case, quotes the
pieces that it finds to matter most, and states what it believes of all the others; H reads what is quoted and adds what
is stated. R_K is played: it reads everything, and needs H no more (Leike et al. 2018, 1811.07871, §2.2 and §3.2; as
amplification and distillation: Christiano et al. 2018, 1810.08575, §2).

No answer of the lesson is looked at: all labels are H's, so a ladder ends where H, however well it is pointed, can be
mistaken, and what R_{k−1} gets wrong of the unread H takes over. What kind of model each R is, `SpanJudge` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from superalign.oversight.judges.logistic import fitted_logistic
from superalign.oversight.play import play
from superalign.oversight.protocols.controls import QUOTES, unaided
from superalign.oversight.table import Lesson, Play, Protocol, Table
from superalign.oversight.types import Case, Episode, Judge, Message, Position, Quote, View

NAME = "recursive reward modelling"
TINY = 1e-9
Shown = tuple[tuple[int, tuple[str, ...]], ...]
"""Pieces and their texts."""
Key = tuple[str, str, tuple[str, ...], Shown]
Read = dict[Key, float]
"""Task, question, options and pieces → log-odds of the first option."""


def recursive_reward_modelling(*, quotes: int = QUOTES, rungs: int = 3) -> Protocol:
    """R_`rungs` reads the whole case; while the ladder was trained, H read `quotes` pieces a label."""
    return Protocol(
        name=NAME,
        title=f"a judge that reads everything, top of a ladder of {rungs + 1}, each labelled by one who reads {quotes}",
        play=_whole_is_read,
        train=lambda lesson: {**lesson.players, "judge": ladder(lesson, quotes=quotes, rungs=rungs)[-1]},
        source="Leike et al. 2018, 1811.07871, §2.2 and §3.2",
    )


def _whole_is_read(table: Table) -> Play:
    table.reveal(range(len(table.case.pieces)))
    return (yield from table.believe())


def ladder(lesson: Lesson, *, quotes: int = QUOTES, rungs: int = 3) -> tuple[SpanJudge, ...]:
    """R_0 to R_`rungs`, trained on H's labels of the lesson's cases, one label a case and rung; answers are not read.

    Raises ValueError for a negative number of rungs.
    """
    if rungs < 0:
        raise ValueError(f"{rungs} rungs: R_0 is fitted to H alone, each further rung to H with the one below")
    human, read = lesson.players["judge"], Read()
    alone = play(unaided(quotes=quotes), lesson.cases, {"judge": human}, seed=lesson.seed)
    found = [_labelled(human, lesson.cases, list(alone), quotes, read)]
    for _ in range(rungs):
        players = {"judge": Helped(judge=human), "assistant": Assistant(model=found[-1], quotes=quotes)}
        helped = play(assisted(quotes=quotes), lesson.cases, players, seed=lesson.seed)
        found.append(_labelled(human, lesson.cases, list(helped), quotes, read))
    return tuple(found)


def assisted(*, quotes: int = QUOTES) -> Protocol:
    """How a label comes about: an assistant quotes `quotes` pieces and states a belief about the rest; H believes."""

    def rules(table: Table) -> Play:
        yield from table.say("assistant", quotes=quotes)
        return (yield from table.believe())

    return Protocol(
        name="assisted label",
        title=f"an assistant quotes {quotes} pieces and says what it believes of the rest",
        play=rules,
        seats=("assistant",),
        source="Leike et al. 2018, 1811.07871, §3.2",
    )


def _labelled(human: Judge, cases: Sequence[Case], episodes: Sequence[Episode], width: int, read: Read) -> SpanJudge:
    """A judge of whole cases fitted to H's verdicts on them; where H failed, to ½."""
    first = np.array([0.5 if e.belief is None else e.belief[0] for e in episodes])
    return fitted_spans(human, [whole(case) for case in cases], first, width=width, read=read)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanJudge:
    """A trained judge of any number of pieces: logistic in what the base judge reads in each, and in each short run.

    Never is the base judge shown more than `width` pieces at once. It is odd in the options: swapped, the belief swaps.
    """

    judge: Judge
    weights: tuple[float, ...]
    width: int = QUOTES
    read: Read = field(default_factory=dict, repr=False, compare=False)
    """What the base judge has said of pieces and runs: it is asked once."""

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        """(views, 2). Raises ValueError for more options."""
        logits = np.clip(features(self.judge, views, self.width, self.read) @ np.array(self.weights), -30, 30)
        first = 1 / (1 + np.exp(-logits))
        return np.stack([first, 1 - first], axis=1)

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases, 2): beliefs after all of their pieces."""
        return self.beliefs([whole(case) for case in cases])


def fitted_spans(
    judge: Judge, views: Sequence[View], first: np.ndarray, *, width: int = QUOTES, read: Read | None = None
) -> SpanJudge:
    """A SpanJudge fitted (log loss, ridge on standardised features) to targets P(the first option is right), a view.

    `read` is what the same base judge has said before. Raises ValueError without views.
    """
    if not len(views):
        raise ValueError("a judge is fitted to labels: got none")
    read = Read() if read is None else read
    x, y = features(judge, views, width, read), np.asarray(first, dtype=np.float64)
    found, scale = fitted_logistic(x, y)
    return SpanJudge(judge=judge, weights=tuple(map(float, found / scale)), width=width, read=read)


def features(judge: Judge, views: Sequence[View], width: int, read: Read) -> np.ndarray:
    """(views, 6): of the log-odds of single pieces, and of runs of `width`: sum, sum of signs (soft), and extremes.

    What is not in `read` yet is asked of the judge, at once, and added.
    """
    if any(len(view.options) != 2 for view in views):
        raise ValueError("a trained judge tells two options apart: say which two sides are argued for")
    keys: list[list[list[Key]]] = []
    new: dict[Key, View] = {}
    for view in views:
        shown = tuple(view.shown().items())
        runs = (_runs(shown, 1), _runs(shown, width))
        keys.append([[(view.task, view.question, view.options, part) for part in parts] for parts in runs])
        new |= {key: _only(view, key[-1]) for some in keys[-1] for key in some if key not in read and key not in new}
    if new:
        read |= zip(new, log_odds(judge.beliefs(list(new.values()))).tolist(), strict=True)
    return np.array([[x for some in row for x in _summary(np.array([read[key] for key in some]))] for row in keys])


def _runs(shown: Shown, width: int) -> list[Shown]:
    """All runs of `width` pieces, in the order they have; where there are fewer, these.

    Places are counted from a run's first, so that it is one reading wherever the run stands.
    """
    runs = [shown[i : i + width] for i in range(max(1, len(shown) - width + 1))] if shown else []
    return [tuple((place - run[0][0], texts) for place, texts in run) for run in runs]


def _summary(odds: np.ndarray) -> list[float]:
    if not len(odds):
        return [0.0, 0.0, 0.0]
    return [float(odds.sum()), float(np.tanh(odds).sum()), float(odds.max() + odds.min())]


def log_odds(beliefs: np.ndarray) -> np.ndarray:
    """(n,) of (n, 2); a judge that can't say is at 0."""
    p = np.clip(np.nan_to_num(np.asarray(beliefs, dtype=np.float64), nan=0.5), TINY, None)
    odds: np.ndarray = np.log(p[:, 0] / p[:, 1])
    return odds


def whole(case: Case, pieces: Iterable[int] | None = None) -> View:
    """A view of all pieces of a case, or of these."""
    shown = range(len(case.pieces)) if pieces is None else pieces
    quotes = tuple(Quote(p, case.pieces[p].texts, verified=True) for p in shown)
    message = Message(speaker="table", quotes=quotes)
    return View(task=case.task, question=case.question, options=case.options, messages=(message,))


def _only(view: View, part: Shown) -> View:
    quotes = tuple(Quote(place, texts, verified=True) for place, texts in part)
    return replace(view, messages=(Message(speaker="table", quotes=quotes),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Helped:
    """H with an assistant at its side: its own log-odds of what is quoted, and what is stated of the rest, added up."""

    judge: Judge

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        """(views, 2)."""
        rows = np.asarray(self.judge.beliefs(views), dtype=np.float64)
        stated = [[m.belief for m in view.messages if len(m.belief) == 2] for view in views]
        more = np.array([log_odds(np.array(said)).sum() if said else 0.0 for said in stated])
        logits = np.log(np.clip(rows, TINY, None)) + np.stack([more / 2, -more / 2], axis=1)
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        out: np.ndarray = raised / raised.sum(axis=1, keepdims=True)
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Assistant:
    """A trained judge that assists: it looks for what matters by halving, and says what it believes of the rest."""

    model: SpanJudge
    quotes: int = QUOTES

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases, 2): its model's beliefs."""
        return self.model.knows(cases)

    def moves(self, positions: Sequence[Position]) -> list[Message]:
        """Quotes up to `quotes` pieces; its belief is of all others, even where there are none."""
        cases = [p.case for p in positions]
        spans = [halves(len(case.pieces)) for case in cases]
        asked = [whole(case, range(*span)) for case, some in zip(cases, spans, strict=True) for span in some]
        odds = iter(log_odds(self.model.beliefs(asked)).tolist())
        chosen = [weightiest({span: abs(next(odds)) for span in some}, self.quotes) for some in spans]
        rest = [[p for p in range(len(c.pieces)) if p not in some] for c, some in zip(cases, chosen, strict=True)]
        stated = self.model.beliefs([whole(case, some) for case, some in zip(cases, rest, strict=True)])
        return [
            Message(
                speaker=position.seat,
                quotes=tuple(Quote(p, position.case.pieces[p].texts) for p in some),
                belief=tuple(map(float, row)),
            )
            for position, some, row in zip(positions, chosen, stated, strict=True)
        ]


def halves(pieces: int) -> list[tuple[int, int]]:
    """All parts that halving comes by, from the whole down to single pieces.

    >>> halves(3)
    [(0, 3), (0, 1), (1, 3), (1, 2), (2, 3)]
    """
    found, queue = [], [(0, pieces)]
    while queue:
        low, high = queue.pop(0)
        found.append((low, high))
        middle = (low + high) // 2
        queue += [(low, middle), (middle, high)] if high - low > 1 else []
    return found


def weightiest(weights: dict[tuple[int, int], float], most: int) -> list[int]:
    """Up to `most` single pieces: again and again the part that weighs most is halved, until it is one piece.

    >>> weightiest({(0, 3): 1.0, (0, 1): 0.2, (1, 3): 0.5, (1, 2): 0.1, (2, 3): 0.4}, 2)
    [0, 2]
    """
    known, found = [max(weights, key=lambda span: span[1] - span[0])], list[int]()
    while known and len(found) < most:
        low, high = known.pop(max(range(len(known)), key=lambda i: weights[known[i]]))
        middle = (low + high) // 2
        if high - low == 1:
            found.append(low)
        else:
            known += [(low, middle), (middle, high)]
    return sorted(found)
