"""Puts the trained parts together: a diffusers folder like any other Stable Diffusion 1.x."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from sd_scripts.families.text import clip_tokenizer
from sd_scripts.files import write_atomic
from sd_scripts.options.groups.metadata import MetadataOptions
from sd_scripts.weights.model_spec import model_spec
from tools.starter.scenes import PICTURE_SIZE

WEIGHTS: Final = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}
COPIED: Final = ("judge", "tagger", "captioner", "pictures")
MADE_AT: Final = 1795392000.0  # 2026-11-23, so that the same weights always give the same files
ABOUT: Final = MetadataOptions(
    metadata_title="Starter",
    metadata_author="the authors of this project",
    metadata_description="A very small Stable Diffusion 1.x of emoji on coloured grounds, to try "
    "training on a CPU",
    metadata_license="Apache-2.0; trained on pictures of Noto Color Emoji (SIL OFL 1.1)",
    metadata_tags="starter, emoji, tiny",
)
LARGEST_BYTES: Final = 35_000_000


def scheduler_of() -> Any:
    """Return the noise schedule of SD 1.x (scaled linear β, 1,000 steps)."""
    make: Any = DDIMScheduler  # untyped
    return make(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def pipeline_of(folder: Path) -> Any:
    """Return a stock pipeline of the parts in a folder of trained parts."""
    make: Any = StableDiffusionPipeline  # untyped, as its parts
    vae: Any = AutoencoderKL
    unet: Any = UNet2DConditionModel
    pipeline = make(
        vae=vae.from_pretrained(folder / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
        tokenizer=clip_tokenizer(),
        unet=unet.from_pretrained(folder / "unet"),
        scheduler=scheduler_of(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def write_part(source: Path, target: Path, name: str) -> None:
    """Copy one part as float16 safetensors, its configuration beside it."""
    target.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    if name == "text_encoder":
        config["dtype"] = "float16"
    write_atomic(target / "config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")
    tensors = load_file(source / WEIGHTS[name])
    halves = {
        key: tensor.to(torch.float16).contiguous() if tensor.is_floating_point() else tensor
        for key, tensor in tensors.items()
    }
    known = {"resolution": f"{PICTURE_SIZE}x{PICTURE_SIZE}"}
    about = model_spec(("sd1", "epsilon"), "checkpoint", ABOUT, known=known, timestamp=MADE_AT)
    save_file(halves, target / WEIGHTS[name], metadata={"format": "pt", **about})


def write_model(work: Path, target: Path) -> None:
    """Write the base model as a diffusers folder; its tokenizer is CLIP's, which every tool has."""
    for name in WEIGHTS:
        write_part(work / name, target / name, name)
    scheduler_of().save_pretrained(target / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    write_atomic(target / "model_index.json", json.dumps(index, indent=2) + "\n")


def assemble(work: Path, starter: Path) -> int:
    """Write all that ships below `starter`; returns its size in bytes."""
    write_model(work, starter / "model")
    for name in COPIED:
        if (work / name).is_dir():
            shutil.rmtree(starter / name, ignore_errors=True)
            shutil.copytree(work / name, starter / name)
    for path in starter.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # some writers leave files to their owner
    size = sum(path.stat().st_size for path in starter.rglob("*") if path.is_file())
    assert size <= LARGEST_BYTES, f"{size / 1e6:.1f} MB are more than may ship"
    return size
