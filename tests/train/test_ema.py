"""The moving average of weights: its formula, its place, and its way through a state."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn

from sd_scripts.train.ema import Ema, learning_in, weights_to_use


def model_of(dtype: torch.dtype = torch.float32) -> nn.Linear:
    """A layer of one weight, and a bias that does not learn."""
    layer = nn.Linear(1, 1).to(dtype)
    layer.bias.requires_grad_(False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    return layer


@pytest.mark.parametrize("device", [None, torch.device("cpu")])
def test_an_average_follows_its_formula(device: torch.device | None) -> None:
    model = model_of()
    ema = Ema(learning_in(model), 0.5, device)
    expected = 1.0
    for step in range(30):
        with torch.no_grad():
            model.weight.add_(1.0)
        ema.update()
        kept = min(0.5, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * (step + 2)
    assert ema.state_dict()["weight"].item() == pytest.approx(expected)
    assert set(ema.state_dict()) == {"weight", "steps"}


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_average_takes_the_place_of_the_weights(dtype: torch.dtype, in_place: bool) -> None:
    """And the weights come back bit for bit, whatever happens meanwhile."""
    model = model_of(dtype)
    ema = Ema(learning_in(model), 0.9, None, in_place=in_place)
    memory = model.weight.data_ptr()
    with torch.no_grad():
        model.weight.fill_(1.2345)
    ema.update()
    weight, average = model.weight.detach().clone(), ema.state_dict()["weight"].clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with suppress(RuntimeError), weights_to_use(optimizer, ema):
        assert model.weight.dtype == dtype
        assert torch.equal(model.weight, average.to(dtype))
        assert not in_place or model.weight.data_ptr() == memory
        raise RuntimeError
    assert torch.equal(model.weight, weight)
    assert torch.equal(ema.state_dict()["weight"], average)
    total: Any = model.weight.sum()
    total.backward()
    optimizer.step()
    assert model.weight.item() == pytest.approx(weight.item() - 1, abs=0.01)


def test_a_state_brings_the_average_back() -> None:
    first, second = (Ema(learning_in(model_of()), 0.9, None) for _ in range(2))
    first.update()
    state = {name: tensor.clone() + 1 for name, tensor in first.state_dict().items()}
    second.load_state_dict(state)
    assert all(torch.equal(value, state[name]) for name, value in second.state_dict().items())
    with pytest.raises(KeyError, match="other weights"):
        second.load_state_dict({"steps": torch.tensor(1)})
