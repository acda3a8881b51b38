"""The run folder: where everything about one run is kept, under a name safe on every system."""

from __future__ import annotations

import re
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sd_scripts.files import write_atomic

MAX_NAME_BYTES: Final = 80
"""A name takes at most this many UTF-8 bytes: room for the date and for Windows' short paths."""

_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]+')
_RESERVED: Final = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE
)
_FOLDERS: Final = ("control", "samples", "state", "output")


def safe_name(name: str, *, fallback: str = "run") -> str:
    """Return `name` as a file name that Windows, macOS and Linux all take.

    Letters of every script stay. Path separators, control characters and what Windows forbids
    become "_"; leading dots and trailing dots and blanks go; device names such as "con" or
    "lpt1.txt" get a "_" in front; at most `MAX_NAME_BYTES` bytes are kept, whole characters only.
    """
    text = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode("utf-8"))
    text = "".join("_" if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    text = re.sub(r"\s+", " ", _FORBIDDEN.sub("_", text)).strip(" .")
    text = text.encode("utf-8")[:MAX_NAME_BYTES].decode("utf-8", "ignore").rstrip(" .")
    if not text:
        return fallback
    return f"_{text}" if _RESERVED.fullmatch(text) else text


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run. Making the object touches nothing on the disk."""

    path: Path

    @property
    def id(self) -> str:
        """The folder's name, which names the run in the page."""
        return self.path.name

    @property
    def config(self) -> Path:
        """`config.toml`, the complete job."""
        return self.path / "config.toml"

    @property
    def run_json(self) -> Path:
        """`run.json`, who started what (see `record.RunRecord`)."""
        return self.path / "run.json"

    @property
    def log(self) -> Path:
        """`train.log`, standard output and error of the process."""
        return self.path / "train.log"

    @property
    def events(self) -> Path:
        """`events.jsonl`, what the trainer tells (see `events`)."""
        return self.path / "events.jsonl"

    @property
    def validation(self) -> Path:
        """`validation.json`, which pictures are held out and how they are measured."""
        return self.path / "validation.json"

    @property
    def control(self) -> Path:
        """The folder of request files (see `control`)."""
        return self.path / "control"

    @property
    def samples(self) -> Path:
        """The folder of preview pictures."""
        return self.path / "samples"

    @property
    def state(self) -> Path:
        """The folder of training states for resuming."""
        return self.path / "state"

    @property
    def output(self) -> Path:
        """Where trained files go unless `output_dir` says otherwise."""
        return self.path / "output"

    @property
    def undo(self) -> Path:
        """Where what the run changed among the user's files is kept (see `undo`)."""
        return self.path / "undo"

    def make_folders(self) -> None:
        """Make the folder and its sub folders where they are missing. Raises `OSError`."""
        for name in _FOLDERS:
            (self.path / name).mkdir(parents=True, exist_ok=True)

    @classmethod
    def create(cls, runs_dir: Path, name: str, config_toml: str) -> RunFolder:
        """Make a new folder `<name>-<yyyymmdd-hhmmss>` in `runs_dir` and write its `config.toml`.

        Two runs of one name in the same second get "-2", "-3" behind. Raises `OSError`.
        """
        runs_dir = runs_dir.absolute()
        runs_dir.mkdir(parents=True, exist_ok=True)
        stem = f"{safe_name(name)}-{time.strftime('%Y%m%d-%H%M%S')}"
        number = 1
        while True:
            path = runs_dir / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir()
                break
            except FileExistsError:
                number += 1
        run = cls(path)
        run.make_folders()
        write_atomic(run.config, config_toml)
        return run
