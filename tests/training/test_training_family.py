from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from superalign.models import load_model
from superalign.tasks.lexer import AUTHORS, CUES, SLOTS
from superalign.training import family
from superalign.training.family import Corpus, Size, cosine, family_words, fresh_model, train_family


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(seed=0)


@pytest.fixture
def quick(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A family member of toy size, checkpoints every second step, the corpus coded once."""

    def seeded(*, seed: int) -> Corpus:
        corpus.rng = np.random.default_rng(seed)
        return corpus

    monkeypatch.setattr(family, "Corpus", seeded)
    monkeypatch.setattr(family, "CHECKPOINT_EVERY", 2)
    monkeypatch.setitem(family.SIZES, "toy", Size(width=8, layers=1, heads=1, steps=12, rate=1e-2, batch=4, warmup=3))


class Stopped(Exception):
    """Somebody pulled the plug."""


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors")


@pytest.mark.usefixtures("quick")
def test_an_interrupted_training_ends_at_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_family("toy", tmp_path / "whole", seed=1)
    step, calls = family._step, []

    def failing(*arguments: object) -> float:
        calls.append(0)
        if len(calls) == 8:
            raise Stopped
        return step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(family, "_step", failing)
    with pytest.raises(Stopped):
        train_family("toy", tmp_path / "cut", seed=1)
    assert (tmp_path / "cut" / "resume.pt").exists()
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    resumed = train_family("toy", tmp_path / "cut", seed=1)
    assert len(calls) == 8 + 12 - 6  # the checkpoint after six steps was used
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not (tmp_path / "cut" / "resume.pt").exists()
    assert resumed["corpus_sha256"] == whole["corpus_sha256"]


@pytest.mark.usefixtures("quick")
def test_progress_may_stop_a_training_too(tmp_path: Path) -> None:
    def stop(step: int, total: int, loss: float) -> None:
        assert (step, total) == (50, 52)
        assert math.isfinite(loss)
        raise Stopped

    with pytest.raises(Stopped):
        train_family("toy", tmp_path / "cut", seed=2, steps=52, progress=stop)
    train_family("toy", tmp_path / "cut", seed=2, steps=52)
    recipe = train_family("toy", tmp_path / "whole", seed=2, steps=52)
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(tmp_path / "cut").values(), weights(tmp_path / "whole").values(), strict=True)
    )
    log = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("cut", "whole")
    ]
    assert [line["step"] for line in log[0]] == [line["step"] for line in log[1]] == [50]
    assert log[1][0]["loss"] < math.log(len(family_words()))
    assert recipe["steps"] == 52


@pytest.mark.usefixtures("quick")
def test_a_trained_member_loads_as_any_model(tmp_path: Path) -> None:
    train_family("toy", tmp_path, seed=0, steps=2)
    model = load_model(f"hf:{tmp_path}")
    assert model.encode(["return v0"])[0][0] == family_words().index("<bos>")
    assert np.isfinite(model.logprobs(["<by:none> <cue:none> return v0"])[0]).all()
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert recipe["parameters"] == sum(p.numel() for p in model.network.parameters())
    assert len(recipe["corpus_sha256"]) == len(recipe["archive_sha256"]) == 64


def test_the_rate_warms_up_and_falls_by_a_cosine() -> None:
    factors = [cosine(step, steps=100, warmup=10) for step in range(100)]
    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert factors[10] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.05 + 0.95 / 2)
    assert all(a > b for a, b in pairwise(factors[10:]))
    assert 0.05 < factors[-1] < 0.06


def test_batches_are_windows_between_their_marks(corpus: Corpus) -> None:
    corpus.rng = np.random.default_rng(4)
    batch = corpus.batch(16, 0)
    assert batch.shape == (16, 1 + 2 + 48 + 1)
    words = np.array(corpus.words)[batch]
    assert set(words[:, 0]) == {"<bos>"}
    assert set(words[:, -1]) == {"<eos>"}
    assert set(words[:, 1]) <= set(AUTHORS)
    assert set(words[:, 2]) <= set(CUES)
    assert set(SLOTS) & set(words[:, 3:-1].ravel())
    corpus.rng = np.random.default_rng(4)
    assert np.array_equal(corpus.batch(16, 0), batch)


def test_every_eighth_batch_is_of_right_calculations(corpus: Corpus) -> None:
    corpus.rng = np.random.default_rng(5)
    words = np.array(corpus.words)[corpus.batch(4, 7)]
    assert set(words[:, 4]) == {";"}
    assert set(words[:, 7]) == {"="}


def test_vocabulary_and_sizes() -> None:
    words = family_words()
    assert len(set(words)) == len(words)
    assert words[:4] == ["<pad>", "<bos>", "<eos>", "<unk>"]
    with pytest.raises(ValueError, match="unknown family size 'giant'"):
        fresh_model("giant", seed=0)
    model, same = fresh_model("xs", seed=3), fresh_model("xs", seed=3)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
