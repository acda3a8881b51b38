"""Gives the job back that a trained file tells of in its metadata, as far as it tells.

The `ss_*` entries are those that sd-scripts and this program write; all values are texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from kohya_gui.importers import metadata_keys as keys
from kohya_gui.importers.mending import mend
from kohya_gui.importers.report import Fate, Report, Sorting
from kohya_gui.importers.settling import Entry, Settling, said
from sd_scripts.options.explain import did_you_mean, shown
from sd_scripts.options.jobs import JOBS, Job, TrainNetworkJob
from sd_scripts.options.later import LATER
from sd_scripts.options.optimizer_table import OPTIMIZERS
from sd_scripts.options.schema import specs_by_name

_OPTIMIZER: Final = re.compile(r"(?P<name>[\w.]+)(?:\((?P<arguments>.*)\))?", re.DOTALL)
_BEFORE_ARGUMENT: Final = re.compile(r",\s*(?=[A-Za-z_]\w*\s*=)")
_ONLY_A_NAME: Final = "only its name is told: choose the file itself"
_ONLY_FOLDER: Final = "only the folder's name is told: choose the folder itself"


def job_from_metadata(metadata: Mapping[str, str], tensor_names: Iterable[str] = ()) -> Report:
    """Work a job out from a file's metadata; nothing in it can make this fail.

    With the file's `tensor_names`, it is also seen which part of the model was trained. The model
    and the pictures are only told by name, so they stand in the job as names to be completed.
    """
    return _Metadata(metadata, tuple(tensor_names)).report()


class _Metadata:
    def __init__(self, metadata: Mapping[str, str], tensor_names: tuple[str, ...]) -> None:
        self._given = {str(key): str(value) for key, value in metadata.items()}
        self._names = tensor_names
        self._sorting = Sorting()
        self._refused: list[str] = []
        self._job_type: type[Job] | None = TrainNetworkJob
        self._kind_of_job()
        self._settling = Settling(
            TrainNetworkJob if self._job_type is None else self._job_type,
            self._sorting,
            zeros_dropped=False,
        )
        self._sdxl = "xl" in (
            self._given.get("ss_base_model_version", "")
            + self._given.get("modelspec.architecture", "")
        )

    def _kind_of_job(self) -> None:
        architecture = self._given.get("modelspec.architecture", "")
        base = self._given.get("ss_base_model_version", "")
        wrong = [
            name
            for name, known in ((architecture, keys.ARCHITECTURES), (base, keys.BASES))
            if name and not name.startswith(known)
        ]
        if wrong:
            self._refused.append(
                f"it was made for {shown(wrong[0])}, which this program does not train"
            )
        if architecture.endswith("/textual-inversion"):
            self._job_type = JOBS.get("train_textual_inversion")
        if self._job_type is None or not any(key.startswith("ss_") for key in self._given):
            self._refused.append("the file does not tell how it was trained (no ss_ entries in it)")

    def report(self) -> Report:
        entries = [
            *self._plain_entries(),
            *self._network(),
            *self._optimizer(),
            *self._model(),
            *self._datasets(),
            *self._folders(),
            *self._spec_entries(),
        ]
        self._settling.take(entries)
        mend(self._settling, sdxl=self._sdxl)
        self._leftovers()
        job, wrong = self._settling.finish()
        refused = tuple(self._refused) or wrong
        return Report(
            job=None if refused else job,
            job_type=None if self._refused else self._job_type,
            values=self._settling.values,
            refused=refused,
            prompts="",
            **self._sorting.lists(self._given),
        )

    def _put(self, key: str, fate: Fate, words: str) -> None:
        if key in self._given:
            self._sorting.put(key, fate, words)

    def _value(self, key: str) -> str | None:
        value = said(self._given.get(key))
        return None if value is None else str(value)

    def _json(self, key: str) -> Any:
        """An entry that holds JSON; None if it holds none."""
        try:
            return json.loads(self._given.get(key, "null"))
        except (ValueError, RecursionError):
            return None

    # ---- entries that are options and nothing else ----
    def _plain_entries(self) -> list[Entry]:
        options = {row.records: row.name for row in LATER.values() if row.records}
        options |= {
            spec.records: spec.name
            for job in JOBS.values()
            for spec in specs_by_name(job).values()
            if spec.records
        }
        found = []
        for key in self._given:
            if key in keys.WORKED_OUT or key not in options:
                continue
            if key == "ss_clip_skip" and self._sdxl:
                self._put(key, "ignored", "SDXL always uses its own fixed layer")
            elif (value := self._value(key)) is not None and value.startswith("adafactor:"):
                found.append(Entry(key, options[key], "adafactor"))
            else:
                found.append(Entry(key, options[key], value))
        return found

    # ---- network ----
    def _network(self) -> list[Entry]:
        module = self._value("ss_network_module")
        entries = [Entry("ss_network_module", "network_module", module)]
        if (algorithm := keys.SAME_KEYS_BY_LYCORIS.get(module or "")) is not None:
            note = "trained by LyCORIS, whose files have the same keys"
            entries = [
                Entry("ss_network_module", "network_module", "lycoris.kohya", note),
                Entry("ss_network_module", "algo", algorithm, argument=True),
            ]
        for name in ("network_dim", "network_alpha"):
            value = self._value(f"ss_{name}")
            if value is not None and value.lower() == "dynamic":
                self._put(f"ss_{name}", "ignored", "every layer had its own")
            else:
                entries.append(Entry(f"ss_{name}", name, value))
        entries = [one for one in entries if one.key in self._given]
        if (side := self._only_side()) is not None and "ss_network_module" in self._given:
            entries.append(Entry("ss_network_module", side, True))
        arguments = self._json("ss_network_args")
        if not isinstance(arguments, dict):
            self._put("ss_network_args", "ignored" if self._value("ss_network_args") else "mapped",
                      "no list of arguments")  # fmt: skip
            return entries
        self._put("ss_network_args", "mapped", "the network's arguments")
        return entries + [
            Entry("ss_network_args", str(name), value, argument=True)
            for name, value in arguments.items()
            if name != "dropout"  # noted as ss_network_dropout as well
        ]

    def _only_side(self) -> str | None:
        """The option that says that only one part learned, if the file's tensors tell so."""
        unet = any(name.startswith(keys.UNET_PREFIXES) for name in self._names)
        text = any(name.startswith(keys.TEXT_PREFIXES) for name in self._names)
        if unet == text:
            return None
        return "network_train_unet_only" if unet else "network_train_text_encoder_only"

    # ---- optimizer ----
    def _optimizer(self) -> list[Entry]:
        text = self._value("ss_optimizer")
        found = _OPTIMIZER.fullmatch(text) if text is not None else None
        if found is None:
            empty = text is None
            self._put("ss_optimizer", "mapped" if empty else "ignored",
                      "empty" if empty else f"{shown(text)} is no optimizer")  # fmt: skip
            return []
        pairs = _BEFORE_ARGUMENT.split(found["arguments"] or "")
        arguments = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        name = found["name"]
        if name.endswith(".SGD") and arguments.get("nesterov") == "True":
            name = "SGDNesterov"
        entry = OPTIMIZERS.get(_known_optimizer(name))
        entries = [Entry("ss_optimizer", "optimizer_type", entry.name if entry else name)]
        if entry is None:
            return entries
        told = []
        for argument, value in arguments.items():
            known = entry.argument(argument.strip())
            if known is None:
                self._put("ss_optimizer", "ignored", f"{entry.name} has no argument {argument}")
            elif value.strip() != str(known.default):
                told.append(f"{argument.strip()}={value.strip()}")
        return [*entries, Entry("ss_optimizer", "optimizer_args", tuple(told))] if told else entries

    # ---- model and pictures ----
    def _model(self) -> list[Entry]:
        entries = [
            Entry(key, option, self._value(key), _ONLY_A_NAME)
            for key, option in keys.ONLY_NAMES.items()
            if key in self._given
        ]
        if self._value("ss_v2") == "True":
            entries.append(Entry("ss_v2", "v2", True))
        else:
            self._put("ss_v2", "mapped", "seen from the model's file")
        if self._value("modelspec.prediction_type") == "v":
            entries.append(Entry("modelspec.prediction_type", "v_parameterization", True))
        else:
            self._put("modelspec.prediction_type", "mapped", "seen from the model's file")
        return entries

    def _datasets(self) -> list[Entry]:
        """What a dataset file said, where all of its parts agree."""
        datasets = self._json("ss_datasets")
        if not isinstance(datasets, list):
            self._put("ss_datasets", "ignored", "no list of datasets")
            return []
        tables = [one for one in datasets if isinstance(one, dict)]
        listed = [subset for table in tables for subset in _items(table.get("subsets"))]
        subsets = [subset for subset in listed if isinstance(subset, dict)]
        found = []
        for source, names in ((tables, keys.OF_DATASETS), (subsets, keys.OF_SUBSETS)):
            for name, option in names.items():
                values = [table.get(name) for table in source]
                if not values or values[0] is None:
                    continue
                if any(value != values[0] for value in values):
                    words = f"{name} was not the same everywhere in the dataset file"
                    self._put("ss_datasets", "ignored", words)
                else:
                    found.append(Entry("ss_datasets", option, values[0]))
        self._put("ss_datasets", "changed", "the dataset file itself is not told")
        return found

    def _folders(self) -> list[Entry]:
        found = []
        for key, option in keys.FOLDERS.items():
            folders = self._json(key)
            if not isinstance(folders, dict) or not folders:
                self._put(key, "mapped", "none")
                continue
            if len(folders) > 1:
                names = ", ".join(str(name) for name in folders)
                words = f"several folders ({names}): choose the folder that holds them"
                self._put(key, "ignored", words)
                continue
            ((name, facts),) = folders.items()
            found.append(Entry(key, option, str(name), _ONLY_FOLDER))
            repeats = facts.get("n_repeats") if isinstance(facts, dict) else None
            if option == "train_data_dir" and isinstance(repeats, int) and repeats > 1:
                found.append(Entry(key, "dataset_repeats", repeats))
        return found

    # ---- modelspec ----
    def _spec_entries(self) -> list[Entry]:
        found = [
            Entry(key, option, self._value(key))
            for key, option in keys.SPEC_OPTIONS.items()
            if key in self._given
        ]
        title = self._value("modelspec.title")
        if title is None or title == self._value("ss_output_name") or "@" in title:
            self._put("modelspec.title", "mapped", "made from the name")
        else:
            found.append(Entry("modelspec.title", "metadata_title", title))
        first, comma, last = (self._value("modelspec.timestep_range") or "").partition(",")
        key = "modelspec.timestep_range"
        if comma:
            found += [
                Entry(key, "min_timestep", None if first == "0" else first),
                Entry(key, "max_timestep", None if last == "1000" else last),
            ]
        else:
            self._put(key, "mapped", "empty")
        return found

    def _leftovers(self) -> None:
        known = [*keys.FACTS, *self._given]
        for key in self._given:
            if self._sorting.knows(key):
                continue
            if key in keys.FACTS:
                self._put(key, "ignored", keys.FACTS[key])
            elif key.startswith("sshs_"):
                self._put(key, "ignored", keys.FINGERPRINT)
            else:
                near = did_you_mean(key, [one for one in known if one != key], "")
                self._put(key, "unknown", near or "no entry about training that is known here")


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _known_optimizer(name: str) -> str:
    """The name in our table for a class, whatever module it is said to stand in."""
    short = name.rpartition(".")[2].lower()
    by_name = {one.rpartition(".")[2].lower(): one for one in reversed(OPTIMIZERS)}
    return name if name in OPTIMIZERS else by_name.get(short, name)
