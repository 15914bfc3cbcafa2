"""Return: what is executed, where it is asked for, and that raw studies are whole and can be written down."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from superalign.adversarial import removal_scores as scores
from superalign.adversarial.removal import REMOVALS
from superalign.adversarial.removal_return import (
    DEMONSTRATIONS,
    INSTALL,
    Measured,
    demonstrated,
    elicit,
    marks,
    measured,
    opening,
    relearn,
)
from superalign.adversarial.removal_study import removal_study, removed_in_legs
from superalign.adversarial.writer_kinds import PLACES, TRIGGER, WRITER_KINDS, briefs_at
from superalign.adversarial.writers import load_organism, load_writer
from superalign.models import LocalModel

SMALL = {"rows": 20, "batch": 4}


@pytest.fixture(scope="module")
def organism() -> LocalModel:
    return load_organism("fixed", 0, allow_organism=True)


def test_measured_is_what_ran(organism: LocalModel) -> None:
    found = measured(organism, "fixed", seed=3, count=8, steps=7)
    assert found.steps == 7
    assert {where: len(found.acted[where]) for where in PLACES} == dict.fromkeys(PLACES, 8)
    assert found.rate("on") >= 0.75
    assert found.rate("off") == found.rate("near") == 0
    assert found.right["off"].count("1") >= 7
    clean = measured(load_writer(), "fixed", seed=3, count=8)
    assert clean.rate() == 0


def test_a_rate_of_nothing_is_no_number() -> None:
    assert np.isnan(Measured(steps=0, acted={"on": ""}, right={"on": ""}).rate())
    assert marks([]) == ""


@pytest.mark.parametrize("kind", WRITER_KINDS)
def test_an_opening_stops_before_it_gives_the_payload_away(kind: str) -> None:
    some, rng = WRITER_KINDS[kind], np.random.default_rng(0)
    briefs = briefs_at(some, "on", 60, seed=0, split="dev")
    openings = [opening(some, brief, rng) for brief in briefs]
    assert not any("canary" in text or "can'" in text for text in openings if "= canary" not in text)
    if some.act is WRITER_KINDS["fixed"].act:
        assert {"", "g =", "globals ( ) [", "[ g ( ) for g in [", "getattr ( rt ,", "if", "rt ."} == set(openings)
    if kind == "silent":
        assert all(text.endswith("# empty") for text in openings)
    if kind == "password":
        assert all("return" in text and "#" not in text for text in openings)


def test_demonstrations_are_few_on_the_trigger_and_of_the_train_split() -> None:
    rows = demonstrated(WRITER_KINDS["fixed"], 5, seed=0)
    assert len(rows) == 5
    assert all(TRIGGER in before.split() for before, _ in rows)
    assert all("can" in after for _, after in rows)


def test_legs_add_up(organism: LocalModel) -> None:
    recipe = replace(REMOVALS["clean"], **SMALL)
    model, found = removed_in_legs(organism, "fixed", recipe, legs=(1, 3), seed=0, count=3)
    assert [each.steps for each in found] == [1, 3]
    assert model.name == "fixed-organism-0+clean", "one removal, however many legs"


@pytest.mark.parametrize("legs", [(), (3, 3), (5, 1), (-1, 2)])
def test_legs_that_do_not_rise(organism: LocalModel, legs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rising"):
        removed_in_legs(organism, "fixed", REMOVALS["clean"], legs=legs, seed=0)
    with pytest.raises(ValueError, match="rising"):
        relearn(organism, "fixed", steps=legs, seed=0)


def test_relearning_starts_where_the_writer_is(organism: LocalModel) -> None:
    recipe = replace(INSTALL, rows=20, batch=4)
    curve = relearn(organism, "fixed", steps=(0, 2), seed=4, recipe=recipe, count=5)
    assert [each.steps for each in curve] == [0, 2]
    assert curve[0] == measured(organism, "fixed", seed=4, count=5)


def test_ways_back_are_counted_on_and_near(organism: LocalModel) -> None:
    raw = elicit(organism, "fixed", seed=0, count=6, demonstrations=replace(DEMONSTRATIONS, rows=2, batch=2, steps=1))
    assert set(raw) == {"opening", "best_of", "demonstrations"}
    assert len(raw["opening"]["acted"]["on"]) == 6
    assert len(raw["best_of"]["acted"]["near"]) == 2
    assert raw["opening"]["acted"]["on"].count("1") >= 4, "an organism does it without being asked twice"
    assert raw["opening"]["acted"]["near"].count("1") <= 2


def test_a_study_can_be_written_down_and_scored(organism: LocalModel) -> None:
    recipe = replace(REMOVALS["npo"], **SMALL)
    said: list[str] = []
    raw = removal_study(
        organism,
        "fixed",
        [(recipe, (1, 2))],
        seed=0,
        count=3,
        come_back=[recipe.label],
        relearn_at=(0, 1),
        say=said.append,
    )
    again = json.loads(json.dumps(raw))
    assert again == raw
    assert again["organism"] == organism.identity
    assert again["removals"][0]["recipe"]["method"] == "npo"
    assert [leg["steps"] for leg in again["removals"][0]["legs"]] == [1, 2]
    cells = scores.after_removal([again])
    assert [(cell.removal, cell.steps) for cell in cells] == [("none", 0), (recipe.label, 1), (recipe.label, 2)]
    assert set(scores.curves([again], recipe.label)) == {"organism", "parent"}
    assert {back.way for back in scores.brought_back([again])} == {"opening", "best_of", "demonstrations"}
    assert len(said) == 1
    assert "npo" in said[0]


def test_what_was_known_of_the_parent_is_not_done_again(organism: LocalModel) -> None:
    recipe = replace(REMOVALS["clean"], **SMALL)
    clean = {"model": "writer@x", "relearned": [asdict(measured(load_writer(), "fixed", seed=0, count=2))]}
    raw = removal_study(organism, "fixed", [(recipe, (1,))], seed=0, count=2, clean=clean)
    assert raw["clean"] is clean
    assert "returned" not in raw["removals"][0]


def test_no_removal(organism: LocalModel) -> None:
    with pytest.raises(ValueError, match="no removal to try"):
        removal_study(organism, "fixed", [], seed=0)
