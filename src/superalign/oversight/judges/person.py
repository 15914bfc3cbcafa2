"""A person at the terminal as judge: reads what a judge is shown, types what it believes, may stop and go on.

    judge = PersonJudge(journal=workspace / "person.jsonl", most=len(cases) * 2)
    players = {"judge": judge, **dict.fromkeys(("a", "b"), SearchAdviser(judge=stand_in, knower=strong, width=4))}
    no_search(players)
    episodes = list(play(PROTOCOLS["debate"], cases, players))

Every answer is written down at once, under the digest of what was shown; what was answered is never asked again, under
whatever protocol it comes up. Nobody can search against a person, or fit a judge to one by asking thousands of times:
advisers search against a stand-in, most often the likelihood judge.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from superalign.evidence import SuperalignError
from superalign.evidence.errors import disk_errors
from superalign.evidence.visible import visible
from superalign.oversight.prompts.terminal import page, percentages, question_to, typed
from superalign.oversight.types import Players, View

if TYPE_CHECKING:
    from rich.console import Console

MOST = 500
"""Questions to a person at once, at most: whoever has more is searching."""


class Stopped(SuperalignError):
    """The person left. What was answered is kept where there is a journal."""


class NotSearchable(SuperalignError):
    """Somebody would ask a person as one asks a function."""


class Answer(NamedTuple):
    """What a person said of one view."""

    belief: tuple[float, ...] | None
    """None: refused."""
    seconds: float
    """From when the view was shown to the answer that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonJudge:
    """Belief as somebody types it. A refusal ("skip") is a row of NaN, and stays in every denominator."""

    ask: Callable[[str], str] = typed
    """The line that is typed after a prompt; raises EOFError where no more will come."""
    journal: Path | None = None
    """JSON lines, one an answer, append-only; the later of two answers to one view counts."""
    seed: int = 0
    """Of the order in which views are shown."""
    most: int = MOST
    name: str = "person"
    """Whose answers these are: a journal holds one person's."""
    console: Console | None = None
    """Where views are shown; None: stderr."""
    clock: Callable[[], float] = time.monotonic
    answered: dict[str, Answer] = field(default_factory=dict, repr=False, compare=False)
    """Digest of a view → what was answered."""
    searchable: ClassVar[bool] = False

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        """(views, options); each view that was not answered yet is asked about once, in an order of its own.

        Raises Stopped when the person leaves, NotSearchable when more is asked than a person can answer, ValueError for
        views with unlike numbers of options, and SuperalignError for a journal that can't be read.
        """
        if len({len(view.options) for view in views}) > 1:
            raise ValueError(f"{self.name} was shown views with unlike numbers of options: ask of one number at a time")
        if self.journal is not None:
            self.answered.update(read_journal(self.journal, self.name))
        keys = [view_digest(view) for view in views]
        new = len({*keys} - {*self.answered})
        if new > self.most:
            raise NotSearchable(
                f"{new} questions at once are too many for a person, {self.most} is the limit: advisers search "
                "against a stand-in such as the likelihood judge, and no judge is adapted to a person; for so many "
                "items, raise `most`"
            )
        by_key = {keys[i]: views[i] for i in spread(views, self.seed)} if new else {}
        self._ask_all([(key, view) for key, view in by_key.items() if key not in self.answered], len(by_key))
        rows = [self.answered[key].belief or (math.nan,) * len(v.options) for key, v in zip(keys, views, strict=True)]
        return np.array(rows, dtype=np.float64) if rows else np.zeros((0, 0))

    def seconds(self, views: Sequence[View]) -> np.ndarray:
        """(views,) how long each took the person, seconds; NaN where it was not asked."""
        none = Answer(None, math.nan)
        return np.array([self.answered.get(view_digest(view), none).seconds for view in views], dtype=np.float64)

    def _ask_all(self, todo: Sequence[tuple[str, View]], total: int) -> None:
        at = 0
        while at < len(todo):
            key, view = todo[at]
            answer = self._ask_one(view, f"{total - len(todo) + at + 1} of {total}", first=at == 0)
            if answer is None:
                at -= 1
                continue
            self.answered[key] = answer
            if self.journal is not None:
                write_answer(self.journal, self.name, key, answer)
            at += 1

    def _ask_one(self, view: View, head: str, *, first: bool) -> Answer | None:
        """What is answered, or None for "back"."""
        self._show(page(view, head))
        began = self.clock()
        while True:
            said = self._line(question_to(view.options))
            if said == "skip":
                return Answer(None, self.clock() - began)
            if said == "back" and not first:
                return None
            try:
                if said == "back":
                    raise ValueError("there is nothing to go back to: this is the first question of its round")
                return Answer(percentages(said, len(view.options)), self.clock() - began)
            except ValueError as wrong:
                self._show(visible(str(wrong)))

    def _line(self, prompt: str) -> str:
        kept = f"what was answered is kept in {self.journal}" if self.journal else "without a journal nothing is kept"
        try:
            said = self.ask(prompt).strip().lower()
        except EOFError as error:
            raise Stopped(f"no more answers come, the input is closed: {kept}; run it again to go on") from error
        if said == "quit":
            raise Stopped(f"stopped by the judge: {kept}; run it again to go on")
        return said

    def _show(self, what: Any) -> None:
        from rich.console import Console

        (self.console or Console(stderr=True)).print(what, markup=False, highlight=False)


def view_digest(view: View) -> str:
    """SHA-256 of all that a judge is shown."""
    return hashlib.sha256(json.dumps(asdict(view), sort_keys=True).encode()).hexdigest()


def spread(views: Sequence[View], seed: int) -> list[int]:
    """An order of views, shuffled, in which those of one item do not follow each other where that can be helped.

    Of one item are neighbours in `views`, where a play puts its seatings, and views that share a quote or a question
    that others don't.
    """
    shuffled = np.random.default_rng([seed, 43]).permutation(len(views)).tolist()
    asked = [view.question for view in views]
    told = [
        {*view.shown().items(), *((view.question,) if asked.count(view.question) * 2 <= len(views) else ())}
        for view in views
    ]

    def kin(i: int, j: int) -> bool:
        return abs(i - j) == 1 or not told[i].isdisjoint(told[j])

    out: list[int] = []
    left: list[int] = shuffled
    while left:
        free = next((k for k, i in enumerate(left) if not out or not kin(out[-1], i)), None)
        if free is not None:
            out.append(left.pop(free))
            continue
        odd = left.pop(0)
        gaps = (k for k in range(len(out)) if not kin(out[k], odd) and not (k and kin(out[k - 1], odd)))
        out.insert(next(gaps, len(out)), odd)
    return out


def no_search(players: Players) -> None:
    """Refuse a table at which anybody but the table itself asks a judge that can't be searched against.

    Raises NotSearchable, and says who sits where and what to do.
    """
    for seat, player in players.items():
        for inner in _inside(player):
            if not getattr(inner, "searchable", True):
                raise NotSearchable(
                    f"{type(player).__name__} at seat {seat!r} asks a {type(inner).__name__} as often as it likes: "
                    "seat advisers that search against a stand-in (the likelihood judge), and leave out protocols "
                    "that train or adapt a judge"
                )


def _inside(player: Any) -> Iterator[Any]:
    """Whom a player asks, and whom these ask."""
    for asked in (getattr(player, "judge", None), getattr(player, "knower", None)):
        if asked is not None and asked is not player:
            yield asked
            yield from _inside(asked)


def write_answer(journal: Path, name: str, key: str, answer: Answer) -> None:
    """Add one line, which is on the disk when this returns. Raises SuperalignError where the disk is full."""
    entry = {"judge": name, "view": key, "belief": answer.belief, "seconds": round(answer.seconds, 3)}
    with disk_errors(journal, "writing down an answer"):
        journal.parent.mkdir(parents=True, exist_ok=True)
        file = journal.open("ab")
    with disk_errors(journal, "writing down an answer"), file:
        file.write(json.dumps(entry, allow_nan=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_journal(journal: Path, name: str) -> dict[str, Answer]:
    """Digest of a view → answer; none where there is no file. A last line that was torn by a kill is mended.

    Raises SuperalignError for any other line that is no answer of this person.
    """
    if not journal.exists():
        return {}
    data = _mended(journal, journal.read_bytes())
    found = {}
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            entry = json.loads(line)
            key, answer = _answer(entry, name)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SuperalignError(
                f"line {number} of {journal} is no answer of {name} ({visible(str(error))[:80]}): take the line out, "
                "or choose another journal"
            ) from error
        found[key] = answer
    return found


def _mended(journal: Path, data: bytes) -> bytes:
    """The journal without what is left of a line that a kill has torn; a line that only lacks its end gets it."""
    whole = data.rfind(b"\n") + 1
    if whole == len(data):
        return data
    with disk_errors(journal, "mending a torn line"):
        if _is_json(data[whole:]):
            with journal.open("ab") as file:
                file.write(b"\n")
            return data + b"\n"
        os.truncate(journal, whole)
        return data[:whole]


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _answer(entry: Mapping[str, Any], name: str) -> tuple[str, Answer]:
    if entry["judge"] != name:
        raise ValueError(f"it is of {entry['judge']}")
    belief = None if entry["belief"] is None else tuple(map(float, entry["belief"]))
    if belief is not None and not (all(0 <= p <= 1 for p in belief) and abs(math.fsum(belief) - 1) < 1e-6):
        raise ValueError("its belief is none")
    return str(entry["view"]), Answer(belief, float(entry["seconds"]))
