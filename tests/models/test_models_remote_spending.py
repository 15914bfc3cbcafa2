"""Money: estimates, a limit that is never crossed, not by kills nor by many processes, and sums that survive."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from superalign.models.errors import ModelError
from superalign.models.remote import Kept, Price, Purse, RemoteSpeaker, SpendingLimit, Terms, estimate
from superalign.models.remote.prices import price_of
from superalign.models.remote.refusals import Fault
from superalign.models.remote.reserving import Owner, Reservation, Till, gone
from superalign.models.remote.spending import FRAME, read_bound, read_estimate
from superalign.models.speaker import Ask, Turn
from superalign.models.speakers import speaker_at

SPEC = importlib.util.spec_from_file_location("faulty_server", Path(__file__).with_name("faulty_server.py"))
assert SPEC is not None
assert SPEC.loader is not None
faulty = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(faulty)

PRICE = Price(read=1.0, written=10.0, source="terms")


def asks(n: int) -> list[Ask]:
    return [Ask(messages=(Turn("user", f"question {i:03}"),), tokens=100) for i in range(n)]


def reservation(usd: float, place: int = 0, identity: str = "paid") -> Reservation:
    return Reservation(usd=usd, read=4, ask=asks(place + 1)[place], identity=identity)


class Paid:
    """A line whose answers bill so many tokens; None: what becomes of the request is unknown."""

    identity, form = "paid", "openai"

    def __init__(self, read: int | None = 10, written: int = 5, **choice: Any) -> None:
        self.read, self.written, self.asked, self.choice = read, written, list[Ask](), choice

    def send(self, ask: Ask) -> bytes:
        self.asked.append(ask)
        if self.read is None:
            raise Fault("timeout", billed=True)
        usage = {"prompt_tokens": self.read, "completion_tokens": self.written}
        message = {"content": ask.messages[0].content}
        choice = {"message": message, "finish_reason": "stop", **self.choice}
        return json.dumps({"choices": [choice], "usage": usage}).encode()

    def close(self) -> None:
        pass


def speaker(line: Paid, folder: Path, limit: float | None, **named: object) -> RemoteSpeaker:
    terms = Terms(concurrency=4, backoff=0.0, limit_usd=limit, **named)  # type: ignore[arg-type]
    return RemoteSpeaker(line, terms=terms, kept=Kept(folder), price=PRICE)


def test_an_estimate_comes_before_the_first_call_and_knows_what_is_kept(tmp_path: Path) -> None:
    line = Paid()
    speaking = speaker(line, tmp_path, None)
    told = speaking.estimate([*asks(10), *asks(3)])
    assert not line.asked
    assert (told.asked, told.kept, told.read, told.written) == (13, 3, 10 * (6 + FRAME), 1000)
    assert told.usd == pytest.approx((220 + 10 * 1000) / 1e6)
    speaking.ask(asks(4))
    assert speaking.estimate(asks(10)).kept == 4
    speaking.close()
    assert estimate(asks(1), price=None).usd is None


@pytest.mark.parametrize("text", ["", "plain words", "日本語のテキスト", "🙂🙂", "x" * 1000])
def test_the_bound_holds_for_a_tokenizer_of_bytes(text: str) -> None:
    ask = Ask(messages=(Turn("user", text),), tokens=1)
    assert read_bound(ask) >= len(text.encode())
    assert read_estimate(ask) >= len(text) / 3


def test_the_limit_is_not_crossed_and_a_second_run_goes_on(tmp_path: Path) -> None:
    line = Paid(read=20, written=90)
    one = (20 + 900) / 1e6
    worst = PRICE.of(read_bound(asks(1)[0]), 100)
    limit = 10.5 * one + worst
    first = speaker(line, tmp_path, limit)
    with pytest.raises(SpendingLimit, match="raise the limit"):
        first.ask(asks(40))
    paid = first.kept.paid("paid")  # type: ignore[union-attr]
    assert paid.replies == len(line.asked) == 11, "as many as fit, though four at a time went out"
    assert paid.usd == pytest.approx(11 * one)
    assert paid.usd <= limit
    with pytest.raises(SpendingLimit):
        speaker(line, tmp_path, limit).ask(asks(40))
    assert len(line.asked) == 11, "what earlier runs spent counts"
    done = speaker(line, tmp_path, 1.0)
    replies = done.ask(asks(40))
    assert len(line.asked) == 40, "what was paid for is not asked again"
    assert [r.text for r in replies] == [a.messages[0].content for a in asks(40)]
    assert done.tally().usd == pytest.approx(29 * one)
    assert done.kept.paid("paid").usd == pytest.approx(40 * one)  # type: ignore[union-attr]


def test_requests_whose_fate_is_unknown_count_as_billed(tmp_path: Path) -> None:
    line = Paid(read=None)
    worst = PRICE.of(read_bound(asks(1)[0]), 100)
    speaking = speaker(line, tmp_path, 5.5 * worst, retries=0)
    with pytest.raises(SpendingLimit):
        speaking.ask(asks(20))
    assert len(line.asked) == 5
    paid = speaking.kept.paid("paid")  # type: ignore[union-attr]
    assert (paid.replies, paid.lost) == (0, 5)
    assert paid.usd == pytest.approx(5 * worst)


@pytest.mark.parametrize("choice", [{}, {"finish_reason": "length"}, {"message": {"refusal": "I won't."}}])
def test_answers_without_counted_tokens_are_booked_at_the_most_they_can_cost(
    choice: dict[str, Any], tmp_path: Path
) -> None:
    """Those that were cut, and refusals in words, as well: they were written."""
    speaking = speaker(Paid(read=0, written=0, **choice), tmp_path, 1.0)
    speaking.ask(asks(3))
    assert speaking.tally().usd == pytest.approx(3 * PRICE.of(read_bound(asks(1)[0]), 100))


def test_a_filtered_prompt_costs_nothing(tmp_path: Path) -> None:
    speaking = speaker(Paid(read=0, written=0, finish_reason="content_filter", message={"content": ""}), tmp_path, 1.0)
    assert {reply.kind for reply in speaking.ask(asks(3))} == {"refused"}
    assert speaking.tally().usd == 0.0


def test_a_limit_without_a_price_is_an_error_that_names_the_options() -> None:
    with pytest.raises(ModelError, match="price_in and price_out"):
        speaker_at("http://127.0.0.1:9/v1#m", terms=Terms(limit_usd=1.0))
    speaker_at("http://127.0.0.1:9/v1#m", terms=Terms(limit_usd=1.0, price_in=0.0, price_out=0.0))


def test_two_speakers_share_a_purse(tmp_path: Path) -> None:
    purse, lines = Purse(limit_usd=0.0101), [Paid(read=0, written=100), Paid(read=0, written=100)]
    speakers = [RemoteSpeaker(line, terms=Terms(), purse=purse, price=PRICE) for line in lines]
    speakers[0].ask(asks(5))
    with pytest.raises(SpendingLimit):
        speakers[1].ask(asks(20))
    assert sum(len(line.asked) for line in lines) == 10
    assert purse.spent <= 0.0101


def test_whoever_waits_for_money_goes_on_when_a_request_turns_out_cheap() -> None:
    purse, came = Purse(limit_usd=1.0), list[str]()
    purse.reserve(reservation(0.8))
    thread = Thread(target=lambda: (purse.reserve(reservation(0.8)), came.append("second")))
    thread.start()
    thread.join(0.05)
    assert not came
    purse.settle(reservation(0.8), 0.1)
    thread.join(10)
    assert came == ["second"]
    purse.settle(reservation(0.8), 0.8)
    with pytest.raises(SpendingLimit, match=r"spent 0\.9000 of 1\.0000 USD"):
        purse.reserve(reservation(0.2))


def test_prices_come_from_the_terms_or_from_inspect() -> None:
    assert price_of(Terms()) is None
    assert price_of(Terms(price_in=2, price_out=3)) == Price(read=2, written=3, source="terms")
    inspect_model = pytest.importorskip("inspect_ai.model")
    inspect_model.set_model_info("mockllm/priced", inspect_model.ModelInfo())
    cost = inspect_model.ModelCost(input=1, output=4, input_cache_write=2, input_cache_read=0.1)
    inspect_model.set_model_cost("mockllm/priced", cost)
    model = inspect_model.get_model("mockllm/priced", memoize=False)
    assert price_of(Terms(), model) == Price(read=2, written=4, source="inspect")
    assert price_of(Terms(), inspect_model.get_model("mockllm/model", memoize=False)) is None
    assert price_of(Terms(price_in=5, price_out=6), model) == Price(read=5, written=6, source="terms")


def test_what_is_kept_is_said_as_it_is(tmp_path: Path) -> None:
    line = Paid(read=0, written=100)
    with pytest.raises(SpendingLimit, match="what was answered is kept, and is not asked again; raise the limit"):
        speaker(line, tmp_path, 0.0025).ask(asks(9))
    with pytest.raises(SpendingLimit, match=r"what was answered is lost, for nothing is kept: name a folder \(kept\)"):
        RemoteSpeaker(line, terms=Terms(limit_usd=0.0025), price=PRICE).ask(asks(9))


def rows_of(folder: Path, query: str) -> list[tuple[Any, ...]]:
    index = sqlite3.connect(folder / "replies.sqlite")
    found = index.execute(query).fetchall()
    index.close()
    return found


def test_what_is_known_not_to_be_billed_is_free_again(tmp_path: Path) -> None:
    class Busy(Paid):
        def send(self, ask: Ask) -> bytes:
            if len(self.asked) < 9:
                self.asked.append(ask)
                raise Fault("rate limit", after=0.001)
            assert rows_of(tmp_path, "SELECT COUNT(*) FROM reservation") > [(0,)]
            return super().send(ask)

    speaking = speaker(Busy(), tmp_path, 3 * PRICE.of(read_bound(asks(1)[0]), 100), retries=9)
    assert {reply.kind for reply in speaking.ask(asks(4))} == {"answer"}
    assert rows_of(tmp_path, "SELECT * FROM reservation") == []
    assert speaking.kept.paid("paid").lost == 0  # type: ignore[union-attr]


def test_what_was_broken_off_on_the_way_counts_at_the_worst(tmp_path: Path) -> None:
    class Broken(Paid):
        def send(self, ask: Ask) -> bytes:
            raise KeyboardInterrupt

    worst = PRICE.of(read_bound(asks(1)[0]), 100)
    speaking = speaker(Broken(), tmp_path, 1.5 * worst)
    with pytest.raises(KeyboardInterrupt):
        speaking.ask(asks(1))
    assert speaking.kept.paid("paid").usd == pytest.approx(worst)  # type: ignore[union-attr]
    with pytest.raises(SpendingLimit):
        speaking.ask(asks(1))


def test_a_prompt_that_was_paid_for_without_a_reply_is_booked(tmp_path: Path) -> None:
    """As where the answer did not fit into the context."""

    class Full(Paid):
        form = "inspect"

        def send(self, ask: Ask) -> bytes:
            choice = {"message": {"content": ""}, "stop_reason": "model_length"}
            return json.dumps({"choices": [choice], "usage": {"input_tokens": 50, "output_tokens": 0}}).encode()

    speaking = speaker(Full(), tmp_path, 1.0)
    assert {reply.why for reply in speaking.ask(asks(3))} == {"context"}
    paid = speaking.kept.paid("paid")  # type: ignore[union-attr]
    assert (paid.replies, paid.lost, paid.usd) == (0, 3, pytest.approx(3 * 50e-6))


def test_who_shares_a_limit_shares_the_folder(tmp_path: Path) -> None:
    purse = Purse(limit_usd=1.0)
    for folder in ("a", "a"):
        RemoteSpeaker(Paid(), purse=purse, price=PRICE, kept=Kept(tmp_path / folder))
    for kept in (None, Kept(tmp_path / "b")):
        with pytest.raises(ModelError, match="who shares a limit keeps replies in one folder"):
            RemoteSpeaker(Paid(), purse=purse, price=PRICE, kept=kept)


def test_an_owner_is_there_as_long_as_its_process(tmp_path: Path) -> None:
    here = Owner(tmp_path)
    script = "import sys, pathlib; from superalign.models.remote.reserving import Owner\n"
    script += "owner = Owner(pathlib.Path(sys.argv[1])); print(owner.name, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as there:
        assert there.stdout is not None
        other = tmp_path / there.stdout.readline().strip()
        assert [gone(tmp_path / here.name), gone(other)] == [False, False]
        there.kill()
    assert gone(other)
    third = Owner(tmp_path)  # tidies up
    assert {path.name for path in tmp_path.iterdir()} == {here.name, third.name}
    here.close()
    third.close()
    assert gone(tmp_path / here.name)
    assert list(tmp_path.iterdir()) == []


def test_what_others_set_aside_counts_and_is_spent_for_good_once_they_are_gone(tmp_path: Path) -> None:
    one, two = Kept(tmp_path), Kept(tmp_path)
    till, other = Till(), Till()
    till.add("paid")
    other.add("someone else")
    wanted = reservation(0.6)
    assert one.reserve(wanted, till, 1.0)
    assert not two.reserve(reservation(0.6, 1), till, 1.0)
    assert two.reserve(reservation(0.6, 1, "someone else"), other, 1.0), "another model's money"
    Kept(tmp_path).close()
    assert (till.paid, till.open, two.paid("paid").usd) == (0.0, 0.6, 0.0), "its owner lives"
    one.close()
    assert not two.reserve(reservation(0.6, 1), till, 1.0)
    assert (till.paid, till.open) == (0.6, 0.0)
    assert two.reserve(reservation(0.4, 1), till, 1.0)
    (row,) = rows_of(tmp_path, "SELECT key, kind, read, written, usd FROM call WHERE identity = 'paid'")
    assert row == (wanted.ask.key("paid"), "broken off", 4, 100, 0.6)
    assert two.rows([wanted.ask.key("paid")]) == [], "and is asked again"
    two.close()


def test_an_index_from_before_there_were_reservations_opens(tmp_path: Path) -> None:
    speaker(Paid(), tmp_path, None).ask(asks(2))
    rows_of(tmp_path, "DROP TABLE reservation")
    line = Paid()
    speaking = speaker(line, tmp_path, 1.0)
    speaking.ask(asks(5))
    assert len(line.asked) == 3
    assert speaking.purse.spent > 0


ASKING = """
import sys, pathlib
from superalign.models.remote import SpendingLimit, Terms
from superalign.models.speaker import Ask, Turn
from superalign.models.speakers import speaker_at
address, folder, limit, name = sys.argv[1:]
terms = Terms(concurrency=4, price_in=1, price_out=10, limit_usd=float(limit), kept=pathlib.Path(folder))
try:
    asks = [Ask(messages=(Turn("user", f"question {name}{i:02}"),), tokens=100) for i in range(60)]
    speaker_at(address, terms=terms).ask(asks)
except SpendingLimit as error:
    sys.exit("not a request more: " + str(error))
"""
WORST = PRICE.of(read_bound(Ask(messages=(Turn("user", "question a00"),), tokens=100)), 100)


class Register(faulty.FaultyCall):
    """Counts what was billed, and what every request that is here could come to be."""

    def answer(self, ask: Ask, body: bytes) -> None:
        server = self.server
        with server.lock:
            server.here += 1
            server.most = max(server.most, server.billed + server.here * WORST)
        server.go.wait(60)
        time.sleep(0.005)
        reply = replace(faulty.said(ask), read=20, written=45)
        with server.lock:
            server.here -= 1
            server.billed += PRICE.of(reply.read, reply.written)
        self.reply(reply)


@contextmanager
def register() -> Iterator[Any]:
    with faulty.running() as server:
        server.RequestHandlerClass, server.go = Register, Event()
        server.here, server.billed, server.most = 0, 0.0, 0.0
        yield server
        server.go.set()


def asking(server: Any, folder: Path, limit: float, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ASKING, faulty.at(server), str(folder), str(limit), name]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_killed_again_and_again_it_never_asks_for_more_than_the_limit(tmp_path: Path) -> None:
    """The server holds every request: as far as anyone knows, each is billed at the worst."""
    limit, sent, kept = 21.5 * WORST, 0, Kept(tmp_path)
    counted = "SELECT (SELECT COUNT(*) FROM call) + (SELECT COUNT(*) FROM reservation)"
    with register() as server:
        for _ in range(9):
            with asking(server, tmp_path, limit, "a") as child:
                while server.here < sent + 4 and rows_of(tmp_path, counted) < [(21,)] and child.poll() is None:
                    time.sleep(0.005)
                child.kill()
            sent = server.here
            assert sent * WORST <= limit
            if rows_of(tmp_path, counted) == [(21,)]:
                break
        with asking(server, tmp_path, limit, "a") as child:
            said = child.communicate(timeout=60)[1]
        assert "not a request more" in said
        assert 8 <= server.here <= 21
        paid = kept.paid(faulty.at(server))
        kept.close()
        assert (paid.replies, paid.lost) == (0, 21), "what was about to be sent as well"
        assert paid.usd == pytest.approx(21 * WORST)
        server.go.set()
        with asking(server, tmp_path, limit + 60 * WORST, "a") as child:
            assert "limit" not in child.communicate()[1]
            assert child.returncode == 0


def test_two_processes_at_once_keep_one_limit(tmp_path: Path) -> None:
    limit = 20.5 * WORST
    with register() as server:
        server.go.set()
        children = [asking(server, tmp_path, limit, name) for name in "ab"]
        for child in children:
            assert "not a request more" in child.communicate(timeout=120)[1]
        assert server.most <= limit
        assert server.billed > limit - WORST, "they wait for each other's change"
    kept = Kept(tmp_path)
    assert kept.paid(faulty.at(server)).usd == pytest.approx(server.billed)
    kept.close()
    assert rows_of(tmp_path, "SELECT * FROM reservation") == []
