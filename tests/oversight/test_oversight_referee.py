"""The referee: a charge holds for the wrong option at the place that makes it wrong, and nowhere else."""

import dataclasses

import numpy as np
import pytest

from superalign.oversight import play
from superalign.oversight.cases import case_of
from superalign.oversight.protocols import critique
from superalign.oversight.record import played_again
from superalign.oversight.referee import ExecutingReferee, PieceReferee, differs_at
from superalign.oversight.types import Charge, Message
from superalign.tasks import mutants, slips, traces
from superalign.tasks.executing import MutantsError
from superalign.tasks.pixels import pixels


@pytest.mark.parametrize("task", ["slips", "traces", "mutants"])
def test_one_charge_of_an_item_holds(task):
    options = {"form": "words"} if task == "mutants" else {}
    page = {"slips": slips, "traces": traces, "mutants": mutants}[task](split="dev", view="pair", n=40, **options)
    referee = PieceReferee(truths=page.truths)
    for item in page.items:
        case = case_of(item)
        held = [(o, p) for o in (0, 1) for p in range(len(case.pieces)) if referee.holds(case, Charge(o, p))]
        ((option, piece),) = held
        assert option == 1 - page.truths[item.id]["answer"]
        assert task == "traces" or len(set(case.pieces[piece].texts)) == 2, "the piece shows the edit"


def test_a_picture_has_no_charge_that_could_be_checked():
    page = pixels(split="dev", view="pair", n=1)
    with pytest.raises(ValueError, match="no charge can be checked"):
        PieceReferee(truths=page.truths).holds(case_of(page.items[0]), Charge(0, 0))


@pytest.fixture(scope="module")
def quick():
    """Faults of one small module, whose tests take a moment."""
    page = mutants(split="dev", view="pair", form="words")
    items = [item for item in page.items if page.truths[item.id]["path"] == "bisect.py"][:3]
    assert items
    return [case_of(item) for item in items], page.truths


def test_a_test_is_run_and_says_what_is_on_record(quick):
    cases, truths = quick
    executed, stored = ExecutingReferee(truths=truths, split="dev"), PieceReferee(truths=truths)
    for case in cases:
        place = differs_at(case)
        for charge in (Charge(0, place), Charge(1, place), Charge(0, (place + 1) % len(case.pieces))):
            assert executed.holds(case, charge) == stored.holds(case, charge)


def test_the_verdict_is_the_tests_and_not_the_truths(quick):
    """Where the truth names the sound side as faulty, its test passes all the same."""
    cases, truths = quick
    turned = {name: {**truth, "answer": 1 - truth["answer"]} for name, truth in truths.items()}
    executed, place = ExecutingReferee(truths=turned, split="dev"), differs_at(cases[0])
    faulty = 1 - truths[cases[0].item]["answer"]
    assert executed.holds(cases[0], Charge(1 - faulty, place)), "which source stands behind which option was turned"
    assert not executed.holds(cases[0], Charge(faulty, place))
    odd = {name: {**truth, "witness": "test.test_bisect.Nothing.test_none"} for name, truth in truths.items()}
    with pytest.raises(MutantsError, match="holds no such fault"):
        ExecutingReferee(truths=odd, split="dev").holds(cases[0], Charge(0, place))


def test_a_run_that_ends_by_a_limit_fails_its_check_alone(quick, monkeypatch):
    cases, truths = quick

    class Judge:
        def beliefs(self, views):
            return np.full((len(views), 2), 0.5)

    class Critic:
        def moves(self, positions):
            return [
                Message(speaker="", charges=(Charge(1 - truths[p.case.item]["answer"], differs_at(p.case)),))
                for p in positions
            ]

    from superalign.tasks import executing

    real = executing.execute

    def slow(subject, jobs, library, *, wall):
        for verdict in real(subject, jobs, library, wall=wall):
            late = jobs[0].id == cases[0].item
            yield dataclasses.replace(verdict, outcome="timeout") if late else verdict

    monkeypatch.setattr(executing, "execute", slow)
    players = {"judge": Judge(), "critic": Critic(), "referee": ExecutingReferee(truths=truths, split="dev")}
    first, *rest = play(critique(), cases, players)
    assert first.failures == ("error (MutantsError): referee",)
    assert first.belief == (0.5, 0.5)
    assert all(max(e.belief) == 1.0 for e in rest)
    stored = PieceReferee(truths=truths)
    for case, e in zip(cases, [first, *rest], strict=True):
        assert played_again(critique(), case, e.sides, e.seed, e.answers, stored).belief == e.belief
