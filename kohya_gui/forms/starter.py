"""The form filled with what ships: a small model and pictures, to try the whole job anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import kohya_gui
from kohya_gui.forms.drafts import Draft
from sd_scripts.options.form_values import to_form
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.values import job_from_values

STARTER: Final = Path(kohya_gui.__file__).resolve().parent.parent / "presets" / "starter"
TRIGGER: Final = "zwx"
_PROMPT_SETTINGS: Final = "--w 128 --h 128 --s 20 --l 4 --d 42"


def starter_is_there() -> bool:
    """Whether the starter came with this copy of the program."""
    return (STARTER / "model" / "model_index.json").is_file()


def starter_draft() -> Draft:
    """Return a LoRA job on the starter: a few minutes on a CPU."""
    values: dict[str, object] = {
        "pretrained_model_name_or_path": str(STARTER / "model"),
        "train_data_dir": str(STARTER / "pictures" / "robot"),
        "caption_extension": ".txt",
        "resolution": "128",
        "train_batch_size": 8,
        "cache_latents": True,
        "network_dim": 16,
        "network_alpha": 16,
        "conv_dim": 8,
        "conv_alpha": 8,
        "max_train_steps": 240,
        "learning_rate": 1.2e-3,
        "text_encoder_lr": [2e-4],
        "lr_scheduler": "cosine",
        "min_snr_gamma": 5,
        "output_name": "robot",
        "sample_every_n_steps": 80,
        "sample_at_first": True,
    }
    form = to_form(job_from_values(TrainNetworkJob, values))
    prompts = "\n".join(
        f"{words} {_PROMPT_SETTINGS}"
        for words in (
            f"a large {TRIGGER} robot on a blue background",
            f"a small {TRIGGER} robot on a yellow background",
            "a large cat on a green background",
        )
    )
    return Draft(TrainNetworkJob.name, {name: form[name] for name in values}, prompts)
