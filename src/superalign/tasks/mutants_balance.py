"""Balances directions until the edit alone tells nothing, and measures how far those get who see only the edit.

An edit is the runs of lexed tokens in which the two sides differ. `logistic` reads hashed n-grams of them, as they are
and with names, strings and numbers blotted out; `boosted` reads counts of the commonest, lengths and characters. Both
are fitted on some files and tried on others. Balancing takes two steps: of two keys that mirror each other (a → b,
b → a) a split keeps as many of the one as of the other; and mutants are kept in couples on which an attacker who was
not fitted on their files is as sure of the truth on the one as of its opposite on the other (matching by propensity
score: Rosenbaum & Rubin 1983, §2). Couples that repeat two texts already taken are dropped, and what is kept is
shuffled singly: were couples left together, their order would tell the directions. Needs scikit-learn:
`pip install superalign[local]`.

    kept = balanced(verified, seed=0);  for r in edit_attacks(kept): print(r.attacker, r.accuracy, r.high)
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from keyword import iskeyword

import numpy as np

from superalign.stats import proportion_interval
from superalign.tasks.lexer import lex
from superalign.tasks.mutants import Mutant

_HASHES, _COMMON, _FOLDS = 1 << 14, 200, 6
CALIPER = 0.35
"""Largest difference of two scores (log-odds) that still makes a couple."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditAttack:
    """How often an attacker that sees only the edit names the sound side; the interval is clustered by file."""

    attacker: str
    accuracy: float
    low: float
    high: float
    n: int
    clusters: int


def edit_runs(sound: str, faulty: str) -> tuple[list[str], list[str]]:
    """Tokens only in the one text and only in the other, runs set apart by `|`; which text comes first is no matter.

    >>> edit_runs("x = a + 1", "x = b - 1")
    (['a', '|', '+'], ['b', '|', '-'])
    """
    if sound > faulty:  # the alignment would tell which side was named first
        return edit_runs(faulty, sound)[::-1]
    left, right = (_pieces(text) for text in (sound, faulty))
    start = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    tail = 0
    while tail < min(len(left), len(right)) - start and left[-1 - tail] == right[-1 - tail]:
        tail += 1
    a, b = left[start : len(left) - tail], right[start : len(right) - tail]
    runs: tuple[list[str], list[str]] = ([], [])
    for tag, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag != "equal":
            for run, part in zip(runs, (a[i:j], b[k:m]), strict=True):
                run += ["|", *part] if run else part
    return runs


def _pieces(text: str) -> list[str]:
    lexed = lex(text)
    return [t if t[:2] == "<L" else text[a:b] for t, (a, b) in zip(lexed.tokens, lexed.spans, strict=True)]


def _blot(token: str) -> str:
    if token.isidentifier() and not iskeyword(token):
        return "ID"
    return "<S>" if token[-1] in "'\"" else "<N>" if token[0].isdigit() else token


def edit_features(mutant: Mutant) -> Counter[str]:
    """What the edit looks like from the sound side to the faulty one: n-grams gained less n-grams lost."""
    found: Counter[str] = Counter()
    runs = edit_runs(mutant.sound, mutant.faulty)
    for sign, tokens in zip((-1, 1), runs, strict=True):
        for name, seen in (("", tokens), ("~", [_blot(t) for t in tokens])):
            for n in (1, 2, 3):
                for i in range(len(seen) - n + 1):
                    found[f"{name}{n} {' '.join(seen[i : i + n])}"] += sign
            found[f"{name}whole {' '.join(seen)}"] += sign
        found["#tokens"] += sign * len(tokens)
        found["#letters"] += sign * sum(map(len, tokens))
        found["#names"] += sign * sum(_blot(t) == "ID" for t in tokens)
        found["#attributes"] += sign * sum(t == "." for t in tokens)
        found["#long"] += sign * max(map(len, tokens), default=0)
        found["#capitals"] += sign * sum(t[:1].isupper() for t in tokens)
        found["#private"] += sign * sum(t[:1] == "_" for t in tokens)
        found["#digits"] += sign * sum(int(t) if t.isdecimal() and len(t) < 4 else 0 for t in tokens)
    for blot in (False, True):
        a, b = (" ".join(_blot(t) if blot else t for t in run) for run in runs)
        first, second = sorted((a, b))  # the exchange itself, signed by its direction
        found[f"pair{blot} {first} > {second}"] += (a < b) - (b < a)
    return Counter({name: value for name, value in found.items() if value})


def _sparse(rows: Sequence[Counter[str]]) -> object:
    from scipy.sparse import csr_matrix

    cells = [
        (i, zlib.crc32(name.encode()) % _HASHES, v)
        for i, row in enumerate(rows)
        for name, v in row.items()
        if name[0] != "#"
    ]
    row, column, value = zip(*cells, strict=True)
    return csr_matrix((np.sign(value).astype(float), (row, column)), shape=(len(rows), _HASHES))


def _dense(rows: Sequence[Counter[str]]) -> np.ndarray:
    seen = Counter(name for row in rows for name in row)
    names = [name for name, _ in sorted(seen.items(), key=lambda kv: (-kv[1], kv[0]))[:_COMMON]]
    return np.array([[row[name] for name in names] for row in rows], dtype=float)


def _folds(groups: Sequence[str], seed: int) -> list[np.ndarray]:
    """Rows of each fold: whole files, the largest first to where there is most room."""
    sizes = Counter(groups)
    rng = np.random.default_rng(seed)
    names = sorted(sizes)
    order = sorted((names[i] for i in rng.permutation(len(names))), key=lambda name: -sizes[name])
    load, home = [0] * min(_FOLDS, len(names)), {}
    for name in order:
        home[name] = int(np.argmin(load))
        load[home[name]] += sizes[name]
    at = np.array([home[name] for name in groups])
    return [np.flatnonzero(at == fold) for fold in range(len(load))]


def scores(made: Sequence[Mutant], *, seed: int = 0) -> dict[str, np.ndarray]:
    """Each attacker's log-odds for the truth on every mutant, fitted on other files: above 0 it is right.

    An edit is shown in both directions while fitting, so that neither side of the page has a prior.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    rows = [edit_features(mutant) for mutant in made]
    sparse, dense = _sparse(rows), _dense(rows)
    found = {name: np.zeros(len(made)) for name in ("logistic", "boosted")}
    for tried in _folds([mutant.path for mutant in made], seed):
        fit = np.setdiff1d(np.arange(len(made)), tried)
        sides = np.repeat([1, 0], len(fit))
        from scipy.sparse import vstack

        linear = LogisticRegression(C=0.3, fit_intercept=False, max_iter=300)
        linear.fit(vstack([sparse[fit], -sparse[fit]]), sides)
        found["logistic"][tried] = linear.decision_function(sparse[tried])
        trees = HistGradientBoostingClassifier(max_iter=120, learning_rate=0.06, max_leaf_nodes=15, random_state=seed)
        trees.fit(np.vstack([dense[fit], -dense[fit]]), sides)
        found["boosted"][tried] = trees.decision_function(dense[tried]) - trees.decision_function(-dense[tried])
    return found


def edit_attacks(made: Sequence[Mutant], *, seed: int = 0) -> list[EditAttack]:
    """How far each attacker gets on `made`; a tie counts one half."""
    results = []
    for name, score in scores(made, seed=seed).items():
        right = np.where(np.abs(score) < 1e-9, 0.5, score > 0)
        interval = proportion_interval(right, clusters=[mutant.path for mutant in made])
        results.append(
            EditAttack(
                attacker=name,
                accuracy=float(right.mean()),
                low=float(interval.low),
                high=float(interval.high),
                n=len(made),
                clusters=len({mutant.path for mutant in made}),
            )
        )
    return results


def balanced(made: Sequence[Mutant], *, seed: int = 0, rounds: int = 1) -> list[Mutant]:
    """Those of `made` that make couples, no two with the same texts, in an order that depends on `seed` alone."""
    kept = sorted(made, key=place)
    for round_ in range(rounds):
        found = scores(kept, seed=seed + round_)
        score = 0.5 * (found["logistic"] + 0.5 * found["boosted"])
        kept = [m for couple in distinct(_couples(kept, score)) for m in couple]
        kept.sort(key=place)
    return shuffled(kept, seed=seed)


def place(mutant: Mutant) -> tuple[str, str, str, int, str]:
    """Where a mutant stands, whatever list it came from: split, file, function, line, and what it was changed to."""
    return mutant.split, mutant.path, mutant.function, mutant.start, mutant.faulty


def distinct(couples: Sequence[Sequence[Mutant]]) -> list[Sequence[Mutant]]:
    """Couples without those that hold two texts (sound, faulty) which an earlier one holds, in order of place.

    A couple stays or goes whole, so that directions remain balanced; the order of `couples` is no matter.
    """
    taken: set[tuple[str, str]] = set()
    kept = []
    for couple in sorted(couples, key=lambda couple: sorted(place(m) for m in couple)):
        texts = {(m.sound, m.faulty) for m in couple}
        if len(texts) == len(couple) and not texts & taken:
            taken |= texts
            kept.append(couple)
    return kept


def shuffled(made: Sequence[Mutant], *, seed: int = 0) -> list[Mutant]:
    """`made` in a random order that the order it came in has no part in: each mutant moves by itself."""
    ordered = sorted(made, key=place)
    return [ordered[int(i)] for i in np.random.default_rng([seed, 17]).permutation(len(ordered))]


def _couples(made: Sequence[Mutant], score: np.ndarray) -> list[list[Mutant]]:
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, mutant in enumerate(made):
        groups[mutant.split, mutant.kind, *sorted(mutant.key)].append(i)
    couples: list[list[Mutant]] = []
    for name in sorted(groups, key=str):
        members = groups[name]
        if name[2] == name[3]:  # reads the same both ways: only the score tells the directions apart
            sides = [i for i in members if score[i] > 0], [i for i in members if score[i] <= 0]
        else:
            sides = [i for i in members if made[i].key == name[2:]], [i for i in members if made[i].key != name[2:]]
        couples += [[made[i], made[j]] for i, j in _matched(*sides, score)]
    return couples


def _matched(left: list[int], right: list[int], score: np.ndarray) -> list[tuple[int, int]]:
    """Couples with opposite scores, the least sum of differences first of all, then within the caliper."""
    from scipy.optimize import linear_sum_assignment

    if not left or not right:
        return []
    cost = np.abs(score[left][:, None] + score[right][None, :])
    rows, columns = linear_sum_assignment(cost)
    return [(left[i], right[j]) for i, j in zip(rows, columns, strict=True) if cost[i, j] <= CALIPER]
