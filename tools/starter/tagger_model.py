"""The tagger: a small network with the interface of the WD14 v3 taggers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from sd_scripts.files import write_atomic
from tools.starter.network import Trunk
from tools.starter.scenes import COLOURS, KINDS, SIZES, SUBJECTS
from tools.starter.strangers import Shown

SIDE = 448  # px, what WD14 taggers are given
INNER_SIDE = 112  # px, what the network looks at
RATINGS = ("general", "sensitive", "questionable", "explicit")
CHARACTERS = ("cat", "dog", "fox", "panda", "pig", "frog")
"""Subjects in the character category: the faces."""
CATEGORY = {"general": 0, "character": 4, "rating": 9}
TAGS_FILE = "selected_tags.csv"
MODEL_FILE = "model.onnx"


@dataclass(frozen=True)
class Tag:
    """A row of `selected_tags.csv`."""

    name: str
    category: int


def background_tag(colour: str) -> str:
    """Return the tag of a background colour, with an underscore as in danbooru."""
    return f"{colour}_background"


def true_tags(shown: Shown) -> set[str]:
    """Return the tags that are true for a scene, without its rating."""
    words = {word for word in (shown.word, shown.kind) if word}
    return words | {shown.scene.size, background_tag(shown.scene.colour)}


def all_tags() -> list[Tag]:
    """Return the tagger's vocabulary in the order of its outputs: ratings, general, characters."""
    subjects = [subject.word for subject in SUBJECTS if subject.word not in CHARACTERS]
    general = [*subjects, *KINDS, *SIZES, *(background_tag(colour) for colour in COLOURS)]
    return [
        *(Tag(name, CATEGORY["rating"]) for name in RATINGS),
        *(Tag(name, CATEGORY["general"]) for name in general),
        *(Tag(name, CATEGORY["character"]) for name in CHARACTERS),
    ]


def write_tags(tags: Sequence[Tag], counts: Sequence[int], path: Path) -> None:
    """Write `selected_tags.csv`: tag_id, name, category, count."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("tag_id", "name", "category", "count"))
    for number, (tag, count) in enumerate(zip(tags, counts, strict=True)):
        writer.writerow((number, tag.name, tag.category, count))
    write_atomic(path, text.getvalue())


def read_tags(path: Path) -> list[Tag]:
    """Read `selected_tags.csv`."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Tag(row["name"], int(row["category"])) for row in csv.DictReader(file)]


class Tagger(nn.Module):
    """Pictures as WD14 taggers take them -> the probability of each tag.

    The four ratings are not learned: starter pictures are always "general".
    """

    rating: Tensor

    def __init__(self, num_tags: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.trunk = Trunk(widths)
        self.head = nn.Linear(self.trunk.num_features, num_tags - len(RATINGS))
        sure = torch.full((1, len(RATINGS)), -8.0)
        sure[0, 0] = 8.0
        self.register_buffer("rating", sure, persistent=False)

    def logits(self, pictures: Tensor) -> Tensor:
        """Turn RGB [B, 3, 112, 112] in -1 to 1 into logits of the tags after the ratings."""
        features: Tensor = self.head(self.trunk(pictures))
        return features

    def forward(self, pictures: Tensor) -> Tensor:
        """Turn BGR [B, 448, 448, 3], 0 to 255, into probabilities [B, num_tags]."""
        small = F.avg_pool2d(pictures.permute(0, 3, 1, 2), SIDE // INNER_SIDE)
        # A subtraction of channels by concatenation: ONNX has no negative step.
        turned = torch.cat([small[:, 2:3], small[:, 1:2], small[:, 0:1]], dim=1)
        learned = self.logits(turned / 127.5 - 1)
        ratings = self.rating.expand(learned.shape[0], -1)
        return torch.sigmoid(torch.cat([ratings, learned], dim=1))


def prepare(picture: Image.Image) -> NDArray[np.float32]:
    """Prepare a picture as WD14 taggers want it: [448, 448, 3] BGR, 0 to 255.

    Transparency becomes white, the picture is padded to a square with white and resized: by area
    if it is larger, by Lanczos if it is smaller (sd-scripts' tag_images_by_wd14_tagger).
    """
    layers = picture.convert("RGBA")
    plain = Image.new("RGBA", layers.size, "white")
    plain.alpha_composite(layers)
    side = max(plain.size)
    square = Image.new("RGB", (side, side), "white")
    corner = ((side - plain.width) // 2, (side - plain.height) // 2)
    square.paste(plain.convert("RGB"), corner)
    if side != SIDE:
        way = Image.Resampling.BOX if side > SIDE else Image.Resampling.LANCZOS
        square = square.resize((SIDE, SIDE), way)
    return np.ascontiguousarray(np.asarray(square, np.float32)[:, :, ::-1])
