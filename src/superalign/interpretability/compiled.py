"""Text compiled into a predicate: what an explanation says is checked by running it, and scoring is free.

    compiled("fires on the token `return` after `:`", lexicon)
    compiled("fires on digits; less when `self` stands within 5 tokens before", lexicon)
    spoken(texts, lexicon)                             # explains a site by one text a unit

Clauses, parted by semicolons, begin with `fires` (adds one) or `less` (takes one away); conditions in a clause are
joined by `and`, or follow one another. `not` before a condition turns it round, and so does `unless` for `when`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from superalign.interpretability.calibration import linear
from superalign.interpretability.conditions import CLASSES, Condition, Lexicon, Rule, holds
from superalign.interpretability.explanation import Explanation, Sample, unquoted

TOKEN = r"`[^`]+`"
TOKENS = rf"{TOKEN}(?:(?:, or |, and |, | or ){TOKEN})*"
LABEL = "|".join(sorted(CLASSES, key=len, reverse=True))
UNDERSTOOD = (
    "clauses parted by `;`, each `fires` or `less` and then, joined by `and`: on `token`, `token` | on CLASS | "
    "after `token` | after CLASS | N tokens after `token` | when (unless) `token` stands within N tokens before | "
    "once `token` has come N times | "
    "at the first N places | at places N to M | from place N on | inside brackets | inside N brackets | "
    f"on a token seen before | not ANY OF THESE; CLASS is {', '.join(CLASSES)}"
)
MOST = 4_000
"""Characters of a text."""


class TextError(ValueError):
    """A text that does not compile; the message says where, and what is understood."""


@dataclass(frozen=True, slots=True)
class Clause:
    """What holds, and what it does to the unit."""

    sign: int
    rule: Rule


Make = Callable[[re.Match[str], Lexicon], Condition]


def _words(match: re.Match[str], lexicon: Lexicon) -> tuple[int, ...]:
    found = []
    for token in re.findall(TOKEN, match["words"]):
        word = _unescaped(token)
        if word not in lexicon.words:
            raise TextError(f"the vocabulary has no token {token}: name tokens as they stand in it")
        found.append(lexicon.words.index(word))
    return tuple(found)


def _unescaped(token: str) -> str:
    try:
        return unquoted(token)
    except UnicodeDecodeError as error:
        raise TextError(f"{token}: a backslash in a token begins an escape, write \\\\ for itself") from error


def _near(match: re.Match[str], lexicon: Lexicon) -> Condition:
    number = int(match["number"] or 1)
    return Condition("near", _words(match, lexicon), number=number, negated=match["how"] == "unless")


def _between(match: re.Match[str], lexicon: Lexicon) -> Condition:
    first, last = int(match["number"]), int(match["last"])
    if last < first:
        raise TextError(f"places {first} to {last}: the last comes before the first")
    return Condition("place", number=first, last=last)


GRAMMAR: tuple[tuple[re.Pattern[str], Make], ...] = tuple(
    (re.compile(pattern), make)
    for pattern, make in (
        (r"on (?:a |the )?tokens? (?:that (?:was|were) |that came )?(?:seen )?before(?: in the sequence)?",
         lambda match, lexicon: Condition("seen")),
        (rf"on (?:the tokens? )?(?P<words>{TOKENS})",
         lambda match, lexicon: Condition("token", _words(match, lexicon))),
        (rf"on (?P<label>{LABEL})\b", lambda match, lexicon: Condition("class", label=match["label"])),
        (rf"(?:right )?after (?:the tokens? )?(?P<words>{TOKENS})",
         lambda match, lexicon: Condition("after", _words(match, lexicon))),
        (rf"(?:right )?after (?P<label>{LABEL})\b",
         lambda match, lexicon: Condition("afterclass", label=match["label"])),
        (rf"(?P<number>\d+) tokens? after (?P<words>{TOKENS})",
         lambda match, lexicon: Condition("back", _words(match, lexicon), number=int(match["number"]))),
        (rf"(?P<how>when|unless) (?P<words>{TOKENS}) stands? within (?P<number>\d+) tokens? before", _near),
        (rf"once (?P<words>{TOKENS}) (?:has|have) come(?: (?P<number>\d+) times?)?",
         lambda match, lexicon: Condition("count", _words(match, lexicon), number=int(match["number"] or 1))),
        (r"at the first (?:(?P<number>\d+) )?places?",
         lambda match, lexicon: Condition("firsts", number=int(match["number"] or 1))),
        (r"at places? (?P<number>\d+) to (?P<last>\d+)", _between),
        (r"from place (?P<number>\d+) on", lambda match, lexicon: Condition("place", number=int(match["number"]))),
        (r"inside (?:(?P<number>\d+) )?brackets?",
         lambda match, lexicon: Condition("brackets", number=int(match["number"] or 1))),
    )
)  # fmt: skip


def compiled(text: str, lexicon: Lexicon) -> tuple[Clause, ...]:
    """The clauses of a text. Raises TextError for what isn't understood, and says what is.

    >>> from superalign.interpretability.conditions import lexicon_of
    >>> compiled("fires on `a`", lexicon_of(("a", "b"), skip=0))[0].sign
    1
    """
    if len(text) > MOST or not text.strip():
        raise TextError(f"{len(text)} characters: write one to {MOST}. Understood: {UNDERSTOOD}")
    return tuple(_clause(part.strip(), lexicon) for part in _parted(text.strip().rstrip(".")))


def _parted(text: str) -> list[str]:
    """At semicolons outside of tokens."""
    return [part for part in re.findall(r"(?:`[^`]*`|[^;`]|`)+", text) if part.strip()]


def _clause(text: str, lexicon: Lexicon) -> Clause:
    verb = re.match(r"(?:it )?(?P<verb>fires|less)\b(?: more| less)? *", text)
    if verb is None:
        raise _lost(text, text)
    at, found = verb.end(), list[Condition]()
    while at < len(text):
        joint = re.compile(r"(?:,? ?and )? *").match(text, at) if found else None
        at = joint.end() if joint else at
        turned = text.startswith("not ", at)
        at += 4 * turned
        for pattern, make in GRAMMAR:
            if match := pattern.match(text, at):
                condition = make(match, lexicon)
                found.append(replace(condition, negated=condition.negated != turned))
                at = match.end()
                break
        else:
            raise _lost(text[at:], text)
        while at < len(text) and text[at] == " ":
            at += 1
    if not found:
        raise _lost(text, text)
    return Clause(sign=1 if verb["verb"] == "fires" else -1, rule=tuple(found))


def _lost(rest: str, text: str) -> TextError:
    return TextError(f"{rest[:60]!r} in {text[:80]!r} says nothing that can be checked. Understood: {UNDERSTOOD}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spoken:
    """Explains a site by texts: a unit is the sum of its clauses' signs, in the unit's own scale once calibrated."""

    name: str
    lexicon: Lexicon
    texts: tuple[str, ...]
    clauses: tuple[tuple[Clause, ...], ...]
    """Of each unit; none for one without an explanation, which predicts a constant."""
    base: np.ndarray
    """(units,) where no clause holds."""
    scale: np.ndarray
    """(units,) of one clause."""

    def predict(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(rows, length, units) float32; each distinct rule runs once."""
        held: dict[Rule, np.ndarray] = {}
        found = np.zeros((*ids.shape, len(self.clauses)), dtype=np.float32)
        for unit, clauses in enumerate(self.clauses):
            for clause in clauses:
                if clause.rule not in held:
                    held[clause.rule] = holds(clause.rule, ids, lengths, self.lexicon)
                found[:, :, unit] += clause.sign * held[clause.rule]
        return found * self.scale.astype(np.float32) + self.base.astype(np.float32)

    def explanation(self, unit: int) -> Explanation:
        """The text; its bits are those of its conditions."""
        bits = sum(1 + condition.bits(self.lexicon) for c in self.clauses[unit] for condition in c.rule)
        return Explanation(text=self.texts[unit], bits=float(bits))


def spoken(texts: Sequence[str], lexicon: Lexicon, *, name: str = "compiled") -> Spoken:
    """One text a unit, empty where there is none. Raises TextError naming the unit whose text does not compile."""
    clauses = []
    for unit, text in enumerate(texts):
        try:
            clauses.append(compiled(text, lexicon) if text else ())
        except TextError as error:
            raise TextError(f"unit {unit}: {error}") from error
    units = len(clauses)
    return Spoken(
        name=name,
        lexicon=lexicon,
        texts=tuple(texts),
        clauses=tuple(clauses),
        base=np.zeros(units),
        scale=np.ones(units),
    )


def heard(explainer: Spoken, sample: Sample) -> Spoken:
    """Base and scale by least squares on held-in text: r stays as it was, up to a scale never under zero."""
    sample.held_in()
    line = linear(explainer, sample)
    scale = np.maximum(line.slope, 0)
    base = np.where(line.slope > 0, line.intercept, sample.values.mean(0, dtype=np.float64))
    return replace(explainer, base=base, scale=scale)
