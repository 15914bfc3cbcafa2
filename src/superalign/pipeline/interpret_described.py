"""A language model's explanations of units, for `superalign interpret --explainer`: asked, read strictly, compiled.

What could not be read or compiled is counted by kind, and never scored. A model behind an API is told windows of text
and numbers, and nothing else; a server's key is in `SUPERALIGN_EXPLAINER_KEY`.
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


def described(
    address: str, train: Sample, dev: Sample, *, most: int, seed: int
) -> tuple[Spoken | None, Mapping[str, np.ndarray]]:
    """(the explainer that its texts make, None where none compiled; what it was asked and said), of the `most` units
    that vary most.

    Arrays: `described units`, `described texts` (asked,), `described garbage` kinds and `described garbage counts`.
    Raises SuperalignError for an address where nobody answers, a refused key or a spent limit, and a model whose
    context is too short for the prompt.
    """
    asked = np.argsort(-np.nan_to_num(train.values.std(0)), kind="stable")[:most].tolist()
    shown, words = shown_windows(train, seed=seed), lexicon(train)
    try:
        said = describe(completer_at(address), train, shown, units=asked, seed=seed, understood=UNDERSTOOD)
    except (ModelError, ValueError) as error:
        raise SuperalignError(f"--explainer {address}: {error}") from error
    garbage, texts = Counter(said.garbage), [""] * train.site.units
    for unit, text in said.texts.items():
        if understood(text, words):
            texts[unit] = text
        else:
            garbage["no statement that can be checked"] += 1
    kinds = sorted(garbage)
    told = {
        "described units": np.array(asked, dtype=np.int32),
        "described texts": np.array([said.texts.get(unit, "") for unit in asked], dtype=np.str_),
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
