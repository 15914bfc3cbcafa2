"""Forms of answers in words, and what is made of them: pieces by their numbers, options by their letters.

    form = form_of(("quotes", "argument"), letters={0: "A", 1: "B"}, places=6, length=1200)
    said = message_of({"quotes": [2], "argument": "see there"}, position, letters)

A quote is a number of a place, and the table's text stands for it: nobody can misquote in words. The argument is the
speaker's, and shown as words that nobody has verified.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from superalign.models.answers import NO_CHOICE, OUT_OF_RANGE, Unread
from superalign.models.speaker import Token
from superalign.oversight.types import Charge, Message, Position, Quote

SLACK = 0.05
"""By how much stated probabilities may miss a sum of one; then they are scaled to it."""
TINY = 1e-12
PLACES = 2
"""In which an answer's letter is looked for: one token may be a blank."""


def form_of(fields: Sequence[str], *, letters: Mapping[int, str], places: int = 0, length: int = 0) -> dict[str, Any]:
    """The form (see `superalign.models.answers`) of an object of these fields.

    `letters`: option → letter; `places`: pieces that can be quoted; `length`: characters of a text, at most.
    """
    letter = {"type": "string", "enum": sorted(letters.values())}
    place = {"type": "integer", "minimum": 1, "maximum": places}
    chance = {"type": "number", "minimum": 0, "maximum": 1}
    charge = {"type": "object", "properties": {"option": letter, "place": place}}
    text = {"type": "string", "maxLength": length}
    known: dict[str, dict[str, Any]] = {
        "quotes": {"type": "array", "items": place, "maxItems": places, "uniqueItems": True},
        "charges": {"type": "array", "items": charge, "maxItems": places, "uniqueItems": True},
        "belief": {"type": "object", "properties": dict.fromkeys(sorted(letters.values()), chance)},
        "argument": text,
        "reason": text,
        "verdict": letter,
    }
    return {"type": "object", "properties": {field: known[field] for field in fields}}


def message_of(read: Mapping[str, Any], position: Position, letters: Mapping[int, str]) -> Message | Unread:
    """What a speaker says by an answer of its form."""
    case, options = position.case, {letter: option for option, letter in letters.items()}
    belief = belief_of(read["belief"], letters) if "belief" in read else ()
    if isinstance(belief, Unread):
        return belief
    return Message(
        speaker=position.seat,
        side=position.side,
        quotes=tuple(Quote(place - 1, case.pieces[place - 1].texts) for place in read.get("quotes", ())),
        charges=tuple(Charge(options[c["option"]], c["place"] - 1) for c in read.get("charges", ())),
        belief=belief,
        text=read.get("argument", ""),
    )


def belief_of(stated: Mapping[str, float], letters: Mapping[int, str]) -> tuple[float, ...] | Unread:
    """Probabilities by letter as a belief, options in order; "out of range" where they are none.

    >>> belief_of({"A": 0.2, "B": 0.8}, {1: "A", 0: "B"}), belief_of({"A": 1, "B": 1}, {0: "A", 1: "B"})
    ((0.8, 0.2), Unread(kind='out of range', where='belief'))
    """
    row = [float(stated[letters[option]]) for option in range(len(letters))]
    total = math.fsum(row)
    return tuple(p / total for p in row) if abs(total - 1) <= SLACK else Unread(OUT_OF_RANGE, "belief")


def letter_logprobs(tokens: Sequence[Token], letters: Sequence[str]) -> dict[str, float] | Unread:
    """Letter → log-probability (nats) that the answer begins with it; "not a choice" where none of them is in sight.

    A letter is a token that reads as it, blanks aside, among the alternatives in the first place or, where a blank was
    said there, in the second, with the chance of that blank. One that is not among them is given the most that it can
    have: no more than the least likely alternative that is shown, and no more than is left of the probability. So a
    belief is never stronger than what the model has been seen to say.

    >>> shown = Token("A", math.log(0.6), (("A", math.log(0.6)), (" The", math.log(0.3))))
    >>> {letter: round(math.exp(p), 3) for letter, p in letter_logprobs([shown], "AB").items()}
    {'A': 0.6, 'B': 0.1}
    """
    seen, unseen, before = dict.fromkeys(letters, 0.0), 0.0, 1.0
    for token in tokens[:PLACES]:
        shown = list(token.alternatives)
        shown += [(token.text, token.logprob)] * (token.text not in dict(shown))
        chances = [(text.strip(), math.exp(min(0.0, p))) for text, p in shown if not math.isnan(p)]
        for text, chance in chances:
            if text in seen:
                seen[text] += before * chance
        rest = max(0.0, 1.0 - math.fsum(chance for _, chance in chances))
        unseen += before * min([rest, *(chance for _, chance in chances if token.alternatives)])
        if token.text.strip():
            break
        before *= math.exp(min(0.0, token.logprob))
    if not any(seen.values()):
        return Unread(NO_CHOICE)
    return {letter: math.log(max(chance or unseen, TINY)) for letter, chance in seen.items()}
