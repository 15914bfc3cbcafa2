"""Do a run's texts fit into the models that shall read them? Said before anything is trained, or written.

check_room(sizes("quick"), load_model("hf:models/llama"))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from superalign.adversarial.items import NEUTRAL
from superalign.adversarial.kinds import context
from superalign.evidence import SuperalignError
from superalign.models import LocalModel
from superalign.models.words import one_token_a_word
from superalign.pipeline.audited import stress_items, threshold_items
from superalign.pipeline.config import Sizes
from superalign.tasks.mutants import mutants
from superalign.tasks.slips import slips
from superalign.tasks.traces import traces

if TYPE_CHECKING:
    from superalign.pipeline.game.config import StressSizes
    from superalign.tasks import Page

SPARE = 1.1
"""Texts that are rewritten, or whose author or name is another, are longer by so much at most."""


def check_room(sizes: Sizes, *models: LocalModel) -> None:
    """Raises SuperalignError for a model whose context is too short for a run's texts, as its tokenizer cuts them.

    What does not fit would be cut, and verdicts about the rest would not be about the texts. The embedded family reads
    a word as one token, and its texts were made to fit.
    """
    _checked("run", lambda: _texts(sizes), models)


def check_stress_room(sizes: StressSizes, *models: LocalModel) -> None:
    """The same for what reviewers read in a stress test, trained on it or audited."""
    _checked("stress test", lambda: _stress_texts(sizes), models)


def check_texts_room(what: str, made: Callable[[], Iterator[str]], *models: LocalModel) -> None:
    """The same for whatever else is read whole; `made` gives the texts, and is called where somebody needs the look."""
    _checked(what, made, models)


def texts_of(pages: Sequence[Callable[[], Page]]) -> Iterator[str]:
    """All texts of the items of some pages, which are drawn where they are asked for."""
    return (text for page in pages for item in page().items for text in item.input.values())


def _checked(what: str, made: Callable[[], Iterator[str]], models: Sequence[LocalModel]) -> None:
    texts = None
    for model in models:
        if one_token_a_word(model.tokenizer):
            continue
        texts = list(made()) if texts is None else texts
        lengths = [len(ids) for ids in model.tokenizer(texts, add_special_tokens=True)["input_ids"]]
        room, longest = model.context, max(lengths)
        if SPARE * longest > room:
            over = sum(SPARE * length > room for length in lengths)
            raise SuperalignError(
                f"{model.name} reads {room} tokens at once; of this {what}'s {len(lengths)} texts {over} need more, "
                f"the longest {longest} and a tenth to spare: use a model with a longer context, or a tokenizer with "
                "more words"
            )


def _texts(sizes: Sizes) -> Iterator[str]:
    """Texts of every page of a run."""
    validation = [
        slips(split="validation", view="pair", n=max(sizes.test_pairs, sizes.validation_pairs)),
        mutants(split="validation", view="pair", form="words", n=sizes.mutant_pairs),
        traces(split="validation", view="pair", n=sizes.trace_pairs),
    ]
    others = [
        slips(split="train", view="pair", n=sizes.train_pairs),
        slips(split="dev", view="pair", n=sizes.dev_pairs),
        slips(split="test", view="pair", n=sizes.once_pairs),
    ]
    for page in (*validation, *others):
        for item in page.items:
            yield from (context(*NEUTRAL, text) for text in item.input.values())


def _stress_texts(sizes: StressSizes) -> Iterator[str]:
    sized: Any = SimpleNamespace(sizes=sizes)  # all of a desk that the items depend on
    for pair in (*threshold_items(sized), *stress_items(sized)):
        yield from (context(*NEUTRAL, code) for code in (pair.sound, pair.altered))
    for item in slips(split="train", view="pair", n=sizes.train_pairs).items:
        yield from (context(*NEUTRAL, text) for text in item.input.values())
