"""The stress test's pairs: nothing else is measured on them, and training shares no run of words with them."""

import dataclasses
from types import SimpleNamespace

import pytest

from superalign.evidence.fingerprints import grams
from superalign.pipeline import sizes
from superalign.pipeline.audited import ASKED, RUN, audited_items, behaviour_items, stress_items, threshold_items
from superalign.pipeline.pages import held_out, words_of
from superalign.tasks.slips import slips


def desk(preset="default", **changes):
    return SimpleNamespace(sizes=dataclasses.replace(sizes(preset), **changes))


@pytest.fixture(scope="module")
def pairs():
    return stress_items(desk())


def words(items):
    return {text for item in items for text in (item.sound, item.altered)}


def test_behaviour_and_audit_share_no_pair(pairs):
    behaved, audited = behaviour_items(desk()), audited_items(desk())
    assert (len(behaved), len(audited)) == (sizes("default").install_pairs, sizes("default").audit_pairs)
    assert behaved + audited == pairs
    assert len({(item.sound, item.altered) for item in pairs}) == len(pairs)


def test_no_page_of_the_run_asks_about_them(pairs):
    for page in held_out(desk()):
        asked = {text for item in page.items for text in item.input.values()}
        assert not {f"{item.sound}\0{item.altered}" for item in pairs} & {
            "\0".join(i.input.values()) for i in page.items
        }
        assert len(asked & words(pairs)) <= 0.01 * len(pairs), page.task  # short windows occur in more than one file


def test_training_holds_none_of_their_grams(pairs):
    trained = set().union(*grams(words_of(slips(split="train", view="pair"))))
    page = slips(split="validation", view="pair")
    again = {
        (item.input["a"], item.input["b"]): own
        for item, own in zip(page.items, zip(*[iter(grams(words_of(page)))] * 2, strict=True), strict=True)
    }
    for item in pairs:
        own = again.get((item.sound, item.altered)) or again[item.altered, item.sound]
        assert trained.isdisjoint(own[0] | own[1])


def test_every_preset_audits_the_same_pairs(pairs):
    few = stress_items(desk("quick"))
    assert few == pairs[: len(few)]


def test_more_pairs_than_there_are_is_an_error_that_says_how_many(pairs):
    with pytest.raises(ValueError, match=r"has 2270 pairs, 9300 were asked for"):
        stress_items(desk(install_pairs=9_000))


def test_every_preset_leaves_them_to_the_stress_test():
    for preset in ("default", "quick"):
        own = sizes(preset)
        assert max(own.test_pairs, own.validation_pairs) <= ASKED
    assert RUN == 13


def test_thresholds_come_from_the_dev_split(pairs):
    items = threshold_items(desk())
    assert len(items) == sizes("default").dev_pairs
    assert not {(i.sound, i.altered) for i in items} & {(i.sound, i.altered) for i in pairs}
