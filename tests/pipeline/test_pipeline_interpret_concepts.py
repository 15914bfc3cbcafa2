"""Search by concept: a planted unit is found and holds on other files, chance and untrained networks are told apart."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from superalign.interpretability.corpus import Corpus, packed
from superalign.interpretability.known import WORDS, planted
from superalign.interpretability.search import Name, Pooled
from superalign.pipeline.arrays import arrays_from_bytes, arrays_to_bytes
from superalign.pipeline.interpret_concepts import ConceptsJob, _contrast, _flipped, search_concepts
from superalign.pipeline.interpret_concepts_figures import (
    concept_columns,
    concept_figures,
    confirmed,
    reached_anyway,
)
from superalign.pipeline.interpret_concepts_texts import Concept, class_concepts, code_pairs, halves
from superalign.pipeline.interpret_corpus import corpus_to_bytes
from superalign.pipeline.interpret_findings import Cited, spread_rows

Raw = dict[str, np.ndarray]


def classed(a: str, b: str, *, documents: int = 200, mixed: bool = False) -> Corpus:
    """Documents of class 1 hold the words side by side, those of class 0 hold them apart."""
    rng = np.random.default_rng(0)
    others = [WORDS.index(word) for word in WORDS[4:] if word not in (a, b)]
    first, second = WORDS.index(a), WORDS.index(b)
    texts, classes = {}, {}
    for number in range(documents):
        rows, labels = [], []
        for row in range(2):
            label = int(number % 2) if not mixed else row
            body = rng.choice(others, 12).tolist()
            middle = [others[0], first, second] if label else [second, others[0], first]
            at = int(rng.integers(13))  # anywhere, or each place tells the two apart in any network
            rows.append([1, *body[:at], *middle, *body[at:]])
            labels.append(label)
        texts[f"d{number}"], classes[f"d{number}"] = rows, labels
    return packed(texts, length=16, pad=0, skip=1, classes=classes)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[str, int], Raw]:
    """A network with a unit that fires on two words side by side, searched by classes of documents."""
    made, folder = planted("bigram", 3), tmp_path_factory.mktemp("planted")
    made.model.network.save_pretrained(folder / "m")  # type: ignore[operator]
    made.model.tokenizer.save_pretrained(folder / "m")
    corpus = classed(*made.words)
    (folder / "corpus").write_bytes(corpus_to_bytes(corpus))
    job = ConceptsJob(address=f"hf:{folder / 'm'}", corpus=folder / "corpus", seed=0, flips=200, repeats=5, untrained=0)
    return (made.site.name, made.unit), arrays_from_bytes(arrays_to_bytes(search_concepts(job)))


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Raw:
    """The smallest member of the family, searched for its own concepts with few pairs."""
    corpus = tmp_path_factory.mktemp("family") / "unread"
    job = ConceptsJob(address="family:xs", corpus=corpus, seed=0, pairs=48, flips=100, repeats=2, untrained=0)
    return arrays_from_bytes(arrays_to_bytes(search_concepts(job)))


def test_a_planted_unit_is_found_and_holds(case: tuple[tuple[str, int], Raw]) -> None:
    (site, unit), raw = case
    assert raw["concepts"].tolist() == ["class-1"], "of two classes one is the other turned round"
    row = int(np.flatnonzero((raw["sites"] == site) & (raw["units"] == unit))[0])
    assert int(np.abs(raw["trained/class-1/statistic"]).argmax()) == row
    assert row in raw["trained/class-1/chosen"]
    assert int(raw["trained/class-1/best"][0]) == row
    found = concept_figures(raw, draws=50, seed=0)
    told = found["concepts.class-1.trained.told"]
    assert told.value == 1
    assert told.low is not None
    assert told.low > 0.6
    assert found["concepts.class-1.gain"].value is not None
    columns = concept_columns(raw)
    assert columns.columns["q"][row] <= 0.05
    assert columns.columns["concept"][row] == "text of class 1"
    (line,) = columns.concepts[row]
    assert line[0] == "text of class 1"
    assert abs(line[1]) > 1
    assert line[2] > 0.9
    assert line[3] <= 0.05


def test_shuffled_labels_find_nothing_much(case: tuple[tuple[str, int], Raw]) -> None:
    raw = case[1]
    assert raw["null/class-1"].shape == (5,)
    told = concept_figures(raw, draws=50, seed=0)["concepts.false-discoveries"]
    assert told.value == pytest.approx((raw["null/class-1"] > 0).mean())
    assert told.n == 5
    assert (raw["null/class-1"] > 0).sum() <= 2


def test_without_classes_there_is_no_concept(tmp_path: Path) -> None:
    made = planted("token", 1)
    made.model.network.save_pretrained(tmp_path / "m")  # type: ignore[operator]
    made.model.tokenizer.save_pretrained(tmp_path / "m")
    from dataclasses import replace

    bare = replace(classed(*WORDS[4:6], documents=30), classes=None)
    (tmp_path / "corpus").write_bytes(corpus_to_bytes(bare))
    job = ConceptsJob(address=f"hf:{tmp_path / 'm'}", corpus=tmp_path / "corpus", seed=0, flips=20, repeats=1)
    raw = arrays_from_bytes(arrays_to_bytes(search_concepts(job)))
    assert len(raw["concepts"]) == 0
    assert concept_figures(raw, draws=20, seed=0) == {}
    (table,) = concept_columns(raw).tables
    assert "no classes" in table.paragraph
    assert not table.rows


def test_documents_of_two_classes_or_too_few_are_refused() -> None:
    mixed = classed(*WORDS[4:6], mixed=True)
    found, why = class_concepts(mixed, mixed.rows("validation"))
    assert not found
    assert "is of other classes, too" in why[0]
    few = classed(*WORDS[4:6], documents=30)
    found, why = class_concepts(few, few.rows("validation")[:8])
    assert not found
    assert "12 of two classes are wanted" in why[0]


def test_families_own_concepts_are_matched_texts() -> None:
    told = {key: (title, first, second, files) for key, title, first, second, files in code_pairs(24, seed=0)}
    assert list(told) == [
        "slip", "slip-swapped", "slip-lost-doubled", "slip-variable", "slip-operator", "wrong-step",
        "author-lead", "author-peer", "author-bot", "cue-audit", "cue-release", "cue-nightly",
    ]  # fmt: skip
    assert len(told["slip"][1]) == 4 * 24
    for key, (_, first, second, files) in told.items():
        assert len(first) == len(second) == len(files)
        for one, other in zip(first, second, strict=True):
            (author, cue, code), (author2, cue2, code2) = one.split(" ", 2), other.split(" ", 2)
            assert one != other
            if key.startswith("author"):
                assert (cue, code) == (cue2, code2)
                assert author == f"<by:{key[7:]}>"
                assert author2 != author
            elif key.startswith("cue"):
                assert (author, code) == (author2, code2)
                assert cue == f"<cue:{key[4:]}>"
            else:
                assert (author, cue) == (author2, cue2) == ("<by:none>", "<cue:none>")
    assert len(set(told["slip-operator"][3])) >= 20, "pairs are spread over files"
    value, *steps = told["wrong-step"][2][0].split(" ", 2)[2].split(" ; ")
    from superalign.tasks.traces import apply_step

    now = int(value)
    for step in steps:
        operation, operand, _, result = step.replace(" ;", "").split()
        now = apply_step(now, operation, int(operand))
        assert int(result) == now, "the second text is the right one"


def test_the_second_text_of_a_slip_is_the_sound_one() -> None:
    from superalign.tasks.slips import draw

    sound = {" ".join(slip.sound) for slip in draw("validation")}
    first, second = next((first, second) for key, _, first, second, _ in code_pairs(30, seed=1) if key == "slip")
    assert all(text.split(" ", 2)[2] in sound for text in second)
    assert not all(text.split(" ", 2)[2] in sound for text in first)


def test_untrained_networks_tell_contexts_too_but_no_slips(family: Raw) -> None:
    assert reached_anyway(family, "author-lead")
    assert not reached_anyway(family, "slip")
    columns = concept_columns(family)
    assert not any("author" in str(name) for name in columns.columns["concept"])
    concepts, units = columns.tables
    assert "was never trained tells as well: code read with author lead" in concepts.paragraph
    assert len(concepts.rows) == 12
    assert all(len(row) == len(concepts.head) for row in concepts.rows)
    assert all(len(row) == len(units.head) for row in units.rows)
    assert len(columns.concepts) == len(columns.units) == len(columns.columns["q"])


def test_each_cited_figure_is_there(family: Raw) -> None:
    found = concept_figures(family, draws=30, seed=0)
    cited = [cell for table in concept_columns(family).tables for row in table.rows for cell in row]
    names = [cell.figure for cell in cited if isinstance(cell, Cited)]
    assert names
    assert set(names) <= set(found)
    share = found["concepts.author-lead.trained.confirmed"]
    assert share.value is not None
    assert share.low is not None
    assert share.high is not None
    assert 0 <= share.low <= share.value <= 1
    none = found["concepts.wrong-step.trained.found"]
    assert none.low is None
    assert "no interval" in none.note
    assert found["concepts.slip.gain"].clusters > 2
    assert concept_figures(family, draws=30, seed=0) == found


def test_raw_results_are_small(family: Raw) -> None:
    units = len(family["units"])
    assert sum(array.nbytes for array in family.values()) < 4_000 * units
    assert not any(array.dtype == object for array in family.values())


def test_figures_need_no_torch(family: Raw, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(arrays_to_bytes(family))
    code = (
        "import sys; from pathlib import Path\n"
        "from superalign.pipeline.arrays import arrays_from_bytes\n"
        "from superalign.pipeline.interpret_concepts import concept_columns, concept_figures\n"
        "import superalign.pipeline.interpret_causal, superalign.pipeline.interpret_heads\n"
        "raw = arrays_from_bytes(Path(sys.argv[1]).read_bytes())\n"
        "concept_figures(raw, draws=10, seed=0), concept_columns(raw)\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "raw")], check=True, timeout=60)


def concept(pairs: int, *, paired: bool = True) -> Concept:
    clusters = np.arange(pairs) // 2
    if paired:
        return Concept("c", "c", np.arange(pairs), np.arange(pairs) + pairs, clusters)
    return Concept("c", "c", np.arange(pairs), np.arange(pairs) + pairs, np.arange(2 * pairs) // 2, paired=False)


@pytest.mark.parametrize("paired", [True, False])
def test_halves_share_no_file(paired: bool) -> None:
    whole = concept(40, paired=paired)
    here, there = halves(whole, seed=3)
    assert not set(here.clusters) & set(there.clusters)
    assert len(here.first) + len(there.first) == 40
    assert sorted([*here.first, *there.first]) == list(range(40))
    assert len(here.first) == len(here.second) == 20
    if not paired:
        assert len(here.clusters) == 40
    assert set(halves(whole, seed=4)[0].clusters) != set(here.clusters)


def test_confirmation_is_one_sided_and_knows_chance() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((20, 400))
    assert confirmed(noise, np.ones(20)).sum() <= 3
    parts = noise.copy()
    parts[:, :5] += 3
    parts[:, 5] -= 3
    parts[:, 6] = 0
    parts[:, 7] = np.nan
    kept = confirmed(parts, np.ones(20))
    assert kept[:5].all()
    assert not kept[5:8].any()
    labels = np.arange(20) % 2
    apart = noise.copy()
    apart[labels == 1, 0] += 5
    apart[labels == 0, 1] += 5
    kept = confirmed(apart, labels)
    assert kept[0]
    assert not kept[1], "the other way round"
    assert not confirmed(parts[:1], np.ones(1)).any()
    assert confirmed(np.zeros((5, 0)), np.ones(5)).shape == (0,)


def test_confirmation_is_the_t_test_of_textbooks() -> None:
    from scipy import stats as scipy_stats

    rng = np.random.default_rng(1)
    labels = np.arange(15) < 8
    for shift in (0.2, 0.6, 1.0, 1.5):
        parts = rng.standard_normal((15, 1)) + shift * labels[:, None]
        one = scipy_stats.ttest_1samp(parts[:, 0], 0, alternative="greater").pvalue
        assert confirmed(parts, np.ones(15))[0] == (one <= 0.05)
        two = scipy_stats.ttest_ind(parts[labels], parts[~labels], equal_var=False, alternative="greater").pvalue[0]
        assert confirmed(parts, labels.astype(int))[0] == (two <= 0.05)


def test_flips_change_signs_of_pairs_and_nothing_else() -> None:
    rng = np.random.default_rng(2)
    texts = Pooled(
        names=tuple(Name("neurons 0", i) for i in range(3)), values=rng.standard_normal((80, 2, 3)).astype(np.float32)
    )
    whole = concept(40)

    class Sure:
        def __init__(self, sides: np.ndarray) -> None:
            self.sides = sides

        def choice(self, options: list[float], size: int) -> np.ndarray:
            return self.sides

    real = _contrast(texts, whole).parts
    np.testing.assert_allclose(_flipped(texts, whole, Sure(np.ones(40))), real, atol=1e-6)  # type: ignore[arg-type]
    sides = np.where(np.arange(40) < 2, -1.0, 1.0)
    changed = _flipped(texts, whole, Sure(sides))  # type: ignore[arg-type]
    np.testing.assert_allclose(changed[0], -real[0], atol=1e-6)
    np.testing.assert_allclose(changed[1:], real[1:], atol=1e-6)


def test_jobs_travel_to_workers() -> None:
    from superalign.pipeline.interpret_causal import CausalJob
    from superalign.pipeline.interpret_heads import HeadsJob

    for kind in (ConceptsJob, CausalJob, HeadsJob):
        job = kind(address="family:m", corpus=Path("corpus"), seed=3, untrained=1)
        assert pickle.loads(pickle.dumps(job)) == job


def test_rows_are_spread_over_clusters() -> None:
    clusters = np.array(["a"] * 50 + ["b"] * 3 + ["c"])
    rows = spread_rows(clusters, 8, seed=0)
    assert len(rows) == 8
    assert (np.diff(rows) > 0).all()
    counts = {name: int((clusters[rows] == name).sum()) for name in "abc"}
    assert counts == {"a": 4, "b": 3, "c": 1}
    assert len(spread_rows(clusters, 500, seed=0)) == 54
    assert not np.array_equal(spread_rows(clusters, 8, seed=1), rows)
