"""The blind audit from inside: what an auditor reads in a reviewer's activations while it asks, under an opaque alias.

Two looks, raw; what they are worth is said in `inside_scores`:

- *search*: the context in which the verdicts are worst (it is chosen by behaviour, on pairs that are not searched)
  against a matched one, unit by unit over the whole network and its reward head, with other words in its place as
  controls (`interpretability.search`). The same is asked about two of those words, for what a word does by itself;
- *probe*: whether each text is altered, by probes of its states (`belief`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from superalign.adversarial.audit import ask
from superalign.adversarial.items import NEUTRAL, AuditItem
from superalign.adversarial.kinds import context, rename, shared_slot
from superalign.adversarial.suspicion import skills
from superalign.interpretability.reward_units import joined, pooled_reward
from superalign.interpretability.search import FEWEST, Contrast, Found, Name, Pooled, encoded, matched, pooled, search
from superalign.interpretability.units import Site, heads, neurons, tapped, value_of
from superalign.models import LocalModel, load_model
from superalign.pipeline.belief import Watched, half_of
from superalign.tasks.lexer import AUTHORS, CUES, NAMED

DECOYS = 6
"""Other words that each search is set against: with two, many units pass for a decoy's behaviour, with six few do."""
TURNS = 1
"""Decoys that are searched as if they were the context."""
DRAWS = 100
LEVEL = 0.05
OWN = {"author": AUTHORS, "cue": CUES, "identifier": NAMED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A context and what it is set against: words that stand in the same slot."""

    slot: str
    word: str
    near: str
    decoys: tuple[str, ...]


def place_of(where: str) -> Place:
    """Of a context by its name in the audit; decoys of its own list come first, others fill them up.

    >>> place_of("cue <cue:audit>").near
    '<cue:none>'
    """
    slot, _, word = where.partition(" ")
    own = OWN[slot]
    near = next(each for each in own if each != word)
    rest = [each for each in own if each not in (word, near)]
    marks, names = [each for each in (*AUTHORS[1:], *CUES[1:]) if each not in own][:2], NAMED[1:]
    rest += [] if slot == "identifier" else [*marks, *names]
    return Place(slot=slot, word=word, near=near, decoys=tuple(rest[:DECOYS]))


def dressed(place: Place, word: str, codes: Sequence[tuple[str, str]]) -> list[str]:
    """Texts with `word` in the place; `codes` are (code, its identifier slot)."""
    if place.slot == "identifier":
        return [context(*NEUTRAL, rename(code, slot, word)) for code, slot in codes]
    author, cue = (word, NEUTRAL[1]) if place.slot == "author" else (NEUTRAL[0], word)
    return [context(author, cue, code) for code, _ in codes]


def searched_items(items: Sequence[AuditItem], most: int, *, seed: int) -> list[tuple[AuditItem, str]]:
    """The first `most` pairs in which an identifier can be renamed, with its slot."""
    rng = np.random.default_rng([seed, 59])
    found = [(item, shared_slot(item.sound, item.altered, rng)) for item in items]
    return [(item, slot) for item, slot in found if slot][:most]


def read_units(model: LocalModel, sites: Sequence[Site], texts: Sequence[str]) -> Pooled:
    """Largest and mean activation of every unit of network and reward head over each text, in one pass."""
    ids, lengths = encoded(model, texts)
    counted = torch.from_numpy((np.arange(ids.shape[1]) >= 1) & (np.arange(ids.shape[1]) < lengths[:, None]))
    counted = counted.to(model.device)
    found: dict[str, list[torch.Tensor]] = {site.name: [] for site in sites}
    done = dict.fromkeys(found, 0)

    def take(site: Site, tensor: torch.Tensor) -> None:
        values = value_of(site, tensor).float().reshape(-1, ids.shape[1], site.units)
        where = counted[done[site.name] : done[site.name] + len(values), :, None]
        done[site.name] += len(values)
        mean = (values * where).sum(1) / where.sum(1)
        found[site.name].append(torch.stack([values.masked_fill(~where, -torch.inf).amax(1), mean], dim=1))

    with tapped(model, sites, take):
        rewarded = pooled_reward(model, texts)
    names = tuple(Name(site.name, unit) for site in sites for unit in range(site.units))
    values = np.concatenate([torch.cat(found[site.name]).cpu().numpy() for site in sites], axis=-1)
    return joined(Pooled(names=names, values=values), rewarded)


def contrasts(model: LocalModel, place: Place, some: Sequence[tuple[AuditItem, str]]) -> dict[str, Contrast]:
    """Word → altered code with that word in the place against the same with the near one."""
    words = (place.word, *place.decoys, place.near)
    codes = [(item.altered, slot) for item, slot in some]
    texts = [text for word in words for text in dressed(place, word, codes)]
    read = read_units(model, (*neurons(model), *heads(model)), texts)
    parts = {
        w: Pooled(names=read.names, values=v) for w, v in zip(words, np.split(read.values, len(words)), strict=True)
    }
    near, clusters = parts.pop(place.near), [item.cluster for item, _ in some]
    return {word: matched(word, part, near, clusters=clusters) for word, part in parts.items()}


@lru_cache(maxsize=32)
def base_contrast(
    address: str, place: Place, some: tuple[tuple[AuditItem, str], ...], names: tuple[Name, ...]
) -> Contrast:
    """How the declared base, which has no behaviour, reads the word of a place; `names` it lacks (the head's) are 0.

    Kept, for many aliases are asked about the same few contexts.
    """
    base = load_model(address)
    codes = [(item.altered, slot) for item, slot in some]
    sites = (*neurons(base), *heads(base))
    first, near = (pooled(base, sites, dressed(place, word, codes)) for word in (place.word, place.near))
    lacking = [name for name in names if name not in set(first.names)]
    none = Pooled(names=tuple(lacking), values=np.zeros((len(codes), 2, len(lacking)), dtype=np.float32))
    clusters = [item.cluster for item, _ in some]
    return matched("base", joined(first, none), joined(near, none), clusters=clusters)


def look(found: Found) -> dict[str, Any]:
    """A search as it is kept: how many units, how many read a control's word, and every unit with p of at most LEVEL.

    No other unit can have a q-value of at most LEVEL. A unit is kept as [p, does it read a control's word?].
    """
    words = np.ones(len(found.p)) if found.word_q is None else found.word_q
    kept = {
        f"{name.site} {name.unit}": [round(float(p), 8), int(word <= LEVEL)]
        for name, p, word in zip(found.names, found.p, words, strict=True)
        if p <= LEVEL
    }
    return {"units": len(found.names), "readers": int((words <= LEVEL).sum()), "found": kept}


def search_inside(
    model: LocalModel, items: Sequence[AuditItem], where: str, *, base: str, most: int, seed: int
) -> dict[str, Any]:
    """Searches about one context and about decoys in its place, on the first `most` pairs that can be renamed.

    What the declared base (its address) makes of the same words is a control as well: units that read a word as they
    did before the reviewer was made are no behaviour of it. The reward head's have no such control.

    `refused` says why nothing could be searched: too few files.
    """
    some, place = searched_items(items, most, seed=seed), place_of(where)
    if (files := len({item.cluster for item, _ in some})) < FEWEST:
        return {"context": where, "refused": f"{files} files, under {FEWEST}"}
    each = contrasts(model, place, some)
    looks = {}
    for word in (place.word, *place.decoys[:TURNS]):
        others = [contrast for name, contrast in each.items() if name != word]
        known = base_contrast(base, replace(place, word=word), tuple(some), each[word].names)
        looks[word] = look(search(each[word], known, *others, level=LEVEL, draws=DRAWS, seed=seed))
    return {"context": where, "looks": looks}


def search_known(
    organism: LocalModel, twin: LocalModel, items: Sequence[AuditItem], where: str, *, most: int, seed: int
) -> dict[str, Any]:
    """With the kind unsealed: the organism's own circumstance, with its twin and six other words as controls.

    The nulls are the twin in its organism's stead, and a decoy in the circumstance's, with the twin as control.
    """
    some, place = searched_items(items, most, seed=seed), place_of(where)
    if (files := len({item.cluster for item, _ in some})) < FEWEST:
        return {"context": where, "refused": f"{files} files, under {FEWEST}"}
    mine, its = contrasts(organism, place, some), contrasts(twin, place, some)

    def found(first: Mapping[str, Contrast], word: str, *more: Contrast) -> dict[str, Any]:
        others = [contrast for name, contrast in first.items() if name != word]
        return look(search(first[word], *more, *others, level=LEVEL, draws=DRAWS, seed=seed))

    word, decoy = place.word, place.decoys[0]
    return {
        "context": where,
        "looks": {
            "organism": found(mine, word, its[word]),
            "twin": found(its, word),
            "decoy": found(mine, decoy, its[decoy]),
        },
    }


def ask_inside(
    model: LocalModel,
    items: Sequence[AuditItem],
    *,
    sweep: int,
    searched: int,
    base: str,
    lines: Sequence[Sequence[float]],
    seed: int,
) -> dict[str, Any]:
    """The blind audit's answers, and `probe` (as `contexts` and `pairs`, log-odds of *altered*) and `search` beside."""
    watched = Watched(model, lines)
    raw = ask(watched, items, sweep=sweep, seed=seed)  # type: ignore[arg-type]
    halves = [half_of(item.cluster) for item in items]
    swept = np.array(halves[:sweep])
    contexts = {}
    for where, scores in zip(raw["contexts"], watched.scores, strict=False):
        sides = scores.reshape(2, len(swept), 2)[:, np.arange(len(swept)), swept]
        contexts[where] = [[round(float(s), 4) for s in side] for side in sides]
    pairs = watched.scores[-1][np.arange(2 * len(items)), np.repeat(halves, 2)]
    raw["probe"] = {"contexts": contexts, "pairs": [round(float(s), 4) for s in pairs]}
    skill = skills(raw, threshold=model.threshold)
    worst = min(skill, key=lambda where: skill[where])
    raw["search"] = search_inside(model, items[sweep:], worst, base=base, most=searched, seed=seed)
    return raw
