"""Dictionaries by every usual spelling give the same features; what does not fit is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from superalign.interpretability.dictionaries import Dictionary, features, load_dictionary
from superalign.interpretability.units import activations, body_of, directions

WIDTH, FEATURES = 16, 40


def parts(seed: int = 0) -> dict[str, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (WIDTH, FEATURES), "b_enc": (FEATURES,), "W_dec": (FEATURES, WIDTH), "b_dec": (WIDTH,)}
    return {name: torch.randn(shape, generator=made) for name, shape in shapes.items()}


def spelled(**names: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    """Renamed; linear modules lie (out, in)."""

    def rename(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        turned = {k: v.T.contiguous() if names[k].endswith(".weight") else v for k, v in given.items()}
        return {names[k]: v for k, v in turned.items()}

    return rename


SAELENS = spelled(W_enc="W_enc", b_enc="b_enc", W_dec="W_dec", b_dec="b_dec")
SPARSIFY = spelled(W_enc="encoder.weight", b_enc="encoder.bias", W_dec="W_dec", b_dec="b_dec")
LEARNING = spelled(W_enc="encoder.weight", b_enc="encoder.bias", W_dec="decoder.weight", b_dec="bias")
LINEAR = spelled(
    W_enc="encoder_linear.weight",
    b_enc="encoder_linear.bias",
    W_dec="decoder_linear.weight",
    b_dec="decoder_linear.bias",
)


def written(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    save_file(tensors, path / "dictionary.safetensors")
    return path / "dictionary.safetensors"


@pytest.mark.parametrize(
    ("spelling", "centred"), [(SAELENS, False), (SPARSIFY, True), (LEARNING, True), (LINEAR, False)]
)
def test_every_spelling_is_read(tmp_path: Path, spelling: Any, centred: bool) -> None:
    given = parts()
    found = load_dictionary(written(tmp_path, spelling(given)))
    x = torch.randn(3, 5, WIDTH)
    before = (x - given["b_dec"] if centred else x) @ given["W_enc"] + given["b_enc"]
    assert (found.width, found.features, found.centred) == (WIDTH, FEATURES, centred)
    torch.testing.assert_close(found.encode(x), before.relu())
    torch.testing.assert_close(found.decode(found.encode(x)), before.relu() @ given["W_dec"] + given["b_dec"])


def test_thresholds_and_the_k_largest(tmp_path: Path) -> None:
    given = parts()
    x = torch.randn(7, WIDTH)
    before = x @ given["W_enc"] + given["b_enc"]
    jump = load_dictionary(written(tmp_path, given | {"threshold": torch.full((FEATURES,), 2.0)}))
    torch.testing.assert_close(jump.encode(x), before * (before > 2))
    logs = load_dictionary(written(tmp_path, given | {"log_threshold": torch.full((FEATURES,), float(np.log(2.0)))}))
    torch.testing.assert_close(logs.encode(x), before * (before > 2))
    top = load_dictionary(written(tmp_path, given | {"k": torch.tensor(3)}))
    found = top.encode(x)
    assert ((found > 0).sum(dim=-1) <= 3).all()
    torch.testing.assert_close(found.sum(dim=-1), before.relu().topk(3).values.sum(dim=-1))
    assert load_dictionary(written(tmp_path, given), k=5).k == 5


def test_digests_tell_dictionaries_apart(tmp_path: Path) -> None:
    one = load_dictionary(written(tmp_path, parts(0)))
    assert one.digest == load_dictionary(written(tmp_path, parts(0))).digest
    others = [load_dictionary(written(tmp_path, parts(0)), k=4), load_dictionary(written(tmp_path, parts(1)))]
    assert len({one.digest, *(other.digest for other in others)}) == 3


def test_features_are_read_where_they_say(tmp_path: Path, tiny: Callable[..., Any]) -> None:
    model = tiny()
    ids, lengths = np.full((2, 6), 5, dtype=np.int32), np.array([6, 6])
    found = load_dictionary(written(tmp_path, parts()))
    (read,) = activations(model, (features(model, 1, found), directions(model, 1, np.eye(WIDTH))), ids, lengths)
    stream = torch.from_numpy(read["directions 1"])
    np.testing.assert_allclose(read["features 1"], found.encode(stream).numpy(), rtol=1e-4, atol=1e-4)

    coder = load_dictionary(written(tmp_path, parts()), reads="mlp")
    body: Any = body_of(model)
    heard: list[torch.Tensor] = []
    handle = body.h[0].mlp.register_forward_pre_hook(lambda module, given: heard.append(given[0]))
    (read,) = activations(model, (features(model, 0, coder, tag="coder"),), ids, lengths)
    handle.remove()
    np.testing.assert_allclose(read["features 0 coder"], coder.encode(heard[0]).numpy(), rtol=1e-5, atol=1e-5)


def test_a_dictionary_of_another_width_is_refused(tmp_path: Path, tiny: Callable[..., Any]) -> None:
    model = tiny()
    wide = parts() | {"W_enc": torch.randn(24, FEATURES), "W_dec": torch.randn(FEATURES, 24), "b_dec": torch.randn(24)}
    found = load_dictionary(written(tmp_path, wide))
    with pytest.raises(ValueError, match="width 24 at block 0: tiny has width 16"):
        features(model, 0, found)
    with pytest.raises(ValueError, match="width 24 was given 16"):
        found.encode(torch.zeros(2, 16))
    with pytest.raises(ValueError, match="blocks 0 to 1"):
        features(model, 2, load_dictionary(written(tmp_path, parts())))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W_enc": None}, r"missing: W_enc \(W_enc, encoder.weight"),
        ({"W_dec": None, "b_enc": None}, "missing: b_enc .*; W_dec"),
        ({"b_enc": torch.zeros(3)}, "3 biases: they don't fit"),
        ({"W_dec": torch.zeros(7, WIDTH)}, "a decoder of shape"),
        ({"b_dec": torch.zeros(3)}, "an offset of 3"),
        ({"k": torch.tensor(FEATURES + 1)}, "k is 41, of 40"),
        ({"W_dec": torch.full((FEATURES, WIDTH), torch.nan)}, "NaN or infinite"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    tensors = {name: part for name, part in (parts() | change).items() if part is not None}
    with pytest.raises(ValueError, match=message):
        load_dictionary(written(tmp_path, tensors))


def test_no_file_and_no_safetensors_are_errors(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x80\x04 this would unpickle")
    for name in ("x", "absent"):
        with pytest.raises(ValueError, match="no safetensors file"):
            load_dictionary(tmp_path / name)


def test_square_dictionaries_lie_by_their_names(tmp_path: Path) -> None:
    square = {name: torch.randn(6, 6) for name in ("W_enc", "W_dec")} | {
        "b_enc": torch.zeros(6),
        "b_dec": torch.zeros(6),
    }
    assert torch.equal(load_dictionary(written(tmp_path, square)).encoder, square["W_enc"])
    linear = LINEAR(square)
    found = load_dictionary(written(tmp_path, linear))
    assert isinstance(found, Dictionary)
    assert torch.equal(found.encoder, square["W_enc"])
    assert torch.equal(found.decoder, square["W_dec"])
