"""SDXL, with Pony, Illustrious, NoobAI: two text encoders, a pooled vector and picture sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sd_scripts.families.base import LoadedModel, NamedLayer, Target, TextConditioning
from sd_scripts.families.latent_diffusion import LatentDiffusion
from sd_scripts.families.targets import (
    text_encoder_layers,
    text_encoder_targets,
    unet_layers,
    unet_targets,
)
from sd_scripts.families.text import penultimate_states, pooled_vector, rejoin
from sd_scripts.weights.checkpoint_keys import UNetLayout
from sd_scripts.weights.model_kinds import FamilyName

if TYPE_CHECKING:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline


class SDXL(LatentDiffusion):
    """SDXL base and what descends from it (https://arxiv.org/abs/2307.01952)."""

    name: FamilyName = "sdxl"
    base_model_version = "sdxl_base_v1-0"
    vae_scale = 0.13025
    num_text_encoders = 2

    def encode_tokens(
        self, model: LoadedModel, tokens: Sequence[Tensor], clip_skip: int | None = None
    ) -> TextConditioning:
        """Return both encoders' penultimate states side by side, and the second's pooled vector.

        SDXL always reads the penultimate layer: `clip_skip` is for the other families and has no
        effect. The pooled vector is that of the first window, so only that one goes through the
        second encoder's last layer.
        """
        first, second = model.text_encoders
        windows_first, windows_second = tokens
        batch = len(windows_first)
        states_first = penultimate_states(first, windows_first.flatten(0, 1))
        states_second = penultimate_states(second, windows_second.flatten(0, 1))
        beginnings = states_second.reshape(batch, -1, *states_second.shape[1:])[:, 0]
        pooled = pooled_vector(second, beginnings, windows_second[:, 0])
        hidden = torch.cat([rejoin(states_first, batch), rejoin(states_second, batch)], dim=-1)
        return TextConditioning(hidden, pooled)

    def conditioning_inputs(
        self, original: Tensor, crop_top_left: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Return `time_ids` [B, 6]: original, crop and target; each [B, 2], height before width."""
        return {"time_ids": torch.cat([original, crop_top_left, target], dim=1)}

    def predict(
        self,
        model: LoadedModel,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: TextConditioning,
        extra: dict[str, Tensor],
    ) -> Tensor:
        """Run the U-Net: `noisy` [B, 4, h, w], `timesteps` [B] -> [B, 4, h, w]."""
        told = {"text_embeds": conditioning.pooled, "time_ids": extra["time_ids"]}
        predicted: Tensor = model.unet(
            noisy,
            timesteps,
            encoder_hidden_states=conditioning.hidden,
            added_cond_kwargs=told,
            return_dict=False,
        )[0]
        return predicted

    def make_pipeline(self, model: LoadedModel, scheduler: Any) -> DiffusionPipeline:
        """Return diffusers' pipeline over the model's own modules (no copies)."""
        from diffusers import StableDiffusionXLPipeline

        pipeline_class: Any = StableDiffusionXLPipeline
        pipeline: DiffusionPipeline = pipeline_class(
            vae=model.vae,
            text_encoder=model.text_encoders[0],
            text_encoder_2=model.text_encoders[1],
            tokenizer=model.tokenizers[0],
            tokenizer_2=model.tokenizers[1],
            unet=model.unet,
            scheduler=scheduler,
            add_watermarker=False,
        )
        return pipeline

    def network_targets(self, model: LoadedModel) -> list[Target]:
        """Return every layer a network can train: both text encoders', then the U-Net's."""
        targets: list[Target] = []
        if model.text_encoders:
            targets += text_encoder_targets(model.text_encoders[0], "te1", "lora_te1")
            targets += text_encoder_targets(model.text_encoders[1], "te2", "lora_te2")
        return targets + unet_targets(model.unet, _unet_layout(model))

    def network_layers(self, model: LoadedModel) -> list[NamedLayer]:
        """Return every linear, convolution and norm layer: both text encoders', the U-Net's."""
        layers: list[NamedLayer] = []
        if model.text_encoders:
            layers += text_encoder_layers(model.text_encoders[0], "te1", "lora_te1")
            layers += text_encoder_layers(model.text_encoders[1], "te2", "lora_te2")
        return layers + unet_layers(model.unet, _unet_layout(model))


def _unet_layout(model: LoadedModel) -> UNetLayout:
    config = model.unet.config
    return UNetLayout.of(config["layers_per_block"], config["up_block_types"])
