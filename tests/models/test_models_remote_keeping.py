"""Kept replies: durable, never asked twice, read again without a network, and without the key."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from superalign.evidence.errors import SuperalignError, Tampered
from superalign.evidence.store import ObjectStore
from superalign.models.errors import ModelError
from superalign.models.remote import Kept, KeptError, KeptOnly, KeptSpeaker, Terms
from superalign.models.remote.reserving import Reservation, Till
from superalign.models.speaker import Ask, Reply, Turn
from superalign.models.speakers import speaker_at

PLACE = Path(__file__).with_name("faulty_server.py")
SPEC = importlib.util.spec_from_file_location("faulty_server", PLACE)
assert SPEC is not None
assert SPEC.loader is not None
faulty = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(faulty)

KEY = "sk-very-secret-0123456789"
ME = "http://127.0.0.1/v1#m"


def asks(n: int, **named: object) -> list[Ask]:
    return [Ask(messages=(Turn("user", f"question {i}"),), tokens=8, **named) for i in range(n)]  # type: ignore[arg-type]


def terms(folder: Path, **named: object) -> Terms:
    return Terms(concurrency=4, backoff=0.002, timeout=10, retries=40, kept=folder, **named)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server process with every fault, its address and its journal."""
    journal = tmp_path_factory.mktemp("server") / "journal"
    faults = ["429=.1", "500=.1", "drop=.05", "torn=.05", "broken=.05", "slow=.3"]
    command = [sys.executable, str(PLACE), "echo", "--journal", str(journal), "--slow", "0.004", "--faults", *faults]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        journal.touch()
        yield f"{told['url']}#{told['model']}", journal
        server.kill()


def _asking(address: str, folder: Path, n: int) -> None:
    speaker = speaker_at(address, terms=terms(folder))
    replies = speaker.ask(asks(n, seed=7))
    os._exit(0 if {reply.kind for reply in replies} == {"answer"} else 1)


def test_killed_at_random_and_resumed_nothing_kept_is_asked_again(process: tuple[str, Path], tmp_path: Path) -> None:
    address, journal = process
    fork, rng, n, kills = multiprocessing.get_context("fork"), random.Random(5), 150, 4
    names = [faulty.noted(ask) for ask in asks(n, seed=7)]
    before, again, killed = Counter[str](), 0, 0
    for kill in range(kills + 1):
        kept = Kept(tmp_path)
        keys = {ask.key(address): faulty.noted(ask) for ask in asks(n, seed=7)}
        there = {keys[row.key] for row in kept.rows(keys)}
        kept.close()
        before = Counter(journal.read_text().split())
        child = fork.Process(target=_asking, args=(address, tmp_path, n))
        child.start()
        if kill < kills:
            goal = sum(before.values()) + rng.randint(5, 30)
            while len(journal.read_text().split()) < goal and child.is_alive():
                time.sleep(0.001)
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
        child.join(60)
        killed += child.exitcode == -signal.SIGKILL
        after = Counter(journal.read_text().split())
        assert all(after[name] == before[name] for name in there), "kept, and asked again"
        again += sum(after[name] - before[name] for name in names if before[name] and name not in there)
    assert (child.exitcode, killed) == (0, kills)
    assert again <= kills * 2 * 4, "only what was under way, or being kept, at a kill may be asked again"
    assert all(Counter(journal.read_text().split())[name] >= 1 for name in names)
    speaker = speaker_at(address, terms=terms(tmp_path))
    replies = speaker.ask(asks(n, seed=7))
    speaker.close()
    assert [r.text for r in replies] == [faulty.said(ask).text for ask in asks(n, seed=7)]
    assert {r.sent for r in replies} == {0}
    assert Counter(journal.read_text().split()) == after


def test_two_processes_share_one_index(process: tuple[str, Path], tmp_path: Path) -> None:
    address, _ = process
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=_asking, args=(address, tmp_path, 60)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    kept = Kept(tmp_path)
    replies = kept.find(ask.key(address) for ask in asks(60, seed=7))
    paid = kept.paid(address)
    kept.close()
    assert len(replies) == 60
    assert 60 <= paid.replies <= 120


def test_the_key_is_in_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)

    class Telling(faulty.Echo):
        def ask(self, listed: list[Ask]) -> list[Reply]:
            return [Reply(kind="answer", text=f"your key is {KEY}", read=1, written=1) for _ in listed]

    with faulty.running(Telling(), key=KEY, faults={"500": 0.3}) as server:
        speaker = speaker_at(faulty.at(server), terms=terms(tmp_path, key_from="TEST_KEY"))
        replies = speaker.ask(asks(20))
        speaker.close()
    assert replies[0].text == "your key is [key]"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 2
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path
        assert b"Authorization" not in path.read_bytes(), path
    assert KEY not in repr((speaker, speaker.tally(), replies))


def test_only_what_was_paid_for_is_kept(tmp_path: Path) -> None:
    said = {
        "question 0": Reply(kind="answer", text="a", read=3, written=1),
        "question 1": Reply(kind="cut", text="b", read=3, written=8),
        "question 2": Reply(kind="refused", text="I won't", why="refusal", read=3, written=2),
        "question 3": Reply(kind="none", why="context"),
    }

    class Mixed(faulty.Echo):
        def ask(self, listed: list[Ask]) -> list[Reply]:
            return [said[ask.messages[0].content] for ask in listed]

    with faulty.running(Mixed()) as server:
        speaker = speaker_at(faulty.at(server), terms=terms(tmp_path))
        first = speaker.ask(asks(4))
        again = speaker.ask(asks(4))
        rows = speaker.kept.rows(ask.key(speaker.identity) for ask in asks(4))
        speaker.close()
    assert [r.kind for r in first] == [r.kind for r in again] == ["answer", "cut", "refused", "none"]
    assert [(r.sent, bool(r.raw)) for r in again] == [(0, True), (0, True), (0, True), (1, False)]
    assert again[2].why == "refusal"
    only = KeptOnly(identity=speaker.identity, rows=rows, store=speaker.kept.store)
    assert [r.text for r in only.ask(asks(3))] == ["a", "b", "I won't"]
    with pytest.raises(KeptError, match="1 of 4 requests"):
        only.ask(asks(4))


def test_what_came_and_was_no_reply_is_stored_and_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    broken = f'{{"choices": [{{"message": {{"cont: {KEY}'.encode()

    class Broken(faulty.FaultyCall):
        def answer(self, ask: Ask, body: bytes) -> None:
            self.server.received[faulty.noted(ask)] += 1
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(broken), broken))

    with faulty.running(key=KEY) as server:
        server.RequestHandlerClass = Broken
        speaker = speaker_at(faulty.at(server), terms=replace(terms(tmp_path, key_from="TEST_KEY"), retries=1))
        for _ in range(2):
            assert {(reply.kind, reply.why, reply.raw) for reply in speaker.ask(asks(2))} == {("none", "malformed", "")}
        assert list(server.received.values()) == [4, 4]
        index = sqlite3.connect(tmp_path / "replies.sqlite")
        (row,) = index.execute("SELECT DISTINCT kind, form, raw FROM call").fetchall()
        index.close()
        assert row[:2] == ("lost", "openai")
        assert speaker.kept.store.get(row[2]) == broken.replace(KEY.encode(), b"[key]")
        speaker.close()


def test_kept_replies_need_the_same_request_and_address(tmp_path: Path) -> None:
    (ask,) = asks(1)
    kept = Kept(tmp_path)
    raw = faulty.json.dumps({"choices": [{"message": {"content": "x"}}]}).encode()
    kept.keep(ask, identity=ME, form="openai", raw=raw, reply=Reply(kind="answer", text="x"))
    changed = [
        Ask(messages=ask.messages, tokens=9),
        Ask(messages=ask.messages, tokens=8, seed=1),
        Ask(messages=ask.messages, tokens=8, temperature=0.5),
        Ask(messages=ask.messages, tokens=8, stop=("a",)),
        Ask(messages=ask.messages, tokens=8, alternatives=1),
        Ask(messages=ask.messages, tokens=8, schema="{}"),
    ]
    assert kept.find([ask.key(ME)])
    assert not kept.find([other.key(ME) for other in changed])
    assert not kept.find([ask.key(ME + "2")])
    kept.close()


def test_the_first_of_two_replies_to_one_request_stays(tmp_path: Path) -> None:
    (ask,) = asks(1)
    one, two = Kept(tmp_path), Kept(tmp_path)
    raws = [json.dumps({"choices": [{"message": {"content": text}}]}).encode() for text in "ab"]
    first = one.keep(ask, identity=ME, form="openai", raw=raws[0], reply=Reply(kind="answer", text="a"), usd=1.0)
    second = two.keep(ask, identity=ME, form="openai", raw=raws[1], reply=Reply(kind="answer", text="b"), usd=1.0)
    assert (first.text, second.text) == ("a", "a")
    assert second.raw == first.raw
    assert (one.paid(ME).replies, one.paid(ME).usd) == (2, 2.0)
    one.close()
    two.close()


def test_a_row_that_cannot_be_written_leaves_the_index_usable(tmp_path: Path) -> None:
    odd, good = asks(2)
    kept = Kept(tmp_path)
    raw = b'{"choices": [{"message": {"content": "x"}}]}'
    with pytest.raises(OverflowError):
        kept.keep(odd, identity=ME, form="openai", raw=raw, reply=Reply(kind="answer", read=1 << 70))
    kept.keep(good, identity=ME, form="openai", raw=raw, reply=Reply(kind="answer", text="x"))
    assert kept.paid(ME).replies == 1
    kept.close()


def test_damage_is_found(tmp_path: Path) -> None:
    (ask,) = asks(1)
    kept = Kept(tmp_path / "a")
    reply = kept.keep(ask, identity=ME, form="openai", raw=b'{"choices": []}', reply=Reply(kind="answer"))
    with pytest.raises(KeptError, match="don't trust"):
        kept.find([ask.key(ME)])
    path = kept.store.path(reply.raw)
    path.chmod(0o644)
    path.write_bytes(b"{}")
    with pytest.raises(Tampered):
        kept.find([ask.key(ME)])
    path.unlink()
    with pytest.raises(SuperalignError, match="is not in"):
        kept.find([ask.key(ME)])
    kept.close()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "replies.sqlite").write_bytes(b"no database " * 1000)
    with pytest.raises(KeptError, match="damaged"):
        Kept(tmp_path / "b")
    database = sqlite3.connect(tmp_path / "a" / "replies.sqlite")
    database.execute("PRAGMA user_version=9")
    database.close()
    with pytest.raises(KeptError, match="format 9"):
        Kept(tmp_path / "a")


def test_a_local_speaker_is_kept_too(tmp_path: Path) -> None:
    echo = faulty.Echo()
    kept = Kept(tmp_path / "index", ObjectStore(tmp_path / "objects", tmp_path / "tmp"))
    speaker = KeptSpeaker(echo, kept, chunk=3)
    listed = [*asks(7, alternatives=2), *asks(2, alternatives=2)]
    first = speaker.ask(listed)
    again = KeptSpeaker(faulty.Echo(), kept).ask(listed)
    assert [r.sent for r in first] == [1] * 7 + [0] * 2
    assert {r.sent for r in again} == {0}
    assert [(r.text, r.tokens, r.raw) for r in again] == [(r.text, r.tokens, r.raw) for r in first]
    assert set(echo.asked.values()) == {1}
    kept.close()


def test_a_store_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="give kept"):
        Terms(store=ObjectStore(tmp_path, tmp_path))


def test_who_only_reads_an_index_writes_nothing(tmp_path: Path) -> None:
    """A dry run: not even what a process that is gone had set aside is booked by it."""
    ask = asks(1)[0]
    kept = Kept(tmp_path)
    kept.keep_own([ask], [Reply(kind="answer", text="a")], identity="m")
    assert kept.reserve(Reservation(usd=1.0, read=4, ask=ask, identity="m"), Till(), 5.0)
    kept.close()
    before = {
        path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".sqlite-shm"
    }
    reading = Kept(tmp_path, write=False)
    assert [row.key for row in reading.rows([ask.key("m")])] == [ask.key("m")]
    assert reading.paid("m").usd == 0.0
    with pytest.raises(KeptError, match="readonly"):
        reading.keep_own(asks(2)[1:], [Reply(kind="answer", text="b")], identity="m")
    reading.close()
    after = {path: path.read_bytes() for path in before}
    assert after == before
    writing = Kept(tmp_path)
    assert writing.paid("m").usd == 1.0
    writing.close()


def test_an_index_that_is_not_there_is_not_made_by_a_reader(tmp_path: Path) -> None:
    with pytest.raises(KeptError):
        Kept(tmp_path / "nowhere", write=False)
    assert not list(tmp_path.iterdir())
