"""What SD 1.x, SD 2.x and SDXL share: loading, tokens, noise schedule, checkpointing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sd_scripts.errors import UserError, raise_if_errors
from sd_scripts.families.base import LoadedModel, LoadOptions, Part, TextConditioning
from sd_scripts.families.configs import family_configs
from sd_scripts.families.detect import OPTION, FamilyName, inspect_model, resolve_model
from sd_scripts.families.modules import Placing
from sd_scripts.families.saving import ModelSaver
from sd_scripts.families.sources import (
    VAE_OPTION,
    ModelSource,
    load_replacement_vae,
    open_source,
)
from sd_scripts.families.text import (
    checkpoint_layers,
    tokenize,
    tokenize_weighted,
    tokenizer_for,
)
from sd_scripts.weights.model_kinds import Owner

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTokenizer

    from sd_scripts.families.base import Attention, TextEncoder


def scaled_linear_alphas(zero_terminal_snr: bool) -> Tensor:
    """Return alphas_cumprod [1000] (float32) of Stable Diffusion's schedule.

    Betas go from 0.00085 to 0.012, linear in their square roots. With `zero_terminal_snr` the
    square roots of alphas_cumprod are shifted and scaled so that the last is 0 and the first
    stays (algorithm 1 of https://arxiv.org/abs/2305.08891).
    """
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
    alphas = torch.cumprod(1.0 - betas, dim=0)
    if not zero_terminal_snr:
        return alphas
    roots = alphas.sqrt()
    first, last = roots[0].clone(), roots[-1].clone()
    return ((roots - last) * (first / (first - last))) ** 2


def use_attention(unet: UNet2DConditionModel, attention: Attention) -> None:
    """Choose how the U-Net computes attention; PyTorch's own (`sdpa`) is diffusers' default."""
    if attention == "mem_eff_attn":
        unet.set_attention_slice("max")
    elif attention == "xformers":
        try:
            unet.enable_xformers_memory_efficient_attention()
        except (ImportError, ValueError) as error:
            raise UserError(
                f"xformers cannot be used here: {str(error).splitlines()[0]}",
                option="xformers",
                hint="install the extra, or leave xformers out (PyTorch's own is then used)",
            ) from error


class LatentDiffusion:
    """The shared half of a family; what is told to the U-Net is up to each family."""

    name: FamilyName
    num_text_encoders: int

    def load(self, path: str | Path, options: LoadOptions) -> LoadedModel:
        """Load a single file or a diffusers folder; raises `UserError` if that cannot be done."""
        info = inspect_model(path)
        resolved = options.resolved
        if resolved is None:
            resolved, problems = resolve_model(info)
            raise_if_errors(problems)
        assert resolved is not None
        assert resolved.family == self.name, f"{self.name} cannot load {resolved.family}"
        source = open_source(info.path, self.name)
        model = LoadedModel(
            family=self,  # type: ignore[arg-type]  # each family completes the protocol
            unet=source.unet(Placing(options.dtype, options.device, OPTION)),
            text_encoders=[],
            tokenizers=[],
            vae=None,
            prediction_type=resolved.prediction_type,
            zero_terminal_snr=resolved.zero_terminal_snr,
            info=info,
            options=options,
        )
        use_attention(model.unet, options.attention)
        self._load_parts(model, source, options.parts)
        return model

    def load_missing(self, model: LoadedModel, parts: Iterable[Part]) -> None:
        """Load parts that were left out before into `model`, from where it came from."""
        wanted = [
            part
            for part in parts
            if (part == "vae" and model.vae is None)
            or (part == "text_encoders" and not model.text_encoders)
        ]
        if wanted:
            self._load_parts(model, open_source(model.info.path, self.name), wanted)

    def release(self, model: LoadedModel, parts: Iterable[Part]) -> None:
        """Let go of parts that are not needed any more; `load_missing` brings them back."""
        for part in parts:
            if part == "vae":
                model.vae = None
            else:
                model.text_encoders.clear()

    def _load_parts(self, model: LoadedModel, source: ModelSource, parts: Iterable[Part]) -> None:
        for part in parts:
            if part == "vae":
                model.vae = self._load_vae(source, model.options)
            else:
                model.text_encoders, model.tokenizers = self._load_text(source, model.options)

    def _load_vae(self, source: ModelSource, options: LoadOptions) -> AutoencoderKL:
        dtype = options.vae_dtype or options.dtype
        if options.vae is not None:
            placing = Placing(dtype, options.device, VAE_OPTION)
            return load_replacement_vae(Path(options.vae).expanduser(), self.name, placing)
        return source.vae(Placing(dtype, options.device, OPTION))

    def _load_text(
        self, source: ModelSource, options: LoadOptions
    ) -> tuple[list[TextEncoder], list[CLIPTokenizer]]:
        placing = Placing(options.text_dtype or options.dtype, options.device, OPTION)
        pads = family_configs(self.name).tokenizer_pads
        encoders = [source.text_encoder(n, placing) for n in range(self.num_text_encoders)]
        tokenizers = [
            tokenizer_for(encoder, pads[n], source.tokenizer_folder(n), OPTION)
            for n, encoder in enumerate(encoders)
        ]
        return encoders, tokenizers

    def tokenize(
        self, model: LoadedModel, captions: Sequence[str], max_token_length: int | None = None
    ) -> tuple[Tensor, ...]:
        """Return one tensor [B, chunks, 77] (int64) per text encoder."""
        return tuple(tokenize(t, captions, max_token_length) for t in model.tokenizers)

    def encode_tokens(
        self, model: LoadedModel, tokens: Sequence[Tensor], clip_skip: int | None = None
    ) -> TextConditioning:
        """Encode what `tokenize` gave; each family reads other layers."""
        raise NotImplementedError

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
        device = model.text_encoders[0].device
        if not weighted:
            tokens = self.tokenize(model, captions, max_token_length)
            return self.encode_tokens(model, [item.to(device) for item in tokens], clip_skip)
        pairs = [tokenize_weighted(t, captions, max_token_length) for t in model.tokenizers]
        plain = self.encode_tokens(model, [item.to(device) for item, _ in pairs], clip_skip)
        # All encoders have CLIP's words, so a token stands in the same place for each of them.
        weights = pairs[0][1].to(device, plain.hidden.dtype).unsqueeze(-1)
        return TextConditioning(plain.hidden * weights, plain.pooled)

    def noise_schedule(self, model: LoadedModel) -> Tensor:
        """Return alphas_cumprod [1000] (float32), rescaled if the model has zero terminal SNR."""
        return scaled_linear_alphas(model.zero_terminal_snr)

    def saver(self, model: LoadedModel, learning: frozenset[Owner]) -> ModelSaver:
        """Return what writes the model whole, while its parts `learning` learn."""
        return ModelSaver(model, learning)

    def enable_gradient_checkpointing(
        self, model: LoadedModel, *, unet: bool = True, text_encoders: bool = True
    ) -> None:
        """Trade time for memory in the parts that train; they must be in train mode to use it."""
        if unet:
            model.unet.enable_gradient_checkpointing()
        if text_encoders:
            for encoder in model.text_encoders:
                checkpoint_layers(encoder)
