"""Single values: what is read, what is refused, and in which words."""

from __future__ import annotations

import pytest

from sd_scripts.errors import UserError
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.model import ModelOptions
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.schema import OptionSpec, option_specs
from sd_scripts.options.values import (
    check_values,
    job_from_values,
    job_warnings,
    replace_values,
    values_of,
)
from tests.options.support import NEEDED, SPECS, errors, job, only_error, problems, problems_of


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("network_dim", 0, "0 is too small"),
        ("network_dim", -4, "-4 is too small"),
        ("network_dim", "sixteen", "not a whole number"),
        ("network_dim", 16.5, "16.5 is not a whole number"),
        ("network_dim", True, "not a whole number"),
        ("network_dim", [16], "not a whole number"),
        ("learning_rate", -1e-4, "-0.0001 is too small"),
        ("learning_rate", "fast", "not a number"),
        ("learning_rate", float("nan"), "nan is not a finite number"),
        ("learning_rate", float("inf"), "inf is"),
        ("unet_lr", -1, "-1 is too small"),
        ("text_encoder_lr", [1e-5, -1], "too small"),
        ("text_encoder_lr", [1e-5, 1e-5, 1e-5], "3 values are too many"),
        ("text_encoder_lr", "low", "not a number"),
        ("max_train_epochs", 0, "0 is too small"),
        ("max_train_steps", 0, "0 is too small"),
        ("train_batch_size", 0, "0 is too small"),
        ("train_batch_size", "two", "not a whole number"),
        ("caption_dropout_rate", 1.5, "1.5 is too large"),
        ("network_dropout", 1, "1 is too large"),
        ("clip_skip", 0, "0 is too small"),
        ("seed", -1, "-1 is too small"),
        ("flip_aug", "maybe", "neither true nor false"),
        ("flip_aug", 2, "neither true nor false"),
        ("mixed_precision", "fp8", "'fp8' is not a choice"),
        ("mixed_precision", False, "not a choice"),
        ("log_with", "aim", "'aim' is not a choice"),
        ("network_module", "lycoris.hyper", "is not a choice"),
        ("resolution", "512x", "whole number of pixels"),
        ("resolution", "1,2,3", "not a size"),
        ("resolution", "16", "not a size to train at"),
        ("resolution", True, "not a size"),
        ("resolution", [512.5, 512], "not a size"),
        ("lr_warmup_steps", "soon", "not a number of steps"),
        ("lr_warmup_steps", 10.5, "cannot be done"),
        ("lr_warmup_steps", "100%", "too much"),
        ("lr_warmup_steps", -1, "not a number of steps"),
        ("lr_warmup_steps", [1], "not a number of steps"),
        ("optimizer_args", ["weight_decay"], "not of the form name=value"),
        ("optimizer_args", ["a=1", "a=2"], "a is given twice"),
        ("optimizer_args", 3, "not a list of name=value"),
        ("output_name", "a/b", "cannot hold '/'"),
        ("output_name", "..", "not a file name"),
        ("output_name", 5, "not a text"),
        ("vae", "a\0b", "NUL"),
        ("vae", "~nobody-of-that-name/x", "no home folder is known for ~nobody-of-that-name"),
        ("keep_tokens_separator", "|" * 50, "too long"),
    ],
)
def test_a_wrong_value_is_refused_in_words(name: str, value: object, words: str) -> None:
    found = only_error(**{name: value})
    assert found.option == name
    assert words in found.message
    assert found.hint
    for jargon in ("Input should", "pydantic", "validation", "int_", "Traceback", "tuple"):
        assert jargon not in str(found)


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("network_dim", "16", 16),
        ("network_dim", 16.0, 16),
        ("learning_rate", 1, 1.0),
        ("learning_rate", "1e-4", 1e-4),
        ("flip_aug", "yes", True),
        ("flip_aug", 0, False),
        ("v2", "false", False),
        ("mixed_precision", "BF16", "bf16"),
        ("optimizer_type", "adamw8bit", "AdamW8bit"),
        ("lr_scheduler", "Cosine", "cosine"),
        ("max_token_length", 75, None),
        ("max_token_length", "75", None),
        ("max_token_length", "150", 150),
        ("save_every_n_epochs", 0, None),
        ("min_snr_gamma", 0, None),
        ("min_snr_gamma", 0.0, None),
        ("save_precision", "no", None),
        ("resolution", 512, (512, 512)),
        ("resolution", "512", (512, 512)),
        ("resolution", "512,768", (512, 768)),
        ("resolution", "512x768", (512, 768)),
        ("resolution", [512, 768], (512, 768)),
        ("text_encoder_lr", 1e-5, (1e-5,)),
        ("text_encoder_lr", "1e-5, 2e-5", (1e-5, 2e-5)),
        ("text_encoder_lr", ["1e-5"], (1e-5,)),
        ("caption_extension", "txt", ".txt"),
        ("caption_extension", "_tags.txt", "_tags.txt"),
        ("vae", '"/a b/vae.pt"\n', "/a b/vae.pt"),
        ("vae", '""', None),
        ("vae", "\n", None),
        ("training_comment", "0", "0"),
        ("optimizer_args", "weight_decay = 0.1 eps=1e-9", ("weight_decay=0.1", "eps=1e-9")),
        ("optimizer_args", ["betas=(0.9, 0.99)"], ("betas=(0.9, 0.99)",)),
    ],
)
def test_a_value_is_read_as_the_option_wants_it(name: str, value: object, read: object) -> None:
    found = values_of(job(**{name: value}))[name]
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("given", "read"),
    [(100, 100), ("100", 100), (100.0, 100), (0.1, 0.1), ("10%", 0.1), ("0.1", 0.1), (1.0, 1)],
)
def test_warm_up_is_steps_or_a_share(given: object, read: object) -> None:
    found = job(lr_scheduler="cosine", lr_warmup_steps=given).optimizer.lr_warmup_steps
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize("empty", [None, "", [], ()])
def test_an_empty_value_means_the_default(empty: object) -> None:
    for spec in option_specs(TrainNetworkJob):
        if spec.name not in NEEDED:
            assert values_of(job(**{spec.name: empty}))[spec.name] == spec.default, spec.name


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        job_from_values(
            TrainNetworkJob,
            {
                "network_dim": 0,
                "learning_rate": "x",
                "netwrk_alpha": 1,
                "cpu_offload_checkpointing": True,
                "full_fp16": True,
                "cache_text_encoder_outputs": True,
                "shuffle_caption": True,
            },
        )
    assert set(problems_of(caught.value)) == {
        "network_dim",
        "learning_rate",
        "netwrk_alpha",
        "cpu_offload_checkpointing",
        "pretrained_model_name_or_path",
        "train_data_dir, dataset_config",
        "full_fp16, mixed_precision",
        "cache_text_encoder_outputs, shuffle_caption",
    }


def test_several_problems_of_one_group_are_all_told() -> None:
    named = {problem.option for problem in errors(network_dim=0, network_alpha=-1, conv_dim="x")}
    assert named == {"network_dim", "network_alpha", "conv_dim"}


def test_a_rule_does_not_judge_a_value_that_is_wrong_itself() -> None:
    found = errors(dim_from_weights=True, network_weights=5)
    assert [problem.option for problem in found] == ["network_weights"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("netwrk_dim", "network_dim"),
        ("network-dim", "network_dim"),
        ("Learning_Rate", "learning_rate"),
        ("train_batchsize", "train_batch_size"),
        ("lr", "learning_rate"),
        ("rank", "network_dim"),
        ("epochs", "max_train_epochs"),
        ("batch_size", "train_batch_size"),
    ],
)
def test_an_unknown_name_is_refused_with_the_one_that_was_meant(name: str, meant: str) -> None:
    found = only_error(**{name: 1})
    assert found.option == name
    assert found.hint is not None
    assert meant in found.hint


def test_a_name_like_nothing_is_refused_without_a_guess() -> None:
    found = only_error(xyzzy=1)
    assert found.hint is not None
    assert "did you mean" not in found.hint


def test_a_job_is_frozen() -> None:
    made = job()
    with pytest.raises(ValueError, match="frozen"):
        made.network.network_dim = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        made.network = made.network  # type: ignore[misc]


def test_a_job_built_of_groups_is_checked_too() -> None:
    with pytest.raises(UserError, match="no pictures are given"):
        TrainNetworkJob(model=ModelOptions(pretrained_model_name_or_path="m"), data=DataOptions())


def test_warnings_stop_nothing_and_are_told() -> None:
    made = job(optimizer_type="Prodigy", learning_rate=1e-4)
    (warning,) = job_warnings(made)
    assert warning.severity == "warning"
    assert warning.option == "optimizer_type, learning_rate"
    assert warning in problems(optimizer_type="Prodigy", learning_rate=1e-4)


def test_values_are_replaced_and_checked_anew() -> None:
    made = job(network_dim=8, seed=1)
    changed = replace_values(made, {"seed": 7, "network_dim": None})
    assert (changed.training.seed, changed.network.network_dim) == (7, None)
    assert (made.training.seed, made.network.network_dim) == (1, 8)
    with pytest.raises(UserError, match="too small"):
        replace_values(made, {"seed": -7})


def test_disk_caches_switch_the_caches_on() -> None:
    made = job(
        cache_latents_to_disk=True,
        cache_latents=False,
        cache_text_encoder_outputs_to_disk=True,
        network_train_unet_only=True,
    )
    assert made.data.cache_latents
    assert made.data.cache_text_encoder_outputs


def test_attention_is_resolved() -> None:
    assert job().performance.attention == "sdpa"
    assert job(mem_eff_attn=True).performance.attention == "mem_eff_attn"
    assert job(xformers=True).performance.attention == "xformers"


def test_rates_fall_back_to_the_common_one() -> None:
    made = job(learning_rate=1e-4, text_encoder_lr=[1e-5]).optimizer
    assert made.effective_unet_lr == 1e-4
    assert [made.effective_text_encoder_lr(index) for index in (0, 1)] == [1e-5, 1e-5]
    both = job(learning_rate=1e-4, unet_lr=0, text_encoder_lr=[1e-5, 2e-5]).optimizer
    assert both.effective_unet_lr == 0
    assert [both.effective_text_encoder_lr(index) for index in (0, 1)] == [1e-5, 2e-5]
    assert job(learning_rate=1e-4).optimizer.effective_text_encoder_lr(1) == 1e-4


@pytest.mark.parametrize("spec", [s for s in SPECS.values() if s.minimum is not None])
def test_bounds_are_kept_and_said(spec: OptionSpec) -> None:
    assert spec.minimum is not None
    below = spec.minimum - (2 if spec.off_values else 1)
    (found,) = (
        problem
        for problem in check_values(TrainNetworkJob, {**NEEDED, spec.name: below})
        if problem.option == spec.name
    )
    assert found.severity == "error"
    assert found.hint is not None
    if spec.kind in ("int", "float"):
        assert str(int(spec.minimum)) in found.hint
