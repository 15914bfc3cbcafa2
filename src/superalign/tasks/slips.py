"""slips: a window of real code beside the same window with one alteration.

Four kinds: neighbours `swapped`, a token `lost` or `doubled` (easy), a wrong `variable`, a wrong `operator` (hard).
Directions are balanced: for each pair of readings of an edit (a → b, b → a) a split holds as many of the one as of
the other, so that whoever sees only the edit can do no better than chance. *Altered* is all that is claimed:
whether the altered code is faulty nobody has executed.

    page = slips(split="dev", view="pair", n=200)      # which of the two is unaltered?
    page = slips(split="dev", view="single", n=200)    # is it altered? where?
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from keyword import iskeyword
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from superalign.tasks.item import Item, Page
from superalign.tasks.lexer import INDENTS, NAMED, SLOTS, lex, line_starts, slotted
from superalign.tasks.stdlib import index, source_files

WINDOW, SPARE, STRIDE = 48, 2, 20
_PLACES = np.arange(2, WINDOW - 2)
"""Where a window may be altered."""
KINDS = ("swapped", "lost-doubled", "variable", "operator")
EASY, HARD = KINDS[:2], KINDS[2:]
FLIPS = (
    ("==", "!="),
    ("<", ">"),
    ("<", "<="),
    (">", ">="),
    ("+", "-"),
    ("*", "/"),
    ("and", "or"),
    ("True", "False"),
    ("+=", "-="),
    ("(", "["),
    (")", "]"),
    (".", ","),
    ("=", "=="),
    ("if", "while"),
    ("break", "continue"),
    ("is", "in"),
    ("None", "True"),
    ("None", "False"),
    ("not", "in"),
    ("<=", ">="),
    ("*", "+"),
    ("|", "&"),
)
"""Tokens that take each other's place; both directions are drawn equally often."""
_FLIPS = {token: [pair for pair in FLIPS if token in pair] for token in sum(FLIPS, ())}
_SLOTS = frozenset(SLOTS)
_IDENTIFIERS = _SLOTS | {*NAMED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """One window and one alteration of it: `sound` and `altered` are token tuples of length `WINDOW`."""

    path: str
    """File of the standard library: the cluster."""
    start: int
    """Index of the window's first token in the lexed file."""
    kind: str
    place: int
    """Index of the altered token in the window."""
    key: tuple[str, str]
    """What the edit reads: (before, after), identifiers written `ID`."""
    sound: tuple[str, ...]
    altered: tuple[str, ...]
    raw: tuple[str, ...]
    """Replacement of the sound window's tokens from `place` on, as real source words."""
    width: int
    """How many tokens of the sound window `raw` replaces."""


class _Window(NamedTuple):
    """`WINDOW` tokens, and `SPARE` ones after them, from `start` on."""

    path: str
    start: int
    tokens: tuple[str, ...]
    real: Sequence[str]
    """The same as they stand in the source, names and all."""


class _Edit(NamedTuple):
    """An alteration that may be drawn: of very many few are, and only those become slips."""

    window: _Window
    kind: str
    place: int
    key: tuple[str, str]
    new: tuple[str, ...]
    raw: tuple[str, ...]
    width: int

    def altered(self) -> tuple[str, ...]:
        tokens = self.window.tokens
        return (*tokens[: self.place], *self.new, *tokens[self.place + self.width :])[:WINDOW]


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """Words that stay as they are; all others become slots."""
    return frozenset(index()["vocabulary"]) | {"<S>", "<N>", *INDENTS}


def _edits(window: _Window, rng: np.random.Generator) -> Iterator[_Edit]:
    """A few edits of each kind at random places of a window.

    A wrong variable stands in the window already. An identifier that is replaced stands there still; of two of them
    the key holds how often they occur, since the one that loses an occurrence would be a tell otherwise.
    """
    tokens, real = window.tokens, window.real
    names = ["ID" if token in _IDENTIFIERS else token for token in tokens]
    counts = Counter(token for token in tokens[:WINDOW] if token.isidentifier() and not iskeyword(token))
    used = sorted(counts)
    swaps = doubles = losses = variables = operators = 0
    for i in rng.permutation(_PLACES).tolist():
        here, name, following = tokens[i], names[i], names[i + 1]
        if swaps < 6 and name != following:
            swaps += 1
            key = (f"{name} {following}", f"{following} {name}")
            yield _Edit(window, "swapped", i, key, (tokens[i + 1], here), (real[i + 1], real[i]), 2)
        if losses < 1:
            losses += 1
            yield _Edit(window, "lost-doubled", i, (f"{name} {name}", name), (), (), 1)
        elif doubles < 1:
            doubles += 1
            yield _Edit(window, "lost-doubled", i, (name, f"{name} {name}"), (here, here), (real[i], real[i]), 1)
        if variables < 4 and len(used) > 1 and counts[here] > (here in _SLOTS):
            variables += 1
            others = [token for token in used if token != here]
            other = others[int(rng.integers(len(others)))]
            at = tokens.index(other)
            key = (name, names[at])
            if key == ("ID", "ID"):
                key = (f"ID {counts[here]}:{counts[other]}", f"ID {counts[other] + 1}:{counts[here] - 1}")
            yield _Edit(window, "variable", i, key, (other,), (real[at],), 1)
        if operators < 3 and here in _FLIPS:
            operators += 1
            a, b = _FLIPS[here][int(rng.integers(len(_FLIPS[here])))]
            other = b if here == a else a
            yield _Edit(window, "operator", i, (here, other), (other,), (other,), 1)


def _windows(split: str, rng: np.random.Generator) -> Iterator[_Window]:
    for path, source in source_files(split).items():
        lexed = lex(source)
        last = -STRIDE
        for start in line_starts(lexed):
            end = start + WINDOW + SPARE
            if start - last >= STRIDE and end <= len(lexed.tokens):
                last, tokens = start, lexed.tokens[start:end]
                real = [
                    token if token in INDENTS else source[a:b]
                    for token, (a, b) in zip(tokens, lexed.spans[start:end], strict=True)
                ]
                yield _Window(path, start, slotted(tokens, vocabulary(), rng), real)


def _candidates(split: str, rng: np.random.Generator) -> dict[str, dict[tuple[str, str], list[_Edit]]]:
    found: dict[str, dict[tuple[str, str], list[_Edit]]] = {kind: defaultdict(list) for kind in KINDS}
    for window in _windows(split, rng):
        for edit in _edits(window, rng):  # of a run of equal tokens one may be lost unseen, or doubled
            if edit.kind != "lost-doubled" or edit.altered() != window.tokens[:WINDOW]:
                found[edit.kind][edit.key].append(edit)
    return found


def _balanced(found: dict[tuple[str, str], list[_Edit]], rng: np.random.Generator) -> list[list[_Edit]]:
    """Couples of edits that read a → b and b → a; an edit that reads the same both ways stands alone."""
    couples: list[list[_Edit]] = []
    for key in sorted(found):
        mirror = (key[1], key[0])
        mine = [found[key][i] for i in rng.permutation(len(found[key]))]
        if key == mirror:
            couples += [[edit] for edit in mine]
        elif key < mirror and mirror in found:
            other = [found[mirror][i] for i in rng.permutation(len(found[mirror]))]
            couples += [list(pair) for pair in zip(mine, other, strict=False)]
    return [couples[i] for i in rng.permutation(len(couples))]


def draw(split: str, *, seed: int = 0) -> tuple[Slip, ...]:
    """All balanced slips of a split, shuffled, the four kinds as evenly as the source allows, one per window.

    The order is frozen by `seed`; a prefix of it is a fair sample. Each slip is shuffled by itself: were couples left
    together, which of the two comes first would tell their directions.
    """
    return _drawn(split, seed)  # one key however it is called: a draw takes seconds


@lru_cache(maxsize=8)
def _drawn(split: str, seed: int) -> tuple[Slip, ...]:
    rng = np.random.default_rng([seed, *split.encode()])
    found = _candidates(split, rng)
    queues = {kind: _balanced(found[kind], rng) for kind in KINDS}
    taken: set[tuple[str, int]] = set()
    drawn: dict[str, list[list[_Edit]]] = {kind: [] for kind in KINDS}
    count = dict.fromkeys(KINDS, 0)
    while any(queues.values()):
        kind = min((k for k in KINDS if queues[k]), key=lambda k: count[k])
        couple = queues[kind].pop()
        spots = {(edit.window.path, edit.window.start) for edit in couple}
        if len(spots) == len(couple) and not spots & taken:
            taken |= spots
            drawn[kind].append(couple)
            count[kind] += len(couple)
    level = min(count.values())
    kept = []
    for kind in KINDS:
        size = 0
        for couple in drawn[kind]:
            if size < level * 1.5:
                kept.append(couple)
                size += len(couple)
    alone = [edit for couple in kept for edit in couple]
    return tuple(_slip(alone[i]) for i in rng.permutation(len(alone)))


def _slip(edit: _Edit) -> Slip:
    return Slip(
        path=edit.window.path,
        start=edit.window.start,
        kind=edit.kind,
        place=edit.place,
        key=edit.key,
        sound=edit.window.tokens[:WINDOW],
        altered=edit.altered(),
        raw=edit.raw,
        width=edit.width,
    )


def item_id(*parts: object) -> str:
    """16 hex digits that tell nothing about the item but its identity."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def check_count(task: str, n: int | None) -> None:
    """Raises ValueError when fewer than one item is asked for; None asks for all."""
    if n is not None and n < 1:
        raise ValueError(f"{task}: {n} items were asked for: ask for 1 or more")


def slips(*, split: str, view: str = "pair", n: int | None = None, seed: int = 0) -> Page:
    """The first `n` slips of `split` as a page of items and truths.

    `view="pair"`: input `a`, `b`; the truth's `answer` is the index of the unaltered one. `view="single"`: input
    `code`, altered in half of a whole split's items (near half of the first `n`); `answer` 1 is "altered", `place` the
    altered token's index.
    Raises ValueError for an unknown view, an `n` below 1, or when the split holds fewer than `n`.
    """
    if view not in ("pair", "single"):
        raise ValueError(f"slips has no view {view!r}: use 'pair' or 'single'")
    drawn = draw(split, seed=seed)
    check_count("slips", n)
    if n is not None and n > len(drawn):
        raise ValueError(f"slips/{split} holds {len(drawn)} balanced slips, {n} were asked for: ask for fewer")
    rng = np.random.default_rng([seed, 7, *split.encode(), *view.encode()])
    items, truths = [], {}
    coins = rng.permutation(len(drawn)) % 2
    for slip, coin in zip(drawn[:n], coins.tolist(), strict=False):
        name = item_id("slips", view, split, seed, slip.path, slip.start, slip.kind)
        texts = (" ".join(slip.sound), " ".join(slip.altered))
        cluster = item_id("file", slip.path)[:8]
        if view == "pair":
            shown, options = {"a": texts[coin], "b": texts[1 - coin]}, ("a", "b")
        else:
            shown, options = {"code": texts[coin]}, ("sound", "altered")
        items.append(
            Item(id=name, task=f"slips.{view}", cluster=cluster, input=MappingProxyType(shown), options=options)
        )
        truths[name] = {
            "answer": coin,
            "kind": slip.kind,
            "place": slip.place,
            "key": list(slip.key),
            "path": slip.path,
            "start": slip.start,
            "raw": list(slip.raw),
            "width": slip.width,
        }
    return Page(task=f"slips.{view}", split=split, items=tuple(items), truths=MappingProxyType(truths))
