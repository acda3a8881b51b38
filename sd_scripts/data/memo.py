"""Small notes in the cache folder, as JSON: losing one only costs the work of finding out again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sd_scripts.errors import UserError
from sd_scripts.files import write_atomic

_CACHE_HINT: Final = "choose another cache_dir, free some space there, or mend its permissions"


@contextmanager
def telling_cache_errors() -> Iterator[None]:
    """Turn an `OSError` (full disk, read-only folder) into a `UserError` about `cache_dir`."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the cache can't be used: {error}", option="cache_dir", hint=_CACHE_HINT
        ) from error


def read_memo(path: Path) -> object:
    """Return what was noted; None if there is no note, or it cannot be read."""
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def write_memo(path: Path, content: object, *, durable: bool = True) -> None:
    """Note `content`; `UserError` if the cache folder can't be written."""
    with telling_cache_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(content), durable=durable)
