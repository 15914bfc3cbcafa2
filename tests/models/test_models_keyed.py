"""Speakers whose key has a variable of its own: which key is sent, and connections that end with their speaker."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence

import pytest

from superalign.models.errors import ModelError
from superalign.models.keyed import called, keyed
from superalign.models.remote import KeyRefused, RemoteSpeaker, Terms
from superalign.models.serving import ChatServer
from superalign.models.speaker import Ask, Reply, Turn

HI = Ask(messages=(Turn("user", "hi"),), tokens=4)


class Yes:
    identity = "yes"

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        return [Reply(kind="answer", text="yes") for _ in asks]


@pytest.fixture
def address() -> Iterator[str]:
    server = ChatServer(Yes(), key="right")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"{server.url}#small"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_key_is_the_one_of_the_purpose(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(KeyRefused):
        keyed(address, "SOME_KEY").ask([HI])
    monkeypatch.setenv("SOME_KEY", "right")
    assert keyed(address, "SOME_KEY").ask([HI])[0].text == "yes"
    monkeypatch.setenv("OTHER_KEY", "wrong")
    with pytest.raises(KeyRefused, match="OTHER_KEY"):
        keyed(address, "SOME_KEY", terms=Terms(key_from="OTHER_KEY")).ask([HI])


def test_a_server_behind_words_gets_the_same_key(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "right")
    assert keyed(f"words:{address}", "SOME_KEY").ask([HI])[0].text == "yes"


def test_connections_end_with_their_speaker(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "right")
    speaker = keyed(address, "SOME_KEY")
    assert isinstance(speaker, RemoteSpeaker)
    speaker.ask([HI])
    idle = speaker.line._idle  # type: ignore[attr-defined]
    assert len(idle) == 1
    del speaker
    gc.collect()
    assert len(idle) == 0


def test_a_model_here_is_asked_in_words() -> None:
    speaker = keyed("words:family:xs", "SOME_KEY")
    (reply,) = speaker.ask([HI])
    assert reply.kind in ("answer", "cut")
    assert called(speaker) == "family-xs"
    with pytest.raises(ModelError, match="is no model's address"):
        keyed("words:nowhere", "SOME_KEY")
