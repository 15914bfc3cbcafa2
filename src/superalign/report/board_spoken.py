"""What a leaderboard's page says of players that were asked in words: who, by which prompts, what came, what it cost.

    spoken = spoken_of(events, board)             # from the `run` event; None where nobody was
    spoken_section(spoken), replies_section(view)

All of it is a stranger's JSON: checked, clipped, never trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from superalign.report.board_view import Heard, TaskView
from superalign.report.html import Html, cell, cite, named, row, table, tag, together, value_of
from superalign.report.text import clip, count
from superalign.report.views import Number

MOST = 40
"""Rows of a table, at most."""
BILLED = ("tokens read per play", "tokens written per play", "usd per play", "usd per correct")
WAYS = {
    "logprob": "by log-probability of the verdict's letter",
    "samples": "by sampled verdicts",
}
READ = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenView:
    """Who was asked in words on a board."""

    seq: int
    who: tuple[tuple[str, str, bool], ...]
    """(judge or advisers, identity, are its weights unseen?)"""
    prompts: tuple[tuple[str, str, str, str], ...]
    """(label, name, version, digest)"""
    left_out: tuple[tuple[str, str], ...]
    """(protocol, why)"""


def spoken_of(events: Sequence[Any], board: str) -> SpokenView | None:
    """What the last `run` event of that board says of players in words; None where it says nothing."""
    for event in reversed(events):
        told = event.body.get("spoken") if event.type == "run" else None
        if isinstance(told, Mapping) and told.get("board") == board:
            return SpokenView(
                seq=event.seq,
                who=tuple(
                    (who, str(voice.get("identity", "")), voice.get("unseen") is not False)
                    for who, voice in _entries(told.get("who"))
                ),
                prompts=tuple(
                    (label, *(str(prompt.get(part, "")) for part in ("name", "version", "digest")))  # type: ignore[misc]
                    for label, prompt in _entries(told.get("prompts"))
                ),
                left_out=tuple((name, str(why)) for name, why in _pairs(told.get("left out"))),
            )
    return None


def _pairs(told: Any) -> list[tuple[str, Any]]:
    return [(str(key), value) for key, value in told.items()][:MOST] if isinstance(told, Mapping) else []


def _entries(told: Any) -> list[tuple[str, Mapping[str, Any]]]:
    return [(key, value) for key, value in _pairs(told) if isinstance(value, Mapping)]


def spoken_section(view: SpokenView, tasks: Mapping[str, TaskView]) -> Html:
    """Who was asked in words, and by which prompts."""
    ways = sorted({heard.by for task in tasks.values() for heard in task.heard.values() if heard.by in WAYS})
    who = [
        row(
            "The judge" if name == "judge" else "The advisers" if name == "advisers" else named(clip(name, 40)),
            cell(named(clip(identity, 160)), label="Who"),
            cell("unseen: known by its address alone" if unseen else "seen: the digest is over them", label="Weights"),
        )
        for name, identity, unseen in view.who
    ]
    prompts = [
        row(
            named(clip(label, 80)),
            cell(named(clip(f"{name}, version {version}", 80)), label="Prompt"),
            cell(tag("code", clip(digest, 64), style="overflow-wrap:anywhere"), label="SHA-256 of its file"),
        )
        for label, name, version, digest in view.prompts
    ]
    parts = [
        tag("h2", "Asked in words", id="asked-in-words"),
        tag(
            "p",
            "Every answer was kept as it came, and level 2 reads each of them again. What a model answered is taken "
            "as recorded: whether it would answer so again, only asking it shows. ",
            cite(view.seq),
        ),
        table("Who was asked", ("", "Who", "Weights"), who, class_="cards"),
        tag("p", f"Its beliefs came {' and '.join(WAYS[way] for way in ways)}.") if ways else Html(""),
        table(
            "By which prompts; their files are in the store",
            ("", "Prompt", "SHA-256 of its file"),
            prompts,
            class_="cards",
        ),
    ]
    if view.left_out:
        said = "; ".join(f"{clip(name, 40)} ({clip(why, 160)})" for name, why in view.left_out)
        parts.append(tag("p", "Left out: ", named(said), ".", class_="soft"))
    return tag("section", *parts, aria_labelledby="asked-in-words")


def replies_section(view: TaskView) -> list[Html]:
    """Of one task: what came of the requests of each protocol, and what they cost in one play."""
    names = [name for name in view.ranked if name in view.heard]
    if not names:
        return []
    rows = [
        row(
            named(clip(name, 80)),
            cell(named(_came(view.heard[name])), label="Requests"),
            cell(named(_others(view.heard[name])), label="Not an answer, by seat"),
            *(cell(_amount(view.parts[name].get(part)), label=part, class_="num") for part in BILLED),
        )
        for name in names
    ]
    about = (
        "Requests are counted once a protocol, answers that were there already too; an answer counts at the price of the "
        "day on which the protocol was played, in each play that rests on it. Refusals, garbage and what never came are "
        "failures of their kind; the plays stay in every denominator."
    )
    head = ("Protocol", "Requests", "Not an answer, by seat", *BILLED)
    return [
        tag("h3", "What was answered, and what it cost"),
        tag("p", about),
        table("By accuracy", head, rows, class_="cards"),
    ]


def _came(heard: Heard) -> str:
    whole = sum(sum(kinds.values()) for kinds in heard.replies.values())
    read = sum(kinds.get(READ, 0) for kinds in heard.replies.values())
    return f"{count(whole, 'request')}, {read:,} read"


def _others(heard: Heard) -> str:
    found = [
        f"{clip(seat, 40)}: {clip(kind, 40)} {number:,}"
        for seat, kinds in heard.replies.items()
        for kind, number in kinds.items()
        if kind != READ
    ]
    return "; ".join(found[:MOST]) or "none"


def _amount(number: Number | None) -> Html:
    if number is None or number.value is None:
        return Html("")
    value = number.value
    shown = f"{value:,.0f}" if value >= 20 else f"{value:.3g}"
    return together(cite(number.seq, shown)) if value else value_of(number)
