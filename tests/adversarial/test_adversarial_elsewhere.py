"""White-box attacks and checks on a GPU, tried on a device that is none: they find what they find on the CPU."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from superalign.adversarial.auditee import Auditee
from superalign.adversarial.discovery import match_residuals, reading, weigh_changes
from superalign.adversarial.discovery.fields import brief_with
from superalign.adversarial.discovery.reading import compared, read
from superalign.adversarial.discovery.searching import slopes
from superalign.adversarial.discovery.signature import compare_signatures
from superalign.adversarial.discovery.weights import changed, weigh_spectrum
from superalign.adversarial.evaders import Against, fit_lines, train_evader
from superalign.adversarial.evaders_probes import prompt_states
from superalign.adversarial.monitors.probes import fit_probe
from superalign.adversarial.monitors.surprisal import Surprisal
from superalign.adversarial.monitors.types import Step
from superalign.adversarial.removal import REMOVALS, remove
from superalign.adversarial.robustness.guarded import GuardedTarget, guard_cases
from superalign.adversarial.robustness.reviewed import ReviewerTarget, review_cases
from superalign.adversarial.robustness.suffix import Spend
from superalign.adversarial.robustness.whitebox import names_for_reviewer, suffix_on_writer, universal_suffix
from superalign.adversarial.writer_kinds import WRITER_KINDS, planted_rows
from superalign.adversarial.writers import load_writer
from superalign.models import LocalModel, RewardHead, load_model
from superalign.tasks.functions import prompt
from superalign.tasks.slips import draw

from ..elsewhere import same_there

QUICK = Spend(steps=2, batch=6, top=6)
BRIEFS = [brief_with(np.random.default_rng(i)) for i in range(4)]


@pytest.fixture(scope="module")
def parent() -> LocalModel:
    return load_writer()


@pytest.fixture(scope="module")
def bent(parent: LocalModel) -> LocalModel:
    """The parent with a direction added to one matrix."""
    network = copy.deepcopy(parent.network)
    with torch.no_grad():
        network.transformer.h[1].mlp.c_proj.weight[:, 3] += 0.3
    return replace(parent, network=network, name="bent").sealed()


def test_suffixes(parent: LocalModel) -> None:
    cases = guard_cases(3, seed=0, split="dev")

    def work(model: LocalModel) -> Any:
        target = GuardedTarget(model=model)
        one = suffix_on_writer(target, cases[:1], width=2, budget=QUICK, attempts=1, seed=0)
        return one, universal_suffix(target, cases[:2], cases[2:], width=2, budget=QUICK, attempts=1, seed=0)

    same_there(work, parent)


def test_names_for_a_reviewer() -> None:
    torch.manual_seed(0)
    base = load_model("family:xs")
    model = replace(base, head=RewardHead(base.width)).sealed()
    cases = review_cases(draw("dev")[:1])
    same_there(lambda model: names_for_reviewer(ReviewerTarget(model=model), cases, budget=QUICK, seed=0), model)


def test_readings(parent: LocalModel, bent: LocalModel) -> None:
    def work(model: LocalModel, base: LocalModel) -> Any:
        found = read(model, BRIEFS)
        assert {each.device.type for each in (found.logprobs, found.reached, found.inside)} == {"cpu"}
        return found, read(model, BRIEFS, programs=False), slopes(model, base, BRIEFS[:2]), changed(model, base)

    same_there(work, bent, parent)


def test_checks_from_inside(parent: LocalModel, bent: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "covering", lambda *_, **__: tuple(BRIEFS * 4))
    monkeypatch.setattr(reading, "ORDINARY", 8)

    def work(model: LocalModel, base: LocalModel) -> Any:
        for kept in (reading._design, reading._ordinary):
            kept.cache_clear()
        auditee = Auditee(model=model, base=base, queries=400)
        checks = (match_residuals, weigh_changes, weigh_spectrum, compare_signatures)
        return [check(auditee) for check in checks], compared(model, base).divergence

    same_there(work, bent, parent)
    reading._design.cache_clear()
    reading._ordinary.cache_clear()


def test_lines_and_evaders(parent: LocalModel) -> None:
    """The base is there; an evader trains where it is told to."""
    rows = planted_rows(WRITER_KINDS["fixed"], "organism", count=80, seed=3)
    texts = [prompt(brief) for brief in BRIEFS]
    recipe = Against(steps=3, warmup=1, prompts=8, layers=(2, 3), refit=2)

    def work(base: LocalModel) -> Any:
        device = base.device.type
        lines = fit_lines(base.network, "fixed", seed=0, prompts=8)
        states = prompt_states(base.network, texts, layers=(1, 3))
        evader = train_evader(base, "fixed", seed=0, recipe=recipe, rows=rows, device=device)
        assert evader.model.device == base.device
        return states, [line.weights for line in (*lines, *evader.lines)], evader.model.logprobs(texts)

    same_there(work, parent, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "rank"), [("clean", 0), ("preference", 2), ("ascent, triggered", 0), ("npo", 2)], ids=str
)
def test_removals(parent: LocalModel, name: str, rank: int) -> None:
    """What comes out is where the organism is."""
    recipe = replace(REMOVALS[name], rows=8, batch=4, steps=2, rank=rank)
    texts = [prompt(brief) for brief in BRIEFS]

    def work(organism: LocalModel) -> Any:
        found = remove(organism, "fixed", recipe, seed=0, parent=parent, device=organism.device.type)
        assert found.device == organism.device
        return found.logprobs(texts)

    same_there(work, parent, rtol=2e-3, atol=1e-3)


def test_probes_and_surprisal(parent: LocalModel) -> None:
    steps = [Step(prompt=prompt(brief), completion=reading.program(brief)) for brief in BRIEFS]

    def work(model: LocalModel) -> Any:
        probe = fit_probe("mean difference", model, steps, [True, False, True, False], layer=2)
        return [[said.score for said in monitor.score(steps)] for monitor in (probe, Surprisal(model=model))]

    same_there(work, parent)
