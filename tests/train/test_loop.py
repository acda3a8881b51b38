"""One forward pass: everything it is given goes to the device that computes."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from sd_scripts.data.batch import Batch, CachedText
from sd_scripts.families.base import TextConditioning
from sd_scripts.families.sdxl import SDXL
from sd_scripts.objective.objective import Prepared
from sd_scripts.train.loop import Step, ends_epoch, forward

META = torch.device("meta")


class Seen:
    """Stands for the model, and notes where its inputs are."""

    def __init__(self) -> None:
        self.family = SimpleNamespace(
            conditioning_inputs=SDXL().conditioning_inputs, predict=self.predict
        )
        self.devices: dict[str, torch.device] = {}

    def predict(self, _: Any, noisy: Tensor, times: Tensor, text: Any, extra: Any) -> Tensor:
        given = {"noisy": noisy, "timesteps": times, "hidden": text.hidden, "pooled": text.pooled}
        self.devices = {name: tensor.device for name, tensor in (given | extra).items()}
        return noisy


def test_a_batch_goes_to_the_device_of_the_model() -> None:
    """The loader's tensors are on the CPU, as pictures and captions from the caches are."""
    sizes = torch.tensor([[64, 64]])
    batch = Batch(
        sample_ids=(0,), names=("a",), captions=("a cat",),
        original_sizes=sizes, crop_top_lefts=sizes, target_sizes=sizes,
        loss_weights=torch.ones(1), noise_seeds=(1,), latent_seeds=(2,),
        latents=torch.zeros(1, 4, 8, 8), masks=torch.ones(1, 1, 8, 8),
        text=CachedText(torch.zeros(1, 77, 4), torch.zeros(1, 4)),
    )  # fmt: skip
    model = Seen()

    def prepare(latents: Tensor, _: object) -> Prepared:
        return Prepared(latents, torch.zeros(1, device=latents.device), latents, latents)

    def loss(prediction: Tensor, target: Tensor, *others: Tensor) -> Tensor:
        _, weights, masks = others
        model.devices |= {"target": target.device, "weights": weights.device}
        model.devices |= {"masks": masks.device}
        return prediction.mean()

    session: Any = SimpleNamespace(
        model=model,
        accelerator=SimpleNamespace(device=META),
        latents=lambda batch: batch.latents,
        text=lambda batch: TextConditioning(batch.text.hidden, batch.text.pooled),
        objective=SimpleNamespace(prepare=prepare, loss=loss),
        autocast=nullcontext,
        dtype=torch.float32,
    )
    forward(session, batch)
    assert model.devices == dict.fromkeys(model.devices, META)
    assert {"noisy", "hidden", "pooled", "time_ids", "weights"} <= set(model.devices)


def test_a_run_may_end_within_an_epoch() -> None:
    session: Any = SimpleNamespace(arithmetic=SimpleNamespace(total_steps=3))
    steps = [Step(number, epoch, 0.5, number == 2) for number, epoch in ((1, 1), (2, 1), (3, 2))]
    assert [ends_epoch(session, step) for step in steps] == [False, True, True]
