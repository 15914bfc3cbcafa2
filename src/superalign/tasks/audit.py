"""The blind-tell audit: what is reached by whoever never sees the question, or sees only the edit.

Attackers, each fitted on half of the clusters and tried on the other half, both ways:

- `metadata`: bits of the id and of the cluster's name, place in the page, input lengths; never a token.
- `edit-lookup`: the edit alone, looked up with additive smoothing. Pair: the first run of tokens in which the
  sides differ, as (only in a, only in b). Single: the token at the place.
- `edit-logistic`: the edit alone, hashed: tokens of every differing run (pair), token and place (single).
- `words` (rules alone): how often each word occurs in question and passage, which default concerns the question
  (`blind_rules`): everything but who is which.
- `edit-order`: the direction of the edit crossed with the place in the page, and with the neighbours' (`audit_order`):
  it sees the page as a whole, in its order.

Slots are written `ID`; source (text with lines) is lexed, and keeps its names. A single shows no edit, so its edit
attackers are handed more than a solver has: the altered place, or for a sound item the place where it would have been
altered (where the task kept none: one drawn from the places of the altered). They see the token there and nothing
around it. Two halves of balanced data lean opposite ways, so an honest task often lands *below* chance; that passes.
With few items the limit is noise: at 400 it is two standard errors above chance. No attacker counts words over a whole
window: that is reading the question.

    for result in audit(slips(split="dev")): print(result.attacker, result.accuracy, result.passed)
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np

from superalign.tasks.audit_order import Features, Run, order_of_pairs, order_of_singles
from superalign.tasks.item import Item, Page
from superalign.tasks.lexer import INDENTS, NAMED, SLOTS, lex
from superalign.tasks.rules import blind_rules
from superalign.tasks.traces import step_word

MARGIN = 0.05
_HASHES = 4096
_NAMES = frozenset({*SLOTS, *NAMED, "<unk>"})

Attack = Callable[[list[int], list[int]], np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """How far one attacker came on one page."""

    task: str
    split: str
    attacker: str
    accuracy: float
    """Share of right answers over both halves; a tie counts one half."""
    n: int
    limit: float
    """Chance and five points."""
    passed: bool
    """The attacker stayed at or under the limit."""


class _Seen(NamedTuple):
    """The token that a single's edit attacker sees, and the tenth of the text it stands in."""

    token: str
    tenth: int


def audit(page: Page, *, seed: int = 0) -> tuple[AuditResult, ...]:
    """One result per attacker on `page` (pair or single view, two options); reads truths, so evaluator only.

    Raises ValueError when the page has fewer than two clusters or an item has other than two options.

    Example: `all(result.passed for result in audit(traces(split="dev", n=800)))`
    """
    answers = np.array([page.truths[item.id]["answer"] for item in page.items])
    if any(len(item.options) != 2 for item in page.items):
        raise ValueError(f"{page.task}/{page.split}: the audit reads items of two options only")
    halves = _halves(page.items, seed=seed)
    known = [metadata(i, item) for i, item in enumerate(page.items)]
    attackers: dict[str, Attack] = {"metadata": _logistic(known, answers)}
    if all({"a", "b"} <= set(item.input) for item in page.items):
        runs = [differing(item.input["a"], item.input["b"]) for item in page.items]
        attackers["edit-lookup"] = _pair_lookup([found[0] if found else ("", "") for found in runs], answers)
        attackers["edit-logistic"] = _logistic([_signed(found) for found in runs], answers, intercept=False)
        attackers["edit-order"] = _logistic(order_of_pairs(runs), answers, intercept=False)
    elif all("place" in page.truths[item.id] for item in page.items):
        seen = _seen(page, seed=seed)
        attackers["edit-lookup"] = _token_lookup([s.token for s in seen], answers)
        shown = [{f"token {s.token}": 1.0, f"tenth {s.tenth}": 1.0} for s in seen]
        attackers["edit-logistic"] = _logistic(shown, answers)
        attackers["edit-order"] = _logistic(order_of_singles([s.token for s in seen]), answers)
    results = [_result(page, name, attack, answers, halves) for name, attack in attackers.items()]
    if page.task == "rules.passage":
        results.append(_judged(page, "words", blind_rules(page, seed=seed)))
    return tuple(results)


def _result(
    page: Page, name: str, attack: Attack, answers: np.ndarray, halves: tuple[list[int], list[int]]
) -> AuditResult:
    right = 0.0
    for fit, tried in (halves, halves[::-1]):
        score = attack(fit, tried)
        right += float(np.where(score == 0, 0.5, (score > 0) == (answers[tried] == 1)).sum())
    return _judged(page, name, right / len(answers))


def _judged(page: Page, name: str, accuracy: float) -> AuditResult:
    limit = 0.5 + MARGIN
    return AuditResult(
        task=page.task,
        split=page.split,
        attacker=name,
        accuracy=accuracy,
        n=len(page.items),
        limit=limit,
        passed=accuracy <= limit,
    )


def _halves(items: Sequence[Item], *, seed: int) -> tuple[list[int], list[int]]:
    """Row numbers of two halves that share no cluster, as even as the clusters' sizes allow."""
    sizes = Counter(item.cluster for item in items)
    if len(sizes) < 2:
        raise ValueError(f"the audit needs two clusters, to fit on one and attack the other: got {len(sizes)}")
    names = sorted(sizes)
    order = np.random.default_rng(seed).permutation(len(names))
    first, taken = set(), 0
    for name in sorted((names[i] for i in order), key=lambda name: -sizes[name]):
        if 2 * taken + sizes[name] <= len(items):
            first.add(name)
            taken += sizes[name]
    if not first:  # one cluster holds more than half of the items
        first.add(names[int(order[0])])
    rows: tuple[list[int], list[int]] = ([], [])
    for i, item in enumerate(items):
        rows[item.cluster not in first].append(i)
    return rows


def metadata(position: int, item: Item) -> Features:
    """What is known of an item unread: id and cluster bits, position, options, lengths in tokens.

    Example: `metadata(0, item)["odd 0"] == 1.0`
    """
    lengths = {name: len(text.split()) for name, text in item.input.items()}
    features = {f"length {name}={length}": 1.0 for name, length in lengths.items()}
    features[f"a is longer by {np.sign(lengths.get('a', 0) - lengths.get('b', 0))}"] = 1.0
    features[f"odd {position % 2}"] = 1.0
    features[f"options {' '.join(item.options)}"] = 1.0
    for what, text in (("id", item.id), ("cluster", item.cluster)):
        digits = "".join(c for c in text.lower() if c in "0123456789abcdef")
        for i, bit in enumerate(f"{int(digits or '0', 16):0{4 * len(digits)}b}"):
            features[f"{what} {i}"] = 1.0 if bit == "1" else -1.0
    return features


def _tokens(text: str) -> list[str]:
    """Words of a text; of source, which has lines, the lexical tokens as they are written."""
    if "\n" not in text:
        return text.split()
    lexed = lex(text)
    return [t if t in INDENTS else text[i:j] for t, (i, j) in zip(lexed.tokens, lexed.spans, strict=True)]


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(left), len(right)))


def _named(tokens: Sequence[str]) -> list[str]:
    return ["ID" if token in _NAMES else token for token in tokens]


def differing(a: str, b: str) -> list[Run]:
    """Runs of tokens in which two texts differ, as (only in a, only in b), names written `ID`, in order.

    >>> differing("x = v3 + 1", "x = v3 - 1")
    [('+', '-')]
    """
    left, right = _tokens(a), _tokens(b)
    if "\n" in a:  # whole functions: what they share at both ends is no part of the edit, and long
        same = _common(left, right)
        left, right = left[same:], right[same:]
        tail = _common(left[::-1], right[::-1])
        left, right = left[: len(left) - tail], right[: len(right) - tail]
    codes = SequenceMatcher(None, left, right, autojunk=False).get_opcodes()
    return [(" ".join(_named(left[i:j])), " ".join(_named(right[k:m]))) for tag, i, j, k, m in codes if tag != "equal"]


def _signed(runs: list[Run]) -> Features:
    """Differing tokens, +1 on side b and -1 on side a (answer 1 is b): exchanging sides flips every sign."""
    features: Features = {}
    for i, (a, b) in enumerate(runs):
        for sign, side, other in ((-1.0, a, b), (1.0, b, a)):
            for name in (f"run {side} against {other}", f"{min(i, 2)}: {side}", *side.split()):
                features[name] = features.get(name, 0.0) + sign
    return features


def _pair_lookup(runs: list[Run], answers: np.ndarray) -> Attack:
    def attack(fit: list[int], tried: list[int]) -> np.ndarray:
        # (sound side's tokens, altered side's) → how often
        sound = Counter(runs[i] if answers[i] == 0 else runs[i][::-1] for i in fit)
        return np.array([np.log((sound[runs[i][::-1]] + 0.5) / (sound[runs[i]] + 0.5)) for i in tried])

    return attack


def _token_lookup(tokens: list[str], answers: np.ndarray) -> Attack:
    def attack(fit: list[int], tried: list[int]) -> np.ndarray:
        counts = [Counter(tokens[i] for i in fit if answers[i] == answer) for answer in (0, 1)]
        totals = [counts[answer].total() + 0.5 * len(counts[0] | counts[1]) for answer in (0, 1)]
        prior = np.log((counts[1].total() + 0.5) / (counts[0].total() + 0.5))
        rates = [np.log([(counts[k][tokens[i]] + 0.5) / totals[k] for i in tried]) for k in (0, 1)]
        return rates[1] - rates[0] + prior

    return attack


def _seen(page: Page, *, seed: int) -> list[_Seen]:
    """The token at the altered place; for a sound item at the place kept for it, else at a placebo place."""
    rng = np.random.default_rng([seed, 5])
    places = [page.truths[item.id]["place"] for item in page.items]
    pool = [place for place in places if place is not None]
    seen = []
    for item, kept in zip(page.items, places, strict=True):
        place = int(rng.choice(pool)) if kept is None else int(kept)
        tokens = _named(_tokens(next(iter(item.input.values()))))
        at = step_word(place) if page.task.startswith("traces") else place
        seen.append(_Seen(tokens[at], 10 * at // len(tokens)))
    return seen


def _logistic(rows: list[Features], answers: np.ndarray, *, intercept: bool = True, ridge: float = 1.0) -> Attack:
    """Logistic regression on hashed features, by steps that never overshoot (a quadratic bound)."""
    cells = [
        (i, zlib.crc32(name.encode()) % _HASHES, value) for i, row in enumerate(rows) for name, value in row.items()
    ]
    cells += [(i, _HASHES, 1.0) for i in range(len(rows))] if intercept else []
    row, column, value = (np.array(part) for part in zip(*cells, strict=True))

    def attack(fit: list[int], tried: list[int]) -> np.ndarray:
        inside = np.isin(row, fit)
        r, c, v = row[inside], column[inside], value[inside]
        reach = np.bincount(r, np.abs(v), minlength=len(rows))
        bound = 0.25 * np.bincount(c, np.abs(v) * reach[r], minlength=_HASHES + 1) + ridge
        weights = np.zeros(_HASHES + 1)
        for _ in range(120):
            miss = 1 / (1 + np.exp(-np.bincount(r, weights[c] * v, minlength=len(rows)))) - answers
            weights -= (np.bincount(c, v * miss[r], minlength=_HASHES + 1) + ridge * weights) / bound
        return np.bincount(row, weights[column] * value, minlength=len(rows))[tried]

    return attack
