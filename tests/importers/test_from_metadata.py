"""A trained file's metadata gives its job back, as far as it tells."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kohya_gui.importers.from_metadata import job_from_metadata
from kohya_gui.importers.report import FATES
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.metadata import metadata_values
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.values import job_from_values, values_of

OPTIONS: dict[str, object] = {
    "pretrained_model_name_or_path": "/models/base.safetensors",
    "train_data_dir": "/pictures",
    "network_dim": 8,
    "network_alpha": 4.0,
    "network_dropout": 0.1,
    "conv_dim": 4,
    "optimizer_type": "Adafactor",
    "optimizer_args": ("relative_step=False", "scale_parameter=False"),
    "learning_rate": 1e-4,
    "unet_lr": 3e-4,
    "text_encoder_lr": (1e-4, 5e-5),
    "lr_scheduler": "cosine",
    "lr_warmup_steps": 0.1,
    "max_train_steps": 100,
    "max_grad_norm": 0.0,
    "resolution": (512, 640),
    "enable_bucket": True,
    "train_batch_size": 2,
    "shuffle_caption": True,
    "keep_tokens": 2,
    "min_snr_gamma": 5.0,
    "noise_offset": 0.05,
    "seed": 3,
    "mixed_precision": "bf16",
    "clip_skip": 2,
    "output_name": "mine",
    "training_comment": "a comment",
}
RUN = {
    "ss_sd_model_name": "base.safetensors",
    "ss_base_model_version": "sd_v1",
    "ss_v2": "False",
    "ss_optimizer": "transformers.optimization.Adafactor"
    "(relative_step=False,scale_parameter=False)",
    "ss_dataset_dirs": json.dumps({"3_mycat cat": {"n_repeats": 3, "img_count": 9}}),
    "ss_reg_dataset_dirs": "{}",
    "ss_resolution": "(512, 640)",
    "ss_tag_frequency": "{}",
    "sshs_model_hash": "0",
    "modelspec.architecture": "stable-diffusion-v1/lora",
    "modelspec.title": "mine",
    "modelspec.author": "me",
}


def metadata(**entries: str) -> dict[str, str]:
    job = job_from_values(TrainNetworkJob, OPTIONS)
    return {**metadata_values(job), **RUN, **entries}


def back(**entries: str) -> dict[str, Any]:
    report = job_from_metadata(metadata(**entries))
    assert report.job is not None, report.refused
    return dict(values_of(report.job))


def test_options_come_back_from_our_own_file() -> None:
    found = back()
    names = set(OPTIONS) - {"pretrained_model_name_or_path", "train_data_dir"}
    assert {name: found[name] for name in names} == {name: OPTIONS[name] for name in names}
    assert found["metadata_author"] == "me"


def test_everything_that_is_noted_comes_back_but_facts_of_the_run() -> None:
    report = job_from_metadata(metadata())
    recorded = {spec.records for spec in specs_by_name(TrainNetworkJob).values() if spec.records}
    assert recorded & set(report.ignored) == set()
    assert recorded & set(report.unknown) == set()


def test_model_and_pictures_are_names_to_be_completed() -> None:
    report = job_from_metadata(metadata())
    assert "choose the file" in report.changed["ss_sd_model_name"]
    assert "choose the folder" in report.changed["ss_dataset_dirs"]
    found = back()
    assert found["pretrained_model_name_or_path"] == "base.safetensors"
    assert (found["train_data_dir"], found["dataset_repeats"]) == ("3_mycat cat", 3)


def test_several_folders_have_to_be_chosen() -> None:
    folders = {name: {"n_repeats": 1, "img_count": 1} for name in ("1_a", "1_b")}
    report = job_from_metadata(metadata(ss_dataset_dirs=json.dumps(folders)))
    assert report.job is None
    assert "1_a, 1_b" in report.ignored["ss_dataset_dirs"]
    assert report.values["network_dim"] == 8


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("torch.optim.adamw.AdamW", "AdamW", ()),
        ("torch.optim.adamw.AdamW(weight_decay=0.1,betas=(0.9, 0.99))", "AdamW",
         ("weight_decay=0.1", "betas=(0.9, 0.99)")),
        ("bitsandbytes.optim.adamw.AdamW8bit(eps=1e-08)", "AdamW8bit", ()),
        ("lion_pytorch.lion_pytorch.Lion", "Lion", ()),
        ("prodigyopt.prodigy.Prodigy(d_coef=2.0)", "Prodigy", ("d_coef=2.0",)),
        ("torch.optim.sgd.SGD(nesterov=True,momentum=0.8)", "SGDNesterov", ("momentum=0.8",)),
    ],
)  # fmt: skip
def test_an_optimizer_is_told_by_its_class(text: str, name: str, arguments: tuple[str]) -> None:
    found = back(ss_optimizer=text, ss_unet_lr="1.0", ss_text_encoder_lr="1.0")
    assert (found["optimizer_type"], found["optimizer_args"]) == (name, arguments)


def test_networks_of_other_kinds_keep_their_arguments() -> None:
    arguments = json.dumps({"algo": "lokr", "factor": "8", "dropout": 0.1, "preset": "full"})
    found = back(ss_network_module="lycoris.kohya", ss_network_args=arguments)
    assert (found["network_module"], found["algo"]) == ("lycoris.kohya", "lokr")
    assert found["network_args"] == ("factor=8",)
    own = back(ss_network_module="networks.lokr", ss_network_args="null")
    assert (own["network_module"], own["algo"]) == ("lycoris.kohya", "lokr")


@pytest.mark.parametrize(
    ("names", "option"),
    [
        (["lora_unet_x.alpha"], "network_train_unet_only"),
        (["lora_te_x.alpha"], "network_train_text_encoder_only"),
        (["lora_unet_x.alpha", "lora_te1_x.alpha"], None),
        ([], None),
    ],
)
def test_the_tensors_tell_which_part_was_trained(names: list[str], option: str | None) -> None:
    report = job_from_metadata(metadata(), names)
    assert report.job is not None
    found = values_of(report.job)
    both = ("network_train_unet_only", "network_train_text_encoder_only")
    assert [name for name in both if found[name]] == ([option] if option else [])


def test_a_dataset_file_gives_what_its_parts_agree_in() -> None:
    entries = metadata()
    for name in ("ss_resolution", "ss_batch_size_per_device", "ss_keep_tokens"):
        entries.pop(name, None)
    subsets = [{"keep_tokens": 1, "flip_aug": True}, {"keep_tokens": 2, "flip_aug": True}]
    table = {"resolution": [768, 768], "batch_size_per_device": 4, "subsets": subsets}
    report = job_from_metadata({**entries, "ss_datasets": json.dumps([table])})
    assert report.values["resolution"] == (768, 768)
    assert report.values["train_batch_size"] == 4
    assert report.values["flip_aug"] is True
    assert "keep_tokens" not in report.values
    assert "keep_tokens was not the same" in report.changed["ss_datasets"]


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"ss_base_model_version": "flux1"}, "flux1"),
        ({"modelspec.architecture": "stable-diffusion-3/lora"}, "stable-diffusion-3"),
    ],
)
def test_other_families_are_refused(entries: dict[str, str], word: str) -> None:
    report = job_from_metadata({**metadata(), **entries})
    assert report.job is None
    assert word in report.refused[0]


@pytest.mark.parametrize("entries", [{}, {"format": "pt"}, {"modelspec.title": "x"}])
def test_a_file_that_tells_nothing_is_refused(entries: dict[str, str]) -> None:
    report = job_from_metadata(entries)
    assert "does not tell" in report.refused[0]


_texts = st.sampled_from(["", "None", "True", "x", "0", "[1,2", '[{"subsets": 3}]', "{}", "1e99999",
                          '{"a": {"n_repeats": "x"}}', "a.B(c=d", "adafactor:1e-4", "Dynamic",
                          '["a"]', "1,"])  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys([*metadata(), "ss_datasets", "odd"], _texts))
)
def test_any_entries_are_told_of(entries: dict[str, str]) -> None:
    report = job_from_metadata(entries)
    assert sorted(key for fate in FATES for key in report.keys(fate)) == sorted(entries)
    assert (report.job is None) == bool(report.refused)
