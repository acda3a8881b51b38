"""The words of the command line after `python -m kohya_gui`, and what goes with each."""

from __future__ import annotations

import argparse
from typing import Final, TypeAlias

from kohya_gui.arguments import WORKSPACE_VARIABLE
from kohya_gui.jobs.submitting import job_names

_EXIT_CODES: Final = (
    "Exit codes: 0 done, 2 something you can mend (told in words), 1 a fault of this program. "
    "`follow` ends with the code of the run."
)


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m kohya_gui",
        description="Look at runs and the queue, and hand in jobs, without the page.",
        epilog=_EXIT_CODES,
        allow_abbrev=False,
    )
    words = parser.add_subparsers(dest="word", required=True, metavar="COMMAND")
    _add_runs(words)
    _add_submit(words)
    _add_queue(words)
    _add_follow(words)
    _add_secret(words)
    for word, about in {
        "show": "tell how a run stands",
        "stop": "ask a run to save and end; --now ends it at once, without saving",
        "save": "ask a run for a trained file after this step",
        "sample": "ask a run for preview pictures after this step",
        "pause": "let a run wait after this step, keeping its memory",
        "continue": "let a paused run go on",
    }.items():
        one = _command(words, word, about)
        _add_run(one)
        if word == "stop":
            one.add_argument("--now", action="store_true", help="end it at once, without saving")
    return parser


_Words: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _command(words: _Words, word: str, about: str) -> argparse.ArgumentParser:
    parser = words.add_parser(
        word, help=about, description=f"{about.capitalize()}.", epilog=_EXIT_CODES
    )
    parser.add_argument(
        "--workspace",
        metavar="FOLDER",
        help=f"the GUI's folder (or the variable {WORKSPACE_VARIABLE})",
    )
    parser.add_argument("--json", action="store_true", help="answer in JSON, for programs")
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run",
        nargs="?",
        default="last",
        help="the run's id, its beginning, its name, or `last` (the default): the newest one",
    )


def _add_runs(words: _Words) -> None:
    parser = _command(words, "runs", "list the runs, newest first")
    parser.add_argument("--active", action="store_true", help="only those at work")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="so many (20)")


def _add_submit(words: _Words) -> None:
    parser = _command(words, "submit", "hand in a job as a TOML file")
    parser.add_argument(
        "file", help="the job; relative paths in it are meant from here. - reads it"
    )
    parser.add_argument("--job", default="train_network", choices=job_names(), help="which trainer")
    parser.add_argument("--name", default="", help="what the run is called")
    parser.add_argument(
        "--device",
        default="",
        metavar="CARD",
        help="where there are several graphics cards: the one to use, as cuda:1 (the first free)",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--start", action="store_true", help="start it now, or refuse")
    way.add_argument("--check", action="store_true", help="only tell what is wrong with it")
    parser.add_argument("--follow", action="store_true", help="show its log when it was started")


def _add_queue(words: _Words) -> None:
    parser = _command(words, "queue", "list the jobs that wait, and change their order")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--remove", metavar="ID", help="take a job off the list")
    way.add_argument("--retry", metavar="ID", help="let a job that could not be started try again")
    way.add_argument("--first", metavar="ID", help="let a job be the next")
    way.add_argument("--pause", action="store_true", help="start no waiting job by itself")
    way.add_argument("--continue", dest="go_on", action="store_true", help="move on again")
    way.add_argument(
        "--work",
        action="store_true",
        help="move the queue on, as an open GUI does, until Ctrl-C (or --until_empty)",
    )
    parser.add_argument(
        "--until_empty", action="store_true", help="with --work: end when nothing waits or runs"
    )


def _add_secret(words: _Words) -> None:
    parser = _command(words, "secret", "tell where secrets come from, keep them in the keyring")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--keep", metavar="NAME", help="put a secret into the system's keyring: asks")
    way.add_argument("--forget", metavar="NAME", help="take a secret out of the keyring")


def _add_follow(words: _Words) -> None:
    parser = _command(words, "follow", "show a run's log until it ends; Ctrl-C leaves it alone")
    _add_run(parser)
