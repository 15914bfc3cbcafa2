"""Known answers: networks in which what a unit does is so by construction, and a copier that has learned its heads.

    case = planted("bigram", seed=0)
    case.model, case.site, case.unit, case.means       # "fires on 'w7' right after 'w3'"
    told = suite(explain, seeds=range(5))              # explain(model, corpus, site, unit) → an Explainer of the site
    told.right                                         # share explained rightly, with its interval

A planted network has one-hot parts of its stream for token, place and previous token; heads that copy, count or match
are set by hand; everything else is drawn as in a fresh network. The unit's gain and bias are fitted so that on and off
lie apart, and that is checked by its activations. An explanation is right if it predicts *when* the unit is on, on
fresh texts of another distribution than those it was made from: a shortcut that only holds there is no explanation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from superalign.interpretability.corpus import Corpus, packed
from superalign.interpretability.explanation import Explainer
from superalign.interpretability.units import Site, activations, neurons
from superalign.models import LocalModel
from superalign.models.words import word_tokenizer
from superalign.stats import Interval, best_cut, proportion_interval

Kind = Literal["token", "bigram", "position", "counting", "induction"]
KINDS: tuple[Kind, ...] = ("token", "bigram", "position", "counting", "induction")
WORDS = ("<pad>", "<bos>", "<eos>", "<unk>", *(f"w{i}" for i in range(36)))
VOCABULARY, PLACES, WIDTH, HEADS, NEURONS = len(WORDS), 32, 160, 4, 64
BOS, FIRST = 1, 4
"""Ids of the start token, and of the first word."""
PLACE, COPY, SIGNAL = VOCABULARY, VOCABULARY + PLACES, 2 * VOCABULARY + PLACES
"""Where the stream holds a token's place and the previous token, and one number that a head made."""
HOT = 8.8
"""A one-hot feature after the layer norm of a stream that holds two of them."""
ENOUGH = 0.95
"""F1 of on and off from which an explanation counts as right."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planted:
    """A network, the unit that is known, and what is true of it."""

    kind: Kind
    seed: int
    model: LocalModel
    site: Site
    unit: int
    means: str
    """In words."""
    words: tuple[str, ...]
    """That an explanation in words has to name."""
    on: Callable[[np.ndarray], np.ndarray]
    """Ids (rows, length) → (rows, length) bool: is the unit on?"""
    heads: tuple[tuple[str, tuple[int, int]], ...]
    """Heads that were planted for it, by pattern: (pattern, (block, head))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How one planted unit was explained."""

    kind: Kind
    seed: int
    right: bool
    f1: float
    named: bool
    """Does the text name every word it has to?"""
    text: str
    note: str = ""
    """Why there is nothing to score, where that is so; it counts as wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The suite's outcome."""

    answers: tuple[Answer, ...]
    right: Interval
    named: Interval

    def of(self, kind: Kind) -> Interval:
        """Share of one kind that was explained rightly."""
        return proportion_interval([float(a.right) for a in self.answers if a.kind == kind])


def planted(kind: Kind, seed: int) -> Planted:
    """A two-block network with one unit of a kind; what it fires on is drawn by the seed.

    Raises ValueError for an unknown kind, and where on and off could not be set apart.
    """
    if kind not in KINDS:
        raise ValueError(f"no planted kind {kind!r}: use one of {', '.join(KINDS)}")
    rng = np.random.default_rng([seed, KINDS.index(kind), 79])
    network = _fresh(seed, rng)
    means, words, on, feature, found = _choose(kind, rng)
    _previous_head(network.transformer.h[0].attn)
    if kind == "counting":
        _counting_head(network.transformer.h[0].attn, WORDS.index(words[0]))
    if kind == "induction":
        _matching_head(network.transformer.h[1].attn)
    model = LocalModel(name=f"planted-{kind}-{seed}", network=network, tokenizer=word_tokenizer(WORDS))
    site, unit = neurons(model)[1 if kind == "induction" else 0], int(rng.integers(NEURONS))
    case = Planted(
        kind=kind, seed=seed, model=model, site=site, unit=unit, means=means, words=words, on=on, heads=found
    )
    _plant(case, feature, rng)
    return Planted(**{f: getattr(case, f) for f in case.__slots__} | {"model": model.sealed()})


Choice = tuple[str, tuple[str, ...], Callable[[np.ndarray], np.ndarray], np.ndarray, tuple[Any, ...]]


def _choose(kind: Kind, rng: np.random.Generator) -> Choice:
    """(in words, words to name, when it is on, direction of the normed stream, planted heads)."""
    a, b, c = (int(i) for i in rng.choice(np.arange(FIRST, VOCABULARY), 3, replace=False))
    feature, previous = np.zeros(WIDTH), (("previous", (0, 0)),)
    if kind == "token":
        some = [a, b, c][: int(rng.integers(1, 4))]
        feature[some] = 1
        words = tuple(WORDS[i] for i in some)
        return f"fires on {', '.join(words)}", words, lambda ids: np.isin(ids, some), feature, ()
    if kind == "bigram":
        feature[[b, COPY + a]] = 1
        means = f"fires on {WORDS[b]} right after {WORDS[a]}"
        return means, (WORDS[a], WORDS[b]), lambda ids: (ids == b) & (_before(ids) == a), feature, previous
    if kind == "position":
        first = int(rng.integers(2, 12))
        last = first if rng.random() < 0.5 else PLACES - 1
        feature[PLACE + first : PLACE + last + 1] = 1

        def there(ids: np.ndarray) -> np.ndarray:
            place = np.arange(ids.shape[1])
            return np.broadcast_to((place >= first) & (place <= last), ids.shape)

        return f"fires on places {first} to {last}", (), there, feature, ()
    feature[SIGNAL] = -1
    if kind == "counting":
        least = int(rng.integers(2, 4))
        means = f"fires once {WORDS[a]} has come {least} times"
        return means, (WORDS[a],), lambda ids: np.cumsum(ids == a, axis=1) >= least, feature, ()
    both = (*previous, ("induction", (1, 0)))
    return "fires on tokens that came before in the sequence", (), repeats, feature, both


def repeats(ids: np.ndarray) -> np.ndarray:
    """(rows, length) bool: did the token come before?"""
    same: np.ndarray = np.tril(ids[:, :, None] == ids[:, None, :], k=-1).any(2)
    return same


def _before(ids: np.ndarray) -> np.ndarray:
    return np.concatenate([np.full((len(ids), 1), -1), ids[:, :-1]], axis=1)


def _fresh(seed: int, rng: np.random.Generator) -> Any:
    """A fresh network whose embeddings are one-hot for token and place, with small random rest."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    made: Any = GPT2LMHeadModel
    network = made(
        GPT2Config(
            vocab_size=VOCABULARY, n_positions=PLACES, n_embd=WIDTH, n_layer=2, n_head=HEADS, n_inner=NEURONS,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        )
    ).eval()  # fmt: skip
    rest = WIDTH - SIGNAL - 1
    with torch.no_grad():
        for table, at in ((network.transformer.wte.weight, 0), (network.transformer.wpe.weight, PLACE)):
            table.zero_()
            table[:, at : at + len(table)] = torch.eye(len(table))
            table[:, SIGNAL + 1 :] = torch.from_numpy(0.02 * rng.standard_normal((len(table), rest)))
        for block in network.transformer.h:
            block.attn.c_proj.weight[:, : SIGNAL + 1] = 0  # what nobody planted writes to the free part only
            block.mlp.c_proj.weight[:, : SIGNAL + 1] = 0
    return network


def _columns(attention: Any, head: int) -> tuple[Any, Any, Any, Any]:
    """Views of one head's weights: query, key, value (width, d) and output (d, width)."""
    d = WIDTH // HEADS
    weight = attention.c_attn.weight
    parts = [weight[:, i * WIDTH + head * d : i * WIDTH + (head + 1) * d] for i in range(3)]
    return parts[0], parts[1], parts[2], attention.c_proj.weight[head * d : (head + 1) * d]


@torch.no_grad()
def _previous_head(attention: Any) -> None:
    """Head 0: attends to the place before, and copies its token to the stream's COPY part."""
    query, key, value, out = _columns(attention, 0)
    for part in (query, key, value, out):
        part.zero_()
    place = torch.arange(PLACES)
    query[PLACE + place[1:], place[:-1]] = 1.2
    key[PLACE + place, place] = 1.2
    token = torch.arange(VOCABULARY)
    value[token, token] = 1 / HOT
    out[token, COPY + token] = 1


@torch.no_grad()
def _counting_head(attention: Any, word: int) -> None:
    """Head 1: attends to the start token and to each occurrence of a word alike; SIGNAL is 1/(1 + their number)."""
    query, key, value, out = _columns(attention, 1)
    for part in (query, key, value, out):
        part.zero_()
    attention.c_attn.bias[WIDTH // HEADS] = 1.0
    key[[word, BOS], 0] = 11.0
    value[BOS, 0] = 1 / HOT
    out[0, SIGNAL] = 1


@torch.no_grad()
def _matching_head(attention: Any) -> None:
    """Head 0: attends to what followed the same token, or to the start token, and then SIGNAL is 1."""
    query, key, value, out = _columns(attention, 0)
    for part in (query, key, value, out):
        part.zero_()
    token = torch.arange(FIRST, VOCABULARY)
    query[token, token] = 1.5
    key[COPY + token, token] = 1.5
    attention.c_attn.bias[0] = 1.5 * HOT / 2  # column 0 is no word's: half a match, for the start token
    key[BOS, 0] = 1.5
    value[BOS, 0] = 1 / HOT
    out[0, SIGNAL] = 1


def _plant(case: Planted, feature: np.ndarray, rng: np.random.Generator) -> None:
    """Set the unit's weights, gain and bias: before the activation it is at least 2 when on, at most −3 when off."""
    network: Any = case.model.network
    block = network.transformer.h[case.site.layer]
    ids = sequences(case, 250, rng=rng, shifted=False)
    ids = np.concatenate([ids, sequences(case, 250, rng=rng, shifted=True)])
    normed: list[torch.Tensor] = []
    handle = block.ln_2.register_forward_hook(lambda module, given, made: normed.append(made))
    with torch.inference_mode():
        network(input_ids=torch.from_numpy(ids))
    handle.remove()
    raw = (normed[0][:, 1:].double().numpy() @ feature).ravel()
    on = case.on(ids)[:, 1:].ravel()
    low, high = float(raw[on].min()), float(raw[~on].max())
    if not low > high:
        raise ValueError(f"{case.model.name}: on from {low:.3f} and off to {high:.3f} overlap: take another seed")
    gain = 5 / (low - high)
    with torch.no_grad():
        block.mlp.c_fc.weight[:, case.unit] = torch.from_numpy(gain * feature)
        block.mlp.c_fc.bias[case.unit] = 2 - gain * low
        block.mlp.c_proj.weight[case.unit, FIRST:VOCABULARY] = torch.from_numpy(0.3 * rng.standard_normal(36))


def sequences(case: Planted, rows: int, *, rng: np.random.Generator, shifted: bool) -> np.ndarray:
    """(rows, PLACES) ids: words drawn unevenly, as in text; `shifted` ones evenly, with more of what it is about."""
    weight = np.ones(36) if shifted else 1 / np.arange(2, 38) ** 0.7
    order = np.random.default_rng(case.seed).permutation(36)
    ids = FIRST + order[rng.choice(36, (rows, PLACES), p=weight / weight.sum())]
    known = [WORDS.index(word) for word in case.words]
    if known:  # each word of the answer, and both together, come about as often as not
        put = rng.random(ids.shape) < (0.12 if shifted else 0.08)
        ids[put] = rng.choice(known, int(put.sum()))
    if case.kind == "bigram":
        after = (ids[:, :-1] == known[0]) & (rng.random(ids[:, 1:].shape) < 0.5)
        ids[:, 1:][after] = known[1]
    if case.kind == "induction":  # few repeats in some sequences, many in others
        ids[::2] = np.stack([FIRST + rng.permutation(36)[:PLACES] for _ in ids[::2]])
        for row in ids[::2]:
            at = rng.choice(PLACES, 6, replace=False)
            row[at[:3]] = row[at[3:]]
    ids[:, 0] = BOS
    return ids


def corpus_of(case: Planted, *, rows: int = 480, documents: int = 24, seed: int = 0) -> Corpus:
    """Texts to explain the unit from, in the order that a corpus has."""
    rng = np.random.default_rng([seed, case.seed, 83])
    ids = sequences(case, rows, rng=rng, shifted=False)
    split = np.array_split(np.arange(rows), documents)
    named = {f"text {i}": [ids[row].tolist() for row in part] for i, part in enumerate(split)}
    return packed(named, length=PLACES, pad=0, skip=1)


def activation_of(case: Planted, ids: np.ndarray) -> np.ndarray:
    """(rows, length) what the unit does."""
    lengths = np.full(len(ids), ids.shape[1])
    parts = [found[case.site.name][..., case.unit] for found in activations(case.model, [case.site], ids, lengths)]
    return np.concatenate(parts)


Explain = Callable[[LocalModel, Corpus, Site, int], Explainer]
"""(network, texts, site, unit) → what explains the site; only the unit's own column and words are asked of it."""


def suite(explain: Explain, *, kinds: Sequence[Kind] = KINDS, seeds: Iterable[int] = range(4)) -> Known:
    """Have planted units explained, and score the explanations on fresh texts of another distribution.

    On and off are told apart by the cut of the predictions that best parts on from off on the corpus' dev texts, by the
    unit's own activation. Predictions that aren't numbers, of another shape, or all the same count as wrong.
    """
    answers = tuple(_answer(planted(kind, seed), explain) for seed in seeds for kind in kinds)
    return Known(
        answers=answers,
        right=proportion_interval([float(answer.right) for answer in answers]),
        named=proportion_interval([float(answer.named) for answer in answers]),
    )


def _answer(case: Planted, explain: Explain) -> Answer:
    corpus = corpus_of(case)
    explainer = explain(case.model, corpus, case.site, case.unit)
    text = explainer.explanation(case.unit).text
    named = set(case.words) <= set(re.findall(r"\w+", text))
    fresh = sequences(case, 250, rng=np.random.default_rng([case.seed, 89]), shifted=True)
    dev = corpus.ids[corpus.rows("dev")]
    known, asked = (_predicted(explainer, ids, case.unit) for ids in (dev, fresh))
    note, f1 = "", 0.0
    if known is None or asked is None:
        note = "predictions are not finite numbers, (rows, length, units)"
    elif np.ptp(known[:, 1:]) == 0:
        note = "predictions are all the same"
    else:
        on = activation_of(case, dev)[:, 1:] > 1
        cut = best_cut(known[:, 1:][~on], known[:, 1:][on])
        f1 = _f1(asked[:, 1:] > cut, case.on(fresh)[:, 1:])
    return Answer(kind=case.kind, seed=case.seed, right=f1 >= ENOUGH, f1=f1, named=named, text=text, note=note)


def _predicted(explainer: Explainer, ids: np.ndarray, unit: int) -> np.ndarray | None:
    """(rows, length), or None where that is not what comes."""
    told = explainer.predict(ids, np.full(len(ids), ids.shape[1]))
    if told.ndim != 3 or told.shape[:2] != ids.shape or told.shape[2] <= unit:
        return None
    column: np.ndarray = told[:, :, unit]
    return column if np.isfinite(column[:, 1:]).all() else None


def _f1(said: np.ndarray, true: np.ndarray) -> float:
    both = int((said & true).sum())
    return 2 * both / max(1, int(said.sum()) + int(true.sum()))
