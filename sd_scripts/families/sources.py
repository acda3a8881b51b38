"""The two ways a model is stored, single file and diffusers folder, behind the same few calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import torch
from torch import Tensor

from sd_scripts.errors import UserError
from sd_scripts.families.configs import Config, FamilyConfigs, family_configs
from sd_scripts.families.detect import OPTION, FamilyName
from sd_scripts.families.modules import Placing, empty_text_encoder, empty_unet, empty_vae, fill
from sd_scripts.families.sizes import (
    diffusers_vae_config,
    text_config,
    unet_config,
    vae_config,
)
from sd_scripts.weights.checkpoint import Shapes, Weights, open_weights
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
from sd_scripts.weights.folders import part_weights, read_json

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from sd_scripts.families.base import TextEncoder

VAE_OPTION: Final = "vae"
_DIFFUSERS_STEM: Final = "diffusion_pytorch_model"
# diffusers' names of the VAE's attention before version 0.14.
_OLD_VAE_ATTENTION: Final = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}


class ModelSource(Protocol):
    """Where a model's parts come from."""

    def unet(self, placing: Placing) -> UNet2DConditionModel:
        """Load the U-Net."""

    def text_encoder(self, number: int, placing: Placing) -> TextEncoder:
        """Load the first (0) or second (1) text encoder."""

    def vae(self, placing: Placing) -> AutoencoderKL:
        """Load the model's own VAE; raises `UserError` if it has none."""

    def tokenizer_folder(self, number: int) -> Path | None:
        """Return the folder of the model's own tokenizer, if it has one."""


def open_source(path: Path, family: FamilyName) -> ModelSource:
    """Open a single file or a diffusers folder."""
    return FolderSource(path, family) if path.is_dir() else FileSource(path, family)


def _under(shapes: Shapes, prefix: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes below a prefix, by the rest of their names."""
    return {
        name.removeprefix(prefix): shape
        for name, shape in shapes.items()
        if name.startswith(prefix)
    }


class FileSource:
    """A single file in one of the published layouts; sizes are read off its tensors."""

    def __init__(self, path: Path, family: FamilyName) -> None:
        self._family: FamilyName = family
        self._base: FamilyConfigs = family_configs(family)
        self._weights: Weights = open_weights(path, option=OPTION)

    def unet(self, placing: Placing) -> UNet2DConditionModel:
        shapes = _under(self._weights.shapes, UNET_PREFIX)
        config = unet_config(self._base.unet, shapes)
        layout = UNetLayout.of(config["layers_per_block"], config["up_block_types"])
        unet = empty_unet(config)
        fill(unet, self._weights, UNET_PREFIX, lambda n: Source(unet_key(n, layout)), placing)
        return unet

    def text_encoder(self, number: int, placing: Placing) -> TextEncoder:
        place = TEXT_PLACES[self._family][number]
        base = self._base.text_encoders[number]
        prefix = place.prefix
        inside = "text_model." if place.layout == "hf" else ""
        if not any(name.startswith(prefix + inside) for name in self._weights.shapes):
            inside = ""
        shapes = _under(self._weights.shapes, prefix + inside)
        encoder = empty_text_encoder(text_config(base, shapes, place.layout))

        def source_of(name: str) -> Source:
            source = text_source(name, place.layout)
            if place.layout == "openclip":
                return source
            return Source(inside + source.key.removeprefix("text_model."))

        fill(encoder, self._weights, prefix, source_of, placing)
        return encoder

    def vae(self, placing: Placing) -> AutoencoderKL:
        if not any(name.startswith(VAE_PREFIX) for name in self._weights.shapes):
            raise UserError(
                f"{self._weights.label} has no VAE in it",
                option=f"{OPTION}, {VAE_OPTION}",
                hint="name a VAE of this model family in the option vae",
            )
        return _ldm_vae(self._weights, VAE_PREFIX, self._base.vae, placing)

    def tokenizer_folder(self, number: int) -> Path | None:
        return None


class FolderSource:
    """A diffusers folder: each part has its own folder, with configuration and weights."""

    def __init__(self, path: Path, family: FamilyName) -> None:
        self._path = path
        self._base: FamilyConfigs = family_configs(family)

    def _part(self, name: str, stem: str) -> tuple[Config, Weights]:
        folder = self._path / name
        if not folder.is_dir():
            raise UserError(
                f"{self._path} has no folder {name}",
                option=OPTION,
                hint="download the model again, with all its folders",
            )
        return read_json(folder / "config.json", OPTION), _renamed(
            open_weights(*part_weights(folder, stem, OPTION), option=OPTION)
        )

    def unet(self, placing: Placing) -> UNet2DConditionModel:
        config, weights = self._part("unet", _DIFFUSERS_STEM)
        unet = empty_unet(config)
        fill(unet, weights, "", Source, placing)
        return unet

    def text_encoder(self, number: int, placing: Placing) -> TextEncoder:
        name = f"text_encoder_{number + 1}" if number else "text_encoder"
        config, weights = self._part(name, "model")
        kind = {"architectures": self._base.text_encoders[number]["architectures"]}
        encoder = empty_text_encoder(config | kind)
        fill(encoder, weights, "", Source, placing)
        return encoder

    def vae(self, placing: Placing) -> AutoencoderKL:
        if not (self._path / "vae").is_dir():
            raise UserError(
                f"{self._path} has no VAE in it",
                option=f"{OPTION}, {VAE_OPTION}",
                hint="name a VAE of this model family in the option vae",
            )
        config, weights = self._part("vae", _DIFFUSERS_STEM)
        vae = empty_vae(config)
        fill(vae, weights, "", Source, placing)
        return vae

    def tokenizer_folder(self, number: int) -> Path | None:
        folder = self._path / (f"tokenizer_{number + 1}" if number else "tokenizer")
        return folder if folder.is_dir() else None


class _Renamed:
    """Weights under other names."""

    def __init__(self, weights: Weights, names: Mapping[str, str]) -> None:
        self.label = weights.label
        self._weights = weights
        self._names = names
        self.shapes: Shapes = {new: weights.shapes[old] for new, old in names.items()}

    def tensor(
        self, name: str, dtype: torch.dtype | None = None, third: int | None = None
    ) -> Tensor:
        return self._weights.tensor(self._names[name], dtype, third)


def _renamed(weights: Weights) -> Weights:
    """Bring older names of diffusers and transformers to today's, without `text_model.`."""
    return _Renamed(weights, {_today(name): name for name in weights.shapes})


def _today(name: str) -> str:
    if match := re.fullmatch(r"(.*mid_block\.attentions\.0\.)(\w+)(\.\w+)", name):
        before, part, after = match.groups()
        return before + _OLD_VAE_ATTENTION.get(part, part) + after
    return name.removeprefix("text_model.")


def _ldm_vae(weights: Weights, prefix: str, base: Config, placing: Placing) -> AutoencoderKL:
    config = vae_config(base, _under(weights.shapes, prefix))
    levels = len(config["block_out_channels"])
    vae = empty_vae(config)
    fill(vae, weights, prefix, lambda name: vae_source(name, levels), placing)
    return vae


def load_replacement_vae(path: Path, family: FamilyName, placing: Placing) -> AutoencoderKL:
    """Load a VAE named by the option `vae`: its own file or folder, or a whole model's."""
    if not path.exists():
        raise UserError(f"there is no {path}", option=VAE_OPTION, hint="check the path")
    base = family_configs(family).vae
    if path.is_dir():
        folder = path / "vae" if (path / "vae" / "config.json").is_file() else path
        config = read_json(folder / "config.json", VAE_OPTION)
        if config.get("_class_name", "AutoencoderKL") != "AutoencoderKL":
            raise _no_vae(path)
        weights = _renamed(
            open_weights(*part_weights(folder, _DIFFUSERS_STEM, VAE_OPTION), option=VAE_OPTION)
        )
        vae = empty_vae(base | config)
        fill(vae, weights, "", Source, placing)
        return vae
    weights = open_weights(path, option=VAE_OPTION)
    prefix = VAE_PREFIX if any(n.startswith(VAE_PREFIX) for n in weights.shapes) else ""
    if f"{prefix}decoder.conv_in.weight" not in weights.shapes:
        raise _no_vae(path)
    if prefix or any(name.startswith("encoder.down.") for name in weights.shapes):
        return _ldm_vae(weights, prefix, base, placing)
    weights = _renamed(weights)
    vae = empty_vae(diffusers_vae_config(base, weights.shapes))
    fill(vae, weights, "", Source, placing)
    return vae


def _no_vae(path: Path) -> UserError:
    return UserError(
        f"{path.name} holds no VAE of Stable Diffusion's kind",
        option=VAE_OPTION,
        hint="choose a VAE's .safetensors file or diffusers folder, or leave the option out",
    )
