"""Interpretability on a GPU, tried on a device that is none: whatever looks into a model finds what it does here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from superalign.interpretability import controls
from superalign.interpretability.aggregation import token_states
from superalign.interpretability.attribution import attributed, exact_effects, loss_score, reward_score, verified
from superalign.interpretability.causal import ablation, raw_values, to_simulation
from superalign.interpretability.completers import local
from superalign.interpretability.corpus import Corpus, packed
from superalign.interpretability.dictionaries import Dictionary, features
from superalign.interpretability.difference import compare
from superalign.interpretability.explanation import Explanation, read_sample
from superalign.interpretability.head_inputs import inputs_attributed, inputs_patched
from superalign.interpretability.heads import ablated, head_scores, repeated
from superalign.interpretability.lies_controls import untrained
from superalign.interpretability.patterns import pruned
from superalign.interpretability.probe import train_probe
from superalign.interpretability.record import record
from superalign.interpretability.refine import substitution
from superalign.interpretability.reward_attribution import attribution, score_difference
from superalign.interpretability.reward_lens import gradient_times_input, leave_one_out, reward_of, score_of
from superalign.interpretability.reward_units import pooled_reward, reward_patched
from superalign.interpretability.search import Name, pooled, written_by
from superalign.interpretability.simulated import simulate, surprisal
from superalign.interpretability.steering import dose_curve, side_effects
from superalign.interpretability.units import Site, activations, directions, heads, neurons
from superalign.models import LocalModel, RewardHead
from superalign.models.words import word_tokenizer
from superalign.training.bodies import fit_body
from superalign.training.bodies_recipe import BodyRecipe

from ..elsewhere import same_there

LONG, PAIRS = 16, 6
TEXTS = ["a b = c", "d + a b c", "a a a ( b )", "c - d + a"]
RNG = np.random.default_rng(0)
ROWS = {f"d{i}": [[1, *RNG.integers(4, 13, int(RNG.integers(6, LONG))).tolist()] for _ in range(3)] for i in range(24)}
CORPUS: Corpus = packed(ROWS, length=LONG, pad=0, skip=1)
DEV, VALIDATION = CORPUS.rows("dev"), CORPUS.rows("validation")
CLEAN = RNG.integers(4, 13, size=(PAIRS, 10))
CORRUPT = np.where(np.arange(10) == 3, (CLEAN - 3) % 9 + 4, CLEAN)
LENGTHS = np.array([10, 9, 10, 8, 10, 9])


@pytest.fixture
def model(tiny: Callable[..., LocalModel]) -> LocalModel:
    """With a reward head."""
    torch.manual_seed(0)
    head = RewardHead(16, hidden=8).eval()
    torch.nn.init.normal_(head.text[2].weight)
    return tiny().sealed(head=head)


def sites(model: LocalModel) -> dict[str, Site]:
    """One of each kind."""
    drawn = np.random.default_rng(1)
    shapes = {"encoder": (16, 6), "bias": (6,), "decoder": (6, 16), "offset": (16,)}
    parts = {name: torch.from_numpy(drawn.normal(size=shape).astype(np.float32)) for name, shape in shapes.items()}
    dictionary = Dictionary(**parts, threshold=torch.zeros(6))
    return {
        "neuron": neurons(model)[1],
        "head": heads(model)[0],
        "direction": directions(model, 0, drawn.normal(size=(3, 16))),
        "feature": features(model, 0, dictionary),
    }


KINDS = ("neuron", "head", "direction", "feature")


@dataclass(frozen=True, kw_only=True)
class Told:
    """Predicts that units are as active as a token's number is high."""

    units: int
    name: str = "told"

    def predict(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return np.repeat(ids[..., None] / 10, self.units, axis=2).astype(np.float32)

    def explanation(self, unit: int) -> Explanation:
        return Explanation(text="", bits=0.0)


@pytest.mark.parametrize("resident", [None, False])
def test_recordings(model: LocalModel, resident: bool | None) -> None:
    def work(model: LocalModel) -> Any:
        found = record(model, tuple(sites(model).values()), CORPUS, seed=0, resident=resident)
        return [(each.high.values, each.mean, each.variance, each.tokens) for each in found.sketches.values()]

    same_there(work, model)


def test_activations_and_samples(model: LocalModel) -> None:
    def work(model: LocalModel) -> Any:
        some = sites(model)
        read = list(activations(model, tuple(some.values()), CORPUS.ids[DEV], CORPUS.lengths[DEV]))
        return read, read_sample(model, CORPUS, some["neuron"], DEV).values, pooled(model, neurons(model), TEXTS).values

    same_there(work, model)


def test_heads(model: LocalModel) -> None:
    ids, half = repeated(model, rows=3, half=5, seed=0)
    same_there(lambda model: head_scores(model, ids, half), model)
    same_there(lambda model: ablated(model, ids, half, [(0, 1), (1, 0)], seed=0), model)


@pytest.mark.parametrize("kind", KINDS)
def test_ablations_and_simulations(model: LocalModel, kind: str) -> None:
    def work(model: LocalModel) -> Any:
        site = sites(model)[kind]
        given: dict[str, Any] = {"rows": VALIDATION, "seed": 0}
        moved = [
            ablation(model, CORPUS, site, [[0], [0, 1]], reference=DEV, to=to, **given)  # type: ignore[arg-type]
            for to in ("mean", "zero", "resample")
        ]
        told = to_simulation(model, CORPUS, site, Told(units=site.units), [[0], [1]], calibration=DEV, **given)
        return raw_values(model, CORPUS, DEV, site), moved, told

    same_there(work, model)


@pytest.mark.parametrize("score", [loss_score, reward_score])
def test_attribution(model: LocalModel, score: Any) -> None:
    def work(model: LocalModel) -> Any:
        found = attributed(model, tuple(sites(model).values()), CLEAN, CORRUPT, LENGTHS, score)
        exact = [exact_effects(model, each.site, [0, 1], CLEAN, CORRUPT, LENGTHS, score) for each in found]
        told = verified(model, found[:2], CLEAN, CORRUPT, LENGTHS, score, top=3, others=3, seed=0)
        return [(each.effects, each.dropped) for each in found], exact, told.exact

    same_there(work, model)


def test_inputs_of_heads(model: LocalModel) -> None:
    same_there(lambda model: inputs_attributed(model, CLEAN, CORRUPT, LENGTHS, loss_score), model)
    same_there(lambda model: inputs_patched(model, CLEAN, CORRUPT, LENGTHS, loss_score, (1, 0), "key"), model)


def test_patterns(model: LocalModel) -> None:
    ids, site = np.array([1, 5, 6, 7, 8, 4]), neurons(model)[1]
    same_there(lambda model: pruned(model, site, 2, ids, base=0.0, rare=3), model)
    same_there(lambda model: substitution(model, site, 2, ids, seed=0), model)


@pytest.mark.parametrize("kind", KINDS)
def test_steering(model: LocalModel, kind: str) -> None:
    def rewards(model: LocalModel) -> np.ndarray:
        return np.array([reading.reward for reading in model.read(TEXTS)])

    def work(model: LocalModel) -> Any:
        site = sites(model)[kind]
        curve = dose_curve(model, site, [0], (-2, 3), rewards, clusters=list("abcd"), corpus=CORPUS, rows=DEV)
        return curve, side_effects(model, CORPUS, DEV, site, [0, 1], [0.5, -1.0])

    same_there(work, model)


def test_differences(tiny: Callable[..., LocalModel], model: LocalModel) -> None:
    child, twin = (replace(tiny(seed), head=model.head).sealed() for seed in (1, 2))
    clusters = ["one", "two", "three", "four"]
    given = {"clusters": clusters, "unrelated": ["b c d", "( a )"]}

    def work(*models: LocalModel) -> Any:
        found = compare(*models, TEXTS, **given)
        layers, behaviour = found.layers, found.behaviour
        numbers = [(each.name, each.child, each.twin, each.rank) for each in found.weights]
        units = {(each.site, each.unit): each.effect for each in found.units}
        return layers, behaviour, numbers, units, found.inside, [each.words for each in found.directions]

    same_there(work, model, child, twin)


@pytest.mark.parametrize("pool", ["wide", "last"])
def test_what_a_fitted_reward_goes_by(tiny: Callable[..., LocalModel], pool: Any) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcd+-"), rng.integers(3, 9))) for _ in range(24)]
    goals = np.array([text.count("a") > text.count("b") for text in texts]).astype(float)
    recipe = BodyRecipe(pool=pool, start="probe", epochs=1, rate=1e-3)

    def work(base: LocalModel) -> Any:
        body = fit_body(base, (texts,), goals, recipe=recipe)
        shares = [(each.shares, each.base) for each in attribution(body, TEXTS)]
        cut = leave_one_out(score_of(body), TEXTS)
        return shares, cut, gradient_times_input(body, TEXTS), score_difference(body, TEXTS[0], TEXTS[1])

    same_there(work, tiny(), rtol=1e-2, atol=1e-3)


def test_what_a_reward_head_goes_by(model: LocalModel) -> None:
    same_there(lambda model: leave_one_out(reward_of(model), TEXTS), model)
    same_there(lambda model: gradient_times_input(model, TEXTS), model)
    same_there(lambda model: pooled_reward(model, TEXTS), model)
    units = [Name("reward tokens 0", 1), Name("reward text", 2)]
    same_there(lambda model: reward_patched(model, ["a b", "c d"], ["b b", "d d"], units), model)


def test_what_is_written(model: LocalModel) -> None:
    same_there(written_by, model)


def test_simulation_and_completion(tiny: Callable[..., LocalModel]) -> None:
    """By a model whose tokenizer knows the digits."""
    from transformers import GPT2Config, GPT2LMHeadModel

    words = ("<pad>", "<bos>", "<eos>", "<unk>", *map(str, range(10)), "fires", "on", "a", "unknown", "from", "to")
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(words), n_positions=128, n_embd=16, n_layer=2, n_head=2, initializer_range=0.5)
    network = GPT2LMHeadModel(config).eval()
    model = LocalModel(name="digits", network=network, tokenizer=word_tokenizer(words)).sealed()
    same_there(lambda model: simulate(model, "fires on a", ["a", "on", "to"]), model)
    same_there(lambda model: surprisal(model, "fires on a", ["a on", "to"], ["from a", "on"]), model)
    complete = [{"role": "user", "content": "fires on"}]
    same_there(lambda model: local(model, tokens=4)(complete, schema={}, seed=0), model)


def test_states_and_a_probe(model: LocalModel) -> None:
    """Probes are fitted to arrays: where they were read does not matter to them."""
    labels = np.array([0, 1, 0, 1])

    def work(model: LocalModel) -> Any:
        states = token_states(model, TEXTS, layer=1, transitions=True)
        return states, train_probe(states, labels, states, labels, family="mean-difference").of(states)

    same_there(work, model)


@pytest.mark.parametrize("control", [untrained, controls.untrained])
def test_untrained_controls_are_where_the_model_is(model: LocalModel, control: Any) -> None:
    def work(model: LocalModel) -> Any:
        fresh = control(model, seed=0)
        assert fresh.device == model.device
        return fresh.digest, fresh.logprobs(TEXTS)

    same_there(work, model)
