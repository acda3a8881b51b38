"""The judge: says which subject a starter picture shows, on which ground, and how large."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sd_scripts.errors import UserError
from sd_scripts.files import write_atomic
from sd_scripts.weights.files import load_tensors, save_tensors
from tools.starter.network import Trunk, lay_out

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
SIDE = 128  # px
BATCH = 64


@dataclass(frozen=True)
class Labels:
    """What a judge can say, in the order of its outputs; `none` is its last subject."""

    subjects: tuple[str, ...]
    colours: tuple[str, ...]
    sizes: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What the judge saw in one picture, and how sure it is of it (0 to 1).

    `subject` is None for what is none of the subjects, and for what cannot be recognised.
    """

    subject: str | None
    subject_share: float
    colour: str
    colour_share: float
    size: str
    size_share: float


class JudgeNetwork(nn.Module):
    """A small convolutional classifier with a head for each thing it says."""

    def __init__(self, labels: Labels, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.trunk = Trunk(widths)
        features = self.trunk.num_features
        self.subject = nn.Linear(features, len(labels.subjects) + 1)
        self.colour = nn.Linear(features, len(labels.colours))
        self.size = nn.Linear(features, len(labels.sizes))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Turn [B, 3, 128, 128] in -1 to 1 into the logits of subject (+ none), colour, size."""
        seen = self.trunk(pictures)
        return self.subject(seen), self.colour(seen), self.size(seen)


def to_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    """Turn pictures of any size into [B, 3, 128, 128] float32 in -1 to 1."""
    arrays = []
    for picture in pictures:
        plain = picture.convert("RGB")
        if plain.size != (SIDE, SIDE):
            plain = plain.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        arrays.append(np.asarray(plain))
    stacked = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
    return stacked.float().div_(127.5).sub_(1.0)


class Judge:
    """A judge with its words, ready to look at pictures."""

    def __init__(self, labels: Labels, widths: tuple[int, ...]) -> None:
        """Make an untrained judge; `widths` are the channels after each halving."""
        self.labels = labels
        self.widths = widths
        self.network = JudgeNetwork(labels, widths)
        lay_out(self.network, torch.channels_last)

    @classmethod
    def load(cls, folder: Path) -> Judge:
        """Read what `save` wrote. Raises `UserError` if it is not there or damaged."""
        path = folder / CONFIG_FILE
        if not path.is_file():
            raise UserError(
                f"there is no judge in {folder}",
                option="folder",
                hint=f"choose a folder with {CONFIG_FILE} and {WEIGHTS_FILE}",
            )
        config = json.loads(path.read_text(encoding="utf-8"))
        words = {key: tuple(values) for key, values in config["labels"].items()}
        judge = cls(Labels(**words), tuple(config["widths"]))
        weights = {k: v.float() for k, v in load_tensors(folder / WEIGHTS_FILE).items()}
        needed = {k: v.shape for k, v in judge.network.state_dict().items() if v.dim()}
        if {key: value.shape for key, value in weights.items()} != needed:
            raise UserError(
                f"{WEIGHTS_FILE} and {CONFIG_FILE} do not belong together",
                option="folder",
                hint="take both files from the same judge",
            )
        judge.network.load_state_dict(weights, strict=False)  # counters of batches do not count
        judge.network.eval().requires_grad_(False)
        return judge

    def save(self, folder: Path) -> None:
        """Write the weights as fp16 and the words beside them."""
        folder.mkdir(parents=True, exist_ok=True)
        state = self.network.state_dict()
        save_tensors(
            {key: value.half() for key, value in state.items() if value.is_floating_point()},
            folder / WEIGHTS_FILE,
            {"format": "pt"},
        )
        config = {"labels": asdict(self.labels), "widths": self.widths}
        write_atomic(folder / CONFIG_FILE, json.dumps(config, indent=1) + "\n")

    @torch.no_grad()
    def features(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Return what the trunk sees in each picture, [B, features], before any name is given."""
        seen: Tensor = self.network.eval().trunk(to_tensor(pictures))
        return seen

    @torch.no_grad()
    def see(self, pictures: Sequence[Image.Image]) -> list[Verdict]:
        """Return what each picture shows."""
        was_training = self.network.training
        self.network.eval()
        verdicts = []
        for first in range(0, len(pictures), BATCH):
            batch = to_tensor(pictures[first : first + BATCH])
            shares = [logits.softmax(1).max(1) for logits in self.network(batch)]
            parts = [(best.tolist(), which.tolist()) for best, which in shares]
            for row in range(len(batch)):
                (subject, subject_index), (colour, colour_index), (size, size_index) = (
                    (best[row], which[row]) for best, which in parts
                )
                verdicts.append(
                    Verdict(
                        subject=(*self.labels.subjects, None)[subject_index],
                        subject_share=subject,
                        colour=self.labels.colours[colour_index],
                        colour_share=colour,
                        size=self.labels.sizes[size_index],
                        size_share=size,
                    )
                )
        self.network.train(was_training)
        return verdicts
