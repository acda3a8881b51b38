"""Replace what a regular expression finds; run as a process of its own, so that it can be ended.

Reads one JSON object from standard input, writes one to standard output. Only the standard library.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any


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
        changed.append(expression.sub(template, text))
        left -= len(changed[-1])
        if left < 0:
            raise TooMuchError
    return changed


def main() -> None:
    """Be the process."""
    task = json.loads(sys.stdin.buffer.read())
    try:
        answer: dict[str, Any] = {"texts": replace_all(task)}
    except (re.error, IndexError, OverflowError, RecursionError) as error:
        answer = {"error": str(error)}
    except (TooMuchError, MemoryError):
        answer = {"too_much": True}
    sys.stdout.buffer.write(json.dumps(answer).encode("ascii"))


if __name__ == "__main__":
    main()
