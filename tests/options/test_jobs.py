"""Jobs are compositions: another choice of groups gets files, help, rules and metadata for free."""

from __future__ import annotations

from typing import ClassVar

import pytest

from sd_scripts.errors import UserError
from sd_scripts.options.command_line import job_to_argv, parse_command_line
from sd_scripts.options.form_values import from_form, to_form
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.model import ModelOptions
from sd_scripts.options.groups.optimizer import OptimizerOptions
from sd_scripts.options.help_text import help_text
from sd_scripts.options.jobs import JOBS, Job
from sd_scripts.options.metadata import metadata_values
from sd_scripts.options.schema import option_specs
from sd_scripts.options.toml_file import job_from_toml, job_to_toml
from sd_scripts.options.values import check_values, job_from_values, job_warnings

VALUES = {"pretrained_model_name_or_path": "m", "train_data_dir": "d", "learning_rate": 2e-6}


class SmallJob(Job):
    """Train a whole model."""

    name: ClassVar[str] = "small"
    title: ClassVar[str] = "Small"

    model: ModelOptions
    data: DataOptions
    optimizer: OptimizerOptions = OptimizerOptions()


def test_jobs_are_listed_by_name() -> None:
    assert all(job.name == name for name, job in JOBS.items())
    assert "train_network" in JOBS


def test_another_job_comes_back_through_every_door() -> None:
    made = job_from_values(SmallJob, {**VALUES, "use_8bit_adam": True, "resolution": "512"})
    assert job_from_toml(SmallJob, job_to_toml(made)) == made
    assert parse_command_line(SmallJob, job_to_argv(made), "prog").job == made
    assert job_from_values(SmallJob, from_form(SmallJob, to_form(made))) == made
    assert metadata_values(made)["ss_learning_rate"] == "2e-06"
    assert "Train a whole model." in help_text(SmallJob, "prog")


def test_rules_hold_for_every_job_that_has_their_groups() -> None:
    made = job_from_values(SmallJob, VALUES)
    assert job_warnings(made) == []  # a low rate is only told of a LoRA
    with pytest.raises(UserError, match="cached pictures cannot be cropped"):
        job_from_values(SmallJob, {**VALUES, "random_crop": True, "cache_latents": True})


def test_an_option_of_another_job_is_called_so() -> None:
    (problem,) = check_values(SmallJob, {**VALUES, "network_dim": 4})
    assert problem.option == "network_dim"
    assert "an option of train_network" in problem.message
    assert "network_dim" not in {spec.name for spec in option_specs(SmallJob)}
