"""Forms that are being filled in, kept on the disk: a reload or a restart loses nothing."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sd_scripts.files import write_atomic

KEPT_DAYS: Final = 60
KEPT_NUMBER: Final = 200
SWEEP: Final = "sweep"
_ID: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Draft:
    """What stands in a form: `values` as its widgets hold them (only those unlike the default),
    and `prompts`, the preview prompts typed in the page.

    `about` is what the form was opened for: `parent`, the run that it continues; `queued`,
    `version` and `name`, the waiting job that it changes; `preset`, the one that it began with;
    `writer`, the tab that it belongs to; `sweep`, lists of values that make several runs of it.
    What is not named there stays as it was saved.
    """

    job: str
    values: Mapping[str, object] = field(default_factory=dict)
    prompts: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lists(self) -> dict[str, list[str]]:
        """The values that options shall have one after the other, by option, as they were typed."""
        return lists_of(self.about.get(SWEEP))


def lists_of(given: object) -> dict[str, list[str]]:
    """Return lists of typed values by option, as a file or a page holds them."""
    if not isinstance(given, Mapping):
        return {}
    return {
        str(name): [str(value).strip() for value in values if str(value).strip()]
        for name, values in given.items()
        if isinstance(values, list)
    }


class Drafts:
    """The drafts of one workspace; one file each, so forms in several tabs do not meet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @staticmethod
    def new_id() -> str:
        """Return an id nobody has."""
        return secrets.token_hex(8)

    def _path(self, draft_id: str) -> Path | None:
        return self._folder / f"{draft_id}.json" if _ID.fullmatch(draft_id) else None

    def load(self, draft_id: str, job: str) -> Draft | None:
        """Return the draft; None when there is none for this job, or it cannot be understood."""
        path = self._path(draft_id)
        if path is None:
            return None
        try:
            data: Any = json.loads(path.read_text("utf-8"))
            values, prompts, about = data["values"], data["prompts"], data.get("about", {})
            fits = data["job"] == job and isinstance(values, dict) and isinstance(prompts, str)
            fits = fits and isinstance(about, dict)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Draft(job, values, prompts, about) if fits else None

    def save(self, draft_id: str, draft: Draft) -> bool:
        """Write the draft; False for an id that is none. Raises `OSError`."""
        path = self._path(draft_id)
        if path is None:
            return False
        before = self.load(draft_id, draft.job)
        about = {**(before.about if before else {}), **draft.about}
        data = {"job": draft.job, "values": dict(draft.values), "prompts": draft.prompts}
        data |= {"about": {name: value for name, value in about.items() if value}}
        # Not flushed to the disk each time: it is written at every key, and a power cut may
        # cost the last seconds of typing.
        write_atomic(path, json.dumps(data, ensure_ascii=False) + "\n", durable=False)
        return True

    def forget_old(self) -> int:
        """Remove drafts that nobody opened for long, and the oldest of too many; return how many.

        Only files that are drafts by their name are touched.
        """
        found: list[tuple[float, Path]] = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    stem, suffix = os.path.splitext(entry.name)
                    if suffix == ".json" and _ID.fullmatch(stem):
                        found.append((entry.stat().st_mtime, Path(entry.path)))
        except OSError:
            return 0  # the folder is made by the workspace; without it there is nothing to forget
        found.sort(reverse=True)
        limit = time.time() - KEPT_DAYS * 86400
        old = [path for at, (saved, path) in enumerate(found) if saved < limit or at >= KEPT_NUMBER]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)
