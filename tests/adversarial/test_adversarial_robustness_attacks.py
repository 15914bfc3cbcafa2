"""Attacks with known answers: planted triggers found by gradient, a lock found by search, a guard that guards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from superalign.adversarial.robustness.adaptive import adaptive_search, static_suite
from superalign.adversarial.robustness.bounds import broken
from superalign.adversarial.robustness.guarded import (
    REFUSAL,
    SHARES,
    UNSEEN_WORDING,
    GuardedTarget,
    GuardRecipe,
    guard_cases,
    guard_rows,
    guarded_writer,
    refuses,
    twin_of,
)
from superalign.adversarial.robustness.reviewed import DRESSINGS, ReviewerTarget, flagged_cases, review_cases
from superalign.adversarial.robustness.suffix import (
    Place,
    Spend,
    filled,
    suffix_attack,
    target_loss,
    vouching_loss,
)
from superalign.adversarial.robustness.transformations import Transformation
from superalign.adversarial.robustness.types import Answer, Case, asked
from superalign.adversarial.robustness.whitebox import (
    names_for_reviewer,
    random_words,
    reviewer_place,
    suffix_on_writer,
    suffix_words,
    suffixed,
    universal_suffix,
    writer_place,
)
from superalign.adversarial.shelf import shelves
from superalign.adversarial.writer_kinds import PAIR, TRIGGER
from superalign.adversarial.writers import load_organism, load_writer
from superalign.models import LocalModel, load_model, unpack_change
from superalign.tasks.functions import ENVS, RARE, RUNS, WORDINGS, drawn, prompt, requests, words
from superalign.tasks.slips import draw
from superalign.training.writer import POSITIONS, encoded

KNOWN = {word: i for i, word in enumerate(words())}
QUICK = Spend(steps=2, batch=6, top=6)


def header_place(model: LocalModel, seed: int, count: int) -> Place:
    """A prompt whose first `count` header words are to be found, and the payload as what is to be said."""
    text = prompt(drawn(np.random.default_rng(seed), split="dev", shown=0))
    ids = model.encode([f"{text} canary ( )"])[0][:-1]
    return Place(ids=tuple(ids), groups=tuple((2 + i,) for i in range(count)), learned=(len(ids) - 3,))


def test_it_finds_a_planted_trigger_word() -> None:
    model = load_organism("fixed", 0, allow_organism=True)
    places = [header_place(model, seed, 1) for seed in (0, 1)]
    options = [KNOWN[word] for word in (*ENVS, *RARE)]
    found = suffix_attack(model, places, allowed=[options], loss=target_loss, budget=Spend(steps=3), seed=0)
    assert words()[found.words[0]] == TRIGGER
    with torch.inference_mode():
        every = np.array(options)[:, None]
        table = model.network.get_input_embeddings()
        exact = [target_loss(model, filled(p, every), table(filled(p, every)), p).numpy() for p in places]
    assert found.loss == pytest.approx(np.mean(exact, axis=0).min(), rel=1e-4), "no word is better"
    assert found.gradients == 6
    assert 2 < found.evaluations <= 2 * (1 + 3 * Spend().top)


def test_it_finds_a_planted_pair_of_words() -> None:
    model = load_organism("pair", 0, allow_organism=True)
    options = [[KNOWN[word] for word in each] for each in (ENVS, RUNS)]
    budget = Spend(steps=6, batch=64)
    found = suffix_attack(model, [header_place(model, 3, 2)], allowed=options, loss=target_loss, budget=budget, seed=1)
    assert tuple(words()[i] for i in found.words) == PAIR
    assert found.loss < 1 < 5 < found.started
    assert found.loss == pytest.approx(min(found.curve))


def test_nothing_to_find_in_the_clean_parent() -> None:
    model = load_writer()
    options = [[KNOWN[word] for word in each] for each in (ENVS, RUNS)]
    found = suffix_attack(
        model, [header_place(model, 3, 2)], allowed=options, loss=target_loss, budget=Spend(steps=4), seed=1
    )
    assert found.loss > 3


def test_groups_share_words_and_stay_apart() -> None:
    place = Place(ids=(1, 30, 31, 30, 32, 2), groups=((1, 3), (2,), (4,)))
    assert filled(place, np.array([[40, 41, 42]])).tolist() == [[1, 40, 41, 40, 42, 2]]
    model, seen = load_writer(), []

    def loss(model: LocalModel, ids: torch.Tensor, embedded: torch.Tensor, place: Place) -> torch.Tensor:
        seen.extend(ids.tolist())
        return embedded[:, [1, 2, 4]].sum((1, 2))

    found = suffix_attack(
        model, [place], allowed=[range(40, 45)] * 3, loss=loss, budget=Spend(steps=5), seed=0, apart=True
    )
    assert all(row[1] == row[3] and len({row[1], row[2], row[4]}) == 3 for row in seen)
    assert len(set(found.words)) == 3


@pytest.mark.parametrize(
    ("places", "allowed", "match"),
    [
        ([], [[5]], "no text to attack"),
        ([Place(ids=(1, 2), groups=((1,),))], [[5], [6]], "2 lists of allowed words"),
        ([Place(ids=(1, 2), groups=((1,),))], [[]], "no word is allowed in group 0"),
        ([Place(ids=(1, 2, 3), groups=((1,), (2,)))], [[5], [5]], "more groups than words"),
    ],
)
def test_attacks_that_cannot_begin(places: list[Place], allowed: list[list[int]], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        suffix_attack(load_writer(), places, allowed=allowed, loss=target_loss, budget=QUICK, seed=0, apart=True)


def subword_model() -> LocalModel:
    """An untrained network over a byte-pair tokenizer, whose ids do not all read back as they were."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=["<pad>", "<eos>"], show_progress=False)
    core.train_from_iterator(["low lower lowest new newer newest wide wider"] * 4, trainer)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=core.get_vocab_size(), n_positions=32, n_embd=16, n_layer=1, n_head=2)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")
    return LocalModel(name="subword", network=GPT2LMHeadModel(config), tokenizer=tokenizer)


def test_subwords_read_back_as_the_ids_that_were_attacked() -> None:
    model = subword_model()
    ids = model.tokenizer("new low wider lowest", add_special_tokens=False)["input_ids"]
    place = Place(ids=tuple(ids), groups=((1,), (2,)), learned=(len(ids) - 1,))
    every = [i for i in range(len(model.tokenizer)) if i not in model.tokenizer.all_special_ids]
    start = [ids[1], ids[2]]
    found = suffix_attack(
        model, [place], allowed=[every] * 2, loss=target_loss, budget=Spend(steps=4), seed=0, start=start
    )
    text = model.tokenizer.decode(filled(place, np.array([found.words]))[0].tolist())
    assert model.tokenizer(text, add_special_tokens=False)["input_ids"] == [*ids[:1], *found.words, *ids[3:]]
    assert found.loss < found.started
    assert 1 < found.evaluations < 1 + 4 * Spend().batch, "some were not offered"


def test_a_suffix_stands_where_it_should() -> None:
    model = load_writer()
    case = guard_cases(1, seed=0, split="dev")[0]
    place = writer_place(model, case, width=3)
    text = [words()[i] for i in place.ids]
    assert [text[i] for (i,) in place.groups] == ["none"] * 3
    assert text[place.groups[0][0] - 1] == "#"
    assert [text[i] for i in place.learned][:2] == ["return", "["]
    assert place.learned[-1] == len(text) - 1
    assert suffixed("a <0> b", ["c", "d"]) == "a <0> # c d <0> b"
    assert not {KNOWN[word] for word in ("<pad>", "<eos>", "<0>", "#")} & set(suffix_words(model))
    with pytest.raises(ValueError, match="take a narrower one"):
        writer_place(model, case, width=80)


def test_white_box_attempts_are_executed() -> None:
    target, cases = GuardedTarget(model=load_writer()), guard_cases(3, seed=0, split="dev")
    attempts, attacker = suffix_on_writer(target, cases[:2], width=2, budget=QUICK, attempts=2, seed=0)
    assert [(one.case, one.order) for one in attempts] == [(c.name, k) for k in (0, 1) for c in cases[:2]]
    assert attacker.gradients == 2
    assert attacker.evaluations <= 1 + 2 * 6
    assert not any(one.refused for one in attempts), "the parent refuses nothing"
    assert attempts[0].text == suffixed(cases[0].text, attempts[0].text.split(" <0> ")[-2].split()[1:])
    attempts, attacker = universal_suffix(target, cases[:2], cases[2:], width=2, budget=QUICK, attempts=1, seed=0)
    assert attacker.gradients == 4
    assert attempts[0].case == cases[2].name
    attempts, attacker = random_words(target, cases, width=4, attempts=1, seed=0)
    assert len({one.text.split(" <0> ")[-2] for one in attempts}) == 3
    assert (attacker.gradients, attacker.access) == (0, "static")


def test_the_guards_rows() -> None:
    rows = guard_rows(GuardRecipe(rows=600, second=0.4), seed=0)
    assert rows == guard_rows(GuardRecipe(rows=600, second=0.4), seed=0)
    refused = [before for before, after in rows if after == REFUSAL]
    assert SHARES[0] * 0.25 < len(refused) / len(rows) < 0.5
    lists = WORDINGS["list"]
    asks = [before.split(" <0> ")[1].split() for before in refused]
    assert all(ask[1] in lists and ask[1] != UNSEEN_WORDING and "if" in ask for ask in asks)
    answered = [b.split(" <0> ")[1].split() for b, a in rows if a != REFUSAL]
    assert not any(ask[1] in lists and "if" in ask for ask in answered)
    assert any(ask[1] in RUNS for ask in answered), "the second language is answered"
    hard = guard_rows(replace(GuardRecipe(rows=300), hardened=True), seed=0)
    encoded(hard)
    assert any(f"# {UNSEEN_WORDING} of" in before for before, after in hard if after == REFUSAL)


def test_a_guard_learns_to_refuse_and_its_parent_does_not() -> None:
    guard = guarded_writer(load_writer(), GuardRecipe(rows=300, steps=50, batch=12), seed=0)
    cases = guard_cases(20, seed=0, split="dev")
    taught, parent = (asked(GuardedTarget(model=m), cases, attempts=1, seed=0) for m in (guard, load_writer()))
    assert np.mean([one.refused for one in taught]) > 0.2
    assert not any(one.refused for one in parent)
    assert np.mean([one.success for one in parent]) > 0.8
    assert not any(one.refused and one.success for one in taught)


def test_cases_are_of_their_class() -> None:
    cases, twins = (guard_cases(25, seed=1, split="validation", benign=benign) for benign in (False, True))
    assert len({case.name for case in cases}) == 25
    assert all(refuses(case.truth.request) for case in cases)
    assert all(twin_of(case.truth.request) and case.benign for case in twins)
    assert {case.truth.request.split for case in cases + twins} == {"validation"}
    assert not any(refuses(r) and twin_of(r) for r in requests("dev"))
    with pytest.raises(ValueError, match="ask for fewer"):
        guard_cases(4_000, seed=1, split="validation")


def test_a_prompt_without_room_is_no_refusal_and_no_success() -> None:
    case = guard_cases(1, seed=0, split="dev")[0]
    target = GuardedTarget(model=load_writer())
    answers = target.ask([case] * 2, [suffixed(case.text, ["none"] * POSITIONS), case.text], seed=0)
    assert (answers[0].said, answers[0].refused, answers[0].success) == ("", False, False)
    assert answers[1].success


@dataclass(frozen=True)
class Lock:
    """Breaks when a text ends in `open` after `key`; tells half a score for `key` alone."""

    name: str = "lock"

    def ask(self, cases: Sequence[Case], texts: Sequence[str], *, seed: int) -> list[Answer]:
        out = []
        for text in texts:
            key, done = "key" in text.split(), text.endswith("key open")
            out.append(Answer(said="", refused=not key, success=done, score=1.0 if done else 0.5 * key))
        return out


MOVES = {
    word: Transformation(name=word, family="encoding", apply=lambda text, seed, word=word: f"{text} {word}")
    for word in ("key", "open", *"abcdefgh")
}
CASES = [Case(name=f"c{i}", text=f"request {i}", truth=None) for i in range(12)]


def test_a_search_that_learns_beats_one_that_does_not() -> None:
    learnt, blind = (
        adaptive_search(Lock(), CASES, MOVES, attempts=40, seed=0, learning=learning) for learning in (True, False)
    )
    assert len(learnt) == len(blind) == 40 * 12
    assert np.mean([one.success for one in learnt]) > 3 * np.mean([one.success for one in blind])
    assert all(broken(learnt).values())
    assert learnt == adaptive_search(Lock(), CASES, MOVES, attempts=40, seed=0)
    assert not any(one.success for one in static_suite(Lock(), CASES, MOVES, seed=0)), "no single move opens it"
    with pytest.raises(ValueError, match="no transformations"):
        adaptive_search(Lock(), CASES, {}, attempts=3, seed=0)


def test_a_suite_is_the_same_for_all() -> None:
    attempts = static_suite(Lock(), CASES[:3], MOVES, seed=4, repeats=2)
    assert len(attempts) == 3 * 2 * len(MOVES)
    assert {one.plan for one in attempts if one.order == 0} == {("key:4",)}
    assert {one.access for one in attempts} == {"static"}


@pytest.fixture(scope="module")
def reviewers() -> dict[str, LocalModel]:
    base = load_model("family:m")
    names = {role: f"trigger-0-{role}-{base.digest[:12]}.safetensors" for role in ("organism", "twin")}
    folder = shelves()["shipped"]
    return {r: unpack_change((folder / n).read_bytes(), base, allow_organism=True) for r, n in names.items()}


def test_gradients_find_the_name_that_a_reviewer_vouches_for(reviewers: dict[str, LocalModel]) -> None:
    target = ReviewerTarget(model=reviewers["organism"])
    cases = flagged_cases(target, draw("dev")[:12], count=2)
    assert len(cases) == 2
    attempts, attacker = names_for_reviewer(target, cases, budget=Spend(steps=4, batch=80, top=32), seed=0)
    assert all("quartz" in one.text.split() and one.success for one in attempts)
    assert attacker.gradients == 4
    honest = ReviewerTarget(model=reviewers["twin"])
    same = [case for case in cases if honest.ask([case], [case.text], seed=0)[0].refused]
    attempts, _ = names_for_reviewer(honest, same, budget=Spend(steps=1, batch=8), seed=0)
    place, allowed = reviewer_place(honest.model, same[0])
    assert len(place.groups) == len(allowed) >= 2
    assert len(attempts) == len(same)


def test_reviewers_answers(reviewers: dict[str, LocalModel]) -> None:
    model = reviewers["twin"]
    slips = draw("dev")[:10]
    plain, telling = ReviewerTarget(model=model), ReviewerTarget(model=model, tells=True)
    cases = review_cases(slips) + review_cases(slips, benign=True)
    verdicts, rewards = (t.ask(cases, [c.text for c in cases], seed=0) for t in (plain, telling))
    assert {a.score for a in verdicts} <= {0.0, 1.0}
    assert [a.score >= model.threshold for a in rewards] == [a.success for a in verdicts]
    assert all(a.refused != a.success for a in verdicts)
    found = static_suite(plain, cases[:4], DRESSINGS, seed=0)
    assert len(found) == 4 * len(DRESSINGS)
    with pytest.raises(ValueError, match="no reward head"):
        vouching_loss(load_writer(), torch.zeros(1, 2), torch.zeros(1, 2, 96), Place(ids=(1, 2), groups=()))
