"""The one gate: every static check, then the tests; the same at home and in CI.

tools/check                     everything, tests last
tools/check --fast              the static checks only
tools/check --only ruff sizes   some of them, by name
tools/check -k bucket           what follows goes on to pytest
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.gate import links, patterns, sizes


@dataclass
class Result:
    """What a check found: problems fail the gate, notes do not."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


Check = Callable[[Path], Result]


def python(*arguments: str) -> Check:
    """Make a check of a Python tool; its output is the problem when it fails."""

    def check(root: Path) -> Result:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=root,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=os.environ | {"PYTHONUTF8": "1", "NO_COLOR": "1"},
            check=False,
        )
        if done.returncode == 0:
            return Result()
        return Result([(done.stdout + done.stderr).strip() or f"exit code {done.returncode}"])

    return check


def _lint_imports(root: Path) -> Result:
    code = "from importlinter.cli import lint_imports_command as run; run()"
    return python("-c", code)(root)


CHECKS: dict[str, Check] = {
    "ruff": python("-m", "ruff", "check", "."),
    "format": python("-m", "ruff", "format", "--check", "."),
    "types": python("-m", "mypy"),
    "imports": _lint_imports,
    "sizes": lambda root: Result(*sizes.check(root)),
    "patterns": lambda root: Result(patterns.check(root)),
    "links": lambda root: Result(links.check(root)),
    "docs": python("-m", "sd_scripts.options.docs", "--check"),
    "words": python("-m", "tools.gate.stale_texts"),
}


def run_checks(names: Sequence[str], root: Path) -> bool:
    """Run the named checks and tell each result; return whether all passed."""
    good = True
    for name in names:
        start = time.monotonic()
        result = CHECKS[name](root)
        word = "FAILED" if result.problems else "ok"
        print(f"{name:<10}{word:<8}{time.monotonic() - start:5.1f} s", flush=True)
        for note in result.notes:
            print(f"    note: {note}")
        for problem in result.problems:
            print("    " + problem.replace("\n", "\n    "), flush=True)
        good &= not result.problems
    return good


def run_tests(root: Path, arguments: Sequence[str]) -> int:
    """Run pytest on two cores; its own summary is the last thing printed."""
    chosen = any(part.startswith(("-n", "--numprocesses")) for part in arguments)
    # Whole files to one worker: what a file's tests share (servers, models) is made once.
    # In the order of collection, which begins with the longest (tests/conftest.py).
    workers = [] if chosen else ["-n2", "--dist", "loadfile", "--no-loadscope-reorder"]
    quiet = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    sys.stdout.flush()
    return subprocess.run(
        [sys.executable, "-m", "pytest", *workers, *arguments],
        cwd=root,
        env=quiet | os.environ,
        check=False,
    ).returncode


def main(argv: Sequence[str], root: Path) -> int:
    """Run what was asked for; 0 when all is well, 1 when a check failed, else pytest's code."""
    parser = argparse.ArgumentParser(
        prog="tools/check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--fast", action="store_true", help="static checks only, no tests")
    parser.add_argument("--only", nargs="+", choices=CHECKS, help="these static checks only")
    known, rest = parser.parse_known_args(argv)
    good = run_checks(known.only or tuple(CHECKS), root)
    if known.fast or known.only:
        return 0 if good else 1
    tests = run_tests(root, rest)
    return tests or (0 if good else 1)
