"""V2 of a signal: every episode that a run was trained on follows from its players' recorded answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from superalign.pipeline.board_recount import play_again
from superalign.pipeline.desk import Desk
from superalign.pipeline.pages import Opened
from superalign.pipeline.signals import CHECKED, chunks, playable, signal_digest, tally
from superalign.pipeline.stored import Stored
from superalign.tasks.slips import slips


def recount_signal(desk: Desk, done: Stored, runs: list[dict[str, Any]]) -> None:
    """Play again, from recorded answers, what the run's protocol said of every training pair.

    Raises ValueError where an episode, the signal's digest or the checks spent do not follow; what posterior was made
    of the beliefs rests on the strong model's own, which only asking it would show.
    """
    name = desk.config.signal
    if name == CHECKED:
        return
    cell = playable()[name]
    stored = str(done(chunks(name, [None])[0][0])["items"])  # type: ignore[list-item]
    page = _page(desk, stored)
    played = []
    for stage, items in chunks(name, page.page.items):
        result = done(stage)
        episodes = desk.ws.store.get_json(result["episodes"])["episodes"]
        part = {item.id for item in items}
        rows = [i for i, item in enumerate(page.page.items) if item.id in part]
        some = replace(page, page=replace(page.page, items=tuple(items)), truths=[page.truths[i] for i in rows])
        play_again(cell, some, desk.config.seed, episodes)
        played += episodes
    told = tally(page.page.items, played)
    if signal_digest(desk, stored, told) not in desk.ws.state.signals:
        raise ValueError(f"no signal of this ledger says what {name} says of the training pairs")
    spent = int(told.checks[runs[0]["subject"]["rows"]].sum())
    if any(arm["checks"] != spent for arm_name, arm in runs[0]["arms"].items() if arm_name.endswith(f" + {name}")):
        raise ValueError(f"{name} took {spent} checks on the subject's pairs, and the run says otherwise")


def _page(desk: Desk, digest: str) -> Opened:
    """The training pairs that were kept, as this version draws them."""
    drawn = slips(split="train", view="pair", n=desk.sizes.train_pairs)
    kept = [item["id"] for item in desk.ws.store.get_json(digest)["items"]]
    items = tuple(item for item in drawn.items if item.id in set(kept))
    if [item.id for item in items] != kept:
        raise ValueError("the training pairs of this run are not those that this version draws")
    truths = [dict(drawn.truths[item.id]) for item in items]
    return Opened(page=replace(drawn, items=items), digest=digest, truths=truths)
