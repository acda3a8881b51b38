"""Trains the tagger on drawn scenes and writes it as an ONNX model with its tags."""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor

from sd_scripts.files import atomic_path
from tools.starter.network import lay_out
from tools.starter.strangers import Shown, random_shown, taught_strangers
from tools.starter.tagger_model import (
    INNER_SIDE,
    MODEL_FILE,
    RATINGS,
    SIDE,
    TAGS_FILE,
    Tag,
    Tagger,
    all_tags,
    true_tags,
    write_tags,
)
from tools.starter.training import (
    falling_rate,
    pictures_to_tensor,
    scaled,
    seed_step,
    set_rate,
    train,
)
from tools.starter.wear import Wear, wear

SEED = 41
STEPS = 800
BATCH = 64
LEARNING_RATE = 4e-3
WIDTHS = (24, 40, 80, 104)
STRANGERS = 0.3  # share of pictures that show no subject
SCALE = 100  # one tag's share of the loss is small: without this, learning starts slowly
OPSET = 18
WIDEST_KIND = "object"
WEAR = Wear(share=0.5, blur=1.2, gain=0.05, shift=0.05, noise=0.05, clouds=0.05, warp=1.5)


def make_tagger() -> Tagger:
    """Build the untrained tagger (0.3 M parameters)."""
    torch.manual_seed(SEED)
    tagger = Tagger(len(all_tags()), WIDTHS)
    lay_out(tagger, torch.channels_last)
    return tagger


def targets(batch: Sequence[Shown], tags: Sequence[Tag]) -> tuple[Tensor, Tensor]:
    """Return what is true [B, T] and what counts [B, T], for the tags after the ratings.

    A stranger whose kind is not known is no animal, fruit or the like; whether it is an "object"
    is left open, since that word is wide.
    """
    names = [tag.name for tag in tags[len(RATINGS) :]]
    true = torch.zeros(len(batch), len(names))
    counts = torch.ones(len(batch), len(names))
    for row, shown in enumerate(batch):
        true[row, [names.index(name) for name in true_tags(shown)]] = 1
        if shown.kind is None:
            counts[row, names.index(WIDEST_KIND)] = 0
    return true, counts


def inner_pictures(pictures: Tensor) -> Tensor:
    """Shrink [B, 3, 128, 128] to what the network sees of pictures enlarged to 448 px."""
    size = (INNER_SIDE, INNER_SIDE)
    small = F.interpolate(pictures, size, mode="bicubic", align_corners=False, antialias=True)
    return small.contiguous(memory_format=torch.channels_last)


def train_tagger(folder: Path, share: float = 1.0) -> None:
    """Train the tagger and write it to `<folder>/tagger`."""
    steps = scaled(STEPS, share)
    tagger = make_tagger().train()
    tags = all_tags()
    optimizer = torch.optim.AdamW(
        tagger.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.02
    )

    def take_step(step: int) -> dict[str, float]:
        set_rate(optimizer, falling_rate(step, steps, 60))
        rng = random.Random(f"tagger {SEED} {step}")
        batch = [random_shown(rng, taught_strangers(), STRANGERS) for _ in range(BATCH)]
        drawn = pictures_to_tensor(np.stack([np.asarray(shown.picture()) for shown in batch]))
        worn = wear(drawn, seed_step(SEED, step), WEAR)
        true, counts = targets(batch, tags)
        logits = tagger.logits(inner_pictures(worn))
        errors = F.binary_cross_entropy_with_logits(logits, true, reduction="none")
        loss = (errors * counts).mean()
        torch.autograd.backward(SCALE * loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return {"loss": SCALE * loss.item()}

    train("tagger", folder, steps, take_step, {"tagger": tagger, "optimizer": optimizer})
    export(tagger, tags, tag_counts(tags), folder / "tagger")


def tag_counts(tags: Sequence[Tag], num_scenes: int = 4096) -> list[int]:
    """Return how often each tag is true in drawn scenes: the file's column `count`."""
    rng = random.Random(f"tag counts {SEED}")
    seen = dict.fromkeys((tag.name for tag in tags), 0)
    for _ in range(num_scenes):
        seen[RATINGS[0]] += 1
        for name in true_tags(random_shown(rng, taught_strangers(), STRANGERS)):
            seen[name] += 1
    return [seen[tag.name] for tag in tags]


def export(tagger: Tagger, tags: Sequence[Tag], counts: Sequence[int], folder: Path) -> None:
    """Write `model.onnx` ([N, 448, 448, 3] float32 -> [N, tags]) and `selected_tags.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = copy.deepcopy(tagger).eval()
    lay_out(plain, torch.contiguous_format)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    program = torch.onnx.export(
        plain,
        (torch.zeros(2, SIDE, SIDE, 3),),
        dynamo=True,
        opset_version=OPSET,
        input_names=["input"],
        output_names=["output"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1024)},),
        verbose=False,
    )
    assert program is not None, "the exporter gives a program"
    model = without_traces(program.model_proto)
    with atomic_path(folder / MODEL_FILE) as temporary:
        temporary.write_bytes(model.SerializeToString())
    write_tags(tags, counts, folder / TAGS_FILE)


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without the notes of where each node came from on the maker's machine."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for tensor in graph.initializer:
        tensor.ClearField("metadata_props")
    del graph.value_info[:]
    del model.functions[:]
    model.ClearField("metadata_props")
    return model
