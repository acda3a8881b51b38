"""Files are told by their content; the command says what becomes of them and writes whole files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from kohya_gui.importers.__main__ import main
from kohya_gui.importers.from_options import job_from_options, job_name
from kohya_gui.importers.opening import report_of_file, report_of_json
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import JOBS, TrainNetworkJob
from sd_scripts.options.toml_file import job_from_toml, job_to_toml
from sd_scripts.options.values import job_from_values
from tests.importers.test_from_metadata import OPTIONS, metadata

SETTINGS = {
    "LoRA_type": "Standard",
    "pretrained_model_name_or_path": "/models/base.safetensors",
    "train_data_dir": "/pictures",
    "network_dim": 12,
    "sample_prompts": "a cat --d 1",
}


def header_text() -> str:
    tensor = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    return json.dumps({"__metadata__": metadata(), "lora_unet_x.alpha": tensor})


def write_lora(path: Path) -> Path:
    text = header_text().encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0\0\0\0")
    return path


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(SETTINGS), "utf-8-sig")
    return path


def test_a_file_is_told_by_its_content(tmp_path: Path, settings_file: Path) -> None:
    assert report_of_file(settings_file).values["network_dim"] == 12
    lora = report_of_file(write_lora(tmp_path / "lora.txt"))
    assert lora.values["network_dim"] == 8
    assert lora.values["network_train_unet_only"] is True
    job = job_from_values(TrainNetworkJob, OPTIONS)
    toml = tmp_path / "job.json"
    toml.write_text(job_to_toml(job))
    assert report_of_file(toml).job == job


def test_the_header_alone_tells_as_much_as_the_file() -> None:
    assert report_of_json(header_text(), "lora.safetensors").values["network_dim"] == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2]", "not valid TOML"),
        ('[{"a": 1}]', "a list"),
        ("{", "not valid JSON"),
        ('{"datasets": []}', "describes a dataset"),
        ("seed = = 1", "not valid TOML"),
    ],
)
def test_other_files_are_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        report_of_file(path)


def test_what_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "picture"
    binary.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UserError, match="neither text"):
        report_of_file(binary)
    with pytest.raises(UserError, match="cannot be read"):
        report_of_file(tmp_path / "none.json")


def test_the_command_writes_job_and_prompts_but_over_nothing(
    tmp_path: Path, settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "job.toml"
    assert main([str(settings_file), "--out", str(out)]) == 0
    assert "network_dim: 12" in capsys.readouterr().out
    job = job_from_toml(TrainNetworkJob, out.read_text())
    assert job.network.network_dim == 12
    prompts = Path(str(job.preview.sample_prompts))
    assert prompts.read_text() == "a cat --d 1\n"
    out.write_text("mine")
    assert main([str(settings_file), "--out", str(out)]) == 2
    assert "--replace" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main([str(settings_file), "--out", str(out), "--replace"]) == 0
    assert "network_dim" in out.read_text()


def test_the_command_refuses_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "flux.json"
    path.write_text(json.dumps({**SETTINGS, "flux1_checkbox": True}))
    out = tmp_path / "job.toml"
    assert main([str(path), "--out", str(out)]) == 2
    assert "FLUX.1" in capsys.readouterr().out
    assert not out.exists()
    assert main([str(tmp_path / "none.json")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert main([str(path.with_name("flux.json")), "--out", str(out)]) == 2


def test_the_command_writes_what_a_preset_says_to_be_completed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Presets of kohya_ss name no model and no pictures, trained files only names."""
    preset = {**SETTINGS, "optimizer_args": "weight_decay=0.1", "conv_dim": 3}
    del preset["pretrained_model_name_or_path"], preset["train_data_dir"]
    preset["LoRA_type"] = "LyCORIS/LoKr"
    path, out = tmp_path / "preset.json", tmp_path / "job.toml"
    path.write_text(json.dumps(preset))
    assert main([str(path), "--out", str(out)]) == 2
    assert f"to be completed: {out}" in capsys.readouterr().out
    text = out.read_text()
    assert "# To be mended: pretrained_model_name_or_path" in text
    with pytest.raises(UserError) as caught:
        job_from_toml(TrainNetworkJob, text)
    assert {p.option for p in caught.value.problems} == {
        "pretrained_model_name_or_path",
        "train_data_dir, dataset_config",
    }
    given = {"pretrained_model_name_or_path": "m", "train_data_dir": "d"}
    job = job_from_toml(TrainNetworkJob, text, overrides=given)
    assert (job.network.network_dim, job.network.conv_dim, job.network.algo) == (12, 3, "lokr")
    assert Path(str(job.preview.sample_prompts)).read_text() == "a cat --d 1\n"
    assert main([str(path), "--out", str(tmp_path / "b.toml"), "--for_sd_scripts"]) == 2
    assert not (tmp_path / "b.toml").exists()


def test_the_command_writes_for_sd_scripts_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "ours.toml"
    job = job_from_values(TrainNetworkJob, {**OPTIONS, "bad_images": "error"})
    source.write_text(job_to_toml(job))
    out = tmp_path / "theirs.toml"
    assert main([str(source), "--out", str(out), "--for_sd_scripts"]) == 0
    assert "bad_images" in capsys.readouterr().out
    assert "bad_images" not in out.read_text()
    folder = tmp_path / "none" / "job.toml"
    assert main([str(source), "--out", str(folder)]) == 2


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"network_dim": 4}, "train_network"),
        ({"unet_lr": 1e-4, "prior_loss_weight": 1.0}, "train_network"),
        ({"token_string": "x"}, "train_textual_inversion"),
        ({"in_json": "a.json"}, "fine_tune"),
        ({"stop_text_encoder_training": 100}, "train_db"),
        ({"block_lr": "1"}, "train_db"),
        ({"seed": 1}, "train_network"),
    ],
)
def test_options_tell_their_job(values: dict[str, object], name: str) -> None:
    assert job_name(values) == name
    assert job_from_options(values).job_type is JOBS.get(name)


def test_options_are_told_of_one_by_one() -> None:
    report = job_from_options(
        {
            **OPTIONS,
            "caption_extention": ".txt",
            "learning_rat": 1,
            "network_args": ["conv_alpha=2"],
        }
    )
    assert report.job is not None, report.refused
    assert report.values["caption_extension"] == ".txt"
    assert report.values["conv_alpha"] == 2
    assert "learning_rate" in report.unknown["learning_rat"]
    assert job_from_options({**OPTIONS, "network_args": []}).mapped["network_args"]
