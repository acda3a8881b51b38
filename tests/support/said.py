"""What the programs can say to a user, read from their source: the texts of problems, notes, states
and ends of jobs, with something for each value."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from tests.support.source_texts import (
    DEEPEST,
    MOST,
    ROOTS,
    VALUE,
    Function,
    Module,
    Scope,
    functions_called,
    given_to,
    holds_name,
    modules,
    name_of,
    parameters,
    texts_of,
    worlds,
)

_PARTS: Final = (r"(?<=[.!?]) ", r", or ", r": ", r"; ", r", ")
"""What stands between texts that are told one by one."""
SAYING: Final[Mapping[str, tuple[str, ...]]] = {
    "Problem": ("message", "", "hint"),
    "UserError": ("message",),
    "UnfitError": ("message", "hint"),
    "UnfitValue": ("of a key",),
    "PictureProblem": ("", "of a file", "hint"),
    "PictureTooLarge": ("", "of a file", "hint"),
    "CaptionProblem": ("", "of a file", "hint"),
    "MetadataProblem": ("message", "hint"),
    "Finding": ("", "", "verdict"),
    "Signature": ("", "", "cause", "hint"),
    "Recognised": ("", "", "what"),
    "Prediction": ("", "", "source"),
    "Remedy": ("", "label"),
    "SkippedPicture": ("", "of a file"),
    "Deserted": ("of a process",),
    "Submitted": ("", "text"),
    "ModelInfo": ("text",),
    "StepArithmetic": ("", "", "", "", "text"),
    "RunStatus": ("", "detail", "hint"),
    "EndEvent": ("reason", "hint"),
    "Refused": ("text",),
    "phase": ("name", "", "", "text"),
    "replace": ("detail", "hint"),
}
"""Whose arguments are told to a user, by place (and by name); "of a …": told behind a name."""
_AROUND: Final = {
    "of a file": (f"{VALUE} ", ""),
    "of a key": (f"{VALUE} ", f", not {VALUE}"),
    "of a process": ("Another process of this run ", ""),
}
_BY_NAME: Final = ("ModelInfo", "EndEvent", "RunStatus", "replace")
"""Those whose first arguments are something else: only arguments by name count."""


@dataclass(frozen=True)
class Said:
    """A text that a user can be told, and where it stands."""

    text: str
    place: str


def _scoped(module: Module) -> Iterator[tuple[ast.Call, Scope]]:
    """Yield every call of a module with the function around it."""

    def walk(node: ast.AST, function: Function | None) -> Iterator[tuple[ast.Call, Scope]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                yield child, Scope(module, function)
            yield from walk(child, child if isinstance(child, Function) else function)

    yield from walk(module.tree, None)


def _arguments(call: ast.Call, names: tuple[str, ...]) -> Iterator[tuple[str, ast.expr]]:
    """Yield the arguments that are told, with their names."""
    if name_of(call) not in _BY_NAME:
        yield from ((name, node) for node, name in zip(call.args, names, strict=False) if name)
    more = {"hint", *names} - {""} if names else set()
    yield from ((word.arg, word.value) for word in call.keywords if word.arg in more)


@cache
def _calls() -> Mapping[str, list[tuple[ast.Call, Scope]]]:
    """Return every call of the programs, by the name that is called."""
    found: dict[str, list[tuple[ast.Call, Scope]]] = {}
    for module in modules():
        for call, scope in _scoped(module):
            found.setdefault(name_of(call), []).append((call, scope))
    return found


def _ends(module: Module) -> Iterator[tuple[ast.expr, Scope]]:
    """Yield what jobs say at their end, which they return behind how it was."""
    for function in module.functions.values():
        if function.returns is None or not re.fullmatch(
            r"tuple\[(Ending|Literal\['finished', 'stopped'\]), str\]",
            ast.unparse(function.returns),
        ):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                yield node.value.elts[1], Scope(module, function)


def _entered(argument: ast.expr, scope: Scope) -> Iterator[Scope]:
    """Yield a place once for each call of its function that gives it a part of an argument."""
    function = scope.function
    if function is None or not any(holds_name(argument, name) for name in parameters(function)):
        yield scope
        return
    of_it = [
        (call, outer)
        for call, outer in _calls().get(function.name, [])
        if outer.module is scope.module or len(functions_called(function.name)) == 1
    ]
    for call, outer in of_it[:MOST] or [(ast.Call(ast.Name(""), [], []), scope)]:
        yield replace(scope, given=given_to(call, function, outer))


def _told(module: Module) -> Iterator[tuple[str, ast.expr, Scope]]:
    """Yield every expression of a module that is told to a user, and what it is."""
    for call, scope in _scoped(module):
        for what, argument in _arguments(call, SAYING.get(name_of(call), ())):
            yield what, argument, scope
    for argument, scope in _ends(module):
        yield "reason", argument, scope


@cache
def said() -> tuple[Said, ...]:
    """Return every text that a user can be told, once for each place."""
    found: dict[Said, None] = {}
    for module in modules():
        name = module.path.relative_to(ROOTS[0].parent).as_posix()
        for what, argument, scope in _told(module):
            before, behind = _AROUND.get(what, ("", ""))
            for entered in _entered(argument, scope):
                for world in worlds(entered):
                    for text in sorted(texts_of(argument, world)):
                        place = f"{name}:{argument.lineno}"
                        found[Said(f"{before}{text}{behind}", place)] = None
    return tuple(found)


@cache
def written() -> frozenset[str]:
    """Return every text that stands in the programs, told or not, and the parts it is told by."""
    found = {one.text for one in said()}
    for module in modules():
        for node, scope in _texts_in(module):
            for world in worlds(scope):
                found |= texts_of(node, world)
    for between in _PARTS:
        found.update(*(re.split(between, text) for text in found if " " in text))
    return frozenset(text.strip() for text in found)


def _texts_in(module: Module) -> Iterator[tuple[ast.expr, Scope]]:
    """Yield every text of a module that is no part of another, with the function around it."""

    def walk(node: ast.AST, function: Function | None) -> Iterator[tuple[ast.expr, Scope]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.JoinedStr | ast.Constant | ast.BinOp) or (
                isinstance(child, ast.Call) and name_of(child) in ("count", "are")
            ):
                yield child, Scope(module, function, depth=DEEPEST)
            yield from walk(child, child if isinstance(child, Function) else function)

    yield from walk(module.tree, None)
