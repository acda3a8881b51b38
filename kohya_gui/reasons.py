"""Problems, and why files could not be written or read, in the words of whoever asks."""

from __future__ import annotations

import errno
from typing import Any, Final

from kohya_gui.jobs.feed import RunFeed
from kohya_gui.locales.speaking import asked_texts, told
from sd_scripts.errors import Problem, UserError

_KEYS: Final = {
    errno.ENOSPC: "disk.full",
    errno.EDQUOT: "disk.full",
    errno.EROFS: "disk.not_allowed",
    errno.EACCES: "disk.not_allowed",
    errno.EPERM: "disk.not_allowed",
    errno.ENOENT: "disk.gone",
    errno.EIO: "disk.ill",
    errno.ESTALE: "disk.ill",
    errno.ENOTCONN: "disk.ill",
}
_WIDE: Final = ("ja", "zh-cn")
"""Languages whose full stop holds its own blank."""
_ENDS: Final = (".", "!", "?", "…", "。", "！", "？")
_ABOUT_A_PATH: Final = ("disk.not_allowed", "disk.gone")


def reason(error: Exception) -> str:
    """Return why something failed, as the rest of a sentence without its full stop.

    What the system says in few words ("No space left on device") becomes what can be done about
    it; anything else is told as it was said.
    """
    if not isinstance(error, OSError):
        return told(str(error)).rstrip(".。")
    key = _KEYS.get(error.errno or 0)
    if key in _ABOUT_A_PATH and not error.filename:
        key = None
    if key is None:
        return told(error.strerror or str(error))
    return asked_texts()(key, path=error.filename)


def first_problem(error: Exception) -> Problem:
    """Return the first problem of an error, or its failure as one."""
    return error.problems[0] if isinstance(error, UserError) else Problem(failure(error))


def told_row(problem: Problem, called: str = "message") -> dict[str, str]:
    """Return what is wrong (under the name `called`) and its `hint`, as a page's script gets it."""
    return {called: told(problem.message), "hint": told(problem.hint)}


def told_of(name: str, reason: str) -> str:
    """Return what is wrong with a picture ("is empty"); other languages need its name in it."""
    whole = f"{name} {reason}"
    words = told(whole)
    return told(reason) if words == whole else words


def told_line(problem: Problem) -> str:
    """Return what is wrong and its hint in one line, as sentences of the page's language."""
    message, hint = told(problem.message), told(problem.hint)
    if not hint:
        return message
    stop = "。" if asked_texts().language in _WIDE else "."
    ended = message if message.endswith(_ENDS) else message + stop
    return ended + hint if ended.endswith("。") else f"{ended} {hint}"


def told_warnings(feed: RunFeed) -> dict[str, Any]:
    """Return what a run warned of, for the script: the first ones, and how many there are."""
    return {
        "warnings": [told_line(Problem(one.text, None, one.hint)) for one in feed.warnings[:20]],
        "num_warnings": len(feed.warnings),
    }


def failure(error: Exception) -> str:
    """Return a whole sentence about what failed; words meant for people stay as they are."""
    if not isinstance(error, OSError):
        return told(str(error))
    return asked_texts()("disk.failed", reason=reason(error))
