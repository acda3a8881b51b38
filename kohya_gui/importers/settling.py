"""From options of sd-scripts, in whatever type they were saved, to the values of one of our jobs.

Which options a job has is asked of the schema each time: what is not there (yet) is told in words,
and taken over as soon as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kohya_gui.importers.report import Fate, Sorting
from sd_scripts.errors import Problem, errors_among
from sd_scripts.options.coerce import coerce, is_empty
from sd_scripts.options.explain import shown
from sd_scripts.options.jobs import Job
from sd_scripts.options.network_table import NETWORKS
from sd_scripts.options.optimizer_table import OPTIMIZER_ALIASES
from sd_scripts.options.schema import OptionSpec, specs_by_name
from sd_scripts.options.toml_file import in_file
from sd_scripts.options.types import UnfitError, clean_pairs
from sd_scripts.options.values import check_values, job_from_values, unknown_option
from sd_scripts.options.words import value_words

NETWORK_ARGS = "network_args"
_NUMBER_KINDS = ("int", "float", "steps", "numbers")
_OPTIMIZER_FLAGS = {"use_8bit_adam": "AdamW8bit", "use_lion_optimizer": "Lion"}


@dataclass(frozen=True)
class Entry:
    """One value on its way: the key it came under and the option of sd-scripts it is for.

    `argument` names an item of `network_args` instead of an option of its own. `note` tells what
    changes in meaning; without one the value is taken over as it is. `zero_counts`: 0 is meant,
    although the program that saved the value drops zeros elsewhere.
    """

    key: str
    option: str
    value: object
    note: str = ""
    argument: bool = False
    zero_counts: bool = False


def said(value: object) -> object | None:
    """A saved value without blanks around it; None if it says nothing."""
    if isinstance(value, str):
        text = value.strip()
        return None if text.lower() in ("", "none", "null") else text
    return None if is_empty(value) else value


def as_number(value: object) -> object:
    """A number that was saved as text or as yes/no; what is none stays as it is."""
    if value is False:
        return 0
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return 0 if str(value).strip().lower() == "false" else value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value


def fitting(spec: OptionSpec, value: object) -> object | None:
    """A saved value in the type that an option reads; None if it says nothing."""
    if spec.kind in _NUMBER_KINDS:
        return as_number(value)
    if isinstance(value, float):
        value = as_number(value)
    if spec.kind == "bool":
        return value
    if value is False or (isinstance(value, str) and value.lower() == "false"):
        return None
    if spec.kind in ("text", "choice"):
        if value == 0 and not isinstance(value, bool):
            return None
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if spec.kind == "key_values" and isinstance(value, str):
        return value.replace('"', "").strip() or None
    return None if value == 0 else value


class Settling:
    """Collects the values of a job. `zeros_dropped`: zeros were lost on their way to sd-scripts."""

    def __init__(self, job_type: type[Job], sorting: Sorting, *, zeros_dropped: bool) -> None:
        self.values: dict[str, object] = {}
        self._owners: dict[str, list[str]] = {}
        self._job_type = job_type
        self._specs = specs_by_name(job_type)
        self._old = {old: spec.name for spec in self._specs.values() for old in spec.old_names}
        self._sorting = sorting
        self._zeros_dropped = zeros_dropped

    def has(self, option: str) -> bool:
        """Whether the job has an option of this name."""
        return option in self._specs

    def take(self, entries: Iterable[Entry]) -> None:
        """Take values over, later ones in place of earlier ones of the same option."""
        entries = list(entries)
        context = {entry.option: entry.value for entry in entries if not entry.argument}
        for entry in entries:
            if entry.argument:
                self._take_argument(entry)
            else:
                self._take_option(entry, context)

    def _take_option(self, entry: Entry, context: Mapping[str, object]) -> None:
        name = self._old.get(entry.option, entry.option)
        value = said(entry.value)
        if name in _OPTIMIZER_FLAGS and self.has("optimizer_type"):
            if value in (None, False, 0, "False", "false"):
                self._put(entry, "mapped", "off")
                return
            name, value = "optimizer_type", _OPTIMIZER_FLAGS[name]
        spec = self._specs.get(name)
        if spec is None:
            self._foreign(entry, name, {**context, name: value})
        elif value is None or (value := fitting(spec, value)) is None:
            self._put(entry, "mapped", "empty: the default stays")
        elif self._zero_is_lost(entry, value) and spec.kind in _NUMBER_KINDS:
            self._lost_zero(entry, spec)
        else:
            self._keep(entry, spec, value)

    def _zero_is_lost(self, entry: Entry, value: object) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return self._zeros_dropped and not entry.zero_counts and number and value == 0

    def _lost_zero(self, entry: Entry, spec: OptionSpec) -> None:
        rate_of_its_own = spec.default is None and spec.name.startswith("learning_rate")
        impossible = spec.minimum is not None and spec.minimum > 0
        if impossible or (spec.default in (None, 0) and not rate_of_its_own):
            self._put(entry, "mapped", "0: off, or the default")
            return
        trained = "learning_rate" if rate_of_its_own else value_words(spec.default)
        self._put(
            entry,
            "changed",
            f"kohya_ss drops every 0, so {trained} was trained with; the same here "
            f"(set {spec.name} to 0 if you mean 0)",
        )

    def _keep(self, entry: Entry, spec: OptionSpec, value: object) -> None:
        if spec.name == "optimizer_type" and isinstance(value, str):
            value = OPTIMIZER_ALIASES.get(value.lower(), value)
        try:
            read = coerce(spec, value)
        except UnfitError as unfit:
            self._put(entry, "ignored", _sentence(unfit.message, unfit.hint))
            if spec.name not in ("log_with",):
                self._own(entry, spec.name, value)
            return
        if is_empty(read):
            self._put(entry, "mapped", "off")
            return
        self._own(entry, spec.name, read)
        words = "as by default" if read == spec.default else shown(in_file(spec, read))
        if spec.name != entry.key:
            words = f"{spec.name}: {words}" if read == spec.default else f"{spec.name} = {words}"
        if entry.note:
            self._put(entry, "changed", f"{words}; {entry.note}")
        else:
            self._put(entry, "mapped", words)

    def _own(self, entry: Entry, name: str, value: object) -> None:
        for key in self._owners.get(name, []):
            if key != entry.key and self.values.get(name) != value:
                self._sorting.instead(
                    key, "ignored", f"{entry.key} gives {name} as well, and goes first"
                )
        self.values[name] = value
        self._owners[name] = [entry.key]

    def _foreign(self, entry: Entry, name: str, context: Mapping[str, object]) -> None:
        problem = unknown_option(self._job_type, name, context)
        if problem is None:
            self._put(entry, "mapped", "off, or without effect")
        else:
            self._put(entry, "ignored", _sentence(problem.message, problem.hint))

    def _take_argument(self, entry: Entry) -> None:
        spec = self._specs.get(entry.option)
        value = said(entry.value)
        if value is None or value is False or as_number(value) == 0:
            self._put(entry, "mapped", "off, or the default")
            return
        module = self.value("network_module")
        network = next((found for name, found in NETWORKS.items() if name == module), None)
        if network is None:
            self._put(entry, "ignored", "only for a LoRA")
        elif spec is not None and entry.option in network.carried:
            self._keep(entry, spec, fitting(spec, value))
        elif network.argument(entry.option) is not None:
            self._add_pair(entry, f"{entry.option}={value}".replace("\n", " ").replace(" ", ""))
        else:
            self._put(entry, "ignored", f"{module} has no argument {entry.option} here")

    def _add_pair(self, entry: Entry, pair: str) -> None:
        before = self.values.get(NETWORK_ARGS, ())
        pairs = before if isinstance(before, tuple) else ()
        kept = tuple(one for one in pairs if one.partition("=")[0] != entry.option)
        try:
            self.values[NETWORK_ARGS] = clean_pairs((*kept, pair))
        except UnfitError as unfit:
            self._put(entry, "ignored", _sentence(unfit.message, unfit.hint))
            return
        fate: Fate = "changed" if entry.note else "mapped"
        self._put(entry, fate, f"{pair}; {entry.note}" if entry.note else pair)

    def _default(self, name: str) -> object:
        spec = self._specs.get(name)
        return None if spec is None else spec.default

    def _put(self, entry: Entry, fate: Fate, words: str) -> None:
        self._sorting.put(entry.key, fate, words)

    # ---- afterwards ----
    def value(self, name: str) -> object:
        """What an option was given, or its default; None if the job has no such option."""
        return self.values.get(name, self._default(name))

    def drop(self, option: str, why: str) -> None:
        """Take a value back, since it has no effect or stands in another's way."""
        if self.values.get(option):
            del self.values[option]
            for key in self._owners.pop(option, []):
                self._sorting.instead(key, "ignored", why)

    def replace(self, option: str, value: object, why: str) -> None:
        """Put another value in the place of one that cannot stay."""
        self.values[option] = value
        for key in self._owners.get(option, []):
            self._sorting.instead(key, "changed", f"{option} = {shown(value)}; {why}")

    def finish(self) -> tuple[Job | None, tuple[str, ...]]:
        """The job, or everything that has to be mended before there can be one."""
        wrong = errors_among(check_values(self._job_type, self.values))
        for problem in wrong:
            self._blame(problem)
        if wrong:
            return None, tuple(str(problem) for problem in wrong)
        return job_from_values(self._job_type, self.values), ()

    def _blame(self, problem: Problem) -> None:
        for key in self._owners.get(problem.option or "", []):
            self._sorting.instead(key, "ignored", _sentence(problem.message, problem.hint))


def _sentence(message: str, hint: str | None) -> str:
    return f"{message} ({hint})" if hint else message
