"""The command line of a job: options over a config file, every mistake told at once."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from sd_scripts.errors import Problem, UserError, errors_among
from sd_scripts.options.coerce import read_bool
from sd_scripts.options.explain import nearest, shown
from sd_scripts.options.help_text import OWN_FLAGS, help_text
from sd_scripts.options.jobs import Job
from sd_scripts.options.later import LATER
from sd_scripts.options.old_names import old_names
from sd_scripts.options.schema import OptionSpec, option_specs, specs_by_name
from sd_scripts.options.toml_file import in_file, read_toml
from sd_scripts.options.values import check_values, job_from_values, merge_values, values_of

SomeJob = TypeVar("SomeJob", bound=Job)
_SWITCHES = frozenset(name for name, (value, _) in OWN_FLAGS.items() if not value)
_UNSET_WORDS = frozenset({"none", "auto"})


@dataclass(frozen=True)
class Launch(Generic[SomeJob]):
    """A command line that was understood: the job, and what to do with it."""

    job: SomeJob
    config_file: Path | None
    run_dir: Path | None
    check_only: bool
    print_config: bool
    warnings: tuple[Problem, ...] = ()


class _Arguments:
    """Arguments sorted into options of the job, flags of the command, and mistakes."""

    def __init__(self, job_type: type[Job], argv: Sequence[str]) -> None:
        self.options: dict[str, object] = {}
        self.own: dict[str, str] = {}
        self.problems: list[Problem] = []
        self._specs = specs_by_name(job_type)
        self._old = {old: spec for spec in self._specs.values() for old in spec.old_names}
        self._known = {*self._specs, *OWN_FLAGS, *LATER, *old_names(self._specs)}
        self._positional = job_type.positional
        self._left = list(argv)
        while self._left:
            self._take(self._left.pop(0))

    def _take(self, word: str) -> None:
        if word in ("-h", "-help"):
            word = "--help"
        if not word.startswith("--"):
            if self._positional and self._positional not in self.options:
                self.options[self._positional] = word
                return
            self._complain(f"{shown(word)} stands alone", None, "options begin with --")
            return
        name, equals, text = word[2:].partition("=")
        given = text if equals else None
        if name in OWN_FLAGS:
            self._own_flag(name, given)
        elif (spec := self._specs.get(name) or self._old.get(name)) is not None:
            self.options[name] = self._value(spec, name, given)
        else:
            self._foreign(name, given)

    def _complain(self, message: str, option: str | None, hint: str | None = None) -> None:
        self.problems.append(Problem(message, option, hint))

    def _values_ahead(self) -> list[str]:
        taken: list[str] = []
        while self._left and not self._left[0].startswith("--"):
            taken.append(self._left.pop(0))
        return taken

    def _one_value(self, name: str, given: str | None) -> str | None:
        if given is not None:
            return given
        if self._left and not self._left[0].startswith("--"):
            return self._left.pop(0)
        self._complain("a value is missing", name, f"write --{name} VALUE")
        return None

    def _switch(self, given: str | None) -> str | bool:
        if given is not None:
            return given
        ahead = self._left and not self._left[0].startswith("--")
        # After a switch there may stand what needs no name.
        if ahead and self._positional and read_bool(self._left[0]) is None:
            return True
        return self._left.pop(0) if ahead else True

    def _own_flag(self, name: str, given: str | None) -> None:
        if name not in _SWITCHES:
            self.own[name] = self._one_value(name, given) or ""
            return
        value = self._switch(given)
        read = read_bool(value)
        if read is None:
            self._complain(f"{shown(value)} is neither true nor false", name, f"write --{name}")
        elif read:
            self.own[name] = "true"
        else:
            self.own.pop(name, None)

    def _value(self, spec: OptionSpec, name: str, given: str | None) -> object:
        if spec.is_list:
            return [given] if given else [] if given == "" else self._values_ahead()
        if spec.kind == "bool":
            value: object = self._switch(given)
        else:
            value = self._one_value(name, given)
        unset = isinstance(value, str) and value.lower() in _UNSET_WORDS
        return None if unset and spec.optional and spec.kind != "text" else value

    def _foreign(self, name: str, given: str | None) -> None:
        """Keep an option that is not ours for the words that `values` finds for it."""
        values = [given] if given is not None else self._values_ahead()
        if name not in self._known and (found := nearest(name, self._known)):
            self._complain(
                "there is no such option",
                name,
                f"did you mean {' or '.join(f'--{near}' for near in found)}?",
            )
        else:
            self.options[name] = True if not values else values[0] if len(values) == 1 else values


def config_path(text: str) -> Path:
    """The config file meant by a text; `.toml` is added if missing, as in sd-scripts."""
    path = Path(text)
    if path.suffix.lower() == ".toml":
        return path
    longer = path.with_name(f"{path.name}.toml")
    return path if path.is_file() and not longer.is_file() else longer


def read_config(path: Path) -> dict[str, object]:
    """Flat values of a config file. Raises `UserError` if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(
            f"there is no file {path}", option="config_file", hint="check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text", option="config_file", hint="save it as UTF-8"
        ) from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}", option="config_file", hint="check the path"
        ) from error
    return read_toml(text, source=path.name)


def _config_values(text: str | None, problems: list[Problem]) -> Mapping[str, object] | None:
    if text is None:
        return {}
    try:
        return read_config(config_path(text))
    except UserError as error:
        problems += error.problems
        return None


def parse_command_line(job_type: type[SomeJob], argv: Sequence[str], prog: str) -> Launch[SomeJob]:
    """Read a command line (without the program's name).

    `--help` prints the help and raises `SystemExit(0)`. Raises `UserError` with every problem of
    the arguments, the config file and the job.
    """
    arguments = _Arguments(job_type, argv)
    if "help" in arguments.own:
        sys.stdout.write(help_text(job_type, prog))
        raise SystemExit(0)
    problems = arguments.problems
    below = _config_values(arguments.own.get("config_file"), problems)
    if below is None:
        raise UserError.of(problems)
    try:
        values = merge_values(job_type, below, arguments.options)
    except UserError as error:
        raise UserError.of([*problems, *error.problems]) from error
    problems += check_values(job_type, values)
    if errors := errors_among(problems):
        raise UserError.of(errors)
    config, run_dir = arguments.own.get("config_file"), arguments.own.get("run_dir")
    return Launch(
        job=job_from_values(job_type, values),
        config_file=None if config is None else config_path(config),
        run_dir=Path(run_dir) if run_dir else None,
        check_only="check_only" in arguments.own,
        print_config="print_config" in arguments.own,
        warnings=tuple(problems),
    )


def _words(spec: OptionSpec, value: object) -> list[str]:
    flag = f"--{spec.name}"
    if value is True:
        return [flag]
    if value is False:
        return [f"{flag}=false"]
    if spec.is_list and isinstance(value, tuple):
        return [flag, *(str(item) for item in value)]
    text = str(in_file(spec, value))
    return [f"{flag}={text}"] if text.startswith("-") or not text else [flag, text]


def job_to_argv(job: Job) -> list[str]:
    """The arguments that give the same job again: every option unlike its default."""
    values = values_of(job, only_changed=True)
    specs = option_specs(type(job))
    return [
        word for spec in specs if spec.name in values for word in _words(spec, values[spec.name])
    ]
