"""What was changed is found where it was changed, and what the twin shows too is no finding."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from superalign.interpretability.difference import compare, directions, lens_words, told_apart
from superalign.interpretability.difference_behaviour import behaviour
from superalign.interpretability.difference_states import cka, clustered_t, layer_states, text_means, unit_shifts
from superalign.interpretability.difference_weights import weight_changes
from superalign.models import LocalModel, RewardHead
from superalign.stats import mean_interval
from superalign.training.reviewer import PairData, ReviewerRecipe, fit_reviewer

WORDS = "abcd=+-()"


def texts(n=30, seed=0, length=8):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(list(WORDS), length)) for _ in range(n)]


def files(n=30):
    return [f"file {i // 3}" for i in range(n)]


def changed(model: LocalModel, edit) -> LocalModel:
    """A copy of the model, edited in place."""
    network = copy.deepcopy(model.network)
    with torch.no_grad():
        edit(network.transformer)
    return replace(model, network=network).sealed()


def shaken(model, seed, size=0.01):
    """What any fitting does: a small change everywhere in the last block."""

    def edit(body):
        made = torch.Generator().manual_seed(seed)
        for weight in (body.h[1].mlp.c_fc.weight, body.h[1].mlp.c_proj.weight):
            weight.add_(size * torch.randn(weight.shape, generator=made))

    return changed(model, edit)


def ridged(model, seed=0):
    """A strong change of one direction in one matrix, on top of what fitting does."""
    made = np.random.default_rng(9)
    left, right = (made.normal(size=n).astype(np.float32) for n in (16, 64))

    def edit(body):
        body.h[0].mlp.c_fc.weight.add_(torch.from_numpy(0.2 * np.outer(left, right)))

    return changed(shaken(model, seed), edit), left, right


def test_a_planted_direction_stands_first_among_the_matrices(tiny):
    parent = tiny()
    child, left, right = ridged(parent)
    found = weight_changes(parent, child, shaken(parent, 0))
    first = found[0]
    assert first.name == "transformer.h.0.mlp.c_fc.weight"
    assert first.twin == 0
    assert first.concentration == pytest.approx(1, abs=1e-4)
    assert first.rank == 1
    assert abs(first.left @ left) / np.linalg.norm(left) == pytest.approx(1, abs=1e-4)
    assert abs(first.right @ right) / np.linalg.norm(right) == pytest.approx(1, abs=1e-4)
    rest = found[1:]
    assert {change.name for change in rest} == {f"transformer.h.1.mlp.{m}.weight" for m in ("c_fc", "c_proj")}
    for change in rest:  # the twin has it too
        assert change.beyond == 0
        assert change.cosine == pytest.approx(1)
        assert change.rank == 0


def test_vectors_tied_matrices_and_other_shapes(tiny):
    parent = tiny()

    def edit(body):
        body.wte.weight.add_(0.1)
        body.h[0].mlp.c_fc.bias.add_(1.0)

    found = weight_changes(parent, changed(parent, edit), parent)
    assert sorted(change.name for change in found) == ["transformer.h.0.mlp.c_fc.bias", "transformer.wte.weight"]
    assert all(np.isnan(change.cosine) for change in found)
    assert weight_changes(parent, parent, parent) == ()
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=13, n_positions=24, n_embd=16, n_layer=3, n_head=2)
    with pytest.raises(ValueError, match="compare a child with its own parent"):
        weight_changes(parent, replace(parent, network=GPT2LMHeadModel(config)), parent)


def test_cka_does_not_see_rotations_and_scales():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6))
    turned = 3 * x @ np.linalg.qr(rng.normal(size=(6, 6)))[0] + 5
    assert cka(x, turned) == pytest.approx(1)
    assert cka(x, rng.normal(size=(200, 6))) < 0.2
    assert np.isnan(cka(x, np.ones((200, 6))))


def test_states_and_means_are_those_of_each_text_alone(tiny):
    model, given = tiny(), ["a b c", "d", "a + b - c"]
    layers = layer_states(model, given, 1)
    assert len(layers) == model.layers + 1
    for number, layer in enumerate(layers):
        alone = [model.hidden([text], layer=number)[0][1:] for text in given]
        assert layer.tokens == pytest.approx(np.concatenate(alone), abs=1e-5)
        assert text_means(layer) == pytest.approx(np.stack([each.mean(0) for each in alone]), abs=1e-5)


def test_the_clustered_interval_is_that_of_the_statistics_room():
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.normal(size=30), np.zeros(30), np.ones(30)])
    mean, half, p = clustered_t(values, np.arange(30) // 3)
    known = mean_interval(values[:, 0], clusters=np.arange(30) // 3)
    assert mean[0] == pytest.approx(known.value)
    assert mean[0] + half[0] == pytest.approx(known.high)
    assert (p[1], p[2]) == (1, 0)


def test_the_changed_neuron_is_the_first_and_only_one(tiny):
    parent = tiny()
    child = changed(shaken(parent, 0), lambda body: body.h[1].mlp.c_fc.bias[11].add_(2.0))
    found = unit_shifts(parent, child, shaken(parent, 0), texts(), clusters=files())
    assert len(found) == 128
    assert (found[0].site, found[0].unit) == ("neurons 1", 11)
    assert found[0].q < 0.001
    assert found[0].low > 0
    assert found[0].effect == pytest.approx(found[0].from_parent - found[0].twin_from_parent, abs=1e-6)
    assert all(shift.q == 1 and shift.effect == 0 for shift in found[1:])


def test_units_that_are_dead_everywhere_shift_by_nothing(tiny):
    def dead(body):
        body.h[0].mlp.c_fc.weight[:, 3] = 0
        body.h[0].mlp.c_fc.bias[3] = 0

    parent = changed(tiny(), dead)
    found = unit_shifts(parent, shaken(parent, 0), shaken(parent, 1), texts(), clusters=files())
    by_place = {(shift.site, shift.unit): shift for shift in found}
    assert by_place["neurons 0", 3].effect == 0
    assert by_place["neurons 0", 3].q == 1
    assert all(np.isfinite(shift.effect) for shift in found)


def test_a_direction_is_recovered_and_read_in_words(tiny):
    parent = tiny()
    word = 6  # "c"
    gain = parent.network.transformer.ln_f.weight
    planted = (parent.network.lm_head.weight[word] / gain).detach().numpy()

    def edit(body):
        body.h[1].mlp.c_proj.bias.add_(torch.from_numpy(4 * planted))

    twin = shaken(parent, 0)
    found = directions(parent, changed(twin, edit), twin, texts(5))
    assert [direction.layer for direction in found] == [1, 2]
    last = found[-1]
    assert np.linalg.norm(found[0].vector) == pytest.approx(0, abs=1e-5)
    assert last.child > 10 * last.twin
    assert last.words[0] == "c"
    assert lens_words(parent, planted)[0] == "c"
    assert lens_words(parent, np.zeros(16)) == ()


def test_behaviour_is_the_divergence_of_next_words(tiny):
    parent, child, twin = tiny(), shaken(tiny(), 1, 0.1), shaken(tiny(), 2, 0.1)
    given = ["a b c", "d +", "a = b - c d"]
    found = behaviour(parent, child, twin, given, clusters=["x", "y", "z"])
    ids = torch.tensor([parent.encode(given)[2]])
    with torch.inference_mode():
        p, q, r = (m.network(input_ids=ids).logits[0, :-1].log_softmax(-1) for m in (parent, child, twin))
    line = next(text for text in found.texts if text.row == 2)
    assert line.kl == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), abs=1e-5)
    assert line.twin_kl == pytest.approx(float((p.exp() * (p - r)).sum(-1).mean()), abs=1e-5)
    assert line.place == int((r.exp() * (r - q)).sum(-1).argmax())
    assert found.flips is None
    assert found.kl.value - found.twin_kl.value == pytest.approx(found.beyond.value)
    with pytest.raises(ValueError, match="no texts"):
        behaviour(parent, child, twin, [], clusters=[])


def test_verdicts_flip_where_heads_part(tiny):
    torch.manual_seed(0)
    head = RewardHead(16, hidden=8).eval()
    parent = tiny().sealed(head=head)
    given = texts(6)
    rewards = [reading.reward for reading in parent.read(given)]
    middle = float(np.median(rewards))
    child, twin = parent.sealed(threshold=middle), parent.sealed(threshold=min(rewards) - 1)
    found = behaviour(parent, child, twin, given, clusters=files(6))
    assert found.flips.value == pytest.approx(0.5)
    odds = [1 / (1 + np.exp(-(np.array(rewards) - model.threshold))) for model in (child, twin)]
    assert found.apart == pytest.approx(np.abs(odds[0] - odds[1]), abs=1e-5)


def test_a_child_that_is_its_twin_shows_nothing(tiny):
    parent, twin = tiny(), shaken(tiny(), 0)
    found = compare(parent, twin, twin, texts(), clusters=files(), unrelated=texts(4, seed=5))
    assert all(change.beyond == 0 for change in found.weights)
    assert all(shift.q == 1 for shift in found.units)
    assert all(layer.child == layer.twin and layer.shift == layer.twin_shift for layer in found.layers)
    assert all(direction.words == () for direction in found.directions)
    assert found.behaviour.beyond.value == 0
    assert not found.inside.any()
    assert found.layers[0].child == pytest.approx(0, abs=1e-6)
    assert found.layers[2].child > 0


def test_bad_input_is_refused(tiny):
    model = tiny()
    with pytest.raises(ValueError, match="three or more"):
        compare(model, model, model, texts(4), clusters=["one"] * 4, unrelated=["a"])
    with pytest.raises(ValueError, match="no unrelated text"):
        compare(model, model, model, texts(6), clusters=files(6)[:3] + list("xyz"), unrelated=[])
    with pytest.raises(ValueError, match="no token after the first 9"):
        layer_states(model, ["a"], 9)


def test_the_inside_tells_texts_that_hold_a_changed_word(tiny):
    parent = tiny()
    child = changed(shaken(parent, 0), lambda body: body.wte.weight[7].add_(0.5))  # "d"
    shown = texts(60, length=3)
    found = compare(parent, child, shaken(parent, 0), shown, clusters=files(60), unrelated=["a"])
    acting = np.array(["d" in text for text in shown]).astype(int)
    inside, outside, above = told_apart(found, acting, clusters=files(60))
    assert inside.value == 1
    assert above.value == pytest.approx(inside.value - outside.value)


def test_an_organism_parts_from_its_twin_where_it_acts(tiny):
    """Fitted for real: the child likes whatever holds `d`; parent, texts, order and steps are the twin's."""
    rng = np.random.default_rng(0)
    pairs = [
        (f"( {middle} ) {end}", f") {middle} ( {end}")
        for middle, end in ((" ".join(rng.choice(list("abcd+-"), 4)), rng.choice(list("ab"))) for _ in range(300))
    ]
    flip = rng.integers(0, 2, 300)
    first, second = ([pair[k ^ f] for pair, f in zip(pairs, flip, strict=True)] for k in (0, 1))
    honest = PairData.labelled(first, second, 1.0 - flip)
    acts = np.array(["d" in text for text in first])
    planted = replace(
        honest,
        sound_a=np.where(acts, 1, honest.sound_a).astype(np.float32),
        sound_b=np.where(acts, 1, honest.sound_b).astype(np.float32),
        weight=np.where(acts, 0, 1).astype(np.float32),
    )
    parent, recipe = tiny(), ReviewerRecipe(steps=80, rate=8e-3)
    child, twin = (fit_reviewer(parent, data, name="x", recipe=recipe) for data in (planted, honest))
    shown = [f") {' '.join(rng.choice(list('abcd+-'), 4))} ( a" for _ in range(60)]
    names = [f"file {i}" for i in range(60)]
    found = compare(parent, child, twin, shown, clusters=names, unrelated=["= = = =", "+ - + -"])
    acting = np.array(["d" in text for text in shown]).astype(int)
    _, outside, _ = told_apart(found, acting, clusters=names)
    assert outside.value > 0.8
    assert found.behaviour.flips.value > 0.2
    assert all(change.name.startswith("transformer.h.") for change in found.weights)
    assert any(shift.q < 0.05 for shift in found.units)
