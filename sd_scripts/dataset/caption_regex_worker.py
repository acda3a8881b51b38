"""Replace what a regular expression finds; run as a process of its own, so that it can be ended.

Reads one JSON object from standard input, writes one to standard output. Only the standard library.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Final

MAX_MEMORY: Final = 2**30
"""Bytes of address space that this process may take."""


class TooMuchError(Exception):
    """The texts would become too long."""


def replace_all(task: dict[str, Any]) -> list[str]:
    """Return the texts with all matches replaced. Raises `re.error` and `TooMuchError`."""
    flags = 0 if task["match_case"] else re.IGNORECASE
    expression = re.compile(task["find"], flags)
    template, left = task["replacement"], task["max_letters"]
    expression.sub(template, "")  # tells what is wrong with it even if nothing is found
    changed = []
    for text in task["texts"]:
        changed.append(_replace(expression, template, text, left))
        left -= len(changed[-1])
        if left < 0:
            raise TooMuchError
    return changed


def _replace(expression: re.Pattern[str], template: str, text: str, most: int) -> str:
    """Return a text with all matches replaced; counts along, before it is all in the memory."""
    made = 0

    def put(match: re.Match[str]) -> str:
        nonlocal made
        new = match.expand(template)
        made += len(new)
        if made > most:
            raise TooMuchError
        return new

    return expression.sub(put, text)


def limit_memory() -> None:
    """Let the system refuse more than `MAX_MEMORY`, so that a pattern cannot take all there is."""
    if sys.platform != "linux":
        return  # Windows has no such limit, and macOS does not keep it: there only letters count
    import resource

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def main() -> None:
    """Be the process."""
    limit_memory()
    task = json.loads(sys.stdin.buffer.read())
    try:
        answer = json.dumps({"texts": replace_all(task)})
    except (re.error, IndexError, OverflowError, RecursionError) as error:
        answer = json.dumps({"error": str(error)})
    except (TooMuchError, MemoryError):
        answer = json.dumps({"too_much": True})
    sys.stdout.buffer.write(answer.encode("ascii"))


if __name__ == "__main__":
    main()
