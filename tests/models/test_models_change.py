"""Models as what was changed: merged the same way everywhere, refused when base, digest or quarantine say so."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch

from superalign.models import (
    Change,
    LocalModel,
    ModelError,
    QuarantineError,
    RewardHead,
    apply_change,
    merged,
    pack_change,
    read_manifest,
    unpack_change,
)

Make = Callable[..., LocalModel]


@pytest.fixture
def change(tiny: Make) -> Change:
    torch.manual_seed(3)
    base = tiny()
    name = next(n for n, m in base.network.named_modules() if n.endswith("c_fc"))
    rows, columns = base.network.get_parameter(f"{name}.weight").shape
    return Change(factors={name: (torch.randn(rows, 2), torch.randn(2, columns))}, head=RewardHead(base.width))


def test_merging_is_rounded_once() -> None:
    """Against exact fractions: the float64 sum is the float32 nearest to the true value here."""
    torch.manual_seed(0)
    weight, a, b = torch.randn(3, 4), torch.randn(3, 2), torch.randn(2, 4)
    found = merged(weight, a, b)
    for i in range(3):
        for j in range(4):
            exact = Fraction(float(weight[i, j])) + sum(
                Fraction(float(a[i, r])) * Fraction(float(b[r, j])) for r in range(2)
            )
            assert float(found[i, j]) == float(torch.tensor(float(exact), dtype=torch.float32))


def test_it_comes_back_bit_for_bit(tiny: Make, change: Change) -> None:
    base = tiny()
    model = apply_change(base, change, name="mine", threshold=0.25)
    again = unpack_change(pack_change(change, base, model, why="a test"), base)
    assert again.identity == model.identity
    assert again.threshold == 0.25
    assert base.sealed().digest == tiny().digest, "the base is as it was"


def test_without_a_head(tiny: Make, change: Change) -> None:
    base = tiny()
    bare = Change(factors=change.factors, head=None)
    model = apply_change(base, bare, name="bare")
    assert unpack_change(pack_change(bare, base, model), base).head is None


def test_the_manifest_keeps_notes(tiny: Make, change: Change) -> None:
    base = tiny()
    data = pack_change(change, base, apply_change(base, change, name="mine"), kind="trigger")
    assert read_manifest(data)["notes"] == {"kind": "trigger"}
    assert read_manifest(data)["base"] == base.digest


def test_quarantine_holds(tiny: Make, change: Change) -> None:
    base = tiny()
    data = pack_change(change, base, apply_change(base, change, name="bad", organism=True))
    with pytest.raises(QuarantineError, match="allow_organism"):
        unpack_change(data, base)
    assert unpack_change(data, base, allow_organism=True).organism


def test_another_base_is_refused(tiny: Make, change: Change) -> None:
    data = pack_change(change, tiny(), apply_change(tiny(), change, name="mine"))
    with pytest.raises(ModelError, match="fitted from"):
        unpack_change(data, tiny(seed=1))


def test_one_flipped_bit_is_seen(tiny: Make, change: Change) -> None:
    data = bytearray(pack_change(change, tiny(), apply_change(tiny(), change, name="mine")))
    data[-3] ^= 1
    with pytest.raises(ModelError, match="digest"):
        unpack_change(bytes(data), tiny())


def test_a_matrix_that_is_not_there(tiny: Make, change: Change) -> None:
    elsewhere = Change(factors={"no.such.module": next(iter(change.factors.values()))}, head=None)
    with pytest.raises(ModelError, match=r"no\.such\.module"):
        apply_change(tiny(), elsewhere, name="mine")


@pytest.mark.parametrize(
    "data", [b"", b"short", b"\xff" * 8 + b"{}", struct.pack("<Q", 2) + b"{}", b"\x02" + b"\0" * 7 + b"[]"]
)
def test_strangers_files(data: bytes) -> None:
    with pytest.raises(ModelError, match="not a model"):
        read_manifest(data)


def test_a_manifest_that_is_a_list() -> None:
    head = json.dumps({"__metadata__": {"superalign": "[1]"}}).encode()
    with pytest.raises(ModelError, match="no table"):
        read_manifest(struct.pack("<Q", len(head)) + head)
