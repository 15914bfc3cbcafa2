from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from superalign.models import load_model
from superalign.tasks.stdlib import source_files
from superalign.training import family, family_large
from superalign.training.family_corpus import LargeRecipe

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "learning_curve.py"


@pytest.fixture(scope="module")
def curve() -> ModuleType:
    spec = importlib.util.spec_from_file_location("learning_curve", BENCHMARK)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["learning_curve"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def few_files(curve: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    dev = source_files("dev")
    monkeypatch.setattr(curve, "source_files", lambda split: {p: dev[p] for p in ("shlex.py", "bisect.py")})


@pytest.mark.usefixtures("few_files")
def test_the_page_of_faults_is_balanced_and_the_same_again(curve: ModuleType) -> None:
    pairs = curve.faults_page("dev", per_kind=20)
    assert pairs == curve.faults_page("dev", per_kind=20)
    assert pairs != curve.faults_page("dev", per_kind=20, seed=1)
    counts = Counter(pair.kind for pair in pairs)
    assert max(counts.values()) <= 21
    assert len(counts) > 8
    assert all(pair.sound != pair.edited for pair in pairs)
    grown = [len(p.edited) - len(p.sound) for p in pairs if p.kind in ("call", "off-by-one")]
    assert np.mean(np.sign(grown)) == pytest.approx(0.0, abs=0.1)


@pytest.mark.usefixtures("few_files")
def test_the_table_has_a_row_a_kind_and_two_for_all(curve: ModuleType) -> None:
    pairs, model = curve.faults_page("dev", per_kind=6), load_model("family:xs")
    right = curve.correct(model, pairs, seed=0, renamings=2)
    assert set(right) == {"likelihood"}
    assert set(np.unique(right["likelihood"])) <= {0.0, 0.5, 1.0}
    rows = curve.table(model, pairs, right)
    kinds = {pair.kind for pair in pairs}
    assert {row["kind"] for row in rows} == kinds | {"all", "kinds"}
    by_kind = {row["kind"]: row for row in rows}
    assert by_kind["all"]["n"] == len(pairs)
    assert by_kind["kinds"]["value"] == pytest.approx(np.mean([by_kind[k]["value"] for k in kinds]))
    assert by_kind["all"]["value"] == pytest.approx(right["likelihood"].mean())


@pytest.mark.parametrize(("steps", "taken"), [(None, family.SIZES["l"].steps), (7, 7)])
def test_the_size_l_goes_its_own_way(
    steps: int | None, taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Path, int, LargeRecipe]] = []

    def instead(out: Path, *, seed: int, recipe: LargeRecipe, progress: object) -> dict[str, object]:
        seen.append((out, seed, recipe))
        return {"size": "l"}

    monkeypatch.setattr(family_large, "train_large", instead)
    assert family.train_family("l", tmp_path, seed=3, steps=steps) == {"size": "l"}
    assert [(out, seed, recipe.steps) for out, seed, recipe in seen] == [(tmp_path, 3, taken)]
