"""Digits by whole forms, two-figure pixels, and options that tell nothing to whoever doesn't see the image."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign.tasks import SPLITS, Item, Page, audit
from superalign.tasks.audit import metadata
from superalign.tasks.pixels import (
    FORMS,
    PixelsError,
    checked_digits,
    couples,
    digits,
    forms_of,
    pixel_grid,
    pixel_text,
    pixels,
    same_hand,
)

Raw = tuple[np.ndarray, np.ndarray]
Pages = dict[tuple[str, str], Page]


@pytest.fixture(scope="module")
def raw() -> Raw:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def pages() -> Pages:
    return {(split, view): pixels(split=split, view=view) for split in SPLITS for view in ("ten", "pair")}


def _within(labels: Iterable[int], form: list[int]) -> bool:
    """Are the labels those of the form, in its order, some of them lost?"""
    rest = iter(form)
    return all(label in rest for label in labels)


def test_every_form_asks_for_the_same_digits_and_no_cut_can_be_moved(raw: Raw) -> None:
    asked = raw[1].copy()
    assert (asked[385], FORMS[2], FORMS[3]) == (3, 256, 386)
    asked[385] = 8  # the one image that is another digit than its form asks for
    whole = asked[386:516].tolist()
    assert Counter(whole) == dict.fromkeys(range(10), 13)
    assert whole[:30] == [*range(10)] * 3
    for before, cut, after in zip(FORMS, FORMS[1:], FORMS[2:], strict=False):
        assert _within(asked[before:cut], whole)
        assert not _within(asked[before : cut + 1], whole)
        assert not _within(asked[cut - 1 : after], whole)
    assert _within(asked[FORMS[-2] :], whole)
    assert FORMS[-1] == len(asked) == 1797


SPLIT_FORMS = {"train": (0, 6, 7, 10, 11, 12, 13), "dev": (1, 4), "validation": (5, 8, 9), "test": (2, 3)}


def test_splits_are_whole_forms_and_frozen(pages: Pages) -> None:
    assert {split: forms_of(split) for split in SPLITS} == SPLIT_FORMS
    clusters: set[str] = set()
    for split in SPLITS:
        page = pages[split, "ten"]
        rows = [page.truths[item.id]["row"] for item in page.items]
        expected = [row for form in SPLIT_FORMS[split] for row in range(FORMS[form], FORMS[form + 1])]
        assert sorted(rows) == expected
        form = {item.cluster: sum(cut <= row for cut in FORMS) for item, row in zip(page.items, rows, strict=True)}
        assert sorted(number - 1 for number in form.values()) == list(SPLIT_FORMS[split])
        assert {item.cluster for item in pages[split, "pair"].items} == set(form)
        clusters |= set(form)
    assert len(clusters) == 14
    assert same_hand(page) == [f"{item.cluster}-{page.truths[item.id]['kind']}" for item in page.items]
    assert [len(pages[split, "ten"].items) for split in SPLITS] == [893, 256, 388, 260]


@pytest.mark.parametrize("view", ["ten", "pair"])
def test_an_item_shows_its_image_and_its_truth_is_the_label(view: str, pages: Pages, raw: Raw) -> None:
    for split in SPLITS:
        page = pages[split, view]
        assert (page.task, page.split) == (f"pixels.{view}", split)
        for item in page.items:
            truth = page.truths[item.id]
            assert set(item.input) == {"image"}
            assert len(item.input["image"]) == 8 * 24 - 1  # 64 numbers of two figures, a space or newline after each
            assert np.array_equal(pixel_grid(item.input["image"]).ravel() * 16, raw[0][truth["row"]])
            assert item.options[truth["answer"]] == str(truth["digit"]) == truth["kind"] == str(raw[1][truth["row"]])
            assert (len(item.options), len(set(item.options))) == ((10, 10) if view == "ten" else (2, 2))


def test_two_options_alone_tell_nothing(pages: Pages) -> None:
    """Even who may look up the answers of the whole split by form and options gets exactly half of them right."""
    for split in SPLITS:
        page = pages[split, "pair"]
        answers: defaultdict[tuple[str, ...], Counter[int]] = defaultdict(Counter)
        for item in page.items:
            answers[item.cluster, *item.options][page.truths[item.id]["answer"]] += 1
        assert all(counts[0] == counts[1] for counts in answers.values())
        right = Counter(truth["digit"] for truth in page.truths.values())
        wrong = Counter(int(item.options[1 - page.truths[item.id]["answer"]]) for item in page.items)
        assert right == wrong
        assert len(page.items) == len(pages[split, "ten"].items) // 2 * 2 == sum(right.values())
        ordered = Counter(item.options[0] < item.options[1] for item in page.items)
        assert abs(ordered[True] - ordered[False]) < 4.5 * (2 * len(page.items)) ** 0.5  # couples share an order
    assert len({item.options for item in pages["train", "pair"].items}) > 80


@pytest.mark.parametrize("split", SPLITS)
def test_the_audit_passes(split: str, pages: Pages) -> None:
    results = audit(pages[split, "pair"])
    assert [result.attacker for result in results] == ["metadata"]
    assert all(result.passed for result in results), results


def _blind_accuracy(items: tuple[Item, ...], known: list[dict[str, float]], labels: np.ndarray) -> float:
    """Share of digits got right by ridge regression on what is known, fitted on half of the forms, both ways."""
    names = sorted({name for row in known for name in row})
    table = np.array([[row.get(name, 0.0) for name in names] for row in known])
    forms = sorted({item.cluster for item in items})
    side, right = np.array([forms.index(item.cluster) % 2 for item in items]), 0
    for half in (0, 1):
        fit, tried = table[side == half], table[side != half]
        target = np.eye(10)[labels[side == half]] - 0.1
        weights = np.linalg.solve(fit.T @ fit + np.eye(len(names)), fit.T @ target)
        right += int(((tried @ weights).argmax(1) == labels[side != half]).sum())
    return right / len(items)


def test_which_of_ten_digits_is_told_by_no_metadata_but_by_an_id_that_ends_in_it(pages: Pages) -> None:
    asked = [(item, pages[s, "ten"].truths[item.id]["digit"]) for s in SPLITS for item in pages[s, "ten"].items]
    items, labels = tuple(item for item, _ in asked), np.array([digit for _, digit in asked])
    assert _blind_accuracy(items, [metadata(i, item) for i, item in enumerate(items)], labels) <= 0.15
    told = [replace(item, id=f"{item.id[:-1]}{digit}") for item, digit in asked]
    assert _blind_accuracy(items, [metadata(i, item) for i, item in enumerate(told)], labels) > 0.15


def test_ids_tell_nothing(pages: Pages) -> None:
    page = pages["train", "pair"]
    answers = np.array([page.truths[item.id]["answer"] for item in page.items]) - 0.5
    bits = np.array([[int(bit) for bit in f"{int(item.id, 16):064b}"] for item in page.items]) - 0.5
    assert np.abs(4 * (bits * answers[:, None]).mean(0)).max() < 4.5 / len(answers) ** 0.5
    everything = [item.id for page in pages.values() for item in page.items]
    assert len(set(everything)) == len(everything)


def test_a_page_is_its_seed_s_and_a_prefix_is_its_start(pages: Pages) -> None:
    for view in ("ten", "pair"):
        assert pixels(split="dev", view=view) == pages["dev", view]
        assert pixels(split="dev", view=view, n=25).items == pages["dev", view].items[:25]
        other = pixels(split="dev", view=view, seed=1)
        assert {item.id for item in other.items}.isdisjoint(item.id for item in pages["dev", view].items)
        assert [t["row"] for t in other.truths.values()] != [t["row"] for t in pages["dev", view].truths.values()]


def test_an_order_tells_no_digit(pages: Pages) -> None:
    """The forms' own order would: every one begins 0 1 2 3."""
    labels = [truth["digit"] for truth in pages["train", "ten"].truths.values()]
    steps = Counter((b - a) % 10 for a, b in pairwise(labels))
    assert sum((steps[i] - 89.2) ** 2 / 89.2 for i in range(10)) < 27.9  # chi-square, 9 degrees, p = 0.001


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        ({"split": "holdout"}, "no split 'holdout': use one of train, dev, validation, test"),
        ({"view": "triple"}, "no view 'triple': use 'ten' or 'pair'"),
        ({"n": 0}, "0 items were asked for"),
        ({"n": 257}, "pixels/dev holds 256 images, 257 were asked for: ask for fewer"),
        ({"n": 257, "view": "pair"}, "pixels/dev holds 256 images"),
    ],
)
def test_asks_that_cannot_be_met_are_refused(ask: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        pixels(**({"split": "dev"} | ask))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", ["nothing", "a pixel", "a label", "the order", "one fewer"])
def test_changed_digits_are_refused(change: str, raw: Raw) -> None:
    values, labels = raw[0].copy(), raw[1].copy()
    if change == "nothing":
        assert np.array_equal(checked_digits(values, labels).labels, labels)
        return
    values[1796, 20] += 0.5 * (change == "a pixel")
    labels[3] += change == "a label"
    if change == "the order":
        values[[0, 1]] = values[[1, 0]]
    fewer = int(change == "one fewer")
    with pytest.raises(PixelsError, match=r"digits have changed: 179\d images .*install scikit-learn"):
        checked_digits(values[fewer:], labels[fewer:])


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    digits.cache_clear()
    with pytest.raises(PixelsError, match=r"pip install 'superalign\[local\]'"):
        pixels(split="dev")


@given(st.lists(st.integers(0, 16), min_size=64, max_size=64))
def test_an_image_comes_back_from_its_text(values: list[int]) -> None:
    image = np.array(values, np.uint8).reshape(8, 8)
    text = pixel_text(image)
    assert np.array_equal(pixel_grid(text) * 16, image)
    assert {len(line) for line in text.split("\n")} == {23}


LINE = " ".join(["03"] * 8)
OTHER = ["", *("\n".join([LINE] * lines) for lines in (7, 9)), *(f"{LINE}{end}\n" * 8 for end in (" 03", "x", " -3"))]


@pytest.mark.parametrize("text", [*OTHER, LINE.replace("03", "nan", 1) + f"\n{LINE}" * 7])
def test_other_texts_are_no_images(text: str) -> None:
    with pytest.raises(ValueError, match="not an image of 8 lines of 8 numbers"):
        pixel_grid(text)
    with pytest.raises(ValueError, match="a pixel is 17: pixels go from 0 to 16"):
        pixel_grid(LINE.replace("03", "17", 1) + f"\n{LINE}" * 7)


@st.composite
def _labels(draw: st.DrawFn) -> list[int]:
    """At least two labels, none of them more than half of all."""
    most = draw(st.integers(1, 6))
    counts = [most, most, *draw(st.lists(st.integers(0, most), max_size=4))]
    return draw(st.permutations([label for label, count in enumerate(counts) for _ in range(count)]))


@given(_labels(), st.integers(0, 99))
def test_couples_are_of_unlike_labels(labels: list[int], seed: int) -> None:
    found = couples(np.array(labels), np.random.default_rng(seed))
    assert found.shape == (len(labels) // 2, 2)
    assert len(set(found.ravel().tolist())) == found.size
    assert all(labels[a] != labels[b] for a, b in found.tolist())


def test_a_majority_cannot_be_coupled() -> None:
    with pytest.raises(ValueError, match="more than half of them of one label"):
        couples(np.array([1, 1, 1, 2]), np.random.default_rng(0))
