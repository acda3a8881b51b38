"""The words of setup.sh and setup.bat: open the GUI, install, demo, test, doctor."""

from __future__ import annotations

import argparse
import difflib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.setup import doctor
from tools.setup import environment as env
from tools.setup.browser import BROWSER_VARIABLE, ensure_browser
from tools.setup.console import (
    EXIT_OK,
    EXIT_USER,
    SetupError,
    clean_environment,
    complain,
    say,
    speak_utf8,
)
from tools.setup.environment import EXTRAS, Checkout
from tools.setup.install import Wishes, ensure_ready
from tools.setup.torch_builds import BUILDS

WORDS = ("gui", "install", "demo", "test", "doctor", "help")
HELP = """\
{starter}                 set up if needed, then open the page in the browser
{starter} install         only set up
{starter} demo            set up, then train a small LoRA as a trial
{starter} test            set up with the test tools, then run every test
{starter} doctor          say what is installed and what to mend (--json for programs)

For each of them:
  --torch BUILD      {builds} or auto (also: KOHYA_TORCH)
  --extras A,B       {extras}

Everything else goes on to the page ({starter} --help lists this; python -m kohya_gui --help
its flags), to the demo, or to pytest."""


def parse(argv: Sequence[str]) -> tuple[str, Wishes, list[str]]:
    """Split the command line into the word, what set-up itself is asked for, and the rest.

    Raises `SetupError` for an unknown word, extra or missing value.
    """
    rest = list(argv)
    word = "gui"
    if rest and rest[0] in ("-h", "--help"):
        return "help", Wishes(), []
    if rest and not rest[0].startswith("-"):
        word = rest.pop(0)
        if word not in WORDS:
            near = difflib.get_close_matches(word, WORDS, 1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise SetupError(f"'{word}' is no word of set-up.", f"{hint}Words: {', '.join(WORDS)}.")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--torch", default=os.environ.get("KOHYA_TORCH") or None)
    parser.add_argument("--extras", default="")
    try:
        known, rest = parser.parse_known_args(rest)
    except argparse.ArgumentError as error:
        raise SetupError(str(error), f"See {doctor.starter()} --help.") from error
    extras = tuple(name.strip() for name in known.extras.split(",") if name.strip())
    for extra in extras:
        if extra not in EXTRAS:
            near = difflib.get_close_matches(extra, EXTRAS, 1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise SetupError(f"'{extra}' is no extra.", f"{hint}Extras: {', '.join(EXTRAS)}.")
    if rest[:1] == ["--"]:
        rest = rest[1:]
    return word, Wishes(extras, known.torch), rest


def main(argv: Sequence[str], root: Path) -> int:
    """Do what the words say; return the exit code (2: something the user can mend)."""
    speak_utf8()
    checkout = Checkout(root)
    try:
        word, wishes, rest = parse(argv)
        return _do(word, checkout, wishes, rest)
    except SetupError as error:
        complain(error)
        return EXIT_USER
    except KeyboardInterrupt:
        say("\nStopped. Start again to go on from here.")
        return 130


def _do(word: str, checkout: Checkout, wishes: Wishes, rest: list[str]) -> int:
    if word == "help":
        starter, builds, extras = doctor.starter(), ", ".join(BUILDS), ", ".join(EXTRAS)
        say(HELP.format(starter=starter, builds=builds, extras=extras))
        return EXIT_OK
    if word == "doctor":
        return doctor.main(checkout, as_json="--json" in rest)
    if word == "install":
        ensure_ready(checkout, wishes)
        return EXIT_OK
    if word == "test":
        return _test(checkout, wishes, rest)
    _ready_or_moved(checkout, wishes)
    if word == "demo":
        return hand_over(checkout, [os.fspath(checkout.root / "tools" / "demo.py"), *rest])
    # -P: the caller's folder may hold another program's package of the same name.
    shown = ["--inbrowser"] if has_screen(os.environ, rest) else []
    return hand_over(checkout, ["-P", "-m", "kohya_gui", *shown, *rest])


def has_screen(environment: Mapping[str, str], flags: Sequence[str]) -> bool:
    """Say whether the page may be opened in a browser here: a screen, and nobody said otherwise."""
    if {"--headless", "--inbrowser"} & set(flags):
        return False
    if platform.system() in ("Windows", "Darwin"):
        return "SSH_CONNECTION" not in environment
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def _ready_or_moved(checkout: Checkout, wishes: Wishes) -> None:
    """Set up; a moved checkout whose new .venv could not be made goes on with its old one."""
    try:
        ensure_ready(checkout, wishes)
    except SetupError as error:
        stamp = env.read_stamp(checkout)
        if stamp is None or not stamp.finished or wishes.torch:
            raise
        if stamp.lock != checkout.lock_hash(stamp.extras):
            raise
        if set(wishes.extras) - set(stamp.extras) or not env.pip_works(checkout):
            raise
        complain(error)
        say("The .venv from before the move still works, so it is used for now.")


def _test(checkout: Checkout, wishes: Wishes, rest: list[str]) -> int:
    """Set up with the test tools and a browser, then run the one gate with every test."""
    ensure_ready(checkout, Wishes((*wishes.extras, "test"), wishes.torch))
    browser = ensure_browser(checkout.python)
    say(f"Browser for the tests: {browser}")
    os.environ[BROWSER_VARIABLE] = browser
    return hand_over(checkout, [os.fspath(checkout.root / "tools" / "check"), *rest])


def hand_over(checkout: Checkout, arguments: Sequence[str]) -> int:
    """Become the venv's Python with these arguments; on Windows run it and wait."""
    env_of_child = clean_environment()
    command = [os.fspath(checkout.python), *arguments]
    sys.stdout.flush()
    if os.name == "posix":
        os.execve(command[0], command, env_of_child)
    process = subprocess.Popen(command, env=env_of_child)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the child got it, too, and ends in its own way
