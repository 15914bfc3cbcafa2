"""What there is in a syntax tree for a fault to take hold of: functions, sites, what a file has in stock, and shapes.

sites(function)      # every node that may be changed, and where it hangs
stock(tree)          # calls, methods, keywords and attributes that stand somewhere in the file
"""

from __future__ import annotations

import ast
import builtins
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from superalign.tasks.stdlib import index

Function = ast.FunctionDef | ast.AsyncFunctionDef
Key = tuple[str, str]

COMPARISONS = (
    ("<", "<="),
    (">", ">="),
    ("<", ">"),
    ("<=", ">="),
    ("==", "!="),
    ("in", "not in"),
    ("is", "is not"),
    ("<", ">="),
    (">", "<="),
)
ARITHMETIC = (
    ("+", "-"),
    ("*", "//"),
    ("*", "+"),
    ("%", "//"),
    ("/", "//"),
    ("*", "/"),
    ("&", "|"),
    ("<<", ">>"),
    ("-", "*"),
    ("^", "&"),
)
SIGNS: dict[type[ast.AST], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
}
CLASSES = {text: kind for kind, text in SIGNS.items()}
SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.Delete, ast.Raise, ast.Assert)


class Site(NamedTuple):
    """A node and where it hangs: `getattr(parent, field)`, or its element `at`."""

    node: ast.AST
    parent: ast.AST
    field: str
    at: int | None


class Edit(NamedTuple):
    kind: str
    line: int
    key: Key
    changes: tuple[tuple[ast.AST, str, Any], ...]


class Scope(NamedTuple):
    """What one function, and the file around it, offers to its operators."""

    function: Function
    sites: list[Site]
    rng: np.random.Generator
    module: Stock


class Stock(NamedTuple):
    """What stands anywhere in the file: calls of one argument, methods of none, keywords by callee, own attributes."""

    wrappers: list[str]
    methods: list[str]
    keywords: dict[str, list[ast.keyword]]
    attributes: dict[bool, list[str]]


def functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Dotted name and node of each function and method of a module; functions inside functions belong to the outer.

    Example: `[name for name, _ in functions(ast.parse("class A:\\n  def f(self): pass"))] == ["A.f"]`
    """
    stack: list[tuple[str, ast.AST]] = [("", tree)]
    while stack:
        prefix, node = stack.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                yield prefix + child.name, child
            elif isinstance(child, ast.ClassDef):
                stack.append((f"{prefix}{child.name}.", child))
            elif isinstance(child, ast.If | ast.Try | ast.With):
                stack.append((prefix, child))


def sites(function: Function) -> Iterator[Site]:
    """Nodes of the body, but for the docstring, f-strings, annotations, and signatures of inner functions."""
    first = 1 if ast.get_docstring(function, clean=False) is not None else 0
    stack = [Site(child, function, "body", i) for i, child in enumerate(function.body)][first:]
    while stack:
        site = stack.pop()
        yield site
        node = site.node
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
                continue
            if isinstance(value, list):
                stack += [
                    Site(child, node, field, i)
                    for i, child in enumerate(value)
                    if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr)
                ]
            elif isinstance(value, ast.AST) and not isinstance(value, ast.JoinedStr):
                stack.append(Site(value, node, field, None))


def stock(tree: ast.Module) -> Stock:
    """What the file has in stock: whatever a fault adds stands elsewhere in the file already."""
    wrappers: set[str] = set()
    methods: set[str] = set()
    keywords: dict[str, dict[str, ast.keyword]] = defaultdict(dict)
    attributes: dict[bool, set[str]] = {True: set(), False: set()}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_self(node.value):
            attributes[id(node) in called].add(node.attr)
        if not isinstance(node, ast.Call):
            continue
        if len(node.args) == 1 and not node.keywords and isinstance(node.func, ast.Name):
            wrappers.add(node.func.id)
        if (
            not node.args
            and not node.keywords
            and isinstance(node.func, ast.Attribute)
            and not is_self(node.func.value)
        ):
            methods.add(node.func.attr)
        for word in node.keywords:
            if word.arg and isinstance(word.value, ast.Constant | ast.Name):
                keywords[callee(node)][ast.unparse(word)] = word
    return Stock(
        wrappers=sorted(wrappers - {"super", "print"}),
        methods=sorted(methods),
        keywords={name: [found[k] for k in sorted(found)] for name, found in keywords.items()},
        attributes={flag: sorted(names) for flag, names in attributes.items()},
    )


def is_self(node: ast.AST) -> bool:
    """Whether the node is `self` or `cls`."""
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def callee(node: ast.Call) -> str:
    """Last name of what is called, or nothing."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def put(site: Site, value: Any) -> tuple[ast.AST, str, Any]:
    """The change that hangs `value` where the site's node hangs."""
    if site.at is None:
        return site.parent, site.field, value
    whole = list(getattr(site.parent, site.field))
    whole[site.at] = value
    return site.parent, site.field, whole


def word(name: str) -> str:
    """The name if it is a well-known built-in, else `ID`."""
    return name if name in _known() else "ID"


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    """Built-in names that the family's vocabulary knows: they are read as themselves, all others as `ID`."""
    return frozenset(name for name in dir(builtins) if name in set(index()["vocabulary"]))


def shape(node: ast.AST | None) -> str:
    """One word for what an expression looks like, names written `ID` unless built in."""
    match node:
        case None:
            return ""
        case ast.Name(id=name):
            return word(name)
        case ast.Constant(value=value):
            return (
                "<S>" if isinstance(value, str | bytes) else repr(value) if value in (0, 1) or value is None else "<N>"
            )
        case ast.Attribute():
            return "ID.ID"
        case ast.Call():
            return f"{word(callee(node))}()"
        case ast.UnaryOp(op=op):
            return type(op).__name__
        case _:
            return type(node).__name__


def statement_shape(node: ast.stmt) -> str:
    """A few words for what a statement looks like."""
    match node:
        case ast.Expr(value=ast.Call() as call):
            return f"Expr {shape(call)}"
        case ast.Assign(targets=[target, *_], value=value):
            return f"{shape(target)} = {shape(value)}"
        case ast.AugAssign(op=op):
            return f"{SIGNS.get(type(op), 'op')}="
        case ast.If(body=[first, *_]):
            return f"If {type(first).__name__}"
        case _:
            return type(node).__name__


def partners(table: Sequence[Key], here: str) -> list[str]:
    """What `here` may be exchanged for, by a table of couples."""
    return [b if a == here else a for a, b in table if here in (a, b)]


def pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    """One of the options, evenly."""
    return options[int(rng.integers(len(options)))]
