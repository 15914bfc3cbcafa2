"""What a player in words is asked, as turns: the prompt's own words, and text of strangers in frames.

    judge_turns(prompt, view, (0, 1), reserved)          # what a judge reads
    adviser_turns(prompt, position, reserved, quotes=1, length=1200)
    own_turns(prompt, case, (0, 1), reserved)            # an adviser asked what it believes itself

One frame's word holds for a whole request, its system turn too: it is a hash of all of it (`superalign.models.frames`).
Question, options, pieces, quotes and what others said in words stand in frames; marks, seats, sides, letters, numbers
of places and stated beliefs are the table's. The case that an adviser reads is shown in pieces, numbered as quotes are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from superalign.models.frames import frame_word, told
from superalign.models.speaker import Turn
from superalign.oversight.prompts.chat import ChatPrompt
from superalign.oversight.prompts.rendering import Page, letters_of
from superalign.oversight.types import Case, Position, View


def judge_turns(
    prompt: ChatPrompt, view: View, order: Sequence[int], reserved: Sequence[str] = (), *, length: int = 0
) -> tuple[Turn, ...]:
    """A judge's turns for a view, option `order[k]` shown under letter k. Raises ValueError as `letters_of` does."""
    letters = letters_of(view.options, order)

    def holes(page: Page) -> dict[str, str]:
        return page.holes(view) | {"quotes": "", "length": str(length)}

    return _turns(prompt, "user", letters, reserved, holes)


def adviser_turns(
    prompt: ChatPrompt, position: Position, reserved: Sequence[str] = (), *, quotes: int, length: int
) -> tuple[Turn, ...]:
    """An adviser's turns where it is to speak; options are shown in their own order."""
    case, view = position.case, position.view
    letters = letters_of(case.options, range(len(case.options)))

    def holes(page: Page) -> dict[str, str]:
        side = position.side
        task = prompt.fill("free") if side is None else prompt.fill("assigned", letter=letters[side])
        told_of = {"task": task, "turns": str(position.turns_left), "pieces": _pieces(page, case)}
        return page.holes(view) | told_of | {"quotes": str(quotes), "length": str(length)}

    return _turns(prompt, "user", letters, reserved, holes)


def own_turns(
    prompt: ChatPrompt, case: Case, order: Sequence[int], reserved: Sequence[str] = (), *, quotes: int, length: int
) -> tuple[Turn, ...]:
    """An adviser's turns where it is asked for its own belief; nobody has said anything."""
    view = View(task=case.task, question=case.question, options=case.options)
    letters = letters_of(case.options, order)

    def holes(page: Page) -> dict[str, str]:
        return page.holes(view) | {"pieces": _pieces(page, case), "quotes": str(quotes), "length": str(length)}

    return _turns(prompt, "own", letters, reserved, holes)


def _pieces(page: Page, case: Case) -> str:
    return "\n".join(
        page.prompt.fill("piece", place=str(place + 1), text=page.sides(piece.texts))
        for place, piece in enumerate(case.pieces)
    )


def _turns(
    prompt: ChatPrompt,
    asked: str,
    letters: dict[int, str],
    reserved: Sequence[str],
    holes: Callable[[Page], dict[str, str]],
) -> tuple[Turn, ...]:
    def parts(opened: str, closed: str) -> list[str]:
        safe = partial(told, reserved=tuple(reserved))
        values = holes(Page(prompt=prompt, letters=letters, open=opened, close=closed, told=safe))
        return [prompt.fill(part, **values) for part in ("system", asked)]

    word = frame_word("\n".join([prompt.digest, *parts("", "")]))
    system, user = parts(f"<{word}>", f"</{word}>")
    return (Turn("system", system), Turn("user", user)) if system.strip() else (Turn("user", user),)
