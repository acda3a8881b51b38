"""Trains the starter's U-Net and text encoder on latents of drawn scenes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from sd_scripts.families.text import EOS, VOCABULARY_SIZE, WINDOW, clip_tokenizer, tokenize
from sd_scripts.objective.objective import build_objective
from sd_scripts.options.groups.objective import ObjectiveOptions
from tools.starter.assemble import pipeline_of, scheduler_of
from tools.starter.render import draw
from tools.starter.scenes import PICTURE_SIZE, SUBJECTS, Scene, random_scene, training_caption
from tools.starter.training import (
    Average,
    Stateful,
    falling_rate,
    pictures_to_tensor,
    scaled,
    set_rate,
    train,
)
from tools.starter.vae import VAE_SCALE

SEED = 23
STEPS = 4500
BATCH = 32
WIDTH = 64  # of the text encoder and the cross attention
LEARNING_RATE = 1e-3
NUM_SCENES = 9600
ENCODE_BATCH = 16
SHEET_EVERY = 600  # steps
SHOWN = ("apple", "cat", "house", "frog", "star", "rocket", "tulip", "burger")


@dataclass
class Trained:
    """The two modules that learn together."""

    unet: Any
    text_encoder: CLIPTextModel


def make_modules() -> Trained:
    """Build U-Net (8.7 M parameters) and text encoder (3.4 M, nearly all of them token rows)."""
    torch.manual_seed(SEED)
    make: Any = UNet2DConditionModel  # untyped
    unet = make(
        sample_size=PICTURE_SIZE // 8,
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    initialise(unet)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=VOCABULARY_SIZE,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=3,
            num_attention_heads=2,
            projection_dim=WIDTH,
            max_position_embeddings=WINDOW,
            bos_token_id=EOS - 1,
            eos_token_id=EOS,
        )
    )
    return Trained(unet.to(memory_format=torch.channels_last), text_encoder)


def initialise(unet: nn.Module) -> None:
    """Start with unit-variance convolutions and blocks that add little of their own."""
    for module in unet.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    untyped: Any = unet
    for block in untyped.modules():
        if isinstance(block, ResnetBlock2D):
            block.conv2.weight.data.mul_(0.1)
        elif isinstance(block, BasicTransformerBlock):
            attention: Any = block
            for last in (
                attention.attn1.to_out[0],
                attention.attn2.to_out[0],
                attention.ff.net[2],
            ):
                last.weight.data.mul_(0.3)
    nn.init.zeros_(untyped.conv_out.weight)


@dataclass
class Latents:
    """Encoded scenes: mean and deviation [N, 4, 16, 16], scaled to unit variance."""

    scenes: list[Scene]
    mean: Tensor
    deviation: Tensor


def all_scenes(count: int) -> list[Scene]:
    """Return the scenes to learn from, every subject equally often."""
    rng = random.Random(f"unet {SEED}")
    return [random_scene(rng, (SUBJECTS[n % len(SUBJECTS)],)) for n in range(count)]


@torch.no_grad()
def encoded(folder: Path, count: int = NUM_SCENES) -> Latents:
    """Encode all scenes, or read what an earlier call encoded."""
    scenes, path = all_scenes(count), folder / "latents.pt"
    if path.exists():
        kept = torch.load(path, weights_only=True)
        return Latents(scenes, kept["mean"].float(), kept["deviation"].float())
    autoencoder: Any = AutoencoderKL  # untyped
    vae = autoencoder.from_pretrained(folder / "vae").to(memory_format=torch.channels_last)
    means, deviations = [], []
    for first in range(0, len(scenes), ENCODE_BATCH):
        part = np.stack([np.asarray(draw(s)) for s in scenes[first : first + ENCODE_BATCH]])
        posterior = vae.encode(pictures_to_tensor(part)).latent_dist
        means.append(posterior.mean * VAE_SCALE)
        deviations.append(posterior.std * VAE_SCALE)
        if first % (ENCODE_BATCH * 50) == 0:
            print(f"encoding scenes {first}/{len(scenes)}", flush=True)
    mean, deviation = torch.cat(means).contiguous(), torch.cat(deviations).contiguous()
    torch.save({"mean": mean.half(), "deviation": deviation.half()}, path)
    return Latents(scenes, mean, deviation)


def optimizer_of(trained: Trained) -> torch.optim.AdamW:
    """Return the optimizer; token rows do not decay, since most are never seen."""
    rows = trained.text_encoder.get_input_embeddings().weight
    text = [p for p in trained.text_encoder.parameters() if p is not rows]
    return torch.optim.AdamW(
        [
            {"params": list(trained.unet.parameters()), "weight_decay": 0.01},
            {"params": text, "weight_decay": 0.01},
            {"params": [rows], "weight_decay": 0.0},
        ],
        lr=LEARNING_RATE,
        betas=(0.9, 0.99),
    )


def train_unet(folder: Path, share: float = 1.0) -> None:
    """Train U-Net and text encoder and write the averaged weights into `folder`."""
    steps = scaled(STEPS, share)
    latents = encoded(folder, scaled(NUM_SCENES, share))
    trained = make_modules()
    modules = nn.ModuleList([trained.unet, trained.text_encoder]).train()
    average = Average(modules, decay=0.9995)
    optimizer = optimizer_of(trained)
    tokenizer = clip_tokenizer()
    schedule = scheduler_of().alphas_cumprod
    objective = build_objective(ObjectiveOptions(min_snr_gamma=5.0), schedule, "epsilon")
    weights = torch.ones(BATCH)

    def take_step(step: int) -> dict[str, float]:
        set_rate(optimizer, falling_rate(step, steps, 200))
        rng = random.Random(f"unet {SEED} {step}")
        chosen = [rng.randrange(len(latents.scenes)) for _ in range(BATCH)]
        captions = [training_caption(latents.scenes[n], rng) for n in chosen]
        seeds = [rng.getrandbits(63) for _ in range(BATCH)]
        noise = torch.randn(
            BATCH, *latents.mean.shape[1:], generator=torch.Generator().manual_seed(seeds[0])
        )
        clean = latents.mean[chosen] + latents.deviation[chosen] * noise
        prepared = objective.prepare(clean, seeds)
        tokens = tokenize(tokenizer, captions, None)[:, 0]
        hidden = trained.text_encoder(tokens).last_hidden_state
        noisy = prepared.noisy.contiguous(memory_format=torch.channels_last)
        prediction = trained.unet(noisy, prepared.timesteps, hidden).sample
        loss = objective.loss(prediction, prepared.target, prepared.timesteps, weights)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(modules)
        return {"loss": loss.item()}

    def write(step: int) -> None:
        shown = make_modules()
        average.copy_to(nn.ModuleList([shown.unet, shown.text_encoder]))
        shown.unet.save_pretrained(folder / "unet")
        shown.text_encoder.save_pretrained(folder / "text_encoder")
        if step // SHEET_EVERY > sheets[-1] or step == steps:
            sheets.append(step // SHEET_EVERY)
            sheet(pipeline_of(folder)).save(folder / f"progress-{step:06d}.png")
        if step == steps:
            (folder / "unet.done").touch()

    sheets = [0]
    kept: dict[str, Stateful] = {"modules": modules, "average": average, "optimizer": optimizer}
    train("unet", folder, steps, take_step, kept, at_keep=write)


def sheet(pipeline: Any, words: tuple[str, ...] = SHOWN) -> Image.Image:
    """Make one picture a word, on various grounds, and lay them side by side."""
    grounds = ("blue", "red", "white", "yellow", "purple", "black", "gray", "green")
    prompts = [
        f"a {'small' if n % 2 else 'large'} {word} on a {grounds[n % len(grounds)]} background"
        for n, word in enumerate(words)
    ]
    generators = [torch.Generator().manual_seed(n) for n in range(len(prompts))]
    pictures = pipeline(
        prompts, num_inference_steps=15, guidance_scale=4.0, generator=generators
    ).images
    wide = Image.new("RGB", (PICTURE_SIZE * len(pictures), PICTURE_SIZE))
    for number, picture in enumerate(pictures):
        wide.paste(picture, (number * PICTURE_SIZE, 0))
    return wide
