"""The form as text: what goes in comes out, what is wrong is told, differences name both sides."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from kohya_gui.context import Context
from kohya_gui.forms.desk import Desk
from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.presets import apply_preset
from kohya_gui.forms.toml_pane import draft_toml, with_toml
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import RunRecord, write_record

VALUES: dict[str, object] = {
    "learning_rate": "1e-4",
    "network_dim": "16",
    "conv_dim": "4",
    "unet_lr": "0",
    "text_encoder_lr": "5e-5, 0",
    "optimizer_args": "weight_decay=0.01\nbetas=0.9,0.99",
    "resolution": "512,768",
    "enable_bucket": True,
    "seed": "0",
}


def test_a_form_survives_its_text(context: Context) -> None:
    draft = Draft("train_network", VALUES, "a cat --d 1")
    text = draft_toml(draft, context.workspace)
    assert tomllib.loads(text)["optimizer"]["unet_lr"] == 0.0
    again, problems = with_toml(draft, text, context.workspace)
    assert problems == ()
    assert again.prompts == "a cat --d 1"
    assert draft_toml(again, context.workspace) == text


def test_wrong_values_stand_in_the_text_too(context: Context) -> None:
    wrong = {"learning_rate": "fast", "optimizer_args": "no sign", "resolution": "wide"}
    text = draft_toml(Draft("train_network", wrong), context.workspace)
    values = tomllib.loads(text)
    assert values["optimizer"]["learning_rate"] == "fast"
    again, _ = with_toml(Draft("train_network"), text, context.workspace)
    assert again.values["learning_rate"] == "fast"


def test_an_unknown_key_is_told_with_what_may_be_meant(context: Context) -> None:
    text = "learning_rat = 1\nseed = 5\n"
    new, (problem,) = with_toml(Draft("train_network"), text, context.workspace)
    assert new.values == {"seed": "5"}
    assert problem.option == "learning_rat"
    assert "learning_rate" in (problem.hint or "")


def test_text_that_is_no_toml_changes_nothing(context: Context) -> None:
    with pytest.raises(UserError, match="not valid TOML"):
        with_toml(Draft("train_network", VALUES), "seed = = 5", context.workspace)


def test_another_file_of_prompts_takes_the_place_of_typed_ones(context: Context) -> None:
    draft = Draft("train_network", {}, "a cat")
    new, _ = with_toml(draft, 'sample_prompts = "/other.txt"\n', context.workspace)
    assert new == Draft("train_network", {"sample_prompts": "/other.txt"})
    emptied, _ = with_toml(draft, "", context.workspace)
    assert emptied == Draft("train_network")


def test_a_file_that_is_taken_along_finds_its_prompts(context: Context) -> None:
    desk = Desk(context, TrainNetworkJob)
    text = desk.toml.whole(Draft("train_network", VALUES, "a cat"))
    file = Path(tomllib.loads(text)["preview"]["sample_prompts"])
    assert file.read_text("utf-8") == "a cat\n"


def test_differences_to_the_defaults_a_preset_and_a_run(context: Context) -> None:
    desk = Desk(context, TrainNetworkJob)
    presets = tuple(desk.presets.values())
    draft = apply_preset(presets[0], Draft("train_network"))
    assert draft.about == {"preset": presets[0].id}
    changed = Draft("train_network", {**draft.values, "network_dim": "64"})
    (only,) = desk.toml.look(changed, f"preset:{presets[0].id}", presets)["differences"]
    assert (only["option"], only["there"], only["here"]) == ("network_dim", "16", "64")
    to_defaults = desk.toml.look(changed, "", presets)["differences"]
    assert {row["option"] for row in to_defaults} == set(changed.values)
    run = RunFolder.create(context.workspace.runs, "earlier", "network_dim = 64\nseed = 0\n")
    write_record(run, RunRecord(name="earlier", job="train_network", argv=()))
    assert desk.toml.runs() == [{"id": run.id, "name": "earlier"}]
    to_run = desk.toml.look(Draft("train_network", {"network_dim": "64"}), f"run:{run.id}", presets)
    assert [(row["option"], row["there"]) for row in to_run["differences"]] == [("seed", "0")]
    gone = desk.toml.look(changed, "run:none-20260101-000000", presets)
    assert gone["differences"] == []
    assert "none-20260101-000000" in gone["problems"][0]["message"]
