"""Find and replace in captions; regular expressions in a process of their own, with a time limit.

Python's expressions may take longer than the universe lasts ("(a+)+$"), and cannot be interrupted
within a process. So they run in another one, which is ended when its time is up.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sd_scripts.dataset import caption_regex_worker
from sd_scripts.errors import UserError

MAX_PATTERN: Final = 1000
"""Letters of a pattern, and of what it is replaced by."""
MAX_CAPTION: Final = 20_000
"""Letters of a caption that a pattern is tried on."""
MAX_LETTERS: Final = 20_000_000
"""Letters that all captions together may become."""
SECONDS: Final = 5.0


def substitute(
    texts: Sequence[str],
    find: str,
    replacement: str,
    *,
    is_pattern: bool,
    match_case: bool,
    seconds: float = SECONDS,
) -> list[str]:
    """Return the texts with every match replaced, one for one.

    Without `is_pattern` both texts are meant as they stand. Raises `UserError` for a pattern that
    is wrong, too long, or takes longer than `seconds` over all texts.
    """
    if is_pattern:
        return _by_pattern(texts, find, replacement, match_case=match_case, seconds=seconds)
    expression = re.compile(re.escape(find), 0 if match_case else re.IGNORECASE)
    growth = max(0, len(replacement) - len(find))
    if growth * sum(len(text) // len(find) for text in texts) > MAX_LETTERS:
        raise _too_much()
    return [expression.sub(lambda _: replacement, text) for text in texts]


def _by_pattern(
    texts: Sequence[str], find: str, replacement: str, *, match_case: bool, seconds: float
) -> list[str]:
    if len(find) > MAX_PATTERN:
        raise UserError(
            f"The pattern is too long: {len(find):,} letters, at most {MAX_PATTERN:,} can be used."
        )
    if len(replacement) > MAX_PATTERN or max(map(len, texts), default=0) > MAX_CAPTION:
        raise _too_much()
    # Most captions are short and many are the same in part; only different ones are worked on.
    distinct = list(dict.fromkeys(texts))
    task = {
        "texts": distinct,
        "find": find,
        "replacement": replacement,
        "match_case": match_case,
        "max_letters": MAX_LETTERS,
    }
    answer = _ask_worker(json.dumps(task).encode("ascii"), seconds)
    if "error" in answer:
        raise UserError(
            f"The pattern cannot be understood: {answer['error']}.",
            hint="Signs such as ( ) [ ] * + ? . \\ have a meaning; put \\ before one without.",
        )
    if "too_much" in answer:
        raise _too_much()
    became = dict(zip(distinct, answer["texts"], strict=True))
    return [became[text] for text in texts]


def _ask_worker(task: bytes, seconds: float) -> dict[str, list[str]]:
    worker = str(Path(caption_regex_worker.__file__))
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW
    try:
        # Isolated and without site-packages: it starts in a moment and imports nothing of others.
        done = subprocess.run(
            [sys.executable, "-I", "-S", worker],
            input=task,
            capture_output=True,
            timeout=seconds,
            check=True,
            creationflags=flags,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"The pattern was given up after {seconds:g} seconds.",
            hint="Avoid a repetition inside a repetition, such as (a+)+ or (.*)*.",
        ) from error
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"The pattern could not be tried: {error}.", hint="Try a simpler pattern."
        ) from error
    answer: dict[str, list[str]] = json.loads(done.stdout)
    return answer


def _too_much() -> UserError:
    return UserError(
        "The captions would become too long altogether.", hint="Replace by something shorter."
    )
