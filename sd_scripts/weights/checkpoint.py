"""Tensors by name out of weight files, each read only when asked for.

A tensor that is wanted as it is stored is a view of the mapped file; one that is wanted in another
dtype is read through a small buffer, so that the file's pages do not add to the memory in use.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sd_scripts.errors import UserError
from sd_scripts.weights.checkpoint_keys import Source
from sd_scripts.weights.headers import Header, TensorInfo, file_format, read_header, refuse_code
from sd_scripts.weights.pickle_names import INERT_GLOBALS

Shapes = Mapping[str, tuple[int, ...]]
_DTYPES: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


class Weights(Protocol):
    """Named tensors that are read one at a time."""

    shapes: Shapes
    label: str

    def tensor(
        self, name: str, dtype: torch.dtype | None = None, third: int | None = None
    ) -> Tensor:
        """Return one tensor on the CPU, in `dtype` (None: as stored, and then not copied).

        `third` asks for the first, second or last third of its rows only.
        """


class _Reader(threading.local):
    """One thread's own place in a file, and the buffer it reads into again and again."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._buffer = torch.empty(0, dtype=torch.uint8)

    def read(self, start: int, length: int) -> Tensor:
        """Return bytes, good until the next call; fewer if the file ends before."""
        if self._buffer.numel() < length:
            self._buffer = torch.empty(length, dtype=torch.uint8)
        view = memoryview(self._buffer[:length].numpy().data)
        self._file.seek(start)
        done = 0
        while done < length and (count := self._file.readinto(view[done:])):
            done += count
        return self._buffer[:done]


class _SafetensorsWeights:
    """One safetensors file; its tensors are views of the mapped file. Several threads may read."""

    def __init__(self, path: Path, header: Header, option: str | None) -> None:
        self.label = path.name
        self.shapes: Shapes = _shapes(header.tensors)
        self._infos = header.tensors
        self._stack = ExitStack()
        try:
            self._file = self._stack.enter_context(safe_open(path, framework="pt"))
            self._reader = _Reader(path)
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{path.name} cannot be read: {error}", option=option, hint="download it again"
            ) from error

    def tensor(
        self, name: str, dtype: torch.dtype | None = None, third: int | None = None
    ) -> Tensor:
        info = self._infos[name]
        stored = _DTYPES.get(info.dtype)
        if dtype is None or stored is None or stored == dtype:
            return _in_dtype(_cut(self._file.get_tensor(name), third), dtype)
        rows, start, length = info.shape, info.start, info.end - info.start
        if third is not None:
            length //= 3
            rows, start = (rows[0] // 3, *rows[1:]), start + third * length
        raw = self._reader.read(start, length)
        if raw.numel() < length:
            raise UserError(f"{self.label} became shorter while it was read")
        return raw.view(stored).reshape(rows).to(dtype)


def _cut(tensor: Tensor, third: int | None) -> Tensor:
    return tensor if third is None else tensor.chunk(3)[third]


def _in_dtype(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor if dtype is None else tensor.to(dtype)


class _LoadedWeights:
    """Tensors that are there already."""

    def __init__(self, label: str, tensors: Mapping[str, Tensor]) -> None:
        self.label = label
        self._tensors = tensors
        self.shapes: Shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}

    def tensor(
        self, name: str, dtype: torch.dtype | None = None, third: int | None = None
    ) -> Tensor:
        return _in_dtype(_cut(self._tensors[name], third), dtype)


class _JoinedWeights:
    """The shards of one model as one."""

    def __init__(self, parts: Sequence[Weights]) -> None:
        self.label = f"{parts[0].label} and its other shards"
        self._owner = {name: part for part in parts for name in part.shapes}
        self.shapes: Shapes = {name: part.shapes[name] for name, part in self._owner.items()}

    def tensor(
        self, name: str, dtype: torch.dtype | None = None, third: int | None = None
    ) -> Tensor:
        return self._owner[name].tensor(name, dtype, third)


def _shapes(tensors: Mapping[str, TensorInfo]) -> dict[str, tuple[int, ...]]:
    return {name: info.shape for name, info in tensors.items()}


def open_weights(*paths: Path, option: str | None = None) -> Weights:
    """Open a weights file, or all shards of one, by content (safetensors or PyTorch).

    PyTorch files are read with `weights_only`. Raises `UserError`, carrying `option`.
    """
    parts = [_open_one(path, option) for path in paths]
    return parts[0] if len(parts) == 1 else _JoinedWeights(parts)


def _open_one(path: Path, option: str | None) -> Weights:
    header = read_header(path, option)
    if file_format(path) == "safetensors":
        return _SafetensorsWeights(path, header, option)
    return _LoadedWeights(path.name, _pickled_tensors(path, header, option))


def _inert_classes() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return empty classes to stand for what old checkpoints refer to, by its full name."""
    return [(type(name.rpartition(".")[2], (), {}), name) for name in INERT_GLOBALS]


def _pickled_tensors(path: Path, header: Header, option: str | None) -> dict[str, Tensor]:
    refuse_code(path, header, option)
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"
    try:
        with torch.serialization.safe_globals(_inert_classes()):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it is damaged"
        raise UserError(
            f"{path.name} cannot be read as plain weights: {reason}",
            option=option,
            hint="download it again, or take the .safetensors of the same model",
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise UserError(
            f"{path.name} holds no named weights", option=option, hint="choose a model file"
        )
    return {str(name): item for name, item in content.items() if isinstance(item, Tensor)}


def read_source(
    weights: Weights, prefix: str, source: Source, dtype: torch.dtype | None = None
) -> Tensor:
    """Return one tensor from its place in a checkpoint, cut and turned as `source` says."""
    tensor = weights.tensor(prefix + source.key, dtype, source.third)
    return tensor.T if source.transposed else tensor


def fits(stored: tuple[int, ...], source: Source, wanted: tuple[int, ...]) -> bool:
    """Tell whether a stored tensor gives one of shape `wanted`; 1x1 convolutions are linear."""
    if source.third is not None:
        stored = (stored[0] // 3, *stored[1:])
    if source.transposed:
        stored = stored[::-1]
    return _squeezed(stored) == _squeezed(wanted)


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape
