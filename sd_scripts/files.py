"""Where files go: atomic writes (a file is there whole or not at all), the nearest folder."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_HIDDEN: Final = re.compile(r"\.(.+)\.[0-9a-f]{12}\.(part|new|old)")
_LONGEST_NAME: Final = 200
_LEFTOVER_AGE_SECONDS: Final = 24 * 3600
_ENDLESS_NAME: Final = re.compile(r"(?:\.[ \t]*[\w\"'-]+[ \t]*){200}")
"""A name of very many parts, which Python's reader takes minutes for."""


def parse_toml(text: str) -> dict[str, Any]:
    """Read TOML that somebody wrote, whatever its line ends.

    Raises `tomllib.TOMLDecodeError`, which tells the line, and other `ValueError` for numbers,
    names and brackets that Python's reader is not made for.
    """
    if _ENDLESS_NAME.search(text):
        raise ValueError("a name of more than 200 parts")
    try:
        return tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    except RecursionError as error:
        raise ValueError("brackets lie too deep in brackets") from error


def nearest_folder(path: Path) -> Path:
    """Return `path` (absolute), or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def sync_folder(folder: Path) -> None:
    """Flush a folder's entry table, so that a rename survives a power cut (POSIX only)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed to `path`, else removed.

    With `durable` the bytes are flushed to the disk before the rename. Raises `OSError` as the
    file system gives it (read-only folder, full disk); `path` then still holds what it held.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name[:60]}.{secrets.token_hex(6)}.part")
    try:
        yield temporary
        if durable:
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
        os.replace(temporary, target)
        if durable:
            sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: str | os.PathLike[str], data: bytes | str, *, durable: bool = True) -> None:
    """Write `data` (text as UTF-8, newlines kept) to `path` in one atomic step."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new, empty folder beside `path`; on success it takes the place of `path`, else goes.

    What was at `path` is there until the new one is whole and flushed. To take its place needs two
    renames; a process that is killed between them leaves the whole new folder under a hidden name,
    where `standing_in` finds it and `put_back` mends it. Raises `OSError` as the file system gives
    it.
    """
    target = Path(path)
    token = secrets.token_hex(6)
    temporary, whole, old = (_hidden(target, token, kind) for kind in ("part", "new", "old"))
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with open(file, "rb+") as written:
                    os.fsync(written.fileno())
        os.replace(temporary, whole)  # its name now says that nothing is missing
        _swap(whole, target, old)
        sync_folder(target.parent)
        _remove_leftovers(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(whole: Path, target: Path, old: Path) -> None:
    """Put a whole folder in the place of `target`; if that fails, all is as before."""
    if not target.exists():
        os.replace(whole, target)
        return
    try:
        os.replace(target, old)
        os.replace(whole, target)
    except OSError:
        if not target.exists():
            os.replace(old, target)
        shutil.rmtree(whole, ignore_errors=True)
        raise


def standing_in(path: Path) -> Path | None:
    """Return the whole folder that was about to become `path`, which is not there, when it ended.

    None if `path` is there or there is no such folder.
    """
    if path.exists() or not path.parent.is_dir():
        return None
    found = [one for one in path.parent.iterdir() if _parsed(one) == (_short(path), "new")]
    return max(found, key=lambda one: one.stat().st_mtime_ns, default=None)


def stands_in(folder: Path) -> bool:
    """Tell whether `folder` is one of those that `standing_in` finds."""
    name, kind = _parsed(folder)
    return kind == "new" and standing_in(folder.with_name(name)) == folder


def put_back(path: Path) -> None:
    """Give a folder its name if a process was killed right before it would have got it."""
    found = standing_in(path)
    if found is not None:
        os.replace(found, path)


def _short(path: Path) -> str:
    """Return a folder's name, or what stands for it where there is no room for more letters."""
    name = os.fsencode(path.name)
    return path.name if len(name) <= _LONGEST_NAME else hashlib.blake2b(name).hexdigest()[:40]


def _hidden(path: Path, token: str, kind: str) -> Path:
    return path.with_name(f".{_short(path)}.{token}.{kind}")


def _parsed(folder: Path) -> tuple[str, str]:
    """Return the name and the kind of a hidden folder; empty texts for any other one."""
    match = _HIDDEN.fullmatch(folder.name)
    return (match[1], match[2]) if match else ("", "")


def _remove_leftovers(target: Path) -> None:
    """Remove what killed processes left of this folder, now that it is whole.

    Another process may just be writing a new one, so what is unfinished must be old.
    """
    long_ago = time.time() - _LEFTOVER_AGE_SECONDS
    for one in list(target.parent.iterdir()):
        name, kind = _parsed(one)
        if name == _short(target) and (kind != "part" or one.stat().st_mtime < long_ago):
            shutil.rmtree(one, ignore_errors=True)


def companion(path: Path, suffix: str) -> Path:
    """Return the path of what is saved beside a file: `cat.safetensors`, `cat_emb.safetensors`."""
    return path.with_name(f"{path.stem}{suffix}{path.suffix}")
