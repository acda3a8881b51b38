"""A moving average of the trained weights: kept beside them, saved and previewed in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sd_scripts.options.jobs import TrainingJob
from sd_scripts.train.optimizers import averaged_weights

STEPS: Final = "steps"


class Ema:
    """The exponential moving average of parameters that learn, by name, in 32 bits.

    After n steps an update keeps min(decay, (1 + n) / (10 + n)) of it, so that a short run is not
    held at its start (Polyak averaging; the course is that of tf.train.ExponentialMovingAverage).
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        decay: float,
        device: torch.device | None,
        *,
        in_place: bool = False,
    ) -> None:
        """`device` None: each average is where its weight is.

        `in_place`: a weight's memory is shared with others, so it is never exchanged for another.
        """
        self._decay = decay
        self._device = device
        self._steps = 0
        self._in_place = in_place
        self._parameters = dict(parameters)
        self._averages: dict[str, Tensor] = {}
        self.restart()

    @classmethod
    def of(
        cls, job: TrainingJob, parameters: Mapping[str, nn.Parameter], *, in_place: bool
    ) -> Ema | None:
        """Make the average that a job asks for."""
        options = job.training
        if not options.use_ema:
            return None
        device = torch.device("cpu") if options.ema_device == "cpu" else None
        return cls(parameters, options.ema_decay, device, in_place=in_place)

    def restart(self) -> None:
        """Begin anew from the weights as they are now."""
        self._steps = 0
        self._averages = {
            name: parameter.detach().to(self._device or parameter.device, torch.float32, copy=True)
            for name, parameter in self._parameters.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after an optimizer step."""
        kept = min(self._decay, (1 + self._steps) / (10 + self._steps))
        self._steps += 1
        for name, parameter in self._parameters.items():
            average = self._averages[name]
            average.lerp_(parameter.detach().to(average.device, torch.float32), 1 - kept)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Have the average in place of the weights in here; afterwards they are back, bit for bit.

        The weights wait where the average is kept, so that a graphics card needs no more memory.
        """
        weights = {name: parameter.data for name, parameter in self._parameters.items()}
        try:
            for name, parameter in self._parameters.items():
                average, weight = self._averages[name], weights[name]
                weights[name] = weight.to(average.device, copy=self._in_place)
                _give(parameter, average.to(weight.device, weight.dtype), self._in_place)
            yield
        finally:
            for name, parameter in self._parameters.items():
                _give(parameter, weights[name].to(parameter.device), self._in_place)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages by the names of their weights, and the number of steps."""
        return {**self._averages, STEPS: torch.tensor(self._steps)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` gave. Raises `KeyError` or `RuntimeError` if it differs."""
        if state.keys() != {*self._averages, STEPS}:
            raise KeyError("the average is of other weights")
        self._steps = int(state[STEPS])
        for name, average in self._averages.items():
            average.copy_(state[name])


def learning_in(modules: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that learn, by name."""
    return {name: one for name, one in modules.named_parameters() if one.requires_grad}


def _give(parameter: nn.Parameter, value: Tensor, in_place: bool) -> None:
    if in_place:
        parameter.data.copy_(value)
    else:
        parameter.data = value


@contextmanager
def weights_to_use(optimizer: Optimizer, ema: Ema | None) -> Iterator[None]:
    """Have the weights as they are to be used (saved, previewed, validated) in here."""
    with averaged_weights(optimizer), ema.applied() if ema is not None else nullcontext():
        yield
