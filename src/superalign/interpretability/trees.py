"""Explanations by shallow decision trees on conditions that name no token.

trees(sample, depth=4)

A site's tokens fall into far fewer patterns of conditions than there are tokens: a tree is fitted to patterns, weighted
by how often each comes, which gives the tree that all tokens would (scikit-learn's regression tree).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from superalign.interpretability.bank import SIMPLE, Bank, bank_of
from superalign.interpretability.explanation import Explanation, Sample, brief
from superalign.interpretability.tables import VALUE_BITS, grouped

DEPTH = 4
TOKENS = 40_000
FIRSTS = (1, 2, 4, 8, 16, 32, 64)
"""Of all conditions on places only these: a pattern is what holds, and there must be few."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trees:
    """A tree of conditions for each unit of a site."""

    name: str
    bank: Bank
    columns: np.ndarray
    """Of the bank: the conditions that trees ask for."""
    trees: tuple[Any, ...]
    """One fitted `DecisionTreeRegressor` a unit."""

    def predict(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(rows, length, units) float32: each tree is asked for each distinct pattern once."""
        held = _held(self.bank, self.columns, ids, lengths)
        patterns, which = np.unique(_packed(held), axis=0, return_inverse=True)
        asked = _unpacked(patterns, len(self.columns))
        told = np.stack([tree.predict(asked) for tree in self.trees], axis=1).astype(np.float32)
        return told[which.reshape(ids.shape)]

    def explanation(self, unit: int) -> Explanation:
        """Its highest leaf, and its lowest if there is room, as conditions on the way to them."""
        tree = self.trees[unit].tree_
        leaves = _paths(tree)
        inner = int((tree.feature >= 0).sum())
        bits = inner * float(np.log2(max(2, len(self.columns)))) + len(leaves) * VALUE_BITS + tree.node_count
        if len(leaves) == 1:
            return Explanation(text="does the same everywhere", bits=bits)
        ordered = sorted(leaves, key=lambda leaf: leaf[0])
        parts = [("fires", ordered[-1][1]), ("less", ordered[0][1])]
        return Explanation(text=brief([f"{verb} {self._said(path)}" for verb, path in parts]), bits=bits)

    def _said(self, path: list[tuple[int, bool]]) -> str:
        said = [(self.bank.rules[self.columns[at]][0].text(self.bank.lexicon), holds) for at, holds in path]
        return " and ".join(text if holds else f"not {text}" for text, holds in said)


def trees(sample: Sample, *, depth: int = DEPTH, tokens: int = TOKENS, name: str = "trees") -> Trees:
    """Fit a tree of at most `depth` to each unit. ValueError for sequences not held in, or a depth not of 1 to 4."""
    from sklearn.tree import DecisionTreeRegressor  # type: ignore[import-untyped]

    if not 1 <= depth <= 4:
        raise ValueError(f"trees of depth {depth}: ask for 1 to 4, deeper ones explain nothing to anybody")
    some = sample.held_in().first(tokens)
    bank = bank_of(some, parts=(SIMPLE,))
    columns = np.array(
        [i for i, (rule,) in enumerate(bank.rules) if rule.kind != "firsts" or rule.number in FIRSTS], dtype=np.int64
    )
    held = _held(bank, columns, some.ids, some.lengths)[some.counted.ravel()]
    patterns, which = np.unique(_packed(held), axis=0, return_inverse=True)
    _, counts, sums = grouped(which.ravel(), some.values)
    asked, means = _unpacked(patterns, len(columns)), np.nan_to_num(sums / counts[:, None])
    leaf = max(1, len(some.values) // 500)
    made = []
    for unit in range(means.shape[1]):
        tree = DecisionTreeRegressor(max_depth=depth, min_weight_fraction_leaf=leaf / counts.sum(), random_state=0)
        made.append(tree.fit(asked, means[:, unit], sample_weight=counts))
    return Trees(name=name, bank=bank, columns=columns, trees=tuple(made))


def _held(bank: Bank, columns: np.ndarray, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    held: np.ndarray = bank.matrix(ids, lengths)[:, columns].toarray() > 0
    return held


def _packed(held: np.ndarray) -> np.ndarray:
    return np.packbits(held, axis=1)


def _unpacked(patterns: np.ndarray, width: int) -> np.ndarray:
    return np.unpackbits(patterns, axis=1, count=width).astype(np.float32)


def _paths(tree: Any) -> list[tuple[float, list[tuple[int, bool]]]]:
    """(value, conditions on the way and whether they hold) of each leaf."""
    found, open_ = [], [(0, list[tuple[int, bool]]())]
    while open_:
        node, path = open_.pop()
        at = int(tree.feature[node])
        if at < 0:
            found.append((float(tree.value[node].ravel()[0]), path))
        else:
            open_.append((int(tree.children_left[node]), [*path, (at, False)]))
            open_.append((int(tree.children_right[node]), [*path, (at, True)]))
    return found
