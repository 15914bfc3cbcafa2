"""The referee: a charge holds for the wrong option at the place that makes it wrong, and nowhere else."""

import pytest

from superalign.oversight.cases import case_of
from superalign.oversight.referee import PieceReferee
from superalign.oversight.types import Charge
from superalign.tasks import mutants, slips, traces
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
