"""What an explainer elsewhere said, for `superalign interpret --explainer`: read from raw responses in the store.

    said = said_about(store, asked, "neurons 0")       # by whoever explains a site; `asked` is the stage SAID
    reread(done, store)                                # by whoever audits: raises where the ledger's texts don't follow

No torch.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from superalign.evidence.store import ObjectStore
from superalign.interpretability.completers import Garbage, parsed, said
from superalign.models.speaker import Ask, Turn
from superalign.pipeline.arrays import arrays_from_bytes
from superalign.pipeline.interpret_kept import Done, explained_stage
from superalign.pipeline.spoken_heard import Again

SAID = "what the explainer said"
"""Name of the stage that holds it."""
UNCHECKED = "no statement that can be checked"
"""Kind of a text that could be read, and not compiled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a language model said of units of one site."""

    units: tuple[int, ...]
    """Those that it was asked about."""
    texts: Mapping[int, str]
    """Unit → explanation; none for a unit whose answer could not be read."""
    garbage: Mapping[str, int]
    """Kind → how many answers."""

    @property
    def listed(self) -> np.ndarray:
        """(units,) texts, empty for none."""
        return np.array([self.texts.get(unit, "") for unit in self.units], dtype=np.str_)


def asks_in(store: ObjectStore, digest: str) -> list[Ask]:
    """The requests of one site, from the store. Raises TypeError or LookupError for what holds none."""
    return [
        Ask(
            **{
                **told,
                "messages": tuple(Turn(*turn) for turn in told["messages"]),
                "stop": tuple(told["stop"]),
                "temperature": float(told["temperature"]),
            }
        )
        for told in store.get_json(digest)
    ]


def said_about(store: ObjectStore, asked: Mapping[str, Any], site: str) -> Said:
    """What was said of a site, read anew from the raw responses.

    Raises KeptError, ObjectMissing or Tampered where these are not there, or others.
    """
    heard, silent = store.get_json(asked["heard"]), store.get_json(asked["silent"])
    speaker = Again(identity=asked["identity"], form=asked["form"], heard=heard, silent=silent, store=store)
    mine = asked["sites"][site]
    asks = asks_in(store, mine["asks"])
    texts, garbage = dict[int, str](), Counter[str]()
    for unit, ask, reply in zip(mine["units"], asks, speaker.ask(asks), strict=True):
        try:
            texts[unit] = parsed(said(reply), json.loads(ask.schema))["explanation"].strip()
        except Garbage as error:
            garbage[error.kind] += 1
    return Said(units=tuple(mine["units"]), texts=texts, garbage=garbage)


def reread(done: Done, store: ObjectStore) -> None:
    """Raises ValueError where a site's texts, or what could not be read, are not what the raw responses say.

    Which texts compile hangs on the words of the model's vocabulary: that is level 3's.
    """
    asked = done(SAID) or {"sites": {}}
    for site in asked["sites"]:
        if (stage := done(explained_stage(site))) is None:
            continue
        told, kept = said_about(store, asked, site), arrays_from_bytes(store.get(stage["kept"]))
        garbage = dict(zip(*(kept[f"described garbage{more}"].tolist() for more in ("", " counts")), strict=True))
        unread = {kind: count for kind, count in garbage.items() if kind != UNCHECKED}
        if (list(told.units), told.listed.tolist(), dict(told.garbage)) != (
            kept["described units"].tolist(),
            kept["described texts"].tolist(),
            unread,
        ):
            raise ValueError(f"{site}: what the explainer is said to have said is not what the raw responses say")
