"""What a reward model or judge goes by: effects of words on a score, by cutting, swapping, sweeping and gradients.

    score = score_of(body)                       # or reward_of(model), or any function from texts to scores
    cut = leave_one_out(score, texts)            # per text, what each word adds
    swept = sweep(score, ["return {} . v2"], words)
    rank_agreement({"cut": cut, "gradient": gradient_times_input(body, texts)})

Cutting a word leaves text that nobody writes; a *matched edit* puts another word of its class there instead. Both are
causal; gradients are not, and their agreement says what they are worth. All variants of all texts are scored in one
call, each once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from keyword import iskeyword
from typing import Any

import numpy as np
import torch
from scipy import stats as scipy_stats
from torch import nn

from superalign.models import LocalModel, reward_forward
from superalign.models.local import buckets
from superalign.models.words import word_sums
from superalign.stats import Interval, mean_interval
from superalign.tasks.lexer import INDENTS, NUMBER, SLOTS, STRING
from superalign.training.bodies import Body
from superalign.training.bodies_head import pooled

Score = Callable[[Sequence[str]], np.ndarray]
"""Texts → (texts,) scores, higher for better."""


def reward_of(model: LocalModel) -> Score:
    """Rewards of a model with a reward head."""
    return lambda texts: np.array([reading.reward for reading in model.read(texts)])


def score_of(body: Body) -> Score:
    """Scores of single texts under a fine-tuned body, fitted on pairs or on singles."""

    def score(texts: Sequence[str]) -> np.ndarray:
        ids, out = body.model.encode(texts), np.zeros(len(texts))
        body.model.network.eval()
        with torch.inference_mode():
            for rows, batch, mask in buckets(ids, pad=body.model.pad, device=body.model.device):
                scores = body.head(pooled(body.model.network, batch, mask, body.pool))
                out[rows] = scores.cpu().double().numpy()
        return out

    return score


def scored(score: Score, texts: Sequence[str]) -> np.ndarray:
    """(texts,) scores, each distinct text scored once. Raises ValueError where a score is not finite."""
    places: dict[str, int] = {}
    rows = [places.setdefault(text, len(places)) for text in texts]
    values = np.asarray(score(list(places)), dtype=np.float64) if places else np.zeros(0)
    if values.shape != (len(places),) or not np.isfinite(values).all():
        raise ValueError(f"{len(places)} texts got scores of shape {values.shape}, finite: {np.isfinite(values).all()}")
    return values[rows] if rows else values


def word_classes(words: Sequence[str]) -> dict[str, str]:
    """The class of each word of code, for matched edits: slot, name, keyword, constant, bracket, operator or layout.

    Words of the family's contexts and its own tokens, as `<by:none>`, have none.

    >>> word_classes(["v3", "return", "(", "<L1>", "<bos>"])
    {'v3': 'slot', 'return': 'keyword', '(': 'bracket', '<L1>': 'layout'}
    """
    found = {}
    for word in words:
        if word in SLOTS:
            found[word] = "slot"
        elif word in INDENTS:
            found[word] = "layout"
        elif word in (STRING, NUMBER, "None", "True", "False"):
            found[word] = "constant"
        elif iskeyword(word):
            found[word] = "keyword"
        elif word.isidentifier():
            found[word] = "name"
        elif len(word) == 1 and word in "()[]{}":
            found[word] = "bracket"
        elif not word.startswith("<") or word in ("<", "<="):
            found[word] = "operator"
    return found


def leave_one_out(score: Score, texts: Sequence[str], *, skip: int = 0) -> list[np.ndarray]:
    """Per text (words,): its score less that without the word; NaN for the first `skip` words, which stay."""
    words = [text.split() for text in texts]
    spots = [(row, at) for row, each in enumerate(words) for at in range(skip, len(each))]
    variants = [" ".join((*words[row][:at], *words[row][at + 1 :])) for row, at in spots]
    return _effects(score, words, spots, variants, tries=1)


def matched_edits(
    score: Score,
    texts: Sequence[str],
    classes: Mapping[str, str],
    *,
    tries: int = 4,
    skip: int = 0,
    seed: int = 0,
) -> list[np.ndarray]:
    """Per text (words,): its score less the mean of `tries` versions with another word of the same class in its place.

    `classes` says the class of each word; NaN for words without one, or alone in it, and for the first `skip`.
    """
    rng, words = np.random.default_rng([seed, 71]), [text.split() for text in texts]
    mates: dict[str, list[str]] = {}
    for word in sorted(classes):
        mates.setdefault(classes[word], []).append(word)
    spots, variants = [], []
    for row, each in enumerate(words):
        for at in range(skip, len(each)):
            others = [word for word in mates.get(classes.get(each[at], ""), []) if word != each[at]]
            if others:
                spots.append((row, at))
                drawn = rng.choice(others, size=tries, replace=len(others) < tries)
                variants += [" ".join((*each[:at], str(word), *each[at + 1 :])) for word in drawn]
    return _effects(score, words, spots, variants, tries=tries)


def _effects(
    score: Score, words: Sequence[Sequence[str]], spots: Sequence[tuple[int, int]], variants: list[str], *, tries: int
) -> list[np.ndarray]:
    said = scored(score, [" ".join(each) for each in words] + variants)
    changed = said[len(words) :].reshape(-1, tries).mean(1)
    out = [np.full(len(each), np.nan) for each in words]
    for (row, at), value in zip(spots, changed, strict=True):
        out[row][at] = said[row] - value
    return out


def sweep(score: Score, frames: Sequence[str], words: Sequence[str]) -> np.ndarray:
    """(frames, words) scores of every word at every `{}` of each frame, "{}" alone being the word as the whole text.

    Raises ValueError for a frame without a place.
    """
    bad = [frame for frame in frames if "{}" not in frame.split()]
    if bad:
        raise ValueError(f"frame {bad[0]!r} has no word {{}} to put others for")
    texts = [" ".join(w if part == "{}" else part for part in frame.split()) for frame in frames for w in words]
    return scored(score, texts).reshape(len(frames), len(words))


def gradient_times_input(model: LocalModel | Body, texts: Sequence[str]) -> list[np.ndarray]:
    """Per text (words,): gradient of the score by the word's embedding, times the embedding; tokens of a word add up.

    The code that a reward head has of each token counts too. Raises ValueError for a model without reward head, or a
    tokenizer that does not say where tokens stand.
    """
    local = model if isinstance(model, LocalModel) else model.model
    if isinstance(model, LocalModel) and model.head is None:
        raise ValueError(f"{model.name} has no reward head: there is no score to take the gradient of")
    if not getattr(local.tokenizer, "is_fast", False):
        raise ValueError(f"{local.name}: its tokenizer does not say where tokens stand: load a fast tokenizer")
    spans = local.tokenizer(list(texts), add_special_tokens=True, return_offsets_mapping=True)["offset_mapping"]
    ids, out = local.encode(texts), [np.zeros(0)] * len(texts)
    for rows, batch, mask in buckets(ids, pad=local.pad, device=local.device):
        values = _gradient(model, batch, mask)
        for row, line in zip(rows, values, strict=True):
            places = [(0, 0), *spans[row][: len(ids[row])]]
            out[row] = word_sums(texts[row], places, line[: len(ids[row])])
    return out


def _gradient(model: LocalModel | Body, ids: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """(rows, tokens) gradient × input."""
    local, head = (model, model.head) if isinstance(model, LocalModel) else (model.model, None)
    network: Any = local.network.eval()
    read = [network.get_input_embeddings()] + ([] if head is None else [head.identity])
    with torch.enable_grad(), _leaves(read) as leaves:
        if isinstance(model, Body):
            score = model.head(pooled(network, ids, mask, model.pool)).sum()
        elif head is not None:
            score = reward_forward(network, head, ids, mask)[0].sum()
        made = list(leaves.values())
        parts = [(leaf.detach() * g).sum(-1) for leaf, g in zip(made, torch.autograd.grad(score, made), strict=True)]
    total = parts[0].clone()
    for part in parts[1:]:
        total[:, total.shape[1] - part.shape[1] :] += part  # a head's codes begin with the second token
    return total.cpu().double().numpy()


@contextmanager
def _leaves(modules: Sequence[nn.Module]) -> Iterator[dict[nn.Module, torch.Tensor]]:
    """While open, what these embeddings give is a leaf of the graph, the same one at each call."""
    found: dict[nn.Module, torch.Tensor] = {}

    def after(module: nn.Module, given: object, made: torch.Tensor) -> torch.Tensor:
        return found.setdefault(module, made.detach().requires_grad_())

    handles = [module.register_forward_hook(after) for module in modules]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def rank_agreement(
    effects: Mapping[str, Sequence[np.ndarray]], *, clusters: Sequence[str] | None = None
) -> dict[tuple[str, str], Interval]:
    """Mean over texts of Spearman's correlation between each two methods' effects, over words that both have.

    Texts where one of them has no spread, or fewer than three words, can't be ranked and are left out: `n` says so.
    """
    out: dict[tuple[str, str], Interval] = {}
    for first, second in combinations(effects, 2):
        values, kept = [], []
        for row, (a, b) in enumerate(zip(effects[first], effects[second], strict=True)):
            both = np.isfinite(a) & np.isfinite(b)
            if both.sum() >= 3 and np.ptp(a[both]) > 0 and np.ptp(b[both]) > 0:
                values.append(float(scipy_stats.spearmanr(a[both], b[both]).statistic))
                kept.append(row if clusters is None else clusters[row])
        out[first, second] = mean_interval(values, clusters=kept)
    return out
