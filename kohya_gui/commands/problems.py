"""Tell in a terminal what is wrong: in words, or in JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import sys

from sd_scripts.errors import EXIT_USER, UserError


def print_problems(error: UserError, *, as_json: bool = False) -> int:
    """Tell everything that is wrong; return the exit code for it."""
    if as_json:
        told = [dataclasses.asdict(problem) for problem in error.problems]
        print(json.dumps({"problems": told}, ensure_ascii=False, indent=2))
        return EXIT_USER
    for problem in error.problems:
        option = f"{problem.option}: " if problem.option else ""
        print(f"error: {option}{problem.message}", file=sys.stderr)
        if problem.hint:
            print(f"       {problem.hint}", file=sys.stderr)
    return EXIT_USER
