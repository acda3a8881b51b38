"""Reports on a TOML file of sd-scripts' options (such as those kohya_ss writes beside its results).

Trainers read such files themselves; the report says beforehand what they will make of each option.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kohya_gui.importers.mending import mend
from kohya_gui.importers.report import Report, Sorting
from kohya_gui.importers.settling import NETWORK_ARGS, Entry, Settling
from sd_scripts.options.explain import did_you_mean
from sd_scripts.options.jobs import JOBS, Job, TrainNetworkJob
from sd_scripts.options.key_values import split_pair
from sd_scripts.options.later import LATER
from sd_scripts.options.old_names import old_names
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.sd_scripts_table import SCRIPTS_OF
from sd_scripts.options.types import UnfitError, clean_pairs

_NO_TRAINER: Final = "this program has no trainer for it yet"


def job_name(values: Mapping[str, object]) -> str:
    """The name of the job that options of sd-scripts are for: such a file does not say for which
    script it was written, but some options belong to one only."""
    only = {name: set(SCRIPTS_OF.get(name, "")) for name, value in values.items() if value}
    if any(scripts <= set("NX") and scripts for scripts in only.values()):
        return "train_network"
    if any(scripts == {"T"} for scripts in only.values()):
        return "train_textual_inversion"
    if "in_json" in only:
        return "fine_tune"
    belongs = any(scripts <= set("DS") and scripts for scripts in only.values())
    return "train_db" if belongs else "train_network"


def job_from_options(values: Mapping[str, object]) -> Report:
    """Report on flat options under sd-scripts' names; what is empty keeps its default."""
    sorting = Sorting()
    name = job_name(values)
    job_type: type[Job] | None = JOBS.get(name)
    used = TrainNetworkJob if job_type is None else job_type
    settling = Settling(used, sorting, zeros_dropped=False)
    known = {*specs_by_name(used), *LATER, *old_names(specs_by_name(used))}
    known |= {option for job in JOBS.values() for option in specs_by_name(job)}
    entries = []
    for key, value in values.items():
        if key == NETWORK_ARGS:
            entries += _arguments(key, value)
        elif key in known:
            entries.append(Entry(key, key, value))
        else:
            sorting.put(key, "unknown", did_you_mean(key, known, "there is no such option"))
    entries.sort(key=lambda entry: entry.argument)
    settling.take(entries)
    if NETWORK_ARGS in values and not sorting.knows(NETWORK_ARGS):
        sorting.put(NETWORK_ARGS, "mapped", "empty: the default stays")
    mend(settling, sdxl=None)
    job, wrong = settling.finish()
    refused = (f"{name}: {_NO_TRAINER}",) if job_type is None else wrong
    return Report(
        job=None if refused else job,
        job_type=job_type,
        values=settling.values,
        refused=refused,
        prompts="",
        **sorting.lists(values),
    )


def _arguments(key: str, value: object) -> list[Entry]:
    try:
        pairs = clean_pairs(value or ())
    except UnfitError:
        return [Entry(key, key, value)]
    return [Entry(key, name, text, argument=True) for name, text in map(split_pair, pairs)]
