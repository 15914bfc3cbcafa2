"""Attribution patching against exact patching, GradDrop, and the softmax of queries and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from superalign.interpretability.attribution import (
    Attribution,
    attributed,
    exact_effects,
    loss_score,
    rank_agreement,
    reward_score,
    verified,
)
from superalign.interpretability.head_inputs import inputs_attributed, inputs_patched
from superalign.interpretability.units import directions, heads, neurons
from superalign.models import LocalModel

Make = Callable[..., LocalModel]


def pairs(n: int = 6, length: int = 12, seed: int = 0, changed: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random sequences, and the same with some tokens drawn anew."""
    rng = np.random.default_rng(seed)
    clean = rng.integers(4, 13, size=(n, length))
    corrupt = clean.copy()
    corrupt[:, 2 : 2 + changed] = rng.integers(4, 13, size=(n, changed))
    return clean, corrupt, rng.integers(length - 3, length + 1, size=n)


@pytest.fixture
def gentle(tiny: Make) -> LocalModel:
    """A network so smooth that first order is nearly all there is."""
    model = tiny()
    with torch.no_grad():
        for name, part in model.network.named_parameters():
            if "mlp" in name or "attn" in name:
                part.mul_(0.1)
    return model


def test_first_order_is_exact_where_the_network_is_nearly_linear(gentle: LocalModel) -> None:
    clean, corrupt, lengths = pairs()
    sites = (*neurons(gentle), *heads(gentle), directions(gentle, 0, np.eye(16)[:5] + 0.1))
    for found in attributed(gentle, sites, clean, corrupt, lengths, loss_score, drop=False):
        site = found.site
        exact = exact_effects(gentle, site, range(site.units), clean, corrupt, lengths, loss_score)
        assert found.effects.shape == exact.shape == (6, site.units)
        assert found.dropped is None
        small = site.kind != "direction"  # the stream moves by as much as embeddings differ, which is not little
        assert np.corrcoef(found.effects.ravel(), exact.ravel())[0, 1] > (0.98 if small else 0.9)
        if small:
            np.testing.assert_allclose(found.effects, exact, atol=0.1 * np.abs(exact).max())


def test_equal_pairs_have_no_effect(tiny: Make) -> None:
    clean, _, lengths = pairs()
    for found in attributed(tiny(), neurons(tiny()), clean, clean, lengths, loss_score):
        assert np.abs(found.effects).max() < 1e-6
        assert found.dropped is not None
        assert np.abs(found.dropped).max() < 1e-6


def test_padding_has_no_say(tiny: Make) -> None:
    clean, corrupt, lengths = pairs()
    other_clean, other_corrupt = clean.copy(), corrupt.copy()
    for row, end in enumerate(lengths):
        other_clean[row, end:], other_corrupt[row, end:] = 4, 5
    model = tiny()
    a = attributed(model, neurons(model), clean, corrupt, lengths, loss_score)
    b = attributed(model, neurons(model), other_clean, other_corrupt, lengths, loss_score)
    for one, two in zip(a, b, strict=True):
        np.testing.assert_allclose(one.effects, two.effects, atol=1e-6)


def test_graddrop_by_hand(tiny: Make) -> None:
    """Two blocks: dropping one leaves, for units of the other, the path past it; of its own units nothing."""
    model = tiny()
    clean, corrupt, lengths = pairs(n=3)
    first, second = attributed(model, neurons(model), clean, corrupt, lengths, loss_score)
    assert first.dropped is not None
    assert second.dropped is not None
    np.testing.assert_allclose(second.dropped, second.size, rtol=1e-4, atol=1e-7)  # nothing lies behind the last block
    assert not np.allclose(first.dropped, first.size, rtol=1e-2), "of the first, the way through the second is shut"
    with torch.no_grad():  # without a second block's contribution the shut way was all there was
        for part in (model.network.transformer.h[1].attn.c_proj, model.network.transformer.h[1].mlp.c_proj):
            part.weight.zero_()
            part.bias.zero_()
    first, _ = attributed(model, neurons(model), clean, corrupt, lengths, loss_score)
    assert first.dropped is not None
    np.testing.assert_allclose(first.dropped, first.size, rtol=1e-4, atol=1e-7)


def test_frozen_weights_are_no_hindrance(tiny: Make) -> None:
    model, clean = tiny(), pairs()
    before = attributed(model, neurons(model), *clean, loss_score)
    for part in model.network.parameters():
        part.requires_grad_(False)
    after = attributed(model, neurons(model), *clean, loss_score)
    for one, two in zip(before, after, strict=True):
        np.testing.assert_allclose(one.effects, two.effects, atol=1e-6)


def test_exact_patching_of_everything_is_the_corrupt_run(tiny: Make) -> None:
    """All of the last block's stream as in the corrupt run gives the corrupt run's logits."""
    model = tiny()
    clean, corrupt, lengths = pairs()

    def last_logit(model: LocalModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return model.network(input_ids=ids, attention_mask=mask).logits[:, -1, 5]

    site, full = directions(model, 1, np.eye(16)), np.full(len(lengths), clean.shape[1])
    moved = exact_effects(model, site, [0], clean, corrupt, full, last_logit)
    assert moved.shape == (6, 1)
    ends = [last_logit(model, torch.from_numpy(x), torch.ones(x.shape)).detach() for x in (clean, corrupt)]
    from superalign.interpretability.causal import raw_of, with_raw
    from superalign.interpretability.units import tapped

    seen: dict[str, Any] = {}
    with torch.no_grad():
        with tapped(model, [site], lambda s, t: seen.update(raw=raw_of(s, t))):
            last_logit(model, torch.from_numpy(corrupt), torch.ones(corrupt.shape))
        with tapped(model, [site], lambda s, t: with_raw(s, t, range(16), seen["raw"])):
            whole = last_logit(model, torch.from_numpy(clean), torch.ones(clean.shape))
    torch.testing.assert_close(whole, ends[1], atol=1e-4, rtol=1e-4)


def test_verified_finds_what_was_missed(tiny: Make) -> None:
    model = tiny()
    clean, corrupt, lengths = pairs(n=8)
    found = attributed(model, neurons(model), clean, corrupt, lengths, loss_score)
    told = verified(model, found, clean, corrupt, lengths, loss_score, top=8, others=20, seed=0)
    assert told.first.sum() == 8
    assert len(told.exact) == len(told.sites) == 28
    assert len({*zip(told.sites, told.units.tolist(), strict=True)}) == 28, "no unit is patched twice"
    assert told.agreement_others.value is not None
    assert told.agreement_others.value > 0.5
    assert told.missed.n == 20
    assert told.missed.high is not None
    upside_down = [Attribution(site=f.site, effects=1 / (1e-3 + np.abs(f.effects)), dropped=None) for f in found]
    bad = verified(model, upside_down, clean, corrupt, lengths, loss_score, top=8, others=20, seed=0)
    assert bad.missed.value is not None
    assert told.missed.value is not None
    assert bad.missed.value > 0.5 > told.missed.value, "a bad ranking misses most, and its bound says so"


@pytest.mark.parametrize(("top", "others"), [(2, 20), (20, 2), (100, 100)])
def test_too_few_or_too_many_to_verify(tiny: Make, top: int, others: int) -> None:
    model, given = tiny(), pairs(n=2)
    found = attributed(model, neurons(model), *given, loss_score, drop=False)
    with pytest.raises(ValueError, match="three or more"):
        verified(model, found, *given, loss_score, top=top, others=others, seed=0)


def test_ties_have_no_rank_agreement() -> None:
    assert rank_agreement(np.zeros(10), np.arange(10.0), seed=0).value is None
    assert rank_agreement(np.arange(10.0), np.arange(10.0) ** 3, seed=0).value == pytest.approx(1)


def test_bad_input_is_named(tiny: Make) -> None:
    model, (clean, corrupt, lengths) = tiny(), pairs()
    with pytest.raises(ValueError, match="token by token"):
        attributed(model, neurons(model), clean, corrupt[:, :-1], lengths, loss_score)
    with pytest.raises(ValueError, match="reward head"):
        reward_score(model, torch.from_numpy(clean), torch.ones(clean.shape))
    with pytest.raises(ValueError, match="no gradient"):
        attributed(model, neurons(model), clean, corrupt, lengths, lambda *given: loss_score(*given).detach())
    with pytest.raises(ValueError, match="does not run"):
        attributed(model, neurons(model), clean, corrupt, lengths, lambda m, ids, mask: ids.float().sum(1))


def test_saturated_queries_need_the_softmax_anew(tiny: Make) -> None:
    """Attention that is certain of one place has no gradient in its queries, and still moves when they are patched."""
    model = tiny()
    with torch.no_grad():
        for block in model.network.transformer.h:
            block.attn.c_attn.weight[:, :32] *= 4.0
    clean, corrupt, lengths = pairs(n=12)
    found = inputs_attributed(model, clean, corrupt, lengths, loss_score)
    exact = {
        side: np.stack(
            [
                inputs_patched(model, clean, corrupt, lengths, loss_score, (layer, head), side)  # type: ignore[arg-type]
                for layer in range(2) for head in range(2)
            ], axis=1,
        )
        for side in ("query", "key")
    }  # fmt: skip
    for side, told in found.items():
        assert told.linear.shape == told.recomputed.shape == (12, 2, 2)
        plain, again = (np.abs(each.reshape(12, 4) - exact[side]).mean() for each in (told.linear, told.recomputed))
        assert again < 0.7 * plain
    last = found["query"].recomputed[:, 1]
    assert np.corrcoef(last.ravel(), exact["query"][:, 2:].ravel())[0, 1] > 0.8


def test_watching_leaves_attention_as_it_was(tiny: Make) -> None:
    model, given = tiny(), pairs()
    before, how = model.logprobs(["a b c d a b"])[0], model.network.config._attn_implementation
    inputs_attributed(model, *given, loss_score)
    assert model.network.config._attn_implementation == how
    np.testing.assert_array_equal(model.logprobs(["a b c d a b"])[0], before)
