"""A View as a person reads it on a terminal, and what the person types.

What others wrote stands in cells and boxes that it can't leave, without markup, control or invisible characters.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from superalign.evidence.visible import visible
from superalign.oversight.prompts.telling import LETTERS, only_places, speakers
from superalign.oversight.types import Charge, Message, Quote, View

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

SHORT = 12
"""Characters of an option's name that can stand over a column; longer ones get a letter."""
SLACK = 1.0
"""Percentages of several options may miss 100 by this much, as rounded ones do."""


def typed(prompt: str) -> str:
    """A line from the keyboard; the prompt goes to stderr. Raises EOFError where nothing more can be typed."""
    print(prompt, end="", file=sys.stderr, flush=True)
    try:
        line = sys.stdin.readline()
    except UnicodeDecodeError:
        return "\N{REPLACEMENT CHARACTER}"  # no answer, so the person is asked again
    if not line:
        raise EOFError
    return line


def labels(options: Sequence[str]) -> tuple[str, ...]:
    """What options are called: by their names where all are short words that differ, otherwise by letters.

    >>> labels(("no", "yes")), labels(("it is so", "it is not"))
    (('no', 'yes'), ('A', 'B'))
    """
    names = tuple(map(visible, options))
    plain = len(set(names)) == len(names) and all(len(n) <= SHORT and n and not re.search(r"\s", n) for n in names)
    return names if plain or len(names) > len(LETTERS) else tuple(LETTERS[: len(names)])


def question_to(options: Sequence[str]) -> str:
    """The line after which the person types.

    >>> question_to(("no", "yes"))
    'P(no) in percent (or skip, back, quit): '
    """
    names = labels(options)
    if len(names) == 2:
        return f"P({names[0]}) in percent (or skip, back, quit): "
    return f"P in percent of {' '.join(names)}, {len(names)} numbers (or skip, back, quit): "


def percentages(line: str, options: int) -> tuple[float, ...]:
    """A typed line as a belief: one number for two options, otherwise one an option. Raises ValueError in a sentence.

    >>> percentages("70", 2), percentages("20 50% 30", 3)
    ((0.7, 0.3), (0.2, 0.5, 0.3))
    """
    words, wanted = line.split(), 1 if options == 2 else options
    if len(words) != wanted:
        many = "one number, the percentage of the first option" if options == 2 else f"{options} numbers"
        raise ValueError(f"{len(words)} words were typed: type {many}, or skip, back or quit")
    values = [_percentage(word) for word in words]
    if options == 2:
        return values[0] / 100, (100 - values[0]) / 100
    total = math.fsum(values)
    if abs(total - 100) > SLACK:
        raise ValueError(f"these come to {total:g} percent: type {options} numbers that come to 100")
    return tuple(value / total for value in values)


def _percentage(word: str) -> float:
    number = word.removesuffix("%")
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?", number):
        raise ValueError(f"{visible(word)[:40]!r} isn't a percentage: type a number from 0 to 100, with a point if any")
    value = float(number)
    if value > 100:
        raise ValueError(f"{word} is over 100: type a percentage from 0 to 100")
    if 0 < value < 1 and number == word:
        raise ValueError(f"{word} may mean {value:.0%} or less than one percent: type {100 * value:g} or {word}%")
    return value


def page(view: View, head: str) -> Group:
    """A View for `Console.print`: question, options, who said what, which quotes are verified, what checks found."""
    from rich.console import Group
    from rich.rule import Rule
    from rich.text import Text

    names, called = labels(view.options), speakers(view)
    parts: list[RenderableType] = [Rule(Text(head)), Text(visible(view.question), style="bold")]
    told = zip(names, map(visible, view.options), strict=True)
    parts += [Text(f"  {name}: {text}") for name, text in told if name != text]
    if only_places(view.options):
        parts.append(Text(f"  {' and '.join(names)} are the texts that are quoted under these names"))
    for message in view.messages:
        parts += _said(message, called[message.speaker], names)
    return Group(*parts, *(() if view.messages else (Text("Nothing was shown."),)))


def _said(message: Message, speaker: str, names: Sequence[str]) -> list[RenderableType]:
    from rich.panel import Panel
    from rich.text import Text

    argues = "" if message.side is None else f", who has to argue for {names[message.side]}"
    out: list[RenderableType] = [Text(f"\nThe {speaker}{argues}:", style="bold")]
    quotes = [quote for quote in message.quotes if quote.verified]
    if quotes:
        out.append(_quotes(quotes, names))
    if left := len(message.quotes) - len(quotes):
        out.append(Text(f"  {left} quote{'s' * (left > 1)} left out: not what stands in the item", style="red"))
    if message.text.strip():
        out.append(Panel(Text(visible(message.text)), title="in words, not verified", title_align="left"))
    out += [Text(f"  {_charged(charge, names)}") for charge in message.charges]
    if len(message.belief) == len(names):
        told = ", ".join(f"{name} {p:.0%}" for name, p in zip(names, message.belief, strict=True))
        out.append(Text(f"  says that it believes: {told}"))
    return out


def _quotes(quotes: Sequence[Quote], names: Sequence[str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    apart = all(len(quote.texts) == len(names) for quote in quotes)
    table = Table(show_lines=True, title_justify="left", title="verified quotes")
    for head in ("place", *(names if apart else ("text",))):
        table.add_column(Text(head), overflow="fold")
    for quote in quotes:
        texts = [visible(text) for text in quote.texts]
        table.add_row(str(quote.piece + 1), *map(Text, texts if apart else ["\n".join(texts)]))
    return table


def _charged(charge: Charge, names: Sequence[str]) -> str:
    where = f"{names[charge.option]} is wrong at place {charge.piece + 1}"
    if charge.holds is None:
        return f"claims, unchecked, that {where}"
    return f"a check found that {where}" if charge.holds else f"a check did not find that {where}"
