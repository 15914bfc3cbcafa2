"""The words of the family's size `l`: the small vocabulary, then frequent names, numbers and strings of the corpus.

Whatever the smaller members read, `l` reads with the same ids. Beside that it reads *rich* text, in which frequent
names and short literals stay as they are, so that they carry meaning:

    rich_text("def f(width):\\n    return width + 1", np.random.default_rng(0))
    # def v3 ( width ) : <L1> return width + 1
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from superalign.tasks import lexer
from superalign.tasks.slips import vocabulary
from superalign.tasks.stdlib import source_files
from superalign.training.family import family_words

LARGE = 4_096
"""Words of `l` in all: 4,096 cover 96 % of the corpus and 91 % of modules that the family never saw."""
VERDICTS = ("<sound>", "<altered>")
"""What `l` says after code: log p(<altered>) − log p(<sound>) grows with its doubt that the code is as written."""
LITERAL_LENGTH, MODULE_VOTES = 14, 4


def is_test(path: str) -> bool:
    """Whether a file of the corpus is one of CPython's tests: two thirds of it are."""
    return path.startswith("test/")


@lru_cache(maxsize=50_000)
def literal(raw: str) -> str | None:
    """A string or number as one word in the unparser's spelling; None when long, spaced, formatted or no literal.

    >>> literal('"utf-8"'), literal("0x10"), literal("'two words'")
    ("'utf-8'", '16', None)
    """
    if len(raw) > LITERAL_LENGTH + 4:
        return None
    try:
        word = repr(ast.literal_eval(raw))
    except (ValueError, SyntaxError):
        return None
    return word if is_literal(word) and len(word) <= LITERAL_LENGTH and not any(c.isspace() for c in word) else None


def rich_tokens(source: str) -> tuple[str, ...]:
    """Tokens of `lexer.lex`, short strings and numbers as their own words, others `<S>` and `<N>`."""
    lexed = lexer.lex(source)
    return tuple(
        (literal(source[a:b]) or token) if token in (lexer.STRING, lexer.NUMBER) else token
        for token, (a, b) in zip(lexed.tokens, lexed.spans, strict=True)
    )


def is_literal(word: str) -> bool:
    """Whether a rich token is a string or number."""
    return word[:1] in set("'\"0123456789") or word[:2] in ("b'", 'b"')


@lru_cache(maxsize=1)
def large_words() -> list[str]:
    """The vocabulary of `l` in the order of its ids: the family's, the verdicts, then words by how many files use them.

    Only the corpus is counted, a module for `MODULE_VOTES` tests; ties go by number of uses, then by alphabet.
    """
    small = family_words()
    files: Counter[str] = Counter()
    uses: Counter[str] = Counter()
    for path, source in source_files("corpus").items():
        tokens = rich_tokens(source)
        uses.update(tokens)
        files.update(dict.fromkeys(tokens, 1 if is_test(path) else MODULE_VOTES))
    taken = {*small, *VERDICTS}
    frequent = sorted((w for w in files if w not in taken), key=lambda w: (-files[w], -uses[w], w))
    return [*small, *VERDICTS, *frequent][:LARGE]


@lru_cache(maxsize=1)
def large_ids() -> dict[str, int]:
    """Word → id in `large_words`."""
    return {word: i for i, word in enumerate(large_words())}


@lru_cache(maxsize=1)
def small_reading() -> np.ndarray:
    """Per id of `l` what the small vocabulary makes of it: itself, `<S>`, `<N>`, or −1 for a name (a slot)."""
    words, ids, keep = large_words(), large_ids(), vocabulary()
    reading = np.full(len(words), -1, dtype=np.int64)
    for i, word in enumerate(words):
        if is_literal(word):
            reading[i] = ids[lexer.NUMBER if word[0].isdigit() else lexer.STRING]
        elif word in keep or i < len(family_words()):
            reading[i] = i
    return reading


def coded(tokens: Iterable[str], names: dict[str, int]) -> np.ndarray:
    """Rich tokens as ids of `l`; a word beyond them gets `LARGE` + its number in `names`, which grows."""
    ids, out = large_ids(), []
    for token in tokens:
        if token in ids:
            out.append(ids[token])
        elif is_literal(token):
            out.append(ids[lexer.NUMBER if token[0].isdigit() else lexer.STRING])
        else:
            out.append(LARGE + names.setdefault(token, len(names)))
    return np.asarray(out, dtype=np.int64)


def dressed(codes: np.ndarray, rng: np.random.Generator, *, small: bool = False, forget: float = 0.0) -> np.ndarray:
    """Ids that a model reads: names beyond the vocabulary in random slots, the same for the same name.

    `small` leaves only what the smaller members know; else each name of the larger vocabulary is forgotten, and put in
    a slot, with probability `forget`. Names beyond the 24 slots become `<unk>`.
    """
    ids = large_ids()
    found, inverse = np.unique(codes, return_inverse=True)
    known = found < LARGE
    reading = np.full(len(found), -1, dtype=np.int64)
    plain = small_reading()[found[known]]
    if small:
        reading[known] = plain
    else:
        reading[known] = np.where((plain < 0) & (rng.random(int(known.sum())) < forget), -1, found[known])
    slotted = np.flatnonzero(reading < 0)
    slots = np.array([ids[word] for word in lexer.SLOTS])
    chosen = rng.permutation(slots)[: len(slotted)]
    chosen = np.concatenate([chosen, np.full(max(0, len(slotted) - len(chosen)), ids["<unk>"])])
    if len(slotted) > len(slots):
        chosen = rng.permutation(chosen)
    reading[slotted] = chosen
    result: np.ndarray = reading[inverse.reshape(-1)]
    return result


def rich_text(source: str, rng: np.random.Generator, *, small: bool = False) -> str:
    """`source` in the words of `l`, parted by spaces: what `family:l` is to be shown."""
    return rich_texts([source], rng, small=small)[0]


def rich_texts(sources: Sequence[str], rng: np.random.Generator, *, small: bool = False) -> list[str]:
    """Several sources that share their slots, as the two sides of a pair must."""
    names: dict[str, int] = {}
    parts = [coded(rich_tokens(source), names) for source in sources]
    ids = dressed(np.concatenate(parts), rng, small=small)
    words, edges = large_words(), np.cumsum([len(part) for part in parts])[:-1]
    return [" ".join(words[i] for i in part) for part in np.split(ids, edges)]
