from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from superalign.tasks import Page, slips
from superalign.tasks.slips import KINDS, WINDOW, _drawn, draw, item_id


@pytest.fixture(scope="module")
def pair() -> Page:
    return slips(split="dev", view="pair")


@pytest.fixture(scope="module")
def single() -> Page:
    return slips(split="dev", view="single")


def test_each_direction_is_drawn_as_often_as_its_mirror() -> None:
    drawn = draw("dev")
    keys = Counter((slip.kind, *slip.key) for slip in drawn)
    uneven = {key: n for key, n in keys.items() if n != keys[(key[0], key[2], key[1])]}
    assert not uneven
    assert len(keys) > 50


def test_kinds_are_even_and_windows_used_once() -> None:
    drawn = draw("dev")
    sizes = Counter(slip.kind for slip in drawn)
    assert set(sizes) == set(KINDS)
    assert max(sizes.values()) <= 1.5 * min(sizes.values()) + 2
    assert len({(slip.path, slip.start) for slip in drawn}) == len(drawn)


def _edited(sound: list[str], kind: str, place: int, altered: list[str]) -> bool:
    """Whether `altered` is `sound` with one edit of `kind` at `place`, told from the texts alone."""
    if sound[:place] != altered[:place]:
        return False
    rest, changed = sound[place:], altered[place:]
    if kind == "swapped":
        return changed[:2] == rest[1::-1] and changed[2:] == rest[2:]
    if kind in ("variable", "operator"):
        return changed[0] != rest[0] and changed[1:] == rest[1:]
    lost = changed[:-1] == rest[1:]
    doubled = changed == [rest[0], *rest[:-1]]
    return lost or doubled


def test_a_pair_differs_by_its_edit_only(pair: Page) -> None:
    for item in pair.items:
        truth = pair.truths[item.id]
        sides = [item.input["a"].split(), item.input["b"].split()]
        sound, altered = sides[truth["answer"]], sides[1 - truth["answer"]]
        assert len(sound) == len(altered) == WINDOW == 48
        assert sound != altered
        assert _edited(sound, truth["kind"], truth["place"], altered), item.id


def test_a_single_is_altered_in_half(single: Page, pair: Page) -> None:
    answers = Counter(single.truths[item.id]["answer"] for item in single.items)
    assert abs(answers[0] - answers[1]) <= 1
    place = {(slip.path, slip.start): slip for slip in draw("dev")}
    for item in single.items:
        truth = single.truths[item.id]
        slip = place[truth["path"], truth["start"]]
        assert tuple(item.input["code"].split()) == (slip.altered if truth["answer"] else slip.sound)
        assert len(item.input["code"].split()) == WINDOW
    assert {item.id for item in single.items}.isdisjoint(item.id for item in pair.items)


def test_items_hold_no_truth(pair: Page) -> None:
    item = pair.items[0]
    assert set(item.input) == {"a", "b"}
    assert item.task == "slips.pair"
    assert not {"answer", "place", "kind", "key"} & set(item.__slots__)


def test_ids_tell_nothing(pair: Page) -> None:
    answers = np.array([pair.truths[item.id]["answer"] for item in pair.items]) - 0.5
    bits = np.array([[int(bit) for bit in f"{int(item.id, 16):064b}"] for item in pair.items]) - 0.5
    assert len({item.id for item in pair.items}) == len(pair.items)
    assert np.abs(4 * (bits * answers[:, None]).mean(0)).max() < 4.5 / len(answers) ** 0.5
    for item in pair.items[:50]:
        truth = pair.truths[item.id]
        assert item.id == item_id("slips", "pair", "dev", 0, truth["path"], truth["start"], truth["kind"])


@pytest.mark.parametrize("view", ["pair", "single"])
def test_the_same_seed_gives_the_same_page(view: str) -> None:
    first = slips(split="dev", view=view, n=60)
    _drawn.cache_clear()
    assert slips(split="dev", view=view, n=60) == first


def test_the_draw_is_frozen() -> None:
    """Weights that ship, and ledgers that were written, are about these items: a draw that changes is another task."""
    told = [(slip.path, slip.start, slip.kind, slip.place, slip.key, slip.altered, slip.raw) for slip in draw("dev")]
    assert len(told) == 1484
    assert hashlib.sha256(repr(told).encode()).hexdigest()[:16] == "a596e4cfeb622076"


def test_another_seed_gives_another_page(pair: Page) -> None:
    other = slips(split="dev", view="pair", n=60, seed=1)
    assert {item.id for item in other.items}.isdisjoint(item.id for item in pair.items)


def test_a_prefix_is_the_start_of_the_page(pair: Page) -> None:
    assert slips(split="dev", view="pair", n=25).items == pair.items[:25]


def test_splits_share_no_cluster(pair: Page) -> None:
    test = slips(split="test", view="pair")
    assert {item.cluster for item in test.items}.isdisjoint(item.cluster for item in pair.items)
    assert len({item.cluster for item in pair.items}) > 10


def test_too_many_and_unknown_views_are_refused() -> None:
    with pytest.raises(ValueError, match=r"holds .* balanced slips, 1000000 were asked for"):
        slips(split="dev", n=1_000_000)
    with pytest.raises(ValueError, match="no view 'triple'"):
        slips(split="dev", view="triple")


def test_a_page_refuses_unknown_splits_and_missing_truths(pair: Page) -> None:
    with pytest.raises(ValueError, match="unknown split 'corpus'"):
        Page(task="slips.pair", split="corpus", items=())
    with pytest.raises(ValueError, match="2 items have no truth"):
        Page(task="slips.pair", split="dev", items=pair.items[:2], truths={})
