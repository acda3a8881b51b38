"""Finds a browser for the tests, or brings one: installed, else Playwright's own, else Debian's."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable
from pathlib import Path

from tools.setup.console import SetupError, ask, clean_environment, run, say

BROWSER_VARIABLE = "KOHYA_TEST_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
INSTALL_SECONDS = 600


def usual_places(system: str) -> list[Path]:
    """Return where Chromium and Chrome install themselves on this system."""
    if system == "Darwin":
        apps = (Path("/Applications"), Path.home() / "Applications")
        names = ("Google Chrome", "Chromium")
        return [a / f"{name}.app" / "Contents" / "MacOS" / name for a in apps for name in names]
    if system == "Windows":
        folders = ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")
        roots = [Path(os.environ[name]) for name in folders if name in os.environ]
        inner = (Path("Google", "Chrome"), Path("Chromium"))
        return [root / name / "Application" / "chrome.exe" for root in roots for name in inner]
    return [Path("/usr/lib/chromium/chromium"), Path("/opt/google/chrome/chrome")]


def works(program: str | os.PathLike[str]) -> bool:
    """Say whether the program is a browser that starts (a snap's stub, for one, may not).

    Chrome on Windows opens a window for --version, so there the file has to do.
    """
    if platform.system() == "Windows":
        return os.path.isfile(program)
    return ask([os.fspath(program), "--version"], timeout=30).ok


def find_browser(python: Path | None = None) -> str | None:
    """Return a browser's path: the one named in KOHYA_TEST_BROWSER, an installed one, Playwright's.

    `python` is the interpreter that has Playwright, if there is one.
    """
    named = os.environ.get(BROWSER_VARIABLE)
    if named:
        return named if works(named) else None
    for candidate in _installed():
        if works(candidate):
            return candidate
    return _of_playwright(python) if python is not None else None


def _installed() -> Iterable[str]:
    for name in NAMES:
        if found := shutil.which(name):
            yield found
    for place in usual_places(platform.system()):
        if place.exists():
            yield os.fspath(place)


def _of_playwright(python: Path) -> str | None:
    code = (
        "from playwright.sync_api import sync_playwright as start\n"
        "with start() as p: print(p.chromium.executable_path)"
    )
    answer = ask([os.fspath(python), "-c", code], timeout=60, env=clean_environment())
    path = answer.stdout.strip()
    return path if answer.ok and os.path.isfile(path) else None


def ensure_browser(python: Path) -> str:
    """Return a browser's path, installing one if need be; raises `SetupError` when none comes."""
    if found := find_browser(python):
        return found
    if named := os.environ.get(BROWSER_VARIABLE):
        raise SetupError(f"{named} is no browser that starts.", f"Correct {BROWSER_VARIABLE}.")
    say("No browser for the tests was found; Playwright is asked for its own …")
    env = clean_environment(PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT="20000")
    fetched = ask(
        [os.fspath(python), "-m", "playwright", "install", "chromium"], INSTALL_SECONDS, env
    )
    if fetched.ok and (found := find_browser(python)):
        return found
    if may_use_apt():
        say("Playwright's browser did not come; Debian's chromium is installed …")
        quiet = clean_environment(DEBIAN_FRONTEND="noninteractive")
        run(["apt-get", "update", "-qq"], quiet)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], quiet)
        if found := find_browser(python):
            return found
    raise SetupError(
        "there is no browser for the tests of the pages.",
        "Install Chromium or Chrome (Debian: sudo apt install chromium), or name one: "
        f"{BROWSER_VARIABLE}=/path/to/chromium",
    )


def may_use_apt() -> bool:
    """Say whether Debian packages can be installed by this user."""
    geteuid = getattr(os, "geteuid", None)
    return geteuid is not None and geteuid() == 0 and shutil.which("apt-get") is not None
