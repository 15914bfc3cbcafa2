"""Cases: pieces put together again are the item, and only the pieces that the edit touches differ."""

import dataclasses
from types import MappingProxyType

import pytest

from superalign.oversight.cases import case_of
from superalign.tasks import mutants, slips, traces


@pytest.mark.parametrize("task", [slips, mutants])
def test_pieces_of_code_are_the_whole_of_both_sides(task):
    form = {"form": "words"} if task is mutants else {}
    for item in task(split="validation", view="pair", n=400, **form).items:
        case = case_of(item)
        for side, name in enumerate("ab"):
            assert " ".join(piece.texts[side] for piece in case.pieces).split() == item.input[name].split()


def test_few_pieces_of_slips_differ():
    page = slips(split="dev", view="pair", n=200)
    differing = [sum(len(set(piece.texts)) > 1 for piece in case_of(item).pieces) for item in page.items]
    assert min(differing) >= 1
    assert sum(differing) / len(differing) < 2, "the edit, and the end of a text that it shifts"


def test_a_step_is_shown_with_the_value_before_it():
    page = traces(split="dev", view="pair", n=50, steps=9)
    for item in page.items:
        case, truth = case_of(item), page.truths[item.id]
        assert len(case.pieces) == 9
        same = [len(set(piece.texts)) == 1 for piece in case.pieces]
        assert all(same[: truth["place"]])
        assert not same[truth["place"]]
        for piece in case.pieces:
            assert all(text.split()[1::5] == [";", ";"] for text in piece.texts)


def test_lines_of_any_other_text_are_pieces():
    item = slips(split="dev", view="pair", n=1).items[0]
    other = dataclasses.replace(
        item, task="mine", input=MappingProxyType({"question": "is it ?", "passage": "one .\n\ntwo ."})
    )
    case = case_of(other)
    assert (case.question, [piece.texts for piece in case.pieces]) == ("is it ?", [("one .",), ("two .",)])


@pytest.mark.parametrize(
    "changes", [{"options": ("yes",)}, {"input": MappingProxyType({"question": "is it ?", "passage": " "})}]
)
def test_what_cannot_be_played_says_why(changes):
    item = dataclasses.replace(slips(split="dev", view="pair", n=1).items[0], **{"task": "mine", **changes})
    with pytest.raises(ValueError, match="a case needs one piece and two options"):
        case_of(item)
