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

import numpy as np

from superalign.tasks.item import Item, Page
from superalign.tasks.lexer import INDENTS, NAMED, SLOTS, lex, line_starts, slotted
from superalign.tasks.stdlib import index, source_files

WINDOW, SPARE, STRIDE = 48, 2, 20
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


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """Words that stay as they are; all others become slots."""
    return frozenset(index()["vocabulary"]) | {"<S>", "<N>", *INDENTS}


def _name(token: str) -> str:
    return "ID" if token in SLOTS or token in NAMED else token


def _edits(
    window: tuple[str, ...], real: Sequence[str], rng: np.random.Generator
) -> Iterator[tuple[str, int, tuple[str, str], tuple[str, ...], tuple[str, ...], int]]:
    """A few edits of each kind at random places of a window: kind, place, key, new tokens, new words, width.

    A wrong variable stands in the window already. An identifier that is replaced stands there still; of two of them
    the key holds how often they occur, since the one that loses an occurrence would be a tell otherwise.
    """
    at = [int(i) for i in rng.permutation(np.arange(2, WINDOW - 2))]
    flips = {a: [pair for pair in FLIPS if a in pair] for a in window}
    counts = Counter(token for token in window[:WINDOW] if token.isidentifier() and not iskeyword(token))
    used = sorted(counts)
    swaps = doubles = losses = variables = operators = 0
    for i in at:
        here, following = window[i], window[i + 1]
        if swaps < 6 and _name(here) != _name(following):
            swaps += 1
            yield (
                "swapped",
                i,
                (f"{_name(here)} {_name(following)}", f"{_name(following)} {_name(here)}"),
                (following, here),
                (real[i + 1], real[i]),
                2,
            )
        if losses < 1:
            losses += 1
            yield "lost-doubled", i, (f"{_name(here)} {_name(here)}", _name(here)), (), (), 1
        elif doubles < 1:
            doubles += 1
            yield (
                "lost-doubled",
                i,
                (_name(here), f"{_name(here)} {_name(here)}"),
                (here, here),
                (real[i], real[i]),
                1,
            )
        if variables < 4 and len(used) > 1 and counts[here] > (here in SLOTS):
            variables += 1
            other = str(rng.choice([token for token in used if token != here]))
            key = (_name(here), _name(other))
            if key == ("ID", "ID"):
                key = (f"ID {counts[here]}:{counts[other]}", f"ID {counts[other] + 1}:{counts[here] - 1}")
            yield "variable", i, key, (other,), (real[window.index(other)],), 1
        if operators < 3 and flips.get(here):
            operators += 1
            a, b = flips[here][int(rng.integers(len(flips[here])))]
            other = b if here == a else a
            yield "operator", i, (here, other), (other,), (other,), 1


def _windows(split: str) -> Iterator[tuple[str, int, list[str]]]:
    for path, source in source_files(split).items():
        lexed = lex(source)
        last = -STRIDE
        for start in line_starts(lexed):
            if start - last >= STRIDE and start + WINDOW + SPARE <= len(lexed.tokens):
                last = start
                real = [source[a:b] for a, b in lexed.spans[start : start + WINDOW + SPARE]]
                real = [t if t in INDENTS else r for t, r in zip(lexed.tokens[start:], real, strict=False)]
                yield path, start, [*lexed.tokens[start : start + WINDOW + SPARE], "\0", *real]


def _candidates(split: str, rng: np.random.Generator) -> dict[str, dict[tuple[str, str], list[Slip]]]:
    found: dict[str, dict[tuple[str, str], list[Slip]]] = {kind: defaultdict(list) for kind in KINDS}
    for path, start, both in _windows(split):
        bar = both.index("\0")
        tokens, real = slotted(both[:bar], vocabulary(), rng), both[bar + 1 :]
        for kind, place, key, new, raw, width in _edits(tokens, real, rng):
            altered = (*tokens[:place], *new, *tokens[place + width :])[:WINDOW]
            sound = tokens[:WINDOW]
            if altered != sound:
                found[kind][key].append(
                    Slip(
                        path=path,
                        start=start,
                        kind=kind,
                        place=place,
                        key=key,
                        sound=sound,
                        altered=altered,
                        raw=raw,
                        width=width,
                    )
                )
    return found


def _balanced(found: dict[tuple[str, str], list[Slip]], rng: np.random.Generator) -> list[list[Slip]]:
    """Couples of slips that read a → b and b → a; an edit that reads the same both ways stands alone."""
    couples: list[list[Slip]] = []
    for key in sorted(found):
        mirror = (key[1], key[0])
        mine = [found[key][i] for i in rng.permutation(len(found[key]))]
        if key == mirror:
            couples += [[slip] for slip in mine]
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
    drawn: dict[str, list[list[Slip]]] = {kind: [] for kind in KINDS}
    count = dict.fromkeys(KINDS, 0)
    while any(queues.values()):
        kind = min((k for k in KINDS if queues[k]), key=lambda k: count[k])
        couple = queues[kind].pop()
        spots = {(slip.path, slip.start) for slip in couple}
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
    alone = [slip for couple in kept for slip in couple]
    return tuple(alone[i] for i in rng.permutation(len(alone)))


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
