"""Texts that compile: each phrase means what it says, what is not understood is an error that says what is."""

from __future__ import annotations

import numpy as np
import pytest

from superalign.interpretability.compiled import UNDERSTOOD, TextError, compiled, heard, spoken
from superalign.interpretability.conditions import (
    CLASSES,
    Condition,
    Lexicon,
    depths,
    holds,
    lexicon_of,
    merged,
    rule_text,
    seen,
)
from superalign.interpretability.corpus import packed
from superalign.interpretability.correlations import correlation
from superalign.interpretability.explanation import Sample
from superalign.interpretability.scores import agreement_on
from superalign.interpretability.units import Site

WORDS = (
    "<pad>",
    "self",
    "return",
    ":",
    "(",
    ")",
    "12",
    "<N>",
    "Foo",
    "<L1>",
    "x",
    "`",
    "\n",
    ";",
    "__init__",
    "if",
    "HTTP",
)
LEXICON: Lexicon = lexicon_of(WORDS, skip=1)
ID = {word: i for i, word in enumerate(WORDS)}


def ids(text: str) -> np.ndarray:
    return np.array([[ID[word] for word in text.split(" ")]])


def fires(text: str, tokens: str) -> list[int]:
    """Places, from 0, at which a text says that the unit fires."""
    row = ids(tokens)
    told = spoken([text], LEXICON).predict(row, np.array([row.shape[1]]))
    return np.flatnonzero(told[0, :, 0] > 0).tolist()


LINE = "x if ( x : return self ) 12 : return x"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("fires on `return`", [5, 10]),
        ("fires on the token `return` after `:`", [5, 10]),
        ("fires on `x` after `return`", [11]),
        ("fires on `x`, `self`.", [0, 3, 6, 11]),
        ("fires on `x` or `self`", [0, 3, 6, 11]),
        ("fires on digits", [8]),
        ("fires on keywords", [1, 5, 10]),
        ("fires after keywords", [2, 6, 11]),
        ("fires when `self` stands within 2 tokens before", [7, 8]),
        ("fires on `return` and when `self` stands within 5 tokens before", [10]),
        ("fires on `return` unless `self` stands within 5 tokens before", [5]),
        ("fires 2 tokens after `self`", [8]),
        ("fires at the first 3 places", [1, 2, 3]),
        ("fires at the first place", [1]),
        ("fires at places 4 to 5", [4, 5]),
        ("fires from place 10 on", [10, 11]),
        ("fires inside brackets", [3, 4, 5, 6, 7]),
        ("fires inside 2 brackets", []),
        ("fires on a token seen before", [3, 9, 10, 11]),
        ("fires on tokens seen before in the sequence", [3, 9, 10, 11]),
        ("fires once `return` has come 2 times", [10, 11]),
        ("fires once `self` has come", [6, 7, 8, 9, 10, 11]),
        ("fires on words and not on keywords", [0, 3, 6, 11]),
        ("fires not on words", [2, 4, 7, 8, 9]),
        ("fires on words; less on keywords", [0, 3, 6, 11]),
        ("it fires on `return`; less when `self` stands within 5 tokens before", [5]),
    ],
)  # fmt: skip
def test_phrases(text: str, places: list[int]) -> None:
    assert fires(text, LINE) == places


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "0 characters"),
        ("fires on joy", "'on joy'"),
        ("the unit likes code", "says nothing that can be checked"),
        ("fires", "says nothing"),
        ("fires on `nope`", "no token `nope`"),
        ("fires on `x` maybe", "'maybe'"),
        ("fires at places 5 to 2", "the last comes before the first"),
        ("fires on `x` and", "'and'"),
        ("fires on `\\x`", "escape"),
        ("fires on `x", "`x"),
        ("x" * 5000, "5000 characters"),
        ("fires on `x`; drop table", "drop table"),
    ],
)
def test_what_is_not_understood(text: str, why: str) -> None:
    with pytest.raises(TextError, match=None) as error:
        compiled(text, LEXICON)
    assert why in str(error.value)


def test_an_error_says_what_is_understood_and_whose_text_it_is() -> None:
    with pytest.raises(TextError) as error:
        spoken(["fires on `x`", "likes it"], LEXICON)
    assert str(error.value).startswith("unit 1: ")
    assert UNDERSTOOD in str(error.value)
    assert all(name in UNDERSTOOD for name in CLASSES)


@pytest.mark.parametrize(
    "condition",
    [
        Condition("token", (1, 2)), Condition("after", (3,)), Condition("back", (3,), number=4),
        Condition("near", (1,), number=5), Condition("count", (2,), number=3), Condition("count", (2,), number=1),
        Condition("class", label="digits"), Condition("afterclass", label="newlines"), Condition("seen"),
        Condition("place", number=3, last=9), Condition("place", number=4), Condition("firsts", number=3),
        Condition("brackets", number=1), Condition("brackets", number=2), Condition("token", (11, 12, 13)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("negated", [False, True])
def test_every_condition_says_itself_and_is_read_back(condition: Condition, negated: bool) -> None:
    """Odd tokens, as backticks, newlines and semicolons, included."""
    made = Condition(condition.kind, condition.words, condition.number, condition.last, condition.label, negated)
    for rule in ((made,), (Condition("class", label="words"), made)):
        (clause,) = compiled(f"less {rule_text(rule, LEXICON)}", LEXICON)
        assert clause.sign == -1
        assert clause.rule == rule
    assert made.bits(LEXICON) > 0


def test_merged_clauses_mean_what_the_rules_did() -> None:
    rules = [((Condition("token", (w,)),), s) for w, s in ((1, 2.0), (2, 1.0), (3, -1.0), (4, 1.0))]
    rules += [((Condition("near", (w,), number=5),), 1.0) for w in (1, 2)]
    rules.append(((Condition("token", (5,)), Condition("after", (4,))), 1.0))
    text = "; ".join(merged(rules[at : at + 4], LEXICON) for at in (0, 4))
    assert merged(rules, LEXICON).count(";") < text.count(";"), "a text keeps about 25 words"
    assert text.startswith("fires on `self`, `return`, `(`; less on `:`; fires when `self`")
    row = np.random.default_rng(0).integers(1, len(WORDS), (30, 12))
    lengths = np.full(30, 12)
    wanted = sum(np.sign(w) * holds(rule, row, lengths, LEXICON) for rule, w in rules)
    assert np.array_equal(spoken([text], LEXICON).predict(row, lengths)[:, :, 0], wanted)


def test_depths_never_fall_under_zero() -> None:
    assert depths(ids(") ( x ( x ) ) )  (".replace("  ", " ")), LEXICON).tolist() == [[0, 0, 1, 1, 2, 2, 1, 0, 0]]
    assert seen(ids("x x self x self")).tolist() == [[False, True, False, True, True]]


def test_heard_brings_texts_to_scale_on_held_in_text_only() -> None:
    rng = np.random.default_rng(1)
    named = {f"d{i}": rng.integers(1, len(WORDS), (6, 12)).tolist() for i in range(30)}
    corpus = packed(named, length=12, pad=0, skip=1)

    def sample(split: str) -> Sample:
        rows = corpus.rows(split)
        counted = corpus.counted(rows)
        real = 3.0 * (corpus.ids[rows] == 1) + 1 + 0.1 * rng.standard_normal(counted.shape)
        values = np.repeat(real[counted][:, None], 3, axis=1).astype(np.float32)
        site = Site(kind="neuron", layer=0, units=3, module="none")
        return Sample(corpus=corpus, site=site, words=WORDS, rows=rows, counted=counted, values=values)

    told = heard(spoken(["fires on `self`", "", "less on `self`"], LEXICON), sample("dev"))
    assert told.base[0] == pytest.approx(1, abs=0.05)
    assert told.scale[0] == pytest.approx(3, abs=0.1)
    r = correlation(agreement_on([told], sample("validation"))["compiled"], seed=0).value
    assert r[0] > 0.98
    assert r[1] == 0, "no explanation is no score above nothing"
    assert r[2] == 0, "a text that says the opposite is not turned round by calibration"
    assert told.explanation(1).bits == 0
    with pytest.raises(ValueError, match="validation are offered"):
        heard(told, sample("validation"))
