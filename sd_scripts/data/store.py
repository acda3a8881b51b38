"""Tensors kept by what they were made from: a key names the content, so an entry is never stale.

On disk an entry is `<root>/ab/abcdef….safetensors`, written in one atomic step; two processes may
write the same entry, since both write the same content. In memory it is a dictionary.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from sd_scripts.data.memo import telling_cache_errors
from sd_scripts.errors import UserError
from sd_scripts.files import write_atomic

_SUFFIX: Final = ".safetensors"
_LEFTOVER_AGE_SECONDS: Final = 24 * 3600


def content_key(parts: Mapping[str, object]) -> str:
    """Return 40 hex digits that name an entry made from `parts` (compared by their `str`)."""
    text = "\n".join(f"{name}={parts[name]}" for name in sorted(parts))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


class TensorStore:
    """Small groups of named tensors by key.

    With `in_memory`, what is saved stays in this process, and what is read from disk is kept;
    entries that are on disk already are used in both modes.
    """

    def __init__(self, root: Path, *, in_memory: bool = False) -> None:
        self.root = root
        self.in_memory = in_memory
        self._memory: dict[str, dict[str, Tensor]] = {}

    def path_of(self, key: str) -> Path:
        """Return where the entry is kept on disk."""
        return self.root / key[:2] / f"{key}{_SUFFIX}"

    def existing(self, keys: Iterable[str]) -> set[str]:
        """Return those of `keys` that need not be made again."""
        wanted = set(keys)
        found = wanted & self._memory.keys()
        for prefix in {key[:2] for key in wanted - found}:
            found |= wanted & _entries(self.root / prefix)
        return found

    def load(self, key: str) -> dict[str, Tensor]:
        """Return an entry's tensors, on the CPU.

        An entry that can't be read is removed, so that the next start makes it again, and a
        `UserError` says so.
        """
        if key in self._memory:
            return self._memory[key]
        path = self.path_of(key)
        try:
            tensors = safetensors.torch.load(path.read_bytes())
        except FileNotFoundError as error:
            raise UserError(
                f"a cached file has vanished while it was needed: {path}",
                option="cache_dir",
                hint="start again; it is then made anew",
            ) from error
        except SafetensorError as error:
            path.unlink(missing_ok=True)
            raise UserError(
                f"a cached file is damaged ({error}): {path}",
                option="cache_dir",
                hint="it was removed; start again, it is then made anew",
            ) from error
        if self.in_memory:
            self._memory[key] = tensors
        return tensors

    def save(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep an entry; `UserError` if the cache folder can't be written."""
        if self.in_memory:
            self._memory[key] = tensors
            return
        path = self.path_of(key)
        with telling_cache_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                write_atomic(path, safetensors.torch.save(tensors))
            except PermissionError:
                # Windows refuses to replace a file that another process has open: it is there,
                # then, and the key says that it holds the same.
                if not path.exists():
                    raise


def _entries(folder: Path) -> set[str]:
    """Return the keys in one folder; what a killed process left half written there is removed."""
    keys: set[str] = set()
    with telling_cache_errors():
        entries = list(os.scandir(folder)) if folder.exists() else []
    for entry in entries:
        if entry.name.endswith(_SUFFIX):
            keys.add(entry.name.removesuffix(_SUFFIX))
        elif entry.name.endswith(".part"):
            _remove_if_old(Path(entry.path))
    return keys


def _remove_if_old(path: Path) -> None:
    """Remove a temporary file, unless it may still be in the making."""
    try:
        if time.time() - path.stat().st_mtime > _LEFTOVER_AGE_SECONDS:
            path.unlink()
    except FileNotFoundError:
        return  # its writer has just finished it
