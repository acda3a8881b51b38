"""Cases for the rules of steps, saving and previews: rule, how bad, values, options named."""

from __future__ import annotations

from collections.abc import Mapping

_ADAFACTOR = {"optimizer_type": "Adafactor"}
_PIECEWISE = {"lr_scheduler": "piecewise_constant"}

COURSE_CASES: list[tuple[str, str, Mapping[str, object], str]] = [
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
    (
        "warmup_needs_scheduler",
        "error",
        {
            "lr_scheduler_type": "StepLR",
            "lr_scheduler_args": ["step_size=5"],
            "lr_warmup_steps": 5,
        },
        "lr_warmup_steps, lr_scheduler_type",
    ),
    (
        "warmup_needs_scheduler",
        "warning",
        {"optimizer_type": "AdamWScheduleFree", "lr_warmup_steps": 5},
        "lr_warmup_steps, optimizer_type",
    ),
    (
        "one_course",
        "warning",
        {"lr_scheduler_type": "CosineAnnealingLR", "lr_scheduler": "linear"},
        "lr_scheduler_type, lr_scheduler",
    ),
    (
        "course_of_no_use",
        "warning",
        {"optimizer_type": "AdamWScheduleFree", "lr_scheduler": "cosine"},
        "lr_scheduler, optimizer_type",
    ),
    (
        "course_of_no_use",
        "warning",
        {"optimizer_type": "SGDScheduleFree", "lr_scheduler_type": "PolynomialLR"},
        "lr_scheduler_type, optimizer_type",
    ),
    (
        "scheduler_arguments",
        "error",
        {"lr_scheduler_type": "StepLR"},
        "lr_scheduler_args, lr_scheduler_type",
    ),
    (
        "scheduler_arguments",
        "error",
        {"lr_scheduler_type": "CosineAnnealingLR", "lr_scheduler_args": ["T_max=soon"]},
        "lr_scheduler_args, lr_scheduler_type",
    ),
    ("tracker_needs_folder", "error", {"log_with": "tensorboard"}, "log_with, logging_dir"),
]
