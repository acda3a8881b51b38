"""A model's tensors under the names and in the shapes of a single-file checkpoint, made one by one.

The other direction of `checkpoint`: both stand on the maps of `checkpoint_keys`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from sd_scripts.weights.checkpoint import Weights
from sd_scripts.weights.checkpoint_keys import (
    TEXT_PLACES,
    UNET_PREFIX,
    VAE_PREFIX,
    Source,
    TextPlace,
    UNetLayout,
    text_source,
    unet_key,
    vae_source,
)
from sd_scripts.weights.model_kinds import FamilyName, PredictionType

State = Mapping[str, Tensor]

POSITION_IDS: Final = "text_model.embeddings.position_ids"
_LAST_LAYER: Final = "transformer.resblocks.{}."
_SD2_LAYERS: Final = 23
# Tensors of the text encoders that training does not touch and other programs ask for.
_TEXT_EXTRAS: Final = re.compile(
    r"(.*\.)?position_ids|(.*\.)?logit_scale|(.*\.)?text_projection(\.weight)?"
    r"|(.*\.)?attn_mask|transformer\.resblocks\.23\..*"
)
# What a trained model's file must not carry on: averages and losses of an earlier training.
_STALE: Final = ("model_ema.", "loss.", "optimizer_states.", "callbacks.")


@dataclass(frozen=True)
class Stored:
    """One tensor of the file: a model's own, or three of them in one, turned as the layout wants.

    `dtype` is the number format in the file.
    """

    parts: tuple[Tensor, ...]
    dtype: torch.dtype
    transposed: bool = False
    conv: bool = False

    def _shaped(self, tensor: Tensor) -> Tensor:
        if self.transposed:
            tensor = tensor.T
        return tensor[:, :, None, None] if self.conv and tensor.ndim == 2 else tensor

    @property
    def announced(self) -> Tensor:
        """The tensor's dtype and shape, on the device "meta"."""
        shape = list(self._shaped(self.parts[0].detach().to("meta")).shape)
        if len(self.parts) > 1:
            shape[0] *= len(self.parts)
        return torch.empty(shape, dtype=self.dtype, device="meta")

    def read(self) -> Tensor:
        """The tensor itself, on the CPU."""
        parts = [self._shaped(part.detach().to("cpu", self.dtype)) for part in self.parts]
        return parts[0].contiguous() if len(parts) == 1 else torch.cat(parts)


def number_format(tensor: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    """Return the format a tensor is stored in: `dtype` for real numbers, its own without."""
    return dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype


def unet_entries(
    state: State, layout: UNetLayout, dtype: torch.dtype | None = None
) -> dict[str, Stored]:
    """Return a U-Net's tensors (diffusers names) by their keys in the file."""
    return {
        UNET_PREFIX + unet_key(name, layout): Stored((tensor,), number_format(tensor, dtype))
        for name, tensor in state.items()
    }


def vae_entries(
    state: State, num_levels: int, dtype: torch.dtype | None = None
) -> dict[str, Stored]:
    """Return a VAE's tensors (diffusers names) by their keys in the file."""
    sources = {name: (tensor, vae_source(name, num_levels)) for name, tensor in state.items()}
    return _entries(sources, VAE_PREFIX, dtype)


def text_entries(
    state: State, place: TextPlace, dtype: torch.dtype | None = None
) -> dict[str, Stored]:
    """Return a text encoder's tensors (transformers names) by their keys in the file."""
    named = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    sources = {name: (tensor, text_source(name, place.layout)) for name, tensor in named.items()}
    return _entries(sources, place.prefix, dtype)


def _entries(
    sources: Mapping[str, tuple[Tensor, Source]], prefix: str, dtype: torch.dtype | None
) -> dict[str, Stored]:
    found: dict[str, Stored] = {}
    fused: dict[str, dict[int, Tensor]] = {}
    for tensor, source in sources.values():
        key = prefix + source.key
        if source.third is None:
            kind = number_format(tensor, dtype)
            found[key] = Stored((tensor,), kind, source.transposed, source.conv)
        else:
            fused.setdefault(key, {})[source.third] = tensor
    for key, thirds in fused.items():
        parts = tuple(thirds[number] for number in range(3))
        found[key] = Stored(parts, number_format(parts[0], dtype))
    return found


def taken_over(
    source: Weights, family: FamilyName, new: Mapping[str, Stored], dtype: torch.dtype | None
) -> dict[str, Stored]:
    """Return the tensors of the model's own file that go on into the new one, as they are.

    All that is no part of the model (schedule tables, the markers `v_pred` and `ztsnr`) and what
    text encoders carry beside their weights; not what an earlier training left behind, such as
    `model_ema`. Other tensors in the place of a part were that part's, under other names.
    """
    places = {place.prefix for place in TEXT_PLACES[family]}
    found = {}
    for key in source.shapes:
        if key in new or key.startswith((*_STALE, UNET_PREFIX, VAE_PREFIX)):
            continue
        prefix = next((prefix for prefix in places if key.startswith(prefix)), None)
        if prefix and not _TEXT_EXTRAS.fullmatch(key.removeprefix(prefix)):
            continue
        tensor = source.tensor(key)
        kind = number_format(tensor, dtype) if prefix else tensor.dtype
        found[key] = Stored((tensor,), kind)
    return found


def made_up(
    family: FamilyName, text_states: Sequence[State], new: Mapping[str, Stored]
) -> dict[str, Stored]:
    """Return tensors that files of the layout have and a diffusers folder does not.

    Position numbers, and for OpenCLIP's layout what painting never uses: `logit_scale`, and in
    SD 2.x the last layer and `text_projection`, which strict readers ask for.
    """
    found: dict[str, Tensor] = {}
    for place, state in zip(TEXT_PLACES[family], text_states, strict=True):
        if place.layout == "hf":
            positions = next(t for n, t in state.items() if n.endswith("position_embedding.weight"))
            found[place.prefix + POSITION_IDS] = torch.arange(len(positions))[None]
            continue
        found[f"{place.prefix}logit_scale"] = torch.tensor(1.0)
        if family != "sd2":
            continue
        width = next(t for n, t in state.items() if n.endswith("final_layer_norm.weight")).shape[0]
        found[f"{place.prefix}text_projection"] = torch.ones(width, width)
        last, dummy = (place.prefix + _LAST_LAYER.format(n) for n in (_SD2_LAYERS - 1, _SD2_LAYERS))
        copies = {dummy + k.removeprefix(last): new[k] for k in new if k.startswith(last)}
        found |= {key: entry.read() for key, entry in copies.items()}
    real = next(iter(new.values())).dtype
    return {
        key: Stored((tensor,), number_format(tensor, real))
        for key, tensor in found.items()
        if key not in new
    }


def markers(
    family: FamilyName, prediction_type: PredictionType, *, zero_terminal_snr: bool
) -> dict[str, Stored]:
    """Return the empty tensors by which programs tell a model that predicts v.

    SD 2.x has none: there, programs look at other things.
    """
    if prediction_type != "v_prediction" or family == "sd2":
        return {}
    names = ["v_pred", "ztsnr"] if zero_terminal_snr else ["v_pred"]
    return {name: Stored((torch.tensor([]),), torch.float32) for name in names}
