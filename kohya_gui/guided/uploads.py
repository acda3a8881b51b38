"""Pictures that come from the browser: written in pieces into a folder of the workspace."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kohya_gui.browse import PICTURE_SUFFIXES
from kohya_gui.guided.outcome import same_content
from kohya_gui.workspace import Workspace
from sd_scripts.dataset.caption_files import CAPTION_SUFFIXES
from sd_scripts.errors import UserError
from sd_scripts.runs.folder import safe_name

MAX_PIECE: Final = 768 * 1024
MAX_FILE: Final = 256 * 2**20
MAX_FILES: Final = 5000
ENDINGS: Final = frozenset((*PICTURE_SUFFIXES, *CAPTION_SUFFIXES))
_PART: Final = ".part"


@dataclass(frozen=True)
class Piece:
    """A part of a file: its bytes in base64, where they begin, and how long the whole is."""

    name: str
    offset: int
    total: int
    data: str

    def content(self) -> bytes:
        """Return its bytes. Raises `UserError` for what no page of ours sends."""
        try:
            found = base64.b64decode(self.data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise UserError("A piece of the file was damaged on its way.") from error
        fits = 0 <= self.offset <= self.offset + len(found) <= self.total
        if not fits or len(found) > MAX_PIECE:
            raise UserError("A piece of the file does not fit to the others.")
        return found


def upload_folder(workspace: Workspace, project_id: str, name: str) -> Path:
    """Return the folder for a project's own pictures, made if needed. Raises `OSError`."""
    stem = safe_name(name, fallback="pictures")[:40].rstrip(" .")
    folder = workspace.path / "pictures" / f"{stem}-{project_id[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def take_piece(folder: Path, piece: Piece) -> Path | None:
    """Write a piece; return the file once it is whole.

    A file of the same name and content is taken for the same; one of other content is kept and the
    new one gets a number. Raises `UserError` for what is neither picture nor caption or far too
    large, and `OSError`.
    """
    name = safe_name(Path(piece.name.replace("\\", "/")).name, fallback="")
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in ENDINGS:
        raise UserError(
            f"{name or 'This file'} is neither a picture nor a caption.",
            hint="Give PNG, JPEG, WebP, BMP or AVIF pictures, and .txt files of the same name.",
        )
    if piece.total > MAX_FILE:
        raise UserError(f"{name} is larger than 256 MB.", hint="Make it smaller first.")
    content = piece.content()
    partial = folder / f".{name}{_PART}"
    with open(partial, "r+b" if piece.offset else "wb") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() != piece.offset:
            raise UserError(f"{name} did not arrive whole.", hint="Give it once more.")
        file.write(content)
        if piece.offset + len(content) < piece.total:
            return None
        file.flush()
        os.fsync(file.fileno())
    if len(os.listdir(folder)) > MAX_FILES:
        partial.unlink()
        raise UserError(f"More than {MAX_FILES:,} files.", hint="Put them into a folder instead.")
    return _put(partial, folder, name)


def _put(partial: Path, folder: Path, name: str) -> Path:
    """Give a whole file its name, or another one if that is taken by other content."""
    stem, suffix = os.path.splitext(name)
    number = 1
    while True:
        target = folder / (name if number == 1 else f"{stem}-{number}{suffix}")
        if not target.exists():
            os.replace(partial, target)
            return target
        if same_content(partial, target):
            partial.unlink()
            return target
        number += 1
