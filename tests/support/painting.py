"""Small orders of pictures for tests, and the files they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from sd_scripts.families.base import LoadOptions
from sd_scripts.families.registry import FAMILIES
from sd_scripts.painting.orders import BaseChoice, NetworkUse, Order, OrderFolder, Picture
from sd_scripts.runs.events import Event, OrderEvent, SampleEvent, read_events
from sd_scripts.runs.folder import RunFolder
from sd_scripts.weights.model_kinds import FamilyName


def picture(prompt: str = "a red apple", **changes: Any) -> Picture:
    """Return a small picture of a few steps."""
    values = {"width": 64, "height": 64, "sample_steps": 2, "seed": 7, "scale": 3.0}
    return Picture(prompt=prompt, **{**values, **changes})


def order(base: Path, *pictures: Picture, **changes: Any) -> Order:
    """Return an order of pictures from a model."""
    return Order(base=BaseChoice(path=str(base)), pictures=pictures, **changes)


def use(path: Path, strength: float = 1.0) -> NetworkUse:
    """Return a network with its strength."""
    return NetworkUse(path=str(path), strength=strength)


def write_lora(
    path: Path,
    model: Path,
    family: FamilyName,
    seed: int = 0,
    metadata: dict[str, str] | None = None,
    **more: torch.Tensor,
) -> Path:
    """Write a LoRA of rank 2 for every layer of a model, with random numbers in both factors."""
    loaded = FAMILIES[family].load(model, LoadOptions(device="meta"))
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = dict(more)
    for target in FAMILIES[family].network_targets(loaded):
        if target.is_conv3x3_group:
            continue
        weight: Any = target.module.weight
        shape = tuple(weight.shape)
        ones = (1,) * (len(shape) - 2)
        down = torch.randn((2, shape[1], *ones), generator=generator) * 0.2
        up = torch.randn((shape[0], 2, *ones), generator=generator) * 0.2
        tensors |= {
            f"{target.name}.lora_down.weight": down,
            f"{target.name}.lora_up.weight": up,
            f"{target.name}.alpha": torch.tensor(2.0),
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata)
    return path


class Sitting:
    """A run folder in which orders are filled, and what came of it."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.orders = OrderFolder(run)

    @property
    def events(self) -> list[Event]:
        """What was told so far."""
        return read_events(self.run.events)[0]

    def of(self, asked: Order) -> list[OrderEvent]:
        """What was told of an order."""
        return [e for e in self.events if isinstance(e, OrderEvent) and e.order == asked.id]

    def state(self, asked: Order) -> str:
        """How an order stands."""
        told = self.of(asked)
        return told[-1].state if told else "waiting"

    def painted(self, asked: Order) -> list[bytes]:
        """The files of an order's pictures, in order."""
        told = [e for e in self.events if isinstance(e, SampleEvent) and e.order == asked.id]
        assert [e.index for e in told] == list(range(len(told)))
        return [Path(e.path).read_bytes() for e in told]
