"""Size limits: a function's lines are tested, a file's are told; see tools/gate/long_functions.txt.

A function's docstring does not count. The list of allowed long functions may only shrink: an
entry that is no longer needed, or higher than needed, fails too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("kohya_gui", "sd_scripts", "tools", "tests")
SOFT_FILE_LINES = 400
SOFT_FUNCTION_LINES = 60
HARD_FUNCTION_LINES = 80
ALLOWED = "tools/gate/long_functions.txt"


def python_files(root: Path) -> Iterator[Path]:
    """Yield the project's own Python files, in order."""
    for folder in FOLDERS:
        yield from sorted((root / folder).rglob("*.py"))


def function_sizes(tree: ast.AST, outer: str = "") -> Iterator[tuple[str, int]]:
    """Yield (qualified name, lines without the docstring) of every function in a tree."""
    for node in ast.iter_child_nodes(tree):
        name = outer
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{outer}.{node.name}" if outer else node.name
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield name, _lines(node)
        yield from function_sizes(node, name)


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    total = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        total -= (first.end_lineno or first.lineno) - first.lineno + 1
    return total


def read_allowed(root: Path) -> dict[str, int]:
    """Return the allowed long functions: `path::name` to lines."""
    allowed: dict[str, int] = {}
    for line in (root / ALLOWED).read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            key, _, number = line.rpartition(" ")
            allowed[key.strip()] = int(number)
    return allowed


def check(root: Path) -> tuple[list[str], list[str]]:
    """Return (problems, notes) on the sizes of functions and files."""
    problems: list[str] = []
    notes: list[str] = []
    allowed = read_allowed(root)
    needed: set[str] = set()
    for file in python_files(root):
        place = file.relative_to(root).as_posix()
        text = file.read_text(encoding="utf-8")
        if (lines := text.count("\n")) > SOFT_FILE_LINES:
            notes.append(f"{place} has {lines} lines (aim: {SOFT_FILE_LINES})")
        for name, size in function_sizes(ast.parse(text)):
            key = f"{place}::{name}"
            if size > HARD_FUNCTION_LINES:
                needed.add(key)
                problems += _judge(key, size, allowed.get(key))
            elif size > SOFT_FUNCTION_LINES:
                notes.append(f"{key} has {size} lines (aim: {SOFT_FUNCTION_LINES})")
    unneeded = sorted(allowed.keys() - needed)
    problems += [f"{key}: no longer too long, take it off {ALLOWED}" for key in unneeded]
    return problems, notes


def _judge(key: str, size: int, allowed: int | None) -> list[str]:
    if allowed is None or size > allowed:
        return [f"{key} has {size} lines (limit: {allowed or HARD_FUNCTION_LINES}): cut it"]
    return [f"{key} has {size} lines now: lower its number in {ALLOWED}"] if size < allowed else []
