"""Writing and reading files of tensors: streamed, atomic, and never executing anything."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sd_scripts.errors import UserError
from sd_scripts.files import atomic_path
from sd_scripts.weights.headers import (
    file_format,
    read_header,
    read_safetensors_header,
    refuse_code,
)

SUFFIXES: Final = (".safetensors", ".ckpt", ".pt")
_ALIGNMENT: Final = 8
_SPARE_BYTES: Final = 1 << 20

# What PyTorch's reader raises over bytes that are no pickle of tensors.
_DAMAGE: Final = (
    SafetensorError,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
)

# safetensors puts wider dtypes first, in the order of its own list of dtypes.
_DTYPES: Final[dict[torch.dtype, str]] = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}
_PLACES: Final = {dtype: place for place, dtype in enumerate(_DTYPES)}


def ordered(tensors: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    """Return tensors in the order in which the safetensors library stores them."""
    return sorted(tensors.items(), key=lambda item: (-_PLACES[item[1].dtype], item[0].encode()))


def header_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None) -> bytes:
    """Return the start of a safetensors file: 8 bytes of length, then the JSON header, padded.

    Source: https://github.com/huggingface/safetensors#format
    """
    content: dict[str, Any] = {}
    if metadata is not None:
        content["__metadata__"] = dict(metadata)
    offset = 0
    for name, tensor in ordered(tensors):
        size = tensor.numel() * tensor.element_size()
        content[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def tensor_bytes(
    tensors: Mapping[str, Tensor], read: Callable[[str], Tensor] | None = None
) -> Iterator[memoryview]:
    """Yield the stored bytes of each tensor in file order, one tensor in memory at a time.

    With `read`, `tensors` only announce dtypes and shapes, and `read` makes each one by its name.
    """
    for name, announced in ordered(tensors):
        tensor = read(name) if read else announced
        assert (tensor.dtype, tensor.shape) == (announced.dtype, announced.shape), name
        flat = tensor.detach().to("cpu").contiguous().flatten()
        if flat.numel():
            yield flat.view(torch.uint8).numpy().data


def check_space(path: Path, needed: int) -> None:
    """Raise `OSError` (`ENOSPC`) if the disk of `path` has no room for `needed` bytes."""
    free = shutil.disk_usage(path.parent).free
    if free < needed + _SPARE_BYTES:
        text = f"no space left: {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free"
        raise OSError(errno.ENOSPC, text, str(path))


def save_safetensors_atomic(
    tensors: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file in one atomic step, a tensor at a time, without a second copy.

    Raises `OSError` if it cannot be written (`ENOSPC` before a byte is, if the disk is too full);
    `path` then still holds what it held.
    """
    stream_safetensors_atomic(tensors, tensors.__getitem__, path, metadata)


def stream_safetensors_atomic(
    layout: Mapping[str, Tensor],
    read: Callable[[str], Tensor],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors that are made one at a time: `read` gives each as `layout` announces it.

    Of `layout` only dtypes and shapes count, so its tensors may be on the device "meta".
    Otherwise as `save_safetensors_atomic`.
    """
    path = Path(path)
    header = header_bytes(layout, metadata)
    size = sum(tensor.numel() * tensor.element_size() for tensor in layout.values())
    check_space(path, len(header) + size)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(header)
        for data in tensor_bytes(layout, read):
            file.write(data)


def save_tensors(
    tensors: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors in the format that the path's ending names (`.safetensors`, `.ckpt`, `.pt`).

    The pickle formats hold a plain dict of tensors and have no place for metadata. Otherwise as
    `save_safetensors_atomic`.
    """
    path = Path(path)
    assert path.suffix in SUFFIXES, f"no known ending: {path.name}"
    if path.suffix == ".safetensors":
        save_safetensors_atomic(tensors, path, metadata)
        return
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    check_space(path, sum(tensor.numel() * tensor.element_size() for tensor in plain.values()))
    save_pickle_atomic(plain, path)


def save_pickle_atomic(content: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write tensors and plain values as PyTorch's own format, in one atomic step.

    Raises `OSError`; what was at `path` is then still there.
    """
    with atomic_path(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # PyTorch's writer says so when a write fails
            raise OSError(errno.EIO, f"writing failed: {error}", str(path)) from error


def load_tensors(path: str | os.PathLike[str], option: str | None = None) -> dict[str, Tensor]:
    """Read every tensor of a file onto the CPU; of a pickle, tensors only, executing nothing.

    A "state_dict" around the tensors is unwrapped, values that are no tensors are left out.
    Raises `UserError` (naming `option`) if the file cannot be read, is damaged, or is a pickle
    that wants more than tensors.
    """
    path = Path(path)
    refuse_code(path, read_header(path, option), option)
    try:
        if file_format(path) == "safetensors":
            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        raise UserError(
            f"{path.name} is damaged, or holds more than tensors",
            option=option,
            hint="Download or copy it again, or use its .safetensors version.",
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise UserError(
            f"{path.name} holds no named tensors",
            option=option,
            hint="Choose a file of weights.",
        )
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return a safetensors file's metadata; empty for other formats, which have none."""
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        return {}
    return dict(read_safetensors_header(path).metadata)
