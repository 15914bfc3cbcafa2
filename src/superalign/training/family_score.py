"""How a family member tells a sound function from the same with one edit, seeing both (the pair view).

    pair_decision(pair_scores(load_model("family:l"), [(source_a, source_b)]))      # above 0: a is the sound one

`likelihood` is log p(a) − log p(b) in nats over the window round the edit; `doubt` is by how many nats the verdict
words of `l` doubt b more than a from the edit on (zeros for members that have none). `pair_decision` adds the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from superalign.models import LocalModel
from superalign.models.local import buckets
from superalign.tasks import lexer
from superalign.training.family_faults import splice
from superalign.training.family_text import VERDICTS, coded, dressed, large_ids, large_words, rich_tokens
from superalign.training.products import fast_products, product

AFTER = 24
"""Tokens after an edit that a window keeps, as in training."""


class Side(NamedTuple):
    """One side of a pair as ids, and where the edited span begins and ends."""

    ids: list[int]
    begin: int
    end: int


class PairScores(NamedTuple):
    """Per pair, above 0 when the first looks sound: log-likelihood and doubt, tokens the first has more."""

    likelihood: np.ndarray
    doubt: np.ndarray
    longer: np.ndarray


def pair_sides(a: str, b: str, *, room: int, rng: np.random.Generator, small: bool) -> tuple[Side, Side] | None:
    """Both sources as at most `room` ids round their one edit, with the same slots; None when they read the same."""
    names: dict[str, int] = {}
    codes = [coded(rich_tokens(source), names) for source in (a, b)]
    both = dressed(np.concatenate(codes), rng, small=small)
    first, second = both[: len(codes[0])], both[len(codes[0]) :]
    edit = splice(first, second)
    if edit is None:
        return None
    place, width, new = edit
    widest = max(width, len(new))
    after = len(first) - place - width
    inner = room - 4
    start = 0 if place + widest + min(AFTER, after) <= inner else _line(first, place, widest + min(AFTER, after), inner)
    tail = max(0, min(after, inner - (place - start) - widest))
    return _side(first, start, place, width + tail, room), _side(second, start, place, len(new) + tail, room)


def _line(ids: np.ndarray, place: int, after: int, room: int) -> int:
    """The first start of a line from which the edit and what follows it have room."""
    low = max(0, place + after - room)
    opens = np.flatnonzero(np.isin(ids, [large_ids()[word] for word in lexer.INDENTS])) + 1
    fits = opens[(opens >= low) & (opens <= place)]
    return int(fits[0]) if len(fits) else min(low, place)


def _side(codes: np.ndarray, start: int, place: int, span: int, room: int) -> Side:
    ids = large_ids()
    head = [ids["<bos>"], ids["<by:none>"], ids["<cue:none>"]]
    close = [ids["<eos>"]] if place + span == len(codes) else []
    whole = [*head, *(int(c) for c in codes[start : place + span]), *close][:room]
    return Side(whole, len(head) + place - start, len(whole))


def is_large(model: LocalModel) -> bool:
    """Whether the model reads the words of `l`."""
    return len(model.tokenizer) == len(large_words())


def pair_scores(model: LocalModel, pairs: Sequence[tuple[str, str]], *, seed: int = 0) -> PairScores:
    """Scores of (a, b) source pairs under a family member; zeros where the two read the same to it."""
    rng, room, large = np.random.default_rng(seed), int(model.network.config.n_positions), is_large(model)
    sides = [pair_sides(a, b, room=room, rng=rng, small=not large) for a, b in pairs]
    flat = [side for both in sides if both for side in both]
    values = _read(model, flat, verdict=large)
    out = np.zeros((len(pairs), 3))
    shown = [i for i, both in enumerate(sides) if both]
    for i, (first, second) in zip(shown, values.reshape(-1, 2, 3), strict=True):
        out[i] = first[0] - second[0], second[1] - first[1], first[2] - second[2]
    return PairScores(*out.T)


def _read(model: LocalModel, sides: Sequence[Side], *, verdict: bool) -> np.ndarray:
    """Log-likelihood from the edit on, doubt over the tokens there, how many they are: (sides, 3).

    Only the rows of the edited spans go through the vocabulary: that is most of the work.
    """
    out, network = np.zeros((len(sides), 3)), model.network.eval()
    words = network.get_output_embeddings().weight
    doubter = (words[large_ids()[VERDICTS[1]]] - words[large_ids()[VERDICTS[0]]]) if verdict else None
    with torch.inference_mode(), fast_products(network):
        for rows, batch, mask in buckets([side.ids for side in sides], pad=model.pad, device=model.device):
            states = network.transformer(input_ids=batch, attention_mask=mask).last_hidden_state
            spans = [(line, sides[row]) for line, row in enumerate(rows)]
            before = torch.cat([states[line, side.begin - 1 : side.end - 1] for line, side in spans])
            targets = torch.cat([batch[line, side.begin : side.end] for line, side in spans])
            logits = product(before, words)
            logprobs = (logits.gather(1, targets[:, None])[:, 0] - torch.logsumexp(logits, 1)).double()
            lengths = [side.end - side.begin for _, side in spans]
            for row, (line, side), part in zip(rows, spans, logprobs.split(lengths), strict=True):
                out[row, 0], out[row, 2] = float(part.sum()), len(part)
                if doubter is not None:
                    out[row, 1] = float((states[line, side.begin : side.end] @ doubter).sum())
    return out


def pair_decision(scores: PairScores) -> np.ndarray:
    """One number a pair, above 0 when the first looks sound: the score that the contrast of `l` was trained on."""
    decision: np.ndarray = scores.likelihood + scores.doubt
    return decision
