"""The tamperer: what it chooses, what it learns, what a critic that is fitted anew makes of it."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from superalign.models import load_model
from superalign.oversight.lines import SCALARS, Lens, Pointer, fit_pointer, read_lines
from superalign.oversight.rounds import settled, two_way
from superalign.oversight.tampering import (
    Duel,
    Field,
    at_random,
    caught,
    duel,
    evasion,
    field_of,
    oracle,
    phantoms,
    plant,
    train_tamperer,
    tries,
    wandering,
)
from superalign.stats import StatsError
from superalign.tasks.faults import KINDS
from superalign.tasks.mutants import shipped


def field(seed=0, functions=60, modules=6, faults=4, lines=9, see=3.0, place=0.0):
    """Functions whose faults show in column 0 when their own sign is up, else not; column 1 is common to a place.

    The tamperer sees the sign in its column 0, and noise.
    """
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(functions), faults)
    sign = rng.integers(2, size=len(of)).astype(float)
    first = np.concatenate([rng.permutation(lines)[:faults] for _ in range(functions)])
    sound = [rng.normal(size=(lines, 3)) for _ in range(functions)]
    texts = []
    for f, row, up in zip(of, first, sign, strict=True):
        text = sound[f].copy()
        text[row, 0] += see * up
        text[row, 1] += place
        texts.append(text)
    return Field(
        of=of,
        module=np.array([f"m{i % modules}" for i in range(functions)]),
        kind=np.where(sign > 0, 1, 2).astype(np.intp),
        seen=np.stack([sign, rng.normal(size=len(of)), rng.normal(size=len(of))], axis=1),
        spans=tuple((int(a), int(a)) for a in first),
        faulty=tuple(texts),
        sound=tuple(sound),
    )


LOUD = Pointer(weight=np.array([1.0, 0.0, 0.0]), none=(0.0, -1.0))
"""Reads column 0 and nothing else."""


def test_a_pointer_learns_the_place_and_when_to_say_nothing():
    ground = field(see=6.0)
    texts, spans = [*ground.faulty, *ground.sound], [*ground.spans, *(None for _ in ground.sound)]
    head = fit_pointer(texts, spans)
    assert head.weight[0] > 10 * np.abs(head.weight[1:]).max()
    shows = np.flatnonzero(ground.kind == 1)
    top = [int(head.scores(ground.faulty[i]).argmax()) == ground.spans[i][0] for i in shows]
    assert np.mean(top) > 0.9
    loud, calm = (
        np.mean([head.scores(t).max() for t in ts]) for ts in ([ground.faulty[i] for i in shows], ground.sound)
    )
    assert loud > calm + 1


def test_a_pointer_is_the_minimum_of_its_loss():
    ground = field(functions=12, faults=2)
    texts, spans = [*ground.faulty, *ground.sound], [*ground.spans, *(None for _ in ground.sound)]

    def loss(theta):
        total = 0.0
        for text, span in zip(texts, spans, strict=True):
            o = [*(text @ theta[:3]), theta[3] + (1 + theta[4]) * np.log(len(text))]
            right = o[span[0] : span[1] + 1] if span else o[-1:]
            total += np.logaddexp.reduce(o) - np.logaddexp.reduce(right)
        return total / len(texts) + 0.01 * float((theta[:3] ** 2).sum())

    expected = minimize(loss, np.zeros(5)).fun
    head = fit_pointer(texts, spans, steps=300)
    assert loss(np.array([*head.weight, *head.none])) == pytest.approx(expected, abs=1e-4)


def test_weights_are_repetitions():
    ground = field(functions=10, faults=2)
    texts, spans = [*ground.faulty, *ground.sound], [*ground.spans, *(None for _ in ground.sound)]
    twice = fit_pointer([*texts, texts[0]], [*spans, spans[0]], steps=300)
    weighed = fit_pointer(texts, spans, weights=np.r_[2.0, np.ones(len(texts) - 1)], steps=300)
    assert twice.weight == pytest.approx(weighed.weight, abs=1e-3)


@pytest.mark.parametrize(
    ("texts", "spans", "said"),
    [
        ([], [], "needs both"),
        ([np.zeros((2, 3))], [None], "needs both"),
        ([np.zeros((0, 3))], [(0, 0)], "needs both"),
        ([np.full((2, 3), np.nan)], [(0, 0)], "not read"),
    ],
)
def test_a_pointer_refuses_what_teaches_nothing(texts, spans, said):
    with pytest.raises(StatsError, match=said):
        fit_pointer(texts, spans)


def test_a_lens_keeps_what_was_not_read_apart():
    rng = np.random.default_rng(0)
    lines = rng.normal(size=(200, len(SCALARS) + 2 * 10))
    lens = Lens.fitted(lines, components=3)
    text = lines[:4].copy()
    text[2] = np.nan
    seen = lens.see(text)
    assert seen.shape == (4, 5 * len(SCALARS) + 6)
    own = slice(0, len(SCALARS))
    assert np.isnan(seen[2, own]).all()
    assert np.isfinite(seen[[0, 1, 3]]).all()
    assert seen[0, own] == pytest.approx((text[0, own] - lens.mean[own]) / lens.spread[own], abs=1e-5)
    with pytest.raises(StatsError, match="lens"):
        Lens.fitted(np.full((5, 28), np.nan))


def test_what_was_not_read_is_caught_and_no_phantom():
    ground = field(functions=2, faults=2)
    unread = tuple(np.full_like(text, np.nan) for text in ground.faulty)
    blind = dataclasses.replace(ground, faulty=unread, sound=tuple(np.full_like(t, np.nan) for t in ground.sound))
    assert caught(blind, LOUD, 0.0).all()
    assert not phantoms(blind, LOUD, 0.0).any()


def test_caught_is_the_claim_of_the_faulty_line():
    ground = field()
    found = caught(ground, LOUD, 1.5)
    expected = [text[a, 0] > 1.5 for text, (a, _) in zip(ground.faulty, ground.spans, strict=True)]
    assert found.tolist() == expected
    empty = phantoms(ground, LOUD, 1.5)
    expected = [ground.sound[f][a, 0] > 1.5 for f, (a, _) in zip(ground.of, ground.spans, strict=True)]
    assert empty.tolist() == expected
    assert found.mean() > empty.mean() + 0.2


def test_plants_follow_their_chances():
    ground = field(functions=3)
    chances = np.tile([0.1, 0.2, 0.3, 0.4], 3)
    rng = np.random.default_rng(0)
    counts = np.bincount(np.concatenate([plant(ground, chances, rng) for _ in range(4000)]), minlength=12)
    assert (counts.reshape(3, 4).sum(axis=1) == 4000).all()
    assert counts / 4000 == pytest.approx(chances, abs=0.03)
    never = np.tile([0.0, 0.0, 1.0, 0.0], 3)
    assert plant(ground, never, rng).tolist() == [2, 6, 10]


def test_the_tamperer_learns_what_is_missed_and_takes_it_elsewhere():
    ground, other = field(seed=1), field(seed=2)
    missed = 1.0 - (ground.kind == 1)
    tamperer = train_tamperer(ground, missed, seed=0)
    chances = tamperer.chances(other)
    assert np.add.reduceat(chances, other.starts) == pytest.approx(1)
    free = evasion(other, chances, other.kind == 1).mean()
    limit = oracle(other, other.kind == 1).mean()
    assert evasion(other, at_random(other), other.kind == 1).mean() < 0.6
    assert limit - 0.05 < free <= limit


def test_reinforce_finds_about_the_best_policy_there_is():
    """Against the exact gradient of the expected reward, which the sampled one estimates."""
    ground = field(seed=3, functions=80)
    rng = np.random.default_rng(4)
    missed = (rng.random(len(ground.of)) < 1 / (1 + np.exp(-ground.seen[:, 1]))).astype(float)
    x = (ground.seen - ground.seen.mean(axis=0)) / (ground.seen.std(axis=0) + 1e-6)

    def cost(weight):
        e = np.exp(x @ weight)
        chances = e / np.add.reduceat(e, ground.starts)[ground.of]
        return -np.add.reduceat(chances * missed, ground.starts).mean() + 5e-4 * float((weight**2).sum())

    best = -minimize(cost, np.zeros(3)).fun
    found = [train_tamperer(ground, missed, seed=s) for s in range(3)]
    assert np.mean([-cost(t.weight) for t in found]) == pytest.approx(best, abs=0.02)
    assert found[0].weight.tolist() != found[1].weight.tolist()
    assert train_tamperer(ground, missed, seed=0).weight.tolist() == found[0].weight.tolist()


def test_where_nothing_is_missed_or_everything_there_is_nothing_to_learn():
    ground = field(functions=20)
    for reward in (0.0, 1.0):
        tamperer = train_tamperer(ground, np.full(len(ground.of), reward), seed=0)
        assert tamperer.chances(ground) == pytest.approx(at_random(ground))


@pytest.mark.parametrize("rewards", [np.ones(3), np.full(8, np.nan)])
def test_rewards_are_one_finite_number_a_fault(rewards):
    with pytest.raises(StatsError, match="rewards"):
        train_tamperer(field(functions=2), rewards, seed=0)


def test_tries_are_counted_as_by_all_orders():
    ground = field(functions=3, faults=4)
    found = np.array([0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1], dtype=bool)
    value = tries(ground, found)
    for f in range(2):
        evades = ~found[4 * f : 4 * f + 4]
        waits = [next(i for i, j in enumerate(order, 1) if evades[j]) for order in itertools.permutations(range(4))]
        assert value[f] == pytest.approx(np.mean(waits))
    assert np.isnan(value[2])
    assert oracle(ground, found).tolist() == [1, 1, 0]
    assert evasion(ground, at_random(ground), found).tolist() == [0.25, 0.5, 0]


@pytest.fixture(scope="module")
def game():
    train, held = field(seed=5, functions=90), field(seed=6)
    return train, held, duel(train, train.sound, held, seed=3, rounds=2)


def test_a_duel_is_bounded_and_complete(game):
    _, held, found = game
    functions = len(held.starts)
    for name in ("random", "oracle", "before", "after", "cross", "control_random", "control_before", "phantom_after"):
        assert getattr(found, name).shape == (3, functions)
    assert (found.random <= found.oracle + 1e-12).all()
    assert (found.after[1:] <= found.oracle[1:] + 1e-12).all()
    assert (found.before[1:] <= found.oracle[:-1] + 1e-12).all()
    assert np.isnan(found.before[0]).all()
    assert np.isfinite(found.before[1:]).all()
    assert found.kinds.shape == (3, len(KINDS))
    assert found.kinds.sum(axis=1) == pytest.approx(1)
    assert found.random[0].tolist() == found.control_random[0].tolist()
    assert found.before[1].tolist() == found.control_before[1].tolist()  # the same critic, the same draws
    assert (np.diff(found.pool, axis=0) > 0).all()
    assert found.alarms[:, 0] == pytest.approx(0.1, abs=0.06)


def test_the_tamperer_of_a_duel_evades_more_than_chance(game):
    _, held, found = game
    assert found.before[1].mean() > found.random[0].mean() + 0.1
    assert found.learnt[1] > found.random[0].mean()
    assert found.kinds[1, 2] > found.kinds[0, 2] + 0.2  # it goes to the kind that does not show
    assert (1 - found.random[0]).mean() > at_random(held).sum() / len(held.of) * 0.2


def test_a_duel_is_the_same_again_and_another_with_another_seed(game):
    train, held, found = game
    again, other = (duel(train, train.sound, held, seed=s, rounds=1) for s in (3, 4))
    assert again.before[1].tolist() == found.before[1].tolist()
    assert again.after[1].tolist() == found.after[1].tolist()
    assert other.before[1].tolist() != found.before[1].tolist()
    assert {f.name for f in dataclasses.fields(Duel)} >= {"tries", "alarms", "pool"}


def test_a_critic_that_knows_places_is_unmasked_by_the_twin():
    """Faults stand where column 1 is high in the sound twin too: all is caught, and all of it is phantom."""
    ground = field(see=0.0)
    for f, (a, _) in zip(ground.of, ground.spans, strict=True):
        ground.sound[f][a, 1] = 9.0
    for text, (a, _) in zip(ground.faulty, ground.spans, strict=True):
        text[a, 1] = 9.0
    guess = Pointer(weight=np.array([0.0, 1.0, 0.0]), none=(0.0, -1.0))
    assert caught(ground, guess, 5.0).all()
    assert phantoms(ground, guess, 5.0).all()


def test_one_module_is_not_enough():
    ground = field(functions=10, modules=1)
    with pytest.raises(StatsError, match="one train module"):
        duel(ground, ground.sound, ground, seed=0, rounds=1)


def test_a_threshold_by_functions_is_the_stricter_one():
    train, held = field(seed=5, functions=90), field(seed=6)
    lines, whole = (duel(train, train.sound, held, seed=0, rounds=0, unit=unit) for unit in ("line", "function"))
    assert whole.alarms[0, 1] < 0.3 < lines.alarms[0, 1]
    assert whole.random.mean() > lines.random.mean()
    with pytest.raises(StatsError, match="no unit"):
        duel(train, train.sound, held, seed=0, unit="word")


def test_functions_with_two_faults_are_taken_from_the_task():
    made = [m for m in shipped() if m.split == "dev"][:60]
    texts = list(dict.fromkeys(text for m in made for text in (m.sound, m.faulty)))
    read = read_lines(load_model("family:xs"), texts)
    lines = dict(zip(texts, read, strict=True))
    lens = Lens.fitted(np.concatenate(read), components=8)
    found = field_of(made, lines, lens)
    sizes = np.bincount(found.of)
    assert sizes.min() >= 2
    assert len(found.starts) == len(found.sound) == len(found.module) == len(sizes)
    assert len(found.spans) == len(found.faulty) == sizes.sum() <= len(made)
    assert found.seen.shape == (len(found.of), len(KINDS) + 5 + len(SCALARS) + 16)
    assert np.isfinite(found.seen).all()
    assert (found.seen[:, : len(KINDS)].argmax(axis=1) == found.kind).all()
    assert all(b < len(text) for text, (_, b) in zip(found.faulty, found.spans, strict=True))
    with pytest.raises(StatsError, match="none with two"):
        field_of(made[:1], lines, lens)


def test_a_duel_settles_after_two_quiet_changes():
    rng, modules = np.random.default_rng(0), np.repeat([f"m{i}" for i in range(8)], 5)
    base = rng.random((5, 40))

    def rounds(*levels):
        return [base + level + 0.05 * rng.normal(size=base.shape) for level in levels]

    assert settled(rounds(0, 0, 0, 0, 0), modules) == 3
    assert settled(rounds(0, -0.2, -0.2, -0.2, -0.2), modules) == 4
    assert settled(rounds(0, -0.2, -0.4, -0.6, -0.8, -1), modules) is None
    assert settled(rounds(0), modules) is None


def test_seeds_and_modules_both_widen_the_interval():
    rng, modules = np.random.default_rng(1), np.repeat(np.arange(20), 5)
    noise = 0.1 * rng.normal(size=(6, 100))
    calm = two_way(noise, modules)
    by_seed = two_way(noise + rng.normal(size=(6, 1)), modules)
    by_module = two_way(noise + rng.normal(size=20)[modules], modules)
    width = [found.high - found.low for found in (calm, by_seed, by_module)]
    assert width[1] > 5 * width[0]
    assert width[2] > 5 * width[0]
    assert calm.clusters == 20
    assert calm.n == 600


def test_two_way_intervals_hold_the_truth():
    rng, modules, held = np.random.default_rng(2), np.repeat(np.arange(20), 4), 0
    for _ in range(100):
        values = rng.normal(size=(8, 1)) + rng.normal(size=20)[modules] + rng.normal(size=(8, 80))
        found = two_way(values, modules, draws=300)
        held += found.low <= 0 <= found.high
    assert held >= 85


@pytest.mark.parametrize("values", [np.zeros((1, 4)), np.full((3, 4), np.nan)])
def test_two_way_refuses_what_has_no_spread(values):
    found = two_way(values, ["a", "a", "b", "b"])
    assert found.value is None
    assert "needs two" in found.note


def test_two_way_leaves_out_what_is_undefined():
    values = np.array([[1.0, np.nan, 0.0, 1.0], [1.0, 1.0, 0.0, np.nan]])
    found = two_way(values, ["a", "a", "b", "b"])
    assert found.value == pytest.approx(4 / 6)
    assert found.n == 6


def test_wandering_is_the_share_that_moved():
    kinds = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 1.0, 0.0]])
    assert wandering(kinds).tolist() == [0.0, 0.5, 0.5]
