"""Other languages for Python code: identifiers in other scripts, and keywords of a constructed language.

other_script("def total(xs):\\n    return sum(xs)", seed=0)      # runs as before, names in Greek or Cyrillic
foreign_keywords("for x in xs: pass", seed=0)                    # doesn't run; `native_keywords` brings it back
"""

from __future__ import annotations

import ast
import builtins
import io
import keyword
import tokenize
from collections.abc import Callable, Mapping

import numpy as np

from superalign.adversarial.robustness.transformations import Transformation

LATIN = "abcdefghijklmnopqrstuvwxyz"
SCRIPTS: Mapping[str, str] = {
    "greek": "αβκδεφγηιζκλμνοπθρστυωξχψζ",
    "cyrillic": "абцдефгхийклмнопярстувжшыз",
}
"""One letter for each Latin one; where two fall together, names that would clash are numbered."""
_ONSETS, _VOWELS = "bdfgklmnprstvz", "aeiou"


def own_names(code: str) -> tuple[str, ...]:
    """Names that the code itself binds and that may be renamed: variables, parameters and functions, in order.

    Attributes, keyword arguments, imports, builtins, members of classes, what f-strings name and what is declared
    global stay. Raises SyntaxError for what isn't Python.
    """
    tree, found, kept = ast.parse(code), [], set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.append(node.id)
        elif isinstance(node, ast.arg):
            found.append(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(node.name)
        elif isinstance(node, ast.ClassDef | ast.JoinedStr):
            kept |= _inside(node)
        elif isinstance(node, ast.alias):
            kept |= {(node.asname or node.name).split(".")[0]}
        elif isinstance(node, ast.keyword) and node.arg:
            kept.add(node.arg)
        elif isinstance(node, ast.Attribute):
            kept.add(node.attr)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            kept |= set(node.names)
    return tuple(name for name in dict.fromkeys(found) if name not in kept and name.isascii())


def _inside(node: ast.ClassDef | ast.JoinedStr) -> set[str]:
    """Names that a class binds, or an f-string reads."""
    if isinstance(node, ast.JoinedStr):
        return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    bound = {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    fields = [target for each in node.body for target in ast.walk(each) if isinstance(each, ast.Assign | ast.AnnAssign)]
    return bound | {each.id for each in fields if isinstance(each, ast.Name)}


def other_script(code: str, seed: int) -> str:
    """The code with its own names in another script; it does what it did. What isn't Python comes back as it is.

    Callers from outside need `names_in` to find what a function is called now.
    """
    try:
        new = names_in(code, seed)
    except SyntaxError:
        return code
    return _retold(code, lambda word: new.get(word, word))


def names_in(code: str, seed: int) -> dict[str, str]:
    """Old name → new name, one to one. Raises SyntaxError for what isn't Python."""
    script = str(np.random.default_rng([seed, 163]).choice(list(SCRIPTS)))
    letters = dict(zip(LATIN, SCRIPTS[script], strict=True))
    letters |= {low.upper(): high.upper() for low, high in letters.items()}
    taken = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    out: dict[str, str] = {}
    for name in own_names(code):
        new = base = "".join(letters.get(letter, letter) for letter in name)
        count = 2
        while new in taken or new in out.values():
            new, count = f"{base}{count}", count + 1
        out[name] = new
    return out


def _words_of(seed: int) -> dict[str, str]:
    """Keyword → word of a constructed language, none of which is a keyword or builtin."""
    rng, out = np.random.default_rng([seed, 167]), {}
    taken = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
    for word in keyword.kwlist:
        new = word
        while new in taken:
            new = "".join(str(rng.choice(list(part))) for _ in range(2) for part in (_ONSETS, _VOWELS)) + "q"
        taken.add(new)
        out[word] = new
    return out


def foreign_keywords(code: str, seed: int) -> str:
    """The code with every keyword in a constructed language; what can't be read as tokens comes back as it is."""
    new = _words_of(seed)
    return _retold(code, lambda word: new.get(word, word))


def native_keywords(code: str, seed: int) -> str:
    """The inverse of `foreign_keywords`, for code that uses none of the language's words as names."""
    old = {new: word for word, new in _words_of(seed).items()}
    return _retold(code, lambda word: old.get(word, word))


def _retold(code: str, name: Callable[[str], str]) -> str:
    """The code, each word-like token exchanged in its place; all else stays letter for letter."""
    lines = code.splitlines(keepends=True)
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    except (tokenize.TokenError, IndentationError):
        return code
    for token in reversed([t for t in tokens if t.type == tokenize.NAME]):
        row, (begin, end) = token.start[0] - 1, (token.start[1], token.end[1])
        lines[row] = lines[row][:begin] + name(token.string) + lines[row][end:]
    return "".join(lines)


CODE_TRANSFORMATIONS: Mapping[str, Transformation] = {
    "script": Transformation(name="script", family="language", apply=other_script),
    "keywords": Transformation(name="keywords", family="language", apply=foreign_keywords),
}
"""For requests that hold code. `keywords` is decoded by `native_keywords`, which needs the seed."""
