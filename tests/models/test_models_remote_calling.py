"""Asking behind an API: every fault, concurrency, equal requests, keys, hopeless addresses, the pace."""

from __future__ import annotations

import importlib.util
import json
import random
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from threading import Barrier, Event, Thread

import pytest

from superalign.models.errors import ModelError
from superalign.models.remote import Kept, KeyRefused, RemoteSpeaker, Terms, WrongAddress
from superalign.models.remote.openai_http import OpenAILine
from superalign.models.remote.pacing import Pace, backoff
from superalign.models.remote.refusals import Fault, fault_of
from superalign.models.speaker import Ask, Reply, Turn
from superalign.models.speakers import speaker_at

from .test_models_remote_replies import body

SPEC = importlib.util.spec_from_file_location("faulty_server", Path(__file__).with_name("faulty_server.py"))
assert SPEC is not None
assert SPEC.loader is not None
faulty = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(faulty)

QUICK = Terms(concurrency=4, backoff=0.002, timeout=10)
KEY = "sk-very-secret-0123456789"


def asks(n: int, **named: object) -> list[Ask]:
    return [Ask(messages=(Turn("user", f"question {i}"),), tokens=8, **named) for i in range(n)]  # type: ignore[arg-type]


class Scripted:
    """A line that does what its script says, one entry a request: raw bytes, or an error."""

    identity, form = "scripted", "openai"

    def __init__(self, *script: bytes | Exception) -> None:
        self.script, self.asked = list(script), 0

    def send(self, ask: Ask) -> bytes:
        self.asked += 1
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(said, Exception):
            raise said
        return said

    def close(self) -> None:
        pass


@pytest.mark.parametrize("kind", ["429", "retry", "500", "slow", "drop", "torn", "broken", "empty"])
def test_every_fault_is_tried_again_until_an_answer_comes(kind: str) -> None:
    with faulty.running(faults={kind: 0.4}, seed=3, slow=0.001) as server:
        speaker = speaker_at(faulty.at(server), terms=replace(QUICK, retries=30))
        listed = asks(40, alternatives=2)
        replies = speaker.ask(listed)
        tally = speaker.tally()
        speaker.close()
    assert [reply.text for reply in replies] == [faulty.said(ask).text for ask in listed]
    assert {reply.kind for reply in replies} == {"answer"}
    assert replies[0].tokens[0].alternatives[1] == ("other", -1.5)
    assert server.put_in[kind] > 5
    if kind == "slow":
        assert tally.sent == 40
    else:
        assert tally.sent == 40 + sum(tally.faults.values()) == sum(reply.sent for reply in replies)
        assert sum(tally.faults.values()) == server.put_in[kind]
    assert set(server.completed.values()) == {1}, "nothing that was answered is asked again"


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("429", "rate limit"),
        ("500", "server error"),
        ("broken", "malformed"),
        ("empty", "malformed"),
        ("torn", "connection"),
    ],
)
def test_what_never_comes_is_a_reply_of_its_kind_and_the_run_goes_on(kind: str, why: str) -> None:
    with faulty.running(faults={kind: 1.0}) as server:
        speaker = speaker_at(faulty.at(server), terms=replace(QUICK, retries=2))
        replies = speaker.ask(asks(3))
        server.faults = {}
        after = speaker.ask(asks(3))
        speaker.close()
    assert [(r.kind, r.why, r.sent) for r in replies] == [("none", why, 3)] * 3
    assert {r.kind for r in after} == {"answer"}
    assert speaker.tally().kinds == {"none": 3, "answer": 3}
    assert speaker.tally().whys == {why: 3}


def test_a_slow_server_is_a_timeout() -> None:
    with faulty.running(faults={"slow": 1.0}, slow=0.6) as server:
        speaker = speaker_at(faulty.at(server), terms=replace(QUICK, retries=1, timeout=0.1))
        (reply,) = speaker.ask(asks(1))
        speaker.close()
    assert (reply.kind, reply.why, reply.sent) == ("none", "timeout", 2)


def test_as_many_requests_overlap_as_the_terms_say() -> None:
    barrier = Barrier(6)

    class Together(faulty.Echo):
        def ask(self, listed: list[Ask]) -> list[Reply]:
            raise AssertionError

    class Meeting(faulty.FaultyCall):
        def answer(self, ask: Ask, body: bytes) -> None:
            barrier.wait(20)  # broken, and a test that fails, unless six requests are here at once
            self.reply(faulty.said(ask))

    with faulty.running(Together()) as server:
        server.RequestHandlerClass = Meeting
        speaker = speaker_at(faulty.at(server), terms=replace(QUICK, concurrency=6))
        assert {reply.kind for reply in speaker.ask(asks(12))} == {"answer"}
        speaker.close()


def test_equal_asks_go_out_once_also_from_several_threads() -> None:
    with faulty.running() as server:
        speaker = speaker_at(faulty.at(server), terms=QUICK)
        listed = asks(5) * 3
        replies = speaker.ask(listed)
        assert [r.sent for r in replies] == [1] * 5 + [0] * 10
        assert replies[0].text == replies[5].text
        assert set(server.received.values()) == {1}
        speaker.close()


def test_a_thread_waits_for_what_another_one_has_asked_already() -> None:
    first, second = asks(2)
    joined, under_way, sent = Event(), Event(), list[Ask]()

    class Held(Scripted):
        def send(self, ask: Ask) -> bytes:
            sent.append(ask)
            if ask == first:
                under_way.set()
                assert joined.wait(20)
            else:  # its asker has found the first one under way by now
                joined.set()
            return body()

    speaker, came = RemoteSpeaker(Held(body()), terms=QUICK), list[Reply]()
    thread = Thread(target=lambda: came.extend(speaker.ask([first])))
    thread.start()
    assert under_way.wait(20)
    assert [reply.sent for reply in speaker.ask([second, first])] == [1, 0]
    thread.join(20)
    assert (sent, came[0].sent) == ([first, second], 1)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_everything_and_shows_nowhere(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    terms = replace(QUICK, key_from="TEST_KEY")
    with faulty.running(key="another") as server:
        speaker = speaker_at(faulty.at(server), terms=terms)
        with pytest.raises(KeyRefused, match="TEST_KEY") as raised:
            speaker.ask(asks(50))
        assert KEY not in str(raised.value) + repr(speaker) + repr(speaker.line) + repr(terms)
        assert sum(server.received.values()) == 0
        assert speaker.tally().sent <= 4, "no more than were under way"
        speaker.close()
    with pytest.raises(KeyRefused):
        fault_of(status, f"wrong key {KEY}", key=KEY)


def test_an_unset_key_is_an_error_that_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KEY", raising=False)
    with pytest.raises(KeyRefused, match="TEST_KEY"):
        speaker_at("http://127.0.0.1:9/v1#x", terms=Terms(key_from="TEST_KEY"))


@pytest.mark.parametrize("key", ["sk-one\nsk-two", "sk one", "“sk-pasted”"])
def test_a_key_that_no_header_can_carry_is_refused_unquoted(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """http.client would quote it in its error."""
    monkeypatch.setenv("TEST_KEY", key)
    with pytest.raises(KeyRefused, match="TEST_KEY holds a space") as raised:
        speaker_at("http://127.0.0.1:9/v1#x", terms=Terms(key_from="TEST_KEY"))
    assert "sk" not in str(raised.value)


def test_a_placeholder_for_a_key_is_not_cut_out_of_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "none")

    class Telling(faulty.Echo):
        def ask(self, listed: list[Ask]) -> list[Reply]:
            return [Reply(kind="answer", text="none of them", read=1, written=1) for _ in listed]

    with faulty.running(Telling(), key="none") as server:
        speaker = speaker_at(faulty.at(server), terms=replace(QUICK, key_from="TEST_KEY"))
        assert speaker.ask(asks(1))[0].text == "none of them"
        speaker.close()


@pytest.mark.parametrize(("n", "retries"), [(1, 3), (50, 6)])
def test_where_nobody_listens_the_run_ends_at_once(n: int, retries: int) -> None:
    with faulty.running() as server:
        address = faulty.at(server)
    speaker = speaker_at(address, terms=replace(QUICK, retries=retries))
    with pytest.raises(WrongAddress, match="nobody answers"):
        speaker.ask(asks(n))
    assert speaker.tally().sent <= 20 + 4


def test_where_no_connection_comes_about_the_run_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nowhere(HTTPConnection):
        def connect(self) -> None:
            raise TimeoutError("timed out")

    monkeypatch.setattr("superalign.models.remote.openai_http.HTTPConnection", Nowhere)
    speaker = speaker_at("http://127.0.0.1:9/v1#x", terms=replace(QUICK, retries=1))
    with pytest.raises(WrongAddress, match="nobody answers"):
        speaker.ask(asks(1))
    assert speaker.tally().faults == {"timeout": 2}


def test_a_server_that_goes_away_later_is_counted_not_raised() -> None:
    with faulty.running() as server:
        speaker = speaker_at(faulty.at(server), terms=replace(QUICK, retries=1))
        assert speaker.ask(asks(2))[0].kind == "answer"
        speaker.line.close()
    replies = speaker.ask(asks(30)[2:])
    assert {(r.kind, r.why, r.sent) for r in replies} == {("none", "connection", 2)}


def test_a_context_overflow_and_a_bad_request_are_not_tried_again() -> None:
    line = Scripted(Fault("context", again=False), Fault("bad request", again=False, said="n"), body())
    speaker = RemoteSpeaker(line, terms=replace(QUICK, concurrency=1))
    assert [(r.kind, r.why, r.sent) for r in speaker.ask(asks(3))] == [
        ("none", "context", 1), ("none", "bad request", 1), ("answer", "", 1),
    ]  # fmt: skip
    hopeless = RemoteSpeaker(Scripted(Fault("bad request", again=False, said="no such parameter")), terms=QUICK)
    with pytest.raises(ModelError, match="no such parameter"):
        hopeless.ask(asks(60))


def test_parameters_that_a_server_names_as_unknown_are_left_out_and_remembered() -> None:
    class Picky(faulty.FaultyCall):
        def do_POST(self) -> None:
            told = json.loads(self._body() or b"")
            for name, hint in (("max_tokens", "use max_completion_tokens"), ("logprobs", ""), ("response_format", "")):
                if name in told:
                    return self.fail(400, f"Unsupported parameter: {name}: {hint}", "unsupported_parameter")
            self.reply(Reply(kind="answer", text=str(told["max_completion_tokens"])))

    with faulty.running() as server:
        server.RequestHandlerClass = Picky
        speaker = speaker_at(faulty.at(server), terms=QUICK)
        (reply,) = speaker.ask(asks(1, alternatives=3, schema='{"type": "object"}'))
        speaker.close()
    assert (reply.kind, reply.text, reply.tokens) == ("answer", "8", ())


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, list[float]()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(("requests", "tokens"), [(7, None), (None, 200), (7, 200)])
def test_no_minute_holds_more_than_the_terms_allow(requests: int | None, tokens: int | None) -> None:
    time, rng = Time(), random.Random(1)
    pace, sent = Pace(requests=requests, tokens=tokens), list[tuple[float, int]]()
    for _ in range(100):
        size = rng.randint(1, 90)
        while delay := pace.delay(time.now, tokens=size):
            time.sleep(delay)
        sent.append((time.now, size))
        time.now += rng.expovariate(1.0)
    for start, _ in sent:
        within = [size for when, size in sent if start <= when < start + 60]
        assert requests is None or len(within) <= requests
        assert tokens is None or sum(within) <= tokens
    assert time.now - 1000 < 60 * (100 / 4 if tokens else 100 / 7) + 200, "and it is not far slower than it must be"


def test_a_speaker_keeps_the_pace_and_heeds_retry_after() -> None:
    time = Time()
    line = Scripted(body())
    named = {"clock": time.clock, "sleep": time.sleep, "rng": random.Random(0)}
    paced = RemoteSpeaker(line, terms=Terms(concurrency=1, requests_per_minute=2), **named)  # type: ignore[arg-type]
    paced.ask(asks(7))
    assert time.now - 1000 == pytest.approx(180)

    later = RemoteSpeaker(
        Scripted(Fault("rate limit", after=30.0), body()), terms=Terms(concurrency=1), **named  # type: ignore[arg-type]
    )  # fmt: skip
    time.now, time.slept = 0.0, []
    assert later.ask(asks(1))[0].sent == 2
    assert 30 <= time.now <= 31
    never = RemoteSpeaker(
        Scripted(Fault("rate limit", after=86400.0)), terms=Terms(concurrency=1), **named  # type: ignore[arg-type]
    )  # fmt: skip
    began = time.now
    replies = never.ask(asks(5))
    assert {(r.kind, r.why, r.sent) for r in replies} == {("none", "rate limit", 1)}
    assert time.now == began, "who is told to come back tomorrow holds up nobody until then"


def test_told_to_wait_no_time_it_waits_as_if_nothing_had_been_told() -> None:
    assert fault_of(429, "", after=0.0).after is None
    assert fault_of(503, "", after=0.5).after == 0.5


def test_many_refusals_in_a_row_hold_up_everybody() -> None:
    pace = Pace(requests=None, tokens=None)
    pace.limited(0.0, 30.0)
    pace.limited(0.0, 30.0)
    assert pace.delay(1.0, tokens=1) == 0.0
    pace.limited(1.0, 30.0)
    assert pace.delay(2.0, tokens=1) == 29.0
    pace.answered()
    pace.limited(31.0, 30.0)
    assert pace.delay(32.0, tokens=1) == 0.0


def test_backoff_doubles_its_bound_and_is_jittered() -> None:
    rng = random.Random(0)
    for tries, bound in [(1, 0.5), (2, 1.0), (5, 8.0), (50, 60.0)]:
        drawn = [backoff(tries, rng, base=0.5) for _ in range(200)]
        assert 0.8 * bound < max(drawn) <= bound
        assert min(drawn) < 0.2 * bound


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://127.0.0.1:9/v1", "no server's address"),
        ("ftp://x#m", "no model's address"),
        ("http://user:hunter2@127.0.0.1/v1#m", "holds no key or password"),
        ("http://127.0.0.1/v1?key=hunter2#m", "holds no key or password"),
        ("http://user:hunter2/3@127.0.0.1/v1#m", "no server's address"),
        ("http:user:hunter2@127.0.0.1/v1#m", "no server's address"),
        ("http://127.0.0.1:99999/v1#m", "no server's address"),
        ("http://[::1/v1#m", "no server's address"),
        ("http://127.0.0.1/vé#m", "no server's address"),
        ("gpt-4o", "write family:SIZE"),
        ("inspect:gpt-4o", "inspect:PROVIDER/MODEL"),
    ],
)
def test_bad_addresses(address: str, says: str) -> None:
    with pytest.raises(ModelError, match=says) as raised:
        speaker_at(address)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "named",
    [
        {"concurrency": 0},
        {"timeout": -1.0},
        {"retries": -1},
        {"price_in": 1.0},
        {"limit_usd": -1.0},
        {"requests_per_minute": 0},
    ],
)
def test_bad_terms(named: dict[str, float]) -> None:
    with pytest.raises(ModelError, match=next(iter(named)).partition("_")[0]):
        Terms(**named)  # type: ignore[arg-type]


def test_an_error_of_ours_is_raised_and_does_not_hang(tmp_path: Path) -> None:
    speaker = RemoteSpeaker(Scripted(body()), terms=QUICK, kept=Kept(tmp_path))
    speaker.kept.close()  # type: ignore[union-attr]
    with pytest.raises(ModelError, match="index of replies"):
        speaker.ask(asks(9))
    broken = RemoteSpeaker(Scripted(TypeError("a bug")), terms=QUICK)
    with pytest.raises(TypeError, match="a bug"):
        broken.ask(asks(9))
    assert not broken._flying


def test_the_identity_is_the_address() -> None:
    line = OpenAILine("http://127.0.0.1:8000/v1/#tiny", Terms())
    assert line.identity == "http://127.0.0.1:8000/v1#tiny"
