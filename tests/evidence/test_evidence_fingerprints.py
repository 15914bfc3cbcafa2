"""Paraphrased and copied items: what trains is compared with what is held, by 13-grams, and again by the auditor."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.evidence import RULES, BadEvent, Tampered, holdout, verify
from superalign.evidence.fingerprints import WIDTH, grams, packed, repeats, unpacked, words

V = "construction/slips/validation"
T = "construction/slips/train"
WORDS = st.lists(st.sampled_from("abcdefghij"), max_size=40)


def sentence(seed, length=40):
    dice = random.Random(seed)
    return [f"w{dice.randrange(500)}" for _ in range(length)]


HELD = [sentence(i) for i in range(5)]


def data_of(lab, name="d"):
    return lab.data(name, T)


def test_what_repeats_a_held_item_is_found():
    held = grams(HELD)
    copied = HELD[2][:30] + sentence(99, 10)
    touched = [*HELD[1][:20], "changed", *HELD[1][21:]]
    fresh = sentence(1234)
    assert repeats(grams([fresh, copied, touched]), held) == (1, 2)


def test_a_paraphrase_of_every_twelfth_word_passes():
    """The backstop's known limit, kept on record here: whoever changes enough words is not found by it."""
    changed = [f"x{i}" if i % 12 == 0 else word for i, word in enumerate(HELD[0])]
    assert repeats(grams([changed]), grams(HELD)) == ()


@settings(max_examples=80, deadline=None)
@given(items=st.lists(WORDS, max_size=6))
def test_packed_and_back(items):
    assert unpacked(packed(grams(items))) == grams(items)
    assert repeats(grams(items), grams(items)) == tuple(i for i, item in enumerate(items) if item)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_fingerprint_or_one_clear_error(data):
    try:
        assert packed(unpacked(data)) == data
    except BadEvent as error:
        assert "fingerprint" in str(error)  # noqa: PT017 - both ends are right; anything else is a crash


def test_words():
    assert words("X = foo( 'a' )\n") == ["x", "=", "foo", "(", "'", "a", "'", ")"]
    assert len(grams([words("a " * (WIDTH + 1))])[0]) == 1


class TestInTheLedger:
    def test_a_repeat_is_refused_and_dropping_it_helps(self, lab):
        lab.signal("v", V, "validation")
        holdout.fingerprint(lab.ws, V, HELD)
        data, items = data_of(lab), [sentence(77), HELD[0], sentence(78)]
        assert holdout.repeated(lab.ws, items) == {V: (1,)}
        with pytest.raises(RULES["R4"], match=r"(?s)1 of 3 items of data d@.* repeat .*item 1"):
            holdout.screen(lab.ws, data, items)
        holdout.screen(lab.ws, data, [items[0], items[2]])
        holdout.screen(lab.ws, data, [items[0], items[2]])
        assert len(lab.ws.ledger.events("screen")) == 1
        assert verify(lab.ws.path).ok

    def test_quarantined_data_may_repeat_and_says_so(self, lab):
        lab.signal("v", V, "validation")
        holdout.fingerprint(lab.ws, V, HELD)
        planted = lab.data("planted", T, quarantined=True)
        holdout.screen(lab.ws, planted, [HELD[0]])
        assert lab.ws.ledger.events("screen")[0].body["shared"] == {V: 1}

    def test_a_model_of_unscreened_data_is_not_measured(self, lab):
        signal = lab.signal("v", V, "validation")
        holdout.fingerprint(lab.ws, V, HELD)
        data = data_of(lab)
        model = lab.model("m", lab.base(), data)
        with pytest.raises(RULES["R5"], match=r"nobody compared data d@.* with the fingerprint of " + V):
            lab.measure(model, signal)
        holdout.screen(lab.ws, data, [sentence(7)])
        lab.measure(model, signal)
        holdout.fingerprint(lab.ws, V, [sentence(7)])  # more of the family: what was compared before wasn't with this
        with pytest.raises(RULES["R5"], match="nobody compared"):
            lab.measure(model, signal, name="again")
        with pytest.raises(RULES["R4"], match="repeat"):
            holdout.screen(lab.ws, data, [sentence(7)])

    @pytest.mark.parametrize(
        "lie", [{"shared": {}}, {"shared": {V: 0}}, {"n": 3}, {"data": "7" * 64}, {"quarantined": False}]
    )
    def test_the_auditor_compares_again(self, lab, lie):
        lab.signal("v", V, "validation")
        holdout.fingerprint(lab.ws, V, HELD)
        data = lab.data("d", T, quarantined=True)
        lab.ws.ledger.guard = None
        body = {"data": data, "grams": lab.ws.store.put(packed(grams([HELD[0]]))), "n": 1, "width": WIDTH}
        body |= {"shared": {V: 1}, "quarantined": True} | lie
        event = lab.ws.ledger.append("screen", body, actor="trainer")
        assert [f.seq for f in verify(lab.ws.path).findings] == [event.seq]

    def test_a_lost_fingerprint_is_said(self, lab):
        lab.signal("v", V, "validation")
        holdout.fingerprint(lab.ws, V, HELD)
        lab.ws.store.path(lab.ws.ledger.events("fingerprint")[0].body["grams"]).unlink()
        with pytest.raises(Tampered, match="missing or damaged"):
            holdout.repeated(lab.ws, [sentence(1)])
