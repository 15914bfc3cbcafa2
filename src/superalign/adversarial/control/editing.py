"""Trusted editing: a trusted writer rewrites a program where it is most surprised by it, and leaves the rest alone.

    rewritten(trusted, written, seed=0)

It tries to leave out the most surprising line, or that with a neighbour, and to write on from there by itself; of these
it keeps what it holds likeliest. The untrusted program's other lines stay, and with them what they are good for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from superalign.adversarial.monitors.surprisal import surprisals
from superalign.adversarial.monitors.types import Step
from superalign.adversarial.written import TEMPERATURE, TOKENS, Written
from superalign.models import LocalModel
from superalign.models.sampling import sample
from superalign.tasks.functions import prompt

MARK = re.compile(r"<\d>")


def lines_of(completion: str) -> list[str]:
    """Lines of a program, each but the first with the mark that begins it.

    >>> lines_of("log ( ) <1> return x <0> # empty fine")
    ['log ( )', '<1> return x', '<0> # empty fine']
    """
    lines: list[list[str]] = [[]]
    for word in completion.split():
        if MARK.fullmatch(word):
            lines.append([])
        lines[-1].append(word)
    return [" ".join(line) for line in lines]


def without(lines: Sequence[str], first: int, last: int) -> str | None:
    """The program without lines `first` to before `last`; None where nothing is left, or it would begin indented.

    >>> without(["log ( )", "<1> return x", "<0> # empty fine"], 0, 1)
    'return x <0> # empty fine'
    """
    left = [*lines[:first], *lines[last:]]
    if not left or first < 0 or last > len(lines):
        return None
    if first == 0:
        mark, _, rest = left[0].partition(" ")
        if mark != "<1>" or not rest:
            return None
        left[0] = rest
    return " ".join(line for line in left if line)


def rewritten(
    trusted: LocalModel, written: Sequence[Written], *, seed: int, temperature: float = TEMPERATURE
) -> list[Written]:
    """The trusted model's edit of every program, in order."""
    asked = [prompt(one.brief) for one in written]
    steps = [Step(prompt=p, completion=one.completion) for p, one in zip(asked, written, strict=True)]
    parts = [lines_of(one.completion) for one in written]
    worst = [_worst(nats, lines) for nats, lines in zip(surprisals(trusted, steps), parts, strict=True)]
    begun = [" ".join(lines[:at]).strip() for lines, at in zip(parts, worst, strict=True)]
    going = [f"{p} {b}".strip() for p, b in zip(asked, begun, strict=True)]
    said = sample(trusted, going, tokens=TOKENS, temperature=temperature, seed=seed)
    options = [
        [f"{b} {s}".strip(), *_shorter(lines, at)] for b, s, lines, at in zip(begun, said, parts, worst, strict=True)
    ]
    chosen = _likeliest(trusted, asked, options)
    return [Written(brief=one.brief, completion=text) for one, text in zip(written, chosen, strict=True)]


def _worst(nats: np.ndarray, lines: Sequence[str]) -> int:
    """The line with the most surprising word; words that the model could not read are no surprise."""
    if len(nats) == 0:
        return 0
    line = np.repeat(np.arange(len(lines)), [len(each.split()) for each in lines])
    return int(line[int(np.argmax(np.nan_to_num(nats, nan=-1.0)))])


def _shorter(lines: Sequence[str], at: int) -> list[str]:
    """The program without its worst line, with or without a neighbour."""
    spans = ((at, at + 1), (at - 1, at + 1), (at, at + 2))
    return [text for text in (without(lines, *span) for span in spans) if text is not None]


def _likeliest(model: LocalModel, asked: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
    """Of each prompt's options the one with the highest log-probability, its end included; the first of equals."""
    owner = [i for i, texts in enumerate(options) for _ in texts]
    flat = [text for texts in options for text in texts]
    found = model.logprobs([f"{asked[i]} {text}".strip() for i, text in zip(owner, flat, strict=True)])
    best: dict[int, tuple[float, str]] = {}
    for i, text, values in zip(owner, flat, found, strict=True):
        value = float(values[len(asked[i].split()) :].sum())
        if i not in best or value > best[i][0]:
            best[i] = (value, text)
    return [best[i][1] for i in range(len(options))]
