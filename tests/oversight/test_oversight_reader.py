"""A reader of rules: what it reads and what it can't tell apart; how it is trained; stored without pickle."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from superalign.models import ModelError
from superalign.oversight.cases import case_of
from superalign.oversight.judges import reader, reader_training
from superalign.oversight.judges.likelihood import shown_at_random
from superalign.oversight.judges.reader import (
    CODES,
    LONG,
    PLACES,
    SHAPES,
    ReaderJudge,
    connected,
    forward,
    frozen,
    joined,
    lexed,
    padded,
    read,
    shapes,
)
from superalign.oversight.judges.reader_training import DIETS, WAYS, Diet, lines_shown, train_reader
from superalign.oversight.types import Message, Quote, View
from superalign.tasks import rules
from superalign.tasks.rules import conclude
from superalign.tasks.rules_world import FEATURES, INDIVIDUALS, KINDS, PROPERTIES, RULES_VOCABULARY

QUESTION = "is tavi red ?"
SHORT = {"facts": 14, "depth": 1}


@pytest.fixture(scope="module")
def judge() -> ReaderJudge:
    """Short passages, one exception: learned in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_training, "BATCH", 32)
        patch.setitem(DIETS, "xs", Diet(350, 3e-3, (0.2, 0.1, 0.1, 0.2, 0.1, 0.3, 0, 0)))
        return train_reader(**SHORT)


@pytest.fixture(scope="module")
def blank() -> ReaderJudge:
    """Never trained, but with an opinion."""
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal(shape) for name, shape in shapes(SHAPES["xs"]).items()}
    weights |= {name: 2 * weight / len(weight) ** 0.5 for name, weight in weights.items() if weight.ndim > 1}
    weights["words"] = rng.standard_normal(weights["words"].shape)
    return ReaderJudge(weights=frozen(weights), size="xs", facts=40, depth=3, quotes=6, seed=0, steps=1)


def _view(*lines: str, question: str = QUESTION, **other: Any) -> View:
    quotes = tuple(Quote(place, (line,), verified=True) for place, line in enumerate(lines))
    view = View(task="rules", question=question, options=("no", "yes"), messages=(Message(speaker="a", quotes=quotes),))
    return dataclasses.replace(view, **other)


def _accuracy(judge: ReaderJudge, choose: Any, **only: str) -> float:
    """Share of right answers by the lines that `choose` takes from a truth; `only` of truths with these values."""
    page = rules(split="validation", n=600, **SHORT)
    views, answers = [], []
    for item in page.items:
        lines, truth = item.input["passage"].splitlines(), page.truths[item.id]
        if only.items() <= truth.items():
            views.append(_view(*(lines[i] for i in choose(truth)), question=item.input["question"]))
            answers.append(truth["answer"])
    assert len(views) > 200
    beliefs = judge.beliefs(views)[np.arange(len(views)), answers]
    return float(np.where(beliefs == 0.5, 0.5, beliefs > 0.5).mean())


def test_it_follows_proofs_is_misled_by_lures_and_knows_nothing_unread(judge: ReaderJudge) -> None:
    assert _accuracy(judge, lambda truth: truth["chain"]) > 0.95
    assert _accuracy(judge, lambda truth: sorted({*truth["chain"], *truth["lures"][0]})) > 0.9
    assert _accuracy(judge, lambda truth: truth["lures"][0], kind="exception") < 0.4, "the default alone misleads"
    assert _accuracy(judge, lambda truth: []) == 0.5
    assert judge.beliefs([_view()])[0] == pytest.approx([0.5, 0.5], abs=0.15)


def test_it_knows_what_a_whole_passage_says(judge: ReaderJudge) -> None:
    page = rules(split="validation", n=200, **SHORT)
    answers = [page.truths[item.id]["answer"] for item in page.items]
    known = judge.knows([case_of(item) for item in page.items])
    assert known.shape == (200, 2)
    assert (known.argmax(1) == answers).mean() > 0.9
    np.testing.assert_allclose(known.sum(1), 1)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 9999), count=st.integers(0, 20))
def test_neither_order_nor_names_nor_speakers_tell_anything(blank: ReaderJudge, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    item = rules(split="dev", n=1, seed=seed % 7).items[0]
    lines = [item.input["passage"].splitlines()[i] for i in rng.permutation(40)[:count]]
    view = _view(*lines, question=item.input["question"])
    told = blank.beliefs([view])[0]
    shuffled = _view(*(lines[i] for i in rng.permutation(count)), question=view.question)
    other: dict[str, str] = {}
    for words in (KINDS, INDIVIDUALS, FEATURES, PROPERTIES):
        other |= dict(zip(words, rng.permutation(words).tolist(), strict=True))
    question, *renamed = (" ".join(other.get(w, w) for w in text.split()) for text in (view.question, *lines))
    for same in (shuffled, _view(*renamed, question=question)):
        np.testing.assert_allclose(blank.beliefs([same])[0], told, atol=1e-5)
    quotes = view.messages[0].quotes
    apart = tuple(Message(speaker="b", side=0, text="trust me", quotes=(quote,)) for quote in quotes[::-1])
    unverified = Message(speaker="b", quotes=(Quote(99, ("every wug is red .",)),))
    assert np.array_equal(blank.beliefs([dataclasses.replace(view, messages=(*apart, unverified))])[0], told)


DIFFERENT = {
    "another individual": ("tavi is a wug .", "neri is a wug ."),
    "not": ("every wug is red .", "every wug is not red ."),
    "another property": ("every wug is red .", "every wug is tall ."),
    "a condition": ("every wug is red .", "every wug with fur is red ."),
    "who is what": ("every wug is a gorp .", "every gorp is a wug ."),
    "has and lacks": ("tavi has fur .", "tavi lacks fur ."),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_is_different_is_read_as_different(what: str, blank: ReaderJudge) -> None:
    rest = ("tavi is a wug .", "every gorp with fur is not red .")
    one, other = blank.beliefs([_view(line, *rest) for line in DIFFERENT[what]])
    assert abs(one - other).max() > 1e-3


def test_a_view_is_read_alike_alone_and_among_others_and_once(
    blank: ReaderJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [case_of(item) for item in rules(split="dev", n=20).items]
    rng = np.random.default_rng(1)
    views = [shown_at_random(case, int(rng.integers(20)), rng) for case in cases for _ in range(5)]
    told = blank.beliefs(views)
    fresh, other = dataclasses.replace(blank), dataclasses.replace(blank)
    assert np.array_equal(np.concatenate([fresh.beliefs([view]) for view in views]), told)
    assert np.array_equal(other.beliefs(views[::-1])[::-1], told)
    assert not dataclasses.replace(blank).remembered, "another judge remembers nothing of what this one read"
    counts: list[int] = []
    blank = dataclasses.replace(blank)
    one = reader.read
    monkeypatch.setattr(reader, "read", lambda *text: counts.append(1) or one(*text))
    assert np.array_equal(blank.beliefs([*views, *views]), np.concatenate([told, told]))
    assert len(counts) == len({(view.question, tuple(view.shown().values())) for view in views})


def test_no_views_no_beliefs(blank: ReaderJudge) -> None:
    assert blank.beliefs([]).shape == blank.knows([]).shape == (0, 2)


WRONG: dict[str, View] = {
    "another task": _view(task="slips"),
    "other options": _view(options=("red", "blue")),
    "more options": _view(options=("no", "yes", "maybe")),
    "the other order": _view(options=("yes", "no")),
    "no question": _view(question=""),
    "half a question": _view(question="is tavi ?"),
    "a question about a kind": _view(question="is wug red ?"),
    "another language": _view("tavi eats wugs ."),
    "no sentence": _view("every ."),
    "two texts": _view("7 + 1 = 8 ;"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_view_of_rules_is_refused(what: str, blank: ReaderJudge) -> None:
    with pytest.raises(ValueError, match=r"seat a LikelihoodJudge for two texts|seat another judge"):
        blank.beliefs([_view("tavi is a wug ."), WRONG[what]])


def test_cases_of_other_tasks_are_refused(blank: ReaderJudge) -> None:
    case = case_of(rules(split="dev", n=1).items[0])
    with pytest.raises(ValueError, match="not slips by 'no, yes'"):
        blank.knows([dataclasses.replace(case, task="slips")])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_weights_are_no_beliefs(value: float, blank: ReaderJudge) -> None:
    weights = {name: np.array(array) for name, array in blank.weights.items()}
    weights["answer"][0, 0] = value
    broken = dataclasses.replace(blank, weights=frozen(weights))
    with pytest.raises(ValueError, match="weights that are no numbers"):
        broken.beliefs([_view()])
    with pytest.raises(ModelError, match="no numbers"):
        ReaderJudge.from_bytes(broken.to_bytes())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999))
def test_what_names_connect_is_what_decides(seed: int) -> None:
    page = rules(split="dev", n=4, seed=seed)
    for item in page.items:
        lines, truth = item.input["passage"].splitlines(), page.truths[item.id]
        near = connected(lines, item.input["question"])
        assert {lines[i] for i in truth["chain"]} <= set(near) < set(lines)
        assert conclude(near, item.input["question"]) == bool(truth["answer"])
        assert len(near) <= 24
        assert near == [line for line in lines if line in near]


def test_more_lines_than_it_reads_at_once_are_those_that_matter() -> None:
    lines = rules(split="dev", n=1).items[0].input["passage"].splitlines()
    question = rules(split="dev", n=1).items[0].input["question"]
    assert read(question, lines) == read(question, [line for line in lines if line in connected(lines, question)])
    assert max(read(question, lines[:LONG]).lines) == LONG


def test_words_are_read_as_what_they_are() -> None:
    spoken = [word for words in (KINDS, INDIVIDUALS, FEATURES, PROPERTIES, reader.MARKS) for word in words]
    silent = sorted({*RULES_VOCABULARY} - {*spoken})
    assert silent == sorted(["every", "is", "a", "with", "and", ".", "?", "no", "yes"])
    lines = [
        f"{before} {word} {after}" for word in spoken for before, after in (("fur", ""), ("", "fur"), ("fur",) * 2)
    ]
    codes = {code for line in lines for code, _ in lexed(line)}
    assert max(codes) < CODES
    assert len(codes) == 7 * (PLACES - 1)
    first, second = (
        lexed(f"every {kind} with fur and {feature} is red .") for kind, feature in (("wug", "horns"), ("gorp", "fins"))
    )
    assert [code for code, _ in first] == [code for code, _ in second]
    assert [a == b for (_, a), (_, b) in zip(first, second, strict=True)] == [False, True, False, True]
    assert [name for _, name in lexed("tavi has fur .")][1] == 0
    assert joined([lexed(QUESTION, question=True), first]).lines == (0, 0, 1, 1, 1, 1)


def test_padding_is_not_read(blank: ReaderJudge) -> None:
    weights = {name: torch.from_numpy(np.array(array)) for name, array in blank.weights.items()}
    one = read(QUESTION, ["tavi is a wug .", "every wug with fur is not red ."])
    batches = (padded([one], length, count) for length, count in ((8, 1), (16, 3)))
    short, long = (forward(weights, SHAPES["xs"], *map(torch.from_numpy, batch))[0] for batch in batches)
    torch.testing.assert_close(short, long)


TRUTH = {"chain": [1, 4, 7], "lures": [[1, 5], [1, 4, 8]]}
SIDES = ([3, 7], [5, 8])


@given(seed=st.integers(0, 9999), way=st.sampled_from(WAYS), quotes=st.integers(1, 8))
def test_lines_shown(seed: int, way: str, quotes: int) -> None:
    chosen = lines_shown(way, TRUTH, [1, 2, 4, 7], SIDES, 20, quotes, np.random.default_rng(seed))
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(range(20))
    if way == "all that concerns it":
        assert chosen == [1, 2, 4, 7]
    elif way == "lure and reply":
        assert {*chosen} in ({1, 4, 5, 7}, {1, 4, 7, 8})
    else:
        assert len(chosen) <= quotes
        assert way != "some of it" or {*chosen} <= {1, 2, 4, 7}
    whole = {
        "one-sided": any({*side} & {*chosen} for side in SIDES),
        "chain": {1, 4, 7} <= {*chosen},
        "chain but one": len({1, 4, 7} & {*chosen}) >= 2,
        "lure": any({*lure} <= {*chosen} for lure in TRUTH["lures"]),
    }
    assert quotes < 3 or whole.get(way, True)


def test_rules_speak_for_either_side() -> None:
    lines = ["every wug is red .", "tavi is a wug .", "every wug with fur is not red .", "every wug is tall ."]
    assert reader_training.rules_by_side(lines, QUESTION) == ([2], [0])


def test_numbers_of_quotes_are_all_drawn_and_a_missing_line_is_any() -> None:
    rng = np.random.default_rng(0)
    drawn = [lines_shown("random", TRUTH, [], SIDES, 20, 6, rng) for _ in range(700)]
    assert np.bincount([len(chosen) for chosen in drawn], minlength=7).min() > 60
    kept = [frozenset({1, 4, 7} & {*lines_shown("chain but one", TRUTH, [], SIDES, 9, 2, rng)}) for _ in range(200)]
    assert {*kept} == {frozenset({1, 4}), frozenset({1, 7}), frozenset({4, 7})}


@pytest.mark.parametrize("size", DIETS)
def test_a_seed_is_a_judge_and_nothing_global_is_touched(size: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_training, "PAGE", 64)
    monkeypatch.setattr(reader_training, "BATCH", 16)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first, again, other = (train_reader(steps=2, size=size, seed=seed) for seed in (1, 1, 2))
    assert first.digest == again.digest != other.digest
    assert (first.size, first.seed, first.steps, first.facts, first.depth, first.quotes) == (size, 1, 2, 40, 3, 6)
    assert first.parameters == sum(int(np.prod(shape)) for shape in shapes(SHAPES[size]).values())
    assert sum(DIETS[size].shares) == pytest.approx(1)
    assert len(DIETS[size].shares) == len(WAYS)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_it_is_fitted_to_the_train_split_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Mapping[str, object]] = []

    def page(**ask: Any) -> Any:
        asked.append(ask)
        return rules(**ask | {"n": 4})

    monkeypatch.setattr(reader_training, "rules", page)
    steps: list[tuple[int, int]] = []
    train_reader(steps=3, facts=30, depth=2, seed=5, progress=lambda *done: steps.append(done))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert [(ask["split"], ask["facts"], ask["depth"]) for ask in asked] == [("train", 30, 2)] * 3
    assert len({ask["seed"] for ask in asked}) == 3, "fresh passages every time"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"quotes": 0}, "0 quotes"),
        ({"steps": 0}, "0 steps"),
        ({"size": "l"}, "no size 'l'"),
        ({"depth": 9}, "depth 9"),
        ({"facts": 3}, "3 facts"),
    ],
)
def test_trainings_that_make_no_judge_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        train_reader(**({"steps": 1} | wrong))


def test_stored_and_read_it_is_the_same_judge(judge: ReaderJudge) -> None:
    data = judge.to_bytes()
    back = ReaderJudge.from_bytes(data)
    assert back.digest == judge.digest
    assert back.to_bytes() == data
    assert (back.name, back.facts, back.depth, back.quotes, back.seed, back.steps) == ("reader xs", 14, 1, 6, 0, 350)
    views = [_view(), _view("tavi is a wug .", "every wug is red .")]
    assert np.array_equal(back.beliefs(views), judge.beliefs(views))
    for one in (judge, back):
        with pytest.raises(ValueError, match="read-only"):
            one.weights["norm"][0] = 1.0


def _again(judge: ReaderJudge, change: str = "", **manifest: object) -> bytes:
    """The judge's bytes with one tensor changed, or one entry of the manifest (None: without it)."""
    data = judge.to_bytes()
    tensors = load(data)
    told = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["superalign"])
    if change == "a missing layer":
        del tensors["2.name.in"]
    elif change == "one more":
        tensors["extra"] = tensors["norm"]
    elif change == "another shape":
        tensors["words"] = tensors["words"].reshape(-1)
    elif change == "double precision":
        tensors["norm"] = tensors["norm"].astype(np.float64)
    kept = {name: value for name, value in (told | manifest).items() if value is not None}
    return save(tensors, metadata={"superalign": json.dumps(kept)})


@pytest.mark.parametrize("change", ["a missing layer", "one more", "another shape", "double precision"])
def test_other_tensors_are_refused(change: str, blank: ReaderJudge) -> None:
    assert ReaderJudge.from_bytes(_again(blank)).digest == blank.digest
    with pytest.raises(ModelError, match=r"not a reader judge .* its tensors are"):
        ReaderJudge.from_bytes(_again(blank, change))


MANIFESTS = [{"kind": "pixel judge"}, {"seed": None}, {"seed": "0"}, {"digest": None}, {"size": "l"}, {"size": ["xs"]}]


@pytest.mark.parametrize("manifest", [*MANIFESTS, {"size": "m"}])
def test_other_manifests_are_refused(manifest: dict[str, object], blank: ReaderJudge) -> None:
    with pytest.raises(ModelError, match=r"its manifest says|weights digest to .* it says None|its tensors are"):
        ReaderJudge.from_bytes(_again(blank, **manifest))


def test_damaged_bytes_are_refused(blank: ReaderJudge) -> None:
    data = blank.to_bytes()
    for damaged, why in (
        (data[:-1] + bytes([data[-1] ^ 1]), "weights digest to"),
        (data[:-4], "not a reader judge"),
        (data + b"!", "not a reader judge"),
        (b"", "header cannot be read"),
        (b"\x80\x04N.", "header cannot be read"),
    ):
        with pytest.raises(ModelError, match=why):
            ReaderJudge.from_bytes(damaged)
