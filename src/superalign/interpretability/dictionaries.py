"""Dictionaries of features, sparse autoencoders and transcoders, from safetensors files as people publish them.

found = load_dictionary(Path("sae.safetensors"))
site = features(model, 2, found)                # a site like any other
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from superalign.interpretability.units import Site, blocks, body_of
from superalign.models import LocalModel

Reads = Literal["stream", "mlp"]

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "W_enc": ("W_enc", "encoder.weight", "encoder_linear.weight", "enc.weight"),
    "b_enc": ("b_enc", "encoder.bias", "encoder_linear.bias", "enc.bias"),
    "W_dec": ("W_dec", "decoder.weight", "decoder_linear.weight", "dec.weight"),
    "b_dec": ("b_dec", "decoder.bias", "decoder_linear.bias", "dec.bias", "bias", "pre_bias"),
    "threshold": ("threshold", "jumprelu.threshold"),
    "log_threshold": ("log_threshold",),
    "k": ("k",),
}
"""What it is called here, and what SAELens, sparsify, dictionary_learning and others call it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dictionary:
    """Features of a stream of `width`: how they are read, and what each writes."""

    encoder: torch.Tensor
    """(width, features) float32."""
    bias: torch.Tensor
    """(features,) float32."""
    decoder: torch.Tensor
    """(features, width written) float32."""
    offset: torch.Tensor
    """(width written,) float32, what is written where no feature is on."""
    threshold: torch.Tensor | None = None
    """(features,): a feature is off at or below it (JumpReLU; Rajamanoharan and others 2024)."""
    k: int | None = None
    """Only the k largest are on at a token (TopK; Gao and others 2024)."""
    centred: bool = False
    """Is the offset taken from what is read, first?"""
    reads: Reads = "stream"
    """The stream after a block; or, for a transcoder, what the block's MLP reads."""

    @property
    def width(self) -> int:
        """Of what is read."""
        return int(self.encoder.shape[0])

    @property
    def features(self) -> int:
        """Their number."""
        return int(self.encoder.shape[1])

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all that decides what features are."""
        found = hashlib.sha256(f"{self.k}{self.centred}{self.reads}".encode())
        for part in (self.encoder, self.bias, self.decoder, self.offset, self.threshold):
            found.update(b"-" if part is None else part.contiguous().numpy().tobytes())
        return found.hexdigest()

    def encode(self, stream: torch.Tensor) -> torch.Tensor:
        """(…, width) → (…, features) float32. Raises ValueError for another width."""
        if stream.shape[-1] != self.width:
            raise ValueError(
                f"a dictionary of width {self.width} was given {stream.shape[-1]} features: it is another's"
            )
        read = stream.float() - self.offset.to(stream.device) if self.centred else stream.float()
        before = read @ self.encoder.to(stream.device) + self.bias.to(stream.device)
        found = before.relu()
        if self.threshold is not None:
            found = found * (before > self.threshold.to(stream.device))
        if self.k is not None:
            values, places = found.topk(self.k, dim=-1)
            found = torch.zeros_like(found).scatter_(-1, places, values)
        return found

    def decode(self, found: torch.Tensor) -> torch.Tensor:
        """(…, features) → (…, width written)."""
        return found @ self.decoder.to(found.device) + self.offset.to(found.device)


def load_dictionary(
    path: Path, *, k: int | None = None, centred: bool | None = None, reads: Reads = "stream"
) -> Dictionary:
    """From a safetensors file, by any of the usual names; nothing is unpickled.

    `k` and `centred` are often told beside the file only, in its configuration; left out, k is what the file says, and
    what is read is centred where names are those of libraries that do so. Raises ValueError naming what is missing, of
    another shape, or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(f"{path}: no safetensors file can be read there ({error})") from error
    found = {part: tensors[name] for part, names in SPELLINGS.items() for name in names[::-1] if name in tensors}
    missing = [f"{part} ({', '.join(SPELLINGS[part])})" for part in ("W_enc", "b_enc", "W_dec") if part not in found]
    if missing:
        raise ValueError(f"{path} holds {', '.join(sorted(tensors)) or 'nothing'}; missing: {'; '.join(missing)}")
    encoder, bias = _encoder(found["W_enc"].float(), found["b_enc"].float().flatten(), "W_enc" in tensors, path)
    decoder = _decoder(found["W_dec"].float(), encoder, "W_dec" in tensors, path)
    offset = found.get("b_dec", torch.zeros(decoder.shape[1])).float().flatten()
    threshold = found.get("threshold", found["log_threshold"].float().exp() if "log_threshold" in found else None)
    made = Dictionary(
        encoder=encoder,
        bias=bias,
        decoder=decoder,
        offset=offset,
        threshold=None if threshold is None else threshold.float().flatten().expand(len(bias)).contiguous(),
        k=k if k is not None else int(found["k"]) if "k" in found else None,
        centred=_centres(tensors) if centred is None else centred,
        reads=reads,
    )
    _check(made, path)
    return made


def features(model: LocalModel, layer: int, dictionary: Dictionary, *, tag: str = "") -> Site:
    """A dictionary's features at a block of a model. ValueError for another width, no such block, no MLP to read."""
    if dictionary.width != model.width or not 0 <= layer < model.layers:
        raise ValueError(
            f"a dictionary of width {dictionary.width} at block {layer}: {model.name} has width {model.width}, blocks "
            f"0 to {model.layers - 1}: use one that was fitted to this model"
        )
    block = blocks(model)[layer]
    module = block.name if dictionary.reads == "stream" else block.mlp.rpartition(".")[0]
    part: nn.Module = body_of(model).get_submodule(module)
    if dictionary.reads == "mlp" and module in ("", block.name):
        raise ValueError(f"{model.name}: block {layer} ({type(part).__name__}) has no module that is its MLP alone")
    return Site(kind="feature", layer=layer, units=dictionary.features, module=module, dictionary=dictionary, tag=tag)


def _encoder(weight: torch.Tensor, bias: torch.Tensor, columns: bool, path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """(width, features), whichever way it lay; square ones by the name: `W_enc` has features as columns."""
    if weight.ndim != 2 or len(bias) not in weight.shape:
        raise ValueError(f"{path}: an encoder of shape {tuple(weight.shape)}, and {len(bias)} biases: they don't fit")
    square = weight.shape[0] == weight.shape[1]
    turned = not columns if square else weight.shape[1] != len(bias)
    return (weight.T if turned else weight).contiguous(), bias


def _decoder(weight: torch.Tensor, encoder: torch.Tensor, rows: bool, path: Path) -> torch.Tensor:
    """(features, width), whichever way it lay; square ones by the name: `W_dec` has features as rows."""
    count = encoder.shape[1]
    if weight.ndim != 2 or count not in weight.shape:
        raise ValueError(f"{path}: a decoder of shape {tuple(weight.shape)} for {count} features: they don't fit")
    square = weight.shape[0] == weight.shape[1]
    turned = not rows if square else weight.shape[0] != count
    return (weight.T if turned else weight).contiguous()


def _centres(tensors: Mapping[str, torch.Tensor]) -> bool:
    """sparsify and dictionary_learning take the offset first where the encoder is a linear module."""
    return "encoder.weight" in tensors and ("W_dec" in tensors or "b_dec" in tensors or "bias" in tensors)


def _check(made: Dictionary, path: Path) -> None:
    written = made.decoder.shape[1]
    if len(made.offset) != written or (made.centred and written != made.width):
        raise ValueError(f"{path}: an offset of {len(made.offset)} for {written} features written, {made.width} read")
    if made.k is not None and not 0 < made.k <= made.features:
        raise ValueError(f"{path}: k is {made.k}, of {made.features} features")
    parts = (made.encoder, made.bias, made.decoder, made.offset)
    if not all(bool(np.isfinite(part.numpy()).all()) for part in parts):
        raise ValueError(f"{path}: there are NaN or infinite weights: the file is broken")
