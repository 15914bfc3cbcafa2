"""mutants: a function of the standard library and the same function with one fault, proven by its module's own tests.

Each fault was executed in the sandbox: CPython's tests for the module fail on it (the `witness` is the first that does)
and pass on the original. What survived its tests is no item: nobody knows whether it is sound. Both sides went through
the unparser, docstrings alike. Splits are those of `splits.json`, so nothing in dev, validation or test stands in a
file that the family was trained on. Directions are balanced at build (`mutants_balance`): the edit alone tells nothing.
Whoever reads the whole function may see more without understanding it: `mutants_surface` measures one such rule.

    page = mutants(split="validation", view="pair")                # whole functions as source: which is sound?
    page = mutants(split="dev", view="single", form="words")       # 48 lexed words around the place: is it faulty?
"""

from __future__ import annotations

import ast
import hashlib
import json
import lzma
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from superalign.tasks.executing import MutantsError
from superalign.tasks.faults import Fault
from superalign.tasks.item import SPLITS, Item, Page
from superalign.tasks.lexer import lex
from superalign.tasks.slips import WINDOW, check_count, item_id
from superalign.tasks.stdlib import data_path
from superalign.tasks.windows import Crop, crops

ARCHIVE, INDEX = "mutants.jsonl.xz", "mutants.json"
_STRINGS = ("path", "kind", "function", "sound", "faulty", "witness", "error", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant(Fault):
    """A fault that the tests prove: they fail on `faulty` and pass on `sound`."""

    path: str
    """File of the standard library, or of the package that the faults were made in."""
    witness: str
    """The test that fails, as unittest names it (`import`: the module cannot even be imported); or the command."""
    error: str
    """Class of the exception that the witness ended with."""
    split: str = ""


@lru_cache(maxsize=1)
def mutants_index() -> Mapping[str, Any]:
    """What pins the shipped mutants: digests of archive, splits and corpus, counts, licence, the audit at build."""
    loaded: Mapping[str, Any] = json.loads(data_path(INDEX).read_text(encoding="utf-8"))
    return loaded


@lru_cache(maxsize=1)
def shipped() -> tuple[Mutant, ...]:
    """Every shipped mutant in frozen order. Raises MutantsError when the file is not the one the index pins."""
    path = data_path(ARCHIVE)
    raw = path.read_bytes()
    found, pinned = hashlib.sha256(raw).hexdigest(), mutants_index()["archive_sha256"]
    if found != pinned:
        raise MutantsError(f"{path}: SHA-256 is {found[:12]}…, the index pins {pinned[:12]}…: reinstall the package")
    return read_mutants(utf8(lzma.decompress(raw), ARCHIVE), name=ARCHIVE)


def load_mutants(path: Path) -> tuple[Mutant, ...]:
    """Mutants from JSON Lines (`.xz` too), as `superalign tasks mutants --from DIR` writes them.

    Raises MutantsError that names the file, the line by number, and what is wrong with it.

    Example: `page = mutants(split="dev", made=load_mutants(Path("mutants.jsonl")))`
    """
    try:
        raw = path.read_bytes()
        raw = lzma.decompress(raw) if path.suffix == ".xz" else raw
    except FileNotFoundError:
        raise MutantsError(f"{path}: there is no such file") from None
    except OSError as error:
        raise MutantsError(f"{path} cannot be read: {error.strerror}: give a file of mutants") from None
    except lzma.LZMAError as error:
        raise MutantsError(f"{path} is no file of mutants: {error}") from None
    return read_mutants(utf8(raw, str(path)), name=str(path))


def utf8(raw: bytes, name: str) -> str:
    """`raw` as text. Raises MutantsError that names the line of the first byte that is no UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        number = raw[: error.start].count(b"\n") + 1
        raise MutantsError(f"{name}, line {number}: no UTF-8 ({error.reason}): mend or remove the line") from None


def read_mutants(text: str, *, name: str) -> tuple[Mutant, ...]:
    """Mutants from the lines of `text`; blank lines are passed over. Raises MutantsError as `load_mutants` does."""
    made: dict[tuple[str, str, int, str], tuple[int, Mutant]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            mutant = _mutant(line, f"{name}, line {number}")
            same = (mutant.path, mutant.function, mutant.start, mutant.faulty)
            if same in made:
                raise MutantsError(f"{name}: line {number} repeats line {made[same][0]}: remove one of the two")
            made[same] = (number, mutant)
    return tuple(mutant for _, mutant in made.values())


def _mutant(line: str, where: str) -> Mutant:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise MutantsError(f"{where}: no JSON ({error}): mend or remove the line") from None
    except RecursionError:
        raise MutantsError(f"{where}: JSON nested too deeply to be a mutant: remove the line") from None
    if not isinstance(row, dict):
        raise MutantsError(f"{where}: a mutant is a JSON object, this is {type(row).__name__}")
    wanted = set(Mutant.__dataclass_fields__)
    if set(row) != wanted:
        odd = [ascii(name)[1:-1] for name in sorted(wanted - set(row)) or sorted(set(row) - wanted)]
        raise MutantsError(f"{where}: {'lacks' if wanted - set(row) else 'has the unknown'} {', '.join(odd)}")
    key = row["key"]
    typed = all(isinstance(row[f], str) for f in _STRINGS) and all(type(row[f]) is int for f in ("start", "line"))
    if not typed or not (isinstance(key, list) and len(key) == 2 and all(isinstance(part, str) for part in key)):
        raise MutantsError(f"{where}: texts must be strings, `start` and `line` whole numbers, `key` two strings")
    for field in (*_STRINGS, "key"):
        try:
            "".join(row[field]).encode("utf-8")
        except UnicodeEncodeError:
            raise MutantsError(f"{where}: `{field}` holds half a character (a lone surrogate), so no text") from None
    if row["sound"] == row["faulty"]:
        raise MutantsError(f"{where}: both sides are the same, so there is no fault")
    for side in ("sound", "faulty"):
        _check_function(row[side], f"{where}: the {side} side")
    return Mutant(**{**row, "key": (key[0], key[1])})


def _check_function(text: str, what: str) -> None:
    """Raises MutantsError unless `text` is one function of Python."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise MutantsError(f"{what} is no Python ({error})") from None
    except (RecursionError, MemoryError):
        raise MutantsError(f"{what} is nested too deeply for Python to read it") from None
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef | ast.AsyncFunctionDef):
        raise MutantsError(f"{what} is no single function: give one `def`, whole and at the margin")


def as_lines(made: Sequence[Mutant]) -> str:
    """JSON Lines that `load_mutants` reads again."""
    return "".join(json.dumps(asdict(mutant), ensure_ascii=False, sort_keys=True) + "\n" for mutant in made)


def mutants(
    *,
    split: str,
    view: str = "pair",
    n: int | None = None,
    seed: int = 0,
    form: str = "source",
    window: int = WINDOW,
    vocabulary: frozenset[str] | None = None,
    made: Sequence[Mutant] | None = None,
) -> Page:
    """The first `n` mutants of `split` as a page of items and truths; the cluster is the file, by a hashed name.

    The order is a permutation that `seed` draws; a page of `n` is the beginning of the whole one. `view="pair"`: inputs
    `a` and `b`; `answer` is the index of the sound one. `view="single"`: input `code`, faulty in half of the whole;
    `answer` 1 is "faulty". `form="source"` shows whole functions; `form="words"` shows `window` lexed words around the
    place, cut at a random offset, names outside `vocabulary` (default: the family's) as slots, both sides cut alike: a
    sound single is cut around the place where its own mutant differs. Faults that words cannot show (one number for
    another) are left out there. Truths hold `kind`, `path`, `function`, `line`, `witness`, `key`, and `place`, the
    index of the first token that differs (of the lexed text, or of the words). `made` takes mutants of your own in the
    place of the shipped ones.
    Raises ValueError for an unknown split, view or form, an `n` below 1, or when there are fewer than `n`.

    Example: `mutants(split="dev", n=2).items[0].options == ("a", "b")`
    """
    _known(split, view, form)
    check_count("mutants", n)
    crop = crops(_of(split) if made is None else tuple(made), form, window, vocabulary, seed)
    if n is not None and n > len(crop):
        raise ValueError(f"mutants/{split} holds {len(crop)} mutants in {form}, {n} were asked for: ask for fewer")
    rng = np.random.default_rng([seed, 13, *split.encode(), *view.encode(), *form.encode()])
    order = rng.permutation(len(crop))
    coins = rng.permutation(len(crop)) % 2
    items, truths = [], {}
    for i, coin in zip(order[:n].tolist(), coins.tolist(), strict=False):
        item, truth = _item(crop[i], split, view, form, seed, coin)
        items.append(item)
        truths[item.id] = truth
    return Page(task=f"mutants.{view}", split=split, items=tuple(items), truths=MappingProxyType(truths))


def _known(split: str, view: str, form: str) -> None:
    for what, value, known in (
        ("split", split, SPLITS),
        ("view", view, ("pair", "single")),
        ("form", form, ("source", "words")),
    ):
        if value not in known:
            raise ValueError(f"mutants has no {what} {value!r}: use one of {', '.join(known)}")


@lru_cache(maxsize=len(SPLITS))
def _of(split: str) -> tuple[Mutant, ...]:
    return tuple(mutant for mutant in shipped() if mutant.split == split)


def _item(crop: Crop, split: str, view: str, form: str, seed: int, coin: int) -> tuple[Item, dict[str, Any]]:
    mutant = crop.mutant
    texts = (crop.sound, crop.faulty)
    shown = {"a": texts[coin], "b": texts[1 - coin]} if view == "pair" else {"code": texts[coin]}
    name = item_id("mutants", view, form, split, seed, mutant.path, mutant.function, mutant.start, mutant.faulty)
    item = Item(
        id=name,
        task=f"mutants.{view}",
        cluster=item_id("file", mutant.path)[:8],
        input=MappingProxyType(shown),
        options=("a", "b") if view == "pair" else ("sound", "faulty"),
    )
    fields = ("kind", "path", "function", "line", "witness")
    truth = {"answer": coin, "place": crop.place, "key": list(mutant.key), **{f: getattr(mutant, f) for f in fields}}
    return item, truth


def first_difference(sound: str, faulty: str) -> int:
    """Index of the first lexed token in which two texts differ (of the shorter one's last, when it is a prefix).

    >>> first_difference("x = a", "x = b")
    2
    """
    left, right = (_pieces(text) for text in (sound, faulty))
    for i, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return i
    return max(0, min(len(left), len(right)) - 1)


def _pieces(text: str) -> list[str]:
    return [text[a:b] for a, b in lex(text).spans]
