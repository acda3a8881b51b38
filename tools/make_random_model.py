"""Write a model with random weights: real layout and key names, real or tiny sizes.

For tests, benchmarks and trying the program without a download:
`python -m tools.make_random_model --family sd1 --size real --out model.safetensors`.
A name ending in `.safetensors` or `.ckpt` makes a single file, any other a diffusers folder.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sd_scripts.families.configs import FamilyConfigs, family_configs
from sd_scripts.families.detect import FamilyName, PredictionType
from sd_scripts.files import atomic_path, write_atomic
from sd_scripts.weights.checkpoint_keys import (
    TEXT_PLACES,
    UNET_PREFIX,
    VAE_PREFIX,
    Source,
    UNetLayout,
    text_source,
    unet_key,
    vae_source,
)

Size = Literal["real", "tiny"]
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class RandomModel:
    """The modules of a made-up model and what describes them."""

    family: FamilyName
    configs: FamilyConfigs
    unet: nn.Module
    vae: nn.Module
    text_encoders: tuple[nn.Module, ...]
    prediction_type: PredictionType


def tiny_configs(family: FamilyName) -> FamilyConfigs:
    """Return a family's configurations with every part present, but narrow and shallow.

    The vocabulary (49,408 tokens) and the 77 positions stay, so that the tokenizer does.
    """
    configs = family_configs(family)
    encoders = tuple(
        encoder
        | {
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_attention_heads": max(1, width // 64),
            "num_hidden_layers": 3,
            "projection_dim": width,
        }
        for encoder, width in zip(configs.text_encoders, (32, 64), strict=False)
    )
    unet = configs.unet | {
        "block_out_channels": [32, 64, 96] if family == "sdxl" else [32, 64, 96, 96],
        "cross_attention_dim": sum(encoder["hidden_size"] for encoder in encoders),
        "sample_size": 8,
    }
    if family == "sdxl":
        unet |= {
            "attention_head_dim": [1, 1, 3],
            "transformer_layers_per_block": [1, 1, 2],
            "projection_class_embeddings_input_dim": 6 * 256 + encoders[1]["projection_dim"],
        }
    elif family == "sd2":
        unet["attention_head_dim"] = [1, 1, 3, 3]
    vae = configs.vae | {"block_out_channels": [32, 32, 32, 32], "sample_size": 64}
    return replace(configs, unet=unet, vae=vae, text_encoders=encoders)


def _made(module_class: Any, config: object, dtype: torch.dtype) -> nn.Module:
    """Build one module in its default initialisation, in `dtype`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        module: nn.Module = module_class(config)
    finally:
        torch.set_default_dtype(before)
    return module.eval()


def make_model(
    family: FamilyName,
    size: Size,
    *,
    seed: int = 0,
    prediction_type: PredictionType | None = None,
    dtype: torch.dtype = torch.float32,
) -> RandomModel:
    """Make a model of random weights; the same arguments always make the same weights."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    configs = tiny_configs(family) if size == "tiny" else family_configs(family)
    if prediction_type is not None:
        configs.scheduler["prediction_type"] = prediction_type
    text_classes = {
        "CLIPTextModel": CLIPTextModel,
        "CLIPTextModelWithProjection": CLIPTextModelWithProjection,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RandomModel(
            family=family,
            configs=configs,
            unet=_made(UNet2DConditionModel.from_config, configs.unet, dtype),
            vae=_made(AutoencoderKL.from_config, configs.vae, dtype),
            text_encoders=tuple(
                _made(text_classes[config["architectures"][0]], CLIPTextConfig(**config), dtype)
                for config in configs.text_encoders
            ),
            prediction_type=configs.scheduler["prediction_type"],
        )


def _stored(tensor: Tensor, source: Source) -> Tensor:
    if source.transposed:
        tensor = tensor.T
    if source.conv:
        tensor = tensor[:, :, None, None]
    return tensor.contiguous()


def checkpoint_tensors(model: RandomModel) -> dict[str, Tensor]:
    """Return the model's tensors under the names of a single-file checkpoint."""
    config = model.configs.unet
    layout = UNetLayout.of(config["layers_per_block"], config["up_block_types"])
    places: list[tuple[Tensor, Source, str]] = [
        (tensor, Source(unet_key(name, layout)), UNET_PREFIX)
        for name, tensor in model.unet.state_dict().items()
    ]
    levels = len(model.configs.vae["block_out_channels"])
    for name, tensor in model.vae.state_dict().items():
        places.append((tensor, vae_source(name, levels), VAE_PREFIX))
    for place, encoder in zip(TEXT_PLACES[model.family], model.text_encoders, strict=True):
        for name, tensor in encoder.state_dict().items():
            source = text_source(name.removeprefix("text_model."), place.layout)
            places.append((tensor, source, place.prefix))
    tensors: dict[str, Tensor] = {}
    fused: dict[str, dict[int, Tensor]] = {}
    for tensor, source, prefix in places:
        if source.third is None:
            tensors[prefix + source.key] = _stored(tensor, source)
        else:
            fused.setdefault(prefix + source.key, {})[source.third] = tensor
    for key, thirds in fused.items():
        tensors[key] = torch.cat([thirds[third] for third in range(3)])
    return tensors


def write_checkpoint(
    model: RandomModel,
    path: str | Path,
    *,
    metadata: dict[str, str] | None = None,
    extra: dict[str, Tensor] | None = None,
) -> Path:
    """Write a single file; `extra` tensors (markers and the like) are added as they are."""
    from safetensors.torch import save_file

    path = Path(path)
    tensors = checkpoint_tensors(model) | (extra or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        if path.suffix == ".safetensors":
            save_file(tensors, temporary, metadata={"format": "pt"} | (metadata or {}))
        else:
            torch.save({"state_dict": tensors}, temporary)
    return path


def _write_part(folder: Path, module: nn.Module, config: dict[str, Any], weights: str) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "config.json", json.dumps(config, indent=2) + "\n")
    tensors = {}
    for name, tensor in module.state_dict().items():
        nested = weights == "model" and not name.startswith(("text_model.", "text_projection"))
        tensors["text_model." + name if nested else name] = tensor.contiguous()
    with atomic_path(folder / f"{weights}.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})


def write_folder(model: RandomModel, path: str | Path) -> Path:
    """Write a diffusers folder, as `save_pretrained` of a stock pipeline would lay it out."""
    from sd_scripts.families.text import clip_tokenizer

    path = Path(path)
    weights = "diffusion_pytorch_model"
    _write_part(path / "unet", model.unet, model.configs.unet, weights)
    _write_part(path / "vae", model.vae, model.configs.vae, weights)
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", model.configs.scheduler["_class_name"]],
    }
    if model.family == "sdxl":
        index |= {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True}
    else:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
        index["requires_safety_checker"] = False
    for number, encoder in enumerate(model.text_encoders):
        suffix = f"_{number + 1}" if number else ""
        config = model.configs.text_encoders[number]
        _write_part(path / f"text_encoder{suffix}", encoder, config, "model")
        clip_tokenizer(model.configs.tokenizer_pads[number]).save_pretrained(
            str(path / f"tokenizer{suffix}")
        )
        index[f"text_encoder{suffix}"] = ["transformers", config["architectures"][0]]
        index[f"tokenizer{suffix}"] = ["transformers", "CLIPTokenizer"]
    (path / "scheduler").mkdir(exist_ok=True)
    write_atomic(
        path / "scheduler" / "scheduler_config.json",
        json.dumps(model.configs.scheduler, indent=2) + "\n",
    )
    write_atomic(path / "model_index.json", json.dumps(index, indent=2) + "\n")
    return path


def main(argv: list[str] | None = None) -> int:
    """Make one model, as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tools.make_random_model", description=__doc__)
    parser.add_argument("--family", choices=get_args(FamilyName), default="sd1")
    parser.add_argument("--size", choices=get_args(Size), default="tiny")
    parser.add_argument("--prediction_type", choices=get_args(PredictionType), default=None)
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="fp32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    model = make_model(
        options.family,
        options.size,
        seed=options.seed,
        prediction_type=options.prediction_type,
        dtype=DTYPES[options.dtype],
    )
    single = options.out.suffix in (".safetensors", ".ckpt")
    written = write_checkpoint(model, options.out) if single else write_folder(model, options.out)
    print(f"wrote {written}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
