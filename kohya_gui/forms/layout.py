"""Where options stand: a few first steps in a newcomer's order, then every group of the schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sd_scripts.options.jobs import Job
from sd_scripts.options.schema import OptionSpec, group_titles, option_specs

PROMPTS: Final = "prompts"
"""The one control that is no option: preview prompts typed in the page."""


@dataclass(frozen=True)
class Step:
    """A first step: the key of its texts, the options asked in it, and what is told below them."""

    key: str
    options: tuple[str, ...]
    slot: str | None = None
    prompts: bool = False


@dataclass(frozen=True)
class Section:
    """A group of the schema with the options that no first step asked for already."""

    group: str
    title: str
    options: tuple[OptionSpec, ...]


FIRST_STEPS: Final[dict[str, tuple[Step, ...]]] = {
    "train_network": (
        Step("model", ("pretrained_model_name_or_path",), slot="family"),
        Step("pictures", ("train_data_dir", "dataset_repeats", "caption_extension"), slot="data"),
        Step("name", ("output_name",)),
        Step("length", ("max_train_epochs", "max_train_steps"), slot="steps"),
        Step("previews", ("sample_every_n_epochs",), prompts=True),
    ),
    "train_db": (
        Step("model", ("pretrained_model_name_or_path",), slot="family"),
        Step("pictures", ("train_data_dir", "dataset_repeats", "caption_extension"), slot="data"),
        Step("class", ("reg_data_dir", "class_prompt", "num_class_images")),
        Step("name", ("output_name",)),
        Step("length", ("max_train_epochs", "max_train_steps"), slot="steps"),
        Step("previews", ("sample_every_n_epochs",), prompts=True),
    ),
    "fine_tune": (
        Step("model", ("pretrained_model_name_or_path",), slot="family"),
        Step("pictures", ("train_data_dir", "in_json", "dataset_repeats"), slot="data"),
        Step("name", ("output_name",)),
        Step("length", ("max_train_epochs", "max_train_steps"), slot="steps"),
        Step("previews", ("sample_every_n_epochs",), prompts=True),
    ),
    "train_textual_inversion": (
        Step("model", ("pretrained_model_name_or_path",), slot="family"),
        Step("pictures", ("train_data_dir", "dataset_repeats", "caption_extension"), slot="data"),
        Step("name", ("token_string", "init_word", "num_vectors_per_token")),
        Step("length", ("max_train_epochs", "max_train_steps"), slot="steps"),
        Step("previews", ("sample_every_n_epochs",), prompts=True),
    ),
    "tag_images_by_wd14_tagger": (
        Step("pictures", ("train_data_dir", "recursive"), slot="data"),
        Step("model", ("model_dir",), slot="family"),
        Step("words", ("thresh", "undesired_tags", "remove_underscore"), slot="trial"),
        Step("files", ("caption_extension", "only_missing", "append_tags")),
    ),
    "make_captions": (
        Step("pictures", ("train_data_dir", "recursive"), slot="data"),
        Step("model", ("caption_weights",), slot="family"),
        Step("words", ("beam_search", "num_beams", "prefix"), slot="trial"),
        Step("files", ("caption_extension", "only_missing", "append_captions")),
    ),
}


def first_steps(job_type: type[Job]) -> tuple[Step, ...]:
    """Return the first steps of a job; none for a job that has no guided order."""
    return FIRST_STEPS.get(job_type.name, ())


def sections(job_type: type[Job]) -> tuple[Section, ...]:
    """Return the groups with the options that are left for them, in the schema's order."""
    asked = {name for step in first_steps(job_type) for name in step.options}
    found = []
    for group, title in group_titles(job_type).items():
        left = tuple(
            spec
            for spec in option_specs(job_type)
            if spec.group == group and spec.name not in asked
        )
        if left:
            found.append(Section(group, title, left))
    return tuple(found)
