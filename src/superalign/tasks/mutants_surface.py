"""What a rule of the surface reaches that reads the function but understands nothing: the side that repeats lines.

A statement that stands twice, or the value of one `return` given to another, leaves a text that repeats itself, and
authors seldom write one. Balancing cannot help: the mirror of a copy, a copy removed, needs an author who copied.
The rule is fitted to nothing and reads both sides whole, so it is no blind attacker and breaks no rule of the audit;
but who reports an accuracy on the kinds `return` and `statement` should set it beside this one. The index of the
shipped mutants holds the figures by kind, under `surface`.

    for kind, row in surface(shipped()).items(): print(kind, row["accuracy"], row["decided"])
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from superalign.tasks.mutants import Mutant

SHORT = 8
"""Lines of at most so many characters (`else:`, `return`) repeat everywhere and count for nothing."""


def repeated_lines(text: str) -> int:
    """How many lines of `text`, indentation apart, stand there once more already.

    >>> repeated_lines("def f(x):\\n    x.close()\\n    if x:\\n        x.close()")
    1
    """
    lines = (line.strip() for line in text.split("\n"))
    return sum(n - 1 for n in Counter(line for line in lines if len(line) > SHORT).values())


def surface(made: Sequence[Mutant]) -> dict[str, dict[str, float | int]]:
    """By kind and for `all`: accuracy of "more repeated lines is faulty" (a tie is half right), share decided, n.

    Example: `surface(shipped())["return"]["accuracy"] > 0.9`
    """
    said: dict[str, list[int]] = defaultdict(list)
    for mutant in made:
        more = repeated_lines(mutant.faulty) - repeated_lines(mutant.sound)
        for kind in (mutant.kind, "all"):
            said[kind].append((more > 0) - (more < 0))
    return {kind: _row(signs) for kind, signs in sorted(said.items())}


def _row(signs: Sequence[int]) -> dict[str, float | int]:
    n = len(signs)
    right = sum(sign > 0 for sign in signs) + 0.5 * signs.count(0)
    return {"accuracy": round(right / n, 4), "decided": round(1 - signs.count(0) / n, 4), "n": n}
