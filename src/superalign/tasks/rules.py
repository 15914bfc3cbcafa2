"""rules: a hidden passage of rules with exceptions about invented kinds; a judge sees only what is quoted from it.

    tavi is a wug .                     every wug is a gorp .                    every gorp is red .
    tavi has horns .                    every gorp with horns is not red .       is tavi red ?   no
    tavi lacks fur .                    every wug with fur and horns is red .

The most specific rule that applies has the say. What is not shown is not so: a rule with a condition that no line
shows does not apply. Each answer has a *chain*, the lines that prove it, and no further line of the passage overturns
it; each has *lures*, quotes that mislead whoever takes unshown conditions for granted or stops at the default.
Names are dealt anew in every passage, so that no word tells anything beyond it.

    page = rules(split="dev", n=200, facts=40, depth=3)
    shown = page.items[0].input
    conclude(shown["passage"].splitlines(), shown["question"])      # the answer, worked out from the text alone
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from superalign.tasks.item import SPLITS, Item, Page
from superalign.tasks.rules_world import (
    FEATURES,
    INDIVIDUALS,
    KINDS,
    PROPERTIES,
    RULES_VOCABULARY,
    lines_needed,
    passage,
    themes_of,
)
from superalign.tasks.slips import check_count, item_id

__all__ = ["RULES_VOCABULARY", "blind_rules", "conclude", "rules"]

DEEPEST, MOST = 5, 200
"""The longest chain of exceptions, and the most lines of a passage (beyond, the words no longer suffice)."""
_SPLIT_KEY = {split: 21 + i for i, split in enumerate(SPLITS)}


class _Rule(NamedTuple):
    kind: str
    conditions: frozenset[str]
    topic: str
    positive: bool


class _Read(NamedTuple):
    """What lines say: what each name is said to be, to have and to lack, and the rules."""

    above: defaultdict[str, set[str]]
    has: defaultdict[str, set[str]]
    lacks: defaultdict[str, set[str]]
    rules: list[_Rule]

    def kinds(self, name: str) -> set[str]:
        """All kinds that an individual, or a kind, is said to belong to, and itself."""
        found, new = {name}, [name]
        while new:
            fresh = self.above[new.pop()] - found
            found |= fresh
            new += fresh
        return found


def _read(lines: Iterable[str]) -> _Read:
    read = _Read(defaultdict(set), defaultdict(set), defaultdict(set), [])
    for line in lines:
        match line.split():
            case ["every", low, "is", "a", high, "."] if low in KINDS and high in KINDS:
                read.above[low].add(high)
            case [who, "is", "a", kind, "."] if who in INDIVIDUALS and kind in KINDS:
                read.above[who].add(kind)
            case [who, "has", feature, "."] if who in INDIVIDUALS and feature in FEATURES:
                read.has[who].add(feature)
            case [who, "lacks", feature, "."] if who in INDIVIDUALS and feature in FEATURES:
                read.lacks[who].add(feature)
            case ["every", kind, *given, "is", topic, "."] if _is_rule(kind, given, topic):
                read.rules.append(_Rule(kind, frozenset(given[1::2]), topic, True))
            case ["every", kind, *given, "is", "not", topic, "."] if _is_rule(kind, given, topic):
                read.rules.append(_Rule(kind, frozenset(given[1::2]), topic, False))
            case _:
                raise ValueError(
                    f"rules: {line!r} is no sentence of a passage: hand over whole lines as they stand there"
                )
    return read


def _is_rule(kind: str, given: list[str], topic: str) -> bool:
    joints = ["with", *["and"] * len(given)][: len(given) // 2]
    return kind in KINDS and topic in PROPERTIES and given[::2] == joints and set(given[1::2]) <= set(FEATURES)


def conclude(lines: Iterable[str], question: str, *, trusting: bool = False) -> bool | None:
    """What follows from `lines`, any part of a passage: True for yes, False for no, None where nothing settles it.

    A rule applies when lines show that the individual is of its kind, directly or through subkinds, and has every
    feature it asks for; what no line shows is not so. A rule gives way to one that applies to the same kind or a
    subkind and asks for at least the same features. None when no rule applies, or when those that remain disagree.
    A `trusting` reader instead takes every feature for granted that no line denies.
    Raises ValueError for a line or question that is none.

    >>> conclude(["tavi is a wug .", "every wug is red .", "every wug with fur is not red ."], "is tavi red ?")
    True
    """
    match question.split():
        case ["is", who, topic, "?"] if who in INDIVIDUALS and topic in PROPERTIES:
            read = _read(lines)
        case _:
            raise ValueError(f"rules: {question!r} is no question: ask as in 'is tavi red ?'")
    own, has, lacks = read.kinds(who), read.has[who], read.lacks[who]
    apply = [
        (rule, read.kinds(rule.kind))
        for rule in read.rules
        if rule.topic == topic
        and rule.kind in own
        and (rule.conditions.isdisjoint(lacks) if trusting else rule.conditions <= has)
    ]
    verdicts = {
        rule.positive
        for rule, _ in apply
        if not any(
            rule.kind in above and rule.conditions <= other.conditions and rule[:2] != other[:2]
            for other, above in apply
        )
    }
    return verdicts.pop() if len(verdicts) == 1 else None


def rules(*, split: str, n: int = 1000, facts: int = 40, depth: int = 3, seed: int = 0) -> Page:
    """`n` questions about passages of `facts` lines, with chains of `depth` exceptions; half of the answers are yes.

    Two or four questions share a passage: the cluster. `difficulty` counts the rules from the default to the last
    exception that applies, 1 to `depth` + 1. A truth holds `answer` (1 is "yes"), `kind`, and by index of the line
    `chain` (what proves it), `decisive` (the rule among it) and `lures` (quotes that each mislead).
    Raises ValueError for an unknown split, fewer than one item, a depth outside 1 to 5, or facts too few for the depth
    or above 200.
    """
    check_count("rules", n)
    if split not in _SPLIT_KEY:
        raise ValueError(f"rules has no split {split!r}: use one of {', '.join(SPLITS)}")
    if not 1 <= depth <= DEEPEST:
        raise ValueError(f"rules: depth {depth} was asked for: chains have 1 to {DEEPEST} exceptions")
    if not lines_needed(depth) <= facts <= MOST:
        raise ValueError(
            f"rules: {facts} facts were asked for: passages of depth {depth} have {lines_needed(depth)} to {MOST} lines"
        )
    rng = np.random.default_rng([seed, _SPLIT_KEY[split], facts, depth])
    each = 2 * themes_of(facts, depth)
    coins = [*(rng.permutation(n) % 2).tolist(), *[0] * (-n % each)]
    items, truths = [], {}
    for first in range(0, n, each):
        lines, asked = passage(rng, coins[first : first + each], facts=facts, depth=depth)
        cluster, text = item_id("rules", split, seed, facts, depth, n, first)[:8], "\n".join(lines)
        for i, one in enumerate(asked[: n - first], start=first):
            name = item_id("rules", split, seed, facts, depth, n, "item", i)
            items.append(
                Item(
                    id=name,
                    task="rules.passage",
                    cluster=cluster,
                    input=MappingProxyType({"question": one.question, "passage": text}),
                    options=("no", "yes"),
                    difficulty=one.level + 1.0,
                )
            )
            truths[name] = {
                "answer": one.answer,
                "kind": " to ".join(["exception"] * one.level) or "default",
                "chain": list(one.chain),
                "decisive": one.decisive,
                "lures": [list(lure) for lure in one.lures],
            }
    return Page(task="rules.passage", split=split, items=tuple(items), truths=MappingProxyType(truths))


def blind_rules(page: Page, *, seed: int = 0) -> float:
    """Share of answers that a reader gets right who counts words but follows no rule; reads truths, so evaluator only.

    A logistic regression on the question's words, how often each word occurs in the passage, the number of negations,
    and whether the default that concerns the question is a yes (more than such a reader knows); fitted on half of the
    clusters and tried on the other, both ways. Raises ValueError when the page has fewer than two clusters.

    Example: `assert blind_rules(rules(split="dev", n=2000)) <= 0.55`
    """
    answers = np.array([page.truths[item.id]["answer"] for item in page.items])
    seen = _blind([(item.input["question"], item.input["passage"]) for item in page.items])
    names = sorted({item.cluster for item in page.items})
    if len(names) < 2:
        raise ValueError(f"rules: {page.task}/{page.split} has one cluster: blind_rules fits on one and tries another")
    half = {names[i] for i in np.random.default_rng(seed).permutation(len(names))[: len(names) // 2]}
    first = np.array([item.cluster in half for item in page.items])
    right = 0.0
    for fit in (first, ~first):
        score = seen[~fit] @ _fitted(seen[fit], answers[fit])
        right += float(np.where(score == 0, 0.5, (score > 0) == (answers[~fit] == 1)).sum())
    return right / len(answers)


def _blind(texts: list[tuple[str, str]]) -> np.ndarray:
    """One standardised row of blind features for each question and passage, and a column of ones."""
    rows = []
    for question, text in texts:
        asked, counts = question.split(), Counter(text.split())
        default = conclude([line for line in text.split("\n") if " with " not in line], question)
        rows.append(
            [
                {None: 0, False: -1, True: 1}[default],
                counts["not"] + counts["lacks"],
                *(word in asked for word in RULES_VOCABULARY),
                *(counts[word] for word in RULES_VOCABULARY),
            ]
        )
    seen = np.array(rows, dtype=float)
    spread = seen.std(axis=0)
    seen = (seen - seen.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    return np.hstack([seen, np.ones((len(seen), 1))])


def _fitted(seen: np.ndarray, answers: np.ndarray, *, ridge: float = 1.0) -> np.ndarray:
    """Weights of a logistic regression with a quadratic penalty, by Newton's method."""
    weights = np.zeros(seen.shape[1])
    for _ in range(10):
        chance = 1 / (1 + np.exp(-seen @ weights))
        curve = (seen * (chance * (1 - chance))[:, None]).T @ seen + ridge * np.eye(len(weights))
        weights += np.linalg.solve(curve, seen.T @ (answers - chance) - ridge * weights)
    return weights
