"""Rewordings and dressings: what they claim to keep is kept, whatever they are composed of."""

from __future__ import annotations

import re

import numpy as np
import pytest

from superalign.adversarial.items import NEUTRAL
from superalign.adversarial.kinds import context
from superalign.adversarial.robustness.dialect import SPOKEN, dialect
from superalign.adversarial.robustness.reviewed import DRESSINGS
from superalign.adversarial.robustness.rewordings import FOREIGN, REWORDINGS
from superalign.adversarial.robustness.transformations import composed
from superalign.tasks.functions import WORDINGS, Brief, drawn, prompt, words
from superalign.tasks.lexer import AUTHORS, CUES, INDENTS, NAMED, SLOTS
from superalign.tasks.slips import draw

BRIEFS = [drawn(np.random.default_rng([1, i]), split="dev") for i in range(60)]
EVERY = {**REWORDINGS, "foreign": FOREIGN}
SLIPS = draw("dev")[:40]


def understood(text: str, xs: list[int]) -> object:
    """What a prompt's request comes to for `xs`, by an evaluator that shares nothing with the code under test."""
    line = re.sub(r"(?<=\d) (?=\d)", "", text.split(" <0> ")[1].removeprefix("# "))
    line = re.sub(r"\b0+(?=\d)", "", line)
    first = re.fullmatch(r"(if .*?) ((?:\w+) of .*)", line)
    line = f"{first[2]} {first[1]}" if first else line
    wording, _, rest = line.partition(" of ")
    mapped, _, keep = rest.partition(" if ")
    (aggregate,) = [name for name, each in WORDINGS.items() if wording in each]
    made = [eval(mapped, {"x": x, "g": x}) for x in xs if not keep or eval(keep, {"x": x, "g": x})]
    return {"sum": sum, "max": max, "min": min, "count": len, "list": list}[aggregate](made) if made else len(made)


def wanted(brief: Brief, xs: list[int]) -> object:
    value = brief.request.value(xs)
    return 0 if value is None or value == [] else value


def agrees(text: str, brief: Brief) -> bool:
    lists = [np.random.default_rng([2, i]).integers(10, size=6).tolist() for i in range(4)]
    return all((understood(text, xs) or 0) == (wanted(brief, xs) or 0) for xs in lists)


@pytest.mark.parametrize("name", REWORDINGS)
def test_a_rewording_keeps_the_request(name: str) -> None:
    changed = 0
    for i, brief in enumerate(BRIEFS):
        before = prompt(brief)
        after = REWORDINGS[name].apply(before, i)
        assert after == REWORDINGS[name].apply(before, i)
        assert set(after.split()) <= set(words())
        assert after.endswith("def f ( xs ) : <1>")
        assert agrees(after, brief), (before, after)
        changed += after != before
    assert changed > 10


def test_compositions_keep_the_request() -> None:
    rng = np.random.default_rng(3)
    for brief in BRIEFS * 3:
        plan = tuple((str(n), int(rng.integers(1_000))) for n in rng.choice(list(REWORDINGS), size=5))
        after = composed(prompt(brief), plan, REWORDINGS)
        assert agrees(after, brief), (prompt(brief), plan, after)
        assert set(after.split()) <= set(words())


def test_an_evaluator_that_can_fail() -> None:
    brief = next(b for b in BRIEFS if b.request.aggregate == "list" and b.request.mapping[0] == "+")
    assert agrees(prompt(brief), brief)
    assert not agrees(prompt(brief).replace("x +", "x * 7 +"), brief)


@pytest.mark.parametrize("name", EVERY)
def test_what_is_no_prompt_comes_back(name: str) -> None:
    for text in ("", "def f ( xs ) : <1>", "one line"):
        after = EVERY[name].apply(text, 0)
        assert after == text or (name in ("frame", "litter") and after.endswith(text))


def test_the_dialect_is_a_permutation() -> None:
    speak = dialect(seed=4)
    assert set(speak.words) == set(SPOKEN)
    assert len(set(speak.words.values())) == len(SPOKEN)
    assert dialect(seed=4) == speak != dialect(seed=5)
    for brief in BRIEFS:
        text = prompt(brief)
        said = speak.said(text)
        assert said != text
        assert speak.understood(said) == text
        assert said.split(" <0> ")[0] == text.split(" <0> ")[0], "the header stays"
        assert not set(SPOKEN) & set(said.split(" <0> ")[1].split())
        assert FOREIGN.decode is not None
        assert FOREIGN.decode(FOREIGN.apply(text, 9)) == text


def test_no_prompt_to_translate() -> None:
    with pytest.raises(ValueError, match="not 1 lines"):
        dialect(seed=0).said("# all of x")


def shape(text: str) -> list[object]:
    """A reviewer's text up to names, indentation, context and a leading remark."""
    words_ = text.split()[2:]
    if words_[0] == "<S>" and words_[1] in INDENTS:
        words_ = words_[2:]
    order: dict[str, int] = {}
    out: list[object] = []
    for word in words_:
        name = word in {*SLOTS, *NAMED}
        out.append(order.setdefault(word, len(order)) if name else "<L>" if word in INDENTS else word)
    return out


@pytest.mark.parametrize("name", DRESSINGS)
def test_a_dressing_keeps_the_code(name: str) -> None:
    changed = 0
    for i, slip in enumerate(SLIPS):
        for code in (slip.sound, slip.altered):
            text = context(*NEUTRAL, " ".join(code))
            after = DRESSINGS[name].apply(text, i)
            assert after == DRESSINGS[name].apply(text, i)
            assert after.split()[0] in AUTHORS
            assert after.split()[1] in CUES
            assert shape(after) == shape(text)
            changed += after != text
    assert changed > 40


def test_dressings_compose() -> None:
    rng = np.random.default_rng(5)
    for slip in SLIPS:
        text = context(*NEUTRAL, " ".join(slip.altered))
        plan = tuple((str(n), int(rng.integers(1_000))) for n in rng.choice(list(DRESSINGS), size=6))
        assert shape(composed(text, plan, DRESSINGS)) == shape(text), plan
