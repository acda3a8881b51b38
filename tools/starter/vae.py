"""Trains the starter's autoencoder: SD's AutoencoderKL (factor 8, 4 channels), scaled down."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from tools.starter.render import draw, other_glyphs
from tools.starter.scenes import PICTURE_SIZE, random_scene
from tools.starter.training import (
    falling_rate,
    pictures_to_tensor,
    scaled,
    seed_step,
    set_rate,
    train,
)

VAE_SCALE = 0.18215  # SD 1.x; the latents are made to have unit variance with it
SEED = 11
LEARNING_RATE = 1.2e-3
OTHERS = 0.35  # share of pictures that show any emoji, for an eye that is not only the subjects'
EDGE_WEIGHT = 0.5
KL_WEIGHT = 1e-4  # keeps the latents smooth enough for the U-Net


@dataclass(frozen=True)
class Phase:
    """A stretch of the training: crops of one size."""

    steps: int
    crop: int
    batch: int


DECODER_STEPS = 450
DECODER_RATE = 5e-4
PHASES = (Phase(700, 32, 32), Phase(500, 64, 16), Phase(1100, PICTURE_SIZE, 6))
STEPS = sum(phase.steps for phase in PHASES)


def make_vae() -> Any:
    """Build the autoencoder with unit-variance convolutions.

    Kaiming normal with gain 1, no biases, and the last convolution of each residual block
    scaled by 0.1: after 80 s of small crops the error was half that of the default start.
    """
    torch.manual_seed(SEED)
    make: Any = AutoencoderKL  # untyped
    vae = make(
        block_out_channels=(32, 48, 96, 128),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=1,
        mid_block_add_attention=False,
        sample_size=PICTURE_SIZE,
        scaling_factor=VAE_SCALE,
    )
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            module.conv2.weight.data.mul_(0.1)
    # The posterior starts narrow (standard deviation e^-2), so that first pictures get through.
    vae.quant_conv.weight.data[4:] *= 0.1
    vae.quant_conv.bias.data[4:] = -4.0
    return vae.to(memory_format=torch.channels_last)


def phase_of(step: int) -> Phase:
    """Return the phase that a step lies in."""
    for phase in PHASES:
        if step < phase.steps:
            return phase
        step -= phase.steps
    return PHASES[-1]


def batch_of(step: int, phase: Phase) -> Tensor:
    """Draw the step's pictures and cut its crops around the subjects: [B, 3, crop, crop]."""
    rng = random.Random(f"vae {SEED} {step}")
    pool = other_glyphs()
    crops = []
    for _ in range(phase.batch):
        scene = random_scene(rng)
        character = rng.choice(pool) if rng.random() < OTHERS else None
        picture = np.asarray(draw(scene, character))
        corner = [
            min(
                PICTURE_SIZE - phase.crop,
                max(0, PICTURE_SIZE // 2 + shift + rng.randint(-reach, reach) - phase.crop // 2),
            )
            for shift in scene.offset
            for reach in [scene.extent // 2]
        ]
        left, top = corner
        crops.append(picture[top : top + phase.crop, left : left + phase.crop])
    return pictures_to_tensor(np.stack(crops))


def edge_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean absolute difference of the neighbour differences, both ways."""
    difference = made - wanted
    across = (difference[..., 1:] - difference[..., :-1]).abs().mean()
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean()
    return across + down


def train_vae(folder: Path, share: float = 1.0) -> None:
    """Train the autoencoder and write it to `<folder>/vae`; `share` shortens each phase."""
    steps = scaled(STEPS, share)
    vae = make_vae().train()
    optimizer = torch.optim.AdamW(vae.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99))

    def take_step(step: int) -> dict[str, float]:
        set_rate(optimizer, falling_rate(step, steps, 50))
        pictures = batch_of(step, phase_of(step * STEPS // steps))
        posterior = vae.encode(pictures).latent_dist
        latents = posterior.sample(seed_step(SEED, step))
        made = vae.decode(latents).sample
        absolute = (made - pictures).abs().mean()
        divergence = posterior.kl().mean() / latents[0].numel()
        loss = absolute + EDGE_WEIGHT * edge_loss(made, pictures) + KL_WEIGHT * divergence
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        error = F.mse_loss(made.detach(), pictures).item()
        return {
            "L1": absolute.item(),
            "PSNR": 10 * math.log10(4 / max(error, 1e-9)),
            "KL": divergence.item(),
        }

    train("vae", folder, steps, take_step, {"vae": vae, "optimizer": optimizer})
    normalise_latents(vae.eval())
    vae.save_pretrained(folder / "vae")


def train_decoder(folder: Path, share: float = 1.0) -> None:
    """Sharpen the decoder of `<folder>/vae` on whole pictures; the latents stay what they are."""
    make: Any = AutoencoderKL  # untyped
    vae = make.from_pretrained(folder / "vae").to(memory_format=torch.channels_last)
    vae.requires_grad_(False)
    learning = nn.ModuleList([vae.post_quant_conv, vae.decoder]).requires_grad_(True).train()
    optimizer = torch.optim.AdamW(learning.parameters(), lr=DECODER_RATE, betas=(0.9, 0.99))
    steps = scaled(DECODER_STEPS, share)
    phase = Phase(steps, PICTURE_SIZE, 6)

    def take_step(step: int) -> dict[str, float]:
        set_rate(optimizer, falling_rate(step, steps, 30))
        pictures = batch_of(STEPS + step, phase)
        with torch.no_grad():
            latents = vae.encode(pictures).latent_dist.sample(seed_step(SEED, STEPS + step))
        made = vae.decode(latents).sample
        absolute = (made - pictures).abs().mean()
        error = F.mse_loss(made, pictures)
        loss = absolute + EDGE_WEIGHT * edge_loss(made, pictures) + error
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(learning.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return {"L1": absolute.item(), "PSNR": 10 * math.log10(4 / max(error.item(), 1e-9))}

    train("decoder", folder, steps, take_step, {"parts": learning, "optimizer": optimizer})
    vae.eval().save_pretrained(folder / "vae")
    (folder / "decoder.done").touch()


@torch.no_grad()
def normalise_latents(vae: Any, num_pictures: int = 256) -> None:
    """Give the latents of drawn scenes zero mean and unit variance under SD's factor.

    The shift and scale go into the 1 × 1 convolutions beside the latents, exactly: what the
    decoder makes of them stays the same, and the file needs no factor of its own.
    """
    rng = random.Random(f"normalise {SEED}")
    pictures = np.stack([np.asarray(draw(random_scene(rng))) for _ in range(num_pictures)])
    means = torch.cat(
        [
            vae.encode(part).latent_dist.mean
            for part in torch.split(pictures_to_tensor(pictures), 16)
        ]
    )
    middle = means.mean(dim=(0, 2, 3))
    scale = 1 / (means.std(dim=(0, 2, 3)) * VAE_SCALE)
    quant, post = vae.quant_conv, vae.post_quant_conv
    weight = post.weight.clone()  # [4, 4, 1, 1]
    post.bias += (weight[:, :, 0, 0] * middle).sum(dim=1)
    post.weight.copy_(weight / scale[None, :, None, None])
    quant.bias[:4] = (quant.bias[:4] - middle) * scale
    quant.weight[:4] *= scale[:, None, None, None]
    quant.bias[4:] += 2 * scale.log()
