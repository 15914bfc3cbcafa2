"""A protocol's result as a Signal: what a weak judge believes of training pairs when it is helped, to be trained on.

`superalign run --signal debate` plays the protocol on every pair of the weak-to-strong sweep, weak model as judge and
strong one as adviser, and gives its beliefs to students and subject in the place of weak labels. The judge's two
weights, the adviser's sharpness and whatever the protocol trains are fitted on `LESSON` further pairs with their truth:
what this signal costs in labels. It is a signal of role `train`, and its lineage says who and what went into it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from superalign.evidence import Signal, SuperalignError, holdout
from superalign.oversight import Lesson, case_of, play, protocols
from superalign.oversight.protocols import QUOTES
from superalign.oversight.referee import PieceReferee
from superalign.oversight.types import Case, Players
from superalign.pipeline.board_scores import Cell, cells_of, packed_episode
from superalign.pipeline.desk import Desk
from superalign.pipeline.pages import Opened, open_page, screened, words_of
from superalign.pipeline.seats import adapted_players, read_afresh, text_players
from superalign.tasks.item import Item, Page
from superalign.tasks.slips import slips

if TYPE_CHECKING:
    from superalign.models import LocalModel  # torch loads where it is needed

CHECKED = "critique"
"""The default: weak labels, and a budget of critiques checked; no protocol is played on all pairs for it."""
LESSON, CHUNK = 250, 500
"""Pairs that players are fitted on, and pairs that are played in one stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a protocol says of n pairs."""

    belief: np.ndarray
    """(n,) P(the first is sound), mean over seatings; a failed play believes nothing, ½."""
    checks: np.ndarray
    """(n,) looks at the truth that it took."""


def playable() -> dict[str, Cell]:
    """Name → what `--signal` can be played on slips, but for the default."""
    return {cell.name: cell for cell in cells_of("slips", protocols(QUOTES)) if cell.name != CHECKED}


def check_signal(name: str) -> None:
    """Raises SuperalignError unless a run can be trained on this signal."""
    if name != CHECKED and name not in playable():
        known = "; ".join((CHECKED, *sorted(playable())))
        raise SuperalignError(f"there is no signal {name!r} to train on: use {known}")


def told_by_protocol(desk: Desk, train: Opened, weak: LocalModel, strong: LocalModel) -> Told:
    """Play the run's signal on the pairs of `train`, chunk by chunk; each chunk is done once."""
    cell, players, lesson = playable()[desk.config.signal], dict[str, Any](), _lesson(desk)
    episodes: list[Mapping[str, Any]] = []
    for name, items in chunks(cell.name, train.page.items):
        kept = desk.finished(name, train.digest, weak.digest, strong.digest)
        if kept is None:
            players = players or dict(_players(desk, cell, lesson, train, weak, strong))
            desk.say(name)
            kept = _play_chunk(desk, name, cell, items, players, (train.digest, weak.digest, strong.digest))
        episodes += desk.ws.store.get_json(kept["episodes"])["episodes"]
    told = tally(train.page.items, episodes)
    _enter(desk, train.digest, told, (weak.digest, strong.digest, lesson.digest))
    return told


def chunks(name: str, items: Sequence[Item]) -> list[tuple[str, Sequence[Item]]]:
    """Stage → the pairs that are played in it."""
    starts = range(0, len(items), CHUNK)
    return [(f"{name}, training pairs from {low}", items[low : low + CHUNK]) for low in starts]


def further_pairs(after: int) -> Page:
    """`LESSON` training pairs that come after the first so many."""
    page = slips(split="train", view="pair", n=after + LESSON)
    more = tuple(page.items[after:])
    return replace(page, items=more, truths={item.id: page.truths[item.id] for item in more})


def _lesson(desk: Desk) -> Opened:
    """Pairs with their truth that the sweep does not touch, screened like its own."""
    rest = screened(desk, further_pairs(desk.sizes.train_pairs))
    opened = open_page(desk, rest)
    holdout.screen(desk.ws, opened.digest, words_of(rest))
    return opened


def _players(desk: Desk, cell: Cell, known: Opened, train: Opened, weak: LocalModel, strong: LocalModel) -> Players:
    cases, answers = [case_of(item) for item in known.page.items], known.answers.tolist()
    pages = ((item.id, truth) for p in (known, train) for item, truth in zip(p.page.items, p.truths, strict=True))
    return seated(cell, cases, answers, dict(pages), weak, strong, seed=desk.config.seed)


def seated(
    cell: Cell,
    cases: Sequence[Case],
    answers: Sequence[int],
    truths: Mapping[str, Mapping[str, Any]],
    weak: LocalModel,
    strong: LocalModel,
    *,
    seed: int,
) -> Players:
    """Everybody at the table, fitted on these cases; `base` is the judge before it was. The referee has the truths."""
    referee = PieceReferee(truths=truths)
    players = text_players(weak, strong, cases, answers, budget=QUOTES, seed=seed, referee=referee)
    read_afresh(players, cases, QUOTES)
    lesson = Lesson(cases=cases, answers=answers, players=players, seed=seed)
    if cell.adapts:
        return {**adapted_players(cell.protocol, lesson), "base": players["judge"]}
    trained = players if cell.protocol.train is None else {**players, **cell.protocol.train(lesson)}
    return {**trained, "base": players["judge"]}


def _play_chunk(
    desk: Desk,
    name: str,
    cell: Cell,
    items: Sequence[Item],
    players: Players,
    sources: tuple[str, str, str],
) -> Any:
    began, cases = time.monotonic(), [case_of(item) for item in items]
    read_afresh({**players, "judge": players["base"]}, cases, QUOTES)
    episodes = [packed_episode(e) for e in play(cell.protocol, cases, players, seed=desk.config.seed)]
    stored = desk.ws.store.put_json({"protocol": cell.name, "task": "slips", "episodes": episodes})
    result = {"items": sources[0], "episodes": stored}
    return desk.finish(name, result, *sources, seconds=time.monotonic() - began)


def tally(items: Sequence[Item], episodes: Sequence[Mapping[str, Any]]) -> Told:
    """Beliefs and checks of each item, from its episodes. Raises ValueError where an item has none, or one is odd."""
    place = {item.id: i for i, item in enumerate(items)}
    odd = [e["item"] for e in episodes if e["item"] not in place]
    plays, belief, checks = (np.zeros(len(items)) for _ in range(3))
    for e in () if odd else episodes:
        i = place[e["item"]]
        plays[i] += 1
        belief[i] += 0.5 if e["belief"] is None else e["belief"][0]
        checks[i] += e["cost"]["judge_checks"]
    if odd or not plays.all():
        raise ValueError(f"{len(odd)} plays are of no such pair, and {int((plays == 0).sum())} pairs were not played")
    return Told(belief=belief / plays, checks=checks)


def _enter(desk: Desk, page: str, told: Told, sources: Sequence[str]) -> None:
    """The signal and where it comes from, in the ledger."""
    digest, name = signal_digest(desk, page, told), desk.config.signal
    family = f"{name}/slips/train"
    with desk.ws.ledger.transaction():
        desk.ws.signal(Signal(name=f"{name} on slips/train", digest=digest, family=family, role="train", kind="judge"))
        for source in sources:
            desk.ws.use(source, digest, "fit")


def signal_digest(desk: Desk, page: str, told: Told) -> str:
    """What the signal is known by: the protocol, the pairs, and what it says of them."""
    text = json.dumps([desk.config.signal, page, [round(float(p), 9) for p in told.belief]])
    return hashlib.sha256(text.encode()).hexdigest()
