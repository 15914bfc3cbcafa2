"""The worst failures of a task, written as conversations: who said what, what was checked, what the judge believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superalign.oversight import Quote
from superalign.oversight.types import Charge
from superalign.pipeline.pages import Opened

TALKS = 8
"""Conversations shown of a task."""


def worst(test: Opened, episodes: Sequence[Mapping[str, Any]], answers: Mapping[str, int]) -> list[dict[str, Any]]:
    """The episodes in which the judge was surest of what is not so, one a protocol, to be read as conversations."""
    options = {item.id: item.options for item in test.page.items}
    wrong = [e for e in episodes if e["belief"] is not None and e["messages"] and e["belief"][answers[e["item"]]] < 0.5]
    found: dict[str, Mapping[str, Any]] = {}
    for e in sorted(wrong, key=lambda e: (e["belief"][answers[e["item"]]], e["item"], e["protocol"])):
        if any(message["side"] is not None or message["charges"] for message in e["messages"]):
            found.setdefault(e["protocol"], e)
    return [_conversation(e, options[e["item"]], answers[e["item"]]) for e in list(found.values())[:TALKS]]


def _conversation(episode: Mapping[str, Any], options: tuple[str, ...], answer: int) -> dict[str, Any]:
    asked = [{"who": "question", "what": episode["question"]}] if episode["question"] else []
    lines = [*asked, {"who": "truth", "what": options[answer]}]
    lines += [_line(message, options) for message in episode["messages"]]
    turns = [belief for belief in episode["beliefs"] if belief is not None]
    if len(turns) > 1:
        steps = " → ".join(f"{belief[answer]:.2f}" for belief in turns)
        lines.append({"who": "judge, turn by turn", "what": f"believes {options[answer]}: {steps}"})
    lines.append({"who": "verdict", "what": _belief(episode["belief"], options)})
    return {"protocol": episode["protocol"], "item": episode["item"], "lines": lines}


def _line(message: Mapping[str, Any], options: tuple[str, ...]) -> dict[str, str]:
    who = message["speaker"] + ("" if message["side"] is None else f", for {options[message['side']]}")
    said = [
        _quoted(q["texts"], options) + ("" if q["verified"] else " (not in the text)")
        for q in (dict(zip(Quote._fields, quote, strict=True)) for quote in message["quotes"])
    ]
    charged = [
        f"{options[c['option']]} is wrong at piece {c['piece']}"
        + {None: "", True: ": checked, so it is", False: ": checked, it is not"}[c["holds"]]
        for c in (dict(zip(Charge._fields, charge, strict=True)) for charge in message["charges"])
    ]
    spoken = [f"in words: “{message['text']}”"] if message["text"].strip() else []
    stated = [f"believes {_belief(message['belief'], options)}"] if message["belief"] else []
    return {"who": who, "what": "; ".join([*said, *charged, *spoken, *stated]) or "(silence)"}


def _quoted(texts: Sequence[str], options: tuple[str, ...]) -> str:
    """A piece as it is read: what all options share once, else the text of each beside its name.

    >>> _quoted(("x = 1", "x = 1"), ("a", "b")), _quoted(("x = 1", "x = 2"), ("a", "b")), _quoted(("x",), ("no", "yes"))
    ('“x = 1” in either', 'a: “x = 1”, b: “x = 2”', '“x”')
    """
    if len(texts) < 2:
        return "".join(f"“{text}”" for text in texts)
    if len(set(texts)) == 1:
        return f"“{texts[0]}” in either"
    return ", ".join(f"{name}: “{text}”" for name, text in zip(options, texts, strict=True))


def _belief(belief: Sequence[float], options: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {p:.3f}" for name, p in zip(options, belief, strict=True))
