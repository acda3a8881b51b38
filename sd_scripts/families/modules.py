"""Empty modules on the meta device, filled with tensors as they come: nothing is initialised."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from sd_scripts.errors import UserError
from sd_scripts.families.configs import Config
from sd_scripts.weights.checkpoint import Weights, fits, read_source
from sd_scripts.weights.checkpoint_keys import Source

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from sd_scripts.families.base import TextEncoder

# Tensors that files carry beyond a module's own, and that nothing is lost without.
_HARMLESS: Final = re.compile(
    r"(.*\.)?position_ids|(.*\.)?logit_scale|(.*\.)?text_projection(\.weight)?"
    r"|(.*\.)?attn_mask|transformer\.resblocks\.23\..*|loss\..*|model_ema\..*"
)


_READERS: Final = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Placing:
    """Where a module's tensors go: their dtype and device, and the option errors are told with.

    `dtype` None: as they are stored.
    """

    dtype: torch.dtype | None
    device: torch.device | str
    option: str


def empty_unet(config: Config) -> UNet2DConditionModel:
    """Return a U-Net of that configuration, without weights."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with torch.device("meta"):
        unet: UNet2DConditionModel = UNet2DConditionModel.from_config(config)
    return unet


def empty_vae(config: Config) -> AutoencoderKL:
    """Return a VAE of that configuration, without weights."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    with torch.device("meta"):
        vae: AutoencoderKL = AutoencoderKL.from_config(config)
    return vae


def empty_text_encoder(config: Config) -> TextEncoder:
    """Return a text encoder of that configuration, without weights."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    settings = CLIPTextConfig.from_dict(config)
    settings._attn_implementation = "sdpa"
    with_projection = config.get("architectures") == ["CLIPTextModelWithProjection"]
    with torch.device("meta"):
        if with_projection:
            return CLIPTextModelWithProjection(settings)
        return CLIPTextModel(settings)


def fill(
    module: nn.Module,
    weights: Weights,
    prefix: str,
    source_of: Callable[[str], Source],
    placing: Placing,
) -> None:
    """Give a module its tensors from `weights`, each from where `source_of(name)` says.

    Names are the module's, without `text_model.`. The tensors become the module's own without a
    copy where dtype and device allow it (then they are pages of the mapped file, private to this
    process). Afterwards the module is frozen and in eval mode. Raises `UserError` if tensors are
    missing, left over, or of another shape.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    sources = {name: source_of(name.removeprefix("text_model.")) for name in wanted}
    _check_fit(wanted, sources, weights, prefix, placing.option)
    # Elsewhere than on the CPU, the device converts what comes as it is stored.
    read_as = placing.dtype if torch.device(placing.device).type == "cpu" else None

    def place(name: str) -> Tensor:
        tensor = read_source(weights, prefix, sources[name], read_as)
        placed = tensor.to(device=placing.device).to(dtype=placing.dtype or tensor.dtype)
        return placed.reshape(wanted[name]).contiguous()

    with ThreadPoolExecutor(_READERS) as pool:  # one reads while another converts
        tensors = dict(zip(wanted, pool.map(place, wanted), strict=True))
    module.load_state_dict(tensors, strict=True, assign=True)
    _fill_positions(module, placing.device)
    module.requires_grad_(False)
    module.eval()


def _fill_positions(module: nn.Module, device: torch.device | str) -> None:
    """Give text embeddings their position numbers, which files do not carry."""
    for child in module.modules():
        positions: Any = child._buffers.get("position_ids")
        if positions is not None:
            numbers = torch.arange(positions.shape[-1], device=device)
            child._buffers["position_ids"] = numbers.expand((1, -1))
    left = [name for name, tensor in module.named_buffers() if tensor.is_meta]
    assert not left or torch.device(device).type == "meta", f"buffers without values: {left}"


def _check_fit(
    wanted: Mapping[str, tuple[int, ...]],
    sources: Mapping[str, Source],
    weights: Weights,
    prefix: str,
    option: str,
) -> None:
    keys = {name: prefix + source.key for name, source in sources.items()}
    missing = sorted({key for key in keys.values() if key not in weights.shapes})
    used = set(keys.values())
    extra = sorted(
        name
        for name in weights.shapes
        if name.startswith(prefix)
        and name not in used
        and not _HARMLESS.fullmatch(name.removeprefix(prefix))
    )
    wrong = [
        f"{keys[name]} {list(weights.shapes[keys[name]])} instead of {list(shape)}"
        for name, shape in wanted.items()
        if keys[name] in weights.shapes
        and not fits(weights.shapes[keys[name]], sources[name], shape)
    ]
    if not missing and not extra and not wrong:
        return
    found = [
        f"{len(names)} tensors {what} ({', '.join(names[:3])}{' …' if len(names) > 3 else ''})"
        for what, names in (("are missing", missing), ("are left over", extra))
        if names
    ]
    if wrong:
        found.append(f"{len(wrong)} tensors have another shape ({'; '.join(wrong[:2])})")
    raise UserError(
        f"{weights.label} does not fit the model it looks like: {'; '.join(found)}",
        option=option,
        hint="the file is incomplete, or of an architecture that is not supported: choose another",
    )
