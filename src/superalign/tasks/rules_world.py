"""The worlds behind `rules`: invented kinds, their rules with exceptions, and look-alikes that change no answer.

A passage has one theme or two. A theme is a property, features, and two sides of kinds: what is the rule on one side is
the exception on the other, so that the rules tell nothing to whoever has not looked up the individual's kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import NamedTuple, TypeVar

import numpy as np

_WORDS = (
    "wug gorp blick dax fep toma zorp lorp krin mib nool pim quib rell sarn tulp vash wex yorn zim brud chiv drel plom",
    "tavi lumo neri oska pelu rino sefa timo vuna wilo yara zeno bado cira dola efin fela giro hani ilka joro kemi "
    "liva mosa",
    "horns wings spots fur fins gills claws tusks scales feathers whiskers hooves antlers fangs thorns spines stripes "
    "paws quills webs tails humps crests manes",
    "red blue tall loud shy quick calm brave sweet heavy warm proud round sharp rare wise",
)
KINDS, INDIVIDUALS, FEATURES, PROPERTIES = (tuple(words.split()) for words in _WORDS)
GLUE = ("every", "is", "a", "not", "with", "and", "has", "lacks", ".", "?", "no", "yes")
RULES_VOCABULARY = (*GLUE, *KINDS, *INDIVIDUALS, *FEATURES, *PROPERTIES)
"""All words that questions, passages and options are made of."""
LINKS, THEMES = 2, 2
"""Subkind sentences of a theme, and how many themes a passage has at most."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question about a passage, and what settles it; lines are given by their index."""

    question: str
    answer: int
    level: int
    """How many exceptions apply, each to the one before."""
    chain: tuple[int, ...]
    """The lines that prove the answer; none can be left out."""
    decisive: int
    """The rule among them: the last exception that applies, or the default."""
    lures: tuple[tuple[int, ...], ...]
    """Sets of lines that each, quoted alone, lead a reader who takes unshown features for granted to the wrong answer:
    the chain one exception short (it misleads any reader), and the chain with an exception too many."""


class _Words(NamedTuple):
    """The words of one passage in its own random order, handed out once each."""

    kinds: Iterator[str]
    individuals: Iterator[str]
    features: Iterator[str]
    properties: Iterator[str]


class _Spare(NamedTuple):
    """Words that no theme has taken."""

    kinds: list[str]
    individuals: list[str]
    features: list[str]
    properties: list[str]


class _Proof(NamedTuple):
    """An asked individual's answer, how many exceptions apply, and the lines that lead to a rule, by its level."""

    answer: int
    level: int
    ways: dict[int, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Theme:
    topic: str
    """The property that its questions are about."""
    features: tuple[str, ...]
    """What its exceptions ask for; the last is a decoy, which its asked individuals are never said to have."""
    kinds: tuple[str, ...]
    individuals: tuple[str, ...]
    lines: tuple[str, ...]
    proofs: tuple[_Proof, ...]


def lines_needed(depth: int) -> int:
    """Lines of a theme: on either side a membership, the rules, and the individual's features; the subkinds of both.

    >>> lines_needed(3)
    20
    """
    return 2 * (1 + (depth + 1) + (depth + 1)) + LINKS


def themes_of(facts: int, depth: int) -> int:
    """How many themes a passage has: as many as leave room for look-alikes, at least one."""
    return max(1, min(THEMES, facts // (lines_needed(depth) + 4)))


def rule(kind: str, conditions: Sequence[str], topic: str, positive: bool) -> str:
    """The sentence of a rule.

    >>> rule("gorp", ["fur", "horns"], "red", False)
    'every gorp with fur and horns is not red .'
    """
    given = f" with {' and '.join(conditions)}" if conditions else ""
    return f"every {kind}{given} is {'' if positive else 'not '}{topic} ."


def _pick(rng: np.random.Generator, choices: Sequence[_T]) -> _T:
    return choices[int(rng.integers(len(choices)))]


def _some(rng: np.random.Generator, words: Sequence[str], count: int) -> list[str]:
    return [words[i] for i in rng.permutation(len(words))[:count]]


def _rules(
    rng: np.random.Generator, kinds: Sequence[str], features: Sequence[str], topic: str, default: int
) -> tuple[list[str], list[int]]:
    """A default and its chain of exceptions, with the place of each one's kind in `kinds`.

    The default is about the topmost kind, the last of `kinds`; each exception is about the same kind or the one below.
    """
    at, heights, rules = len(kinds) - 1, [], []
    for level in range(len(features) + 1):
        at -= level > 0 and at > 0 and rng.random() < 1 / 3
        heights.append(at)
        rules.append(rule(kinds[at], _some(rng, features[:level], level), topic, bool((default + level) % 2)))
    return rules, heights


def _theme(
    rng: np.random.Generator, words: _Words, answers: Sequence[int], features: tuple[str, ...], others: Sequence[str]
) -> _Theme:
    """A theme whose two individuals have the given answers; `others` are features of no concern to it.

    Answer and default are independent coins; together they say whether an even number of exceptions applies. Each
    individual has as many features as there are exceptions and lacks one, so that counting them tells nothing.
    """
    topic, depth, coin, first = next(words.properties), len(features) - 1, rng.integers(2), rng.integers(LINKS + 1)
    asked, used, lines, proofs = tuple(islice(words.individuals, 2)), [], [], []
    for who, answer, default, steps in zip(asked, answers, (coin, 1 - coin), (first, LINKS - first), strict=True):
        level = _pick(rng, range(int(default) ^ answer, depth + 1, 2))
        kinds = list(islice(words.kinds, int(steps) + 1))
        rules, heights = _rules(rng, kinds, features[:depth], topic, int(default))
        member = f"{who} is a {kinds[0]} ."
        links = [f"every {low} is a {high} ." for low, high in pairwise(kinds)]
        later = [feature for feature in features[level + 1 : depth] if rng.integers(2)]
        idle = _some(rng, others, depth + 1)
        held = [f"{who} has {feature} ." for feature in [*features[:level], *later, *idle][:depth]]
        denied = level < depth and bool(rng.integers(2))
        lacks = f"{who} lacks {features[level] if denied else _pick(rng, (features[-1], idle[-1]))} ."
        near = range(max(level - 1, 0), min(level + 1, depth) + 1)
        ways = {i: [member, *links[: heights[i]], *held[: min(i, level)], rules[i]] for i in near}
        used += kinds
        lines += [member, *links, *rules, *held, lacks]
        proofs.append(_Proof(answer, level, ways))
    return _Theme(
        topic=topic,
        features=features,
        kinds=tuple(used),
        individuals=asked,
        lines=tuple(lines),
        proofs=tuple(proofs),
    )


def _look_alike(
    rng: np.random.Generator, theme: _Theme, kinds: Sequence[str], features: Sequence[str], spare: _Spare
) -> tuple[tuple[object, ...], str]:
    """A sentence that changes no answer, and what it speaks of; `kinds` and `features` are those outside the theme."""
    form, sign = int(rng.integers(6)), bool(rng.integers(2))
    if form == 0:
        who = _pick(rng, spare.individuals)
        return (who, "is"), f"{who} is a {_pick(rng, [*theme.kinds, *kinds])} ."
    if form == 1:
        who, feature = _pick(rng, spare.individuals), _pick(rng, [*theme.features, *features])
        return (who, feature), f"{who} {'has' if sign else 'lacks'} {feature} ."
    if form == 2:
        low = _pick(rng, spare.kinds)
        return (low, "is"), f"every {low} is a {_pick(rng, theme.kinds)} ."
    *chain, decoy = theme.features
    kind, topic, conditions = _pick(rng, theme.kinds), theme.topic, _some(rng, chain, int(rng.integers(len(chain))))
    if form == 3:
        kind = _pick(rng, kinds)
    elif form == 4:
        topic = _pick(rng, spare.properties)
    if form == 5 or rng.random() < 1 / 3:
        conditions = _some(rng, [*conditions, decoy], len(conditions) + 1)
    return (kind, frozenset(conditions), topic), rule(kind, conditions, topic, sign)


def passage(
    rng: np.random.Generator, answers: Sequence[int], *, facts: int, depth: int
) -> tuple[tuple[str, ...], tuple[Asked, ...]]:
    """`facts` lines in random order, and one question for each of the answers (two a theme).

    Example: `lines, (first, second) = passage(np.random.default_rng(0), [0, 1], facts=40, depth=3)`
    """
    words = _Words(*(iter(_some(rng, pool, len(pool))) for pool in (KINDS, INDIVIDUALS, FEATURES, PROPERTIES)))
    sets = [tuple(islice(words.features, depth + 1)) for _ in range(0, len(answers), 2)]
    idle = list(islice(words.features, max(depth + 1, 3 + facts // 20)))
    others = [[*idle, *(feature for other in sets if other is not mine for feature in other)] for mine in sets]
    themes = [_theme(rng, words, answers[2 * i : 2 * i + 2], sets[i], others[i]) for i in range(len(sets))]
    kinds, individuals, properties = (
        list(islice(pool, 3 + facts // 20)) for pool in (words.kinds, words.individuals, words.properties)
    )
    spare = _Spare(kinds, individuals, idle, properties)
    lines = [line for theme in themes for line in theme.lines]
    said: set[tuple[object, ...]] = set()
    while len(lines) < facts:
        i = int(rng.integers(len(themes)))
        kinds = [*spare.kinds, *(kind for theme in themes if theme is not themes[i] for kind in theme.kinds)]
        about, line = _look_alike(rng, themes[i], kinds, others[i], spare)
        if about not in said:
            said.add(about)
            lines.append(line)
    lines = [lines[i] for i in rng.permutation(len(lines))]
    place = {line: i for i, line in enumerate(lines)}
    asked = []
    for theme in themes:
        for who, (answer, level, ways) in zip(theme.individuals, theme.proofs, strict=True):
            quotes = {i: tuple(sorted(place[line] for line in way)) for i, way in ways.items()}
            asked.append(
                Asked(
                    question=f"is {who} {theme.topic} ?",
                    answer=answer,
                    level=level,
                    chain=quotes[level],
                    decisive=place[ways[level][-1]],
                    lures=tuple(quotes[i] for i in quotes if i != level),
                )
            )
    return tuple(lines), tuple(asked)
