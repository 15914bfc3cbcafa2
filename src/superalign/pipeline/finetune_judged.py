"""A protocol's judge as the signal of a fine-tuning: who sits at the table, what is believed of every item, the reward.

Players are fitted on a lesson of further training pairs with their truth, as `superalign run --signal` has them: what
the signal costs in labels. Judge, adviser and lesson go into the signal, and the signal into the model, by `fit` (R6).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from superalign.evidence import Signal, SuperalignError
from superalign.oversight import case_of, protocols
from superalign.oversight.protocols import QUOTES
from superalign.oversight.types import Players
from superalign.pipeline.board_scores import Cell, cells_of
from superalign.pipeline.desk import Desk
from superalign.pipeline.finetune_config import FinetuneConfig
from superalign.pipeline.finetune_data import Pages
from superalign.pipeline.finetune_rewards import ProtocolReward, believed_by, reward_of_protocol
from superalign.pipeline.pages import truths_of
from superalign.pipeline.seats import read_afresh
from superalign.pipeline.signals import seated

if TYPE_CHECKING:
    from superalign.models import LocalModel  # torch loads where it is needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A protocol on the pages of a training; its players are fitted when they are first needed."""

    desk: Desk
    config: FinetuneConfig
    cell: Cell
    pages: Pages
    judge: LocalModel
    adviser: LocalModel
    seated: list[Players]
    """The players, once they sit; empty until then."""

    @property
    def known(self) -> str:
        """Who judges and argues, and what they were fitted on."""
        return f"{self.judge.digest} {self.adviser.digest} {self.pages.digests['lesson']}"

    def players(self) -> Players:
        """Everybody at the table."""
        if not self.seated:
            self.seated.append(self._fitted())
        return self.seated[0]

    def _fitted(self) -> Players:
        pages, desk = self.pages, self.desk
        desk.say(f"{self.cell.name}: players are fitted")
        opened: dict[str, Mapping[str, Any]] = {}
        for name, page in (("train", pages.train), ("lesson", pages.lesson), ("dev", pages.dev)):
            opened |= truths_of(desk, page, pages.digests[name])
        cases = [case_of(item) for item in pages.lesson.items]
        answers = [int(opened[case.item]["answer"]) for case in cases]
        return seated(self.cell, cases, answers, opened, self.judge, self.adviser, seed=self.config.seed)

    def beliefs(self, which: str) -> dict[str, tuple[float, ...] | None]:
        """Item → belief of the `train` or the `dev` page; played once, and stored."""
        page = self.pages.train if which == "train" else self.pages.dev
        cases = [case_of(item) for item in page.items]

        def work() -> dict[str, Any]:
            players = self.players()
            self._read(cases)
            return {"beliefs": believed_by(self.cell.protocol, players, cases, seed=self.config.seed)}

        parts = (self.pages.digests[which], self.known)
        kept = self.desk.stage(f"{self.cell.name}, {len(cases)} pairs of {which}", work, *parts)
        return {item: None if b is None else tuple(b) for item, b in kept["beliefs"].items()}

    def reward(self, which: str) -> ProtocolReward:
        """The protocol as a reward for the items of a page."""
        page = self.pages.train if which == "train" else self.pages.dev
        cases, choice = [case_of(item) for item in page.items], self.config.says == "choice"
        players: Players = {} if choice else self.players()
        if not choice:
            self._read(cases)
        return reward_of_protocol(
            self.cell.protocol,
            players,
            cases,
            says=self.config.says,
            pays=self.config.pays,
            seed=self.config.seed,
            known=self.known,
            beliefs=self.beliefs(which) if choice else None,
        )

    def _read(self, cases: Sequence[Any]) -> None:
        """Everything is read in one fixed order first: a training that goes on finds the same numbers."""
        players = self.players()
        read_afresh({**players, "judge": players["base"]}, cases, QUOTES)

    def signal(self, first: Mapping[str, float] | None) -> str:
        """Enter the signal, with judge, adviser and lesson as what it is made of; returns its digest."""
        config, ws, task = self.config, self.desk.ws, self.pages.task
        told = None if first is None else {item: round(p, 9) for item, p in first.items()}
        text = json.dumps([self.cell.name, self.pages.digests["train"], self.known, told, config.says, config.pays])
        digest, name = hashlib.sha256(text.encode()).hexdigest(), f"{self.cell.name} on {task}/{config.split}"
        family = f"{self.cell.name}/{task}/{config.split}"
        with ws.ledger.transaction():
            ws.signal(Signal(name=name, digest=digest, family=family, role=config.split, kind="judge"))
            for source in (self.judge.digest, self.adviser.digest, self.pages.digests["lesson"]):
                ws.use(source, digest, "fit")
        return digest


def judged(desk: Desk, config: FinetuneConfig, pages: Pages, judge: LocalModel, adviser: LocalModel) -> Judged:
    """The protocol that `--signal` names. Raises SuperalignError where it can't be played on this task."""
    cells = {cell.name: cell for cell in cells_of(pages.task, protocols(QUOTES))}
    if config.signal not in cells or not pages.lesson.items:
        known = "; ".join(["labels", *cells]) if pages.lesson.items else "labels, on a file; protocols on a task"
        raise SuperalignError(f"--signal {config.signal}: nothing to learn from on {config.data}: use {known}")
    cell = cells[config.signal]
    return Judged(desk=desk, config=config, cell=cell, pages=pages, judge=judge, adviser=adviser, seated=[])


def first_of(beliefs: Mapping[str, tuple[float, ...] | None]) -> dict[str, float]:
    """P(the first text is the better one); a failed judge believes nothing, ½."""
    return {item: 0.5 if belief is None else belief[0] for item, belief in beliefs.items()}
