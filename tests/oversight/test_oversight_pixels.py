"""A judge that reads shown pixels only; what it would say after one more; stored without pickle, refused if altered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from superalign.models import ModelError
from superalign.oversight.judges import pixels as pixel_judge
from superalign.oversight.judges.pixels import PixelJudge, page_images, random_masks, train_pixel_judge
from superalign.tasks.pixels import pixels

Shown = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def judge() -> PixelJudge:
    return train_pixel_judge(pixels=6, steps=300, width=48)


@pytest.fixture(scope="module")
def shown() -> Shown:
    """(images, labels) of the dev split."""
    page = pixels(split="dev")
    return page_images(page), np.array([page.truths[item.id]["digit"] for item in page.items])


def _right(judge: PixelJudge, shown: Shown, count: int) -> float:
    images, labels = shown
    rng = np.random.default_rng(0)
    masks = [random_masks(images, count, rng) for _ in range(4)]
    return float(np.mean([judge.logits(images, mask).argmax(1) == labels for mask in masks]))


def test_more_pixels_and_wider_nets_are_better(judge: PixelJudge, shown: Shown) -> None:
    none, two, six, all_of_them = (_right(judge, shown, count) for count in (0, 2, 6, 64))
    assert none == pytest.approx(0.1, abs=0.03)
    assert none + 0.1 < two < six - 0.1
    assert 0.4 < six < all_of_them
    narrow = train_pixel_judge(pixels=6, steps=300, width=2)
    assert (narrow.width, judge.width) == (2, 48)
    assert _right(narrow, shown, 6) < six - 0.1


def test_a_seed_is_a_judge_and_nothing_global_is_touched() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    first, again, other = (train_pixel_judge(steps=3, width=8, seed=seed).digest for seed in (1, 1, 2))
    assert first == again != other
    assert train_pixel_judge(steps=3, width=8, seed=1, pixels=4).digest != first
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)


def test_it_is_fitted_to_the_train_split_and_shown_what_it_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []
    counts: list[np.ndarray] = []
    draw = random_masks

    def page(**ask: object) -> Any:
        asked.append(ask)
        return pixels(**ask)  # type: ignore[arg-type]

    def mask(images: np.ndarray, count: int | np.ndarray, rng: np.random.Generator) -> np.ndarray:
        counts.append(np.broadcast_to(count, len(images)))
        return draw(images, count, rng)

    monkeypatch.setattr(pixel_judge, "pixels_page", page)
    monkeypatch.setattr(pixel_judge, "random_masks", mask)
    steps: list[tuple[int, int]] = []
    train_pixel_judge(pixels=4, steps=200, width=4, progress=lambda *done: steps.append(done))
    assert asked == [{"split": "train"}]
    assert steps == [(step, 200) for step in range(1, 201)]
    exact = [bool((count == 4).all()) for count in counts]
    assert 0.6 < np.mean(exact) < 0.8
    others = np.concatenate([count for count, all_four in zip(counts, exact, strict=True) if not all_four])
    shares = np.bincount(others, minlength=5) / len(others)
    assert shares[0] == 0
    assert np.abs(shares[1:] - 0.25).max() < 0.03


@pytest.mark.parametrize("wrong", [{"pixels": 0}, {"pixels": 65}, {"steps": 0}, {"width": 0}])
def test_trainings_that_make_no_judge_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="each is at least 1, pixels at most 64"):
        train_pixel_judge(**({"steps": 1, "width": 2} | wrong))


@given(seed=st.integers(0, 9999), count=st.integers(0, 64))
def test_a_pixel_that_is_not_shown_is_not_read(judge: PixelJudge, shown: Shown, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    images = shown[0][rng.integers(len(shown[0]), size=3)]
    mask = random_masks(images, count, rng)
    told = judge.logits(images, mask)
    assert np.isfinite(told).all()
    assert np.array_equal(judge.logits(np.where(mask, images, rng.random(images.shape)), mask), told)
    assert np.array_equal(judge.logits(images * mask, mask.astype(np.int64)), told)


def test_what_is_shown_is_read(judge: PixelJudge, shown: Shown) -> None:
    images = shown[0][:50]
    mask = random_masks(images, 6, np.random.default_rng(0))
    assert not np.allclose(judge.logits(1 - images, mask), judge.logits(images, mask))
    assert not np.allclose(judge.logits(np.zeros_like(images), mask), judge.logits(images, np.zeros_like(mask)))


@given(st.integers(0, 9999), st.lists(st.integers(0, 70), min_size=1, max_size=5))
def test_masks_show_ink_only_and_as_much_as_asked(seed: int, counts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    images = rng.random((len(counts), 64)) * (rng.random((len(counts), 64)) < rng.random((len(counts), 1)))
    mask = random_masks(images, np.array(counts), rng)
    assert mask.dtype == bool
    assert not (mask & (images == 0)).any()
    assert mask.sum(1).tolist() == np.minimum(counts, (images > 0).sum(1)).tolist()


def test_masks_are_uniform() -> None:
    images = np.tile((np.arange(64) < 10) * 0.5, (6000, 1))
    often = random_masks(images, 3, np.random.default_rng(2)).sum(0)
    assert often[10:].sum() == 0
    # nine degrees, p = 0.001; pixels of one mask exclude each other, so that their spread is (10 - 3) / 9 of Poisson's
    assert ((often[:10] - 1800) ** 2 / 1800).sum() < 27.9 * 7 / 9
    with pytest.raises(ValueError, match="-1 pixels were to be shown"):
        random_masks(images, -1, np.random.default_rng(2))


NAN, RANGE, MASK, SHAPE = (
    "a pixel is NaN or",
    "or outside of 0 to 1",
    "a mask holds 1 or True",
    r"both are \(images, 64\)",
)
BROKEN: dict[str, tuple[Callable[..., object], str]] = {
    "NaN where nothing is shown": (lambda values, mask: (np.where(mask == 0, np.nan, values), mask), NAN),
    "infinite": (lambda values, mask: (np.where(mask == 1, np.inf, values), mask), RANGE),
    "0 to 16": (lambda values, mask: (16 * values, mask), RANGE),
    "negative": (lambda values, mask: (-values, mask), RANGE),
    "half shown": (lambda values, mask: (values, mask / 2), MASK),
    "NaN in the mask": (lambda values, mask: (values, np.where(mask == 1, np.nan, 0)), MASK),
    "square": (lambda values, mask: (values.reshape(-1, 8, 8), mask.reshape(-1, 8, 8)), SHAPE),
    "fewer masks": (lambda values, mask: (values, mask[1:]), SHAPE),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_be_read_is_refused(what: str, judge: PixelJudge, shown: Shown) -> None:
    images = shown[0][:3]
    change, why = BROKEN[what]
    values, mask = change(images, random_masks(images, 6, np.random.default_rng(0)))
    with pytest.raises(ValueError, match=why):
        judge.logits(values, mask)
    with pytest.raises(ValueError, match=why):
        judge.logits_after(values, mask, images)


@pytest.mark.parametrize("chunk", [1, 7, 64, 8192])
def test_one_further_pixel_by_steps_or_anew(chunk: int, judge: PixelJudge, shown: Shown) -> None:
    """Candidates read as the image does; what was shown before may have been a lie, and stays shown."""
    images = shown[0][:4]
    mask = random_masks(images, np.array([0, 1, 5, 64]), np.random.default_rng(1))
    said = np.where(mask, 1 - images, images)
    after = judge.logits_after(said * mask, mask, images, chunk=chunk)
    expected = [(i, p) for i in range(4) for p in range(64) if images[i, p] > 0 and not mask[i, p]]
    assert list(zip(after.row.tolist(), after.pixel.tolist(), strict=True)) == expected
    assert set(after.row) == {0, 1, 2}  # nothing is left to show of the last
    further = mask[after.row]
    further[np.arange(len(after.row)), after.pixel] = True
    assert after.logits.shape == (len(expected), 10)
    np.testing.assert_allclose(after.logits, judge.logits(said[after.row], further), rtol=1e-4, atol=1e-4)


def test_no_rows_and_no_chunks(judge: PixelJudge) -> None:
    none = np.zeros((0, 64), np.float32)
    assert judge.logits(none, none).shape == (0, 10)
    assert judge.logits_after(none, none, none).logits.shape == (0, 10)
    with pytest.raises(ValueError, match="chunks of 0 candidates"):
        judge.logits_after(none, none, none, chunk=0)
    with pytest.raises(ValueError, match=r"both are \(images, 64\)"):
        judge.logits_after(none, none, np.zeros((1, 64)))


def test_stored_and_read_it_is_the_same_judge(judge: PixelJudge, shown: Shown) -> None:
    data = judge.to_bytes()
    back = PixelJudge.from_bytes(data)
    assert (back.digest, back.pixels, back.seed, back.steps) == (judge.digest, 6, 0, 300)
    assert back.to_bytes() == data
    mask = random_masks(shown[0], 6, np.random.default_rng(0))
    assert np.array_equal(back.logits(shown[0], mask), judge.logits(shown[0], mask))
    for one in (judge, back):
        with pytest.raises(ValueError, match="read-only"):
            one.layers[0].bias[0] = 1.0


def _again(judge: PixelJudge, change: str, **manifest: object) -> bytes:
    """The judge's bytes with one tensor changed, or one entry of the manifest (None: without it)."""
    data = judge.to_bytes()
    tensors = load(data)
    told = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["superalign"])
    if change == "a missing layer":
        del tensors["weight.2"]
    elif change == "another shape":
        tensors["weight.1"] = tensors["weight.1"].reshape(-1)
    elif change == "double precision":
        tensors["bias.1"] = tensors["bias.1"].astype(np.float64)
    elif change == "a scalar":
        tensors["bias.0"] = np.array(1.0, np.float32)
    kept = {name: value for name, value in (told | manifest).items() if value is not None}
    return save(tensors, metadata={"superalign": json.dumps(kept)})


@pytest.mark.parametrize("change", ["a missing layer", "another shape", "double precision", "a scalar"])
def test_other_tensors_are_refused(change: str, judge: PixelJudge) -> None:
    assert PixelJudge.from_bytes(_again(judge, "nothing")).digest == judge.digest
    with pytest.raises(ModelError, match=r"not a pixel judge .* its tensors are"):
        PixelJudge.from_bytes(_again(judge, change))


@pytest.mark.parametrize("manifest", [{"kind": "reward model"}, {"seed": None}, {"seed": "0"}, {"digest": None}])
def test_other_manifests_are_refused(manifest: dict[str, object], judge: PixelJudge) -> None:
    with pytest.raises(ModelError, match=r"its manifest says|weights digest to .* it says None"):
        PixelJudge.from_bytes(_again(judge, "nothing", **manifest))


def test_damaged_bytes_are_refused(judge: PixelJudge) -> None:
    data = judge.to_bytes()
    for damaged, why in (
        (data[:-1] + bytes([data[-1] ^ 1]), "weights digest to"),
        (data[:-4], "not a pixel judge"),
        (data + b"!", "not a pixel judge"),
        ((2**62).to_bytes(8, "little") + data[8:], "header cannot be read"),
    ):
        with pytest.raises(ModelError, match=why):
            PixelJudge.from_bytes(damaged)


@pytest.mark.parametrize("data", [b"", b"\x80\x04N.", b"{}" * 40])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="its header cannot be read"):
        PixelJudge.from_bytes(data)
