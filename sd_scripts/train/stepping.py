"""How weights take a step: all at once, in parts with stochastic rounding, or while going back.

A part of the weights is stepped by showing the optimizer only these, with its settings as they
were before the step; counters that it keeps for a whole group so count each step once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sd_scripts.dataset.order import stream_seed
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.options.optimizer_table import OPTIMIZERS

_PART_NUMBERS: Final = 1 << 24
"""So many numbers are stepped at a time where they are widened to 32 bits for it (64 MB)."""
_NOISE_NUMBERS: Final = 1 << 18
_LOW_BITS: Final = 1 << 16
_KEEP_HIGH_BITS: Final = -_LOW_BITS


class Stepper(Protocol):
    """`in_backward`: weights move during the backward pass already."""

    in_backward: bool

    def begin(self, number: int) -> None:
        """Get ready for step `number` (from 1); comes before its backward pass."""

    def step(self) -> Tensor | None:
        """Finish the step. Returns the norm of all gradients if they were shortened here."""


class WholeStep:
    """Lets the optimizer step all weights at once."""

    in_backward = False

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer

    def begin(self, number: int) -> None:
        """Nothing is due."""

    def step(self) -> Tensor | None:
        """Step all weights."""
        self._optimizer.step()
        return None


class StochasticRounding:
    """Rounds 32-bit numbers to bf16, up or down by chance, right on average.

    Random bits are added below those that stay, which are then cut off
    (https://arxiv.org/abs/2010.06192). The same random bits serve all tensors of a step in turn:
    each number is still rounded right on average, and drawing them costs next to nothing.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._noise: dict[torch.device, Tensor] = {}

    def renew(self, number: int) -> None:
        """Take the random bits of step `number`, which depend on it and the seed alone."""
        seed = stream_seed(self._seed, number, 0, 0, "rounding")
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(
            0, _LOW_BITS, (_NOISE_NUMBERS,), generator=generator, dtype=torch.int32
        )
        self._noise = {torch.device("cpu"): drawn}

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Round `source` (float32; its content is used up) into `target` (bfloat16)."""
        if not _all_finite(source):
            target.copy_(source)  # adding bits to these would make numbers of them
            return
        noise = self._noise.get(source.device)
        if noise is None:
            noise = self._noise[torch.device("cpu")].to(source.device)
            self._noise[source.device] = noise
        flat = source.contiguous().view(-1)
        for chunk in torch.split(flat, _NOISE_NUMBERS):
            bits = chunk.view(torch.int32)
            bits.add_(noise[: len(bits)]).bitwise_and_(_KEEP_HIGH_BITS)
        target.copy_(flat.view(source.shape))


def _all_finite(numbers: Tensor) -> bool:
    """Tell whether all numbers are finite; their sum, quick to have, nearly always tells it."""
    return bool(torch.isfinite(numbers.sum())) or bool(torch.isfinite(numbers).all())


class PartStep:
    """Steps the weights part by part; with `rounding`, in 32 bits and stochastically rounded."""

    in_backward = False

    def __init__(
        self,
        optimizer: Optimizer,
        parts: Sequence[Sequence[nn.Parameter]],
        rounding: StochasticRounding | None,
    ) -> None:
        self._optimizer: Any = optimizer
        self._rounding = rounding
        # By number: when a state is loaded, every group becomes another one.
        numbers = {p: n for n, group in enumerate(optimizer.param_groups) for p in group["params"]}
        self._parts: list[dict[int, list[nn.Parameter]]] = []
        for part in parts:
            by_group: dict[int, list[nn.Parameter]] = {}
            for parameter in part:
                by_group.setdefault(numbers[parameter], []).append(parameter)
            self._parts.append(by_group)
        self._settings: list[dict[str, Any]] = []

    def begin(self, number: int) -> None:
        """Note every group's settings, which each part of the step starts from."""
        self._settings = [
            {name: value for name, value in group.items() if name != "params"}
            for group in self._optimizer.param_groups
        ]
        if self._rounding is not None:
            self._rounding.renew(number)

    def step(self) -> Tensor | None:
        """Step one part after the other."""
        for number in range(len(self._parts)):
            self._step_part(number)
        return None

    def _step_part(self, number: int) -> None:
        """Step the weights of a part that have a gradient, and drop it."""
        moving = {
            group: [parameter for parameter in parameters if parameter.grad is not None]
            for group, parameters in self._parts[number].items()
        }
        moving = {group: parameters for group, parameters in moving.items() if parameters}
        if not moving:
            return
        everything = self._optimizer.param_groups
        whole = {group: everything[group]["params"] for group in moving}
        stepped = [parameter for parameters in moving.values() for parameter in parameters]
        low = {parameter: _widen(parameter) for parameter in stepped} if self._rounding else {}
        try:
            for group, parameters in moving.items():
                _reset(everything[group], self._settings[group], parameters)
            self._optimizer.param_groups = [everything[group] for group in moving]
            self._optimizer.step()
        finally:
            self._optimizer.param_groups = everything
            for group, parameters in whole.items():
                everything[group]["params"] = parameters
            for parameter, weight in low.items():
                self._narrow(parameter, weight)
        for parameter in stepped:
            parameter.grad = None

    def _narrow(self, parameter: nn.Parameter, weight: Tensor) -> None:
        assert self._rounding is not None
        parameter.grad = None
        if weight.dtype == torch.bfloat16:
            self._rounding.copy(weight, parameter.data)
            parameter.data = weight


def _reset(group: dict[str, Any], settings: dict[str, Any], parameters: list[nn.Parameter]) -> None:
    """Bring a group to the settings it had before the step, with these parameters alone."""
    for name in [name for name in group if name not in settings and name != "params"]:
        del group[name]
    group.update(settings, params=parameters)


def _widen(parameter: nn.Parameter) -> Tensor:
    """Give a bf16 parameter and its gradient 32 bits; returns the parameter's own data."""
    weight, gradient = parameter.data, parameter.grad
    if weight.dtype == torch.bfloat16:
        assert gradient is not None
        parameter.grad = None
        parameter.data = weight.float()
        parameter.grad = gradient.float()
    return weight


class FusedStep(PartStep):
    """Steps a part as soon as all its gradients are there, and drops them.

    A gradient's norm is limited tensor by tensor: that of all is not known before the last one.
    """

    in_backward = True

    def __init__(
        self,
        optimizer: Optimizer,
        parts: Sequence[Sequence[nn.Parameter]],
        rounding: StochasticRounding | None,
        max_norm: float,
    ) -> None:
        super().__init__(optimizer, parts, rounding)
        self._members = [list(part) for part in parts]
        self._max_norm = max_norm
        self._waiting: list[int] = []
        self._squares: list[Tensor] = []
        for number, part in enumerate(parts):
            for parameter in (p for p in part if p.requires_grad):
                watched: Any = parameter
                watched.register_post_accumulate_grad_hook(self._on_gradient(number))

    def begin(self, number: int) -> None:
        """Get ready: count the gradients that each part waits for."""
        super().begin(number)
        self._waiting = [sum(p.requires_grad for p in part) for part in self._members]
        self._squares = []

    def _on_gradient(self, number: int) -> Callable[[Tensor], None]:
        def act(parameter: Tensor) -> None:
            assert parameter.grad is not None
            if self._max_norm:
                norm = nn.utils.clip_grad_norm_([parameter], self._max_norm)
                self._squares.append(norm.detach().float() ** 2)
            self._waiting[number] -= 1
            if self._waiting[number] == 0:
                self._step_part(number)

        return act

    def step(self) -> Tensor | None:
        """Step what still waits, since some of its weights had no part in this pass."""
        for number, waiting in enumerate(self._waiting):
            if waiting > 0:
                self._step_part(number)
        if not self._squares:
            return None
        device = self._squares[0].device
        return torch.stack([square.to(device) for square in self._squares]).sum().sqrt()


def build_stepper(job: TrainingJob, optimizer: Optimizer, prepared: Any) -> Stepper:
    """Return the way of stepping that a job asks for; `prepared` is accelerate's optimizer."""
    performance = job.performance
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    low = any(parameter.dtype == torch.bfloat16 for parameter in parameters)
    entry = OPTIMIZERS[job.optimizer.optimizer_type]
    # A schedule-free optimizer mixes weights with its memory, so both need one number format.
    assert job.training.seed is not None, "the entry draws a seed"
    stochastic = low and not entry.schedule_free
    rounding = StochasticRounding(job.training.seed) if stochastic else None
    if performance.fused_option is not None:
        parts = _shared_out(parameters, performance.fused_optimizer_groups)
        return FusedStep(optimizer, parts, rounding, job.optimizer.max_grad_norm)
    if rounding is None:
        return WholeStep(prepared)
    by_parts = [parameters] if entry.sets_own_rate else _in_parts(parameters)
    return PartStep(optimizer, by_parts, rounding)


def _shared_out(parameters: Sequence[nn.Parameter], count: int | None) -> list[list[nn.Parameter]]:
    """Cut the weights into `count` parts of about the same size, in order; None: one each."""
    if count is None:
        return [[parameter] for parameter in parameters]
    share = sum(parameter.numel() for parameter in parameters) / count
    parts: list[list[nn.Parameter]] = [[]]
    done = 0
    for parameter in parameters:
        if parts[-1] and done >= share * len(parts):
            parts.append([])
        parts[-1].append(parameter)
        done += parameter.numel()
    return parts


def _in_parts(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    total = sum(parameter.numel() for parameter in parameters)
    return _shared_out(parameters, max(1, -(-total // _PART_NUMBERS)))
