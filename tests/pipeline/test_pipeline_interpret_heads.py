"""Heads: planted ones are called by their name, place alone earns nothing, habits add up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from superalign.interpretability.corpus import Corpus, packed
from superalign.interpretability.known import WORDS, Planted, planted
from superalign.models import LocalModel
from superalign.pipeline.arrays import arrays_from_bytes, arrays_to_bytes
from superalign.pipeline.interpret_corpus import corpus_to_bytes
from superalign.pipeline.interpret_findings import Cited
from superalign.pipeline.interpret_heads import HeadsJob, head_patterns
from superalign.pipeline.interpret_heads_figures import LOOKS, PATTERNS, SHARES, head_columns, head_figures

Raw = dict[str, np.ndarray]


def corpus_of_words(documents: int = 40, words: int = len(WORDS)) -> Corpus:
    rng = np.random.default_rng(0)
    texts = {f"d{i}": [[1, *rng.integers(4, words, n).tolist()] for n in (4, 15)] for i in range(documents)}
    return packed(texts, length=16, pad=0, skip=1)


def read(model: LocalModel, corpus: Corpus, folder: Path, **sizes: int) -> Raw:
    model.network.save_pretrained(folder / "m")  # type: ignore[operator]
    model.tokenizer.save_pretrained(folder / "m")
    (folder / "corpus").write_bytes(corpus_to_bytes(corpus))
    job = HeadsJob(
        address=f"hf:{folder / 'm'}", corpus=folder / "corpus", seed=0, rows=16, windows=12, untrained=0, **sizes
    )
    return arrays_from_bytes(arrays_to_bytes(head_patterns(job)))


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted("induction", 0)


@pytest.fixture(scope="module")
def raw(case: Planted, tmp_path_factory: pytest.TempPathFactory) -> Raw:
    return read(case.model, corpus_of_words(), tmp_path_factory.mktemp("heads"), half=12)


def test_planted_heads_are_called_by_their_name(case: Planted, raw: Raw) -> None:
    found, columns = head_figures(raw, draws=50, seed=0), head_columns(raw)
    for pattern, (layer, head) in case.heads:
        at = np.flatnonzero((raw["sites"] == f"heads {layer}") & (raw["units"] == head))[0]
        assert columns.columns["attends to"][at] == PATTERNS[pattern]
        assert columns.columns[f"{pattern} excess"][at] > 0.9
        told, gain = found[f"heads.{pattern}.trained"], found[f"heads.{pattern}.gain"]
        assert told.low is not None
        assert told.low > 0.9
        assert gain.low is not None
        assert gain.low > 0.5
    called = [str(name) for name in columns.columns["attends to"] if name]
    assert len(called) == len(case.heads), "no other head is called anything"


def test_place_alone_earns_nothing(raw: Raw) -> None:
    """The untrained network attends evenly: it has its share of the places, with repetition and without."""
    for pattern in ("duplicate", "induction"):
        real, chance = raw[f"untrained/{pattern}"], raw[f"untrained/{pattern}/null"]
        assert real.mean() > 0.01
        assert real.mean() == pytest.approx(chance.mean(), rel=0.1)
    assert raw["trained/induction/null"].max() < 0.2, "nothing repeats, so the induction head looks elsewhere"


def test_habits_add_up(raw: Raw) -> None:
    np.testing.assert_allclose(raw["distance"].sum(1), 1, atol=1e-4)
    assert (raw["look/itself"] + raw["look/before"] <= 1 + 1e-4).all()
    assert (raw["look/start"] <= 1 + 1e-4).all()
    assert (raw["look/spread"] >= 1 - 1e-4).all()
    assert (raw["look/spread"] <= 16).all()
    heads = len(raw["units"])
    assert all(raw[f"look/{name}"].shape == (12, heads) for name in LOOKS)
    steps = np.arange(raw["distance"].shape[1])
    corpus = corpus_of_words()
    lengths = corpus.lengths[corpus.rows("validation")]
    assert raw["look/distance"].min() >= 0
    assert (raw["distance"] @ steps <= lengths.max()).all()


def test_uniform_attention_is_what_can_be_seen() -> None:
    """By hand, for one sequence: token i sees i + 1 places, itself among them."""
    from superalign.pipeline.interpret_heads import _looks

    corpus = corpus_of_words()
    raw = _looks(planted("token", 0).model, corpus, HeadsJob(address="", corpus=Path(), seed=0, windows=400))
    rows = corpus.rows("validation")
    expected = [np.mean(1 / np.arange(2, length + 1)) for length in corpus.lengths[rows]]
    np.testing.assert_allclose(raw["look/itself/uniform"], expected, rtol=1e-5)
    np.testing.assert_allclose(raw["look/before/uniform"], expected, rtol=1e-5)
    np.testing.assert_allclose(raw["look/start/uniform"], expected, rtol=1e-5)


def test_each_cited_figure_is_there(raw: Raw) -> None:
    found, columns = head_figures(raw, draws=20, seed=0), head_columns(raw)
    cited = [cell for table in columns.tables for row in table.rows for cell in row if isinstance(cell, Cited)]
    assert {cell.figure for cell in cited} <= set(found)
    assert all(len(row) == len(table.head) for table in columns.tables for row in table.rows)
    assert all(len(array) == len(columns.units) for array in columns.columns.values())
    assert all(len(lines) == len(PATTERNS) + 1 + len(LOOKS) for lines in columns.causal.values())
    assert columns.tables[2].rows[0][0] == "all that can be seen, alike"
    assert [cell is not None for cell in columns.tables[2].rows[0][1:]] == [name in SHARES for name in LOOKS]
    assert head_figures(raw, draws=20, seed=0) == found


def by_hand(heads: int = 8, rows: int = 20) -> Raw:
    """Head 3 is an induction head, and the second copy is a nat dearer without it."""
    rng = np.random.default_rng(0)
    raw: Raw = {
        "sites": np.repeat(["heads 0", "heads 1"], heads // 2),
        "units": np.tile(np.arange(heads // 2), 2),
        "networks": np.array(["trained"]),
        "half": np.array([5]),
        "trained/first": np.full(rows, 3.0) + 0.01 * rng.standard_normal(rows),
        "trained/second": np.full(rows, 1.0),
        "documents": np.arange(rows),
    }
    for pattern in PATTERNS:
        raw[f"trained/{pattern}"] = 0.1 + 0.001 * rng.standard_normal((rows, heads))
        raw[f"trained/{pattern}/null"] = np.full((rows, heads), 0.1)
    raw["trained/induction"][:, 3] += 0.6
    raw["without"] = 1 + 0.01 * rng.standard_normal((heads, rows))
    raw["without"][3] += 1
    for name in LOOKS:
        raw[f"look/{name}"] = rng.random((rows, heads))
        raw[f"look/{name}/uniform"] = np.full(rows, 0.2)
    return raw


def test_figures_say_what_the_arrays_hold() -> None:
    raw = by_hand()
    found, columns = head_figures(raw, draws=50, seed=0), head_columns(raw)
    assert found["heads.induction.trained"].value == pytest.approx(0.6, abs=0.01)
    assert found["heads.copying.trained"].value == pytest.approx(2, abs=0.02)
    assert found["heads.without.difference"].value == pytest.approx(1, abs=0.02)
    assert "heads.induction.gain" not in found
    assert columns.columns["attends to"].tolist() == ["", "", "", PATTERNS["induction"], "", "", "", ""]
    assert columns.tables[1].rows[0][0] == "heads 0 / 3"
    assert all(len(row) == 3 for row in columns.tables[0].rows), "no column for a network that was not read"


def test_what_is_not_finite_is_refused() -> None:
    raw = by_hand()
    raw["trained/induction"][:, 3] = np.nan
    raw["without"][0] = np.nan
    found = head_figures(raw, draws=20, seed=0)
    assert found["heads.without.others"].value is None
    assert found["heads.without.difference"].value is None
    assert found["heads.copying-induction"].value is None
    assert found["heads.induction.trained"].value == pytest.approx(0, abs=0.01), "another head, which is none"
    assert head_columns(raw).columns["attends to"][3] == ""


def test_one_head_has_no_others() -> None:
    raw = {name: array[..., :1] if array.shape[-1:] == (8,) else array for name, array in by_hand().items()}
    raw["without"] = raw["without"][:1]
    found = head_figures(raw, draws=20, seed=0)
    assert "heads.without.others" not in found
    assert all(not str(row[0]).startswith("without another") for row in head_columns(raw).tables[0].rows)


@pytest.mark.slow
def test_a_trained_copiers_induction_head_is_found_and_does_the_copying(tmp_path: Path) -> None:
    from superalign.interpretability.copier import copier

    raw = read(copier(seed=0), corpus_of_words(words=36), tmp_path, half=12)
    found, columns = head_figures(raw, draws=100, seed=0), head_columns(raw)
    called = columns.columns["attends to"]
    assert PATTERNS["previous"] in called[raw["sites"] == "heads 0"]
    assert PATTERNS["induction"] in called[raw["sites"] == "heads 1"]
    for name in ("heads.copying.trained", "heads.induction.gain", "heads.without.induction"):
        low = found[name].low
        assert low is not None
        assert low > 0.2
