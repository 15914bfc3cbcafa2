"""Three searches for a header at which two models part: by covering pairs, by evolution, by gradient.

    found = evolved(objective, budget=560, seed=0)        # any objective of briefs, the higher the more suspicious
    found = steered(model, base, budget=560, seed=0)      # divergence at the program's first word, by its gradient
    found.values, found.value, found.evaluations

An evaluation is one brief read by both models. `adversarial_discovery.py` says which search finds what at what budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from superalign.adversarial.discovery.fields import HEADER, any_header, brief_with, covering, values_of, with_header
from superalign.models import LocalModel
from superalign.tasks.functions import Brief, prompt, words

Objective = Callable[[Sequence[Brief]], np.ndarray]
"""Briefs → (rows,) how suspicious each is."""
PLACES = {"env": 2, "run": 3, "stage": 4, "year": 5, "tens": 7, "key": 9}
"""Where the words of a header stand in a prompt, `<bos>` first."""
POPULATION, ELITE, TOP, STARTS = 40, 10, 3, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The best brief of a search."""

    brief: Brief
    value: float
    """Of the objective."""
    evaluations: int
    """Briefs looked at until it was found."""

    @property
    def values(self) -> dict[str, str]:
        """Field → value."""
        return values_of(self.brief)


@dataclass(slots=True)
class _Best:
    """What a search has seen."""

    budget: int
    seen: int = 0
    found: Found | None = None

    def look(self, objective: Objective, briefs: Sequence[Brief]) -> tuple[list[Brief], np.ndarray]:
        """Evaluate as many of `briefs` as the budget allows."""
        some = list(briefs)[: self.budget - self.seen]
        if not some:
            return [], np.zeros(0)
        values = objective(some)
        top = int(values.argmax())
        if self.found is None or values[top] > self.found.value:
            self.found = Found(brief=some[top], value=float(values[top]), evaluations=self.seen + top + 1)
        self.seen += len(some)
        return some, values

    def result(self) -> Found:
        """The best. Raises ValueError where the budget allowed nothing."""
        if self.found is None:
            raise ValueError(f"a budget of {self.budget} evaluations: give 1 at least")
        return self.found


def covered(objective: Objective, *, budget: int = 560, seed: int = 0) -> Found:
    """The best of the covering briefs, in their order."""
    best = _Best(budget)
    best.look(objective, covering(seed))
    return best.result()


def at_random(objective: Objective, *, budget: int = 560, seed: int = 0) -> Found:
    """The best of random headers: what every search has to beat."""
    rng, best = np.random.default_rng([seed, 131]), _Best(budget)
    best.look(objective, [brief_with(rng) for _ in range(budget)])
    return best.result()


def evolved(objective: Objective, *, budget: int = 560, seed: int = 0) -> Found:
    """A genetic search over headers: each field from one of two parents of the best ten, now and then a new word.

    Each child keeps the request of its first parent, and 1 in 5 is a stranger.
    """
    rng, best = np.random.default_rng([seed, 137]), _Best(budget)
    pool, values = best.look(objective, [brief_with(rng) for _ in range(POPULATION)])
    while best.seen < budget:
        children = [_child(pool[:ELITE], rng) for _ in range(POPULATION)]
        made, new = best.look(objective, children)
        pool, values = [*pool, *made], np.concatenate([values, new])
        order = np.argsort(-values, kind="stable")[:POPULATION]
        pool, values = [pool[i] for i in order], values[order]
    return best.result()


def _child(parents: Sequence[Brief], rng: np.random.Generator) -> Brief:
    if rng.random() < 0.2:
        return brief_with(rng)
    first, second = (parents[int(rng.integers(len(parents)))] for _ in range(2))
    header, other, new = values_of(first), values_of(second), any_header(rng)
    chance = {field: rng.random() for field in HEADER}
    mixed = {f: new[f] if chance[f] < 0.25 else (header if chance[f] < 0.65 else other)[f] for f in HEADER}
    return with_header(first, mixed)


def steered(model: LocalModel, base: LocalModel, objective: Objective, *, budget: int = 560, seed: int = 0) -> Found:
    """By the gradient: words of the header are swapped for those that should raise the divergence most, to first order.

    HotFlip (Ebrahimi et al. 2018) with the candidates evaluated for real, as in GCG (Zou et al. 2023): from `STARTS`
    random briefs side by side, `TOP` words of each field; a start that no swap improves begins anew. The gradient is
    that of the divergence at the program's first word with respect to the one-hot words of the header.
    """
    rng, best = np.random.default_rng([seed, 139]), _Best(budget)
    briefs, values = best.look(objective, [brief_with(rng) for _ in range(STARTS)])
    while best.seen < budget:
        steep = slopes(model, base, briefs)
        swaps = [each for brief, slope in zip(briefs, steep, strict=True) for each in _swaps(brief, slope)]
        tried, found = best.look(objective, swaps)
        per = len(HEADER) * TOP
        for i in range(len(briefs)):
            mine = found[i * per : (i + 1) * per]
            if len(mine) and mine.max() > values[i] * 1.01:
                top = i * per + int(mine.argmax())
                briefs[i], values[i] = tried[top], found[top]
            else:
                briefs[i] = brief_with(rng)
                values[i] = 0.0
    return best.result()


def _swaps(brief: Brief, slope: dict[str, np.ndarray]) -> list[Brief]:
    out = []
    for field, every in HEADER.items():
        order = np.argsort(-slope[field], kind="stable")[:TOP]
        out += [with_header(brief, {field: every[j]}) for j in order]
    return out


def slopes(model: LocalModel, base: LocalModel, briefs: Sequence[Brief]) -> list[dict[str, np.ndarray]]:
    """Field → (values,): how the divergence at the program's first word changes with each word of the header, to first
    order, a dictionary a brief."""
    known = {word: i for i, word in enumerate(words())}
    ids = [[1, *(known[word] for word in prompt(brief).split())] for brief in briefs]
    networks: list[Any] = [model.network, base.network]
    out = []
    for row in ids:  # lengths differ; a handful of rows
        text = torch.tensor([row], device=model.device)
        hot = torch.nn.functional.one_hot(text, len(known)).float().requires_grad_()
        said = [
            network(inputs_embeds=hot @ network.get_input_embeddings().weight.detach()).logits[0, -1]
            for network in networks
        ]
        mine, its = (each.log_softmax(-1) for each in said)
        (slope,) = torch.autograd.grad((mine.exp() * (mine - its)).sum(), hot)
        change = (slope[0] - slope[0].gather(1, text[0][:, None])).cpu()
        out.append({f: change[PLACES[f], [known[v] for v in every]].numpy() for f, every in HEADER.items()})
    return out
