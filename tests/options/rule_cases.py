"""Cases for the rules between options: which rule, how bad, which values, which options named."""

from __future__ import annotations

from collections.abc import Mapping

from sd_scripts.options.jobs import Job, TrainTextualInversionJob
from tests.options.course_rule_cases import COURSE_CASES
from tests.options.data_rule_cases import DATA_CASES
from tests.options.full_rule_cases import FULL_CASES
from tests.options.network_rule_cases import NETWORK_CASES

_UNET_ONLY = {"network_train_unet_only": True}
_CACHED = {"cache_text_encoder_outputs": True, **_UNET_ONLY}
_ADAFACTOR = {"optimizer_type": "Adafactor"}
_WORD = {"token_string": "mycat7", "learning_rate": 1e-4}
_PIECEWISE = {"lr_scheduler": "piecewise_constant"}

CASES: list[tuple[str, str, Mapping[str, object], str]] = [
    # rule, severity, values, options named
    *DATA_CASES,
    *NETWORK_CASES,
    *COURSE_CASES,
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
        "one_base_format",
        "error",
        {"fp8_base": True, "quantize_base": "int8"},
        "fp8_base, quantize_base",
    ),
    (
        "one_base_format",
        "error",
        {"fp8_base_unet": True, "quantize_base": "nf4"},
        "fp8_base_unet, quantize_base",
    ),
    (
        "part_of_nothing",
        "warning",
        {"quantize_unet_only": True},
        "quantize_unet_only, quantize_base",
    ),
    (
        "mode_of_inductor",
        "error",
        {"torch_compile": True, "dynamo_backend": "eager", "dynamo_mode": "max-autotune"},
        "dynamo_mode, dynamo_backend",
    ),
    (
        "packed_and_compiled",
        "error",
        {"torch_compile": True, "pack_frozen_weights": "on"},
        "pack_frozen_weights, torch_compile",
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
        "random_offset_needs_offset",
        "warning",
        {"noise_offset_random_strength": True},
        "noise_offset_random_strength, noise_offset",
    ),
    (
        "adaptive_needs_offset",
        "error",
        {"adaptive_noise_scale": 0.1},
        "adaptive_noise_scale, noise_offset",
    ),
    (
        "random_perturbation_needs_gamma",
        "warning",
        {"ip_noise_gamma_random_strength": True},
        "ip_noise_gamma_random_strength, ip_noise_gamma",
    ),
    (
        "one_large_scale_noise",
        "warning",
        {"noise_offset": 0.1, "multires_noise_iterations": 6},
        "noise_offset, multires_noise_iterations",
    ),
    (
        "offset_beside_zero_snr",
        "warning",
        {"noise_offset": 0.1, "zero_terminal_snr": True},
        "noise_offset, zero_terminal_snr",
    ),
    (
        "one_weighting",
        "warning",
        {"min_snr_gamma": 5, "debiased_estimation_loss": True},
        "min_snr_gamma, debiased_estimation_loss",
    ),
    (
        "one_kind_of_prediction",
        "error",
        {"scale_v_pred_loss_like_noise_pred": True, "v_pred_like_loss": 1},
        "scale_v_pred_loss_like_noise_pred, v_pred_like_loss",
    ),
    (
        "velocity_has_its_loss",
        "error",
        {"v_pred_like_loss": 1, "v_parameterization": True},
        "v_pred_like_loss, v_parameterization",
    ),
    (
        "scaling_needs_velocity",
        "error",
        {"scale_v_pred_loss_like_noise_pred": True, "v_parameterization": False},
        "scale_v_pred_loss_like_noise_pred, v_parameterization",
    ),
    (
        "zero_snr_needs_velocity",
        "warning",
        {"zero_terminal_snr": True, "v_parameterization": False},
        "zero_terminal_snr, v_parameterization",
    ),
]

_INVERSION = {"token_string": "mycat7"}

CASES_OF_OTHERS: list[tuple[type[Job], str, str, Mapping[str, object], str]] = [
    # job, rule, severity, values, options named
    (
        TrainTextualInversionJob,
        "word_learns",
        "error",
        {**_INVERSION, "learning_rate": 0},
        "learning_rate",
    ),
    (TrainTextualInversionJob, "word_learns", "warning", _INVERSION, "learning_rate"),
    *FULL_CASES,
]

RIGHT: list[Mapping[str, object]] = [
    {**_WORD, "embedding_lr": 1e-3, "init_word": "cat", "num_vectors_per_token": 4},
    {**_WORD, "embedding_lr": 0, "weights": "word.safetensors", "use_style_template": True},
    {"learning_rate": 1e-4},
    {"train_data_dir": None, "dataset_config": "d.toml", "learning_rate": 1e-4},
    {**_CACHED, "learning_rate": 1e-4},
    {"cache_text_encoder_outputs": True, "learning_rate": 1e-4, "text_encoder_lr": 0},
    {"full_fp16": True, "mixed_precision": "fp16", "unet_lr": 1e-4},
    {"lr_scheduler": "constant_with_warmup", "lr_warmup_steps": 10, "learning_rate": 1e-3},
    {**_ADAFACTOR, "lr_scheduler": "adafactor"},
    {**_ADAFACTOR, "optimizer_args": ["relative_step=False"], "learning_rate": 1e-4},
    {
        "network_module": "lycoris.kohya",
        "network_dim": 100_000,
        "network_args": ["algo=lokr", "factor=8"],
        "learning_rate": 1e-4,
    },
    {"optimizer_type": "Prodigy", "learning_rate": 1},
    {
        "optimizer_type": "prodigyplus.ProdigyPlusScheduleFree",
        "learning_rate": 1,
        "text_encoder_lr": 0.5,
    },
    {"optimizer_type": "AdamWScheduleFree", "learning_rate": 1e-3},
    {
        "lr_scheduler_type": "MultiStepLR",
        "lr_scheduler_args": ["milestones=[10,20]", "gamma=0.3"],
        "learning_rate": 1e-4,
    },
    {"optimizer_type": "Prodigy", "learning_rate": 1, "text_encoder_lr": 0},
    {"optimizer_type": "Prodigy", "unet_lr": 1, "network_train_unet_only": True},
    {
        **_PIECEWISE,
        "lr_scheduler_args": ["step_rules='1:10,0.1:20,0.01'"],
        "learning_rate": 1e-4,
    },
    {"huber_c": 0.3, "learning_rate": 1e-4},
    {"masked_loss": True, "conditioning_data_dir": "m", "learning_rate": 1e-4},
    {"masked_loss": True, "alpha_mask": True, "learning_rate": 1e-4},
    {
        "noise_offset": 0.1,
        "noise_offset_random_strength": True,
        "adaptive_noise_scale": 0.1,
        "ip_noise_gamma": 0.1,
        "ip_noise_gamma_random_strength": True,
        "debiased_estimation_loss": True,
        "learning_rate": 1e-4,
    },
    {
        "v_parameterization": True,
        "zero_terminal_snr": True,
        "scale_v_pred_loss_like_noise_pred": True,
        "learning_rate": 1e-4,
    },
    {"random_crop": True, "learning_rate": 1e-4},
    {"resolution": "512,768", "enable_bucket": True, "learning_rate": 1e-4},
    {"save_last_n_epochs": 2, "save_n_epoch_ratio": 4, "learning_rate": 1e-4},
    {"sample_at_first": True, "sample_prompts": "p.txt", "learning_rate": 1e-4},
]
