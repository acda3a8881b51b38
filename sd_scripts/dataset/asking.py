"""Which datasets a job's options mean: a dataset file, or folders in the known layout."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from sd_scripts.dataset.checks import check_settings
from sd_scripts.dataset.config import read_dataset_config
from sd_scripts.dataset.folders import Found, subsets_of_folder
from sd_scripts.dataset.listing import list_folder
from sd_scripts.dataset.pictures import shown
from sd_scripts.dataset.settings import DatasetSettings, SubsetSettings, Values
from sd_scripts.errors import Problem, errors_among
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.full import FullDataOptions


@dataclass
class Asked:
    """The datasets that are meant, with all that is wrong with them so far."""

    datasets: list[DatasetSettings] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sizes_are_sound(self) -> bool:
        """Whether pictures can be put into buckets at all."""
        wrong = " ".join(problem.option or "" for problem in errors_among(self.problems))
        return "reso" not in wrong


def datasets_asked_for(data: DataOptions, values: Values, family: str | None) -> Asked:
    """Read the dataset file or the layout of the folders; no picture is opened yet.

    `values` are what the job's options say.
    """
    if data.dataset_config:
        asked = _from_file(Path(data.dataset_config), data, values, family)
    else:
        asked = _from_folders(data, values, family)
    asked.problems += check_settings(asked.datasets, data, family)
    return asked


def _from_file(file: Path, data: DataOptions, values: Values, family: str | None) -> Asked:
    reading = read_dataset_config(file, values, family)
    asked = Asked(reading.datasets, reading.problems)
    for option, value in (
        ("train_data_dir", data.train_data_dir),
        ("reg_data_dir", data.reg_data_dir),
        ("in_json", data.in_json),
    ):
        if value:
            told = f"{option} is not used, since there is a dataset file"
            hint = f"clear {option}, or clear dataset_config"
            asked.problems.append(Problem(told, f"{option}, dataset_config", hint, "warning"))
    return asked


def _from_folders(data: DataOptions, values: Values, family: str | None) -> Asked:
    if not data.train_data_dir and not data.in_json:
        message = "no folder of pictures is given"
        hint = "choose the folder of your pictures (or a dataset file, dataset_config)"
        return Asked(problems=[Problem(message, "train_data_dir", hint)])
    if data.in_json:
        found = [Found((_of_metadata(Path(data.in_json), data.train_data_dir, values),))]
    else:
        assert data.train_data_dir is not None
        found = [subsets_of_folder(Path(data.train_data_dir), values, "train_data_dir")]
    if data.reg_data_dir:
        folder = Path(data.reg_data_dir)
        found.append(subsets_of_folder(folder, values, "reg_data_dir", is_reg=True))
    if isinstance(data, FullDataOptions) and data.class_prompt and data.class_data_dir:
        found.append(_painted(Path(data.class_data_dir), data.class_prompt, values))
    subsets = tuple(subset for one in found for subset in one.subsets)
    return Asked(
        datasets=[values.dataset(subsets, family)] if subsets else [],
        problems=[problem for one in found for problem in one.problems],
        notes=[note for one in found for note in one.notes],
    )


def _painted(folder: Path, prompt: str, values: Values) -> Found:
    """The pictures of the class that the model painted; none before it has."""
    if not folder.is_dir() or not list_folder(folder).pictures:
        return Found()
    where = "the painted pictures of the class"
    subset = values.subset(folder, where, "class_prompt", is_reg=True)
    return Found((replace(subset, num_repeats=1, class_tokens=prompt),))


def _of_metadata(file: Path, folder: str | None, values: Values) -> SubsetSettings:
    """The pictures that a metadata file names; relative names start from `folder`."""
    image_dir = Path(folder) if folder else file.parent
    subset = values.subset(image_dir, f"the metadata file {shown(file.name)}", "in_json")
    return replace(subset, metadata_file=file)
