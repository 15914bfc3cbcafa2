"""What the place of an item in its page tells about the answer, once it is crossed with the item's edit.

A page that keeps mirrored items (a → b, b → a) side by side in a fixed order gives the answers away to whoever reads
the page as a whole: "on even places the faulty run sorts first". The features here say where an item stands (the parity
of its place; whether the item before or after it shows the same exchange) times the direction of its edit. They hold
no more of the edit than its direction and its reading, names, strings and numbers blotted out and as they are.

    rows = order_of_pairs([differing(item.input["a"], item.input["b"]) for item in page.items])
"""

from __future__ import annotations

from collections.abc import Sequence
from keyword import iskeyword

Run = tuple[str, str]
Features = dict[str, float]


def order_of_pairs(runs: Sequence[Sequence[Run]]) -> list[Features]:
    """Features of each pair of a page; exchanging the sides of a pair flips the sign of every feature of it.

    `runs` holds each item's runs of differing tokens, as (only in a, only in b).

    >>> order_of_pairs([[("+", "-")]])[0]["parity, +/-"]
    1.0
    """
    rows: list[Features] = [{} for _ in runs]
    for blotted in (False, True):
        sides = [tuple(" | ".join(_read(run[k], blotted) for run in found) for k in (0, 1)) for found in runs]
        exchanged = [tuple(sorted(pair)) for pair in sides]
        for i, (a, b) in enumerate(sides):
            direction = float((a < b) - (a > b))
            parity = 1.0 if i % 2 == 0 else -1.0
            before = i > 0 and exchanged[i - 1] == exchanged[i]
            after = i + 1 < len(sides) and exchanged[i + 1] == exchanged[i]
            name = "/".join(exchanged[i])
            rows[i] |= {f"parity, blotted {blotted}": parity * direction, f"parity, {name}": parity * direction}
            rows[i][f"neighbours, blotted {blotted}"] = (float(after) - float(before)) * direction
    return rows


def order_of_singles(tokens: Sequence[str]) -> list[Features]:
    """Features of each single of a page: the token at its place, by parity, and how it sorts beside its neighbours'.

    >>> sorted(order_of_singles(["+", "-"])[1])
    ['odd 1, before 1', 'odd 1, token -']
    """
    rows: list[Features] = []
    for i, token in enumerate(tokens):
        odd = i % 2
        features = {f"odd {odd}, token {token}": 1.0}
        for what, j in (("before", i - 1), ("after", i + 1)):
            if 0 <= j < len(tokens):
                features[f"odd {odd}, {what} {(token > tokens[j]) - (token < tokens[j])}"] = 1.0
        rows.append(features)
    return rows


def _read(run: str, blotted: bool) -> str:
    return " ".join(_blot(token) for token in run.split()) if blotted else run


def _blot(token: str) -> str:
    if token.isidentifier() and not iskeyword(token):
        return "ID"
    return "<S>" if token[-1] in "'\"" else "<N>" if token[0].isdigit() else token
