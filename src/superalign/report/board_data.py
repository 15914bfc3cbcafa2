"""What a leaderboard's page says of where its items and players come from: rows of somebody's own, toy models or not.

    data_section(events, board)          # Html; empty where only shipped tasks were judged
    toys(events, board)                  # did embedded models take part? Then the page says so

All of it is a stranger's JSON: checked, clipped, never trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superalign.report.html import Html, cell, cite, named, row, table, tag
from superalign.report.text import clip, finite

MOST = 40
"""Rows of a table, at most."""
PREFIXES = ("prompt:", "words:")
"""Before an address: how the model there is asked."""
FAMILY = "family:"
SPEAKING = ("inspect:", "http://", "https://", "vllm:", "words:", "person")
READERS = ("rules", "pixels")
"""Tasks with small readers, trained here, of their own."""


def data_section(events: Sequence[Any], board: str) -> Html:
    """Which rows of somebody's own were judged on a board, by the last `run` event that says so."""
    for event in reversed(events):
        told = event.body.get("data") if event.type == "run" else None
        if isinstance(told, Mapping) and told.get("board") == board:
            return _section(event.seq, told)
    return Html("")


def _section(seq: int, told: Mapping[str, Any]) -> Html:
    tasks = [(str(task), each) for task, each in _pairs(told.get("tasks")) if isinstance(each, Mapping)]
    rows = [
        row(
            named(clip(task, 80)),
            cell(_splits(each.get("splits")), label="Rows"),
            cell(_whole(each.get("cut to two options")), label="Cut to two options", class_="num"),
            cell(tag("code", clip(str(each.get("rows", "")), 64), style="overflow-wrap:anywhere"), label="SHA-256"),
        )
        for task, each in tasks
    ]
    about = (
        "The split validation is judged, and train (where it is empty, dev) is learned from; what the rows say is in the "
        "store, and level 2 opens the task from there. Of a row with more than two options the right one and one other, "
        "drawn by its id, are played: chance is a half. "
    )
    parts = [
        tag("h2", "Data of one's own", id="own-data"),
        tag("p", about, cite(seq)),
        table("Rows by split", ("Task", "Rows", "Cut to two options", "SHA-256 of the rows"), rows, class_="cards"),
    ]
    unplayed = [(task, name, why) for task, each in _pairs(told.get("left out")) for name, why in _pairs(each)]
    if unplayed:
        said = "; ".join(f"{clip(task, 60)}, {clip(name, 40)} ({clip(str(why), 160)})" for task, name, why in unplayed)
        parts.append(tag("p", "Left out: ", named(said), ".", class_="soft"))
    return tag("section", *parts, aria_labelledby="own-data")


def _pairs(told: Any) -> list[tuple[str, Any]]:
    return [(str(key), value) for key, value in told.items()][:MOST] if isinstance(told, Mapping) else []


def _splits(told: Any) -> str:
    return ", ".join(f"{clip(split, 20)} {_whole(n)}" for split, n in _pairs(told))


def _whole(told: Any) -> str:
    return f"{int(told):,}" if finite(told) is not None and told >= 0 else "?"


def toys(events: Sequence[Any], board: str) -> bool:
    """Did a model of the embedded family, or a reader that was trained here, take part? Also where nobody can tell."""
    stated: Any = None
    for event in events:
        if event.type == "run" and isinstance(event.body.get("board"), Mapping):
            stated = event.body["board"]
        if event.type == "plan" and event.body.get("board") == board:
            break  # a board's plan is sealed right after its run began
    else:
        return True
    if not isinstance(stated, Mapping) or not isinstance(stated.get("tasks"), list | tuple):
        return True
    judge, advisers = str(stated.get("judge", "")), str(stated.get("advisers", ""))
    judged, advised = judge.startswith(SPEAKING), advisers.startswith(SPEAKING)
    here = [judge, advisers]
    if judged and not advised:
        here.append(str(stated.get("stand_in", "")))
    readers = not (judged and advised) and any(task in READERS for task in stated["tasks"])
    return readers or any(_bare(address).startswith(FAMILY) for address in here)


def _bare(address: str) -> str:
    for prefix in PREFIXES:
        address = address.removeprefix(prefix)
    return address
