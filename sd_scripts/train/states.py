"""Training states: everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import errno
import json
import pickle
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sd_scripts.errors import Problem, UserError
from sd_scripts.files import atomic_folder
from sd_scripts.train.ema import Ema
from sd_scripts.train.schedulers import load_schedule
from sd_scripts.train.state_facts import FACTS_FILE, WEIGHTS_FILE, StateFacts
from sd_scripts.weights.files import save_tensors

_OPTIMIZER: Final = "optimizer.pt"
_EMA: Final = "ema.safetensors"
_SCHEDULER: Final = "scheduler.pt"
_RANDOM: Final = "random.pt"


class Stateful(Protocol):
    """What learns: its tensors by name, exactly as they are in memory."""

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state_dict: dict[str, Tensor], strict: bool = True) -> Any: ...


class Lender(Protocol):
    """Gathers what processes share out, to be written by the one that leads."""

    def weights(self) -> AbstractContextManager[None]:
        """Have whole weights as they are to be used."""

    def state(self) -> AbstractContextManager[None]:
        """Have whole weights as they are."""

    def pieces(self, folder: Path) -> None:
        """Write what each process alone has. Raises `OSError`."""


@dataclass
class Resumable:
    """The living parts that a state is taken of, and is given back to."""

    weights: Stateful
    optimizer: Optimizer
    scheduler: LRScheduler
    scaler: Any | None = None
    ema: Ema | None = None
    piece: int | None = None
    """The number of this process, if processes share out the memory of optimizer and average."""
    lending: Lender | None = None

    def piece_state(self) -> dict[str, Any]:
        """Return the memory that this process alone has."""
        averages = {} if self.ema is None else self.ema.state_dict()
        return {"optimizer": self.optimizer.state_dict(), "ema": averages}


def piece_of(rank: int) -> str:
    """Return the name of the file for what one of several processes has."""
    return f"piece-{rank}.pt"


def random_state() -> dict[str, Any]:
    """Return the states of every global random stream, as plain values and tensors."""
    python = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state()
    state: dict[str, Any] = {
        "python": [python[0], list(python[1]), python[2]],
        "numpy": [kind, [int(key) for key in keys], int(place), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Put the global random streams back where `random_state` found them."""
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    kind, words, place, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.array(words, dtype=np.uint32), place, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def save_piece(parts: Resumable, folder: Path) -> None:
    """Write what this process alone has. Raises `OSError`."""
    assert parts.piece is not None, "nothing is shared out"
    _save(parts.piece_state(), folder / piece_of(parts.piece))


def save_state(folder: Path, parts: Resumable, facts: StateFacts) -> None:
    """Write a state to `folder` in one step: it is there whole, or as it was before.

    Whenever the process is killed, `find_state` finds one of the two.

    Raises `OSError` (full disk, no right to write); nothing is left behind then.
    """
    with atomic_folder(folder) as temporary:
        weights = {k: v.detach().cpu().contiguous() for k, v in parts.weights.state_dict().items()}
        save_tensors(weights, temporary / WEIGHTS_FILE)
        if parts.lending is not None:
            parts.lending.pieces(temporary)
        else:
            if parts.ema is not None:
                averages = {k: v.cpu().contiguous() for k, v in parts.ema.state_dict().items()}
                save_tensors(averages, temporary / _EMA)
            _save(parts.optimizer.state_dict(), temporary / _OPTIMIZER)
        _save(parts.scheduler.state_dict(), temporary / _SCHEDULER)
        others = random_state()
        if parts.scaler is not None:
            others["scaler"] = parts.scaler.state_dict()
        _save(others, temporary / _RANDOM)
        (temporary / FACTS_FILE).write_text(json.dumps(asdict(facts), indent=2), encoding="utf-8")


def _save(values: Any, path: Path) -> None:
    try:
        torch.save(values, path)
    except RuntimeError as error:  # PyTorch's writer says so when a write fails
        raise OSError(errno.EIO, f"writing failed: {error}", str(path)) from error


def load_state(folder: Path, parts: Resumable) -> list[Problem]:
    """Give a state back to the living parts; returns what the user should know.

    Raises `UserError` if it does not fit them.
    """
    try:
        weights = load_file(folder / WEIGHTS_FILE)
        optimizer, averages = _memory(folder, parts.piece)
        scheduler, others = _load(folder / _SCHEDULER), _load(folder / _RANDOM)
    except (SafetensorError, pickle.UnpicklingError, EOFError, OSError, RuntimeError) as error:
        raise UserError(
            f"The training state {folder.name} is damaged: {_first_line(error)}",
            option="resume",
            hint="Resume from another state, or copy this one again.",
        ) from error
    try:
        parts.weights.load_state_dict(weights, strict=True)
        parts.optimizer.load_state_dict(optimizer)
        _keep_formats(parts.optimizer, optimizer)
        load_schedule(parts.scheduler, scheduler)
        told = _take_average(parts.ema, averages)
    except (ValueError, KeyError, RuntimeError) as error:
        raise UserError(
            f"The training state {folder.name} does not fit this job: {_first_line(error)}",
            option="resume",
            hint="Resume with the same network, optimizer and scheduler settings as before.",
        ) from error
    if parts.scaler is not None and "scaler" in others:
        parts.scaler.load_state_dict(others["scaler"])
    set_random_state(others)
    return told


def _memory(folder: Path, piece: int | None) -> tuple[Any, dict[str, Tensor] | None]:
    """Read the memory of optimizer and average (None: there is none)."""
    if piece is not None:
        found = _load(folder / piece_of(piece))
        return found["optimizer"], found["ema"] or None
    averages = load_file(folder / _EMA) if (folder / _EMA).is_file() else None
    return _load(folder / _OPTIMIZER), averages


def _keep_formats(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Give the optimizer its memory in the number formats it was saved in.

    PyTorch brings it to the format of the weights, which would round it where these are bf16.
    """
    for group, saved_group in zip(optimizer.param_groups, saved["param_groups"], strict=True):
        for parameter, number in zip(group["params"], saved_group["params"], strict=True):
            kept = optimizer.state.get(parameter, {})
            for name, value in saved["state"].get(number, {}).items():
                now = kept.get(name)
                if not isinstance(value, Tensor) or not isinstance(now, Tensor):
                    continue
                if now.dtype != value.dtype:
                    kept[name] = value.to(now.device)


def _take_average(ema: Ema | None, averages: dict[str, Tensor] | None) -> list[Problem]:
    """Give the average what the state holds; says so if only one of the two is there."""
    if ema is not None and averages is not None:
        ema.load_state_dict(averages)
    if (ema is None) == (averages is None):
        return []
    if ema is not None:
        ema.restart()
        text = "This state holds no average of the weights; it begins at the weights as they are"
    else:
        text = "This state holds an average of the weights, which is not kept up any more"
    return [Problem(text, "use_ema, resume", "Resume with use_ema as before.", "warning")]


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def apply_changed_rates(
    parts: Resumable, before: tuple[float | None, ...], now: tuple[float | None, ...]
) -> list[Problem]:
    """After a resume, let rates and a schedule that the user changed win over the saved ones.

    Moments and the schedule's place are kept. Returns what to tell the user.
    """
    lambdas: list[Callable[[int], float]] | None = getattr(parts.scheduler, "lr_lambdas", None)
    if lambdas is None or len(before) != len(now) or None in now:
        return []
    rates = [float(rate) for rate in now if rate is not None]
    scheduler: Any = parts.scheduler
    scheduler.base_lrs = rates
    for number, group in enumerate(parts.optimizer.param_groups):
        group["initial_lr"] = rates[number]
        group["lr"] = rates[number] * lambdas[number](scheduler.last_epoch)
    scheduler._last_lr = [group["lr"] for group in parts.optimizer.param_groups]
    if before == now:
        return []
    text = "The learning rates were changed since this state was saved; the new ones are used"
    return [Problem(text, "learning_rate, unet_lr, text_encoder_lr", None, "warning")]


def settings_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return each group's settings, as the optimizer was made with them."""
    return [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


def apply_changed_arguments(
    optimizer: Optimizer,
    fresh: Sequence[Mapping[str, Any]],
    before: Sequence[str],
    now: Sequence[str],
) -> list[Problem]:
    """After a resume, let `optimizer_args` that the user changed win over the saved ones.

    `fresh` are the groups' settings before the state was loaded, `before` and `now` the arguments
    as name=value. Returns what to tell the user.
    """
    changed = {pair.partition("=")[0].strip() for pair in set(before) ^ set(now)}
    if not changed:
        return []
    for group, settings in zip(optimizer.param_groups, fresh, strict=True):
        group.update({name: settings[name] for name in changed if name in settings})
    text = "The optimizer's arguments were changed since this state was saved; new ones are used"
    return [Problem(text, "optimizer_args", None, "warning")]
