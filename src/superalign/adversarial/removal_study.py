"""The study of removal: an organism through removals in legs, each measured, and back; all of it raw.

    raw = removal_study(organism, "fixed", [(REMOVALS["clean"], (20, 60, 150))], seed=0, come_back=["clean, 0.001"])

What comes out is JSON-able and holds marks, one a prompt; `removal_scores` makes numbers of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

from superalign.adversarial.removal import Removal, remove
from superalign.adversarial.removal_return import RELEARN, Measured, elicit, measured, relearn, rising
from superalign.adversarial.writers import load_writer
from superalign.models import LocalModel

Say = Callable[[str], None]


def removed_in_legs(
    organism: LocalModel,
    kind: str,
    recipe: Removal,
    *,
    legs: Sequence[int],
    seed: int,
    count: int = 100,
    parent: LocalModel | None = None,
    device: str = "cpu",
) -> tuple[LocalModel, list[Measured]]:
    """The organism after the last leg, and what it did after each; `legs` are total steps (20, 60, 150), rising.

    Every leg starts the optimiser and its schedule again. Raises ValueError where legs don't rise.
    """
    rising(legs)
    model, found = organism, []
    for number, (start, end) in enumerate(pairwise((0, *legs))):
        part = replace(recipe, steps=end - start)
        model = remove(
            model, kind, part, seed=seed, leg=number, parent=parent, reference=organism, device=device
        )  # fmt: skip
        found.append(measured(model, kind, seed=seed, count=count, steps=end))
    return model, found


def returned(
    model: LocalModel, kind: str, *, seed: int, count: int = 100, steps: Sequence[int] = RELEARN, device: str = "cpu"
) -> dict[str, Any]:
    """Relearning and elicitation of one writer, raw: the treated organism's, or its parent's beside it."""
    curve = relearn(model, kind, steps=steps, seed=seed, count=count, device=device)
    return {
        "model": model.identity,
        "relearned": [asdict(one) for one in curve],
        "elicited": elicit(model, kind, seed=seed, count=max(3, count * 3 // 5), device=device),
    }


def removal_study(
    organism: LocalModel,
    kind: str,
    recipes: Sequence[tuple[Removal, Sequence[int]]],
    *,
    seed: int,
    install: str = "strong",
    count: int = 100,
    parent: LocalModel | None = None,
    clean: Mapping[str, Any] | None = None,
    come_back: Sequence[str] = (),
    relearn_at: Sequence[int] = RELEARN,
    device: str = "cpu",
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """One organism through every removal, each with its legs, and back: raw and JSON-able.

    Return is tried after the last leg of the recipes whose labels `come_back` holds, and of the parent; `clean` is what
    `returned` said of it before, where that is known. `seed` is the organism's own, whose install mix is trained again.
    Raises ValueError for no recipes, an unknown kind, or legs that don't rise.
    """
    if not recipes:
        raise ValueError(f"{organism.name}: no removal to try: name some of REMOVALS")
    before, parent = measured(organism, kind, seed=seed, count=count), parent or load_writer()
    how: dict[str, Any] = {"seed": seed, "count": count, "device": device}
    if clean is None and come_back:
        clean = returned(parent, kind, steps=relearn_at, **how)
    raw: dict[str, Any] = {"kind": kind, "seed": seed, "install": install, "organism": organism.identity}
    raw |= {"parent": parent.identity, "start": asdict(before), "clean": clean, "removals": []}
    for recipe, legs in recipes:
        began = time.process_time()
        model, found = removed_in_legs(organism, kind, recipe, legs=legs, parent=parent, **how)
        one: dict[str, Any] = {
            "recipe": asdict(recipe) | {"shares": list(recipe.shares)},
            "label": recipe.label,
            "legs": [asdict(each) for each in found],
        }
        if recipe.label in come_back:
            one["returned"] = returned(model, kind, steps=relearn_at, **how)
        raw["removals"].append(one)
        rates = " ".join(f"{each.rate():.2f}" for each in (before, *found))
        say(f"{install} {kind} {seed}, {recipe.label}: {rates}, {time.process_time() - began:.0f} s")
    return raw
