"""Heads that people know: which attend to the token before, to the same token, and to what followed it last time.

    ids, half = repeated(model, rows=32, half=24, seed=0)           # <bos> r r, r random tokens
    scores = head_scores(model, ids, half)
    layer, head = scores.best("induction")
    ablated(model, ids, half, [(layer, head)], seed=0).rise         # of the second copy's loss

Attention patterns are read with `eager` attention, since others never make them: `attending` switches to it and back.
Patterns and both measures: TransformerLens' `detect_head`; induction heads: Olsson et al. 2022 (2209.11895).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from superalign.interpretability.causal import raw_of, with_raw
from superalign.interpretability.units import ROWS, Site, body_of, heads, tapped
from superalign.models import LocalModel, token_logprobs
from superalign.stats import Interval, mean_interval, paired_difference

Pattern = Literal["previous", "duplicate", "induction"]
PATTERNS: tuple[Pattern, ...] = ("previous", "duplicate", "induction")
MEASURES = ("mul", "abs")
Head = tuple[int, int]
"""(block, number in it), from 0."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadScores:
    """How far each head attends as a pattern says."""

    mul: dict[Pattern, np.ndarray]
    """(sequences, blocks, heads) share of attention on the pattern, over tokens that have a place to attend to."""
    abs: dict[Pattern, np.ndarray]
    """(sequences, blocks, heads) 1 − Σ|attention − pattern|, the pattern's row scaled to sum 1: from −1 to 1."""

    def mean(self, pattern: Pattern, measure: Literal["mul", "abs"] = "mul") -> np.ndarray:
        """(blocks, heads) mean over sequences."""
        values: np.ndarray = (self.mul if measure == "mul" else self.abs)[pattern].mean(0)
        return values

    def interval(self, pattern: Pattern, head: Head) -> Interval:
        """Of one head's share of attention, over sequences."""
        return mean_interval(self.mul[pattern][:, head[0], head[1]])

    def best(self, pattern: Pattern) -> Head:
        """The head with the largest share."""
        layer, number = np.unravel_index(int(self.mean(pattern).argmax()), self.mean(pattern).shape)
        return int(layer), int(number)

    def found(self, pattern: Pattern, *, least: float = 0.5) -> tuple[Head, ...]:
        """Heads with at least such a share on average, the clearest first."""
        mean = self.mean(pattern)
        order = np.argsort(-mean, axis=None, kind="stable")
        return tuple((int(i) // mean.shape[1], int(i) % mean.shape[1]) for i in order if mean.flat[i] >= least)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadAblation:
    """Losses on repeated random tokens with some heads at their mean, nats a token; over sequences."""

    heads: tuple[Head, ...]
    first: Interval
    """First copy, as it is: nothing can predict it."""
    second: Interval
    """Second copy, as it is."""
    without: Interval
    """Second copy without the heads."""
    rise: Interval
    """`without` minus `second`."""
    others: Interval | None
    """The same rise for as many other heads, drawn at random; None where there are no others."""


def repeated(
    model: LocalModel, *, rows: int, half: int, seed: int, words: Sequence[str] | None = None
) -> tuple[np.ndarray, int]:
    """(ids (rows, 1 + 2·half), half): a start token, then random tokens twice over, of the vocabulary or of `words`.

    Tokens of one copy are all different where the vocabulary allows it. Raises ValueError where the context is too
    short, or a word is unknown.
    """
    limit = model.context
    special = {int(i) for i in model.tokenizer.all_special_ids}
    known = {word: int(i) for word, i in model.tokenizer.get_vocab().items()}
    missing = [word for word in words or () if word not in known]
    if half < 2 or 2 * half + 1 > limit or missing:
        raise ValueError(
            f"{model.name}: copies of {half} tokens in a context of {limit}"
            f"{f', unknown word {missing[0]!r}' if missing else ''}: take 2 to {(limit - 1) // 2} known ones"
        )
    pool = np.array([known[w] for w in words] if words else sorted(set(known.values()) - special))
    rng = np.random.default_rng([seed, 71])
    copies = np.stack([rng.choice(pool, half, replace=len(pool) < half) for _ in range(rows)])
    start = model.tokenizer.bos_token_id
    edge = np.full((rows, 1), model.pad if start is None else int(start))
    return np.concatenate([edge, copies, copies], axis=1), half


def target(ids: np.ndarray, pattern: Pattern) -> np.ndarray:
    """(rows, length, length) bool: where a token of the pattern attends to.

    `previous`: the token before. `duplicate`: earlier occurrences of the same token. `induction`: what followed those.
    """
    length = ids.shape[1]
    if pattern == "previous":
        before: np.ndarray = np.broadcast_to(np.eye(length, k=-1, dtype=bool), (len(ids), length, length))
        return before
    same: np.ndarray = np.tril(ids[:, :, None] == ids[:, None, :], k=-1)
    if pattern == "duplicate":
        return same
    after = np.zeros_like(same)
    after[:, :, 1:] = same[:, :, :-1]
    return after


@contextmanager
def attending(model: LocalModel, how: str) -> Iterator[None]:
    """While open, attention is computed by transformers' implementation `how`; afterwards as before.

    `eager` makes patterns that can be read. Raises ValueError for an architecture that can't be switched.
    """
    network: Any = model.network
    before = network.config._attn_implementation
    network.set_attn_implementation(how)
    try:
        if network.config._attn_implementation != how:
            raise ValueError(
                f"{model.name}: its attention can't be switched from {before!r}: load it with "
                f"attn_implementation={how!r} to see what it attends to"
            )
        yield
    finally:
        network.set_attn_implementation(before)


def patterns(model: LocalModel, ids: np.ndarray, *, rows: int = ROWS) -> Iterator[np.ndarray]:
    """(some rows, blocks, heads, length, length) attention of full sequences, `rows` at a time.

    Raises ValueError for a model that gives none, or not one for each block.
    """
    body = body_of(model).eval()
    with attending(model, "eager"), torch.inference_mode():
        for start in range(0, len(ids), rows):
            given = torch.from_numpy(ids[start : start + rows].astype(np.int64)).to(model.device)
            made = body(input_ids=given, output_attentions=True, use_cache=False).attentions
            if not made or len(made) != model.layers or any(layer is None for layer in made):
                raise ValueError(f"{model.name}: attention patterns of {len(made or ())} blocks, {model.layers} wanted")
            yield torch.stack(list(made), dim=1).float().cpu().numpy()


def head_scores(model: LocalModel, ids: np.ndarray, half: int) -> HeadScores:
    """Scores of every head on `repeated` ids. Raises ValueError as `patterns` does.

    Counted are tokens that the pattern gives a place: all after the first for `previous`, the second copy else.
    """
    mul: dict[Pattern, list[np.ndarray]] = {pattern: [] for pattern in PATTERNS}
    away: dict[Pattern, list[np.ndarray]] = {pattern: [] for pattern in PATTERNS}
    at = 0
    for attention in patterns(model, ids):
        some = ids[at : at + len(attention)]
        at += len(attention)
        for pattern in PATTERNS:
            from_here = np.arange(some.shape[1]) >= (1 if pattern == "previous" else half + 1)
            wanted: Any = target(some, pattern) & from_here[:, None]
            rows = np.maximum(wanted.any(2).sum(1), 1)[:, None, None]
            share = (attention * wanted[:, None, None]).sum((3, 4)) / rows
            scaled = wanted / np.maximum(wanted.sum(2, keepdims=True), 1)
            apart = np.abs(attention - scaled[:, None, None]).sum(4) * wanted.any(2)[:, None, None]
            mul[pattern].append(share)
            away[pattern].append(1 - apart.sum(3) / rows)
    return HeadScores(
        mul={pattern: np.concatenate(mul[pattern]) for pattern in PATTERNS},
        abs={pattern: np.concatenate(away[pattern]) for pattern in PATTERNS},
    )


def ablated(model: LocalModel, ids: np.ndarray, half: int, chosen: Sequence[Head], *, seed: int) -> HeadAblation:
    """Set heads' mixtures to their mean over all tokens given, and read the loss of the second copy.

    Raises ValueError for no head, or one that is not there.
    """
    sites = {site.layer: site for site in heads(model)}
    bad = [head for head in chosen if head[0] not in sites or not 0 <= head[1] < sites[head[0]].units]
    if bad or not chosen:
        raise ValueError(f"{model.name}: {bad[0] if bad else 'no head'}: name heads as (block, number), from (0, 0)")
    mean = _means(model, list(sites.values()), ids)
    first, second = _copy_losses(model, ids, half)
    _, without = _copy_losses(model, ids, half, _at_mean(sites, mean, chosen))
    rest = [(b, h) for b, site in sites.items() for h in range(site.units) if (b, h) not in set(chosen)]
    others = None
    if len(rest) >= len(chosen):
        drawn = [rest[i] for i in np.random.default_rng([seed, 73]).permutation(len(rest))[: len(chosen)]]
        others = paired_difference(_copy_losses(model, ids, half, _at_mean(sites, mean, drawn))[1], second)
    return HeadAblation(
        heads=tuple(chosen),
        first=mean_interval(first),
        second=mean_interval(second),
        without=mean_interval(without),
        rise=paired_difference(without, second),
        others=others,
    )


Change = tuple[Sequence[Site], Callable[[Site, torch.Tensor], torch.Tensor | None]]


def _at_mean(sites: dict[int, Site], mean: dict[str, torch.Tensor], chosen: Sequence[Head]) -> Change:
    by_layer = {layer: [head for where, head in chosen if where == layer] for layer, _ in chosen}

    def put(site: Site, tensor: torch.Tensor) -> torch.Tensor:
        units = by_layer[site.layer]
        return with_raw(site, tensor, units, mean[site.name][units].expand(*tensor.shape[:2], -1, -1))

    return [sites[layer] for layer in by_layer], put


def _means(model: LocalModel, sites: Sequence[Site], ids: np.ndarray) -> dict[str, torch.Tensor]:
    """Site name → (heads, d) mean mixture over all tokens after the first."""
    sums: dict[str, torch.Tensor] = {}

    def keep(site: Site, tensor: torch.Tensor) -> None:
        sums[site.name] = sums.get(site.name, torch.zeros(())) + raw_of(site, tensor)[:, 1:].double().sum((0, 1))

    with torch.inference_mode(), tapped(model, sites, keep):
        for start in range(0, len(ids), ROWS):
            given = torch.from_numpy(ids[start : start + ROWS].astype(np.int64)).to(model.device)
            body_of(model)(input_ids=given, use_cache=False)
    tokens = len(ids) * (ids.shape[1] - 1)
    return {name: (total / tokens).float() for name, total in sums.items()}


def _copy_losses(
    model: LocalModel, ids: np.ndarray, half: int, change: Change | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(sequences,) loss of the first copy and of the second without its first token, which nothing predicts."""
    losses = []
    sites, put = change or ((), lambda site, tensor: None)
    with torch.inference_mode(), tapped(model, sites, put):
        for start in range(0, len(ids), ROWS):
            given = torch.from_numpy(ids[start : start + ROWS].astype(np.int64)).to(model.device)
            losses.append(-token_logprobs(model.network(input_ids=given).logits.float(), given).cpu().double().numpy())
    all_losses = np.concatenate(losses)
    return all_losses[:, :half].mean(1), all_losses[:, half + 1 :].mean(1)
