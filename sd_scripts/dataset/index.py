"""What was read of every picture, remembered between runs: a second look costs almost nothing.

An entry belongs to a path, a file size and a modification time; when one of them changes, the
picture is read again. The index is a cache: damaged or unusable, it is made anew or done without,
never an error. Several processes may use it at once.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import platformdirs

from sd_scripts.dataset.pictures import PictureInfo, reachable
from sd_scripts.errors import Problem

Progress = Callable[[int, int], None]
_Result = TypeVar("_Result")

_FILE_NAME: Final = "pictures.sqlite3"
_VERSION: Final = 1  # raise it when `probe` begins to see pictures differently
_TABLES: Final = """
CREATE TABLE pictures (
    folder BLOB NOT NULL, name BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, mode TEXT NOT NULL, format TEXT NOT NULL,
    frames INTEGER NOT NULL, has_alpha INTEGER NOT NULL, reason TEXT, hint TEXT,
    PRIMARY KEY (folder, name)
) WITHOUT ROWID;
CREATE TABLE hashes (
    folder BLOB NOT NULL, name BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (folder, name)
) WITHOUT ROWID;
"""
_HASH_THREADS: Final = 4


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one state of a file from another: size in bytes, modification time in ns."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """The stamp of a file as it is now; raises `OSError`."""
        found = os.stat(reachable(path))
        return cls(found.st_size, found.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Known:
    """What reading a picture gave: either its `info`, or the `reason` it can't be used."""

    info: PictureInfo | None
    reason: str = ""
    hint: str = ""


def cache_folder(chosen: str | None = None) -> Path:
    """The folder of all caches: the option `cache_dir`, else the user's own for this program."""
    return Path(chosen or platformdirs.user_cache_dir("sd_scripts"))


def hash_file(path: Path) -> str:
    """32 hex digits of BLAKE2b over the file's bytes; raises `OSError`."""
    with open(reachable(path), "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


class PictureIndex:
    """The index in `cache_dir`. Every call opens the file anew, so the object may be shared."""

    def __init__(self, cache_dir: Path | None = None) -> None:
        self.path = (cache_dir or cache_folder()) / _FILE_NAME
        self.problem: Problem | None = None

    def lookup(self, folder: Path, wanted: Mapping[str, Stamp]) -> dict[str, Known]:
        """What is known of the files `wanted` (name → stamp) directly in `folder`."""

        def read(db: sqlite3.Connection) -> dict[str, Known]:
            rows = db.execute("SELECT * FROM pictures WHERE folder = ?", (_key(folder),))
            return dict(_still_true(rows, wanted))

        return self._with(read, {})

    def remember(self, folder: Path, found: Mapping[str, tuple[Stamp, Known]]) -> None:
        """Keep what was read of files (by name) directly in `folder`."""
        key = _key(folder)
        rows = [_row(key, name, stamp, known) for name, (stamp, known) in found.items()]

        def write(db: sqlite3.Connection) -> None:
            db.executemany(f"INSERT OR REPLACE INTO pictures VALUES ({', '.join('?' * 12)})", rows)

        self._with(write, None)

    def forget_others(self, folder: Path, present: Iterable[str]) -> None:
        """Drop what is known of files that are no longer in `folder`."""
        key, names = _key(folder), {os.fsencode(name) for name in present}

        def clean(db: sqlite3.Connection) -> None:
            for table in ("pictures", "hashes"):
                rows = db.execute(f"SELECT name FROM {table} WHERE folder = ?", (key,))
                gone = [(key, name) for (name,) in rows if name not in names]
                if gone:
                    db.executemany(f"DELETE FROM {table} WHERE folder = ? AND name = ?", gone)

        self._with(clean, None)

    def content_hashes(
        self, paths: Sequence[Path], progress: Progress | None = None
    ) -> dict[Path, str]:
        """Hashes of many files, computed in parallel and remembered; raises `OSError`."""
        stamps = {path: Stamp.of(path) for path in paths}
        hashes: dict[Path, str] = {}
        hashes = self._with(lambda db: dict(_known_hashes(db, stamps)), hashes)
        missing = [path for path in stamps if path not in hashes]
        fresh: dict[Path, str] = {}
        try:
            with ThreadPoolExecutor(_HASH_THREADS) as pool:
                for path, value in zip(missing, pool.map(hash_file, missing), strict=True):
                    fresh[path] = value
                    if progress:
                        progress(len(hashes) + len(fresh), len(stamps))
        finally:  # what was computed is kept, even when a file is missing or the user stops
            if fresh:
                self._keep_hashes(fresh, stamps)
        return {path: hashes.get(path) or fresh[path] for path in paths}

    def _keep_hashes(self, fresh: Mapping[Path, str], stamps: Mapping[Path, Stamp]) -> None:
        rows = []
        for path, value in fresh.items():
            stamp = stamps[path]
            name = os.fsencode(path.name)
            rows.append((_key(path.parent), name, stamp.size, stamp.mtime_ns, value))
        self._with(
            lambda db: db.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)", rows),
            None,
        )

    def _with(self, action: Callable[[sqlite3.Connection], _Result], otherwise: _Result) -> _Result:
        """Run one transaction; a damaged file is made anew, an unusable one is done without."""
        if self.problem:
            return otherwise
        try:
            try:
                with self._open() as db:
                    return action(db)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._delete()
                with self._open() as db:
                    return action(db)
        except (sqlite3.Error, OSError) as error:
            self.problem = Problem(
                f"the picture index {self.path} can't be used ({error})",
                "cache_dir",
                "choose a cache folder that can be written to; until then every start reads all"
                " pictures again",
                "warning",
            )
            return otherwise

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=20)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            if db.execute("PRAGMA user_version").fetchone() != (_VERSION,):
                _make_tables(db)
            with db:
                yield db

    def _delete(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)


def _make_tables(db: sqlite3.Connection) -> None:
    """Make the tables of this version, unless another process did so meanwhile."""
    db.execute("BEGIN IMMEDIATE")
    with db:
        if db.execute("PRAGMA user_version").fetchone() == (_VERSION,):
            return
        for table in ("pictures", "hashes"):
            db.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {_VERSION}")


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is wrong, rather than locked, read-only or on a full disk."""
    if isinstance(error, sqlite3.OperationalError):
        return str(error).startswith("no such") or "column" in str(error)
    return True


def _key(folder: Path) -> bytes:
    return os.fsencode(os.path.abspath(folder))


def _row(folder: bytes, name: str, stamp: Stamp, known: Known) -> tuple[object, ...]:
    info = known.info or PictureInfo((0, 0), "", "", 0, False)
    return (
        folder,
        os.fsencode(name),
        stamp.size,
        stamp.mtime_ns,
        *info.size,
        info.mode,
        info.format,
        info.frames,
        int(info.has_alpha),
        None if known.info else known.reason,
        None if known.info else known.hint,
    )


def _still_true(
    rows: Iterable[tuple[object, ...]], wanted: Mapping[str, Stamp]
) -> Iterator[tuple[str, Known]]:
    for row in rows:
        _, raw_name, size, mtime_ns, width, height, mode, kind, frames, alpha, reason, hint = row
        assert isinstance(raw_name, bytes)
        name = os.fsdecode(raw_name)
        stamp = wanted.get(name)
        if stamp is None or (stamp.size, stamp.mtime_ns) != (size, mtime_ns):
            continue
        if reason is not None:
            yield name, Known(None, str(reason), str(hint))
            continue
        assert isinstance(width, int)
        assert isinstance(height, int)
        assert isinstance(frames, int)
        yield name, Known(PictureInfo((width, height), str(mode), str(kind), frames, bool(alpha)))


def _known_hashes(
    db: sqlite3.Connection, stamps: Mapping[Path, Stamp]
) -> Iterator[tuple[Path, str]]:
    by_folder: dict[Path, dict[bytes, Path]] = {}
    for path in stamps:
        by_folder.setdefault(path.parent, {})[os.fsencode(path.name)] = path
    for folder, wanted in by_folder.items():
        rows = db.execute(
            "SELECT name, size, mtime_ns, hash FROM hashes WHERE folder = ?", (_key(folder),)
        )
        for name, size, mtime_ns, value in rows:
            if name in wanted and stamps[wanted[name]] == Stamp(size, mtime_ns):
                yield wanted[name], str(value)
