"""V2 of what players in words said: every message and belief again from the raw responses in the store, no network.

    voices = voices_again(board, store)                                  # as the `run` event describes them
    reread(cell, board.config, voices, result, cases, episodes, store)   # raises ValueError for what does not follow

What is recounted: that each answer is what the raw response says by the prompt whose file is in the store, read by the
strict forms, with the belief by log-probability or samples; and the tokens of each play. That a model answered so, only
asking it again would show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superalign.evidence.store import ObjectStore
from superalign.models.remote.replies import FORMS
from superalign.oversight import Case
from superalign.pipeline.board_config import OversightConfig, speaks
from superalign.pipeline.board_scores import Cell
from superalign.pipeline.desk import Desk
from superalign.pipeline.spoken import ADVISERS, JUDGE, Voice, Voices, judge_in_words, seats_in_words
from superalign.pipeline.spoken_heard import Again, Ear, reheard
from superalign.pipeline.tally import close

SCALE = 1e-6
"""Relative: a fitted scale is alike on another machine."""


def heard_of(desk: Desk, voices: Voices, ears: Mapping[str, Ear], scale: float) -> dict[str, Any]:
    """What a cell's result says of its players in words: digests of what they heard, how asked, at what price."""
    heard = {key: raw for ear in ears.values() for key, raw in ear.heard.items()}
    silent = {key: list(said) for ear in ears.values() for key, said in ear.silent.items()}
    return {
        "heard": desk.ws.store.put_json(heard),
        "silent": desk.ws.store.put_json(silent),
        "using": voices.using,
        "scale": scale,
        "prices": {who: list(voice.price) if voice.price else None for who, voice in voices.named().items()},
    }


def bills_of(
    store: ObjectStore,
    cell: Cell,
    config: OversightConfig,
    voices: Voices,
    told: Mapping[str, Any],
    cases: Sequence[Case],
    episodes: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What each play cost, every answer read again from its raw response (`reheard`)."""
    speakers = {who: again(store, voice, told) for who, voice in voices.named().items()}
    players: dict[str, Any] = {}
    who: dict[str, str] = {}
    if voices.judge:
        by = str(told["using"])
        players["judge"] = judge_in_words(config, voices, speakers[JUDGE], scale=float(told["scale"]), by=by)
        who["judge"] = JUDGE
    if voices.advisers:
        players |= seats_in_words(cell.protocol, config, voices, speakers[ADVISERS])
        who |= dict.fromkeys(cell.protocol.seats, ADVISERS)
    bills = reheard(cell.protocol, {case.item: case for case in cases}, episodes, players, who)
    return {**bills, "plays": [{who: [0, 0] for who in voices.named()} | play for play in bills["plays"]]}


def again(store: ObjectStore, voice: Voice, told: Mapping[str, Any]) -> Again:
    """A speaker that answers as it was heard."""
    heard, silent = store.get_json(told["heard"]), store.get_json(told["silent"])
    return Again(identity=voice.identity, form=voice.form, heard=heard, silent=silent, store=store)


def reread(
    cell: Cell,
    config: OversightConfig,
    voices: Voices,
    result: Mapping[str, Any],
    cases: Sequence[Case],
    episodes: Sequence[Mapping[str, Any]],
    store: ObjectStore,
) -> None:
    """Raises ValueError, or another of MALFORMED, where a cell's answers or bills don't follow from what it heard."""
    told = result["spoken"]
    if voices.judge and (told["using"] not in ("logprob", "samples") or config.judge_by not in ("auto", told["using"])):
        raise ValueError(f"{cell.name}: a judge that believes by {told['using']!r:.40} is none of this board")
    bills = bills_of(store, cell, config, voices, told, cases, episodes)
    if not close(bills, store.get_json(told["bills"])):
        raise ValueError(f"{cell.name}: the tokens that are on record are not those of the raw responses")


def voices_again(spoken: Any, config: OversightConfig, store: ObjectStore) -> Voices:
    """Who spoke on a board, as its `run` event says; nobody can be asked. Raises ValueError for what can't be."""
    found: dict[str, Voice] = {}
    for who, address in ((JUDGE, config.judge), (ADVISERS, config.advisers)):
        if not speaks(address):
            continue
        told = spoken["who"][who]
        if told["address"] != address or told["form"] not in FORMS or not isinstance(told["identity"], str):
            raise ValueError(f"the {who} {address!r:.80} is on record as another model")
        silent = Again(identity=told["identity"], form=told["form"], heard={}, silent={}, store=store)
        found[who] = Voice(address=address, speaker=silent, form=told["form"], price=None)
    files = {str(label): store.get(prompt["digest"]) for label, prompt in spoken["prompts"].items()}
    return Voices(judge=found.get(JUDGE), advisers=found.get(ADVISERS), files=files)


def same_scale(mine: float, stored: Any) -> bool:
    """Is a scale that was fitted again the one on record?"""
    return close(mine, stored, tolerance=SCALE)
