"""What lies in a weights file, read from its header: names, shapes, dtypes; no tensor is loaded.

Two formats are read: safetensors (https://github.com/huggingface/safetensors#format) and PyTorch
pickles, which are looked through opcode by opcode and never executed (see `pickle_names`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from sd_scripts.errors import UserError

FileFormat = Literal["safetensors", "pickle"]
MAX_HEADER_BYTES: Final = 100_000_000
DTYPE_WORDS: Final = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8",
    "F8_E5M2": "float8",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


@dataclass(frozen=True)
class TensorInfo:
    """One tensor: safetensors' name of its dtype, its shape, and its bytes' place in the file.

    `start` and `end` are offsets from the beginning of the file; both 0 where they are not known
    (pickles).
    """

    dtype: str
    shape: tuple[int, ...]
    start: int = 0
    end: int = 0

    @property
    def num_elements(self) -> int:
        """The product of the shape; 1 for a scalar."""
        product = 1
        for size in self.shape:
            product *= size
        return product


@dataclass(frozen=True)
class Header:
    """A weights file's tensors and its text metadata.

    `forbidden` are the names of functions and classes that a pickle asks to call, beyond what
    tensors need; it is always empty for safetensors.
    """

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)
    forbidden: tuple[str, ...] = ()


def file_format(path: str | os.PathLike[str]) -> FileFormat | None:
    """Tell a weights file's format by its first bytes, whatever it is called; None if neither."""
    with open(path, "rb") as file:
        start = file.read(9)
    # A length may begin with a pickle's first byte, so safetensors is asked for first.
    length = int.from_bytes(start[:8], "little")
    if len(start) == 9 and start[8:] == b"{" and length <= MAX_HEADER_BYTES:
        return "safetensors"
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return "pickle"
    return None


def read_header(path: str | os.PathLike[str], option: str | None = None) -> Header:
    """Read either format's header; raises `UserError` for anything that is neither, or damaged.

    `option` is the option that named the file: errors carry it.
    """
    path = Path(path)
    try:
        kind = file_format(path)
        if kind == "safetensors":
            return read_safetensors_header(path, option)
        if kind == "pickle":
            from sd_scripts.weights.pickle_names import read_pickle_header

            return read_pickle_header(path, option)
        raise _unknown_format(path, option)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror or error}",
            option=option,
            hint="check that the file is there and that you may read it",
        ) from error


def _unknown_format(path: Path, option: str | None) -> UserError:
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        what, hint = "is empty", "download or copy it again"
    elif start.startswith(b"version https://git-lfs"):
        what = "is only a Git LFS pointer, not the weights themselves"
        hint = "fetch the real file (git lfs pull, or the download button of the page)"
    elif start.lstrip()[:1] == b"<":
        what = "is a web page, not a weights file"
        hint = "the download went wrong, perhaps for want of a login: download it again"
    elif start.startswith(b"GGUF"):
        what = "is a GGUF file: its weights are quantised and cannot be trained on"
        hint = "take the .safetensors of the same model"
    else:
        what = "is neither a safetensors nor a PyTorch file, or its beginning is damaged"
        hint = "choose a .safetensors or .ckpt file, or download it again"
    return UserError(f"{path.name} {what}", option=option, hint=hint)


def _damaged(path: Path, why: str, option: str | None) -> UserError:
    return UserError(
        f"{path.name} is damaged: {why}",
        option=option,
        hint="download or copy it again; compare its size with the source's",
    )


def read_safetensors_header(path: str | os.PathLike[str], option: str | None = None) -> Header:
    """Read a safetensors header and check that the file is as long as it says.

    Raises `UserError` if the file is truncated or damaged, `OSError` if it cannot be read.
    """
    path = Path(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > MAX_HEADER_BYTES:
            raise _damaged(path, "it does not begin with a safetensors header", option)
        if 8 + length > size:
            raise _damaged(path, "it ends within its header (a broken download?)", option)
        raw = file.read(length)
    try:
        content = json.loads(raw)
        metadata = content.pop("__metadata__", None) or {}
        tensors = {name: _tensor_info(entry, 8 + length) for name, entry in content.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(path, "its header is not valid", option) from error
    expected = max((info.end for info in tensors.values()), default=8 + length)
    if size != expected:
        short = f"it has {size:,} bytes where its header promises {expected:,}"
        raise _damaged(path, f"{short} (a broken download?)" if size < expected else short, option)
    return Header(tensors, {str(key): str(value) for key, value in metadata.items()})


def _tensor_info(entry: dict[str, Any], offset: int) -> TensorInfo:
    start, end = entry["data_offsets"]
    shape = tuple(int(size) for size in entry["shape"])
    if not 0 <= start <= end:
        raise ValueError("offsets out of order")
    return TensorInfo(str(entry["dtype"]), shape, offset + int(start), offset + int(end))


def refuse_code(path: Path, header: Header, option: str | None) -> None:
    """Raise `UserError` if a pickle asks for more than tensors, naming what it asks for."""
    if header.forbidden:
        asked = ", ".join(header.forbidden[:4]) + (" …" if len(header.forbidden) > 4 else "")
        raise UserError(
            f"{path.name} is a pickle with code in it (it would call {asked}); it is not opened",
            option=option,
            hint="take the .safetensors of the same model, or one from a source you trust",
        )
