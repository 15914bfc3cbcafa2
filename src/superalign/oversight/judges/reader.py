"""The judge of rules: a small transformer that has only ever read a few lines of each passage.

    judge = train_reader(size="xs")                            # reader_training.py: minutes, on one thread
    judge.beliefs(views)                                       # (n, 2): no, yes; by the question and verified quotes
    train_reader(size="m").knows(cases)                        # an adviser's own reading of whole passages

A word is read as what it is (an individual, a kind, "not", ...) and where it stands in its line; a name as nothing but
the other places at which it stands. One kind of head looks along the line, one at the same name elsewhere, so that a
layer is one step of reasoning. Nothing else tells lines apart: a belief knows neither their order nor the names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from superalign.engine.threads import one_thread
from superalign.oversight.types import Case, View
from superalign.tasks.rules_world import FEATURES, INDIVIDUALS, KINDS, PROPERTIES, RULES_VOCABULARY

if TYPE_CHECKING:
    from torch import Tensor

OPTIONS = ("no", "yes")
LONG = 12
"""Lines that are read as they are; of more, those alone that names connect with the question."""
BATCH, STRIDE = 64, 8
"""Views a batch and the step in which it grows longer: a view's numbers don't depend on what is read beside it."""
KIND = "reader judge"
DIALS = ("facts", "depth", "quotes", "seed", "steps")
"""Of its training, as its manifest tells them."""
NAMES = (INDIVIDUALS, KINDS, FEATURES, PROPERTIES)
MARKS = ("has", "lacks", "not")
"""Words read for what they say; the rest of the glue says nothing that names and their places don't."""
PLACES = 4
"""First, inner or last in a line, or in the question."""
CODES = (len(NAMES) + len(MARKS)) * PLACES + 1
"""What a word can be read as; 0 is padding."""
ASKED = (NAMES.index(INDIVIDUALS), NAMES.index(PROPERTIES))
"""What a question's two names are."""
_NAME = {word: place for place, word in enumerate(RULES_VOCABULARY, start=1)}
_SORT = {word: sort for sort, words in enumerate((*NAMES, *((mark,) for mark in MARKS))) for word in words}


class Shape(NamedTuple):
    """Size of a reader; `heads` of either kind a layer."""

    width: int
    layers: int
    heads: int


SHAPES = {"xs": Shape(32, 5, 2), "m": Shape(80, 5, 4)}


class Read(NamedTuple):
    """A question and lines, word by word; the question's two names stand first."""

    codes: tuple[int, ...]
    names: tuple[int, ...]
    lines: tuple[int, ...]


def lexed(line: str, *, question: bool = False) -> tuple[tuple[int, int], ...]:
    """(code, name) of each word that says something; marks have name 0. Raises ValueError for words of no passage.

    >>> len(lexed("every gorp with fur and horns is not red ."))
    5
    """
    words = [word for word in line.split() if word in _SORT]
    sorts = (_SORT[words[0]], _SORT[words[-1]]) if words else ()
    if not set(line.split()) <= set(_NAME) or len(words) < 2 or (question and (sorts != ASKED or len(words) > 2)):
        raise ValueError(
            f"a reader judge is asked as in 'is tavi red ?' and shown lines of `rules`, not {line!r:.60}: seat another "
            "judge"
        )
    places = [3, 3] if question else [0, *[1] * (len(words) - 2), 2]
    return tuple(
        (1 + _SORT[word] * PLACES + place, 0 if word in MARKS else _NAME[word])
        for word, place in zip(words, places, strict=True)
    )


def connected(lines: Sequence[str], question: str) -> list[str]:
    """The lines that names connect with the question: on its individual, its kinds, and its property if on any.

    >>> connected(["tavi is a wug .", "every wug is red .", "every wug is tall .", "neri has fur ."], "is tavi red ?")
    ['tavi is a wug .', 'every wug is red .']
    """
    who, topic = (word for word in question.split() if word in _SORT)
    spoken = [[word for word in line.split() if word in _SORT] for line in lines]
    near, known = [False] * len(lines), {who}
    while True:
        fresh = [
            i
            for i, words in enumerate(spoken)
            if not near[i] and words[0] in known and (words[-1] not in PROPERTIES or words[-1] == topic)
        ]
        if not fresh:
            return [line for line, kept in zip(lines, near, strict=True) if kept]
        for i in fresh:
            near[i] = True
            known |= {spoken[i][-1]} & set(KINDS)


def read(question: str, lines: Sequence[str]) -> Read:
    """What a reader takes in. Raises ValueError for a question or a line of another task."""
    asked, shown = lexed(question, question=True), lines if len(lines) <= LONG else connected(lines, question)
    return joined([asked, *map(lexed, shown)])


def joined(parts: Sequence[tuple[tuple[int, int], ...]]) -> Read:
    """The lexed question and lines as one text."""
    words = [(code, name, i) for i, part in enumerate(parts) for code, name in part]
    codes, names, lines = zip(*words, strict=True)
    return Read(codes, names, lines)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReaderJudge:
    """A transformer over words of rules. Its identity is its `digest`."""

    weights: Mapping[str, np.ndarray]
    size: str
    facts: int
    depth: int
    quotes: int
    """The most lines it was shown in training, but for those that were all that concerns the question."""
    seed: int
    steps: int
    remembered: dict[tuple[str, tuple[str, ...]], np.ndarray] = field(init=False, default_factory=dict, repr=False)
    """Question and lines → belief, of all that it has read."""

    @property
    def name(self) -> str:
        """As in "reader xs"."""
        return f"reader {self.size}"

    @property
    def parameters(self) -> int:
        """How many numbers it has learned."""
        return sum(array.size for array in self.weights.values())

    @property
    def digest(self) -> str:
        """SHA-256 over the names, shapes and bytes of all weights."""
        digest = hashlib.sha256(KIND.encode())
        for name, array in sorted(self.weights.items()):
            digest.update(f"{name}{array.shape}".encode() + array.astype("<f4").tobytes())
        return digest.hexdigest()

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        """(views, 2) by the question and the verified quotes. Raises ValueError for views of another task."""
        for view in views:
            _check(view.task, view.options)
        return self._beliefs([(view.question, _lines(view.shown().values())) for view in views])

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases, 2) after the whole passage, of which it reads what names connect with the question."""
        for case in cases:
            _check(case.task, case.options)
        return self._beliefs([(case.question, _lines(piece.texts for piece in case.pieces)) for case in cases])

    def _beliefs(self, texts: Sequence[tuple[str, tuple[str, ...]]]) -> np.ndarray:
        """Each text is read once, however often it is asked about: planners come back to the same sets every turn."""
        new = [text for text in dict.fromkeys(texts) if text not in self.remembered]
        self.remembered.update(zip(new, self.probabilities([read(*text) for text in new]), strict=True))
        return np.array([self.remembered[text] for text in texts]).reshape(-1, 2)

    def probabilities(self, reads: Sequence[Read]) -> np.ndarray:
        """(reads, 2). Raises ValueError where the weights are broken, rather than return NaN."""
        import torch

        out = np.zeros((len(reads), 2))
        lengths = np.array([-(-len(one.codes) // STRIDE) * STRIDE for one in reads])
        weights = {name: torch.from_numpy(np.array(array)) for name, array in self.weights.items()}
        with one_thread(), torch.inference_mode():
            for length in np.unique(lengths).tolist():
                rows = np.flatnonzero(lengths == length)
                for at in range(0, len(rows), BATCH):
                    some = rows[at : at + BATCH]
                    batch = padded([reads[i] for i in some], length, BATCH)
                    logits = forward(weights, SHAPES[self.size], *map(torch.from_numpy, batch))
                    out[some] = logits[: len(some)].double().softmax(1).numpy()
        if not np.isfinite(out).all():
            raise ValueError(f"{self.name} has weights that are no numbers: train it again")
        return out

    def to_bytes(self) -> bytes:
        """Weights and manifest as safetensors bytes: the same bytes for the same judge."""
        from safetensors.numpy import save

        told = {name: getattr(self, name) for name in ("size", *DIALS)}
        manifest = {"kind": KIND, "digest": self.digest, **told}
        data: bytes = save(dict(self.weights), metadata={"superalign": json.dumps(manifest, sort_keys=True)})
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> ReaderJudge:
        """The judge that `to_bytes` stored; nothing is unpickled.

        Raises ModelError when the bytes are no reader judge, or its weights are not the ones its manifest names.
        """
        return _stored(data)


def _check(task: str, options: tuple[str, ...]) -> None:
    if task != "rules" or options != OPTIONS:
        raise ValueError(
            f"a reader judge answers questions of rules by no or yes, not {task} by {', '.join(options)!r:.60}: seat a "
            "LikelihoodJudge for two texts, a PictureJudge for pixels"
        )


def _lines(texts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(line for one in texts for line in one)


def padded(reads: Sequence[Read], length: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, names and lines, each (count, length) int64: 0, 0 and -1 where there is no word."""
    codes, names, lines = np.zeros((3, count, length), np.int64)
    lines -= 1
    for i, one in enumerate(reads):
        codes[i, : len(one.codes)], names[i, : len(one.codes)], lines[i, : len(one.codes)] = one
    return codes, names, lines


def shapes(size: Shape) -> dict[str, tuple[int, ...]]:
    """Name → shape of all weights."""
    width = size.width
    found: dict[str, tuple[int, ...]] = {"words": (CODES, width)}
    for i in range(size.layers):
        for part in ("name", "line"):
            found |= {f"{i}.{part}.in": (width, 3 * width), f"{i}.{part}.out": (width, width)}
        found |= {f"{i}.think.in": (width, 2 * width), f"{i}.think.bias": (2 * width,)}
        found |= {f"{i}.think.out": (2 * width, width)}
        found |= {f"{i}.{part}.norm": (width,) for part in ("name", "line", "think")}
    return found | {"norm": (width,), "answer": (2 * width, 2), "answer.bias": (2,)}


def forward(weights: Mapping[str, Tensor], size: Shape, codes: Tensor, names: Tensor, lines: Tensor) -> Tensor:
    """(views, 2) logits from codes, names and lines, each (views, words)."""
    import torch
    from torch.nn.functional import embedding, gelu, rms_norm, scaled_dot_product_attention

    views, words = codes.shape
    itself = torch.eye(words, dtype=torch.bool)
    alike = (names[:, :, None] == names[:, None]) & (names > 0)[:, None] | itself
    beside = lines[:, :, None] == lines[:, None]
    x = embedding(codes, weights["words"])
    for i in range(size.layers):
        for part, mask in (("name", alike), ("line", beside)):
            held = rms_norm(x, (size.width,), weights[f"{i}.{part}.norm"]) @ weights[f"{i}.{part}.in"]
            q, k, v = held.view(views, words, 3, size.heads, -1).permute(2, 0, 3, 1, 4)
            seen = scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None])
            x = x + seen.transpose(1, 2).reshape(views, words, -1) @ weights[f"{i}.{part}.out"]
        held = rms_norm(x, (size.width,), weights[f"{i}.think.norm"]) @ weights[f"{i}.think.in"]
        x = x + gelu(held + weights[f"{i}.think.bias"]) @ weights[f"{i}.think.out"]
    asked = rms_norm(x[:, :2], (size.width,), weights["norm"]).flatten(1)
    return asked @ weights["answer"] + weights["answer.bias"]


def frozen(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Weights as float32 that nobody can write to."""
    kept = {name: np.array(array, np.float32) for name, array in arrays.items()}
    for array in kept.values():
        array.setflags(write=False)
    return MappingProxyType(kept)


def _stored(data: bytes) -> ReaderJudge:
    from safetensors import SafetensorError, deserialize

    from superalign.models.change import read_manifest
    from superalign.models.errors import ModelError

    bad = "not a reader judge that superalign stored: {}; train it again"
    manifest = read_manifest(data)
    told = {name: value for name in DIALS if type(value := manifest.get(name)) is int}
    size = manifest.get("size")
    if manifest.get("kind") != KIND or len(told) < len(DIALS) or not isinstance(size, str) or size not in SHAPES:
        raise ModelError(bad.format(f"its manifest says {dict(sorted(manifest.items(), reverse=True))!r:.90}"))
    try:
        stored = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ModelError(bad.format(error)) from error
    wanted = shapes(SHAPES[size])
    if {k: (t["dtype"], t["shape"]) for k, t in stored.items()} != {k: ("F32", list(s)) for k, s in wanted.items()}:
        raise ModelError(bad.format(f"its tensors are {sorted(stored)!r:.80}, or of other shapes or precision"))
    arrays = {name: np.frombuffer(stored[name]["data"], "<f4").reshape(shape) for name, shape in wanted.items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ModelError(bad.format("some of its weights are no numbers"))
    judge = ReaderJudge(weights=frozen(arrays), size=size, **told)
    if judge.digest != manifest.get("digest"):
        raise ModelError(bad.format(f"weights digest to {judge.digest[:12]}…, it says {manifest.get('digest')!s:.12}…"))
    return judge
