"""Items as Inspect's samples: one a seating, with the Case that is played, and the truth where no model sees it.

    drawn = Drawn(task="slips", split="validation", items=50)
    samples_of(drawn, [(0, 1), (1, 0)])                        # both orders of a debate, on each item

A sample's target is the name of its true option: Inspect gives it to scorers alone. Its metadata holds the Case, from
which everything that players are shown is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superalign.evidence import SuperalignError

if TYPE_CHECKING:
    from inspect_ai.dataset import Sample

    from superalign.oversight.types import Case
    from superalign.tasks.item import Page

TASKS = ("slips", "traces", "mutants", "rules")
ITEMS = 50
Seating = tuple[int | None, ...]


class TaskUnfit(SuperalignError):
    """An Inspect task of ours can't be made of these options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Which items."""

    task: str = "slips"
    """slips, traces, mutants, rules, or a file of your own (docs/data.md)."""
    split: str = "validation"
    items: int = ITEMS
    seed: int = 0

    @property
    def own(self) -> bool:
        """Is it a file of yours?"""
        return self.task not in TASKS

    @property
    def family(self) -> str:
        """Truth source, task and split, as the firewall knows it."""
        from superalign.evidence.types import spelt

        task = self.page().task.partition(".")[0] if self.own else self.task
        return f"construction/{spelt(task).replace('/', ' ')}/{self.split}"

    def page(self) -> Page:
        """The items and their truths. Raises TaskUnfit for options that no task has."""
        try:
            return self._page()
        except ValueError as error:
            raise TaskUnfit(str(error)) from error

    def _page(self) -> Page:
        from superalign.tasks import mutants, rules, slips, traces

        n = {"split": self.split, "n": self.items}
        if self.task == "mutants":
            return mutants(view="pair", form="source", seed=self.seed, **n)  # type: ignore[arg-type]
        if self.task == "rules":
            return rules(seed=self.seed, **n)  # type: ignore[arg-type]
        if not self.own:
            return {"slips": slips, "traces": traces}[self.task](view="pair", seed=self.seed, **n)
        path = Path(self.task.removeprefix("data:"))
        if not path.exists():
            raise TaskUnfit(f"{self.task!r} is no task, and no file: use {', '.join(TASKS)}, or a file of your own")
        from superalign.pipeline.board_own import of_two
        from superalign.tasks.own import own_data
        from superalign.tasks.own_pages import own_page

        page = own_page(own_data(path), seed=self.seed, **n)  # type: ignore[arg-type]
        return of_two(page) if page.task.rpartition(".")[2] != "mutant" else page  # as on a leaderboard


def drawn_of(stated: Mapping[str, Any]) -> Drawn:
    """Read back what a log states; TypeError for other fields or types."""
    usual = Drawn()
    for field in fields(Drawn):
        if type(stated[field.name]) is not type(getattr(usual, field.name)):
            raise TypeError(f"{stated[field.name]!r:.80} can't be the {field.name} of items")
    return Drawn(**stated)


def samples_of(drawn: Drawn, seatings: Sequence[Seating]) -> list[Sample]:
    """A sample an item and seating, in the order of the items."""
    from inspect_ai.dataset import Sample

    from superalign.oversight import case_of

    page, out = drawn.page(), []
    for item in page.items:
        case, answer = case_of(item), int(page.truths[item.id]["answer"])
        if len(case.options) != 2 and any(side is not None for sides in seatings for side in sides):
            raise TaskUnfit(
                f"{drawn.task}: item {item.id} has {len(case.options)} options, and sides are argued of two"
            )
        for sides in seatings:
            metadata = {
                "item": item.id,
                "cluster": item.cluster,
                "kind": str(page.truths[item.id].get("kind", "")),
                "sides": list(sides),
                "case": asdict(case),
            }
            told = _name(item.id, sides)
            out.append(Sample(id=told, input=shown(case), target=case.options[answer], metadata=metadata))
    return out


def _name(item: str, sides: Seating) -> str:
    """An id that Inspect can take for a file's name."""
    seated = "-".join("x" if side is None else str(side) for side in sides)
    return f"{item}_{seated}" if sides else item


def shown(case: Case) -> str:
    """A Case for people, and for a model that is asked outside of any protocol: question, options, and all pieces."""
    lines = [case.question, f"options: {', '.join(case.options)}", ""]
    for number, piece in enumerate(case.pieces, start=1):
        if len(piece.texts) == 1:
            lines.append(f"{number}: {piece.texts[0]}")
        else:
            lines += [f"{number} {name}: {text}" for name, text in zip(case.options, piece.texts, strict=True)]
    return "\n".join(lines)


def case_in(metadata: Mapping[str, Any]) -> tuple[Case, Seating]:
    """The Case and the seating that a sample's metadata holds. Raises TaskUnfit for another task's sample."""
    from superalign.oversight.types import Case, Piece

    if not {"case", "sides"} <= metadata.keys():
        raise TaskUnfit("this sample holds no case: superalign's solvers play superalign's own tasks")
    told = metadata["case"]
    pieces = tuple(Piece(tuple(texts)) for texts in _texts(told["pieces"]))
    case = Case(**{**told, "options": tuple(told["options"]), "pieces": pieces})
    return case, tuple(metadata["sides"])


def _texts(pieces: Sequence[Any]) -> list[Sequence[str]]:
    """A piece is a named tuple of one field: as JSON it is a list of one list, or an object."""
    return [piece["texts"] if isinstance(piece, Mapping) else piece[0] for piece in pieces]
