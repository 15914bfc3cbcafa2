"""pixels: handwritten digits of 8 × 8 pixels; a judge later sees only the pixels that debaters reveal (Irving 2018).

The 1,797 images come with scikit-learn (`load_digits`, the test half of UCI's optical digits) and are pinned by hash.
They stand in the order in which they were scanned: fourteen forms of 122 to 130 digits, one after the other, each
filled in by one hand with the same 130 digits, 0 to 9 three times and then a hundred in mixed order; where a form is
shorter, digits were lost. (The data set's own notes speak of 13 writers; here each form counts as one.) The form is
the cluster, and a split is made of whole forms, so that no form is on two sides. Finer clusters would be no better:
within a form an image is hardly more like its neighbours than like the others of its digit, and one hand's images of
one digit stand or fall together (measured on a judge of six random pixels, mean of eight draws, the digits' own
difficulty set aside: correlation .20 within form and digit, .04 within form). `same_hand` gives these groups by form
and digit, for intervals that speak of these writers; as the items' cluster they would tell the answer.

    page = pixels(split="dev")                    # pixels.ten: which digit is it?
    page = pixels(split="dev", view="pair")       # pixels.pair: which of two digits is it?
    pixel_grid(page.items[0].input["image"])      # (8, 8), 0 is paper and 1 is ink
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from superalign.evidence.errors import SuperalignError
from superalign.tasks.item import SPLITS, Item, Page
from superalign.tasks.slips import check_count, item_id

SIDE, MOST = 8, 16
"""Pixels a side, and the value of a pixel full of ink."""
FORMS = (0, 130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415, 1545, 1667, 1797)
"""Where each form begins, and where the last one ends: the only cuts that leave every form a part of the same 130
digits in the same order (but for one image, a 3 where the form asks for an 8)."""
DIGITS = tuple("0123456789")
_SHARES = {"train": 7, "dev": 2, "validation": 3, "test": 2}
_SPLIT_SEED = 1998
_SHA256 = "f6d9e39f37dc45d327f6db33428ee58970ccceabb2535a5c179de35886b70443"


class PixelsError(SuperalignError):
    """The handwritten digits are not there, or not the ones that the splits were made for."""


class Digits(NamedTuple):
    """The images as scikit-learn hands them out, in the order in which they were scanned."""

    images: np.ndarray
    """(1797, 8, 8) uint8, 0 to 16."""
    labels: np.ndarray
    """(1797,) uint8, 0 to 9."""


@lru_cache(maxsize=1)
def digits() -> Digits:
    """All images and labels, read-only. Raises PixelsError without scikit-learn, or when its digits have changed."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise PixelsError("pixels: the digits come with scikit-learn: pip install 'superalign[local]'") from error
    return checked_digits(*load_digits(return_X_y=True))


def checked_digits(values: np.ndarray, labels: np.ndarray) -> Digits:
    """Values (n, 64) and labels (n,) as Digits. Raises PixelsError unless they are the pinned ones, to the last bit."""
    found = hashlib.sha256(np.asarray(values, "<f8").tobytes() + np.asarray(labels, "<i8").tobytes()).hexdigest()
    if found != _SHA256:
        raise PixelsError(
            f"pixels: scikit-learn's digits have changed: {len(labels)} images with SHA-256 {found[:12]}…, pinned are "
            f"1797 with {_SHA256[:12]}…: install scikit-learn 1.9, whose load_digits is the one that the splits are of"
        )
    images, kept = values.astype(np.uint8).reshape(-1, SIDE, SIDE), labels.astype(np.uint8)
    for array in (images, kept):
        array.setflags(write=False)
    return Digits(images=images, labels=kept)


def forms_of(split: str) -> tuple[int, ...]:
    """Numbers of the forms in `split`, frozen: they depend on nothing but a constant. Raises ValueError if unknown."""
    if split not in _SHARES:
        raise ValueError(f"pixels has no split {split!r}: use one of {', '.join(SPLITS)}")
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(FORMS) - 1).tolist()
    first = sum(_SHARES[before] for before in SPLITS[: SPLITS.index(split)])
    return tuple(sorted(order[first : first + _SHARES[split]]))


def couples(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random couples of rows with unlike labels (n // 2, 2); of an odd number of rows one stays alone.

    Raises ValueError when more than half of the rows have one label.

    >>> couples(np.array([3, 8]), np.random.default_rng(0)).shape
    (1, 2)
    """
    paired = rng.permutation(len(labels))[: len(labels) // 2 * 2].reshape(-1, 2)
    if len(paired) and np.bincount(labels[paired.ravel()]).max() > len(paired):
        raise ValueError(f"{len(labels)} rows, more than half of them of one label: they can't be coupled with others")
    while len(alike := np.flatnonzero(labels[paired[:, 0]] == labels[paired[:, 1]])):
        one, other = int(alike[0]), int(rng.integers(len(paired)))
        paired[[one, other], 1] = paired[[other, one], 1]
    return paired


class _Question(NamedTuple):
    row: int
    options: tuple[str, ...]
    answer: int


def _ten(form: int, rng: np.random.Generator) -> list[_Question]:
    labels = digits().labels
    return [_Question(row, DIGITS, int(labels[row])) for row in range(FORMS[form], FORMS[form + 1])]


def _pair(form: int, rng: np.random.Generator) -> list[_Question]:
    """Two images of unlike digits lend each other the wrong answer, in one order of options: that tells nothing."""
    rows = np.arange(FORMS[form], FORMS[form + 1])
    labels = digits().labels[rows]
    asked = []
    for one, other in couples(labels, rng).tolist():
        options = (str(labels[one]), str(labels[other]))
        asked += [_Question(int(rows[one]), options, 0), _Question(int(rows[other]), options, 1)]
    return asked


_VIEWS = {"ten": _ten, "pair": _pair}


def pixels(*, split: str, view: str = "ten", n: int | None = None, seed: int = 0) -> Page:
    """The first `n` images of `split`, shuffled by `seed`, as a page of items and truths.

    Input `image`: eight lines of eight two-figure numbers, 00 paper to 16 ink (one width: lengths tell nothing).
    `view="ten"`: the options are all digits. `view="pair"`: two digits; within each form of the whole split every two
    digits in either order have the one right as often as the other (an odd form leaves one image out).
    Raises ValueError for an unknown split or view, an `n` below 1, or when the split holds fewer than `n`; PixelsError
    when the digits can't be had.

    Example: `pixels(split="dev", view="pair", n=100).items[0].options`
    """
    if view not in _VIEWS:
        raise ValueError(f"pixels has no view {view!r}: use 'ten' or 'pair'")
    check_count("pixels", n)
    rng = np.random.default_rng([seed, 31, *split.encode(), *view.encode()])
    asked = [(form, question) for form in forms_of(split) for question in _VIEWS[view](form, rng)]
    if n is not None and n > len(asked):
        raise ValueError(f"pixels/{split} holds {len(asked)} images, {n} were asked for: ask for fewer")
    items, truths = [], {}
    for form, (row, options, answer) in (asked[i] for i in rng.permutation(len(asked))[:n]):
        name, digit = item_id("pixels", view, split, seed, row), int(digits().labels[row])
        items.append(
            Item(
                id=name,
                task=f"pixels.{view}",
                cluster=item_id("form", form)[:8],
                input=MappingProxyType({"image": pixel_text(digits().images[row])}),
                options=options,
            )
        )
        truths[name] = {"answer": answer, "digit": digit, "kind": str(digit), "row": row}
    return Page(task=f"pixels.{view}", split=split, items=tuple(items), truths=MappingProxyType(truths))


def same_hand(page: Page) -> list[str]:
    """Form and digit of each item, some thirteen images a group; reads truths, so evaluator only.

    For intervals over these writers. Whoever speaks of new writers clusters by `item.cluster`, and has two or three.

    Example: `mean_interval(right, clusters=same_hand(page))`
    """
    return [f"{item.cluster}-{page.truths[item.id]['digit']}" for item in page.items]


def pixel_text(image: np.ndarray) -> str:
    """An image (8, 8) of integers 0 to 16 as eight lines of eight two-figure numbers."""
    return "\n".join(" ".join(f"{value:02d}" for value in line) for line in image.tolist())


def pixel_grid(text: str) -> np.ndarray:
    """The image that `pixel_text` wrote, as (8, 8) floats from 0 (paper) to 1 (ink). Raises ValueError for other text.

    Example: `pixel_grid(page.items[0].input["image"]).mean()`
    """
    lines = [line.split() for line in text.splitlines()]
    words = [word for line in lines for word in line]
    if [len(line) for line in lines] != [SIDE] * SIDE or not all(w.isascii() and w.isdecimal() for w in words):
        raise ValueError(f"not an image of {SIDE} lines of {SIDE} numbers: {text!r:.60}")
    grid = np.array(lines, dtype=np.float64)
    if grid.max() > MOST:
        raise ValueError(f"a pixel is {grid.max():.0f}: pixels go from 0 to {MOST}")
    return grid / MOST
