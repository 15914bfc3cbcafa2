"""A probe carries over where lies look alike, turns against itself where they look opposite, and leaks are refused."""

from dataclasses import replace

import numpy as np
import pytest

from superalign.interpretability.aggregation import token_states
from superalign.interpretability.lies_texts import Told, parted
from superalign.interpretability.transfer import Source, leave_one_out, stacked, transfer


def told(seed, *, lie="+", truth="-", n=800):
    """Lies hold one word, truths another; topics are shared between sets, templates are not."""
    rng = np.random.default_rng(seed)
    rows = [(" ".join(rng.choice(list("abcd"), 5)), i % 2) for i in range(n)]
    return Told(
        texts=tuple(f"{text} {lie if y else truth} {text[:3]}" for text, y in rows),
        lie=np.array([y for _, y in rows]),
        templates=tuple(f"set {seed} template {i // 2 % 6}" for i in range(n)),
        topics=tuple(f"topic {rng.integers(24)}" for i in range(n)),
    )


def sources(model, n=800):
    sets = {"alike": told(0, n=n), "same": told(1, n=n), "opposite": told(2, lie="-", truth="+", n=n)}
    parts = parted(*sets.values(), shares=(0.4, 0.3, 0.3))
    return {n: Source(model=model, told=t, parts=p) for (n, t), p in zip(sets.items(), parts, strict=True)}


def test_the_matrix_says_what_carries_over(tiny):
    found = transfer(sources(tiny()), layer=0)
    areas = found.areas()
    assert areas.shape == (3, 3)
    assert (np.diag(areas) > 0.95).all()
    assert areas[0, 1] > 0.95
    assert areas[0, 2] < 0.05
    assert found.cell("same", "opposite").figure.auroc.value == areas[1, 2]
    assert found.cell("alike", "same").figure.auroc.clusters > 3
    with pytest.raises(KeyError):
        found.cell("alike", "nowhere")


def test_a_threshold_is_that_of_what_was_trained_on(tiny):
    found = transfer(sources(tiny(), n=2400), layer=0, family="whitened")
    cuts = [[found.cell(a, b).figure.threshold for b in found.names] for a in found.names]
    for row in cuts:
        assert len(set(row)) == 1
        assert row[0] is not None
    assert found.cell("alike", "same").figure.false_alarms.value < 0.1
    assert len({row[0] for row in cuts}) == 3


def test_leaving_one_kind_out(tiny):
    cells = leave_one_out(sources(tiny()), layer=0, family="whitened")
    assert [cell.test for cell in cells] == ["alike", "same", "opposite"]
    assert cells[2].train == ("alike", "same")
    assert cells[2].figure.auroc.value < 0.05  # learned from what looks the other way
    with pytest.raises(ValueError, match="needs two"):
        leave_one_out({"one": sources(tiny())["alike"]})


def test_sources_parted_apart_and_models_of_unlike_width_are_refused(tiny):
    model = tiny()
    sets = told(0), told(1)
    apart = {str(i): Source(model=model, told=t, parts=parted(t, seed=i)[0]) for i, t in enumerate(sets)}
    with pytest.raises(ValueError, match="topics lie in"):
        transfer(apart)
    wide = untied(model)
    mixed = sources(model)
    mixed["same"] = replace(mixed["same"], model=wide)
    with pytest.raises(ValueError, match="unlike width"):
        transfer(mixed)


def test_a_twin_is_measured_on_the_same_texts_at_the_same_threshold(tiny):
    model = tiny()
    given = {n: replace(s, twin=model) for n, s in sources(model).items()}
    given["same"] = replace(given["same"], twin=tiny(3))
    found = transfer(given, layer=0, family="mean-difference")
    same = found.cell("same", "alike")
    assert same.twin == same.figure  # a source that is its own twin: the prompt is detected
    other = found.cell("alike", "same")
    assert other.twin.threshold == other.figure.threshold
    assert other.twin.auroc.value < other.figure.auroc.value
    assert transfer(sources(model), layer=0, family="mean-difference").cells[0].twin is None


def untied(model):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=13, n_positions=24, n_embd=32, n_layer=2, n_head=2)
    return replace(model, network=GPT2LMHeadModel(config).eval()).sealed()


def test_stacking_pads_what_is_shorter(tiny):
    model = tiny()
    short, long = (token_states(model, texts, layer=1) for texts in (["a b"], ["a b c d a b", "c"]))
    both = stacked([short, long])
    assert both.values.shape == (3, 8, 16)
    assert both.mask.sum(1).tolist() == [3, 7, 2]
    assert np.array_equal(both.values[0, :4], short.values[0])
