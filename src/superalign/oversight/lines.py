"""Functions line by line: what a reader of code makes of each line, and a head that points at the line that is wrong.

    lines = read_lines(load_model("family:l"), sources)      # a function: (lines, features), frozen
    critic = fit_pointer(lines, spans)                       # shown places of faults, and functions without any

Features come from one pass of the model; long functions are read in windows. The head is linear, with an answer "none".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from superalign.stats import StatsError
from superalign.stats.interval import Array
from superalign.tasks.lexer import INDENTS, lex

if TYPE_CHECKING:
    from superalign.models import LocalModel  # torch loads where it is needed

SCALARS = ("surprisal", "mean surprisal", "excess", "gap", "doubt", "mean doubt", "jump", "words")
"""First columns of a line's features: its most surprising word (nats) and the mean; the most surprisal above what was
expected, and above the likeliest word's; the doubt that `l` says (else 0), its mean and rise; log of 1 + words."""
SURPRISAL, EXCESS, GAP, DOUBT = 0, 2, 3, 4
_HEAD = ("<bos>", "<by:none>", "<cue:none>")


def planted_at(sound: str, faulty: str) -> tuple[int, int]:
    """First and last line of `faulty` that the edit touches; what was taken out is named by either neighbour.

    >>> planted_at("def f(a):\\n    b = a\\n    return b + 1", "def f(a):\\n    b = a\\n    return b - 1")
    (2, 2)
    """
    (a, _), (b, lines) = worded(sound), worded(faulty)
    low = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    most = min(len(a), len(b)) - low
    same = zip(reversed(a), reversed(b), strict=False)
    tail = next((i for i, (x, y) in enumerate(same) if x != y or i == most), most)
    first, last = low, len(b) - tail - 1
    if last < first:  # nothing came in: the gap lies between two words
        first, last = max(0, last), min(len(b) - 1, first)
    return int(lines[first]), int(lines[last])


def worded(text: str) -> tuple[list[str], NDArray[np.int64]]:
    """Tokens as they are spelled, and the line of each; the end of a line belongs to the line that it ends.

    Lines are those of the grammar: a docstring, or what stands in brackets, is not cut; blank ones do not count.
    """
    lexed = lex(text)
    words = [t if t in INDENTS else text[a:b] for t, (a, b) in zip(lexed.tokens, lexed.spans, strict=True)]
    ends = np.array([token in INDENTS for token in lexed.tokens], dtype=np.int64)
    return words, np.cumsum(ends) - ends


class Window(NamedTuple):
    text: int
    ids: list[int]
    begin: int
    """First column that counts: the columns before it are context."""
    end: int
    lines: NDArray[np.int64]
    """Line of every column that counts."""


def read_lines(model: LocalModel, sources: Sequence[str], *, seed: int = 0) -> list[NDArray[np.float32]]:
    """Frozen features of every line of every source under a family member: per source (lines, 8 + 2 × width).

    After `SCALARS` come the mean hidden state of the line's words, and the least of how well the state before a word
    expected it (state ∘ embedding, elementwise). What is longer than the model's context is read in windows of whole
    lines, each line in the first that holds it; of a line longer than that, its beginning. A line that is never
    read is NaN: it has no score, which is not a low one.
    """
    import torch

    from superalign.models.local import buckets
    from superalign.training.family_score import is_large
    from superalign.training.products import fast_products

    network: Any = model.network.eval()
    room, small = int(network.config.n_positions), not is_large(model)
    windows = [w for i, source in enumerate(sources) for w in windows_of(i, source, room, small, seed)]
    sizes = [int(worded(source)[1].max(initial=-1)) + 1 for source in sources]
    out = [np.full((size, len(SCALARS) + 2 * model.width), np.nan, dtype=np.float32) for size in sizes]
    with torch.inference_mode(), fast_products(network):
        for rows, batch, mask in buckets([w.ids for w in windows], pad=model.pad, device=model.device):
            states = network.transformer(input_ids=batch, attention_mask=mask).last_hidden_state
            scalars, match = _words(model, states, batch, small=small)
            for line, row in enumerate(rows):
                w = windows[row]
                here, before = slice(w.begin, w.end), slice(w.begin - 1, w.end - 1)
                starts = np.flatnonzero(np.r_[True, np.diff(w.lines) > 0])
                pooled = _pooled(scalars[line, before], states[line, here].cpu().numpy(), match[line, before], starts)
                out[w.text][w.lines[starts]] = pooled
    return out


def windows_of(text: int, source: str, room: int, small: bool, seed: int) -> Iterator[Window]:
    """The source as ids, in windows that begin and end with a line and overlap by up to half of their room."""
    from superalign.training.family_text import coded, dressed, large_ids, rich_tokens

    ids = dressed(coded(rich_tokens(source), {}), np.random.default_rng(seed), small=small)
    lines, head, inner = worded(source)[1], [large_ids()[word] for word in _HEAD], room - len(_HEAD) - 1
    opens = np.flatnonzero(np.r_[True, np.diff(lines) > 0, True])  # where lines begin, and the end of the last
    at = 0
    while at < len(opens) - 1:
        here = int(opens[at])
        fits = opens[at + 1 :][opens[at + 1 :] <= here + inner]
        start = here if not at else int(opens[np.searchsorted(opens, max(0, here - inner // 2))])
        while start < here and opens[at + 1] > start + inner:  # a long line needs its context's room
            start = int(opens[np.searchsorted(opens, start, side="right")])
        fits = opens[at + 1 :][opens[at + 1 :] <= start + inner]
        stop = int(fits[-1]) if len(fits) else here + inner
        whole = [*head, *ids[start:stop].tolist(), *([large_ids()["<eos>"]] if stop == len(ids) else [])]
        begin = len(head) + here - start
        yield Window(text, whole, begin, begin + stop - here, lines[here:stop])
        at = int(np.searchsorted(opens, stop)) if len(fits) else at + 1


def _words(model: LocalModel, states: Any, batch: Any, *, small: bool) -> tuple[Array, Array]:
    """Of every word after the first: surprisal, excess, gap and doubt (rows, words, 4), and state ∘ embedding."""
    import torch

    from superalign.training.family_text import VERDICTS, large_ids
    from superalign.training.products import product

    network: Any = model.network
    table = network.get_output_embeddings().weight
    logprobs = torch.log_softmax(product(states[:, :-1], table), dim=-1)
    nats = -logprobs.gather(-1, batch[:, 1:, None])[..., 0]
    expected = -(logprobs.exp() * logprobs).sum(-1)
    doubt = torch.zeros_like(nats)
    if not small:
        doubt = states[:, 1:] @ (table[large_ids()[VERDICTS[1]]] - table[large_ids()[VERDICTS[0]]])
    match = states[:, :-1] * network.get_input_embeddings()(batch[:, 1:])
    scalars = torch.stack([nats, nats - expected, nats + logprobs.amax(-1), doubt], dim=-1)
    return scalars.cpu().numpy(), match.cpu().numpy()


def _pooled(scalars: Array, states: Array, match: Array, starts: NDArray[np.intp]) -> Array:
    """Words of a window (words, …) as lines (lines, 8 + 2 × width)."""
    words = np.diff(np.r_[starts, len(scalars)])
    most = np.maximum.reduceat(scalars, starts)
    mean = np.add.reduceat(scalars, starts) / words[:, None]
    rise = np.maximum.reduceat(np.diff(scalars[:, 3], prepend=scalars[:1, 3]), starts)
    own = (most[:, 0], mean[:, 0], most[:, 1], most[:, 2], most[:, 3], mean[:, 3], rise, np.log1p(words))
    hidden = np.add.reduceat(states, starts) / words[:, None]
    return np.concatenate([np.stack(own, axis=1), hidden, np.minimum.reduceat(match, starts)], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """What a head sees of a line: standardised, hidden parts cut to principal components, its neighbours beside it."""

    mean: Array
    spread: Array
    hidden: Array
    """(width, components)."""
    match: Array

    @classmethod
    def fitted(cls, lines: Array, *, components: int = 64) -> Lens:
        """From lines (lines, 8 + 2 × width) of sound train functions; what was never read is left out."""
        known = lines[np.isfinite(lines).all(axis=1)].astype(np.float64)
        if len(known) < 2:
            raise StatsError(f"{len(known)} lines were read: a lens needs those of many functions")
        mean, spread = known.mean(axis=0), known.std(axis=0) + 1e-6
        z = (known - mean) / spread
        width = (lines.shape[1] - len(SCALARS)) // 2
        halves = np.split(z[:, len(SCALARS) :], [width], axis=1)
        parts = [np.linalg.eigh(half.T @ half)[1][:, ::-1][:, :components] / 4 for half in halves]
        return cls(mean=mean, spread=spread, hidden=parts[0], match=parts[1])

    def see(self, text: NDArray[Any]) -> NDArray[Any]:
        """(lines, 8 + 2 × width) of one text → (lines, 40 + 2 × components); a line that was not read stays NaN."""
        z = np.clip((text - self.mean) / self.spread, -8, 8)
        own, width = z[:, : len(SCALARS)], len(self.hidden)
        blank = np.zeros_like(own[:1])
        filled = np.nan_to_num(own)
        beside = (np.concatenate([filled[1:], blank]), np.concatenate([blank, filled[:-1]]))
        most = (own == np.nanmax(own, axis=0, keepdims=True)) if len(own) and np.isfinite(own).any() else own * 0
        far = (z[:, len(SCALARS) :][:, :width] @ self.hidden, z[:, len(SCALARS) + width :] @ self.match)
        return np.concatenate([own, own - filled.mean(axis=0), most, *beside, *far], axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """A linear head that points at a line or at none: softmax over the lines of a text and one answer besides."""

    weight: Array
    none: tuple[float, float]
    """a and b of the answer "nothing is wrong" with a text of n lines: a + (1 + b) · ln n."""

    def scores(self, text: NDArray[Any]) -> Array:
        """(lines, features) → (lines,) log-odds of a line against "nothing is wrong"; NaN where it was not read."""
        return np.asarray(text @ self.weight - self.none[0] - (1 + self.none[1]) * np.log(max(1, len(text))))


def fit_pointer(
    texts: Sequence[NDArray[Any]],
    spans: Sequence[tuple[int, int] | None],
    *,
    weights: Array | None = None,
    l2: float = 0.01,
    steps: int = 60,
) -> Pointer:
    """Fit a head on the places of faults: `spans[i]` are the faulty lines of text i (first, last), None if it is sound.

    Minimises −log P(a faulty line), or −log P(none), weighted, plus `l2` |weight|², by L-BFGS from zero: convex but for
    spans of several lines, and without chance. Raises StatsError for empty texts, or when there is no fault, or a line
    of NaN: a head is not fitted on what was not read.
    """
    sizes = np.array([len(text) for text in texts], dtype=np.intp)
    if not len(sizes) or sizes.min() < 1 or all(span is None for span in spans):
        raise StatsError(f"{len(sizes)} texts, {sum(s is not None for s in spans)} with a fault: a pointer needs both")
    x = np.concatenate([np.asarray(text, dtype=np.float32) for text in texts])
    if not np.isfinite(x).all():
        raise StatsError("a line was not read (NaN): leave its text out of the fit, and say so")
    starts, of = np.cumsum(sizes) - sizes, np.repeat(np.arange(len(sizes)), sizes)
    y, faulty = np.zeros(len(x)), np.array([span is not None for span in spans])
    for start, span in zip(starts, spans, strict=True):
        if span is not None:
            y[start + span[0] : start + span[1] + 1] = 1.0
    w = np.ones(len(sizes)) if weights is None else np.asarray(weights, dtype=np.float64)
    w, logs = w / w.sum(), np.log(sizes)

    def loss(theta: Array) -> tuple[float, Array]:
        o = (x @ theta[:-2].astype(np.float32)).astype(np.float64)
        none = theta[-2] + (1 + theta[-1]) * logs
        top = np.maximum(np.maximum.reduceat(o, starts), none)
        e, quiet = np.exp(o - top[of]), np.exp(none - top)
        total = np.add.reduceat(e, starts) + quiet
        right = np.where(faulty, np.maximum(np.add.reduceat(e * y, starts), 1e-300), quiet)
        pull = (w / total)[of] * e - np.where(faulty, w / right, 0.0)[of] * e * y
        rest = w * (quiet / total - ~faulty)
        value = float((w * np.log(total / right)).sum() + l2 * (theta[:-2] ** 2).sum())
        inner = (pull.astype(np.float32) @ x).astype(np.float64) + 2 * l2 * theta[:-2]
        return value, np.concatenate([inner, [rest.sum(), (rest * logs).sum()]])

    found = minimize(loss, np.zeros(x.shape[1] + 2), jac=True, method="L-BFGS-B", options={"maxiter": steps}).x
    return Pointer(weight=found[:-2], none=(float(found[-2]), float(found[-1])))
