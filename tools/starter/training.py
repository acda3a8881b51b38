"""The loop that every part of the starter is trained with: seeded step by step, resumable."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sd_scripts.files import atomic_path

BAR_WIDTH = 24
SHOW_EVERY_SECONDS = 5.0
KEEP_EVERY_SECONDS = 90.0


class Stateful(Protocol):
    """What can be kept and taken up again: a module, an optimizer."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class Average:
    """The exponential moving average of a module's parameters (Polyak averaging).

    Early on it forgets faster, (1 + step) / (10 + step), so that the first weights fade.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.step = 0
        self.values = [parameter.detach().clone() for parameter in module.parameters()]

    def update(self, module: nn.Module) -> None:
        """Take the present parameters into the average."""
        self.step += 1
        weight = 1 - min(self.decay, (1 + self.step) / (10 + self.step))
        present = [parameter.detach() for parameter in module.parameters()]
        torch._foreach_lerp_(self.values, present, weight)

    def copy_to(self, module: nn.Module) -> None:
        """Write the average into the module."""
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), self.values, strict=True):
                parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the average and how many steps it has seen."""
        return {"step": self.step, "values": self.values}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up an average again."""
        self.step = state_dict["step"]
        for value, kept in zip(self.values, state_dict["values"], strict=True):
            value.copy_(kept)


def scaled(count: int, share: float) -> int:
    """Return a share of a number of steps or scenes, at least two: to try the way quickly."""
    return max(2, round(count * share))


def falling_rate(step: int, steps: int, warm_up: int) -> float:
    """Return the share of the learning rate: up in a line, down to zero along a cosine."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def set_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Scale each group's learning rate; its full value is remembered beside it."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("full_lr", group["lr"]) * share


def seed_step(seed: int, step: int) -> torch.Generator:
    """Return the random stream of one step, the same after an interruption."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def train(
    name: str,
    folder: Path,
    steps: int,
    take_step: Callable[[int], Mapping[str, float]],
    kept: Mapping[str, Stateful],
    *,
    at_keep: Callable[[int], None] | None = None,
) -> None:
    """Call `take_step` for each step, showing progress and keeping a state to go on from.

    Args:
        folder: where `<name>.state.pt` lies; a state found there is taken up.
        take_step: does step number n and returns values to show (running means are shown).
        kept: what the state is made of.
        at_keep: called with the step whenever a state was kept.
    """
    state_path = folder / f"{name}.state.pt"
    folder.mkdir(parents=True, exist_ok=True)
    start = _take_up(state_path, kept)
    began = shown = saved = time.monotonic()
    means: dict[str, float] = {}
    for step in range(start, steps):
        for key, value in take_step(step).items():
            means[key] = value if key not in means else 0.98 * means[key] + 0.02 * value
        now = time.monotonic()
        if now - shown >= SHOW_EVERY_SECONDS or step + 1 == steps:
            shown = now
            _show(name, step + 1, steps, (now - began) / (step + 1 - start), means)
        if now - saved >= KEEP_EVERY_SECONDS or step + 1 == steps:
            saved = now
            _keep(state_path, kept, step + 1)
            if at_keep:
                at_keep(step + 1)
    print(flush=True)


def _take_up(path: Path, kept: Mapping[str, Stateful]) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    for key, part in kept.items():
        part.load_state_dict(state[key])
    print(f"taken up at step {state['step']}: {path.name}", flush=True)
    return int(state["step"])


def _keep(path: Path, kept: Mapping[str, Stateful], step: int) -> None:
    state: dict[str, Any] = {key: part.state_dict() for key, part in kept.items()}
    with atomic_path(path) as temporary:
        torch.save({**state, "step": step}, temporary)


def _show(name: str, step: int, steps: int, seconds: float, means: Mapping[str, float]) -> None:
    done = int(BAR_WIDTH * step / steps)
    values = "  ".join(f"{key} {value:.4f}" for key, value in means.items())
    left = (steps - step) * seconds / 60
    line = f"{name} [{'#' * done:<{BAR_WIDTH}}] {step}/{steps}  {values}  {left:.0f} min left"
    print(f"\r{line:<100}", end="" if sys.stdout.isatty() else "\n", flush=True)


def pictures_to_tensor(pictures: Any) -> Tensor:
    """Turn [B, H, W, 3] bytes into [B, 3, H, W] float32 in -1 to 1, channels last in memory."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
