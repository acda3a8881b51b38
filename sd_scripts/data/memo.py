"""Small notes in the cache folder, as JSON: losing one only costs the work of finding out again."""

from __future__ import annotations

import json
from pathlib import Path

from sd_scripts.data.store import telling_cache_errors
from sd_scripts.files import write_atomic


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
