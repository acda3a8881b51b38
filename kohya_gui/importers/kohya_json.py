"""Translates settings of the kohya_ss GUI (flat JSON, one file a training) into one of our jobs.

Keys are worked out with the tables of `kohya_keys` and `kohya_network`; `settling` asks the schema
what our jobs can take. kohya_ss drops every 0 on its way to sd-scripts, so here too 0 means "not
given" wherever nothing else is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kohya_gui.importers import kohya_values
from kohya_gui.importers.kohya_keys import (
    DREAMBOOTH_MARKS,
    FINE_TUNE_MARKS,
    LORA_MARKS,
    MULTIRES_NOISE,
    NOT_NEEDED,
    ONLY_SDXL,
    ORIGINAL_NOISE,
    OTHER_FAMILIES,
    RENAMED,
    SAME,
    SECRETS,
    SPECIAL,
    TEXTUAL_INVERSION_MARKS,
)
from kohya_gui.importers.kohya_network import (
    ARGUMENT_KEYS,
    available,
    find_kind,
    network_entries,
)
from kohya_gui.importers.mending import mend
from kohya_gui.importers.report import Fate, Report, Sorting
from kohya_gui.importers.settling import Entry, Settling, said
from sd_scripts.options.coerce import read_bool
from sd_scripts.options.explain import did_you_mean
from sd_scripts.options.jobs import JOBS, Job, TrainNetworkJob
from sd_scripts.options.later import LATER
from sd_scripts.options.schema import OptionSpec, specs_by_name

KNOWN_KEYS: Final = frozenset(
    {
        *SAME,
        *RENAMED,
        *ONLY_SDXL,
        *SECRETS,
        *SPECIAL,
        *NOT_NEEDED,
        *ORIGINAL_NOISE,
        *MULTIRES_NOISE,
        *ARGUMENT_KEYS,
        *(key for flag, keys in OTHER_FAMILIES.values() for key in (flag, *keys)),
    }
)
"""Every key of a kohya_ss file that is understood, old ones included."""

_KIND_WORDS: Final = {
    "train_network": "LoRA training",
    "train_db": "Dreambooth training",
    "fine_tune": "fine-tuning from a metadata file",
    "train_textual_inversion": "Textual Inversion",
}


def job_name(settings: Mapping[str, object]) -> str:
    """The name of the job that a file is for, told by the keys that only such files have."""
    if LORA_MARKS & settings.keys():
        return "train_network"
    if TEXTUAL_INVERSION_MARKS & settings.keys():
        return "train_textual_inversion"
    if FINE_TUNE_MARKS & settings.keys():
        return "fine_tune"
    return "train_db" if DREAMBOOTH_MARKS & settings.keys() else "train_network"


def is_on(value: object) -> bool:
    """Whether a saved yes or no says yes, in whatever type it was saved."""
    if isinstance(value, float) and value == 1:
        return True
    return read_bool(value) is True


def convert(settings: Mapping[str, object]) -> Report:
    """Translate a kohya_ss file, read from JSON. Nothing in it can make this fail: what is not
    understood is reported."""
    return _Conversion(settings).report()


class _Conversion:
    def __init__(self, settings: Mapping[str, object]) -> None:
        self._settings = {str(key): value for key, value in settings.items()}
        self._sorting = Sorting()
        self._refused: list[str] = []
        self._name = job_name(self._settings)
        self._job_type: type[Job] | None = JOBS.get(self._name)
        if self._job_type is None:
            words = _KIND_WORDS[self._name]
            self._refused.append(f"{words} is not supported by this program yet")
        self._settling = Settling(
            self._job_type or TrainNetworkJob, self._sorting, zeros_dropped=True
        )
        self._sdxl = self._on("sdxl") or self._on("sdxl_checkbox")

    def _on(self, key: str) -> bool:
        return is_on(self._settings.get(key))

    def report(self) -> Report:
        self._family()
        prompts = kohya_values.prompts_of(self._settings)
        self._settling.take([*self._network(), *self._entries()])
        self._settling.take(kohya_values.extra_entries(self._settings, self._sorting, self._specs))
        mend(self._settling, sdxl=self._sdxl)
        self._leftovers()
        job, wrong = self._settling.finish()
        refused = tuple(self._refused) or wrong
        lists = self._sorting.lists(self._settings)
        return Report(
            job=None if refused else job,
            job_type=None if self._refused else self._job_type,
            values=self._settling.values,
            refused=refused,
            prompts=prompts,
            **lists,
        )

    @property
    def _specs(self) -> Mapping[str, OptionSpec]:
        return specs_by_name(self._job_type or TrainNetworkJob)

    # ---- what kind of model and network ----
    def _family(self) -> None:
        chosen = "SDXL" if self._sdxl else None
        for family, (flag, keys) in OTHER_FAMILIES.items():
            if self._on(flag):
                if chosen is None:
                    chosen = family
                    self._refused.append(
                        f"{family} models are not trained by this program, only SD 1.x, SD 2.x "
                        "and SDXL"
                    )
                    self._put(flag, "ignored", f"{family} models are not trained here")
                else:
                    self._put(flag, "ignored", f"{chosen} is chosen as well, and goes first")
            else:
                self._put(flag, "mapped", "off")
            for key in keys:
                self._put(key, "ignored", f"only for {family} models")

    def _network(self) -> list[Entry]:
        """The network's kind and arguments; what the kind does not look at is told."""
        given = self._settings
        if self._name != "train_network":
            for key in (*ARGUMENT_KEYS, "LoRA_type"):
                self._put(key, "ignored", "only for a LoRA")
            return []
        found = find_kind(given.get("LoRA_type"))
        if isinstance(found, str):
            self._refused.append(found)
            for key in (*ARGUMENT_KEYS, "LoRA_type"):
                self._put(key, "ignored", found)
            return []
        name, kind = found
        modules = specs_by_name(TrainNetworkJob)["network_module"].choices or ()
        trained = available(kind, modules)
        if trained is None:
            words = f"LoRA_type {name} ({kind.module}) is not supported by this program yet"
            self._refused.append(words)
            for key in (*ARGUMENT_KEYS, "LoRA_type"):
                self._put(key, "ignored", words)
            return []
        for key in ARGUMENT_KEYS - set(kind.keys):
            self._put_unused(key, f"a LoRA of the kind {name} does not use it")
        kind, note = trained
        entries = network_entries(kind, note, given)
        used = {entry.key for entry in entries}
        for key in set(kind.keys) - used:
            self._put_unused(key, "the newer name of it is given as well, and goes first")
        return entries if "LoRA_type" in given else [one for one in entries if one.key in given]

    # ---- single keys ----
    def _entries(self) -> list[Entry]:
        entries = kohya_values.worked_out(
            self._settings, self._sorting, self._name, sdxl=self._sdxl
        )
        done = {entry.key for entry in entries}
        for key, value in self._settings.items():
            if key in done or self._sorting.knows(key) or key in SPECIAL or key in ARGUMENT_KEYS:
                continue
            if key in SECRETS:
                self._secret(key, value)
            elif key in NOT_NEEDED:
                self._put(key, "ignored", NOT_NEEDED[key])
            elif key in ONLY_SDXL:
                if self._sdxl:
                    entries.append(Entry(key, ONLY_SDXL[key], value))
                else:
                    self._put_unused(key, "only for SDXL")
            elif key == "clip_skip" and self._sdxl:
                self._put_unused(key, "SDXL always uses its own fixed layer")
            elif key in SAME or key in RENAMED or key in self._specs or key in LATER:
                entries.append(Entry(key, RENAMED.get(key, key), value))
        if self._sdxl:
            entries = [one for one in entries if one.option != "v2"]
            self._put_unused("v2", "sdxl is chosen as well, and goes first")
        if "image_folder" in self._settings and "enable_bucket" not in self._settings:
            entries.append(Entry("image_folder", "enable_bucket", True))
        return entries

    def _secret(self, key: str, value: object) -> None:
        if said(value) in (None, False, "False", 0):
            self._put(key, "mapped", "empty")
        else:
            self._put(key, "ignored", "a secret does not belong into a job's file")

    def _leftovers(self) -> None:
        known = [*KNOWN_KEYS, *self._specs]
        for key in self._settings:
            if not self._sorting.knows(key):
                assert key not in KNOWN_KEYS, f"nothing was made of {key}"
                hint = did_you_mean(key, known, "kohya_ss and sd-scripts have no such setting")
                self._put(key, "unknown", hint)

    def _put(self, key: str, fate: Fate, words: str) -> None:
        if key in self._settings:
            self._sorting.put(key, fate, words)

    def _put_unused(self, key: str, words: str) -> None:
        """Tell of a key that is not used; one that is off anyway loses nothing."""
        if kohya_values.is_off(self._settings.get(key)):
            self._put(key, "mapped", "off, or the default")
        else:
            self._put(key, "ignored", words)
