"""Metadata of trained files: every entry that other programs know is there, as text."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sd_scripts import version
from sd_scripts.dataset.plan import plan_dataset
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.weights.dataset_facts import DatasetFacts, facts_from_plan
from sd_scripts.weights.metadata import SaveFacts, TrainingFacts, build_metadata
from sd_scripts.weights.model_spec import architecture, implementation
from tests.methods.jobs import network_job

GOLDEN = Path(__file__).parent.parent / "golden" / "lora_metadata_keys.txt"


def known(group: str) -> set[str]:
    """Keys of a group: what every file has, or files of one kind of data set, or modelspec."""
    pairs = (line.split() for line in GOLDEN.read_text().splitlines())
    return {key for kind, key in pairs if kind == group}


FACTS = TrainingFacts(
    family="sd1",
    base_model_version="sd_v1",
    prediction_type="epsilon",
    dataset=DatasetFacts(),
    num_epochs=3,
    num_steps=120,
    total_batch_size=4,
    optimizer="torch.optim.adamw.AdamW(weight_decay=0.1)",
    seed=42,
    session_id=123,
    started_at=1700000000.5,
)
METHOD = {"ss_network_dim": "8", "ss_network_alpha": "4.0"}
SAVE = SaveFacts(step=40, epoch=1, finished_at=1700000100.25)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    from PIL import Image

    for folder, sizes in (("2_cat thing", [(64, 96), (96, 64)]), ("1_dog", [(64, 64)])):
        (tmp_path / "train" / folder).mkdir(parents=True)
        for number, size in enumerate(sizes):
            path = tmp_path / "train" / folder / f"{number}.png"
            Image.new("RGB", size).save(path)
            path.with_suffix(".txt").write_text("A Cat, on mat,, a cat")
    return tmp_path / "train"


def facts_of(job: TrainNetworkJob) -> TrainingFacts:
    plan = plan_dataset(job.data, job.caption, family="sd1")
    assert not plan.errors
    from_file = job.data.dataset_config is not None
    return replace(FACTS, dataset=facts_from_plan(plan, from_dataset_config=from_file))


def folder_job(pictures: Path, **options: object) -> TrainNetworkJob:
    return network_job(
        train_data_dir=str(pictures), caption_extension=".txt", resolution="64",
        min_bucket_reso=64, max_bucket_reso=128, **options,
    )  # fmt: skip


def spec_keys(metadata: dict[str, str]) -> set[str]:
    return {key.removeprefix("modelspec.") for key in metadata if key.startswith("modelspec.")}


def test_folder_job_has_every_entry_and_no_other(pictures: Path) -> None:
    job = folder_job(pictures, enable_bucket=True)
    metadata = build_metadata(job, facts_of(job), SAVE, METHOD)
    ours = {key for key in metadata if not key.startswith("modelspec.")}
    assert ours == known("always") | known("folders")
    assert spec_keys(metadata) == known("modelspec")
    assert all(isinstance(value, str) for value in metadata.values())


def test_dataset_file_job_has_every_entry_and_no_other(pictures: Path, tmp_path: Path) -> None:
    config = tmp_path / "data.toml"
    config.write_text(
        "[[datasets]]\nresolution = 64\nbatch_size = 3\n[[datasets.subsets]]\n"
        f"image_dir = '{pictures / '1_dog'}'\ncaption_extension = '.txt'\nnum_repeats = 5\n"
    )
    job = network_job(train_data_dir=None, dataset_config=str(config))
    metadata = build_metadata(job, facts_of(job), SAVE, METHOD)
    ours = {key for key in metadata if not key.startswith("modelspec.")}
    assert ours == known("always") | known("dataset_file")
    datasets = json.loads(metadata["ss_datasets"])
    assert datasets[0]["batch_size_per_device"] == 3
    assert datasets[0]["subsets"][0]["image_dir"] == "1_dog"
    assert json.loads(metadata["ss_dataset_dirs"]) == {"1_dog": {"n_repeats": 5, "img_count": 1}}


def test_a_file_tells_the_program_that_began_the_run(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkout may be updated before the first file is saved."""
    began = facts_of(job := folder_job(pictures))
    monkeypatch.setattr(version, "_ROOT", tmp_path)
    version.program_version.cache_clear()
    metadata = build_metadata(job, began, SAVE, METHOD)
    version.program_version.cache_clear()
    assert began.program != "kohya-gui/unknown"
    assert metadata["ss_sd_scripts_commit_hash"] == began.program
    assert metadata["modelspec.implementation_version"] == began.program


def test_forms_of_values(pictures: Path) -> None:
    job = folder_job(
        pictures, enable_bucket=True, output_name="cat", clip_skip=2, text_encoder_lr=[5e-5]
    )
    metadata = build_metadata(job, facts_of(job), SAVE, METHOD)
    expected = {
        "ss_session_id": "123",
        "ss_training_started_at": "1700000000.5",
        "ss_training_finished_at": "1700000100.25",
        "ss_output_name": "cat",
        "ss_learning_rate": "0.0001",
        "ss_text_encoder_lr": "5e-05",
        "ss_unet_lr": "None",
        "ss_num_train_images": "5",
        "ss_num_reg_images": "0",
        "ss_num_validation_images": "0",
        "ss_num_epochs": "3",
        "ss_max_train_steps": "120",
        "ss_steps": "40",
        "ss_epoch": "1",
        "ss_v2": "False",
        "ss_base_model_version": "sd_v1",
        "ss_clip_skip": "2",
        "ss_seed": "42",
        "ss_network_module": "networks.lora",
        "ss_network_dim": "8",
        "ss_network_alpha": "4.0",
        "ss_gradient_checkpointing": "False",
        "ss_min_snr_gamma": "None",
        "ss_resolution": "(64, 64)",
        "ss_total_batch_size": "4",
        "ss_batch_size_per_device": "1",
        "ss_enable_bucket": "True",
        "ss_min_bucket_reso": "64",
        "ss_optimizer": "torch.optim.adamw.AdamW(weight_decay=0.1)",
    }
    assert {key: metadata[key] for key in expected} == expected
    assert json.loads(metadata["ss_tag_frequency"]) == {
        "2_cat thing": {"a cat": 4, "on mat": 2},
        "1_dog": {"a cat": 2, "on mat": 1},
    }
    assert json.loads(metadata["ss_dataset_dirs"]) == {
        "2_cat thing": {"n_repeats": 2, "img_count": 2},
        "1_dog": {"n_repeats": 1, "img_count": 1},
    }
    buckets = json.loads(metadata["ss_bucket_info"])["buckets"].values()
    assert sum(bucket["count"] for bucket in buckets) == 5


def test_without_buckets_their_bounds_are_none(pictures: Path) -> None:
    job = folder_job(pictures)
    metadata = build_metadata(job, facts_of(job), SAVE, METHOD)
    assert metadata["ss_enable_bucket"] == "False"
    assert metadata["ss_min_bucket_reso"] == metadata["ss_max_bucket_reso"] == "None"
    assert metadata["ss_bucket_info"] in ("null", "None")


def test_base_hashes_and_network_arguments_are_added_when_there() -> None:
    base = {"ss_sd_model_name": "a.safetensors", "ss_sd_model_hash": "12345678"}
    job = network_job(conv_dim=4, conv_alpha=2)
    metadata = build_metadata(job, FACTS, replace(SAVE, base=base), METHOD)
    assert base.items() <= metadata.items()
    arguments = json.loads(metadata["ss_network_args"])
    assert arguments == {"dropout": None, "conv_dim": "4", "conv_alpha": "2.0"}
    assert "ss_network_args" not in build_metadata(network_job(), FACTS, SAVE, METHOD)


@pytest.mark.parametrize("conv", [False, True])
def test_no_metadata_keeps_the_minimum_and_modelspec(conv: bool) -> None:
    options = {"conv_dim": 4} if conv else {}
    metadata = build_metadata(network_job(no_metadata=True, **options), FACTS, SAVE, METHOD)
    kept = known("minimum") | ({"ss_network_args"} if conv else set())
    assert {key for key in metadata if key.startswith("ss_")} == kept
    assert spec_keys(metadata) == known("modelspec")


@pytest.mark.parametrize(
    ("family", "version", "prediction", "model", "arch", "code"),
    [
        ("sd1", "sd_v1", "epsilon", "sd_v1", "stable-diffusion-v1", "diffusers"),
        ("sd1", "sd_v1", "v_prediction", "sd_v1_v", "stable-diffusion-v1", "diffusers"),
        ("sd2", "sd_v2", "epsilon", "sd_v2", "stable-diffusion-v2-512", "diffusers"),
        ("sd2", "sd_v2", "v_prediction", "sd_v2_v", "stable-diffusion-v2-768-v", "diffusers"),
        (
            "sdxl",
            "sdxl_base_v1-0",
            "v_prediction",
            "sdxl_base_v1-0",
            "stable-diffusion-xl-v1-base",
            "https://github.com/Stability-AI/generative-models",
        ),
    ],
)
def test_model_names(
    family: Any, version: str, prediction: Any, model: str, arch: str, code: str
) -> None:
    facts = replace(FACTS, family=family, base_model_version=version, prediction_type=prediction)
    metadata = build_metadata(network_job(), facts, SAVE, METHOD)
    assert metadata["ss_base_model_version"] == model
    assert metadata["ss_v2"] == str(family == "sd2")
    assert metadata["modelspec.architecture"] == f"{arch}/lora"
    assert metadata["modelspec.implementation"] == code
    spoken = "v" if prediction == "v_prediction" else "epsilon"
    assert metadata["modelspec.prediction_type"] == spoken
    sizes = {"stable-diffusion-v2-768-v": "768x768", "stable-diffusion-xl-v1-base": "1024x1024"}
    assert metadata["modelspec.resolution"] == sizes.get(arch, "512x512")


def test_other_kinds_of_files() -> None:
    assert architecture("sdxl", "epsilon", "checkpoint") == "stable-diffusion-xl-v1-base"
    assert architecture("sd1", "epsilon", "textual-inversion") == (
        "stable-diffusion-v1/textual-inversion"
    )
    assert implementation("sd1", "textual-inversion").startswith("https://")
    assert implementation("sd1", "checkpoint").startswith("https://")


def test_model_spec_tells_what_the_user_wrote(tmp_path: Path) -> None:
    picture = tmp_path / "thumb.png"
    picture.write_bytes(b"\x89PNG")
    names = (
        "title", "author", "description", "license", "tags", "usage_hint", "merged_from",
        "trigger_phrase", "preprocessor", "is_negative_embedding",
    )  # fmt: skip
    written = {name: f"my {name}" for name in names}
    job = network_job(
        **{f"metadata_{name}": text for name, text in written.items()},
        metadata_thumbnail=str(picture), output_name="cat", clip_skip=2, min_timestep=100,
        resolution="640,512",
    )  # fmt: skip
    metadata = build_metadata(job, FACTS, SAVE, METHOD)
    assert {name: metadata[f"modelspec.{name}"] for name in written} == written
    assert metadata["modelspec.thumbnail"] == (
        "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    )
    assert metadata["modelspec.timestep_range"] == "100,1000"
    assert metadata["modelspec.encoder_layer"] == "2"
    assert metadata["modelspec.resolution"] == "640x512"
    assert metadata["modelspec.date"] == datetime.fromtimestamp(1700000100).isoformat()


def test_title_falls_back_to_name_and_then_to_the_time() -> None:
    named = build_metadata(network_job(output_name="cat"), FACTS, SAVE, METHOD)
    assert named["modelspec.title"] == "cat"
    assert (
        build_metadata(network_job(), FACTS, SAVE, METHOD)["modelspec.title"]
        == "LoRA@1700000100.25"
    )


def test_missing_thumbnail_names_the_option(tmp_path: Path) -> None:
    job = network_job(metadata_thumbnail=str(tmp_path / "gone.png"))
    with pytest.raises(UserError) as error:
        build_metadata(job, FACTS, SAVE, METHOD)
    assert error.value.problems[0].option == "metadata_thumbnail"
