"""Conditions on a token and what stands before it: what rules, trees and compiled texts are made of.

`return`                     on a token                        after `:`            right after one
when `self` stands within 5 tokens before                      once `w` has come 2 times
4 tokens after `def`         at places 3 to 9                  inside brackets
on a token seen before
on digits                    after newlines                    not …
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from superalign.interpretability.explanation import Sample, before, brief, quoted

Kind = Literal["token", "after", "back", "near", "count", "class", "afterclass", "place", "brackets", "seen", "firsts"]
OPEN, CLOSE = frozenset("([{"), frozenset(")]}")
CLASSES: Mapping[str, Callable[[str], bool]] = {
    "digits": lambda word: bool(re.search(r"\d", word.strip())) and word.strip()[:1].isdigit(),
    "numbers": lambda word: word == "<N>" or word.strip().replace(".", "", 1).isdigit(),
    "strings": lambda word: word == "<S>" or word.strip()[:1] in ("'", '"'),
    "newlines": lambda word: "\n" in word or re.fullmatch(r"<L\d>", word) is not None,
    "indents": lambda word: re.fullmatch(r"<L[1-9]>|\n[ \t]+", word) is not None,
    "names": lambda word: re.fullmatch(r"v\d+", word) is not None,
    "keywords": lambda word: keyword.iskeyword(word.strip()),
    "words": lambda word: re.fullmatch(r"[^\W\d]\w*", word.strip()) is not None,
    "capitals": lambda word: word.strip()[:1].isupper(),
    "shouting": lambda word: len(word.strip()) > 1 and word.strip().isupper(),
    "letters": lambda word: len(word.strip()) == 1 and word.strip().isalpha(),
    "underscores": lambda word: word.strip().startswith("_"),
    "punctuation": lambda word: bool(word.strip()) and re.fullmatch(r"[^\w\s]+", word.strip()) is not None,
    "operators": lambda word: re.fullmatch(r"[-+*/%<>=!|&^~@]+", word.strip()) is not None,
    "openers": lambda word: word.strip()[-1:] in OPEN if word.strip() else False,
    "closers": lambda word: word.strip()[:1] in CLOSE if word.strip() else False,
    "blanks": lambda word: bool(word) and not word.strip(),
}
"""Classes of tokens by their characters, as explanations call them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lexicon:
    """What tests need to know of a vocabulary."""

    words: tuple[str, ...]
    classes: Mapping[str, np.ndarray]
    """Class → (words,) bool."""
    skip: int
    """Context tokens at the head of a sequence: places are counted after them, from 1."""


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """One condition on a token and what stands before it."""

    kind: Kind
    words: tuple[int, ...] = ()
    number: int = 0
    """Of `near` and `back` how far, of `count` how often, of `place` the first, of `brackets` how deep."""
    last: int = 0
    """Of `place` the last; 0 for no end."""
    label: str = ""
    negated: bool = False

    def holds(self, ids: np.ndarray, lengths: np.ndarray, lexicon: Lexicon) -> np.ndarray:
        """(rows, length) bool"""
        found = _HOLDS[self.kind](self, ids, lexicon)
        return ~found if self.negated else found

    def text(self, lexicon: Lexicon) -> str:
        """In the language that `compiled` reads."""
        words = ", ".join(quoted(lexicon.words[i]) for i in self.words)
        said = {
            "token": f"on {words}",
            "after": f"after {words}",
            "back": f"{self.number} tokens after {words}",
            "near": f"when {words} stands within {self.number} tokens before",
            "count": f"once {words} has come" + (f" {self.number} times" if self.number > 1 else ""),
            "class": f"on {self.label}",
            "afterclass": f"after {self.label}",
            "place": f"at places {self.number} to {self.last}" if self.last else f"from place {self.number} on",
            "brackets": "inside brackets" if self.number == 1 else f"inside {self.number} brackets",
            "seen": "on a token seen before",
            "firsts": f"at the first {self.number} places",
        }[self.kind]
        return f"not {said}" if self.negated else said

    def bits(self, lexicon: Lexicon) -> float:
        """To send it: its kind, its words, its numbers."""
        numbers = sum(float(np.log2(1 + each)) for each in (self.number, self.last) if each)
        label = float(np.log2(len(CLASSES))) if self.label else 0.0
        return 4 + len(self.words) * float(np.log2(max(2, len(lexicon.words)))) + numbers + label + self.negated


Rule = tuple[Condition, ...]
"""All of its tests hold."""


def lexicon_of(words: Sequence[str], *, skip: int) -> Lexicon:
    """What is known of a vocabulary's tokens by how they are written."""
    table = {name: np.array([belongs(word) for word in words], dtype=bool) for name, belongs in CLASSES.items()}
    return Lexicon(words=tuple(words), classes=table, skip=skip)


def lexicon(sample: Sample) -> Lexicon:
    """Of a sample's vocabulary."""
    return lexicon_of(sample.words, skip=sample.corpus.skip)


def holds(rule: Rule, ids: np.ndarray, lengths: np.ndarray, lexicon: Lexicon) -> np.ndarray:
    """(rows, length) bool: do all tests of a rule hold?"""
    found = np.ones(ids.shape, dtype=bool)
    for test in rule:
        found &= test.holds(ids, lengths, lexicon)
    return found


def rule_text(rule: Rule, lexicon: Lexicon) -> str:
    """In words, without its verb."""
    return " and ".join(test.text(lexicon) for test in rule)


def merged(rules: Sequence[tuple[Rule, float]], lexicon: Lexicon) -> str:
    """What rules with weights say, in clauses, as many as `brief` keeps; tokens of one sign are told together."""
    clauses: dict[tuple[str, Kind, int], Rule] = {}
    order: list[tuple[str, Rule]] = []
    for rule, weight in rules:
        verb, test = "fires" if weight > 0 else "less", rule[0]
        key = (verb, test.kind, test.number)
        if len(rule) == 1 and test.kind in ("token", "after") and not test.negated:
            held = clauses.get(key)
            if held is not None:
                joined = (replace(held[0], words=(*held[0].words, *test.words)),)
                order[order.index((verb, held))] = (verb, joined)
                clauses[key] = joined
                continue
            clauses[key] = rule
        order.append((verb, rule))
    return brief([f"{verb} {rule_text(rule, lexicon)}" for verb, rule in order])


def depths(ids: np.ndarray, lexicon: Lexicon) -> np.ndarray:
    """(rows, length) how many brackets are open at each token, before it; never under 0."""
    step = lexicon.classes["openers"][ids].astype(np.int64) - lexicon.classes["closers"][ids]
    total = np.cumsum(step, axis=1)
    floor = np.minimum(np.minimum.accumulate(total, axis=1), 0)
    after: np.ndarray = total - floor
    return np.concatenate([np.zeros((len(ids), 1), dtype=np.int64), after[:, :-1]], axis=1)


def seen(ids: np.ndarray) -> np.ndarray:
    """(rows, length) bool: has the token come before in its sequence?"""
    order = np.argsort(ids, axis=1, kind="stable")
    ordered = np.take_along_axis(ids, order, axis=1)
    again = np.zeros(ids.shape, dtype=bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    found = np.empty_like(again)
    np.put_along_axis(found, order, again, axis=1)
    return found


def places(ids: np.ndarray, lexicon: Lexicon) -> np.ndarray:
    """(length,) places from 1, after the context."""
    return np.arange(ids.shape[1]) - lexicon.skip + 1


def _in(ids: np.ndarray, words: tuple[int, ...]) -> np.ndarray:
    return np.isin(ids, words)


def _near(test: Condition, ids: np.ndarray, lexicon: Lexicon) -> np.ndarray:
    found = np.zeros(ids.shape, dtype=bool)
    for step in range(1, min(test.number, ids.shape[1] - 1) + 1):
        found |= _in(before(ids, step, nothing=-1), test.words)
    return found


def _place(test: Condition, ids: np.ndarray, lexicon: Lexicon) -> np.ndarray:
    place = places(ids, lexicon)
    return np.broadcast_to((place >= test.number) & ((place <= test.last) | (test.last == 0)), ids.shape).copy()


def _firsts(test: Condition, ids: np.ndarray, lexicon: Lexicon) -> np.ndarray:
    place = places(ids, lexicon)
    return np.broadcast_to((place >= 1) & (place <= test.number), ids.shape).copy()


def _afterclass(test: Condition, ids: np.ndarray, lexicon: Lexicon) -> np.ndarray:
    previous = before(ids, 1, nothing=-1)
    found: np.ndarray = lexicon.classes[test.label][previous] & (previous >= 0)
    return found


_HOLDS: Mapping[Kind, Callable[[Condition, np.ndarray, Lexicon], np.ndarray]] = {
    "token": lambda test, ids, _: _in(ids, test.words),
    "after": lambda test, ids, _: _in(before(ids, 1, nothing=-1), test.words),
    "back": lambda test, ids, _: _in(before(ids, test.number, nothing=-1), test.words),
    "near": _near,
    "count": lambda test, ids, _: np.cumsum(_in(ids, test.words), axis=1) >= test.number,
    "class": lambda test, ids, lexicon: lexicon.classes[test.label][ids],
    "afterclass": _afterclass,
    "place": _place,
    "firsts": _firsts,
    "brackets": lambda test, ids, lexicon: depths(ids, lexicon) >= test.number,
    "seen": lambda test, ids, _: seen(ids),
}
