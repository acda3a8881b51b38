"""The checkout's .venv: where it is, what it should hold, whether it is whole, and its stamp.

The stamp says at first what is wanted, and at the very end that it is there (lock, Python,
extras, torch build) and where: a start that finds it finished and fitting touches nothing.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.setup.console import SetupError, ask, clean_environment, say

STAMP_FORMAT = 1
EXTRAS = ("8bit", "xformers", "trackers", "optimizers", "keyring", "test")
IMPLIED = {"test": ("8bit", "trackers", "optimizers", "keyring")}


@dataclass(frozen=True)
class Stamp:
    """What set-up was to bring, and whether it has; an unfinished one was interrupted."""

    finished: bool
    lock: str
    python: str
    extras: tuple[str, ...]
    torch_build: str  # the build that was wanted
    torch_version: str  # the version that pip installed
    place: str
    format: int = STAMP_FORMAT


@dataclass(frozen=True)
class Checkout:
    """A checkout of the project and the paths that set-up uses in it."""

    root: Path

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return venv_python(self.venv)

    @property
    def stamp_file(self) -> Path:
        return self.venv / "kohya_setup.json"

    @property
    def log_file(self) -> Path:
        return self.root / ".setup" / "install.log"

    def lock_file(self, part: str) -> Path:
        return self.root / "tools" / "setup" / "locked" / f"{part}.txt"

    def lock_files(self, extras: tuple[str, ...]) -> list[Path]:
        """Return the lock files of the base set and these extras, in order, each once."""
        return [self.lock_file(part) for part in ("base", *with_implied(extras))]

    def torch_version(self) -> str:
        """Return the pinned version of PyTorch, such as 2.13.0."""
        found = re.search(r"^torch==(\S+)", _read(self.lock_file("torch")), re.MULTILINE)
        if not found:
            raise SetupError(
                "tools/setup/locked/torch.txt names no version.",
                "Get the file back from the source.",
            )
        return found.group(1)

    def lock_hash(self, extras: tuple[str, ...]) -> str:
        """Return one hash of everything that these extras pin."""
        digest = hashlib.sha256()
        for file in [*self.lock_files(extras), self.lock_file("torch")]:
            digest.update(_read(file).encode("utf-8"))
        return digest.hexdigest()


def venv_python(venv: Path) -> Path:
    """Return the interpreter of a venv on this system."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{file} cannot be read: {error}", "Get the checkout anew.") from error


def with_implied(extras: tuple[str, ...]) -> tuple[str, ...]:
    """Return the extras with what they bring along, in the order of `EXTRAS`."""
    wanted = set(extras)
    for extra in extras:
        wanted |= set(IMPLIED.get(extra, ()))
    return tuple(extra for extra in EXTRAS if extra in wanted)


def read_stamp(checkout: Checkout) -> Stamp | None:
    """Return the stamp of the last set-up; None where there is none that we understand."""
    try:
        raw = json.loads(checkout.stamp_file.read_text(encoding="utf-8"))
        stamp = Stamp(**{**raw, "extras": tuple(raw["extras"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None  # absent, half written or of another format: set-up runs again
    return stamp if stamp.format == STAMP_FORMAT else None


def write_stamp(checkout: Checkout, stamp: Stamp) -> None:
    """Write the stamp in one step."""
    part = checkout.stamp_file.with_suffix(".part")
    part.write_text(json.dumps(asdict(stamp), indent=2) + "\n", encoding="utf-8")
    os.replace(part, checkout.stamp_file)


def why_not_ready(checkout: Checkout, extras: tuple[str, ...], wanted: str | None) -> str | None:
    """Return why set-up has to run, in words, or None when the venv can be used as it is.

    `extras` are those asked for now, `wanted` the torch build asked for by name, if any.
    """
    if not checkout.venv.exists():
        return "first start"
    stamp = read_stamp(checkout)
    if stamp is None or not stamp.finished:
        return "an earlier set-up did not finish"
    if not checkout.python.exists():
        return "the Python that .venv was made with is gone"
    if stamp.place != os.fspath(checkout.venv):
        return f"the checkout was moved or copied from {Path(stamp.place).parent}"
    if missing := [extra for extra in with_implied(extras) if extra not in stamp.extras]:
        return f"to add: {', '.join(missing)}"
    if stamp.lock != checkout.lock_hash(stamp.extras):
        return "the pinned packages changed"
    if wanted and wanted not in ("auto", stamp.torch_build):
        return f"PyTorch is to change from {stamp.torch_build} to {wanted}"
    return None


def pip_works(checkout: Checkout) -> bool:
    """Say whether the venv's Python starts and has a whole pip."""
    command = [os.fspath(checkout.python), "-m", "pip", "--version"]
    return ask(command, timeout=120, env=clean_environment()).ok


def make_venv(checkout: Checkout) -> None:
    """Make an empty .venv with this Python; raises `SetupError` with the remedy when it can't."""
    if ask([sys.executable, "-c", "import venv, ensurepip"]).code != 0:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise SetupError(
            "this Python lacks its parts venv and ensurepip, so it cannot make .venv.",
            f"On Debian and Ubuntu: sudo apt install python3-venv (or python{version}-venv). "
            "Elsewhere install Python from python.org.",
        )
    made = ask([sys.executable, "-m", "venv", os.fspath(checkout.venv)], 300, clean_environment())
    if not made.ok:
        lines = (made.stderr or made.stdout).strip().splitlines() or ["no message"]
        raise SetupError(
            f"the folder {checkout.venv} could not be made: {lines[-1]}",
            "Check that the folder may be written and that the disk has room, then start again.",
        )


def remove_venv(venv: Path) -> None:
    """Delete a venv; raises `SetupError` when a file in it is in use (Windows) or protected."""
    try:
        shutil.rmtree(venv)
    except OSError as error:
        raise SetupError(
            f"the old {venv} could not be removed: {error}",
            "Close every program that was started from it, delete the folder, start again.",
        ) from error


def site_packages(venv: Path) -> Path:
    """Return the folder that packages are installed to."""
    if os.name == "nt":
        return venv / "Lib" / "site-packages"
    (folder,) = list((venv / "lib").glob("python3*/site-packages"))
    return folder


def put_on_path(checkout: Checkout) -> None:
    """Make the project importable from any folder, by a path that holds no letters of its own.

    A .pth file is read in the system's encoding on some Pythons; a relative line of dots is safe
    with every checkout path and stays right when the checkout moves.
    """
    folder = site_packages(checkout.venv)
    ups = "/".join([".."] * len(folder.relative_to(checkout.root).parts))
    (folder / "kohya_checkout.pth").write_text(ups + "\n", encoding="ascii")


def drop_damaged(checkout: Checkout) -> list[str]:
    """Forget packages that an interrupted install left half done; return their names.

    A package is whole when every file in its RECORD has the recorded hash. The others lose their
    dist-info, so that pip installs them again over what is there.
    """
    folder = site_packages(checkout.venv)
    dropped = []
    for info in sorted(folder.glob("*.dist-info")):
        if not _is_whole(folder, info):
            shutil.rmtree(info)
            dropped.append(info.name.partition("-")[0])
    for leftover in folder.glob("~*"):  # pip's own name for what it was about to remove
        shutil.rmtree(leftover, ignore_errors=True)
    return dropped


def _is_whole(folder: Path, info: Path) -> bool:
    try:
        with open(info / "RECORD", encoding="utf-8", newline="") as record:
            rows = [row for row in csv.reader(record) if len(row) == 3 and row[1]]
    except OSError:
        return False
    return bool(rows) and all(_matches(folder / row[0], row[1]) for row in rows)


def _matches(file: Path, recorded: str) -> bool:
    method, _, wanted = recorded.partition("=")
    try:
        with open(file, "rb") as stream:
            digest = hashlib.file_digest(stream, method).digest()
    except (OSError, ValueError):
        return False
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii") == wanted


@contextmanager
def only_one(checkout: Checkout) -> Iterator[None]:
    """Hold the checkout's set-up lock; a second set-up waits. The system frees it when we die."""
    file = checkout.root / ".setup" / "lock"
    try:
        file.parent.mkdir(exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SetupError(
            f"this folder cannot be written: {error}",
            "Put the project into a folder of your own, or give yourself the right to write here.",
        ) from error
    try:
        if not _try_lock(handle):
            say("Another set-up of this folder is running; waiting for it to finish …")
            _wait_lock(handle)
        yield
    finally:
        with suppress(OSError):
            os.close(handle)


if os.name == "nt":
    import msvcrt
    import time

    def _try_lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True

    def _wait_lock(handle: int) -> None:
        while not _try_lock(handle):
            time.sleep(1)
else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _wait_lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX)
