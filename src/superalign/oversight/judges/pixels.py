"""The judge of pixels: a small net that has only ever seen a few pixels of each digit (Irving 2018, 1805.00899, §3.1).

    judge = train_pixel_judge(pixels=6)                        # 2,500 steps on the train split, on one thread
    images = page_images(pixels(split="dev"))                  # (n, 64)
    shown = random_masks(images, 6, rng)                       # six inked pixels of each image
    judge.logits(images, shown).argmax(1)                      # the digit it believes in
    judge.logits_after(images, shown, images)                  # ... after each one further pixel: a search of one ply

It reads what the shown pixels are and which they are, and nothing else, whatever else is passed. It was shown inked
pixels only; paper is known to it as what nobody has shown. Torch is needed to train it and safetensors to store it; to
judge needs numpy alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from superalign.engine.threads import one_thread
from superalign.tasks.item import Page
from superalign.tasks.pixels import pixel_grid
from superalign.tasks.pixels import pixels as pixels_page

CELLS, CLASSES = 64, 10
BATCH, RATE, EXACT = 256, 1e-3, 0.7
"""Images a batch, Adam's rate, and the share of batches that show exactly K pixels (others show 1 to K)."""
KIND = "pixel judge"
Progress = Callable[[int, int], None]


class Layer(NamedTuple):
    """One layer: x @ weight (inputs, outputs) + bias (outputs,), float32."""

    weight: np.ndarray
    bias: np.ndarray


class After(NamedTuple):
    """What the judge would say after one further pixel, for m further pixels of n images."""

    row: np.ndarray
    """(m,) which image, ascending."""
    pixel: np.ndarray
    """(m,) which pixel, ascending within an image."""
    logits: np.ndarray
    """(m, 10) float32."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelJudge:
    """A net of three layers on (values of the shown pixels, which are shown). Its identity is its `digest`."""

    layers: tuple[Layer, ...]
    pixels: int
    """The most pixels it was shown in training."""
    seed: int
    steps: int

    @property
    def width(self) -> int:
        """Units a hidden layer."""
        return len(self.layers[0].bias)

    @property
    def digest(self) -> str:
        """SHA-256 over the shapes and bytes of all weights."""
        digest = hashlib.sha256(KIND.encode())
        for array in (part for layer in self.layers for part in layer):
            digest.update(f"{array.shape}".encode() + array.astype("<f4").tobytes())
        return digest.hexdigest()

    def logits(self, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(n, 10) logits from pixel values (n, 64) in [0, 1], of which only those in `mask` (n, 64) are read.

        Raises ValueError for other shapes or values, NaN included.
        """
        return self._rest(self._first(*_checked(values, mask)))

    def logits_after(self, values: np.ndarray, mask: np.ndarray, image: np.ndarray, *, chunk: int = 8192) -> After:
        """Logits after each one inked pixel of `image` (n, 64) that `mask` has not, beside what `values` shows already.

        A further pixel adds two rows of the first layer's weights to what its units hold, so that only the rest of the
        net is worked out anew. At most `chunk` candidates are in memory at once. Raises ValueError as `logits` does.
        """
        shown, given = _checked(values, mask)
        hidden, _ = _checked(image, 1 - given)
        if chunk < 1:
            raise ValueError(f"chunks of {chunk} candidates: 1 or more")
        base = self._first(shown, given)
        row, pixel = np.nonzero(hidden)
        ink, weight = hidden[row, pixel], self.layers[0].weight
        out = np.empty((len(row), CLASSES), np.float32)
        for at in range(0, len(row), chunk):
            cut = slice(at, at + chunk)
            held = base[row[cut]] + ink[cut, None] * weight[pixel[cut]] + weight[CELLS + pixel[cut]]
            out[cut] = self._rest(held)
        return After(row=row, pixel=pixel, logits=out)

    def _first(self, shown: np.ndarray, given: np.ndarray) -> np.ndarray:
        weight, bias = self.layers[0]
        return np.asarray(np.concatenate([shown, given], axis=1) @ weight + bias)

    def _rest(self, held: np.ndarray) -> np.ndarray:
        for weight, bias in self.layers[1:]:
            held = np.asarray(np.maximum(held, 0) @ weight + bias)
        return held

    def to_bytes(self) -> bytes:
        """Weights and manifest as safetensors bytes: the same bytes for the same judge."""
        from safetensors.numpy import save

        manifest = {"kind": KIND, "digest": self.digest, "pixels": self.pixels, "seed": self.seed, "steps": self.steps}
        named = [(f"{part}.{i}", a) for i, layer in enumerate(self.layers) for part, a in layer._asdict().items()]
        data: bytes = save(dict(named), metadata={"superalign": json.dumps(manifest, sort_keys=True)})
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> PixelJudge:
        """The judge that `to_bytes` stored; nothing is unpickled.

        Raises ModelError when the bytes are no pixel judge, or its weights are not the ones its manifest names.
        """
        return _read(data)


def _checked(values: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values where shown, else 0, and the mask, both (n, 64) float32."""
    given, read = np.asarray(mask, np.float32), np.asarray(values, np.float32)
    if given.ndim != 2 or given.shape[1] != CELLS or read.shape != given.shape:
        raise ValueError(f"values {read.shape} and mask {given.shape}: both are (images, {CELLS})")
    if not ((read >= 0) & (read <= 1)).all():
        raise ValueError("a pixel is NaN or outside of 0 to 1: read images with `pixel_grid` or `page_images`")
    if not ((given == 0) | (given == 1)).all():
        raise ValueError("a mask holds 1 or True where a pixel is shown, else 0 or False")
    return read * given, given


def page_images(page: Page) -> np.ndarray:
    """The images of a page of pixels, (n, 64) float32 from 0 to 1."""
    return np.array([pixel_grid(item.input["image"]).ravel() for item in page.items], np.float32).reshape(-1, CELLS)


def random_masks(images: np.ndarray, count: int | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which pixels are shown, (n, 64) bool: `count` inked ones of each image at random, all of them where it has fewer.

    `count` is one for all images or (n,) one each. Raises ValueError when one is negative.

    >>> random_masks(np.eye(2, 64), 6, np.random.default_rng(0)).sum(1)
    array([1, 1])
    """
    counts = np.broadcast_to(count, len(images))[:, None]
    if (counts < 0).any():
        raise ValueError(f"{counts.min()} pixels were to be shown: 0 or more")
    inked = images > 0
    draws = np.where(inked, rng.random(images.shape), 2.0)
    last = np.take_along_axis(np.sort(draws, axis=1), np.clip(counts - 1, 0, CELLS - 1), axis=1)
    return (draws <= last) & inked & (counts > 0)


def train_pixel_judge(
    *,
    pixels: int = 6,
    seed: int = 0,
    steps: int = 2500,
    width: int = 256,
    without: Collection[str] = (),
    progress: Progress | None = None,
) -> PixelJudge:
    """A judge fitted to the train split with random inked pixels shown: `pixels` of them, or 1 to `pixels`.

    `width`, units a hidden layer, is the dial of what it can learn; `progress` hears (steps done, steps in all). The
    clusters `without` are never shown. The same seed gives the same bits on one machine with one torch. Raises
    ValueError for fewer than one of anything, or more pixels than an image has.
    """
    if min(pixels, steps, width) < 1 or pixels > CELLS:
        raise ValueError(f"{pixels} pixels, {steps} steps, width {width}: each is at least 1, pixels at most {CELLS}")
    import torch

    page = pixels_page(split="train")
    page = replace(page, items=tuple(item for item in page.items if item.cluster not in without))
    images, labels = page_images(page), np.array([page.truths[item.id]["digit"] for item in page.items])
    rng = np.random.default_rng([seed, 41])
    sizes = (2 * CELLS, width, width, CLASSES)
    starts = [rng.uniform(-1, 1, size) / i**0.5 for i, o in pairwise(sizes) for size in ((i, o), o)]  # as torch's own
    parts = [torch.tensor(start, dtype=torch.float32, requires_grad=True) for start in starts]
    weights = list(zip(parts[::2], parts[1::2], strict=True))
    with one_thread():
        optimiser = torch.optim.Adam(parts, lr=RATE)
        for step in range(steps):
            rows = rng.integers(len(images), size=BATCH)
            exact = rng.random() < EXACT
            mask = random_masks(images[rows], pixels if exact else rng.integers(1, pixels + 1, size=BATCH), rng)
            held = torch.from_numpy(np.concatenate([images[rows] * mask, mask], axis=1, dtype=np.float32))
            for i, (weight, bias) in enumerate(weights):
                held = (held.relu() if i else held) @ weight + bias
            loss = torch.nn.functional.cross_entropy(held, torch.from_numpy(labels[rows]))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if progress:
                progress(step + 1, steps)
    layers = tuple(_layer(weight.detach().numpy(), bias.detach().numpy()) for weight, bias in weights)
    return PixelJudge(layers=layers, pixels=pixels, seed=seed, steps=steps)


def _layer(weight: np.ndarray, bias: np.ndarray) -> Layer:
    parts = [np.array(part, np.float32) for part in (weight, bias)]
    for part in parts:
        part.setflags(write=False)
    return Layer(*parts)


def _read(data: bytes) -> PixelJudge:
    from safetensors import SafetensorError, deserialize

    from superalign.models.change import read_manifest
    from superalign.models.errors import ModelError

    bad = "not a pixel judge that superalign stored: {}; train it again"
    manifest = read_manifest(data)
    told = {name: value for name in ("pixels", "seed", "steps") if type(value := manifest.get(name)) is int}
    if manifest.get("kind") != KIND or len(told) < 3:
        raise ModelError(bad.format(f"its manifest says {dict(sorted(manifest.items(), reverse=True))!r:.90}"))
    try:
        stored = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ModelError(bad.format(error)) from error
    width = [*stored.get("bias.0", {}).get("shape", ()), 0][0]
    sizes = (2 * CELLS, width, width, CLASSES)
    shapes = {f"bias.{i}": [outputs] for i, outputs in enumerate(sizes[1:])}
    shapes |= {f"weight.{i}": list(shape) for i, shape in enumerate(pairwise(sizes))}
    if {k: (t["dtype"], t["shape"]) for k, t in stored.items()} != {k: ("F32", s) for k, s in shapes.items()}:
        raise ModelError(bad.format(f"its tensors are {sorted(stored)!r:.80}, or of other shapes or precision"))
    arrays = {name: np.frombuffer(stored[name]["data"], "<f4").reshape(shape) for name, shape in shapes.items()}
    layers = tuple(_layer(arrays[f"weight.{i}"], arrays[f"bias.{i}"]) for i in range(len(sizes) - 1))
    judge = PixelJudge(layers=layers, **told)
    if judge.digest != manifest.get("digest"):
        raise ModelError(bad.format(f"weights digest to {judge.digest[:12]}…, it says {manifest.get('digest')!s:.12}…"))
    return judge
