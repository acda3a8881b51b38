"""Trains the judge on drawn scenes, worn ones, and pictures that show none of its subjects."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sd_scripts.weights.files import load_tensors, save_tensors
from tools.starter.judge_model import Judge, Labels
from tools.starter.render import draw
from tools.starter.scenes import (
    COLOURS,
    DEMO_SUBJECTS,
    PICTURE_SIZE,
    SIZES,
    SUBJECTS,
    Scene,
    random_scene,
)
from tools.starter.strangers import taught_strangers
from tools.starter.training import (
    falling_rate,
    pictures_to_tensor,
    scaled,
    seed_step,
    set_rate,
    train,
)
from tools.starter.wear import Wear, through_vae, wear

SEED = 37
STEPS = 850
BATCH = 64
LEARNING_RATE = 4e-3
WIDTHS = (24, 40, 80, 108)
ALL_SUBJECTS = (*SUBJECTS, *DEMO_SUBJECTS)

NONE_SHARE = 0.22  # of the pictures, those that show no subject
BETWEEN_SHARE = 0.2  # of the scenes, those with a size between small and large
PIECES = (3, 4)  # a subject cut into so many pieces a side, and shuffled, is none
VAE_PICTURES = 1280  # are sent through the autoencoder once,
VAE_SHARE = 0.25  # and are so large a part of each batch
VAE_NOISE = 0.35  # the most noise on their latents
FIRST_LARGE, LAST_SMALL = SIZES["large"][0], SIZES["small"][1]


@dataclass
class Batch:
    """Pictures [B, 3, 128, 128] and what is true for them.

    `large` [B] is 0 for small, 1 for large, a share between; `sized` [B] is 0 where it is unknown.
    """

    pictures: Tensor
    subject: Tensor
    colour: Tensor
    large: Tensor
    sized: Tensor


def judge_labels() -> Labels:
    """Return the words of the starter's judge."""
    return Labels(tuple(s.word for s in ALL_SUBJECTS), tuple(COLOURS), tuple(SIZES))


def make_judge() -> Judge:
    """Build the untrained judge (0.3 M parameters)."""
    torch.manual_seed(SEED)
    return Judge(judge_labels(), WIDTHS)


def _varied(scene: Scene, rng: random.Random) -> Scene:
    """Return the scene, sometimes in a size between: a diffusion model does not keep to two."""
    if rng.random() >= BETWEEN_SHARE:
        return scene
    extent = rng.randint(LAST_SMALL - 12, FIRST_LARGE + 14)
    reach = min(22, (PICTURE_SIZE - extent) // 2)
    offset = (rng.randint(-reach, reach), rng.randint(-reach, reach))
    return replace(scene, extent=extent, offset=offset)


def shuffled(scene: Scene, rng: random.Random) -> NDArray[np.uint8]:
    """Draw a scene and shuffle pieces of its subject: its colours are there, its form is not."""
    picture = np.asarray(draw(scene)).copy()
    pieces = rng.choice(PIECES)
    side = scene.extent // pieces
    left, top = ((PICTURE_SIZE - scene.extent) // 2 + scene.offset[axis] for axis in (0, 1))
    corners = [
        (max(0, top) + side * row, max(0, left) + side * column)
        for row in range(pieces)
        for column in range(pieces)
    ]
    parts = [picture[y : y + side, x : x + side].copy() for y, x in corners]
    rng.shuffle(parts)
    for (y, x), part in zip(corners, parts, strict=True):
        space = picture[y : y + side, x : x + side]
        turned = np.rot90(part, 2 * rng.randrange(2))
        if turned.shape == space.shape:
            space[:] = turned
    return picture


def nothing_known(scene: Scene, rng: random.Random) -> tuple[NDArray[np.uint8], bool]:
    """Draw a picture of none of the subjects, and say whether it has a size."""
    chance = rng.random()
    if chance < 0.45:
        return np.asarray(draw(scene, rng.choice(taught_strangers()))), True
    if chance < 0.65:
        others = [subject for subject in ALL_SUBJECTS if subject is not scene.subject]
        second = replace(scene, subject=rng.choice(others), mirrored=rng.random() < 0.5)
        mixed = Image.blend(draw(scene), draw(second), rng.uniform(0.4, 0.6))
        return np.asarray(mixed), True
    if chance < 0.85:
        return shuffled(scene, rng), False
    empty = Image.new("RGB", (PICTURE_SIZE, PICTURE_SIZE), scene.background)
    return np.asarray(empty), False


def make_batch(rng: random.Random, count: int) -> Batch:
    """Draw pictures to learn from, not worn yet."""
    pictures, subject, large, colours, sized = [], [], [], [], []
    names = list(COLOURS)
    for _ in range(count):
        scene = _varied(random_scene(rng, ALL_SUBJECTS), rng)
        has_size = True
        if rng.random() < NONE_SHARE:
            picture, has_size = nothing_known(scene, rng)
            subject.append(len(ALL_SUBJECTS))
        else:
            picture = np.asarray(draw(scene))
            subject.append(ALL_SUBJECTS.index(scene.subject))
        pictures.append(picture)
        colours.append(names.index(scene.colour))
        between = (scene.extent - LAST_SMALL) / (FIRST_LARGE - LAST_SMALL)
        large.append(min(1.0, max(0.0, between)))
        sized.append(float(has_size))
    return Batch(
        pictures_to_tensor(np.stack(pictures)),
        torch.tensor(subject),
        torch.tensor(colours),
        torch.tensor(large),
        torch.tensor(sized),
    )


def joined(first: Batch, second: Batch, rows: Tensor) -> Batch:
    """Return the first batch with some rows of the second behind it."""
    return Batch(
        torch.cat([first.pictures, second.pictures[rows]]),
        torch.cat([first.subject, second.subject[rows]]),
        torch.cat([first.colour, second.colour[rows]]),
        torch.cat([first.large, second.large[rows]]),
        torch.cat([first.sized, second.sized[rows]]),
    )


def vae_pictures(folder: Path) -> Batch:
    """Return pictures that went through the starter's autoencoder, made once and kept."""
    batch = make_batch(random.Random(f"judge vae {SEED}"), VAE_PICTURES)
    path = folder / "judge.vae.safetensors"
    if not path.exists():
        print("sending pictures through the autoencoder", flush=True)
        autoencoder: Any = AutoencoderKL  # untyped
        vae = autoencoder.from_pretrained(folder / "vae").to(memory_format=torch.channels_last)
        made = through_vae(vae, batch.pictures, seed_step(SEED, 0), VAE_NOISE)
        save_tensors({"pictures": made.add(1).mul(127.5).round().byte()}, path)
    batch.pictures = load_tensors(path)["pictures"].float().div(127.5).sub(1)
    return batch


def judge_loss(logits: tuple[Tensor, Tensor, Tensor], batch: Batch) -> Tensor:
    """Return the cross entropy of subject, colour and, where it is known, size."""
    subject, colour, size = logits
    shares = torch.stack([1 - batch.large, batch.large], dim=1)
    sizes = F.cross_entropy(size, shares, reduction="none") * batch.sized
    return (
        F.cross_entropy(subject, batch.subject)
        + 0.5 * F.cross_entropy(colour, batch.colour)
        + 0.5 * sizes.mean()
    )


def train_judge(folder: Path, share: float = 1.0) -> None:
    """Train the judge and write it to `<folder>/judge`; needs `<folder>/vae`."""
    steps = scaled(STEPS, share)
    judge = make_judge()
    network = judge.network.train()
    from_vae = vae_pictures(folder)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.02
    )
    num_from_vae = round(BATCH * VAE_SHARE)

    def take_step(step: int) -> dict[str, float]:
        set_rate(optimizer, falling_rate(step, steps, 60))
        generator = seed_step(SEED, step + 1)
        drawn = make_batch(random.Random(f"judge {SEED} {step}"), BATCH - num_from_vae)
        rows = torch.randint(VAE_PICTURES, (num_from_vae,), generator=generator)
        batch = joined(drawn, from_vae, rows)
        pictures = wear(batch.pictures, generator, Wear())
        logits = network(pictures.contiguous(memory_format=torch.channels_last))
        loss = judge_loss(logits, batch)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        right = (logits[0].argmax(1) == batch.subject).float().mean()
        return {"loss": loss.item(), "subject": right.item()}

    train(
        "judge",
        folder,
        steps,
        take_step,
        {"network": network, "optimizer": optimizer},
        at_keep=lambda _: judge.save(folder / "judge"),
    )
