"""Gradient-guided search for words that break a model whose weights one has (greedy coordinate gradient, GCG).

    place = Place(ids=ids, groups=((20,), (21,), (22,)), learned=tuple(range(26, 40)))
    found = suffix_attack(model, [place], allowed=[words] * 3, loss=target_loss, budget=Spend(steps=20), seed=0)
    found.words, found.loss, found.evaluations

The gradient of the loss with respect to one-hot words says which exchanges may help; a random batch of the best of them
is evaluated exactly, and the best one taken (Zou et al. 2023, 2307.15043, algorithm 1). Over several places the words
are shared: a universal suffix (algorithm 2, all places from the start). A group of positions holds one word wherever it
occurs, so that the same search renames an identifier throughout a text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from superalign.models import LocalModel, token_logprobs
from superalign.models.words import one_token_a_word


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One text under attack."""

    ids: tuple[int, ...]
    """Of the whole text: prompt, places to be filled, and what the model is to be made to say."""
    groups: tuple[tuple[int, ...], ...]
    """Positions that the attack may fill; all of a group hold the same word."""
    learned: tuple[int, ...] = ()
    """Positions of the tokens that `target_loss` wants said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """A white-box budget."""

    steps: int = 30
    """Gradients taken, one a place each."""
    batch: int = 48
    """Exchanges evaluated a step."""
    top: int = 24
    """Words of each group that the gradient recommends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The best words met, and what they cost."""

    words: tuple[int, ...]
    """Ids, one a group."""
    loss: float
    """Mean over places, of the best words."""
    started: float
    """The loss of the words it began with."""
    evaluations: int
    """Losses computed exactly, over all places."""
    gradients: int
    curve: tuple[float, ...]
    """The loss after each step."""


Loss = Callable[[LocalModel, torch.Tensor, torch.Tensor, Place], torch.Tensor]
"""(model, ids (batch, tokens), their embeddings, place) → (batch,): what the attack makes small."""


def target_loss(model: LocalModel, ids: torch.Tensor, embedded: torch.Tensor, place: Place) -> torch.Tensor:
    """Mean surprisal, in nats, of the tokens at the place's learned positions."""
    logits = model.network(inputs_embeds=embedded).logits
    at = torch.tensor(place.learned) - 1
    return -token_logprobs(logits, ids)[:, at].mean(1)


def vouching_loss(model: LocalModel, ids: torch.Tensor, embedded: torch.Tensor, place: Place) -> torch.Tensor:
    """The reward of the text, negative: an attack on a reviewer makes it vouch. Raises ValueError without a head."""
    if model.head is None:
        raise ValueError(f"{model.name} has no reward head: it can't vouch for anything")
    result = model.network(inputs_embeds=embedded, output_hidden_states=True)
    logprobs = token_logprobs(result.logits, ids)
    reward, _ = model.head(ids, result.hidden_states[-1], embedded, logprobs, torch.ones_like(logprobs))
    return -torch.as_tensor(reward)


def suffix_attack(
    model: LocalModel,
    places: Sequence[Place],
    *,
    allowed: Sequence[Sequence[int]],
    loss: Loss,
    budget: Spend,
    seed: int,
    start: Sequence[int] | None = None,
    apart: bool = False,
) -> Found:
    """The words, one a group, that make the mean loss over places smallest within the budget.

    `allowed` are the ids that each group may hold; it begins at `start`, or at random ones of them. `apart`: no two
    groups hold the same word. A subword model is only offered words that its own tokenizer would read back.
    Raises ValueError for no places, places of unlike groups, or a group that nothing is allowed in.
    """
    _check(places, allowed)
    rng = np.random.default_rng([seed, 109])
    options = [np.array(sorted(set(each))) for each in allowed]
    words = np.array(start) if start is not None else _begin(options, rng, apart=apart)
    model.network.eval()
    value = started = float(_losses(model, places, words[None], loss)[0])
    best, least, evaluations, curve = words, value, len(places), []
    for _ in range(budget.steps):
        slopes = _slopes(model, places, words, loss)
        tries = _exchanges(words, slopes, options, budget, rng, apart=apart)
        tries = tries if one_token_a_word(model.tokenizer) else _readable(model, places[0], tries)
        if len(tries):
            found = _losses(model, places, tries, loss)
            evaluations += len(tries) * len(places)
            words, value = tries[int(found.argmin())], float(found.min())
        if value < least:
            best, least = words, value
        curve.append(value)
    return Found(
        words=tuple(best.tolist()),
        loss=least,
        started=started,
        evaluations=evaluations,
        gradients=budget.steps * len(places),
        curve=tuple(curve),
    )


def _check(places: Sequence[Place], allowed: Sequence[Sequence[int]]) -> None:
    if not places:
        raise ValueError("no text to attack: pass one place or more")
    counts = {len(place.groups) for place in places}
    if counts != {len(allowed)}:
        raise ValueError(f"{len(allowed)} lists of allowed words for places of {sorted(counts)} groups")
    if empty := [i for i, each in enumerate(allowed) if not len(each)]:
        raise ValueError(f"no word is allowed in group {empty[0]}")


def _begin(options: Sequence[np.ndarray], rng: np.random.Generator, *, apart: bool) -> np.ndarray:
    words: list[int] = []
    for each in options:
        free = [word for word in each.tolist() if not apart or word not in words]
        if not free:
            raise ValueError("more groups than words to keep them apart with")
        words.append(int(rng.choice(free)))
    return np.array(words)


def filled(place: Place, words: np.ndarray) -> torch.Tensor:
    """(tries, groups) words in their places: (tries, tokens) ids."""
    ids = torch.tensor(place.ids).repeat(len(words), 1)
    for group, column in zip(place.groups, torch.from_numpy(words).T, strict=True):
        for position in group:
            ids[:, position] = column
    return ids


def _embedding(model: LocalModel) -> nn.Embedding:
    network: Any = model.network
    table: nn.Embedding = network.get_input_embeddings()
    return table


def _losses(model: LocalModel, places: Sequence[Place], words: np.ndarray, loss: Loss) -> np.ndarray:
    """(tries, groups) → (tries,): the exact mean loss over places."""
    embedding = _embedding(model)
    total = np.zeros(len(words))
    with torch.inference_mode():
        for place in places:
            ids = filled(place, words).to(model.device)
            total += loss(model, ids, embedding(ids), place).cpu().double().numpy()
    return np.asarray(total / len(places))


def _slopes(model: LocalModel, places: Sequence[Place], words: np.ndarray, loss: Loss) -> np.ndarray:
    """(groups, vocabulary): by how much the loss grows, to first order, were a group's word exchanged for each.

    A word is seen through its embedding: that another word is also harder or easier to foresee shows in evaluation.
    """
    embedding = _embedding(model)
    table = embedding.weight.detach()
    out = np.zeros((len(words), len(table)))
    for place in places:
        ids = filled(place, words[None]).to(model.device)
        embedded = embedding(ids).detach().requires_grad_(True)
        value = loss(model, ids, embedded, place).sum()
        (gradient,) = torch.autograd.grad(value, embedded)
        for g, group in enumerate(place.groups):
            out[g] += (table @ gradient[0, list(group)].sum(0)).cpu().double().numpy()
    return out


def _exchanges(
    words: np.ndarray,
    slopes: np.ndarray,
    options: Sequence[np.ndarray],
    budget: Spend,
    rng: np.random.Generator,
    *,
    apart: bool,
) -> np.ndarray:
    """Up to `batch` different exchanges of one word each, among the `top` that the gradient recommends a group."""
    offered = []
    for g, each in enumerate(options):
        taken = set(words.tolist()) if apart else {int(words[g])}
        order = each[np.argsort(slopes[g][each], kind="stable")]
        offered += [(g, int(word)) for word in order.tolist() if word not in taken][: budget.top] if len(each) else []
    chosen = rng.permutation(len(offered))[: budget.batch]
    tries = np.repeat(words[None], len(chosen), axis=0)
    for row, i in enumerate(chosen.tolist()):
        tries[row, offered[i][0]] = offered[i][1]
    return tries


def _readable(model: LocalModel, place: Place, tries: np.ndarray) -> np.ndarray:
    """Those tries whose text the model's tokenizer reads back as the same ids."""
    ids = filled(place, tries).tolist()
    texts = [model.tokenizer.decode(row, skip_special_tokens=False) for row in ids]
    again = model.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return tries[[i for i, (row, back) in enumerate(zip(ids, again, strict=True)) if row == back]]
