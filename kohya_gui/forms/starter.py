"""The form filled with what ships: a small model and pictures, to try the whole job anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kohya_gui.forms.drafts import Draft
from sd_scripts.options.form_values import to_form
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.values import job_from_values
from sd_scripts.shipped import STARTER_MODEL, STARTER_PICTURES

TRIGGER: Final = "zwx"
PROMPT_SETTINGS: Final = "--w 128 --h 128 --s 12 --ss dpmsolver++ --l 4 --d 42"
RECIPE: Final[dict[str, object]] = {
    "pretrained_model_name_or_path": str(STARTER_MODEL),
    "caption_extension": ".txt",
    "resolution": "128",
    "train_batch_size": 12,
    "cache_latents": True,
    "network_dim": 16,
    "network_alpha": 16,
    "conv_dim": 8,
    "conv_alpha": 8,
    "network_train_unet_only": True,
    "max_train_steps": 280,
    "learning_rate": 1.5e-3,
    "lr_scheduler": "cosine",
    "min_snr_gamma": 5,
    "min_timestep": 200,  # forms are settled in the noisier steps; the rest stays as it was
    "seed": 42,
}
"""What teaches the starter a new subject in about two minutes on a CPU, and keeps the others."""
REPEATS: Final = 3
"""How often a pass shows each of the 16 pictures: enough for all 40 class pictures."""


def shared_out(recipe: Mapping[str, object], num_processes: int) -> dict[str, object]:
    """Return a recipe for so many processes, which see as many pictures in a step together."""
    batch = recipe["train_batch_size"]
    assert isinstance(batch, int)
    assert batch % num_processes == 0, f"{batch} pictures for {num_processes} processes"
    return {**recipe, "train_batch_size": batch // num_processes}


def starter_is_there() -> bool:
    """Whether the starter came with this copy of the program."""
    return (STARTER_MODEL / "model_index.json").is_file()


def starter_draft() -> Draft:
    """Return a LoRA job on the starter: a few minutes on a CPU."""
    values: dict[str, object] = {
        **RECIPE,
        "train_data_dir": str(STARTER_PICTURES / "robot"),
        "reg_data_dir": str(STARTER_PICTURES / "class_all"),
        "dataset_repeats": REPEATS,
        "output_name": "robot",
        "sample_every_n_steps": 140,
        "sample_at_first": True,
    }
    form = to_form(job_from_values(TrainNetworkJob, values))
    prompts = "\n".join(
        f"{words} {PROMPT_SETTINGS}"
        for words in (
            f"a large {TRIGGER} robot on a blue background",
            f"a small {TRIGGER} robot on a yellow background",
            "a large cat on a green background",
        )
    )
    return Draft(TrainNetworkJob.name, {name: form[name] for name in values}, prompts)
