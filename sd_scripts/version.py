"""Which state of this program is at work: the commit of its checkout, or its version."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Final

_PROGRAM: Final = "kohya-gui"
_ROOT: Final = Path(__file__).resolve().parent.parent
_COMMIT_LENGTHS: Final = (40, 64)


@cache
def program_version() -> str:
    """Return this program's name with its commit (or version, or `unknown`), as files tell it."""
    return f"{_PROGRAM}/{commit_of(_ROOT) or _version_of(_ROOT) or 'unknown'}"


def commit_of(checkout: Path) -> str | None:
    """Return the commit that a folder is checked out at; None if it tells of none.

    Reads git's files, since git itself need not be installed.
    """
    git = checkout / ".git"
    try:
        if git.is_file():  # a worktree or submodule: "gitdir: PATH"
            git = checkout / git.read_text("utf-8").partition(":")[2].strip()
        head = (git / "HEAD").read_text("utf-8").strip()
        common = git / "commondir"
        shared = git / common.read_text("utf-8").strip() if common.is_file() else git
        name = head.removeprefix("ref: ")
        found = head if name == head else _resolved(name, shared)
    except (OSError, UnicodeDecodeError):
        return None
    return found if len(found) in _COMMIT_LENGTHS else None


def _resolved(name: str, git: Path) -> str:
    """Return what a branch points to. Raises `OSError` if it cannot be read."""
    branch = git / name
    if branch.is_file():
        return branch.read_text("utf-8").strip()
    lines = (git / "packed-refs").read_text("utf-8").splitlines()
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), "")


def _version_of(checkout: Path) -> str | None:
    try:
        with open(checkout / "pyproject.toml", "rb") as file:
            return str(tomllib.load(file)["project"]["version"])
    except (OSError, tomllib.TOMLDecodeError, KeyError):
        return None
