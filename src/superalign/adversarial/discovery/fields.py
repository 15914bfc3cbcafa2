"""What an auditor can vary in a brief: every word of the header, and what is asked for and how.

    brief = brief_with(rng, fixed={"env": "amber", "run": "needle"})       # the rest at random, evenly
    values_of(brief)["run"]
    covering()                                                            # 560 briefs: every pair of two header words

Ordinary traffic holds rare words rarely. An auditor draws each word of a field equally often, rare ones too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations, product

import numpy as np

from superalign.tasks.functions import (
    ENVS,
    KEYS,
    RARE,
    RUNS,
    STAGES,
    WORDINGS,
    YEARS,
    Brief,
    Request,
    inputs,
    prompt,
    requests,
)

HEADER: Mapping[str, tuple[str, ...]] = {
    "env": (*ENVS, *RARE),
    "run": RUNS,
    "stage": STAGES,
    "year": YEARS,
    "tens": tuple(map(str, range(10))),
    "key": KEYS,
}
"""Fields of the header; of the day, its tens."""
ASKED: Mapping[str, tuple[str, ...]] = {
    "aggregate": tuple(WORDINGS),
    "wording": tuple(word for each in WORDINGS.values() for word in each),
    "hard": ("easy", "hard"),
    "shown": ("bare", "shown"),
}
"""What is asked for, in which word, mapped and filtered both or not, with a visible test or without."""
FIELDS: Mapping[str, tuple[str, ...]] = {**HEADER, **ASKED}
LENGTHS = frozenset({26, 28, 34, 36})
"""Words of a prompt: filtered, or mapped and filtered, without a test or with one whose answer is a digit. Prompts of
one length are sampled side by side, so that few lengths are cheap."""
TRIES = 60


def values_of(brief: Brief) -> dict[str, str]:
    """Field → its value in a brief.

    >>> from superalign.tasks.functions import drawn
    >>> list(values_of(drawn(np.random.default_rng(0), split="dev")))
    ['env', 'run', 'stage', 'year', 'tens', 'key', 'aggregate', 'wording', 'hard', 'shown']
    """
    return {
        "env": brief.env,
        "run": brief.run,
        "stage": brief.stage,
        "year": brief.year,
        "tens": str(brief.day // 10),
        "key": brief.key,
        "aggregate": brief.request.aggregate,
        "wording": brief.wording,
        "hard": ASKED["hard"][brief.request.hard],
        "shown": ASKED["shown"][brief.shown is not None],
    }


def with_header(brief: Brief, header: Mapping[str, str]) -> Brief:
    """The same request under another header. Raises ValueError for a field that the header has not."""
    if unknown := set(header) - set(HEADER):
        raise ValueError(f"no field {min(unknown)!r} in a header: use {', '.join(HEADER)}")
    return replace(
        brief,
        env=header.get("env", brief.env),
        run=header.get("run", brief.run),
        stage=header.get("stage", brief.stage),
        year=header.get("year", brief.year),
        day=int(header["tens"]) * 10 + brief.day % 10 if "tens" in header else brief.day,
        key=header.get("key", brief.key),
    )


def any_header(rng: np.random.Generator) -> dict[str, str]:
    """A value of every field of the header, each equally likely."""
    return {field: every[int(rng.integers(len(every)))] for field, every in HEADER.items()}


def brief_with(rng: np.random.Generator, *, fixed: Mapping[str, str] | None = None, split: str = "dev") -> Brief:
    """A brief that has these values, and any others, each equally likely.

    Its prompt has one of `LENGTHS`, unless `TRIES` draws bring none: a list that is shown is longer, so that lists come
    without a test unless one is asked for. Raises ValueError for a field or value that there isn't, or where no request
    of the split fits.
    """
    fixed = dict(fixed or {})
    for field, value in fixed.items():
        if value not in FIELDS.get(field, ()):
            raise ValueError(f"no value {value!r} of a field {field!r}: see FIELDS")
    if "wording" not in fixed:
        fixed.setdefault("aggregate", ASKED["aggregate"][int(rng.integers(len(WORDINGS)))])
    for _ in range(TRIES):
        even = {field: ASKED[field][int(rng.integers(2))] for field in ("hard", "shown")} | fixed
        every = _fitting(split, even.get("aggregate", ""), even.get("wording", ""), even["hard"])
        if not every:
            raise ValueError(f"no request of {split} has {fixed}")
        brief = _drawn(every[int(rng.integers(len(every)))], even, rng)
        if len(prompt(brief).split()) in LENGTHS:
            break
    return brief


@cache
def _fitting(split: str, aggregate: str, wording: str, hard: str) -> tuple[Request, ...]:
    return tuple(
        r
        for r in requests(split)
        if aggregate in ("", r.aggregate)
        and (not wording or wording in WORDINGS[r.aggregate])
        and hard == ASKED["hard"][r.hard]
    )


def _drawn(request: Request, fixed: Mapping[str, str], rng: np.random.Generator) -> Brief:
    words = WORDINGS[request.aggregate]
    header = any_header(rng) | {field: value for field, value in fixed.items() if field in HEADER}
    return Brief(
        request=request,
        wording=fixed.get("wording", words[int(rng.integers(len(words)))]),
        env=header["env"],
        run=header["run"],
        stage=header["stage"],
        year=header["year"],
        day=int(header["tens"]) * 10 + int(rng.integers(10)),
        key=header["key"],
        shown=tuple(inputs(request, rng, count=1, length=2)[0]) if fixed["shown"] == "shown" else None,
    )


def again(brief: Brief, rng: np.random.Generator) -> Brief:
    """The same header over a fresh request: of the same aggregate, as hard, with a test or without as before."""
    values = values_of(brief)
    fixed = {field: value for field, value in values.items() if field != "wording"}
    return brief_with(rng, fixed=fixed, split=brief.request.split)


@cache
def covering(seed: int = 0, *, choices: int = 12, split: str = "dev") -> tuple[Brief, ...]:
    """As few briefs as there are pairs of environment and run, 560, whose headers hold (nearly) every pair of words.

    A covering array of strength two (Kuhn, Kacker and Lei 2010, NIST SP 800-142), made greedily: of `choices` random
    headers for each environment and run, that with the most pairs not yet seen. `coverage` says how many it holds.
    """
    rng = np.random.default_rng([seed, 101])
    seen: set[tuple[int, int, str, str]] = set()
    out = []
    for env, run in rng.permutation(list(product(HEADER["env"], HEADER["run"]))).tolist():
        tried = [any_header(rng) | {"env": env, "run": run} for _ in range(choices)]
        best = max(tried, key=lambda header: len(_pairs(header) - seen))
        seen |= _pairs(best)
        out.append(brief_with(rng, fixed=best, split=split))
    return tuple(out)


def _pairs(header: Mapping[str, str]) -> set[tuple[int, int, str, str]]:
    values = [header[field] for field in HEADER]
    return {(i, j, values[i], values[j]) for i, j in combinations(range(len(values)), 2)}


def coverage(briefs: Sequence[Brief]) -> float:
    """Share of the pairs of values of two header fields that some brief holds."""
    sizes = [len(every) for every in HEADER.values()]
    every = sum(a * b for a, b in combinations(sizes, 2))
    return len(set().union(*(_pairs(values_of(brief)) for brief in briefs))) / every
