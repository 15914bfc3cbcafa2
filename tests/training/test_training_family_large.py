from __future__ import annotations

import copy
import json
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from superalign.models import family_path, load_model, weights_digest
from superalign.tasks import lexer
from superalign.tasks.faults import KINDS
from superalign.tasks.lexer import SLOTS, lex
from superalign.tasks.slips import vocabulary
from superalign.tasks.stdlib import source_files
from superalign.training import family, family_large
from superalign.training.family import family_words, fresh_model
from superalign.training.family_corpus import LargeCorpus, LargeRecipe
from superalign.training.family_faults import Function, Splice, balanced_chances, digest, functions_of, splice
from superalign.training.family_large import Training, losses, train_large, warm_stable_decay
from superalign.training.family_rows import HEAD, MAIN, POSITIONS, ROW, TAIL, Rows, contrast_rows, window
from superalign.training.family_score import pair_decision, pair_scores
from superalign.training.family_text import (
    LARGE,
    VERDICTS,
    coded,
    dressed,
    large_ids,
    large_words,
    literal,
    rich_text,
    rich_texts,
    rich_tokens,
)
from superalign.training.products import fast_products, product

FILES = ("heapq.py", "textwrap.py", "test/test_heapq.py", "copy.py", "contextlib.py")
RECIPE = LargeRecipe(steps=6, rows=3, plain_rows=2, warmup=2, decay=0.5, opening=1)


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    corpus = source_files("corpus")
    return {path: corpus[path] for path in list(corpus) if path in FILES or path.endswith("test_heapq.py")}


@pytest.fixture(scope="module")
def corpus(files: dict[str, str]) -> LargeCorpus:
    return LargeCorpus(seed=1, recipe=RECIPE, files=files)


def with_recipe(corpus: LargeCorpus, recipe: LargeRecipe) -> LargeCorpus:
    """The same corpus for another recipe."""
    other = copy.copy(corpus)
    other.recipe, other.rng = recipe, np.random.default_rng(0)
    return other


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """`l` in the shape of a toy."""
    monkeypatch.setitem(family.SIZES, "l", replace(family.SIZES["l"], width=16, layers=2, heads=2))


# ---- words


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ('"utf-8"', "'utf-8'"),
        ("0x10", "16"),
        ("7", "7"),
        ("1_000", "1000"),
        ("b'x'", "b'x'"),
        ('""', "''"),
        ("'two words'", None),
        ("f'{x}'", None),
        ("'far too long a string'", None),
        ("1e999", None),
        ("'" + "x" * 40 + "'", None),
    ],
)
def test_literals_are_one_word_or_none(raw: str, word: str | None) -> None:
    assert literal(raw) == word


def test_the_large_vocabulary_begins_with_the_small() -> None:
    words = large_words()
    assert words[: len(family_words())] == family_words()
    assert len(words) == len(set(words)) == LARGE
    assert words[len(family_words()) :][:2] == list(VERDICTS)
    assert not any(any(c.isspace() for c in word) for word in words)
    assert {"width", "''", "10"} <= set(words)


def test_the_small_reading_is_what_slips_shows() -> None:
    source = source_files("dev")["bisect.py"]
    ids = dressed(coded(rich_tokens(source), {})[:60], np.random.default_rng(0), small=True)
    words = [large_words()[i] for i in ids]
    for mine, token in zip(words, lex(source).tokens, strict=False):
        assert mine == token if token in vocabulary() else mine in SLOTS


def test_rich_text_keeps_names_and_slots_the_rest_alike() -> None:
    a, b = rich_texts(["width = zzqq + 10", "width = zzqq - 0xA"], np.random.default_rng(0))
    assert a.split()[0] == "width"
    assert a.split()[2] == b.split()[2]
    assert a.split()[2] in SLOTS
    assert a.split()[4] == b.split()[4] == "10"
    assert rich_text("width = 10", np.random.default_rng(0), small=True).split()[2] == lexer.NUMBER


def test_more_names_than_slots_become_unknown() -> None:
    source = " + ".join(f"zz{i}qq" for i in range(40))
    words = rich_text(source, np.random.default_rng(0)).split()[::2]
    assert sorted(w for w in words if w != "<unk>") == sorted(SLOTS)
    assert words.count("<unk>") == 16


# ---- faults


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_a_splice_turns_the_one_into_the_other(a: list[int], b: list[int]) -> None:
    edit = splice(np.array(a, dtype=int), np.array(b, dtype=int))
    if edit is None:
        assert a == b
    else:
        place, width, new = edit
        assert a[:place] + new.tolist() + a[place + width :] == b


def test_edits_are_admitted_as_often_as_their_mirrors(corpus: LargeCorpus) -> None:
    mass: dict[tuple[int, tuple[str, str]], float] = defaultdict(float)
    for function, chances in zip(corpus.functions, balanced_chances(corpus.functions), strict=True):
        for fault, chance in zip(function.faults, chances, strict=True):
            mass[fault.kind, fault.key] += chance
            altered = [*function.codes[: fault.place], *fault.new, *function.codes[fault.place + fault.width :]]
            assert altered != function.codes.tolist()
            assert 0 <= chance <= 1
    assert len({kind for kind, _ in mass}) == len(KINDS)
    for (kind, key), total in mass.items():
        assert total == pytest.approx(mass.get((kind, (key[1], key[0])), 0.0))


def test_what_rows_show_oftener_is_held_back() -> None:
    """Rows that show a deletion three times as often as its mirror get its chance down to a third."""
    faults = tuple(
        Splice(0, i, 1 - side, np.zeros(side, dtype=np.int64), (("a", ""), ("", "a"))[side])
        for i in range(50)
        for side in (0, 1)
    )
    function = Function(path="x", codes=np.arange(60), faults=faults)
    rng = np.random.default_rng(0)

    def shown(chances: list[np.ndarray]) -> list[Splice]:
        odds = chances[0] * np.where([fault.width == 1 for fault in faults], 1.0, 1 / 3)
        return [fault for _ in range(200) for fault, p in zip(faults, odds, strict=True) if rng.random() < p]

    chances = balanced_chances([function], shown)[0]
    assert min(chances[1::2]) > 0.8
    assert chances[::2] / chances[1::2] == pytest.approx(np.full(50, 1 / 3), rel=0.1)


def test_faults_are_the_same_again(files: dict[str, str]) -> None:
    few = {path: text for path, text in files.items() if path == "copy.py"}
    first, again = (functions_of(few, np.random.default_rng(3)) for _ in range(2))
    assert digest(first) == digest(again) != digest(functions_of(few, np.random.default_rng(4)))
    assert functions_of({"broken.py": "def f(:\n"}, np.random.default_rng(0)) == []


# ---- rows


def drawn_rows(corpus: LargeCorpus, size: int, *, seed: int) -> Rows:
    """Rows of random functions of modules."""
    rng = np.random.default_rng(seed)
    return contrast_rows(
        corpus.functions, corpus.chances, lambda: int(rng.choice(corpus.pools[0])), size, rng, small=0.2, forget=0.2
    )


def test_long_functions_are_cut_at_a_line_round_the_fault(corpus: LargeCorpus) -> None:
    rng, room = np.random.default_rng(0), MAIN - HEAD - 1
    opens = {large_ids()[word] for word in lexer.INDENTS}
    seen = 0
    for function in corpus.functions:
        for fault in function.faults if len(function.codes) > room else ():
            start, end = window(function, fault, rng, room)
            assert end - start == room or end == len(function.codes)
            if fault.width < room // 2:
                assert start <= fault.place
                assert fault.place + fault.width <= end
                assert start == 0 or function.codes[start - 1] in opens or end - start == room
            seen += 1
    assert seen


@pytest.mark.usefixtures("toy")
def test_a_branch_reads_as_the_whole_altered_text_would(corpus: LargeCorpus) -> None:
    """Log-probabilities of branches equal those of the altered text written out; so do the losses made of them."""
    network = fresh_model("l", seed=0).eval()
    rows = drawn_rows(corpus, 4, seed=0)
    assert rows.ids.shape == (4, ROW)
    assert rows.positions.max() < POSITIONS
    assert len(rows.even) == len(rows.kinds) > 8
    sound, altered = (large_ids()[word] for word in VERDICTS)
    likelihood, doubt = np.zeros((2, len(rows.even), 2))
    with torch.no_grad():
        for pair, side in np.ndindex(likelihood.shape):
            span = [(where, target) for where, target, p, s in rows.spans if (p, s) == (pair, side)]
            row, at = divmod(span[0][0], ROW)
            before = int(rows.positions[row, at])
            text = [*rows.ids[row, at - before : at + 1], *(target for _, target in span)]
            logits = network(torch.tensor([text])).logits[0]
            logprobs = logits.log_softmax(-1)
            likelihood[pair, side] = sum(float(logprobs[before + i, target]) for i, (_, target) in enumerate(span))
            doubt[pair, side] = float((logits[before + 1 :, altered] - logits[before + 1 :, sound]).sum())
        found = losses(network, rows)
    score = likelihood - doubt
    assert float(found["contrast"]) == pytest.approx(np.logaddexp(0, score[:, 1] - score[:, 0]).mean(), rel=1e-5)
    assert float(found["right"]) == pytest.approx((score[:, 0] > score[:, 1]).mean())
    assert float(found["likelier"]) == pytest.approx((likelihood[:, 0] > likelihood[:, 1]).mean())


def test_segments_see_themselves_and_what_stands_before_their_fault(corpus: LargeCorpus) -> None:
    rows = drawn_rows(corpus, 6, seed=2)
    seen, mains = rows.visible(), 0
    assert seen.any(-1).all()
    for row in range(6):
        for column in range(ROW):
            number, parent = rows.segment[row, column], rows.parent[row, column]
            looked = set(np.flatnonzero(seen[row, column]).tolist())
            same = {int(c) for c in np.flatnonzero(rows.segment[row] == number) if c <= column}
            above = {int(c) for c in np.flatnonzero(rows.segment[row] == parent) if c < rows.limit[row, column]}
            assert looked == ({column} if number == 0 else same | above if parent else same)
            mains += bool(number and not parent and rows.positions[row, column] == 0)
            assert not parent or (rows.positions[row, column] >= 3 and above)
    assert mains > 6  # short functions share a row


def test_spans_of_a_pair_end_alike(corpus: LargeCorpus) -> None:
    rows = drawn_rows(corpus, 12, seed=1)
    for pair, even in enumerate(rows.even):
        sides = [[t for _, t, p, s in rows.spans if (p, s) == (pair, side)] for side in (0, 1)]
        assert sides[0] != sides[1]
        assert sides[0][-1] == sides[1][-1]
        assert (len(sides[0]) == len(sides[1])) == even
        assert len(sides[1]) >= 1
        doubted = [[w for w, p, s in rows.doubts if (p, s) == (pair, side)] for side in (0, 1)]
        assert [len(d) for d in doubted] == [len(s) for s in sides]
    assert TAIL <= ROW - MAIN


# ---- training


def test_the_rate_warms_up_stays_and_falls() -> None:
    factors = [warm_stable_decay(step, steps=100, warmup=10, decay=0.2) for step in range(100)]
    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert set(factors[9:80]) == {1.0}
    assert factors[80:] == pytest.approx([(100 - step) / 20 for step in range(80, 100)])


def test_the_opening_shows_no_faults(corpus: LargeCorpus) -> None:
    later = with_recipe(corpus, replace(RECIPE, opening=30))
    assert not any(later.batch(step).even for step in range(30))
    kinds = [later.batch(step) for step in range(30, 39)]
    assert [bool(rows.even) for rows in kinds] == [step % 3 != 2 for step in range(30, 39)]
    assert [rows.ids.shape[1] for rows in kinds if not rows.even][1] < MAIN  # step 35: calculations


class Stopped(Exception):
    """Somebody pulled the plug."""


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors")


@pytest.mark.usefixtures("toy")
def test_an_interrupted_training_ends_at_the_same_weights(
    corpus: LargeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(family_large, "CHECKPOINT_EVERY", 2)

    def run(name: str) -> dict[str, object]:
        corpus.rng = np.random.default_rng(7)
        return train_large(tmp_path / name, seed=1, recipe=RECIPE, corpus=corpus)

    whole = run("whole")
    advance, calls = Training.advance, []

    def failing(self: Training) -> None:
        calls.append(0)
        if len(calls) == 4:
            raise Stopped
        advance(self)

    monkeypatch.setattr(Training, "advance", failing)
    with pytest.raises(Stopped):
        run("cut")
    resumed = run("cut")
    assert len(calls) == 4 + 6 - 2  # the checkpoint after two steps was used
    assert resumed["weights_sha256"] == whole["weights_sha256"]
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(tmp_path / "cut").values(), weights(tmp_path / "whole").values(), strict=True)
    )
    assert not (tmp_path / "cut" / "resume.pt").exists()


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(("steps", "begins"), [(10, 3), (6, 3)])
def test_a_training_may_be_prolonged_before_its_decay(
    corpus: LargeCorpus, tmp_path: Path, steps: int, begins: int
) -> None:
    work = Training(tmp_path, corpus, seed=0)
    for _ in range(3):
        work.advance()
    work.checkpoint()
    longer = Training(tmp_path, with_recipe(corpus, replace(RECIPE, steps=steps)), seed=0)
    longer.resume()
    assert longer.step == begins
    work.advance()  # now in the decay
    work.checkpoint()
    longer.step = 0
    longer.resume()
    assert longer.step == (0 if steps != RECIPE.steps else 4)


@pytest.mark.usefixtures("toy")
def test_what_is_saved_loads_with_its_digest(corpus: LargeCorpus, tmp_path: Path) -> None:
    made = train_large(tmp_path, seed=0, corpus=with_recipe(corpus, replace(RECIPE, steps=2)))
    model = load_model(f"hf:{tmp_path}")
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert model.digest == recipe["weights_sha256"] == made["weights_sha256"]
    assert model.digest == weights_digest(model.network, None, 0.0)
    assert {v.dtype for v in weights(tmp_path).values()} == {torch.float16}
    assert {p.dtype for p in model.network.parameters()} == {torch.float32}
    assert model.network.config.n_positions == POSITIONS
    assert np.isfinite(model.logprobs(["<by:none> <cue:none> def v0 ( width ) :"])[0]).all()


@pytest.mark.usefixtures("toy")
def test_a_loss_that_is_not_finite_stops_before_the_step(corpus: LargeCorpus, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another recipe"):
        train_large(tmp_path, recipe=replace(RECIPE, rate=1.0), corpus=corpus)
    work = Training(tmp_path, corpus, seed=0)
    with torch.no_grad():
        work.network.transformer.ln_f.weight[0] = torch.nan
    with pytest.raises(ValueError, match="not finite at step 0"):
        work.advance()
    assert work.step == 0


@pytest.mark.usefixtures("toy")
def test_the_objective_teaches_to_doubt(corpus: LargeCorpus, tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=40, plain_every=1000, trace_every=1000, opening=0, rate=2e-2, decay=0.1)
    single = with_recipe(corpus, recipe)
    single.pools = corpus.pools[0][:3], corpus.pools[0][:3]
    work = Training(tmp_path, single, seed=0)
    for _ in range(recipe.steps):
        work.advance()
    rows = drawn_rows(single, 4, seed=9)
    assert float(losses(work.network, rows)["right"]) > 0.6


# ---- products


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7)])
@pytest.mark.parametrize("biased", [True, False])
def test_products_are_those_of_torch(shape: tuple[int, ...], biased: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(s, generator=generator, requires_grad=True) for s in (shape, (4, 7), (4,)))
    results = []
    for of in (product, torch.nn.functional.linear):
        made = of(x, weight, bias if biased else None)
        grads = torch.autograd.grad(made.square().sum(), [x, weight, *([bias] if biased else [])])
        results.append([made, *grads])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.usefixtures("toy")
def test_fast_products_leave_no_trace() -> None:
    network, ids = fresh_model("l", seed=0).eval(), torch.arange(20)[None]
    with torch.no_grad():
        before = network(ids).logits
        with fast_products(network):
            during = network(ids).logits
        after = network(ids).logits
    torch.testing.assert_close(before, during)
    assert torch.equal(before, after)
    assert not any("forward" in vars(module) for module in network.modules())


# ---- scores


@pytest.mark.usefixtures("toy")
def test_pair_scores_turn_with_the_pair_and_tie_on_likes(tmp_path: Path, corpus: LargeCorpus) -> None:
    train_large(tmp_path, seed=0, corpus=with_recipe(corpus, replace(RECIPE, steps=1)))
    body = "".join(f"    total = total + item{i}\n" for i in range(80))
    long = "def f(total):\n" + body + "    return total\n"
    pairs = [
        ("def f(a, b):\n    return a < b", "def f(a, b):\n    return a <= b"),
        ("def f(a, b):\n    return g(a)", "def f(a, b):\n    return a"),
        (long, long.replace("total + item70", "total - item70")),
        (long, long.replace("total + item3\n", "total + item4\n")),
        (long, long),
    ]
    model = load_model(f"hf:{tmp_path}")
    one, other = pair_scores(model, pairs), pair_scores(model, [(b, a) for a, b in pairs])
    assert one.longer.tolist() == [0, 3, 0, 0, 0]
    assert np.all(one.likelihood[:4] != 0)
    assert np.all(one.doubt[:4] != 0)
    assert one.likelihood[4] == one.doubt[4] == 0
    np.testing.assert_allclose(one.longer, -other.longer)
    np.testing.assert_allclose(pair_decision(one), one.likelihood + one.doubt)


def test_smaller_members_score_by_likelihood_alone() -> None:
    pairs = [("def f(self):\n    return self.x", "def f(self):\n    return return"), ("x = 1", "x = 2")]
    scores = pair_scores(load_model("family:m"), pairs)
    assert scores.likelihood[0] > 0
    assert scores.likelihood[1] == 0  # numbers read the same
    assert not scores.doubt.any()
    assert pair_decision(scores)[0] == scores.likelihood[0]


def test_the_smaller_members_are_trained_as_before() -> None:
    """Their corpus is the one in their shipped recipes, their shape and vocabulary that of their weights."""
    digest_of = family.Corpus(seed=1).digest()
    for size in ("xs", "s", "m"):
        recipe = json.loads((family_path(size) / "recipe.json").read_text(encoding="utf-8"))
        shape = family.SIZES[size]
        assert recipe["corpus_sha256"] == digest_of
        assert {k: recipe[k] for k in ("width", "layers", "heads", "steps", "rate", "batch", "warmup")} == {
            k: getattr(shape, k) for k in ("width", "layers", "heads", "steps", "rate", "batch", "warmup")
        }
        fresh = fresh_model(size, seed=0)
        shipped = load_model(f"family:{size}").network
        shapes = [{k: v.shape for k, v in network.state_dict().items()} for network in (fresh, shipped)]
        assert shapes[0] == shapes[1]
        assert fresh.config.activation_function == shipped.config.activation_function == "gelu_new"


def test_the_shipped_l_has_todays_recipe() -> None:
    recipe = json.loads((family_path("l") / "recipe.json").read_text(encoding="utf-8"))
    wanted = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(LargeRecipe()).items()}
    assert {k: recipe[k] for k in wanted} == wanted
    fresh, shipped = fresh_model("l", seed=0), load_model("family:l").network
    shapes = [{k: v.shape for k, v in network.state_dict().items()} for network in (fresh, shipped)]
    assert shapes[0] == shapes[1]
