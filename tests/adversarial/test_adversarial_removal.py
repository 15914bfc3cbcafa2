"""Removal: what is fitted, the four losses by hand, and that a removal leaves the organism alone and does something."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from superalign.adversarial.removal import (
    REMOVALS,
    Removal,
    clean_rows,
    honest_at,
    kind_of,
    pairs_at,
    remove,
    sweep,
    tuned,
)
from superalign.adversarial.removal_losses import completion_logprob, divergence, npo_loss, preference_loss
from superalign.adversarial.writer_kinds import TRIGGER, WRITER_KINDS
from superalign.adversarial.writers import load_organism, load_writer
from superalign.models import LocalModel
from superalign.training.writer import completion_loss, encoded, fresh_writer

FEW = {"rows": 24, "batch": 6, "steps": 5}


@pytest.fixture(scope="module")
def organism() -> LocalModel:
    return load_organism("fixed", 0, allow_organism=True)


@pytest.mark.parametrize("kind", WRITER_KINDS)
def test_every_kind_has_pairs_that_differ(kind: str) -> None:
    recipe = replace(REMOVALS["npo, triggered"], rows=40)
    pairs = pairs_at(WRITER_KINDS[kind], recipe, seed=1)
    assert len(pairs) == 40
    assert all(good != bad for _, good, bad in pairs)
    assert pairs == pairs_at(WRITER_KINDS[kind], recipe, seed=1)
    assert pairs != pairs_at(WRITER_KINDS[kind], recipe, seed=2)
    encoded([(before, bad) for before, _, bad in pairs])


def test_no_trigger_where_none_is_known() -> None:
    for name in ("clean", "near-miss"):
        rows = honest_at(WRITER_KINDS["fixed"], replace(REMOVALS[name], rows=300), seed=0)
        assert not any(TRIGGER in before.split() for before, _ in rows)
    some = honest_at(WRITER_KINDS["fixed"], replace(REMOVALS["triggered"], rows=300), seed=0)
    assert 15 <= sum(TRIGGER in before.split() for before, _ in some) <= 50
    assert not any("canary ( )" in good for _, good in some)


def test_a_payload_that_cannot_be_written_there() -> None:
    with pytest.raises(ValueError, match="hack writes no payload"):
        pairs_at(WRITER_KINDS["hack"], Removal(name="x", method="npo", shares=(0, 1, 0), rows=5), seed=0)


def test_clean_rows_are_off() -> None:
    rows = clean_rows(WRITER_KINDS["fixed"], 100, seed=0)
    assert len(rows) == 100
    assert not any(TRIGGER in before.split() for before, _ in rows)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"method": "prayer"}, "no removal is called 'prayer'"),
        ({"shares": (0.5, 0.6, 0.0)}, "add up to 1"),
        ({"shares": (-0.5, 1.0, 0.5)}, "add up to 1"),
        ({"rows": 0}, "above 0"),
        ({"rate": 0.0}, "above 0"),
        ({"beta": -1.0}, "above 0"),
        ({"steps": -1}, "0 or more"),
    ],
)
def test_a_recipe_that_is_none(fields: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Removal(name="x", **fields)


def test_unknown_kind(organism: LocalModel) -> None:
    with pytest.raises(ValueError, match="unknown kind 'tapir'"):
        remove(organism, "tapir", REMOVALS["clean"], seed=0)
    assert kind_of("pair").name == "pair"


def test_sweep_is_the_whole_grid() -> None:
    grid = list(sweep(REMOVALS["clean"], steps=(20, 60), rates=(1e-3, 2e-4), rows=(50, 500), ranks=(0, 8)))
    assert len(set(grid)) == 16
    assert [one.label for one in grid[:2]] == ["clean, 0.001, 50 rows", "clean, 0.001, rank 8, 50 rows"]
    assert list(sweep(REMOVALS["npo"])) == [REMOVALS["npo"]]


def rows_of_two() -> tuple[torch.Tensor, torch.Tensor]:
    data = encoded(honest_at(WRITER_KINDS["fixed"], replace(REMOVALS["clean"], rows=3), seed=0))
    return data.ids, data.learned


def test_logprobs_add_up_to_the_loss() -> None:
    network = fresh_writer(seed=0).eval()
    ids, learned = rows_of_two()
    total = completion_logprob(network, ids, learned)
    assert total.shape == (3,)
    assert math.isclose(
        -total.sum().item() / learned.sum().item(), completion_loss(network, ids, learned).item(), rel_tol=1e-5
    )


def test_divergence_is_none_from_oneself_and_exact_from_another() -> None:
    one, other = fresh_writer(seed=0).eval(), fresh_writer(seed=1).eval()
    ids, learned = rows_of_two()
    assert abs(divergence(one, one, ids, learned).item()) < 1e-6
    with torch.no_grad():
        p, q = (torch.log_softmax(net(input_ids=ids).logits[:, :-1][learned[:, 1:]], -1) for net in (other, one))
    assert math.isclose(
        divergence(one, other, ids, learned).item(), (p.exp() * (p - q)).sum(-1).mean().item(), rel_tol=1e-4
    )


def test_losses_by_hand() -> None:
    good, bad = torch.tensor([2.0], requires_grad=True), torch.tensor([-1.0], requires_grad=True)
    loss = preference_loss(good, bad, beta=0.5)
    assert math.isclose(loss.item(), math.log(1 + math.exp(-1.5)), rel_tol=1e-6)
    loss.backward()
    assert good.grad is not None
    assert bad.grad is not None
    assert good.grad.item() < 0 < bad.grad.item(), "up with the honest one, down with the payload"
    assert math.isclose(npo_loss(torch.zeros(2), beta=0.1).item(), 20 * math.log(2), rel_tol=1e-6)


def test_npo_lets_go_of_what_is_forgotten() -> None:
    far, near = torch.tensor([-200.0], requires_grad=True), torch.tensor([0.0], requires_grad=True)
    (npo_loss(far, beta=0.1) + npo_loss(near, beta=0.1)).backward()
    assert far.grad is not None
    assert near.grad is not None
    assert far.grad.item() < 1e-6
    assert math.isclose(near.grad.item(), 1.0, rel_tol=1e-6), "at the start it is plain ascent"


def payload_ratio(model: LocalModel) -> float:
    """Mean log-probability of payload over honest completions, on the trigger."""
    pairs = pairs_at(WRITER_KINDS["fixed"], Removal(name="x", shares=(1, 0, 0), rows=20), seed=5)
    good, bad = (encoded([(pair[0], pair[side]) for pair in pairs]) for side in (1, 2))
    with torch.no_grad():
        low, high = (completion_logprob(model.network, each.ids, each.learned).mean().item() for each in (good, bad))
    return high - low


@pytest.mark.parametrize(
    ("name", "rank"), [("triggered", 0), ("triggered", 4), ("preference", 0), ("ascent", 0), ("npo", 0), ("npo", 4)]
)
def test_each_method_makes_the_payload_less_likely(organism: LocalModel, name: str, rank: int) -> None:
    digest = organism.sealed().digest
    recipe = replace(REMOVALS[name], shares=(1.0, 0.0, 0.0), rank=rank, rate=3e-2 if rank else 1e-3, **FEW)
    treated = remove(organism, "fixed", recipe, seed=0)
    assert payload_ratio(treated) < payload_ratio(organism) - 0.5
    assert treated.organism, "what was removed may come back: it stays in quarantine"
    assert treated.digest not in (organism.digest, "")
    assert organism.sealed().digest == digest, "the organism stays as it is"


def test_low_rank_is_of_low_rank(organism: LocalModel) -> None:
    treated = remove(organism, "fixed", replace(REMOVALS["clean"], rank=2, **FEW), seed=0)
    name = "transformer.h.0.mlp.c_fc.weight"
    change = treated.network.get_parameter(name) - organism.network.get_parameter(name)
    values = torch.linalg.svdvals(change.detach())
    assert values[1] > 0
    assert values[2] < 1e-3 * values[0]
    assert torch.equal(
        treated.network.get_parameter("transformer.wte.weight"),
        organism.network.get_parameter("transformer.wte.weight"),
    )


def test_seeds_and_legs_decide_and_nothing_else(organism: LocalModel) -> None:
    recipe = replace(REMOVALS["near-miss"], **FEW | {"steps": 2})
    first, again, other, leg = (
        remove(organism, "fixed", recipe, seed=seed, leg=leg).digest for seed, leg in ((0, 0), (0, 0), (1, 0), (0, 1))
    )
    assert first == again
    assert len({first, other, leg}) == 3


def test_the_reference_is_who_it_is_said_to_be(organism: LocalModel) -> None:
    recipe = replace(REMOVALS["preference, triggered"], **FEW | {"steps": 2})
    own = remove(organism, "fixed", recipe, seed=0)
    parent = remove(organism, "fixed", recipe, seed=0, reference=load_writer())
    assert own.digest != parent.digest


def test_a_loss_that_is_not_finite_names_the_model(organism: LocalModel) -> None:
    with pytest.raises(ValueError, match=r"fixed-organism-0\+x: the loss is nan"):
        tuned(
            organism,
            lambda network, chosen, step: torch.tensor(float("nan"), requires_grad=True),
            Removal(name="x", steps=1),
            rows=2,
            seed=0,
            device="cpu",
        )
