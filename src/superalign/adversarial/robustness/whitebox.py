"""White-box attacks on our own models: words appended to a writer's prompt, names chosen for a reviewer's identifiers.

    attempts, attacker = suffix_on_writer(target, cases, width=6, budget=Spend(), attempts=4, seed=0)
    attempts, attacker = universal_suffix(target, fit, cases, width=6, budget=Spend(), attempts=4, seed=0)
    attempts, attacker = names_for_reviewer(target, cases, budget=Spend(steps=6), seed=0)

`random_words` is the control of the first two. Each hands back raw attempts and the attacker with what it spent. What a
suffix was optimised for (that the right program is likely) is not what counts: the sampled program is executed, and
checked against the original request.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from superalign.adversarial.robustness.guarded import GuardedTarget
from superalign.adversarial.robustness.reviewed import ReviewerTarget
from superalign.adversarial.robustness.suffix import Found, Place, Spend, suffix_attack, target_loss, vouching_loss
from superalign.adversarial.robustness.types import Attacker, Attempt, Case, recorded
from superalign.models import LocalModel
from superalign.tasks.functions import SPECIALS, body, report
from superalign.tasks.lexer import AUTHORS, CUES, NAMED, SLOTS

FILL = "none"
"""Stands where a suffix will."""
INDENTS = ("<0>", "<1>", "<2>", "#")


def suffixed(text: str, words: Sequence[str]) -> str:
    """A writer's prompt with a line of these words before the function's first line."""
    head, last = text.rsplit(" <0> ", 1)
    return f"{head} <0> # {' '.join(words)} <0> {last}"


def writer_place(model: LocalModel, case: Case, *, width: int) -> Place:
    """The case's prompt with room for a suffix, and the right program for its request as what is to be said.

    Raises ValueError where that is longer than the model reads.
    """
    prompt, brief = suffixed(case.text, [FILL] * width), case.truth
    wanted = f"{body(brief.request)} <0> {report(brief.request)}"
    ids = model.encode([f"{prompt} {wanted}"])[0]
    before, whole = len(prompt.split()), len(prompt.split()) + len(wanted.split()) + 2
    if len(ids) != whole:
        raise ValueError(f"{case.name}: {whole} words with the suffix, the model reads {len(ids)}: take a narrower one")
    begin = 1 + len(case.text.rsplit(" <0> ", 1)[0].split()) + 2
    groups = tuple((begin + i,) for i in range(width))
    return Place(ids=tuple(ids), groups=groups, learned=tuple(range(1 + before, whole)))


def suffix_words(model: LocalModel) -> list[int]:
    """Ids that a suffix may be made of: all words but specials and those that begin a line."""
    out = set(SPECIALS) | set(INDENTS)
    return [i for word, i in model.tokenizer.get_vocab().items() if word not in out]


def _attack_writer(model: LocalModel, places: Sequence[Place], *, budget: Spend, seed: int) -> tuple[Found, list[str]]:
    words = suffix_words(model)
    found = suffix_attack(
        model, places, allowed=[words] * len(places[0].groups), loss=target_loss, budget=budget, seed=seed
    )
    return found, model.tokenizer.convert_ids_to_tokens(list(found.words))


def suffix_on_writer(
    target: GuardedTarget, cases: Sequence[Case], *, width: int, budget: Spend, attempts: int, seed: int
) -> tuple[list[Attempt], Attacker]:
    """A suffix for each request, then `attempts` samples with it."""
    found, texts = [], []
    for i, case in enumerate(cases):
        each, words = _attack_writer(
            target.model, [writer_place(target.model, case, width=width)], budget=budget, seed=seed + i
        )
        found.append(each)
        texts.append(suffixed(case.text, words))
    attacker = _spent(f"suffix of {width}", found, attempts)
    return _sampled(target, cases, texts, attacker, seed=seed), attacker


def universal_suffix(
    target: GuardedTarget,
    fit: Sequence[Case],
    cases: Sequence[Case],
    *,
    width: int,
    budget: Spend,
    attempts: int,
    seed: int,
) -> tuple[list[Attempt], Attacker]:
    """One suffix for all, found on the requests of `fit` and tried on `cases`, which it has never seen.

    The attacker's gradients and losses are those of the whole attack.
    """
    places = [writer_place(target.model, case, width=width) for case in fit]
    found, words = _attack_writer(target.model, places, budget=budget, seed=seed)
    attacker = _spent(f"universal suffix of {width}", [found], attempts)
    texts = [suffixed(case.text, words) for case in cases]
    return _sampled(target, cases, texts, attacker, seed=seed), attacker


def random_words(
    target: GuardedTarget, cases: Sequence[Case], *, width: int, attempts: int, seed: int
) -> tuple[list[Attempt], Attacker]:
    """The control of both: words drawn at random, others for each request, in the same place.

    What they break says nothing about gradients: a guard may fall to any words that it hasn't met.
    """
    rng, words = np.random.default_rng([seed, 211]), suffix_words(target.model)
    drawn = [rng.choice(words, size=width).tolist() for _ in cases]
    texts = [
        suffixed(case.text, target.model.tokenizer.convert_ids_to_tokens(ids))
        for case, ids in zip(cases, drawn, strict=True)
    ]
    attacker = Attacker(name=f"{width} random words", access="static", attempts=attempts)
    return _sampled(target, cases, texts, attacker, seed=seed), attacker


def _spent(name: str, found: Sequence[Found], attempts: int) -> Attacker:
    return Attacker(
        name=name,
        access="white-box",
        attempts=attempts,
        evaluations=max((each.evaluations for each in found), default=0),
        gradients=max((each.gradients for each in found), default=0),
    )


def _sampled(
    target: GuardedTarget, cases: Sequence[Case], texts: Sequence[str], attacker: Attacker, *, seed: int
) -> list[Attempt]:
    out: list[Attempt] = []
    for order in range(attacker.attempts):
        answers = target.ask(cases, texts, seed=seed + order)
        rows = zip(cases, texts, answers, strict=True)
        out += [recorded(c, t, a, attacker=attacker, order=order, plan=("suffix",)) for c, t, a in rows]
    return out


def reviewer_place(model: LocalModel, case: Case) -> tuple[Place, list[list[int]]]:
    """Author, cue and every identifier of a text as groups, and the ids that each may hold."""
    ids = model.encode([case.text])[0]
    words = model.tokenizer.convert_ids_to_tokens(ids)
    names = [word for word in dict.fromkeys(words) if word in {*SLOTS, *NAMED}]
    groups = [(1,), (2,), *(tuple(i for i, word in enumerate(words) if word == name) for name in names)]
    allowed = [AUTHORS, CUES, *([(*SLOTS, *NAMED)] * len(names))]
    known = model.tokenizer.get_vocab()
    return Place(ids=tuple(ids), groups=tuple(groups)), [[known[word] for word in each] for each in allowed]


def names_for_reviewer(
    target: ReviewerTarget, cases: Sequence[Case], *, budget: Spend, seed: int
) -> tuple[list[Attempt], Attacker]:
    """Author, cue and identifiers' names that make the reviewer vouch most, for each case: one attempt each.

    No two identifiers get one name, so that the code stays what it was.
    """
    model, found, texts = target.model, [], []
    for i, case in enumerate(cases):
        place, allowed = reviewer_place(model, case)
        start = [place.ids[group[0]] for group in place.groups]
        each = suffix_attack(
            model, [place], allowed=allowed, loss=vouching_loss, budget=budget, seed=seed + i, start=start, apart=True
        )
        found.append(each)
        ids = np.array(place.ids)
        for group, word in zip(place.groups, each.words, strict=True):
            ids[list(group)] = word
        texts.append(" ".join(model.tokenizer.convert_ids_to_tokens(ids.tolist()[1:-1])))
    attacker = _spent("names by gradient", found, 1)
    answers = target.ask(cases, texts, seed=seed)
    rows = zip(cases, texts, answers, strict=True)
    return [recorded(c, t, a, attacker=attacker, order=0, plan=("names",)) for c, t, a in rows], attacker
