"""A language model's explanations of units, for `superalign interpret --explainer`: read strictly, compiled.

What could not be read or compiled is counted by kind, and never scored. A model on this machine is asked here, where a
site is explained; one elsewhere was asked before that (`interpret_asked`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from superalign.evidence import SuperalignError
from superalign.interpretability.compiled import UNDERSTOOD, Spoken, TextError, compiled, heard, spoken
from superalign.interpretability.completers import completer_at
from superalign.interpretability.conditions import Lexicon, lexicon
from superalign.interpretability.described import describe
from superalign.interpretability.explanation import Sample
from superalign.interpretability.judging import shown_windows
from superalign.models import ModelError
from superalign.pipeline.interpret_families import DESCRIBED
from superalign.pipeline.interpret_said import UNCHECKED, Said


def asked_here(address: str, train: Sample, *, most: int, seed: int) -> Said:
    """What a model on this machine says of the `most` units that vary most.

    Raises SuperalignError for a model that can't be used, and one whose context is too short for the prompt.
    """
    units, shown = units_asked(train, most), shown_windows(train, seed=seed)
    try:
        said = describe(completer_at(address), train, shown, units=units, seed=seed, understood=UNDERSTOOD)
    except (ModelError, ValueError) as error:
        raise SuperalignError(f"--explainer {address}: {error}") from error
    return Said(units=tuple(units), texts=said.texts, garbage=said.garbage)


def units_asked(train: Sample, most: int) -> list[int]:
    """The `most` units that vary most."""
    found: list[int] = np.argsort(-np.nan_to_num(train.values.std(0)), kind="stable")[:most].tolist()
    return found


def described(said: Said, train: Sample, dev: Sample) -> tuple[Spoken | None, Mapping[str, np.ndarray]]:
    """(the explainer that its texts make, None where none compiled; what it was asked and said).

    Arrays: `described units`, `described texts` (asked,), `described garbage` kinds and `described garbage counts`.
    """
    words, garbage, texts = lexicon(train), Counter(said.garbage), [""] * train.site.units
    for unit, text in said.texts.items():
        if understood(text, words):
            texts[unit] = text
        else:
            garbage[UNCHECKED] += 1
    kinds = sorted(garbage)
    told = {
        "described units": np.array(said.units, dtype=np.int32),
        "described texts": said.listed,
        "described garbage": np.array(kinds, dtype=np.str_),
        "described garbage counts": np.array([garbage[kind] for kind in kinds], dtype=np.int32),
    }
    if not any(texts):
        return None, told
    silent = np.array([not text for text in texts])
    found = heard(spoken(texts, words, name=DESCRIBED), dev)
    return replace(found, base=np.where(silent, np.nan, found.base)), told  # a unit without a text has no score


def understood(text: str, words: Lexicon) -> bool:
    """Does it compile?"""
    try:
        return bool(compiled(text, words))
    except TextError:
        return False
