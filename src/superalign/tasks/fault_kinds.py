"""The kinds of fault: each operator yields the edits of its kind that a function offers.

A new kind is one generator and one line in `OPERATORS`. As an edit no operator is a one-way street: what it does in one
place, the reverse of it is done in another, so that directions can be balanced. As a text two are: `statement` and
`return` put in a copy of what the function holds, and repeated lines tell the copy (`mutants_surface` says how often).
"""

from __future__ import annotations

import ast
import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from superalign.tasks.fault_sites import (
    ARITHMETIC,
    CLASSES,
    COMPARISONS,
    SIGNS,
    SIMPLE,
    Edit,
    Key,
    Scope,
    Site,
    callee,
    is_self,
    partners,
    pick,
    put,
    shape,
    statement_shape,
    word,
)

SHORT = 24
"""Longest string literal that is exchanged for another."""
MANY = 4
"""Occurrences are counted up to this: who stands more often is no finer tell."""


def _variable(scope: Scope) -> Iterator[Edit]:
    """A local name or parameter is read in place of another; the key counts how often each stands in the function."""
    counts = Counter(node.id for node in ast.walk(scope.function) if isinstance(node, ast.Name))
    arguments = [
        a for node in ast.walk(scope.function) if isinstance(node, ast.arguments) for a in _all_arguments(node)
    ]
    counts.update(a.arg for a in arguments)
    bound = {a.arg for a in arguments} | {
        n.id for n in ast.walk(scope.function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    names = sorted(bound - {"self", "cls", "_"})
    for site in scope.sites:
        node = site.node
        if (
            not isinstance(node, ast.Name)
            or not isinstance(node.ctx, ast.Load)
            or node.id not in names
            or len(names) < 2
        ):
            continue
        other = pick(scope.rng, [name for name in names if name != node.id])
        key = _counted(counts[node.id], counts[other])
        yield Edit("variable", node.lineno, key, (put(site, ast.Name(other, ast.Load())),))


def _all_arguments(node: ast.arguments) -> list[ast.arg]:
    rest = [a for a in (node.vararg, node.kwarg) if a is not None]
    return [*node.posonlyargs, *node.args, *node.kwonlyargs, *rest]


def _counted(here: int, other: int) -> Key:
    """(before, after) of a name that gives one of its occurrences to another: how often each of the two stands."""
    a, b, c, d = (min(n, MANY) for n in (here, other, other + 1, here - 1))
    return f"ID {a}:{b}", f"ID {c}:{d}"


def _attribute(scope: Scope) -> Iterator[Edit]:
    """Another attribute of the same object, called or not called as the first is."""
    called = {id(s.node.func) for s in scope.sites if isinstance(s.node, ast.Call)}
    groups: dict[tuple[str, bool], set[str]] = defaultdict(set)
    counts: Counter[str] = Counter()
    for site in scope.sites:
        if isinstance(site.node, ast.Attribute):
            groups[ast.unparse(site.node.value), id(site.node) in called].add(site.node.attr)
            counts[site.node.attr] += 1
    for site in scope.sites:
        node = site.node
        if not isinstance(node, ast.Attribute):
            continue
        options = set(groups[ast.unparse(node.value), id(node) in called])
        if is_self(node.value):
            options |= set(scope.module.attributes[id(node) in called])
        if options := options - {node.attr}:
            other = pick(scope.rng, sorted(options))
            key = _counted(counts[node.attr], counts[other])
            yield Edit("attribute", node.lineno, key, ((node, "attr", other),))


def _swapped(scope: Scope) -> Iterator[Edit]:
    """Two neighbouring arguments of a call, or the operands of an operator that minds their order."""
    for site in scope.sites:
        node = site.node
        if isinstance(node, ast.Call):
            for i, (a, b) in enumerate(zip(node.args, node.args[1:], strict=False)):
                if not isinstance(a, ast.Starred) and not isinstance(b, ast.Starred) and ast.dump(a) != ast.dump(b):
                    arguments = [*node.args[:i], b, a, *node.args[i + 2 :]]
                    yield Edit("swapped", a.lineno, _crossed(a, b), ((node, "args", arguments),))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Div | ast.FloorDiv | ast.LShift):
            key = _crossed(node.left, node.right, SIGNS[type(node.op)])
            if ast.dump(node.left) != ast.dump(node.right):
                yield Edit("swapped", node.lineno, key, ((node, "left", node.right), (node, "right", node.left)))


def _crossed(a: ast.AST, b: ast.AST, sign: str = ",") -> Key:
    return f"{shape(a)} {sign} {shape(b)}", f"{shape(b)} {sign} {shape(a)}"


def _comparison(scope: Scope) -> Iterator[Edit]:
    """Another comparison."""
    for site in scope.sites:
        if isinstance(site.node, ast.Compare):
            for i, op in enumerate(site.node.ops):
                here = SIGNS[type(op)]
                for other in partners(COMPARISONS, here):
                    ops = [*site.node.ops[:i], CLASSES[other](), *site.node.ops[i + 1 :]]
                    yield Edit("comparison", site.node.lineno, (here, other), ((site.node, "ops", ops),))


def _arithmetic(scope: Scope) -> Iterator[Edit]:
    """Another operator, in a sum or an augmented assignment; sums of strings are left alone."""
    for site in scope.sites:
        node = site.node
        if not isinstance(node, ast.BinOp | ast.AugAssign) or type(node.op) not in SIGNS:
            continue
        operands = [node.value] if isinstance(node, ast.AugAssign) else [node.left, node.right]
        if any(isinstance(o, ast.JoinedStr | ast.List | ast.Tuple) or shape(o) == "<S>" for o in operands):
            continue
        here, mark = SIGNS[type(node.op)], "=" if isinstance(node, ast.AugAssign) else ""
        for other in partners(ARITHMETIC, here):
            yield Edit("arithmetic", node.lineno, (here + mark, other + mark), ((node, "op", CLASSES[other]()),))


def _literal(scope: Scope) -> Iterator[Edit]:
    """A truth value turned, a small number off by one, or a literal of the same type from the same function."""
    others: dict[type, set[Any]] = defaultdict(set)
    for site in scope.sites:
        if isinstance(site.node, ast.Constant) and not _bare(site):
            others[type(site.node.value)].add(site.node.value)
    for site in scope.sites:
        if not isinstance(site.node, ast.Constant) or _bare(site):
            continue
        value = site.node.value
        for other in _other_literals(value, others[type(value)], scope.rng):
            key = (_literal_word(value), _literal_word(other))
            yield Edit("literal", site.node.lineno, key, (put(site, ast.Constant(other)),))


def _bare(site: Site) -> bool:
    return isinstance(site.parent, ast.Expr)


def _literal_word(value: Any) -> str:
    return (
        repr(value)
        if isinstance(value, bool | None) or (isinstance(value, int) and value < 4)
        else shape(ast.Constant(value))
    )


def _other_literals(value: Any, others: set[Any], rng: np.random.Generator) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if value is None:
        return [pick(rng, [True, False])]
    if isinstance(value, int) and value <= 3:
        return [n for n in (value - 1, value + 1) if 0 <= n <= 3]
    if isinstance(value, int | str | bytes):
        options = sorted(o for o in others if o != value and (isinstance(o, int) or len(o) <= SHORT))
        fits = isinstance(value, int) or len(value) <= SHORT
        return [pick(rng, options)] if options and fits else []
    return []


def _condition(scope: Scope) -> Iterator[Edit]:
    """`not` before a condition gained or lost, or `and` and `or` exchanged."""
    for site in scope.sites:
        node = site.node
        if isinstance(node, ast.BoolOp):
            words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            other = ast.Or() if words[1] == "or" else ast.And()
            yield Edit("condition", node.lineno, words, ((node, "op", other),))
        tested = site.field == "test" and isinstance(site.parent, ast.If | ast.While | ast.IfExp)
        if not tested and not (site.field == "values" and isinstance(site.parent, ast.BoolOp)):
            continue
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            if isinstance(node.operand, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
                yield Edit("condition", node.lineno, ("not", ""), (put(site, node.operand),))
        elif isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            yield Edit("condition", node.lineno, ("", "not"), (put(site, ast.UnaryOp(ast.Not(), node)),))


def _bodies(scope: Scope) -> Iterator[tuple[ast.AST, str, list[ast.stmt], int]]:
    """Each list of statements, with the index of its first that is no docstring."""
    start = 1 if ast.get_docstring(scope.function, clean=False) is not None else 0
    yield scope.function, "body", scope.function.body, start
    for site in scope.sites:
        for field in ("body", "orelse", "finalbody"):
            body = getattr(site.node, field, None)
            if isinstance(body, list) and body:
                yield site.node, field, body, 0


def _order(scope: Scope) -> Iterator[Edit]:
    """Two neighbouring simple statements exchanged."""
    for owner, field, body, start in _bodies(scope):
        for i in range(start, len(body) - 1):
            a, b = body[i], body[i + 1]
            both = isinstance(a, SIMPLE[:5]) and isinstance(b, SIMPLE[:5])
            if both and ast.dump(a) != ast.dump(b):
                exchanged = [*body[:i], b, a, *body[i + 2 :]]
                key = (f"{statement_shape(a)} ; {statement_shape(b)}", f"{statement_shape(b)} ; {statement_shape(a)}")
                yield Edit("order", a.lineno, key, ((owner, field, exchanged),))


def _lost(scope: Scope) -> Iterator[Edit]:
    """A statement lost where others stay, or one of the function's statements once more at another place."""
    copies: list[ast.stmt] = []
    for owner, field, body, start in _bodies(scope):
        for i in range(start, len(body)):
            if _movable(body[i]):
                copies.append(body[i])
                if len(body) > start + 1:
                    rest = [*body[:i], *body[i + 1 :]]
                    yield Edit("statement", body[i].lineno, (statement_shape(body[i]), ""), ((owner, field, rest),))
    places = [
        (owner, field, body, i)
        for owner, field, body, start in _bodies(scope)
        for i in range(start, len(body) + (not isinstance(body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)))
    ]
    for statement in copies:
        for k in scope.rng.permutation(len(places))[:3]:
            owner, field, body, i = places[int(k)]
            if statement in body[max(0, i - 1) : i + 1]:
                continue
            line = body[min(i, len(body) - 1)].lineno
            grown = [*body[:i], copy.deepcopy(statement), *body[i:]]
            yield Edit("statement", line, ("", statement_shape(statement)), ((owner, field, grown),))


def _movable(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):
        return (
            not node.orelse
            and len(node.body) == 1
            and isinstance(
                node.body[0], ast.Return | ast.Raise | ast.Continue | ast.Break | ast.Assign | ast.AugAssign | ast.Expr
            )
        )
    return isinstance(node, SIMPLE[:5]) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _returned(scope: Scope) -> Iterator[Edit]:
    """What another `return` of the function returns."""
    found = [site.node for site in scope.sites if isinstance(site.node, ast.Return) and site.node.value is not None]
    for node in found:
        options = [o.value for o in found if ast.dump(o.value) != ast.dump(node.value)]
        if options and not isinstance(node.value, ast.JoinedStr):
            value = pick(scope.rng, options)
            key = (f"return {shape(node.value)}", f"return {shape(value)}")
            yield Edit("return", node.lineno, key, ((node, "value", value),))


_VALUES = (ast.Name, ast.Attribute, ast.Subscript)
_WRAPPED = {"value", "args", "left", "right", "comparators", "iter", "test"}


def _call(scope: Scope) -> Iterator[Edit]:
    """A call around a value gained or lost: `f(x)` and `x`, `x.f()` and `x`."""
    for site in scope.sites:
        node = site.node
        if not isinstance(node, ast.expr) or isinstance(site.parent, ast.Expr | ast.Attribute | ast.Starred):
            continue
        if isinstance(node, ast.Call):
            inner = _inner(node)
            if isinstance(inner, _VALUES):
                name = f"{word(callee(node))}()" if node.args else ".ID()"
                yield Edit("call", node.lineno, (name, ""), (put(site, inner),))
        elif isinstance(node, _VALUES) and isinstance(node.ctx, ast.Load) and site.field in _WRAPPED:
            yield from _wrapped(scope, site, node)


def _inner(node: ast.Call) -> ast.expr | None:
    """`x` of `f(x)` and of `x.f()`, else None."""
    match node:
        case ast.Call(func=ast.Name(), args=[only], keywords=[]) if not isinstance(only, ast.Starred):
            return only
        case ast.Call(func=ast.Attribute(value=value), args=[], keywords=[]) if not is_self(value):
            return value
        case _:
            return None


def _wrapped(scope: Scope, site: Site, node: ast.expr) -> Iterator[Edit]:
    if (isinstance(site.parent, ast.Call) and len(site.parent.args) == 1) or is_self(node):
        return  # a call of one argument around it stands there already, or is the likelier fault
    if isinstance(site.parent, ast.Subscript | ast.Attribute) and site.field == "value":
        return
    if scope.module.wrappers:
        name = pick(scope.rng, scope.module.wrappers)
        wrapped = ast.Call(ast.Name(name, ast.Load()), [node], [])
        yield Edit("call", node.lineno, ("", f"{word(name)}()"), (put(site, wrapped),))
    if scope.module.methods:
        name = pick(scope.rng, scope.module.methods)
        wrapped = ast.Call(ast.Attribute(node, name, ast.Load()), [], [])
        yield Edit("call", node.lineno, ("", ".ID()"), (put(site, wrapped),))


def _keyword(scope: Scope) -> Iterator[Edit]:
    """A keyword argument gained or lost; what is gained, the file gives to the same callee elsewhere."""
    for site in scope.sites:
        node = site.node
        if not isinstance(node, ast.Call):
            continue
        names = {given.arg for given in node.keywords}
        for i, given in enumerate(node.keywords):
            if given.arg and isinstance(given.value, ast.Constant | ast.Name):
                rest = [*node.keywords[:i], *node.keywords[i + 1 :]]
                yield Edit("keyword", node.lineno, (f"ID = {shape(given.value)}", ""), ((node, "keywords", rest),))
        options = [given for given in scope.module.keywords.get(callee(node), []) if given.arg not in names]
        if options and None not in names:
            given = pick(scope.rng, options)
            key = ("", f"ID = {shape(given.value)}")
            yield Edit("keyword", node.lineno, key, ((node, "keywords", [*node.keywords, copy.deepcopy(given)]),))


def _off_by_one(scope: Scope) -> Iterator[Edit]:
    """`+ 1` or `- 1` gained or lost in an index, a slice, a range, a sum or a comparison."""
    for site in scope.sites:
        node = site.node
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub) and _one(node.right):
            sign = SIGNS[type(node.op)]
            yield Edit("off-by-one", node.lineno, (f"{sign} 1", ""), (put(site, node.left),))
        elif _counts(site) and isinstance(node, ast.Name | ast.Attribute | ast.Call):
            op = pick(scope.rng, [ast.Add(), ast.Sub()])
            key = ("", f"{SIGNS[type(op)]} 1")
            yield Edit("off-by-one", node.lineno, key, (put(site, ast.BinOp(node, op, ast.Constant(1))),))


def _one(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == 1 and not isinstance(node.value, bool | float)


def _counts(site: Site) -> bool:
    """Whether the node stands where numbers stand."""
    parent = site.parent
    match parent:
        case ast.Subscript():
            return site.field == "slice" and isinstance(site.node, ast.Name)
        case ast.Slice():
            return True
        case ast.Call(func=ast.Name(id="range")):
            return site.field == "args"
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            return not any(shape(side) == "<S>" or _one(side) for side in (parent.left, parent.right))
        case ast.Compare(ops=[ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE(), *_]):
            return True
        case _:
            return False


OPERATORS: dict[str, Callable[[Scope], Iterator[Edit]]] = {
    "variable": _variable,
    "swapped": _swapped,
    "attribute": _attribute,
    "comparison": _comparison,
    "arithmetic": _arithmetic,
    "literal": _literal,
    "condition": _condition,
    "order": _order,
    "statement": _lost,
    "return": _returned,
    "call": _call,
    "keyword": _keyword,
    "off-by-one": _off_by_one,
}
KINDS = tuple(OPERATORS)
"""Kinds of fault."""
