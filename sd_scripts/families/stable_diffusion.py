"""Stable Diffusion 1.x and 2.x: one text encoder, and nothing told to the U-Net but its states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sd_scripts.families.base import LoadedModel, NamedLayer, Target, TextConditioning
from sd_scripts.families.latent_diffusion import LatentDiffusion
from sd_scripts.families.targets import (
    text_encoder_layers,
    text_encoder_targets,
    unet_layers,
    unet_targets,
)
from sd_scripts.families.text import last_states, rejoin
from sd_scripts.weights.model_kinds import FamilyName

if TYPE_CHECKING:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline


class StableDiffusion(LatentDiffusion):
    """SD 1.x or SD 2.x: they differ in configuration, not in what is computed."""

    vae_scale = 0.18215
    num_text_encoders = 1

    def __init__(self, name: FamilyName, base_model_version: str) -> None:
        self.name = name
        self.base_model_version = base_model_version

    def encode_tokens(
        self, model: LoadedModel, tokens: Sequence[Tensor], clip_skip: int | None = None
    ) -> TextConditioning:
        """Return the encoder's last states, final norm applied.

        SD 2.x needs no clip skip of its own: its encoder has 23 of OpenCLIP's 24 layers.
        """
        (windows,) = tokens
        states = last_states(model.text_encoders[0], windows.flatten(0, 1), clip_skip)
        return TextConditioning(rejoin(states, len(windows)))

    def conditioning_inputs(
        self, original: Tensor, crop_top_left: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Return nothing: these models are not told about sizes."""
        return {}

    def predict(
        self,
        model: LoadedModel,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: TextConditioning,
        extra: dict[str, Tensor],
    ) -> Tensor:
        """Run the U-Net: `noisy` [B, 4, h, w], `timesteps` [B] -> [B, 4, h, w]."""
        predicted: Tensor = model.unet(
            noisy, timesteps, encoder_hidden_states=conditioning.hidden, return_dict=False
        )[0]
        return predicted

    def make_pipeline(self, model: LoadedModel, scheduler: Any) -> DiffusionPipeline:
        """Return diffusers' pipeline over the model's own modules (no copies)."""
        from diffusers import StableDiffusionPipeline

        pipeline_class: Any = StableDiffusionPipeline
        pipeline: DiffusionPipeline = pipeline_class(
            vae=model.vae,
            text_encoder=model.text_encoders[0],
            tokenizer=model.tokenizers[0],
            unet=model.unet,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        return pipeline

    def network_targets(self, model: LoadedModel) -> list[Target]:
        """Return every layer a network can train, the text encoder's first."""
        targets = []
        if model.text_encoders:
            targets += text_encoder_targets(model.text_encoders[0], "te1", "lora_te")
        return targets + unet_targets(model.unet, None)

    def network_layers(self, model: LoadedModel) -> list[NamedLayer]:
        """Return every linear, convolution and norm layer, the text encoder's first."""
        layers = []
        if model.text_encoders:
            layers += text_encoder_layers(model.text_encoders[0], "te1", "lora_te")
        return layers + unet_layers(model.unet, None)
