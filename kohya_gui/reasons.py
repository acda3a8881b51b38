"""Why a file could not be written or read, with the remedy, in the words of whoever asks."""

from __future__ import annotations

import errno
from typing import Final

from kohya_gui.locales.speaking import asked_texts, told

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
_ABOUT_A_PATH: Final = ("disk.not_allowed", "disk.gone")


def reason(error: Exception) -> str:
    """Return why something failed, as the rest of a sentence without its full stop.

    What the system says in few words ("No space left on device") becomes what can be done about
    it; anything else is told as it was said.
    """
    if not isinstance(error, OSError):
        return str(error)
    key = _KEYS.get(error.errno or 0)
    if key in _ABOUT_A_PATH and not error.filename:
        key = None
    if key is None:
        return error.strerror or str(error)
    return asked_texts()(key, path=error.filename)


def failure(error: Exception) -> str:
    """Return a whole sentence about what failed; words meant for people stay as they are."""
    if not isinstance(error, OSError):
        return told(str(error))
    return asked_texts()("disk.failed", reason=reason(error))
