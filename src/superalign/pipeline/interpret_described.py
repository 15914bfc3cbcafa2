"""A language model's explanations of units, for `superalign interpret --explainer`: asked, read strictly, compiled.

What could not be read or compiled is counted by kind, and never scored. A server is asked for the model after the `#`,
with the key in `SUPERALIGN_EXPLAINER_KEY`; it is told windows of text and numbers, and nothing else.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from superalign.evidence import SuperalignError
from superalign.interpretability.compiled import UNDERSTOOD, Spoken, TextError, compiled, heard, spoken
from superalign.interpretability.completers import Completer, CompletionError, http, local
from superalign.interpretability.conditions import Lexicon, lexicon
from superalign.interpretability.described import describe
from superalign.interpretability.explanation import Sample
from superalign.interpretability.judging import shown_windows
from superalign.models import load_model
from superalign.pipeline.interpret_families import DESCRIBED

KEY = "SUPERALIGN_EXPLAINER_KEY"
TOKENS = 96
"""Of an answer."""


def described(
    address: str, train: Sample, dev: Sample, *, most: int, seed: int
) -> tuple[Spoken | None, Mapping[str, np.ndarray]]:
    """(the explainer that its texts make, None where none compiled; what it was asked and said), of the `most` units
    that vary most.

    Arrays: `described units`, `described texts` (asked,), `described garbage` kinds and `described garbage counts`.
    Raises SuperalignError for a server that does not answer, and a model whose context is too short for the prompt.
    """
    asked = np.argsort(-np.nan_to_num(train.values.std(0)), kind="stable")[:most].tolist()
    shown, words = shown_windows(train, seed=seed), lexicon(train)
    try:
        said = describe(completer_of(address), train, shown, units=asked, seed=seed, understood=UNDERSTOOD)
    except (CompletionError, ValueError) as error:
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


def completer_of(address: str) -> Completer:
    """Completes by a model on this machine, or by a server: `http://HOST/v1#MODEL`.

    Raises SuperalignError for an address without a model, and as `load_model` does.
    """
    if not address.startswith(("http://", "https://")):
        return local(load_model(address), tokens=TOKENS)
    url, _, model = address.partition("#")
    if not model:
        raise SuperalignError(f"--explainer {address}: name the model after a #, as in http://127.0.0.1:8000/v1#name")
    return http(url, model=model, key=os.environ.get(KEY, ""))


def understood(text: str, words: Lexicon) -> bool:
    """Does it compile?"""
    try:
        return bool(compiled(text, words))
    except TextError:
        return False
