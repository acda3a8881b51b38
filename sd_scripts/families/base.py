"""What the trainers ask of a model family, and the records that pass between the two."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn

from sd_scripts.families.detect import ModelInfo, ResolvedModel
from sd_scripts.weights.model_kinds import FamilyName, Owner, PredictionType

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    TextEncoder = CLIPTextModel | CLIPTextModelWithProjection

Attention = Literal["sdpa", "xformers", "mem_eff_attn"]
Part = Literal["text_encoders", "vae"]

ALL_PARTS: frozenset[Part] = frozenset(("text_encoders", "vae"))


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded: dtypes, device, which parts, and what was resolved about it.

    `dtype` is for the U-Net, `text_dtype` for the text encoders and `vae_dtype` for the VAE (None:
    as `dtype`).
    `vae` names a replacement VAE (file or folder). The U-Net is always loaded; `parts` says what
    comes with it. Without `resolved` the model is inspected and taken as detected. On the device
    "meta" modules have their shapes, and no weights are read.
    """

    dtype: torch.dtype = torch.float32
    text_dtype: torch.dtype | None = None
    vae_dtype: torch.dtype | None = None
    vae: str | Path | None = None
    attention: Attention = "sdpa"
    device: torch.device | str = "cpu"
    parts: frozenset[Part] = ALL_PARTS
    resolved: ResolvedModel | None = None


@dataclass
class LoadedModel:
    """A model in memory: plain diffusers and transformers modules, in eval mode, frozen.

    `text_encoders` and `tokenizers` have one entry (SD 1.x, SD 2.x) or two (SDXL);
    `text_encoders` is empty and `vae` is None when they were not asked for.
    """

    family: Family
    unet: UNet2DConditionModel
    text_encoders: list[TextEncoder]
    tokenizers: list[CLIPTokenizer]
    vae: AutoencoderKL | None
    prediction_type: PredictionType
    zero_terminal_snr: bool
    info: ModelInfo
    options: LoadOptions = field(default_factory=LoadOptions)


@dataclass(frozen=True)
class TextConditioning:
    """What the U-Net is told about a caption.

    `hidden` [B, 75 * chunks + 2, D]: the token states. `pooled` [B, P]: SDXL's pooled vector of
    the first chunk; None for SD 1.x and SD 2.x.
    """

    hidden: Tensor
    pooled: Tensor | None = None


@dataclass(frozen=True)
class Target:
    """One linear or convolution layer that a network can be attached to.

    `name` is the kohya name, with its prefix. `is_conv3x3_group` marks layers under ResNet blocks
    and samplers, which take part only when convolution training is asked for; in that group the
    3x3 convolutions have the convolution rank, linear layers and 1x1 shortcuts the network rank.
    """

    name: str
    owner: Owner
    path: str
    module: nn.Module
    is_conv3x3_group: bool


class WholeSaver(Protocol):
    """Writes a whole model, with the parts that learned as they are now."""

    def num_bytes(self, dtype: torch.dtype | None) -> int:
        """Return the bytes of all tensors of a saved model; `dtype` None: as they are."""

    def save_file(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str],
        dtype: torch.dtype | None = None,
    ) -> None:
        """Write one file in the format of its ending (`.safetensors`, `.ckpt`), atomically."""

    def save_folder(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str],
        dtype: torch.dtype | None = None,
        *,
        safetensors: bool = True,
    ) -> None:
        """Write a folder in diffusers' layout, atomically."""


@dataclass(frozen=True)
class NamedLayer:
    """One linear, convolution or norm layer, wherever it stands in the model.

    `name` is the kohya name, with its prefix, and `path` what it is made of, with dots: the path
    that sd-scripts' models have. `within` are the class names of the modules around it, outermost
    first, its own last.
    """

    name: str
    owner: Owner
    path: str
    module: nn.Module
    within: tuple[str, ...]


class Family(Protocol):
    """One model family; without state of its own, so one instance serves every run.

    `base_model_version` is what LoRA metadata calls the family, without the `_v` that
    v-prediction adds to it. `vae_scale` is what latents are multiplied by.
    """

    name: FamilyName
    base_model_version: str
    vae_scale: float
    num_text_encoders: int

    def load(self, path: str | Path, options: LoadOptions) -> LoadedModel:
        """Load a single file or a diffusers folder; raises `UserError` if that cannot be done."""

    def load_missing(self, model: LoadedModel, parts: Iterable[Part]) -> None:
        """Load parts that were left out before into `model`, from where it came from."""

    def release(self, model: LoadedModel, parts: Iterable[Part]) -> None:
        """Let go of parts that are not needed any more."""

    def tokenize(
        self, model: LoadedModel, captions: Sequence[str], max_token_length: int | None = None
    ) -> tuple[Tensor, ...]:
        """Return one tensor [B, chunks, 77] (int64) per text encoder."""

    def encode_tokens(
        self, model: LoadedModel, tokens: Sequence[Tensor], clip_skip: int | None = None
    ) -> TextConditioning:
        """Encode what `tokenize` gave; differentiable, and only as deep as needed."""

    def encode_text(
        self,
        model: LoadedModel,
        captions: Sequence[str],
        max_token_length: int | None = None,
        clip_skip: int | None = None,
        *,
        weighted: bool = False,
    ) -> TextConditioning:
        """Tokenize and encode captions on the text encoders' device.

        With `weighted`, brackets in captions say how much a word counts: its token states are
        multiplied by its weight. The pooled vector stays as it is.
        """

    def conditioning_inputs(
        self, original: Tensor, crop_top_left: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Return what `predict` wants as `extra`; each input is [B, 2], height before width."""

    def predict(
        self,
        model: LoadedModel,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: TextConditioning,
        extra: dict[str, Tensor],
    ) -> Tensor:
        """Run the U-Net: `noisy` [B, 4, h, w], `timesteps` [B] -> [B, 4, h, w]."""

    def noise_schedule(self, model: LoadedModel) -> Tensor:
        """Return alphas_cumprod [1000] (float32), rescaled if the model has zero terminal SNR."""

    def make_pipeline(self, model: LoadedModel, scheduler: Any) -> DiffusionPipeline:
        """Return the stock diffusers pipeline over the model's own modules (no copies)."""

    def network_targets(self, model: LoadedModel) -> list[Target]:
        """Return every layer a network can train: text encoders first, then the U-Net."""

    def network_layers(self, model: LoadedModel) -> list[NamedLayer]:
        """Return every linear, convolution and norm layer: text encoders first, then the U-Net."""

    def saver(self, model: LoadedModel, learning: frozenset[Owner]) -> WholeSaver:
        """Return what writes the model whole, while its parts `learning` learn.

        What does not learn is written as it is in the model's files. Raises `UserError`.
        """

    def enable_gradient_checkpointing(
        self, model: LoadedModel, *, unet: bool = True, text_encoders: bool = True
    ) -> None:
        """Trade time for memory in the parts that train; they must be in train mode to use it."""
