"""Explanations by patterns of tokens around one place: found on a unit's exemplars, pruned and widened by the subject.

    found = modes(sample, windows)                          # no forward pass: see modes.py
    patterns(model, sample, windows, units=(3, 7))          # each mode pruned and augmented on the subject

After Neuron2Graph (Foote et al. 2023, 2305.19911): an exemplar is pruned to the least context that keeps the unit
active, the tokens that matter are found by ablating each, and each is widened by what may stand in its place. What may
is asked of the subject itself: its own most likely tokens there, kept if the unit stays active. Ablated tokens are
replaced, not dropped, so that every other token keeps its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from superalign.interpretability.explanation import Explanation, Sample, before, brief, quoted
from superalign.interpretability.tables import VALUE_BITS
from superalign.interpretability.units import Site, activations
from superalign.interpretability.windows import Windows
from superalign.models import LocalModel

REACH = 8
"""How far back an exemplar is ablated, token by token."""
KEEP = 0.5
"""A pattern's context is enough if the unit keeps this share of its exemplar's rise above the mean."""
MATTERS = 0.75
"""A token matters if without it less than this share is left."""
SUBSTITUTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Tokens at steps back from a place, and what the unit does there."""

    steps: tuple[tuple[int, tuple[int, ...]], ...]
    """(how far back, words that may stand there), nearest first; no entry for a step means that anything may."""
    value: float

    def holds(self, ids: np.ndarray) -> np.ndarray:
        """(rows, length) bool"""
        found = np.ones(ids.shape, dtype=bool)
        for step, words in self.steps:
            found &= np.isin(before(ids, step, nothing=-1), words)
        return found

    def text(self, words: Sequence[str]) -> str:
        """As a clause that `compiled` reads."""
        said = []
        for step, some in self.steps[:4]:
            tokens = ", ".join(quoted(words[word]) for word in some[:4])
            said.append(
                f"on {tokens}" if not step else f"after {tokens}" if step == 1 else f"{step} tokens after {tokens}"
            )
        return "fires " + " and ".join(said)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patterns:
    """A unit is at its base, or at the largest value of the patterns that hold."""

    name: str
    words: tuple[str, ...]
    base: np.ndarray
    """(units,)"""
    patterns: tuple[tuple[Pattern, ...], ...]
    """Of each unit; none for one that was not looked at, or of which nothing was found."""

    def predict(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(rows, length, units) float32; each distinct set of words is looked up once."""
        found = np.tile(self.base.astype(np.float32), (*ids.shape, 1))
        held: dict[tuple[tuple[int, tuple[int, ...]], ...], np.ndarray] = {}
        for unit, patterns in enumerate(self.patterns):
            for pattern in sorted(patterns, key=lambda each: each.value):
                if pattern.steps not in held:
                    held[pattern.steps] = pattern.holds(ids)
                found[:, :, unit][held[pattern.steps]] = pattern.value
        return found

    def explanation(self, unit: int) -> Explanation:
        """Its highest patterns, the nearest steps of each."""
        patterns = sorted(self.patterns[unit], key=lambda each: -each.value)
        count = sum(len(words) for pattern in patterns for _, words in pattern.steps)
        places = sum(len(pattern.steps) for pattern in patterns)
        bits = count * float(np.log2(max(2, len(self.words)))) + 4 * places + VALUE_BITS * (1 + len(patterns))
        text = brief([pattern.text(self.words) for pattern in patterns[:2]])
        return Explanation(text=text or "no pattern was found", bits=bits)


def patterns(
    model: LocalModel,
    sample: Sample,
    modes: Patterns,
    exemplars: Windows,
    units: Sequence[int],
    *,
    rare: int | None = None,
) -> Patterns:
    """Prune and widen, on the subject, one exemplar of each mode of some units; other units stay without a pattern.

    `exemplars` are (modes, units) places, −1 for none, in the order of the modes' patterns. `rare` is the token that
    takes the place of ablated ones: the model's unknown or end token. ValueError for sequences that aren't held in.
    """
    sample.held_in()
    neutral = _neutral(model) if rare is None else rare
    found: list[tuple[Pattern, ...]] = [()] * sample.site.units
    for unit in units:
        made = []
        for mode, (row, place) in enumerate(zip(exemplars.rows[:, unit], exemplars.places[:, unit], strict=True)):
            if row >= 0 and mode < len(modes.patterns[unit]):
                ids = sample.corpus.ids[row, : place + 1]
                made.append(pruned(model, sample.site, unit, ids, base=float(modes.base[unit]), rare=neutral))
        found[unit] = _valued(tuple(p for p in made if p.steps), sample, unit)
    return replace(modes, name="patterns", patterns=tuple(found))


def pruned(model: LocalModel, site: Site, unit: int, ids: np.ndarray, *, base: float, rare: int) -> Pattern:
    """The least context of the last of `ids` (length,) that keeps the unit up, with the subject's substitutes."""
    reach = min(REACH, len(ids) - 1)
    blank = np.full(len(ids), rare, dtype=ids.dtype)
    blank[0] = ids[0]
    kept = np.arange(len(ids))[::-1]  # steps back of each place
    trials = [ids, *(np.where(kept <= back, ids, blank) for back in range(reach + 1))]
    values = last_values(model, site, unit, np.stack(trials)) - base
    full, cut = values[0], values[1:]
    if full == 0 or not np.isfinite(values).all():
        return Pattern(steps=(), value=base)
    enough = np.flatnonzero(cut / full >= KEEP)
    back = int(enough[0]) if len(enough) else reach
    context = np.where(kept <= back, ids, blank)
    without = np.tile(context, (back + 1, 1))
    without[np.arange(back + 1), len(ids) - 1 - np.arange(back + 1)] = rare
    change = (last_values(model, site, unit, without) - base) / (cut[back] or full)
    steps = [step for step in range(back + 1) if change[step] < MATTERS] or [0]
    words = substitutes(model, site, unit, context, steps, base=base)
    return Pattern(steps=tuple(zip(steps, words, strict=True)), value=float(full + base))


def substitutes(
    model: LocalModel, site: Site, unit: int, ids: np.ndarray, steps: Sequence[int], *, base: float
) -> tuple[tuple[int, ...], ...]:
    """What may stand at each step back, the token itself first: the subject's likeliest that keep the unit up."""
    with torch.inference_mode():
        given = torch.from_numpy(ids[None].astype(np.int64)).to(model.device)
        logits = model.network(input_ids=given).logits[0].float().cpu().numpy()
    places = [len(ids) - 1 - step for step in steps]
    trials, whose = [ids], [(-1, -1)]
    for which, place in enumerate(places):
        if place > 0:
            for token in np.argsort(-logits[place - 1], kind="stable")[:SUBSTITUTES]:
                trials.append(np.where(np.arange(len(ids)) == place, token, ids))
                whose.append((which, int(token)))
    values = last_values(model, site, unit, np.stack(trials)) - base
    words = [[int(ids[place])] for place in places]
    for (which, token), value in zip(whose[1:], values[1:], strict=True):
        if value / values[0] >= MATTERS and token not in words[which]:
            words[which].append(token)
    return tuple(tuple(some) for some in words)


def last_values(model: LocalModel, site: Site, unit: int, ids: np.ndarray) -> np.ndarray:
    """(rows,) what a unit does on the last token of each sequence, (rows, length)."""
    lengths = np.full(len(ids), ids.shape[1])
    parts = [batch[site.name][:, -1, unit] for batch in activations(model, (site,), ids, lengths)]
    found: np.ndarray = np.concatenate(parts)
    return found


def _valued(found: tuple[Pattern, ...], sample: Sample, unit: int) -> tuple[Pattern, ...]:
    """Patterns that come in the sample at all, each once, with the mean of what the unit does there."""
    kept: dict[tuple[tuple[int, tuple[int, ...]], ...], Pattern] = {}
    for pattern in found:
        held = pattern.holds(sample.ids)[sample.counted]
        if held.any():
            kept[pattern.steps] = replace(pattern, value=float(sample.values[held, unit].mean()))
    return tuple(kept.values())


def _neutral(model: LocalModel) -> int:
    for name in ("unk_token_id", "eos_token_id", "pad_token_id"):
        if (token := getattr(model.tokenizer, name, None)) is not None:
            return int(token)
    return 0
