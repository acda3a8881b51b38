"""The texts that an expression of the programs can be, read from their source: with something for
each value.

Texts are followed through f-strings, `format`, choices, names, tables and small functions, each
branch as a text of its own. What only the running program knows stands as `VALUE`.
"""

from __future__ import annotations

import ast
import itertools
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Final

import kohya_gui
import sd_scripts

VALUE: Final = "«/x.1»"
"""Stands for a value: one word with a digit, a letter and a slash, so that every field takes it."""
MOST: Final = 40
"""So many branches of one text are told apart; of more, its values stay values."""
DEEPEST: Final = 5
"""So deep functions are followed."""
ROOTS: Final = (Path(sd_scripts.__file__).parent, Path(kohya_gui.__file__).parent)
Function = ast.FunctionDef | ast.AsyncFunctionDef
Texts = frozenset[str]
ANY: Final[Texts] = frozenset({VALUE})
NONE: Final[Texts] = frozenset()


@dataclass(frozen=True)
class Module:
    """One file of source, with what its names stand for."""

    path: Path
    tree: ast.Module
    constants: Mapping[str, ast.expr]
    functions: Mapping[str, Function]


@dataclass(frozen=True, eq=False)
class Scope:
    """Where an expression stands, and what the function around it was given there."""

    module: Module
    function: Function | None = None
    given: Mapping[str, tuple[ast.expr, Scope]] = field(default_factory=dict)
    known: Mapping[str, Texts] = field(default_factory=dict)
    """Names whose texts were found, or are being looked for."""
    depth: int = 0
    chosen: Mapping[str, bool] = field(default_factory=dict)
    """Conditions that stand several times in the function, and how they turn out."""

    def knowing(self, name: str, texts: Texts) -> Scope:
        """Return the same place with what a name stands for."""
        return replace(self, known={**self.known, name: texts})


def _module(path: Path) -> Module:
    tree = ast.parse(path.read_text("utf-8"))
    constants: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            constants[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            constants[node.target.id] = node.value
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, Function)}
    return Module(path, tree, constants, functions)


@cache
def modules() -> tuple[Module, ...]:
    """Return every file of the programs."""
    return tuple(_module(path) for root in ROOTS for path in sorted(root.rglob("*.py")))


@cache
def functions_called(name: str) -> tuple[tuple[Module, Function], ...]:
    return tuple((one, one.functions[name]) for one in modules() if name in one.functions)


@cache
def _constants_called(name: str) -> tuple[tuple[Module, ast.expr], ...]:
    return tuple((one, one.constants[name]) for one in modules() if name in one.constants)


def _joined(parts: Iterable[Texts]) -> Texts:
    """Return every way to put parts one behind the other."""
    kept = list(parts)
    for most in (MOST, 2, 1):
        held = [part if len(part) <= most else ANY for part in kept]
        count = 1
        for part in held:
            count *= len(part)
        if count <= MOST:
            return frozenset("".join(one) for one in itertools.product(*held))
    return ANY


def name_of(call: ast.Call) -> str:
    if isinstance(call.func, ast.Name):
        return call.func.id
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def texts_of(node: ast.expr | None, scope: Scope) -> Texts:
    """Return the texts that an expression can be; nothing for None."""
    match node:
        case None | ast.Constant(value=None):
            return NONE
        case ast.Constant(value=value):
            return frozenset({str(value)})
        case ast.JoinedStr(values=values):
            return _joined(_in_text(value, scope) for value in values)
        case ast.FormattedValue(value=value):
            return texts_of(value, scope) or ANY
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _joined([texts_of(left, scope) or ANY, texts_of(right, scope) or ANY])
        case (
            ast.IfExp(body=body, orelse=orelse)
            | ast.Call(func=ast.Name(id="are"), args=[_, body, orelse])
        ):
            holds = scope.chosen.get(_test_of(node))
            told = NONE if holds is False else texts_of(body, scope)
            return told if holds else told | texts_of(orelse, scope)
        case ast.BinOp(left=ast.Constant(value=str(value)), op=ast.Mult()):
            return frozenset({value, ""})
        case ast.BoolOp(op=ast.Or(), values=values):
            return frozenset().union(*(texts_of(value, scope) for value in values))
        case ast.NamedExpr(value=value):
            return texts_of(value, scope)
    return _found(node, scope)


def _found(node: ast.expr, scope: Scope) -> Texts:
    """Return the texts of what stands elsewhere: a name, a row of a table, a function's answer."""
    match node:
        case ast.Name(id=name):
            return _named(name, scope)
        case ast.Subscript(value=ast.Name(id=name)):
            return _of_table(name, scope)
        case ast.Call():
            return _called(node, scope)
    return ANY


def _in_text(node: ast.expr, scope: Scope) -> Texts:
    """Return the texts of a part of an f-string; what is laid out as a number is a value."""
    if isinstance(node, ast.FormattedValue) and (node.format_spec or node.conversion == ord("r")):
        return ANY
    return texts_of(node, scope) or ANY


def parameters(function: Function) -> list[str]:
    told = function.args
    names = [one.arg for one in (*told.posonlyargs, *told.args)]
    names = names[1:] if names[:1] in (["self"], ["cls"]) else names
    return [*names, *(one.arg for one in told.kwonlyargs)]


def _named(name: str, scope: Scope) -> Texts:
    if name in scope.known:
        return scope.known[name]
    if name in scope.given:
        node, outer = scope.given[name]
        return texts_of(node, outer)
    if scope.function is not None:
        if name in parameters(scope.function):
            return ANY
        if assigned := list(_assigned(name, scope.knowing(name, ANY))):
            return _grown(name, assigned, scope)
        if name in _bound(scope.function):
            return ANY
    known = scope.module.constants.get(name)
    if known is not None:
        return texts_of(known, Scope(scope.module)) or ANY
    if name.isupper() and len(found_elsewhere := _constants_called(name)) == 1:
        module, node = found_elsewhere[0]
        return texts_of(node, Scope(module)) or ANY
    return ANY


def _grown(name: str, assigned: list[ast.expr], scope: Scope) -> Texts:
    """Return the texts of a name; what is made of its own earlier text is made of each of them."""
    anew = [node for node in assigned if not holds_name(node, name)]
    first: Texts = frozenset().union(*(texts_of(n, scope.knowing(name, ANY)) for n in anew))
    inner = scope.knowing(name, first or ANY)
    more = (texts_of(node, inner) for node in assigned if holds_name(node, name))
    return first.union(*more)


def holds_name(node: ast.expr, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(node))


@cache
def within(function: Function) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(function))


@cache
def _repeated(function: Function) -> tuple[str, ...]:
    """Return the conditions that a function asks several times."""
    tests = Counter(test for node in within(function) if (test := _test_of(node)))
    return tuple(test for test, times in tests.items() if times > 1)[:4]


def worlds(scope: Scope) -> Iterator[Scope]:
    """Yield a place once for each way that its function's repeated conditions can turn out."""
    several = _repeated(scope.function) if scope.function is not None else ()
    for turns in itertools.product((True, False), repeat=len(several)):
        yield replace(scope, chosen=dict(zip(several, turns, strict=True)))


def _test_of(node: ast.AST) -> str:
    """Return the condition of a choice, be it the doctor's `are`; "" for all else."""
    match node:
        case ast.IfExp(test=test):
            return ast.unparse(test)
        case ast.Call(func=ast.Name(id="are"), args=[number, _, _]):
            return f"{ast.unparse(number)} == 1"
    return ""


def _assigned(name: str, scope: Scope) -> Iterator[ast.expr]:
    """Yield what is assigned to a name in a function, also as a part of a pair."""
    assert scope.function is not None
    for node in within(scope.function):
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                yield value
            case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value) if (
                found == name
            ):
                yield value
            case ast.NamedExpr(target=ast.Name(id=found), value=value) if found == name:
                yield value
            case ast.AugAssign(target=ast.Name(id=found), value=value) if found == name:
                yield ast.BinOp(ast.Name(name), ast.Add(), value)
            case ast.Assign(targets=[ast.Tuple() as target], value=value):
                yield from _placed(name, target, value, scope)
            case ast.For(target=target, iter=rows):
                for row in _rows(rows, scope):
                    yield from _placed(name, target, row, scope)


def _placed(name: str, target: ast.expr, value: ast.expr, scope: Scope) -> Iterator[ast.expr]:
    """Yield what a name gets where a value is taken apart."""
    if isinstance(target, ast.Name) and target.id == name:
        yield value
    for index, one in enumerate(target.elts if isinstance(target, ast.Tuple) else ()):
        if holds_name(one, name):
            for part in _parts(value, index, scope):
                yield from _placed(name, one, part, scope)


@cache
def _bound(function: Function) -> frozenset[str]:
    stored = (node for node in within(function) if isinstance(node, ast.Name))
    return frozenset(node.id for node in stored if isinstance(node.ctx, ast.Store))


def _rows(node: ast.expr, scope: Scope) -> Iterator[ast.expr]:
    """Yield the members of a list that stands in the source."""
    match node:
        case ast.Tuple(elts=elts) | ast.List(elts=elts):
            yield from elts
        case ast.Name(id=name) if name in scope.module.constants:
            yield from _rows(scope.module.constants[name], scope)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=way)):
            for known in _tables(name, scope):
                if way == "values":
                    yield from known.values
                elif way == "items":
                    pairs = zip(known.keys, known.values, strict=True)
                    yield from (ast.Tuple([key, value]) for key, value in pairs if key)


def _tables(name: str, scope: Scope) -> Iterator[ast.Dict]:
    """Yield the tables of a name, of the function or of the module."""
    for node in within(scope.function) if scope.function is not None else ():
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Dict() as table):
                if found == name:
                    yield table
    known = scope.module.constants.get(name)
    if isinstance(known, ast.Dict):
        yield known


def _parts(node: ast.expr, index: int, scope: Scope) -> Iterator[ast.expr]:
    """Yield what stands at a place of a pair."""
    match node:
        case ast.Tuple(elts=elts) if index < len(elts):
            yield elts[index]
        case ast.IfExp(body=body, orelse=orelse):
            yield from _parts(body, index, scope)
            yield from _parts(orelse, index, scope)
        case ast.BoolOp(values=values):
            for value in values:
                yield from _parts(value, index, scope)
        case _:
            yield from _parts_found(node, index, scope)


def _parts_found(node: ast.expr, index: int, scope: Scope) -> Iterator[ast.expr]:
    """Yield what stands at a place of a pair that stands elsewhere."""
    match node:
        case ast.Name(id=name) if scope.function is not None and name in _bound(scope.function):
            for value in _assigned(name, scope):
                yield from _parts(value, index, scope)
        case ast.Name(id=name) if name in scope.module.constants:
            yield from _parts(scope.module.constants[name], index, scope)
        case ast.Subscript(value=ast.Name(id=name)):
            for known in _tables(name, scope):
                for value in known.values:
                    yield from _parts(value, index, scope)
        case ast.Call(func=ast.Name(id=name)) if name in scope.module.functions:
            for one in ast.walk(scope.module.functions[name]):
                if isinstance(one, ast.Return) and one.value is not None:
                    yield from _parts(one.value, index, scope)


def _of_table(name: str, scope: Scope) -> Texts:
    """Return the texts of a table of the module, whatever its key."""
    values = [value for known in _tables(name, scope) for value in known.values]
    return frozenset().union(*(texts_of(value, scope) for value in values)) or ANY


def _called(call: ast.Call, scope: Scope) -> Texts:
    name = name_of(call)
    if isinstance(call.func, ast.Attribute):
        of = call.func.value
        if name == "format":
            return frozenset(_filled(text) for text in texts_of(of, scope))
        if name in ("strip", "rstrip", "lstrip", "removesuffix", "capitalize"):
            return texts_of(of, scope)
        if name == "join" and isinstance(of, ast.Constant) and str(of.value).strip().isalpha():
            return frozenset(str(of.value).join([VALUE] * number) for number in (1, 2, 3))
        if name == "get" and isinstance(of, ast.Name) and any(_tables(of.id, scope)):
            other = texts_of(call.args[1], scope) if len(call.args) > 1 else NONE
            return _of_table(of.id, scope) | other
    if name == "count" and len(call.args) >= 2:
        nouns = [texts_of(arg, scope) for arg in call.args[1:]]
        plurals = nouns[1] if len(nouns) > 1 else frozenset(f"{noun}s" for noun in nouns[0])
        return frozenset(f"{VALUE} {noun}" for noun in nouns[0] | plurals)
    return _returned(call, name, scope)


def _filled(template: str) -> str:
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError:
        return template
    return "".join(f"{fixed}{VALUE if name is not None else ''}" for fixed, name, *_ in parts)


def _returned(call: ast.Call, name: str, scope: Scope) -> Texts:
    """Return the texts that a function of the programs returns, if its name is the only one."""
    own = scope.module.functions.get(name)
    found = ((scope.module, own),) if own is not None else functions_called(name)
    if len(found) != 1 or scope.depth >= DEEPEST:
        return ANY
    module, function = found[0]
    if ast.unparse(function.returns or ast.Constant(None)) not in ("str", "str | None"):
        return ANY
    inner = Scope(module, function, given_to(call, function, scope), depth=scope.depth + 1)
    returns = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    texts = frozenset().union(
        *(texts_of(node, world) for world in worlds(inner) for node in returns)
    )
    return texts if len(texts) <= MOST else ANY


def given_to(call: ast.Call, function: Function, scope: Scope) -> dict[str, tuple[ast.expr, Scope]]:
    given = dict(zip(parameters(function), call.args, strict=False))
    given |= {word.arg: word.value for word in call.keywords if word.arg}
    return {
        name: (node, scope) for name, node in given.items() if not isinstance(node, ast.Starred)
    }
