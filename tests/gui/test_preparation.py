"""From a form to a job: whole paths, typed prompts in a file, and files of others read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_gui.context import Context
from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.preparation import (
    draft_of_file,
    draft_of_toml,
    full_raw,
    prepare,
    whole_path,
)
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.options.values import job_from_values

OWN = {"pretrained_model_name_or_path": "/m/model.safetensors", "train_data_dir": "/p"}


def test_relative_paths_are_meant_from_the_workspace(context: Context) -> None:
    prepared = prepare(Draft("train_network", {"vae": "vae/a.pt"}), context.workspace)
    assert prepared.values["vae"] == str(context.workspace.path / "vae/a.pt")


def test_a_home_sign_is_filled_in(context: Context) -> None:
    assert whole_path("~/x", context.workspace) == str(Path.home() / "x")
    assert whole_path("~nobody-here/x", context.workspace) == "~nobody-here/x"


def test_typed_prompts_go_into_a_file_named_by_their_content(context: Context) -> None:
    draft = Draft("train_network", OWN, "ein Hündchen 犬 --d 1\n\n")
    prepared = prepare(draft, context.workspace)
    file = prepared.prompt_file
    assert file is not None
    assert prepared.values["sample_prompts"] == str(file)
    assert not file.exists()
    prepared.write_prompts()
    prepared.write_prompts()
    assert file.read_text("utf-8") == "ein Hündchen 犬 --d 1\n"
    other = prepare(Draft("train_network", OWN, "a cat"), context.workspace)
    assert other.prompt_file != file


def test_prompts_and_a_prompt_file_exclude_each_other(context: Context) -> None:
    draft = Draft("train_network", {**OWN, "sample_prompts": "/p.txt"}, "a cat")
    problems = prepare(draft, context.workspace).problems
    assert [problem.option for problem in problems] == ["sample_prompts"]


def test_a_broken_prompt_line_is_told_with_its_number(context: Context) -> None:
    draft = Draft("train_network", OWN, "a cat\n# a comment\na dog --w wide")
    problems = prepare(draft, context.workspace).problems
    assert len(problems) == 1
    assert problems[0].message.startswith("line 3")


def test_the_run_is_named_by_its_result_else_by_its_pictures(context: Context) -> None:
    named = Draft("train_network", {**OWN, "output_name": "mycat"})
    assert prepare(named, context.workspace).name == "mycat"
    unnamed = Draft("train_network", {"train_data_dir": "/photos/cats"})
    assert prepare(unnamed, context.workspace).name == "cats"
    assert prepare(Draft("train_network"), context.workspace).name == "LoRA"


def test_a_saved_job_comes_back_with_its_prompts(context: Context) -> None:
    draft = Draft("train_network", {**OWN, "learning_rate": "0.0001", "seed": "0"}, "a cat")
    prepared = prepare(draft, context.workspace)
    prepared.write_prompts()
    text = job_to_toml(job_from_values(TrainNetworkJob, prepared.values), only_changed=True)
    again, problems = draft_of_toml(TrainNetworkJob, text, context.workspace, "job.toml")
    assert problems == ()
    assert again.prompts.strip() == "a cat"
    assert again.values == draft.values


def test_unknown_keys_are_named_and_the_rest_is_taken(context: Context) -> None:
    text = 'learning_rat = 1\nnetwork_dim = "many"\nbatch_size = 4\nseed = 3\n'
    draft, problems = draft_of_toml(TrainNetworkJob, text, context.workspace, "job.toml")
    hints = {problem.option: problem.hint or "" for problem in problems}
    assert "learning_rate" in hints["learning_rat"]
    assert "train_batch_size" in hints["batch_size"]
    assert draft.values["seed"] == "3"
    assert draft.values["network_dim"] == "many"


def test_a_file_that_is_no_toml_is_refused_with_its_line(context: Context) -> None:
    with pytest.raises(UserError, match="not valid TOML"):
        draft_of_toml(TrainNetworkJob, "seed = = 3", context.workspace, "job.toml")


def test_a_file_that_is_not_there_or_no_text_is_refused(context: Context, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        draft_of_file(TrainNetworkJob, tmp_path / "none.toml", context.workspace)
    binary = tmp_path / "model.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        draft_of_file(TrainNetworkJob, binary, context.workspace)


def test_a_draft_of_an_older_version_loses_only_what_is_gone() -> None:
    raw = full_raw(Draft("train_network", {"seed": "3", "option_of_the_past": "x"}))
    assert raw["seed"] == "3"
    assert "option_of_the_past" not in raw
