"""What strings and numbers of a syntax tree come to, as far as that can be told without running it.

>>> folded(ast.parse("'can' + 'ary'", mode="eval").body, {})
'canary'
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence

Bindings = Mapping[str, ast.expr]
"""Names that are bound once, and to what."""
Fold = Callable[[ast.AST | None], "str | int | None"]
LONGEST, DEEPEST = 4_096, 30
METHODS = ("lower", "upper", "strip", "lstrip", "rstrip", "replace", "title", "swapcase", "capitalize", "removeprefix")
"""Methods of strings that are computed here: none can grow its result by much, `replace` is cut."""


def bindings(tree: ast.AST) -> dict[str, ast.expr]:
    """Names that are bound in one place only, and to what: by `=`, `:=`, or a loop over a literal of one element."""
    found: dict[str, list[ast.expr | None]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    _bind(found, target, value)
            case ast.NamedExpr(target=target, value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
                _bind(found, target, value)
            case ast.AugAssign(target=target):
                _bind(found, target, None)
            case ast.For(target=target, iter=over) | ast.comprehension(target=target, iter=over):
                only = over.elts if isinstance(over, (ast.List, ast.Tuple, ast.Set)) else []
                _bind(found, target, only[0] if len(only) == 1 else None)
            case ast.arg(arg=name):
                found.setdefault(name, []).append(None)
    return {name: bound[0] for name, bound in found.items() if len(bound) == 1 and bound[0] is not None}


def _bind(found: dict[str, list[ast.expr | None]], target: ast.expr, value: ast.expr | None) -> None:
    if isinstance(target, ast.Name):
        found.setdefault(target.id, []).append(value)
        return
    values = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
    parts = target.elts if isinstance(target, (ast.Tuple, ast.List)) else []
    for i, part in enumerate(parts):
        _bind(found, part, values[i] if len(values) == len(parts) else None)


def folded(node: ast.AST | None, known: Bindings, depth: int = 0) -> str | int | None:
    """The string or number that a node comes to; None where that can't be told."""
    if depth > DEEPEST:
        return None

    def of(part: ast.AST | None) -> str | int | None:
        return folded(part, known, depth + 1)

    match node:
        case ast.Constant(value=str() | int() as value):
            return value
        case ast.Constant(value=bytes() as raw):
            return raw.decode("utf-8", "replace")
        case ast.Name(id=name) if name in known:
            return of(known[name])
        case ast.BinOp(left=left, op=op, right=right):
            return _sum(of(left), op, of(right))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            number = of(operand)
            return -number if isinstance(number, int) else None
        case ast.JoinedStr(values=parts):
            return _joined("", [of(part) for part in parts])
        case ast.FormattedValue(value=part, format_spec=None):
            return of(part)
        case ast.Subscript(value=holder, slice=key):
            return _sliced(of(holder), key, of)
        case ast.Call(func=func, args=args, keywords=[]):
            return _called(func, args, of)
    return None


def _sum(left: str | int | None, op: ast.operator, right: str | int | None) -> str | int | None:
    match op, left, right:
        case ast.Add(), str(), str():
            return _short(left + right)
        case ast.Add(), int(), int():
            return left + right
        case ast.Sub(), int(), int():
            return left - right
        case (ast.Mult(), str() as text, int() as times) | (ast.Mult(), int() as times, str() as text):
            return text * times if len(text) * times <= LONGEST else None
        case ast.Mod(), str(), str() | int():
            return _short(left.replace("%s", str(right), 1)) if left.count("%") == 1 else None
    return None


def _sliced(text: str | int | None, key: ast.AST, of: Fold) -> str | None:
    if not isinstance(text, str):
        return None
    if isinstance(key, ast.Slice):
        found = [None if end is None else of(end) for end in (key.lower, key.upper, key.step)]
        asked = [end is not None for end in (key.lower, key.upper, key.step)]
        ends = [end if isinstance(end, int) else None for end in found]
        told = all(end is not None or not was for end, was in zip(ends, asked, strict=True))
        return text[ends[0] : ends[1] : ends[2]] if told and ends[2] != 0 else None
    place = of(key)
    return text[place] if isinstance(place, int) and -len(text) <= place < len(text) else None


def _called(func: ast.expr, args: Sequence[ast.expr], of: Fold) -> str | int | None:
    """`chr(n)`, `str(x)`, and methods of strings."""
    match func, args:
        case ast.Name(id="chr"), [number]:
            code = of(number)
            return chr(code) if isinstance(code, int) and 0 <= code < 0x110000 else None
        case ast.Name(id="str"), [part]:
            value = of(part)
            return None if value is None else str(value)
        case ast.Attribute(value=holder, attr="join"), [ast.List(elts=parts) | ast.Tuple(elts=parts)]:
            glue = of(holder)
            return _joined(glue, [of(part) for part in parts]) if isinstance(glue, str) else None
        case ast.Attribute(value=holder, attr="decode"), _:
            text = of(holder)
            return text if isinstance(text, str) else None
        case ast.Attribute(value=holder, attr="format"), _:
            text, given = of(holder), [of(part) for part in args]
            if isinstance(text, str) and text.count("{}") == len(given) and text.count("{") == len(given):
                return _joined("", [x for pair in zip(text.split("{}"), [*given, ""], strict=True) for x in pair])
        case ast.Attribute(value=holder, attr=name), _ if name in METHODS:
            text, given = of(holder), [of(part) for part in args]
            if isinstance(text, str) and all(isinstance(part, str) for part in given) and len(given) <= 2:
                wanted = {"replace": (2,), "removeprefix": (1,), "strip": (0, 1), "lstrip": (0, 1), "rstrip": (0, 1)}
                fits = len(given) in wanted.get(name, (0,)) and len(text) <= 256
                return _short(getattr(text, name)(*given)) if fits else None
    return None


def _joined(glue: str, parts: Sequence[str | int | None]) -> str | None:
    return None if any(part is None for part in parts) else _short(glue.join(map(str, parts)))


def _short(text: str) -> str | None:
    return text if len(text) <= LONGEST else None
