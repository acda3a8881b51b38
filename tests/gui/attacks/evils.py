"""What an attacker sends, and what must not come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sd_scripts.runs.folder import RunFolder
from tests.gui.test_server import Served

CONTENT: Final = "canary-content"
NAME: Final = "canary-name"
UNSAID: Final = "canary-unsaid"
"""Part of a name outside that no attack holds."""
FIELDS: Final = (
    *("run", "runs", "id", "what", "draft", "folder", "path", "file", "files", "picture", "name"),
    *("project", "order", "place", "text", "note", "tags", "tag", "job", "preset", "against"),
    *("check", "trial", "queued", "remedy", "words", "trigger", "prompt", "base", "model", "key"),
    *("goal", "card", "option", "values", "source", "state", "sort", "mask", "title", "wants"),
)
"""What the scripts of the pages name; each is given every evil thing at once."""
SLOW: Final = frozenset({"examine"})
"""Starts the doctor, a program of its own without any argument of the request."""


def functions(served: Served) -> list[tuple[int, str]]:
    """Return every function that a page's script can call, each once by its name and page."""
    found = []
    for number, block in served.blocks.blocks.items():
        names = (name for name in vars(block) if not name.startswith("__"))
        marked = [n for n in names if getattr(vars(block)[n], "_is_server_fn", False)]
        found += [(number, name) for name in marked if name not in SLOW]
    return found


def evils(served: Served, run: RunFolder) -> Mapping[str, str]:
    folder = served.context.workspace.path.parent
    return {
        "a file outside": str(folder / "outside" / f"{NAME}.txt"),
        "a folder outside": str(folder / "outside"),
        "up and out": f"{run.path}/../../../outside",
        "up from a run": f"{run.id}/../../../outside/{NAME}.txt",
        "a link out": str(folder / "seen" / "link"),
        "a file behind a link": str(folder / "seen" / "link.txt"),
        "a shell": f"x; touch {folder}/PWNED; $(touch {folder}/PWNED) `touch {folder}/PWNED` | x",
        "an option": f"--config_file={folder}/outside/{NAME}.toml",
        "an address": "http://192.0.2.1/latest/meta-data",
        "a file address": f"file://{folder}/outside/{NAME}.txt",
        "a share": r"\\192.0.2.1\share\model.safetensors",
        "a hub model": "somebody/some-model",
        "no character": "a\x00b",
        "much": "x" * 100_000,
    }


def said(what: str) -> dict[str, Any]:
    data: dict[str, Any] = dict.fromkeys(FIELDS, what)
    return {**data, "runs": [what], "files": [what], "values": {"train_data_dir": what}}


def leaks(text: str) -> bool:
    """Tell whether an answer holds what only a file outside says, or the name of one."""
    return CONTENT in text or UNSAID in text
