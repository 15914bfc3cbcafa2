"""What players in words heard in one cell: kept, and read again from the raw responses.

    ear = Ear(speaker)                                   # a cell's players ask through it
    bills = reheard(protocol, cases, episodes, players)  # every message and belief follows again, with its tokens

One question has one answer in a cell: a request that nothing came of (timeout, server error, …) is not sent again in
it, so that the episodes follow from one map, of requests to raw responses. It is sent again when the cell is played
again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from superalign.evidence.store import ObjectStore
from superalign.models.remote import KeptOnly, KeptRow
from superalign.models.speaker import Ask, Reply, Speaker
from superalign.oversight import Case, Protocol
from superalign.oversight.record import answered, recorded
from superalign.oversight.table import Failed, Request, Table, plain
from superalign.oversight.types import Message
from superalign.pipeline.tally import close

Silence = tuple[str, str]
"""Kind and why of a reply without a raw response."""


class Ear:
    """A speaker as one cell hears it: remembers what was heard, by the key of each request."""

    reserved = ()

    def __init__(self, speaker: Speaker) -> None:
        self.speaker = speaker
        self.heard: dict[str, str] = {}
        self.silent: dict[str, Silence] = {}

    @property
    def identity(self) -> str:
        """Of whom is heard."""
        return self.speaker.identity

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply an ask, in their order; what nothing came of is not sent again."""
        keys = [ask.key(self.identity) for ask in asks]
        todo = {key: ask for key, ask in zip(keys, asks, strict=True) if key not in self.silent}
        replies = dict(zip(todo, self.speaker.ask(list(todo.values())) if todo else (), strict=True))
        for key, reply in replies.items():
            if reply.raw:
                self.heard[key] = reply.raw
            else:
                self.silent[key] = (reply.kind, reply.why)
        return [replies[key] if key in replies else silence(self.silent[key]) for key in keys]


class Again:
    """Answers as a cell heard them, read anew from raw responses: nothing is sent. Raises KeptError, Tampered."""

    reserved = ()

    def __init__(
        self, *, identity: str, form: str, heard: Mapping[str, str], silent: Mapping[str, Silence], store: ObjectStore
    ) -> None:
        rows = [KeptRow(key=key, form=form, raw=raw, read=0, written=0) for key, raw in heard.items()]
        self.identity, self._silent = identity, silent
        self._kept = KeptOnly(identity=identity, rows=rows, store=store)
        self._read: dict[str, Reply] = {}

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply an ask, in their order."""
        return [self.one(ask, ask.key(self.identity)) for ask in asks]

    def one(self, ask: Ask, key: str) -> Reply:
        """The reply to one request of that key."""
        if key in self._silent:
            return silence(self._silent[key])
        if key not in self._read:
            (self._read[key],) = self._kept.ask([ask])
        return self._read[key]


def silence(told: Sequence[str]) -> Reply:
    """A reply without a raw response. Raises ValueError for one that says something.

    >>> silence(("none", "timeout")).why
    'timeout'
    """
    kind, why = told
    if kind not in ("none", "refused"):
        raise ValueError(f"a reply of kind {kind!r:.40} is on record without its raw response")
    return Reply(kind=kind, why=str(why), sent=0)  # type: ignore[arg-type]


def reheard(
    protocol: Protocol,
    cases: Mapping[str, Case],
    episodes: Iterable[Mapping[str, Any]],
    players: Mapping[str, Any],
    who: Mapping[str, str],
) -> dict[str, Any]:
    """Have every answer of players in words follow again from raw responses; what each play cost, in tokens.

    `players`: seat → player in words, its speaker `Again`; `who`: seat → whose bill it is. Returns `plays`, in order:
    who → tokens read and written, an answer that was heard before at its full cost; and `replies`: seat → kind →
    requests. Raises ValueError where an answer on record is another than the one that was heard, KeptError where
    none was heard, Tampered where a raw response is damaged.
    """
    seen: dict[str, str] = {}
    replies: dict[str, Counter[str]] = {}
    plays = []
    for episode in episodes:
        tokens: dict[str, tuple[str, int, int]] = {}
        table = Table(
            protocol=protocol, case=cases[episode["item"]], sides=tuple(episode["sides"]), seed=episode["seed"]
        )
        for request, entry in _requests(table, episode["answers"]):
            player = players.get(request.seat)
            if player is None or request.what == "holds":
                continue
            asks = player.asks_of(request.what, request.about)
            keys = [ask.key(player.speaker.identity) for ask in asks]
            came = [player.speaker.one(ask, key) for ask, key in zip(asks, keys, strict=True)]
            if not close(_entry(request, player.answer_of(request.what, request.about, came)), entry):
                raise ValueError(
                    f"{protocol.name}: what {request.seat} is said to have answered about {episode['item']} is not "
                    "what the raw responses say"
                )
            for key, reply in zip(keys, came, strict=True):
                tokens[key] = (who[request.seat], reply.read, reply.written)
                if key not in seen:
                    seen[key] = player.kind_of(request.what, request.about, reply)
                    replies.setdefault(request.seat, Counter())[seen[key]] += 1
        plays.append({name: _sum(tokens.values(), name) for name in dict.fromkeys(who.values())})
    return {"plays": plays, "replies": {seat: dict(sorted(kinds.items())) for seat, kinds in sorted(replies.items())}}


def _requests(table: Table, log: Sequence[Sequence[Mapping[str, Any]]]) -> Iterable[tuple[Request, Mapping[str, Any]]]:
    """Everything that is asked in a play that goes as recorded, with what is on record for it."""
    rules = table.protocol.play(table)
    sent: tuple[Any, ...] | None = None
    for turn in log:
        requests = next(rules) if sent is None else rules.send(sent)
        yield from zip(requests, turn, strict=True)
        sent = tuple(answered(entry, request, table) for entry, request in zip(turn, requests, strict=True))


def _entry(request: Request, answer: Any) -> dict[str, Any]:
    if isinstance(answer, Failed):
        return {"failed": str(answer.kind)}
    return recorded(request.what, plain(answer) if isinstance(answer, Message) else answer)


def _sum(tokens: Iterable[tuple[str, int, int]], name: str) -> list[int]:
    mine = [(read, written) for who, read, written in tokens if who == name]
    return [sum(read for read, _ in mine), sum(written for _, written in mine)]
