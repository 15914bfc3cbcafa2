"""What an auditor keeps of a ledger, and how a later copy differs from it: each event named, even when signed anew."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.evidence import SuperalignError, Unwritable, checkpoint_of, keep, read_checkpoint, verify
from superalign.evidence.anchor import compare, read_anchor
from superalign.evidence.canonical import sha256
from superalign.evidence.events import Event, entry_bytes


def history(texts: list[str]) -> list[Event]:
    """A chain of notes as someone with every key would write it: sound in itself, whatever it says."""
    events, prev = [], "0" * 64
    for seq, text in enumerate(texts):
        members = {"seq": seq, "prev": prev, "time": "2026-11-24T00:00:00.000Z", "type": "note", "actor": "notary"}
        digest = sha256(entry_bytes(body={"text": text}, **members))
        events.append(Event(body={"text": text}, digest=digest, signature="", **members))
        prev = digest
    return events


SEEN = list("abcdefghij")


def found(texts: list[str]) -> list[str]:
    held = checkpoint_of(history(SEEN))
    return [f.what for f in compare(held, history(texts))]


def test_the_same_and_a_longer_history_are_fine():
    assert found(SEEN) == found([*SEEN, "k", "l"]) == []


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([*SEEN[:3], "X", *SEEN[4:]], ["event 3 of your checkpoint was changed"]),
        ([*SEEN[:3], *SEEN[4:]], ["event 3 of your checkpoint is missing"]),
        ([*SEEN[:3], *SEEN[4:], "k"], ["event 3 of your checkpoint is missing"]),
        ([*SEEN[:3], "X", *SEEN[3:]], ["a note event was inserted that your checkpoint hasn't"]),
        (SEEN[:-2], ["event 8 of your checkpoint is missing", "event 9 of your checkpoint is missing"]),
        ([SEEN[1], SEEN[0], *SEEN[2:]], ["moved"]),
        ([], ["is missing"] * 10),
        (["X", "Y", *SEEN[2:]], ["event 0 of your checkpoint was changed", "event 1 of your checkpoint was changed"]),
    ],
)
def test_each_difference_is_named(texts, said):
    whats = found(texts)
    assert len(whats) == len(said)
    assert all(word in what for what, word in zip(whats, said, strict=True))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_other_history_is_found_and_only_those(data):
    """Changed, dropped, reordered, inserted, cut: whatever is not the seen history, continued, is said."""
    texts = list(SEEN)
    for _ in range(data.draw(st.integers(0, 3))):
        what = data.draw(st.sampled_from(["change", "drop", "swap", "insert", "cut", "append", "copy"]))
        at = data.draw(st.integers(0, max(0, len(texts) - 1)))
        if not texts or what == "append":
            texts.append(data.draw(st.sampled_from("klm")))
        elif what == "change":
            texts[at] += "!"
        elif what == "drop":
            del texts[at]
        elif what == "swap":
            texts[at], texts[0] = texts[0], texts[at]
        elif what == "insert":
            texts.insert(at, "new")
        elif what == "copy":
            texts.insert(at, texts[0])
        else:
            del texts[at:]
    assert bool(found(texts)) == (texts[: len(SEEN)] != SEEN)


def test_numbered_or_linked_anew():
    events = history(SEEN)
    other = [*events[:4], *history(["z", *SEEN])[5:]]
    held = checkpoint_of(events)
    assert [f.what for f in compare(held, other)] == [
        "every event says what it said, and their chain is another one: they were numbered or linked anew"
    ]


class TestFile:
    def test_kept_and_read(self, tmp_path):
        held = checkpoint_of(history(SEEN))
        keep(held, tmp_path / "seen.json")
        assert read_checkpoint(tmp_path / "seen.json") == held

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "{", "null", '{"root": "x", "events": []}', '{"root": 1}', '{"events": ["00"]}'],
    )
    def test_damaged(self, tmp_path, text):
        (tmp_path / "seen.json").write_text(text)
        with pytest.raises(SuperalignError, match=r"seen\.json"):
            read_checkpoint(tmp_path / "seen.json")

    def test_missing(self, tmp_path):
        with pytest.raises(SuperalignError, match="no checkpoint file"):
            read_checkpoint(tmp_path / "nowhere")


def test_through_verify(lab):
    lab.ws.ledger.append("note", {"text": "one"}, actor="notary")
    held = verify(lab.ws.path, keep=True).seen
    lab.ws.ledger.append("note", {"text": "two"}, actor="notary")
    report = verify(lab.ws.path, held=held)
    assert (report.ok, report.anchored, report.seen) == (True, True, None)


class TestGiven:
    """What `--anchor` may be."""

    def test_a_digest_or_a_checkpoint_file(self, tmp_path):
        held = checkpoint_of(history(SEEN))
        keep(held, tmp_path / "seen.json")
        assert read_anchor("0" * 64) == "0" * 64
        assert read_anchor(str(tmp_path / "seen.json")) == held

    @pytest.mark.parametrize("text", ["a" * 5000, "nowhere.json", "", "0" * 63, "a\0b", "/", "x/" * 3000])
    def test_anything_else_is_one_sentence(self, text):
        with pytest.raises(SuperalignError, match="neither a digest of 64 hex digits nor a file"):
            read_anchor(text)

    @pytest.mark.parametrize("name", ["no/such/folder/seen.json", "x" * 300])
    def test_a_place_that_takes_no_file(self, tmp_path, name):
        with pytest.raises(Unwritable, match="choose another place"):
            keep(checkpoint_of([]), tmp_path / name)


def test_a_long_history_signed_anew_is_compared_at_once():
    """Two thousand alternating notes once took forty seconds."""
    held = checkpoint_of(history([str(i % 2) for i in range(2000)]))
    other = history(["z", *(str(i // 2 % 2) for i in range(1999))])
    began = time.process_time()
    whats = [f.what for f in compare(held, other)]
    assert time.process_time() - began < 5
    assert whats[0].startswith("event 0 of your checkpoint was")
