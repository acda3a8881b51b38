"""Where files go: atomic writes (a file is there whole or not at all), the nearest folder."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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

    What was at `path` is there until the new one is whole and flushed. Raises `OSError` as the
    file system gives it.
    """
    target = Path(path)
    mark = secrets.token_hex(6)
    temporary = target.with_name(f".{target.name[:60]}.{mark}.part")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with open(file, "rb+") as written:
                    os.fsync(written.fileno())
        old = target.with_name(f".{target.name[:60]}.{mark}.old")
        if target.exists():
            os.replace(target, old)
        os.replace(temporary, target)
        sync_folder(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def companion(path: Path, suffix: str) -> Path:
    """Return the path of what is saved beside a file: `cat.safetensors`, `cat_emb.safetensors`."""
    return path.with_name(f"{path.stem}{suffix}{path.suffix}")
