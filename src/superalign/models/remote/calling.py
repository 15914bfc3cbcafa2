"""Asking a model behind an API: many requests at once, again where that helps, kept before they are handed back.

    speaker = RemoteSpeaker(line, terms=Terms(concurrency=16))
    speaker.ask(asks)                  # one Reply an ask, whatever happened
    speaker.tally()                    # what went out, what came of it, what it cost

Threads pull from one agenda; a request that failed goes back onto it with the time at which it is due, so that no
thread sleeps while others could be sent. Equal requests go out once, also when several threads ask at the same time.
What came is kept while the next requests are under way: a kill loses at most twice `concurrency` of them.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import BoundedSemaphore, Event, Lock
from typing import Protocol

from superalign.models.errors import ModelError
from superalign.models.remote.keeping import PAID, Kept, once
from superalign.models.remote.pacing import Pace, backoff
from superalign.models.remote.refusals import FILTER_WHY, Fault
from superalign.models.remote.replies import Malformed, heard
from superalign.models.remote.reserving import Reservation
from superalign.models.remote.spending import Estimate, Price, Purse, estimate, priced, read_bound, read_estimate
from superalign.models.remote.terms import Terms, WrongAddress
from superalign.models.speaker import Ask, Reply

HOPELESS = 20
"""Tries in a row, from the very first one on, after which an address where nobody listens is given up."""


class Line(Protocol):
    """The way to one model."""

    identity: str
    """Its address, and all else that decides what it answers."""
    form: str
    """Of its raw responses: a name in `replies.FORMS`."""

    def close(self) -> None:
        """Let its connections go."""

    def send(self, ask: Ask) -> bytes:
        """The raw response to one request, tried once. Raises Fault; ModelError for what would fail all others too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Of one speaker in this process."""

    asked: int
    kept: int
    """Of these, how many were there already."""
    sent: int
    """Requests that went out, failed tries included."""
    kinds: dict[str, int]
    """Of replies that were sent for."""
    whys: dict[str, int]
    """Of refusals and of replies that did not come."""
    faults: dict[str, int]
    """Of tries that failed, whether or not a later one succeeded."""
    said: dict[str, str]
    """By the server, at the last fault of each kind."""
    read: int
    written: int
    usd: float | None
    """What these cost, presumed costs of lost requests included; None where no price is known."""


@dataclass(order=True, slots=True)
class _Call:
    """A request on its way. In an agenda, what is due first comes first."""

    due: float
    place: int
    ask: Ask = field(compare=False)
    future: Future[Reply | None] = field(compare=False)
    sent: int = field(default=0, compare=False)
    since: float = field(default=0.0, compare=False)


class _Agenda:
    """What one `ask` has still to do."""

    def __init__(self, calls: Sequence[_Call]) -> None:
        self._ready, self._later = deque(calls), list[_Call]()
        self._lock = Lock()
        self.stopping = Event()

    def next(self, now: float) -> _Call | None:
        """What is due again, else what was never sent, else what is due next; None when nothing is left, or to stop."""
        with self._lock:
            if self.stopping.is_set():
                return None
            if self._later and (self._later[0].due <= now or not self._ready):
                return heapq.heappop(self._later)
            return self._ready.popleft() if self._ready else None

    def again(self, call: _Call) -> None:
        """It failed, and is tried again when it is due."""
        with self._lock:
            heapq.heappush(self._later, call)


class RemoteSpeaker:
    """A Speaker behind a line. Thread-safe; `clock` (monotonic seconds), `sleep` and `rng` are for tests."""

    def __init__(
        self,
        line: Line,
        *,
        terms: Terms | None = None,
        kept: Kept | None = None,
        purse: Purse | None = None,
        price: Price | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.line, self.terms = line, terms or Terms()
        self.purse = purse or Purse(self.terms.limit_usd)
        self.price = priced(price, self.purse.limit_usd, line.identity)
        self.kept = kept
        self.purse.join(line.identity, kept)
        self._clock, self._sleep, self._rng = clock, sleep, rng or random.Random()
        self._pace = Pace(requests=self.terms.requests_per_minute, tokens=self.terms.tokens_per_minute)
        self._slots = BoundedSemaphore(self.terms.concurrency)
        self._flying: dict[str, Future[Reply | None]] = {}
        self._lock = Lock()
        self._counts: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._whys: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._usd = 0.0
        self._said: dict[str, str] = {}
        self._heard = self._answered = False
        self._hopeless = self._bad = 0

    @property
    def identity(self) -> str:
        """The model's address; no digest, for nobody sees its weights."""
        return self.line.identity

    def __repr__(self) -> str:
        return f"RemoteSpeaker({self.identity!r})"

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply an ask, in their order. Raises KeyRefused, SpendingLimit, QuotaSpent, WrongAddress or KeptError.

        Before one of these is raised, requests under way are waited for and kept.
        """
        keys = [ask.key(self.identity) for ask in asks]
        first = dict(zip(keys, asks, strict=True))
        with self._lock:
            others = {key: self._flying[key] for key in first if key in self._flying}
            mine = {key: Future[Reply | None]() for key in first if key not in others}
            self._flying |= mine
        calls: list[_Call] = []
        try:
            there = self.kept.find(mine) if self.kept else {}
            for key, future in mine.items():
                if key in there:
                    future.set_result(there[key])
                else:
                    calls.append(_Call(due=0.0, place=len(calls), ask=first[key], future=future))
            self._play(_Agenda(calls), len(calls))
        finally:
            self._land(mine)
        replies = {key: future.result() for key, future in mine.items()} | self._joined(others, first)
        with self._lock:
            self._counts["asked"] += len(asks)
            self._counts["kept"] += len(asks) - len(calls)
        return once(keys, {key: reply for key, reply in replies.items() if reply})

    def estimate(self, asks: Sequence[Ask]) -> Estimate:
        """What asking these would cost at most; nothing is sent."""
        first = {ask.key(self.identity): ask for ask in asks}
        there = {row.key for row in self.kept.rows(first)} if self.kept else set()
        todo = [ask for key, ask in first.items() if key not in there]
        return estimate(todo, price=self.price, kept=len(asks) - len(todo))

    def tally(self) -> Tally:
        """What went through this speaker so far."""
        with self._lock:
            counts = {name: self._counts[name] for name in ("asked", "kept", "sent", "read", "written")}
            kinds, whys, faults = (dict(sorted(c.items())) for c in (self._kinds, self._whys, self._faults))
            usd = self._usd if self.price else None
        return Tally(**counts, kinds=kinds, whys=whys, faults=faults, said=dict(self._said), usd=usd)

    def close(self) -> None:
        """Let connections and the index go; what was kept stays."""
        self.line.close()
        if self.kept:
            self.kept.close()

    def _land(self, mine: dict[str, Future[Reply | None]]) -> None:
        """These are no longer under way; whoever waits for one that never came is told so."""
        with self._lock:
            for key, future in mine.items():
                del self._flying[key]
                if not future.done():
                    future.set_result(None)

    def _joined(self, others: dict[str, Future[Reply | None]], first: dict[str, Ask]) -> dict[str, Reply]:
        """Replies to what another thread had asked already; asked again here where that one gave up."""
        came = {key: future.result() for key, future in others.items()}
        left = [key for key, reply in came.items() if reply is None]
        replies = {key: replace(reply, sent=0, seconds=0.0) for key, reply in came.items() if reply}
        return replies | dict(zip(left, self.ask([first[key] for key in left]) if left else [], strict=True))

    def _play(self, agenda: _Agenda, calls: int) -> None:
        # what came is being kept while the next request is under way: requests under way are bounded by the slots
        threads = min(self.terms.concurrency * (2 if self.kept else 1), calls)
        if threads < 2:
            return self._work(agenda)
        with ThreadPoolExecutor(threads, thread_name_prefix="ask") as pool:
            try:
                for work in [pool.submit(self._work, agenda) for _ in range(threads)]:
                    work.result()
            finally:  # an error in one of them, or here: the others finish what is under way, and stop
                agenda.stopping.set()
        return None

    def _work(self, agenda: _Agenda) -> None:
        orderly = False
        try:
            while call := agenda.next(self._clock()):
                self._wait(agenda, call.due - self._clock())
                self._try(agenda, call)
            orderly = True
        finally:
            if not orderly:
                agenda.stopping.set()

    def _wait(self, agenda: _Agenda, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds) if self._sleep else agenda.stopping.wait(seconds)

    def _try(self, agenda: _Agenda, call: _Call) -> None:
        """Send it once; book, keep and hand over what came, or put it back onto the agenda."""
        read = read_bound(call.ask)
        worst = self.price.of(read, call.ask.tokens) if self.price else 0.0
        reserved = Reservation(usd=worst, read=read, ask=call.ask, identity=self.identity)
        if not self.purse.reserve(reserved, self.kept, stopping=agenda.stopping):
            return
        spent = worst  # of what is broken off nobody knows
        try:
            try:
                came = self._sent(agenda, call)
            except ModelError:
                spent = 0.0  # it was refused, as all others would be
                raise
            if came is None:
                spent = 0.0
            elif isinstance(came, Fault):
                spent = worst if came.billed else 0.0
                self._failed(agenda, call, came, reserved)
            else:
                reply = replace(came[1], sent=call.sent, seconds=self._clock() - call.since)
                spent = self._cost(reply, worst)
                self._came(call, came[0], reply, spent, reserved)
        finally:
            self.purse.settle(reserved, spent, self.kept)
            with self._lock:
                self._usd += spent

    def _sent(self, agenda: _Agenda, call: _Call) -> tuple[bytes, Reply] | Fault | None:
        """What came of one try, made when a slot and the pace allow it; None if all is to stop."""
        done, raw = False, b""
        with self._slots:
            try:
                while not agenda.stopping.is_set():
                    tokens = read_estimate(call.ask) + call.ask.tokens
                    if delay := self._pace.delay(self._clock(), tokens=tokens):
                        self._wait(agenda, delay)
                        continue
                    call.since, call.sent = call.since or self._clock(), call.sent + 1
                    with self._lock:
                        self._counts["sent"] += 1
                    raw = self.line.send(call.ask)
                    done = True
                    return raw, heard(self.line.form, raw)
                done = True
                return None
            except Malformed:
                return Fault("malformed", billed=True, raw=raw)
            except Fault as fault:
                done = True
                return fault
            finally:
                if not done:  # before anyone else gets the slot
                    agenda.stopping.set()

    def _cost(self, reply: Reply, worst: float) -> float:
        """USD; the most it can have been where the provider counts no tokens of what it wrote."""
        if not self.price:
            return 0.0
        uncounted = not (reply.read or reply.written) and (reply.kind in ("answer", "cut") or reply.text)
        return worst if uncounted else self.price.of(reply.read, reply.written)

    def _came(self, call: _Call, raw: bytes, reply: Reply, usd: float, reserved: Reservation) -> None:
        self._pace.answered()
        self._heard = self._answered = True
        if self.kept and reply.kind in PAID:
            reply = self.kept.keep(
                call.ask,
                identity=self.identity,
                form=self.line.form,
                raw=raw,
                reply=reply,
                usd=usd,
                reserved=reserved,
            )
        elif self.kept and usd:  # the prompt alone was paid for
            self.kept.lost(reserved, form=self.line.form, raw=raw, read=reply.read, written=reply.written, usd=usd)
        with self._lock:
            self._counts["read"] += reply.read
            self._counts["written"] += reply.written
        self._over(call, reply)

    def _failed(self, agenda: _Agenda, call: _Call, fault: Fault, reserved: Reservation) -> None:
        if self.kept and fault.billed:
            self.kept.lost(reserved, form=self.line.form, raw=fault.raw)
        with self._lock:
            self._faults[fault.why] += 1
            if fault.said:
                self._said[fault.why] = fault.said
        last = call.sent > self.terms.retries
        self._despair(fault, last)
        wait = backoff(call.sent, self._rng, base=self.terms.backoff)
        if fault.after is not None:  # a little later than told, so that not all come back at once
            wait = fault.after + self._rng.uniform(0.0, min(1.0, fault.after / 4))
        soon = wait <= self.terms.longest_wait
        if fault.why == "rate limit" and soon:
            self._pace.limited(self._clock(), wait)
        if fault.again and not last and soon:
            call.due = self._clock() + wait
            return agenda.again(call)
        reply = Reply(kind="refused" if fault.why == FILTER_WHY else "none", why=fault.why, sent=call.sent)
        return self._over(call, replace(reply, seconds=self._clock() - call.since))

    def _despair(self, fault: Fault, last: bool) -> None:
        """Raise what no further request would change: nobody there, or each of the first requests a bad one."""
        with self._lock:
            self._heard |= fault.why not in ("connection", "timeout")
            self._hopeless += fault.refused
            self._bad += fault.why == "bad request"
        if fault.refused and not self._heard and (last or self._hopeless >= HOPELESS):
            said = f" ({fault.said})" if fault.said else ""
            raise WrongAddress(f"{self.identity}: nobody answers there{said}: is the server up, and the address right?")
        if self._bad >= HOPELESS and not self._answered:
            raise ModelError(f"{self.identity} refuses all of the first {HOPELESS} requests as bad: {fault.said}")

    def _over(self, call: _Call, reply: Reply) -> None:
        with self._lock:
            self._kinds[reply.kind] += 1
            if reply.why:
                self._whys[reply.why] += 1
        call.future.set_result(reply)
