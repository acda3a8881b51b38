"""Pictures that come from the browser: written in pieces into a folder of the workspace."""

from __future__ import annotations

import base64
import binascii
import errno
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from kohya_gui.browse import PICTURE_SUFFIXES
from kohya_gui.guided.outcome import same_content
from kohya_gui.jobs.lock import file_lock
from kohya_gui.workspace import Workspace
from sd_scripts.dataset.caption_files import CAPTION_SUFFIXES
from sd_scripts.dataset.faces import split_face, split_stem
from sd_scripts.errors import UserError
from sd_scripts.runs.folder import MAX_NAME_BYTES, safe_name
from sd_scripts.train.preflight import RESERVE_BYTES

MAX_PIECE: Final = 768 * 1024
MAX_FILE: Final = 256 * 2**20
MAX_FILES: Final = 5000
"""So many files a folder takes from the browser, those that have only begun among them."""
ENDINGS: Final = frozenset((*PICTURE_SUFFIXES, *CAPTION_SUFFIXES))
_PART: Final = ".part"
Captioned = Literal["", "own", "shared"]
"""Which captions of a picture's name are in the drop: none, of its own name, or of the name that
pictures cut out around faces share."""
_CAPTIONED: Final[Mapping[str, Captioned]] = {"own": "own", "shared": "shared"}
_FORGOTTEN_SECONDS: Final = 24 * 3600.0
"""A file that nobody went on with for so long is taken away."""


@dataclass(frozen=True)
class Piece:
    """A part of a file: its bytes in base64, where they begin, and how long the whole is.

    `drop` is a random number that files have which were given at once: two tabs may send the same
    name. `beside` is the stem that the picture got which this file belongs to (without what tells
    of a face, if pictures of several faces share a caption), "" if it goes by its own name;
    `captioned` says of a picture that captions of its name are in the drop: those that are there
    already are not meant for it.
    """

    name: str
    offset: int
    total: int
    data: str
    drop: str = ""
    beside: str = ""
    captioned: Captioned = ""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Piece:
        """Return the piece that a script hands over, whatever it may hold."""
        offset, total = data.get("offset"), data.get("total")
        return cls(
            str(data.get("name") or ""),
            offset if isinstance(offset, int) else -1,
            total if isinstance(total, int) else -1,
            str(data.get("data") or ""),
            str(data.get("drop") or ""),
            str(data.get("beside") or ""),
            _CAPTIONED.get(str(data.get("captioned")), ""),
        )

    def beside_or(self, stem: str) -> str:
        """Return the stem of the picture that it belongs to, else `stem`."""
        return safe_name(self.beside, fallback=stem)

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


def upload_folder(workspace: Workspace, owner: str, name: str) -> Path:
    """Return the folder for pictures that belong together, made if needed.

    `owner` is the id of their project, or of what was dropped at once. Raises `OSError`.
    """
    stem = safe_name(name, fallback="pictures")[:40].rstrip(" .")
    folder = workspace.path / "pictures" / f"{stem}-{owner[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def take_piece(folder: Path, piece: Piece) -> Path | None:
    """Write a piece; return the file once it is whole.

    A picture of the same name and content is taken for the same; one of other content is kept and
    the new one gets a number, which its caption takes over by `beside`. Raises `UserError` for
    what is neither picture nor caption or far too large, for a caption where there is one with
    other words, and `OSError`.
    """
    name, stem, face, suffix = _names(piece)
    if suffix not in ENDINGS:
        raise UserError(
            f"{name or 'This file'} is neither a picture nor a caption.",
            hint="Give PNG, JPEG, WebP, BMP or AVIF pictures, and .txt files of the same name.",
        )
    if piece.total > MAX_FILE:
        raise UserError(f"{name} is larger than 256 MB.", hint="Make it smaller first.")
    content = piece.content()
    if piece.offset == 0:
        _make_sure_of_room(folder, piece.total)
    partial = folder / f".{name}.{safe_name(piece.drop, fallback='0')[:16]}{_PART}"
    with open(partial, "r+b" if piece.offset else "wb") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() != piece.offset:
            raise UserError(f"{name} did not arrive whole.", hint="Give it once more.")
        file.write(content)
        if piece.offset + len(content) < piece.total:
            return None
        file.flush()
        os.fsync(file.fileno())
    with file_lock(folder.parent / ".lock"):  # another tab may be choosing the same name
        if suffix in CAPTION_SUFFIXES:
            return _put_caption(partial, folder / f"{piece.beside_or(stem + face)}{suffix}")
        stem = piece.beside_or(stem + face).removesuffix(face)
        return _put_picture(partial, folder, (stem, face, suffix), piece)


def _names(piece: Piece) -> tuple[str, str, str, str]:
    """Return a file's name for people, the stem that it asks for without and with what tells of a
    face, and the ending.

    The stem is made safe, and cut, by itself: so a picture and its caption stay together.
    """
    given = Path(piece.name.replace("\\", "/")).name.rstrip(" .")
    stem, face = split_face(Path(given))
    if not stem:  # no name is left beside the numbers
        stem, face = face, ""
    stem, suffix = safe_name(stem, fallback=""), Path(given).suffix.lower()
    if not stem or suffix not in ENDINGS:
        return safe_name(given, fallback=""), "", "", ""
    return f"{stem}{face}{suffix}", stem, face, suffix


def _make_sure_of_room(folder: Path, total: int) -> None:
    """Raise what keeps one more file from coming in: `UserError` if there are too many already,
    `OSError` if the disk would be full."""
    for partial in folder.glob(f".*{_PART}"):
        if _is_forgotten(partial):
            partial.unlink(missing_ok=True)
    if len(os.listdir(folder)) >= MAX_FILES:
        raise UserError(f"More than {MAX_FILES:,} files.", hint="Put them into a folder instead.")
    if shutil.disk_usage(folder).free < total + RESERVE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _is_forgotten(partial: Path) -> bool:
    try:
        return time.time() - partial.stat().st_mtime > _FORGOTTEN_SECONDS
    except FileNotFoundError:
        return False  # another sending has just ended


def _put_caption(partial: Path, target: Path) -> Path:
    """Give a whole caption its name. A number would lay it beside another picture."""
    if not target.exists():
        os.replace(partial, target)
        return target
    same = same_content(partial, target)
    partial.unlink()
    if not same:
        raise UserError(
            f"{target.name} is there already with other words.",
            hint="The one that is there was kept.",
        )
    return target


def _put_picture(partial: Path, folder: Path, name: tuple[str, str, str], piece: Piece) -> Path:
    """Give a whole picture its name (stem, what tells of a face, ending), or one with a number if
    files of others have it."""
    stem, face, suffix = name
    ours = f"{stem}{face}" if piece.beside else None  # its caption is for another picture too
    is_taken = _taken(folder, piece.captioned)
    for wanted in _numbered(stem, face):
        target = folder / f"{wanted}{suffix}"
        if target.exists():
            if same_content(partial, target):
                partial.unlink()
                return target
        elif wanted == ours or not is_taken(wanted.casefold()):
            os.replace(partial, target)
            return target
    raise AssertionError("numbers never end")


def _taken(folder: Path, captioned: Captioned) -> Callable[[str], bool]:
    """Return what tells whether a stem would mix up captions with those of pictures in a folder."""
    names = [os.path.splitext(one.casefold()) for one in os.listdir(folder)]
    pictures = {stem for stem, ending in names if ending in PICTURE_SUFFIXES}
    if not captioned:
        return pictures.__contains__
    captions = {stem for stem, ending in names if ending in CAPTION_SUFFIXES}
    sharing = {split_stem(stem)[0] for stem in pictures - captions}
    if captioned == "own":
        return (pictures | captions | sharing).__contains__
    taken = pictures | captions | sharing
    return lambda stem: stem in taken or split_stem(stem)[0] in taken


def _numbered(stem: str, face: str) -> Iterator[str]:
    """Yield a stem, then with numbers, none of them longer than a name may be."""
    for number in itertools.count(1):
        tail = face if number == 1 else f"-{number}{face}"
        kept = stem.encode("utf-8")[: max(1, MAX_NAME_BYTES - len(tail))].decode("utf-8", "ignore")
        yield (kept.rstrip(" .") if kept != stem else stem) + tail
