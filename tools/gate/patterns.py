"""What may not stand in the project's files, each with the reason."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tools.gate.sizes import python_files

KEYWORDS = {  # (keyword argument, value) and why it is forbidden
    ("shell", True): "a shell reads file names as commands; pass a list",
    ("weights_only", False): "a pickle may run code; read it with weights_only=True",
    ("trust_remote_code", True): "a model folder may not bring code to run",
}
CALLS = {
    "os.system": "a shell reads file names as commands; use subprocess with a list",
    "os.popen": "a shell reads file names as commands; use subprocess with a list",
    "pickle.load": "a pickle may run code",
    "pickle.loads": "a pickle may run code",
    "torch.load": "say weights_only=True",
}
TEXT_ENDS = (".py", ".md", ".toml", ".sh", ".bat", ".cfg", ".json", ".css", ".js")
TEXTS = {
    r"/(?:work|root)/|/opt/(?:wheels|pypi)|\b[A-Z]:\\Users\\": "a path of one machine",
    r"^(?:<{7}|>{7}) ": "a merge that was not finished",
}
COMMENTS = {r"#\s*(?:T" r"ODO|F" r"IXME|X" r"XX)\b": "finish it, or file it with its reason"}
SKIPPED = {".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".setup"}


def check(root: Path) -> list[str]:
    """Return every forbidden thing as `file:line: reason`."""
    problems = []
    for file in python_files(root):
        text = file.read_text(encoding="utf-8")
        place = file.relative_to(root).as_posix()
        problems += [f"{place}:{line}: {why}" for line, why in in_code(text)]
        problems += [f"{place}:{line}: {why}" for line, why in in_text(text, COMMENTS)]
    for file in text_files(root):
        text = file.read_text(encoding="utf-8", errors="replace")
        place = file.relative_to(root).as_posix()
        problems += [f"{place}:{line}: {why}" for line, why in in_text(text, TEXTS)]
    return problems


def text_files(root: Path) -> Iterator[Path]:
    """Yield the text files of the checkout, less what tools leave there."""
    for folder, inner, names in os.walk(root):
        at_top = Path(folder) == root
        inner[:] = sorted(
            n for n in inner if n not in SKIPPED and not (at_top and n[:5] == ".venv")
        )
        for name in sorted(names):
            if name.endswith(TEXT_ENDS):
                yield Path(folder, name)


def in_code(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, reason) for every forbidden call in Python code."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        values = {
            word.arg: word.value.value
            for word in node.keywords
            if isinstance(word.value, ast.Constant)
        }
        for (keyword, value), why in KEYWORDS.items():
            if values.get(str(keyword)) is value:
                yield node.lineno, f"{keyword}={value}: {why}"
        name = ast.unparse(node.func)
        if name in CALLS and values.get("weights_only") is not True:
            yield node.lineno, f"{name}: {CALLS[name]}"


def in_text(text: str, forbidden: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Yield (line, reason) for every line that a forbidden pattern matches."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, why in forbidden.items():
            if found := re.search(pattern, line):
                yield number, f"{found.group().strip()}: {why}"
