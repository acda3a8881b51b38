"""Rules between options: each case names the options, and every rule has a case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from sd_scripts.errors import Problem
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.rules.all_rules import RULES, Rule
from sd_scripts.options.schema import Options
from sd_scripts.options.values import check_values
from tests.options.support import NEEDED, job, problems

_UNET_ONLY = {"network_train_unet_only": True}
_CACHED = {"cache_text_encoder_outputs": True, **_UNET_ONLY}
_ADAFACTOR = {"optimizer_type": "Adafactor"}
_PIECEWISE = {"lr_scheduler": "piecewise_constant"}

CASES: list[tuple[str, str, Mapping[str, object], str]] = [
    # rule, severity, values, options named
    ("one_source", "error", {"train_data_dir": None}, "train_data_dir, dataset_config"),
    ("one_source", "error", {"dataset_config": "d.toml"}, "train_data_dir, dataset_config"),
    (
        "regularisation_in_dataset_file",
        "warning",
        {"train_data_dir": None, "dataset_config": "d.toml", "reg_data_dir": "r"},
        "reg_data_dir, dataset_config",
    ),
    (
        "bucket_range",
        "error",
        {"enable_bucket": True, "min_bucket_reso": 2048},
        "min_bucket_reso, max_bucket_reso",
    ),
    (
        "bucket_steps",
        "error",
        {"enable_bucket": True, "bucket_reso_steps": 40},
        "bucket_reso_steps",
    ),
    (
        "bucket_steps",
        "warning",
        {"enable_bucket": True, "min_bucket_reso": 300},
        "min_bucket_reso, bucket_reso_steps",
    ),
    (
        "bucket_steps",
        "warning",
        {"enable_bucket": True, "max_bucket_reso": 1000},
        "max_bucket_reso, bucket_reso_steps",
    ),
    (
        "resolution_within_buckets",
        "error",
        {"enable_bucket": True, "resolution": 1280},
        "resolution, max_bucket_reso",
    ),
    (
        "resolution_within_buckets",
        "error",
        {"enable_bucket": True, "resolution": 128},
        "resolution, min_bucket_reso",
    ),
    ("resolution_fits_the_model", "error", {"resolution": "511"}, "resolution"),
    (
        "resolution_fits_the_model",
        "warning",
        {"resolution": "520", "enable_bucket": True},
        "resolution, bucket_reso_steps",
    ),
    (
        "crop_needs_pixels",
        "error",
        {"random_crop": True, "cache_latents": True},
        "random_crop, cache_latents",
    ),
    (
        "crop_needs_pixels",
        "error",
        {"random_crop": True, "cache_latents_to_disk": True},
        "random_crop, cache_latents",
    ),
    (
        "persistent_needs_workers",
        "warning",
        {"persistent_data_loader_workers": True, "max_data_loader_n_workers": 0},
        "persistent_data_loader_workers, max_data_loader_n_workers",
    ),
    *(
        (
            "cached_captions_stay",
            "error",
            {**_CACHED, name: value},
            f"cache_text_encoder_outputs, {name}",
        )
        for name, value in {
            "shuffle_caption": True,
            "enable_wildcard": True,
            "caption_dropout_rate": 0.1,
            "caption_dropout_every_n_epochs": 2,
            "caption_tag_dropout_rate": 0.1,
            "token_warmup_step": 10,
        }.items()
    ),
    (
        "one_way_to_keep",
        "warning",
        {"keep_tokens": 1, "keep_tokens_separator": "|||"},
        "keep_tokens, keep_tokens_separator",
    ),
    (
        "one_part_only",
        "error",
        {**_UNET_ONLY, "network_train_text_encoder_only": True},
        "network_train_unet_only, network_train_text_encoder_only",
    ),
    ("something_learns", "error", {"unet_lr": 0, "text_encoder_lr": 0}, "unet_lr, text_encoder_lr"),
    ("something_learns", "error", {"learning_rate": 0}, "learning_rate, unet_lr, text_encoder_lr"),
    (
        "something_learns",
        "error",
        {**_UNET_ONLY, "unet_lr": 0},
        "network_train_unet_only, unet_lr",
    ),
    (
        "something_learns",
        "error",
        {"network_train_text_encoder_only": True, "text_encoder_lr": [0, 0]},
        "network_train_text_encoder_only, text_encoder_lr",
    ),
    (
        "unused_text_rate",
        "warning",
        {**_UNET_ONLY, "text_encoder_lr": 1e-5},
        "text_encoder_lr, network_train_unet_only",
    ),
    (
        "unused_unet_rate",
        "warning",
        {"network_train_text_encoder_only": True, "unet_lr": 1e-4},
        "unet_lr, network_train_text_encoder_only",
    ),
    (
        "cached_captions_cannot_learn",
        "error",
        {"cache_text_encoder_outputs": True},
        "cache_text_encoder_outputs, network_train_unet_only",
    ),
    (
        "rank_needs_file",
        "error",
        {"dim_from_weights": True},
        "dim_from_weights, network_weights",
    ),
    (
        "rank_given_twice",
        "warning",
        {"dim_from_weights": True, "network_weights": "a", "network_dim": 4},
        "dim_from_weights, network_dim",
    ),
    ("known_network_arguments", "error", {"network_args": ["foo=1"]}, "network_args"),
    ("known_network_arguments", "error", {"network_args": ["block_dims=1"]}, "network_args"),
    ("full_fp16_needs_fp16", "error", {"full_fp16": True}, "full_fp16, mixed_precision"),
    (
        "full_bf16_needs_bf16",
        "error",
        {"full_bf16": True, "mixed_precision": "fp16"},
        "full_bf16, mixed_precision",
    ),
    ("one_attention", "error", {"sdpa": True, "xformers": True}, "sdpa, xformers"),
    ("one_attention", "error", {"mem_eff_attn": True, "sdpa": True}, "sdpa, mem_eff_attn"),
    (
        "timesteps_in_order",
        "error",
        {"min_timestep": 500, "max_timestep": 500},
        "min_timestep, max_timestep",
    ),
    (
        "one_length",
        "warning",
        {"max_train_epochs": 3, "max_train_steps": 100},
        "max_train_steps, max_train_epochs",
    ),
    (
        "known_optimizer_arguments",
        "error",
        {"optimizer_args": ["momentum=0.9"]},
        "optimizer_args, optimizer_type",
    ),
    (
        "known_optimizer_arguments",
        "error",
        {"optimizer_args": ["weight_decay=much"]},
        "optimizer_args, optimizer_type",
    ),
    (
        "known_optimizer_arguments",
        "error",
        {"optimizer_args": ["betas=0.9"]},
        "optimizer_args, optimizer_type",
    ),
    (
        "known_optimizer_arguments",
        "error",
        {"optimizer_args": ["lr=1"]},
        "optimizer_args, learning_rate",
    ),
    (
        "adafactor_warmup_init",
        "error",
        {**_ADAFACTOR, "optimizer_args": ["warmup_init=True", "relative_step=False"]},
        "optimizer_args, optimizer_type",
    ),
    (
        "rates_beside_adafactor",
        "warning",
        {**_ADAFACTOR, "unet_lr": 1e-4},
        "optimizer_type, unet_lr",
    ),
    (
        "prodigy_wants_one",
        "warning",
        {"optimizer_type": "Prodigy", "unet_lr": 0.1, "text_encoder_lr": 0},
        "optimizer_type, unet_lr",
    ),
    (
        "one_rate_for_all",
        "error",
        {"optimizer_type": "Prodigy", "unet_lr": 1, "text_encoder_lr": 0.5},
        "optimizer_type, unet_lr, text_encoder_lr",
    ),
    ("unusual_rate", "warning", {"learning_rate": 2e-6}, "learning_rate"),
    ("unusual_rate", "warning", {"learning_rate": 1e-4, "unet_lr": 1}, "unet_lr"),
    ("warmup_needs_scheduler", "error", {"lr_warmup_steps": 10}, "lr_warmup_steps, lr_scheduler"),
    (
        "warmup_needs_scheduler",
        "error",
        {**_PIECEWISE, "lr_scheduler_args": ["step_rules=1:10,0.1"], "lr_warmup_steps": 0.1},
        "lr_warmup_steps, lr_scheduler",
    ),
    (
        "warmup_needs_scheduler",
        "warning",
        {**_ADAFACTOR, "lr_warmup_steps": 10},
        "lr_warmup_steps, optimizer_type",
    ),
    (
        "lowest_rate_needed",
        "error",
        {"lr_scheduler": "cosine_with_min_lr"},
        "lr_scheduler_min_lr_ratio, lr_scheduler",
    ),
    (
        "decay_needed",
        "warning",
        {"lr_scheduler": "warmup_stable_decay"},
        "lr_decay_steps, lr_scheduler",
    ),
    (
        "warmup_fits",
        "warning",
        {"lr_scheduler": "cosine", "lr_warmup_steps": 2000},
        "lr_warmup_steps, max_train_steps",
    ),
    (
        "warmup_fits",
        "warning",
        {
            "lr_scheduler": "warmup_stable_decay",
            "lr_warmup_steps": 0.6,
            "lr_decay_steps": 0.6,
            "max_train_epochs": 3,
        },
        "lr_warmup_steps, lr_decay_steps, max_train_steps",
    ),
    ("scheduler_arguments", "error", _PIECEWISE, "lr_scheduler_args, lr_scheduler"),
    (
        "scheduler_arguments",
        "error",
        {"lr_scheduler_args": ["lr_end=1"]},
        "lr_scheduler_args, lr_scheduler",
    ),
    (
        "scheduler_arguments",
        "error",
        {**_PIECEWISE, "lr_scheduler_args": ["step_rules=1:20,0.1:10,0.01"]},
        "lr_scheduler_args",
    ),
    (
        "scheduler_arguments",
        "error",
        {**_PIECEWISE, "lr_scheduler_args": ["step_rules=often"]},
        "lr_scheduler_args",
    ),
    ("adafactor_course", "error", {"lr_scheduler": "adafactor"}, "lr_scheduler, optimizer_type"),
    (
        "adafactor_course",
        "warning",
        {**_ADAFACTOR, "lr_scheduler": "cosine"},
        "lr_scheduler, optimizer_type",
    ),
    (
        "kept_epochs_need_saves",
        "error",
        {"save_last_n_epochs": 2},
        "save_last_n_epochs, save_every_n_epochs",
    ),
    (
        "kept_epochs_need_saves",
        "error",
        {"save_last_n_epochs_state": 2, "save_state": True},
        "save_last_n_epochs_state, save_every_n_epochs",
    ),
    (
        "kept_steps_need_saves",
        "error",
        {"save_last_n_steps": 2},
        "save_last_n_steps, save_every_n_steps",
    ),
    (
        "kept_states_need_states",
        "warning",
        {"save_last_n_steps_state": 2, "save_every_n_steps": 1},
        "save_last_n_steps_state, save_state",
    ),
    (
        "one_start",
        "warning",
        {"resume": "a-state", "network_weights": "a.safetensors"},
        "resume, network_weights",
    ),
    (
        "one_way_to_count_saves",
        "warning",
        {"save_n_epoch_ratio": 4, "save_every_n_epochs": 1},
        "save_n_epoch_ratio, save_every_n_epochs",
    ),
    (
        "previews_need_prompts",
        "warning",
        {"sample_every_n_epochs": 1, "sample_at_first": True},
        "sample_prompts, sample_every_n_epochs, sample_at_first",
    ),
    (
        "previews_need_prompts",
        "warning",
        {"sample_prompts": "p.txt"},
        "sample_prompts, sample_every_n_epochs",
    ),
    (
        "one_preview_rhythm",
        "warning",
        {"sample_every_n_steps": 5, "sample_every_n_epochs": 1, "sample_prompts": "p.txt"},
        "sample_every_n_steps, sample_every_n_epochs",
    ),
    ("tracker_needs_folder", "error", {"log_with": "tensorboard"}, "log_with, logging_dir"),
]

RIGHT: list[Mapping[str, object]] = [
    {"learning_rate": 1e-4},
    {"train_data_dir": None, "dataset_config": "d.toml", "learning_rate": 1e-4},
    {**_CACHED, "learning_rate": 1e-4},
    {"cache_text_encoder_outputs": True, "learning_rate": 1e-4, "text_encoder_lr": 0},
    {"full_fp16": True, "mixed_precision": "fp16", "unet_lr": 1e-4},
    {"lr_scheduler": "constant_with_warmup", "lr_warmup_steps": 10, "learning_rate": 1e-3},
    {**_ADAFACTOR, "lr_scheduler": "adafactor"},
    {**_ADAFACTOR, "optimizer_args": ["relative_step=False"], "learning_rate": 1e-4},
    {"optimizer_type": "Prodigy", "learning_rate": 1},
    {"optimizer_type": "Prodigy", "learning_rate": 1, "text_encoder_lr": 0},
    {"optimizer_type": "Prodigy", "unet_lr": 1, "network_train_unet_only": True},
    {
        **_PIECEWISE,
        "lr_scheduler_args": ["step_rules='1:10,0.1:20,0.01'"],
        "learning_rate": 1e-4,
    },
    {"huber_c": 0.3, "learning_rate": 1e-4},
    {"random_crop": True, "learning_rate": 1e-4},
    {"resolution": "512,768", "enable_bucket": True, "learning_rate": 1e-4},
    {"save_last_n_epochs": 2, "save_n_epoch_ratio": 4, "learning_rate": 1e-4},
    {"sample_at_first": True, "sample_prompts": "p.txt", "learning_rate": 1e-4},
]


def _from_rule(name: str, values: Mapping[str, object]) -> list[Problem]:
    found = next(rule for rule in RULES if rule.check.__name__ == name)
    others = [rule for rule in RULES if rule is not found]
    for rule in others:
        RULES.remove(rule)
    try:
        return check_values(TrainNetworkJob, {**NEEDED, **values})
    finally:
        RULES[:] = [found, *others]


@pytest.mark.parametrize(("name", "severity", "values", "option"), CASES)
def test_a_rule_names_the_options_and_the_remedy(
    name: str, severity: str, values: Mapping[str, object], option: str
) -> None:
    found = [problem for problem in _from_rule(name, values) if problem.option == option]
    assert [problem.severity for problem in found] == [severity]
    assert found[0].hint
    assert found[0] in problems(**values)


def test_every_rule_has_a_case() -> None:
    assert {rule.check.__name__ for rule in RULES} == {case[0] for case in CASES}


@pytest.mark.parametrize("values", RIGHT)
def test_right_jobs_have_nothing_to_complain_of(values: Mapping[str, object]) -> None:
    assert problems(**values) == []


class _Watched:
    """Hands out a group's attributes and notes which options are read."""

    def __init__(self, group: Options, read: set[str]) -> None:
        self._group = group
        self._read = read

    def __getattr__(self, name: str) -> object:
        fields = type(self._group).model_fields
        if name in fields:
            self._read.add(name)
        found = getattr(type(self._group), name, None)
        if isinstance(found, property):
            assert found.fget is not None
            return found.fget(self)
        if name not in fields and callable(found):
            return lambda *args, **kwargs: found(self, *args, **kwargs)
        return getattr(self._group, name)

    def model_dump(self, include: set[str]) -> dict[str, object]:
        self._read |= include
        return self._group.model_dump(include=include)


def _watched_jobs() -> Iterator[Mapping[str, object]]:
    yield from RIGHT
    for _, severity, values, _ in CASES:
        if severity == "warning":
            yield values


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.check.__name__)
def test_a_rule_reads_only_the_options_it_names(rule: Rule) -> None:
    read: set[str] = set()
    for values in _watched_jobs():
        by_type = {type(group): group for group in job(**values).groups().values()}
        list(rule.check(*(_Watched(by_type[group], read) for group in rule.groups)))
    assert read <= set(rule.options)
