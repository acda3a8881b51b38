"""Cases for the rules of whole models, fused steps and averages."""

from __future__ import annotations

from collections.abc import Mapping

from sd_scripts.options.jobs import FineTuneJob, Job, TrainDbJob

_CLASS = {"class_prompt": "a dog"}
_TEXT = {"train_text_encoder": True}
_FUSED = {"fused_backward_pass": True, "max_grad_norm": 0}
_BLOCKS = ",".join(["1e-6"] * 23)

FULL_CASES: list[tuple[type[Job], str, str, Mapping[str, object], str]] = [
    # job, rule, severity, values, options named
    *(
        (kind, "nothing_frozen", "error", {name: value}, name)
        for kind in (TrainDbJob, FineTuneJob)
        for name, value in (("fp8_base", True), ("fp8_base_unet", True), ("quantize_base", "int8"))
    ),
    (
        TrainDbJob,
        "cached_captions_of_an_encoder",
        "error",
        {"cache_text_encoder_outputs": True},
        "cache_text_encoder_outputs, train_text_encoder",
    ),
    (
        FineTuneJob,
        "cached_captions_of_an_encoder",
        "error",
        {"cache_text_encoder_outputs": True, **_TEXT},
        "cache_text_encoder_outputs, train_text_encoder",
    ),
    (
        TrainDbJob,
        "stop_what_learns",
        "warning",
        {"train_text_encoder": False, "stop_text_encoder_training": 5},
        "stop_text_encoder_training, train_text_encoder",
    ),
    *(
        (FineTuneJob, "unused_encoder_rate", "warning", {name: 1e-6}, f"{name}, train_text_encoder")
        for name in ("learning_rate_te", "learning_rate_te1", "learning_rate_te2")
    ),
    (
        TrainDbJob,
        "one_rate_for_the_model",
        "error",
        {"optimizer_type": "Prodigy", "learning_rate": 1, "learning_rate_te": 0.5},
        "optimizer_type, learning_rate_te",
    ),
    (
        FineTuneJob,
        "block_rates_need_a_rate",
        "error",
        {"optimizer_type": "Adafactor", "block_lr": _BLOCKS},
        "block_lr, optimizer_type",
    ),
    (TrainDbJob, "rate_of_a_whole_model", "warning", {"learning_rate": 1e-3}, "learning_rate"),
    (
        TrainDbJob,
        "rate_of_a_whole_model",
        "warning",
        {"optimizer_type": "Prodigy"},
        "learning_rate, optimizer_type",
    ),
    (
        TrainDbJob,
        "class_beside_a_dataset_file",
        "error",
        {**_CLASS, "train_data_dir": None, "dataset_config": "d.toml"},
        "class_prompt, dataset_config",
    ),
    (
        TrainDbJob,
        "class_without_weight",
        "error",
        {**_CLASS, "prior_loss_weight": 0},
        "class_prompt, prior_loss_weight",
    ),
    (
        TrainDbJob,
        "class_has_its_own_folder",
        "error",
        {**_CLASS, "class_data_dir": "pictures"},
        "class_data_dir, train_data_dir",
    ),
    (
        TrainDbJob,
        "class_has_its_own_folder",
        "error",
        {**_CLASS, "reg_data_dir": "r", "class_data_dir": "r"},
        "class_data_dir, reg_data_dir",
    ),
    (
        TrainDbJob,
        "one_way_to_fuse",
        "error",
        {**_FUSED, "fused_optimizer_groups": 4},
        "fused_backward_pass, fused_optimizer_groups",
    ),
    (
        FineTuneJob,
        "fused_steps_at_once",
        "error",
        {**_FUSED, "gradient_accumulation_steps": 2},
        "fused_backward_pass, gradient_accumulation_steps",
    ),
    (
        FineTuneJob,
        "fused_without_scaler",
        "error",
        {"fused_optimizer_groups": 4, "max_grad_norm": 0, "mixed_precision": "fp16"},
        "fused_optimizer_groups, mixed_precision",
    ),
    (
        FineTuneJob,
        "fused_by_parts",
        "error",
        {**_FUSED, "optimizer_type": "Prodigy", "learning_rate": 1},
        "fused_backward_pass, optimizer_type",
    ),
    (
        FineTuneJob,
        "fused_clipping",
        "warning",
        {"fused_backward_pass": True},
        "fused_backward_pass, max_grad_norm",
    ),
    (
        FineTuneJob,
        "one_average",
        "error",
        {"use_ema": True, "optimizer_type": "AdamWScheduleFree"},
        "use_ema, optimizer_type",
    ),
]

FULL_RIGHT: list[tuple[type[Job], Mapping[str, object]]] = [
    (TrainDbJob, {}),
    (TrainDbJob, {**_CLASS, "num_class_images": 5, "stop_text_encoder_training": -1}),
    (FineTuneJob, {"cache_text_encoder_outputs": True, "block_lr": _BLOCKS}),
    (FineTuneJob, {**_FUSED, **_TEXT, "optimizer_type": "AdamW8bit", "use_ema": True}),
    (TrainDbJob, {"optimizer_type": "Prodigy", "learning_rate": 1, "learning_rate_te": 0}),
]
