"""What a page shows of a mutant: the whole function, or a window of lexed words cut at random around the edit.

Both sides are cut at the same place and get the same slots, so that only the edit differs. Where one name takes the
place of another, how often each stands in the window would be a tell: windows are drawn so that each pair of counts
comes as often as its mirror, as in `slips`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from superalign.tasks.lexer import INDENTS, SLOTS, lex
from superalign.tasks.slips import vocabulary as family_words

if TYPE_CHECKING:
    from superalign.tasks.mutants import Mutant

_SHORT = 2
"""An edit of at most so many words a side has a key that is matched exactly; a longer one reads like no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """What is shown of a mutant; `place` is the index of the first token that differs."""

    mutant: Mutant
    sound: str
    faulty: str
    place: int
    key: tuple[str, str] = ("", "")
    """What the edit reads as inside the window, names by how often they stand there."""


@lru_cache(maxsize=16)
def crops(
    made: tuple[Mutant, ...], form: str, window: int, vocabulary: frozenset[str] | None, seed: int
) -> tuple[Crop, ...]:
    """Crops of mutants in their order; in words, without those that no window shows and those that tip the balance."""
    if form == "source":
        return tuple(_whole(mutant) for mutant in made)
    if window < 8:
        raise ValueError(f"a window of {window} words shows nothing: use 8 or more")
    words = family_words() if vocabulary is None else vocabulary
    rng = np.random.default_rng([seed, window])
    found = [crop for mutant in made if (crop := _window(mutant, window, words, rng)) is not None]
    return tuple(_balanced(found, rng))


def _whole(mutant: Mutant) -> Crop:
    left, right = _raw(mutant.sound), _raw(mutant.faulty)
    shared = min(len(left), len(right)) - 1
    place = min(_same(left, right), shared)
    return Crop(mutant=mutant, sound=mutant.sound, faulty=mutant.faulty, place=place)


def _raw(text: str) -> list[str]:
    lexed = lex(text)
    return [token if token in INDENTS else text[a:b] for token, (a, b) in zip(lexed.tokens, lexed.spans, strict=True)]


def _same(left: Sequence[Any], right: Sequence[Any]) -> int:
    """Length of the common beginning."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(left), len(right)))


def _window(mutant: Mutant, window: int, words: frozenset[str], rng: np.random.Generator) -> Crop | None:
    """Words around the edit: the window holds its beginning, and all of it where it fits; cut at a line if it can."""
    left, right = lex(mutant.sound).tokens, lex(mutant.faulty).tokens
    shared = min(len(left), len(right))
    width, place = min(window, shared), _same(left, right)
    if place == shared or left == right:  # only longer, or a number for a number
        return None
    span = max(len(left), len(right)) - place - _same(left[place:][::-1], right[place:][::-1])
    high = min(place, shared - width)
    low = min(high, max(0, place - width + 3, min(place, place + span + 2 - width)))
    lines = [i for i in range(low, high + 1) if i == 0 or left[i - 1] in INDENTS]
    start = int(rng.choice(lines)) if lines else int(rng.integers(low, high + 1))
    a, b = left[start : start + width], right[start : start + width]
    names = sorted({token for token in (*a, *b) if token not in words})
    order = rng.permutation(max(len(names), len(SLOTS)))  # which names become <unk>, when slots run out, is chance
    slots = {name: SLOTS[order[i]] if order[i] < len(SLOTS) else "<unk>" for i, name in enumerate(names)}
    sound, faulty = ([slots.get(token, token) for token in side] for side in (a, b))
    if sound == faulty:
        return None
    at = place - start
    return Crop(mutant=mutant, sound=" ".join(sound), faulty=" ".join(faulty), place=at, key=_key(sound, faulty, at))


def _key(sound: list[str], faulty: list[str], at: int) -> tuple[str, str]:
    """The words that differ, one word for one word with its count in the window; nothing for a longer edit."""
    tail = min(_same(sound[at:][::-1], faulty[at:][::-1]), len(sound) - at)
    a, b = sound[at : len(sound) - tail], faulty[at : len(faulty) - tail]
    if max(len(a), len(b)) > _SHORT:
        return "", ""
    counts = [Counter(side) for side in (sound, faulty)]
    texts = [
        " ".join(f"ID {min(n[w], 4)}" if w in SLOTS else w for w in s) for s, n in zip((a, b), counts, strict=True)
    ]
    return texts[0], texts[1]


def _balanced(found: Sequence[Crop], rng: np.random.Generator) -> list[Crop]:
    """Of two keys that mirror each other the commoner is thinned to the rarer; the order stays."""
    by_key: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, crop in enumerate(found):
        by_key[crop.key].append(i)
    kept: set[int] = set()
    for key, mine in by_key.items():
        mirror = by_key.get((key[1], key[0]), [])
        size = min(len(mine), len(mirror))
        kept.update(int(i) for i in rng.permutation(mine)[:size])
    return [crop for i, crop in enumerate(found) if i in kept]
