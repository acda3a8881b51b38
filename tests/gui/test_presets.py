"""Every preset that ships is in order, and applying one leaves alone what is the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.preparation import full_raw
from kohya_gui.forms.presets import (
    FOLDER,
    Preset,
    apply_preset,
    preset_files,
    presets_of,
    read_preset,
)
from sd_scripts.errors import UserError, errors_among
from sd_scripts.options.form_values import from_form
from sd_scripts.options.jobs import JOBS, Job, TrainNetworkJob, TrainTextualInversionJob
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.values import check_values

OWN = {"pretrained_model_name_or_path": "model.safetensors", "train_data_dir": "pictures"}
OWN_OF_JOB = {
    "train_textual_inversion": {**OWN, "token_string": "mycat7"},
    "train_db": {**OWN, "class_prompt": "person"},
    "fine_tune": {**OWN, "in_json": "pictures.json"},
}
RATES = {
    "train_network": (1e-4, 2e-4),
    "train_textual_inversion": (1e-3, 5e-3),
    "train_db": (1e-6, 1e-5),
    "fine_tune": (1e-6, 1e-5),
}
"""What the options' help calls usual for what learns, with optimizers that do not find it."""
PRESETS = [(job, read_preset(path)) for job in JOBS.values() for path in preset_files(job)]


def names(case: object) -> str:
    return case.id if isinstance(case, Preset) else ""


def test_there_are_presets_and_each_file_belongs_to_a_job() -> None:
    files = sorted(path.stem for path in FOLDER.glob("*/*.toml") if path.parent.name != "starter")
    assert files == sorted(preset.id for _, preset in PRESETS)
    assert {job.name for job, _ in PRESETS} == set(RATES)
    assert len(PRESETS) >= 20


def test_titles_tell_presets_of_one_job_apart() -> None:
    for job in JOBS.values():
        titles = [preset.title for preset in presets_of(job)]
        assert len(titles) == len(set(titles))


@pytest.mark.parametrize(("job", "preset"), PRESETS, ids=names)
def test_every_preset_makes_a_job_without_errors(job: type[Job], preset: Preset) -> None:
    own = OWN_OF_JOB.get(job.name, OWN)
    assert errors_among(check_values(job, {**own, **preset.values})) == []
    assert preset.title.strip()
    assert preset.note.strip()
    assert set(preset.families) <= {"sd1", "sd2", "sdxl"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("[!s]*/*.toml")), ids=lambda path: path.stem)
def test_every_preset_says_in_its_file_why_its_values_are_as_they_are(path: Path) -> None:
    head = path.read_text("utf-8").split("\n[")[0]
    why = head.partition("# why: ")[2]
    assert len(why.split()) >= 15
    assert len(read_preset(path).note.split()) >= 10


@pytest.mark.parametrize(("job", "preset"), PRESETS, ids=names)
def test_a_preset_holds_only_what_differs_from_the_defaults(job: type[Job], preset: Preset) -> None:
    specs = specs_by_name(job)
    same = [
        name
        for name, value in from_form(job, preset.values).items()
        if specs[name].default == (tuple(value) if isinstance(value, list) else value)
    ]
    assert same == []


@pytest.mark.parametrize(("job", "preset"), PRESETS, ids=names)
def test_a_preset_makes_the_rate_fit_for_what_learns(job: type[Job], preset: Preset) -> None:
    if preset.values.get("optimizer_type") == "Prodigy":
        assert preset.values["learning_rate"] == 1.0
        return
    low, high = RATES[job.name]
    rate = preset.values.get("learning_rate", specs_by_name(job)["learning_rate"].default)
    assert isinstance(rate, float)
    assert low <= rate <= high


@pytest.mark.parametrize(("job", "preset"), PRESETS, ids=names)
def test_sdxl_presets_spare_the_vae_and_others_do_not_ask_for_what_is_sdxls(
    job: type[Job], preset: Preset
) -> None:
    if preset.families == ("sdxl",):
        assert preset.values["no_half_vae"] is True
        assert preset.values["max_bucket_reso"] == 2048
    elif "sdxl" not in preset.families:
        assert "no_half_vae" not in preset.values


def test_applying_keeps_paths_names_and_prompts() -> None:
    preset = presets_of(TrainNetworkJob)[0]
    own = {**OWN, "output_name": "mycat", "caption_extension": ".caption2", "metadata_title": "My"}
    draft = Draft("train_network", {**own, "network_dropout": "0.3"}, "a cat")
    after = apply_preset(preset, draft)
    assert {name: after.values[name] for name in own} == own
    assert after.prompts == "a cat"
    assert "network_dropout" not in after.values
    raw = full_raw(after)
    assert raw["learning_rate"] == "0.0001"
    assert raw["enable_bucket"] is True


def test_applying_keeps_the_new_word() -> None:
    own = {**OWN, "token_string": "mycat7", "init_word": "cat", "num_vectors_per_token": "9"}
    after = apply_preset(
        presets_of(TrainTextualInversionJob)[0], Draft("train_textual_inversion", own)
    )
    assert after.values["token_string"] == "mycat7"
    assert after.values["init_word"] == "cat"
    assert after.values["num_vectors_per_token"] == "2"


def test_a_preset_fills_in_what_nobody_chose() -> None:
    preset = presets_of(TrainNetworkJob)[0]
    after = apply_preset(preset, Draft("train_network", OWN))
    assert after.values["caption_extension"] == ".txt"


def test_one_preset_after_another_leaves_nothing_of_the_first() -> None:
    first, second, *_ = presets_of(TrainNetworkJob)
    empty = Draft("train_network", OWN)
    direct = apply_preset(second, empty)
    by_way = apply_preset(second, apply_preset(first, empty))
    assert by_way == direct


def test_a_preset_that_is_not_in_order_is_told_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "lora"
    folder.mkdir()
    (folder / "1-odd.toml").write_text("# note: nothing\n[network]\nnetwork_dim = 4\n")
    (folder / "2-broken.toml").write_text("# title: a\n# note: b\nnetwork_dim = = 4\n")
    (folder / "3-good.toml").write_text("# title: a\n# note: b\nnetwork_dim = 4\n")
    with pytest.raises(UserError, match="no title"):
        read_preset(folder / "1-odd.toml")
    assert [preset.id for preset in presets_of(TrainNetworkJob, tmp_path)] == ["3-good"]
    told = capsys.readouterr().err
    assert "1-odd.toml" in told
    assert "2-broken.toml" in told
