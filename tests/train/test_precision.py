"""Gradients in half precision may be brought back from the scaler's size, which PyTorch refuses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from sd_scripts.train.precision import allow_half_gradients


def test_half_gradients_are_scaled_back() -> None:
    model = nn.Linear(4, 4).half()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    scaler.scale(model(torch.ones(1, 4).half()).float().sum()).backward()
    with pytest.raises(ValueError, match="FP16"):
        scaler.unscale_(optimizer)
    scaler.update(16.0)
    accelerator: Any = SimpleNamespace(scaler=scaler)
    allow_half_gradients(accelerator)
    scaler.unscale_(optimizer)
    assert torch.equal(model.weight.grad, torch.ones(4, 4).half())  # type: ignore[arg-type]
