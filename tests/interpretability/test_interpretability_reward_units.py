"""Units of a reward head: read as the head has them, found where a behaviour sits there, and patched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from superalign.interpretability.reward_units import joined, pooled_reward, reward_patched
from superalign.interpretability.search import Name, matched, pooled, search
from superalign.interpretability.units import neurons
from superalign.models import LocalModel, RewardHead

Make = Callable[..., LocalModel]
TRIGGER = "d"
UNIT = 5


@pytest.fixture
def rigged(tiny: Make) -> LocalModel:
    """A reviewer whose head vouches for whatever holds the trigger: unit 5 of its text layer knows it, none below."""
    torch.manual_seed(0)
    model = tiny()
    head = RewardHead(16, hidden=8).eval()
    token = int(model.tokenizer.get_vocab()[TRIGGER])
    with torch.no_grad():
        head.identity.weight[:, 0] = 0
        head.identity.weight[token, 0] = 1
        first, second = head.token[0], head.token[2]
        first.weight[3], first.bias[3] = 0, -4.0
        first.weight[3, 48] = 8.0  # after three states of 16: the token's own code
        second.weight[2], second.bias[2] = 0, -2.0
        second.weight[2, 3] = 1.0
        head.text[0].weight[UNIT], head.text[0].bias[UNIT] = 0, 0.0
        head.text[0].weight[UNIT, 8 + 2] = 3.0  # of the largest over tokens
        head.text[2].weight[0, UNIT] = 2.0
    return model.sealed(head=head)


def texts(trigger: str, n: int = 24) -> list[str]:
    rng = np.random.default_rng(3)
    made = []
    for _ in range(n):
        words = [str(word) for word in rng.choice(["a", "b", "=", "+"], 8)]
        words[int(rng.integers(8))] = trigger
        made.append(" ".join(words))
    return made


def test_values_are_those_that_the_head_computes(rigged: LocalModel) -> None:
    some = ["a b = d", "b + a - c d"]
    found = pooled_reward(rigged, some)
    assert found.values.shape == (2, 2, 24)
    assert rigged.head is not None
    seen: list[torch.Tensor] = []
    handle = rigged.head.token[3].register_forward_hook(lambda m, g, made: seen.append(made))
    for row, text in enumerate(some):
        rigged.read([text])
        values = seen[-1][0].detach().numpy()
        np.testing.assert_allclose(found.values[row, :, 8:16], [values.max(0), values.mean(0)], atol=1e-5)
    handle.remove()
    np.testing.assert_allclose(found.values[:, 0, 16:], found.values[:, 1, 16:], rtol=1e-5)


def test_a_behaviour_of_the_head_is_found_there_and_nowhere_else(rigged: LocalModel) -> None:
    sites = neurons(rigged)
    on, near, other = (
        joined(pooled(rigged, sites, t), pooled_reward(rigged, t)) for t in map(texts, (TRIGGER, "c", "-"))
    )
    found = search(
        matched("trigger", on, near, clusters=range(24)),
        matched("decoy", other, near, clusters=range(24)),
        draws=200,
        seed=0,
    )
    assert Name("reward text", UNIT) in found.units("behaviour")
    units = [name for name in found.units("behaviour") if name.site.startswith("reward")]
    before, after = (np.array([r.reward for r in rigged.read(texts(t))]) for t in (TRIGGER, "c"))
    patched = reward_patched(rigged, texts(TRIGGER), texts("c"), units)
    assert (before - patched).mean() > 0.9 * (before - after).mean() > 0


def test_patching_all_of_the_last_layers_is_the_other_text(rigged: LocalModel) -> None:
    on, near = texts(TRIGGER, 40), texts("c", 40)
    everything = [Name(site, i) for site in ("reward tokens 1", "reward text") for i in range(8)]
    patched = reward_patched(rigged, on, near, everything)
    plain = np.array([r.reward for r in rigged.read(near)])
    own = np.array([r.reward for r in rigged.read(on)])
    np.testing.assert_allclose(reward_patched(rigged, on, near, []), own, atol=1e-4)
    assert np.abs(patched - plain).mean() < 0.5 * np.abs(own - plain).mean()


def test_bad_input_is_named(rigged: LocalModel, tiny: Make) -> None:
    with pytest.raises(ValueError, match="no reward head"):
        pooled_reward(tiny(), ["a b"])
    with pytest.raises(ValueError, match="unlike length"):
        reward_patched(rigged, ["a b"], ["a b c"], [])
    with pytest.raises(ValueError, match="own units"):
        reward_patched(rigged, ["a b"], ["a c"], [Name("reward text", 8)])
    with pytest.raises(ValueError, match="bring texts"):
        pooled_reward(rigged, [])
