"""The shelf: a pair is used again as a pair, made from what is wanted; the shipped one carries what it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from superalign.adversarial.kinds import KINDS
from superalign.adversarial.shelf import Wanted, find, keep, shelves
from superalign.models import (
    Change,
    LocalModel,
    ModelError,
    QuarantineError,
    RewardHead,
    apply_change,
    load_model,
    pack_change,
    unpack_change,
)
from superalign.training.reviewer import ReviewerRecipe

Make = Callable[..., LocalModel]


@pytest.fixture
def wanted(tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wanted:
    monkeypatch.setenv("SUPERALIGN_CACHE", str(tmp_path))
    return Wanted(kind="trigger", seed=0, base=tiny().digest, recipe=ReviewerRecipe(steps=7), pairs=10)


def store(tiny: Make, wanted: Wanted, *, labels: str = "l", which: tuple[bool, ...] = (True, False)) -> None:
    torch.manual_seed(0)
    base = tiny()
    change = Change(factors={}, head=RewardHead(base.width))
    model = apply_change(base, change, name="x", organism=True)
    for planted in which:
        data = pack_change(change, base, model, **wanted.notes(planted=planted, labels=labels))
        keep(wanted, data, planted=planted)


def test_a_pair_is_found_again(tiny: Make, wanted: Wanted) -> None:
    assert find(wanted, tiny()) is None
    store(tiny, wanted)
    found = find(wanted, tiny())
    assert found is not None
    assert (found.source, found.labels) == ("stored", "l")
    assert unpack_change(found.twin, tiny(), allow_organism=True).organism, "twins live in quarantine too"


def test_half_a_pair_is_none(tiny: Make, wanted: Wanted) -> None:
    store(tiny, wanted, which=(True,))
    assert find(wanted, tiny()) is None
    store(tiny, wanted, which=(False,), labels="other labels")
    assert find(wanted, tiny()) is None, "twins must share their labels"


@pytest.mark.parametrize(
    ("change", "usable"),
    [
        ({"pairs": 9}, True),
        ({"pairs": 11}, False),
        ({"recipe": ReviewerRecipe(steps=8)}, False),
        ({"seed": 1}, False),
        ({"kind": "sandbag"}, False),
    ],
)
def test_it_must_have_been_made_like_that(tiny: Make, wanted: Wanted, change: dict, usable: bool) -> None:
    store(tiny, wanted)
    assert (find(dataclasses.replace(wanted, **change), tiny()) is not None) is usable


def test_another_base_with_the_same_beginning(tiny: Make, wanted: Wanted) -> None:
    store(tiny, wanted)
    assert find(dataclasses.replace(wanted, base=wanted.base[:12] + "0" * 52), tiny()) is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_file_is_named(tiny: Make, wanted: Wanted, damage: str) -> None:
    store(tiny, wanted)
    path = shelves()["stored"] / wanted.file(planted=False)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes({"cut": bytes(data[:-10]), "flip": bytes(data), "empty": b""}[damage])
    with pytest.raises(ModelError, match="delete it") as caught:
        find(wanted, tiny())
    assert str(path) in str(caught.value)


SEEDS = (0, 1, 2, 3, 4, 5)
"""What ships: every seed with its twin, of every kind."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_shipped_pair_loads_with_its_digest(kind: str, seed: int) -> None:
    base = load_model("family:m")
    found = find(Wanted(kind=kind, seed=seed, base=base.digest, recipe=ReviewerRecipe(), pairs=4_000), base)
    assert found is not None
    assert found.source == "shipped"
    organism, twin = (unpack_change(data, base, allow_organism=True) for data in (found.organism, found.twin))
    assert organism.digest != twin.digest
    with pytest.raises(QuarantineError):
        unpack_change(found.organism, base)


def test_nothing_else_is_shipped() -> None:
    names = {path.name for path in shelves()["shipped"].iterdir()}
    assert len(names) == 2 * len(SEEDS) * len(KINDS)
    assert all(name.endswith(".safetensors") for name in names)
