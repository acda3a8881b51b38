"""Hashes by which other programs know files: of trained weights, and of base models.

Sources: sd-scripts' `precalculate_safetensors_hashes`, `model_hash` and `calculate_sha256`, and
the Stable Diffusion web UI, which looks models up by them.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor

from sd_scripts.files import write_atomic
from sd_scripts.weights.files import header_bytes, tensor_bytes

_WINDOW: Final = (0x100000, 0x110000)
_BLOCK: Final = 1 << 22


@dataclass(frozen=True)
class TensorHashes:
    """`model`: sha256 of the tensors' bytes; `legacy`: 8 digits over 64 KiB of the file."""

    model: str
    legacy: str


def tensor_hashes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> TensorHashes:
    """Return `sshs_model_hash` and `sshs_legacy_hash` of tensors about to be saved.

    Both are those of a safetensors file that has only the `ss_` entries of `metadata`: the first
    covers the bytes behind the header, so it does not depend on metadata; the second covers bytes
    0x100000 to 0x110000 of the whole file. Tensors are gone through one at a time.
    """
    kept = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    model, legacy = hashlib.sha256(), hashlib.sha256()
    position = _update_window(legacy, header_bytes(tensors, kept), 0)
    for data in tensor_bytes(tensors):
        model.update(data)
        position = _update_window(legacy, data, position)
    return TensorHashes(model.hexdigest(), legacy.hexdigest()[:8])


def lycoris_hash(tensors: Mapping[str, Tensor]) -> str:
    """Return `sshs_model_hash` as LyCORIS writes it: over the tensors' bytes in the given order."""
    digest = hashlib.sha256()
    for tensor in tensors.values():
        for data in tensor_bytes({"tensor": tensor}):
            digest.update(data)
    return f"0x{digest.hexdigest()}"


def _update_window(digest: hashlib._Hash, data: bytes | memoryview, position: int) -> int:
    """Feed the part of `data`, which starts at `position`, that lies in the window."""
    start, end = (max(0, edge - position) for edge in _WINDOW)
    digest.update(data[start:end])
    return position + len(data)


def short_hash(path: str | os.PathLike[str]) -> str:
    """Return the old web UI hash of a file: 8 hex digits over bytes 0x100000 to 0x110000."""
    with open(path, "rb") as file:
        file.seek(_WINDOW[0])
        return hashlib.sha256(file.read(_WINDOW[1] - _WINDOW[0])).hexdigest()[:8]


class FileHasher:
    """The sha256 of one file, computed in a background thread and remembered for the next run.

    What is remembered is used only while path, size and modification time are the same. `start`
    begins the work (nothing to do if it is remembered); `wait` gives the result when it is needed.
    """

    def __init__(self, path: str | os.PathLike[str], cache_dir: Path) -> None:
        self._path = Path(path).resolve()
        self._stamp = self._take_stamp()
        name = hashlib.blake2b(str(self._path).encode("utf-8", "surrogateescape"), digest_size=16)
        self._memo = cache_dir / "file_hashes" / f"{name.hexdigest()}.json"
        self._result = self._remembered()
        self._error: OSError | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def result(self) -> str | None:
        """The hash (64 hex digits) if it is known by now, else None."""
        return self._result

    def start(self) -> None:
        """Begin to hash in the background, unless the result is known or being worked on."""
        if self._result is None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="file hash", daemon=True)
            self._thread.start()

    def wait(self, timeout: float | None = None) -> str | None:
        """Wait for the hash, at most `timeout` seconds; None if it is still not known.

        Raises `OSError` if the file could not be read.
        """
        self.start()
        if self._thread is not None:
            self._thread.join(timeout)
        if self._error is not None:
            raise self._error
        return self._result

    def cancel(self) -> None:
        """Give up: the thread ends after the block it is at."""
        self._stop.set()

    def _take_stamp(self) -> dict[str, str | int]:
        stat = self._path.stat()
        return {"path": str(self._path), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}

    def _remembered(self) -> str | None:
        try:
            memo = json.loads(self._memo.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None  # not hashed before, or an unreadable note: hash again
        if not isinstance(memo, dict) or {key: memo.get(key) for key in self._stamp} != self._stamp:
            return None
        digest = memo.get("sha256")
        return digest if isinstance(digest, str) and len(digest) == 64 else None

    def _run(self) -> None:
        digest = hashlib.sha256()
        try:
            for block in self._blocks():
                digest.update(block)
            unchanged = self._take_stamp() == self._stamp
        except OSError as error:
            self._error = error
            return
        if self._stop.is_set():
            return
        self._result = digest.hexdigest()
        if not unchanged:
            return
        note = json.dumps({**self._stamp, "sha256": self._result})
        with suppress(OSError):  # without the note, the next run hashes again
            self._memo.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._memo, note, durable=False)

    def _blocks(self) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(_BLOCK))
        with open(self._path, "rb", buffering=0) as file:
            while not self._stop.is_set() and (size := file.readinto(buffer)):
                yield buffer[:size]


class BaseHashes:
    """Names and hashes of the base model and the replacement VAE, for the trained file's metadata.

    Short hashes cost nothing and are always there; full ones are computed in the background from
    `start` on. A diffusers folder has a name but no hash.
    """

    def __init__(self, model: str, vae: str | None, cache_dir: Path) -> None:
        self._parts = [("sd_model", Path(model))] + ([("vae", Path(vae))] if vae else [])
        self._hashers = {
            part: FileHasher(path, cache_dir) for part, path in self._parts if path.is_file()
        }

    def start(self) -> None:
        """Begin hashing; best after the first training step, so that it delays nothing."""
        for hasher in self._hashers.values():
            hasher.start()

    def cancel(self) -> None:
        """Give up what is still being hashed."""
        for hasher in self._hashers.values():
            hasher.cancel()

    def entries(self, *, wait: bool) -> dict[str, str]:
        """Return `ss_sd_model_name`, `ss_sd_model_hash`, `ss_new_sd_model_hash`, and for the VAE.

        Without `wait`, full hashes that are not ready are left out. Files that vanished since the
        start keep their name only.
        """
        entries: dict[str, str] = {}
        for part, path in self._parts:
            entries[f"ss_{part}_name"] = path.name if path.exists() else str(path)
            hasher = self._hashers.get(part)
            if hasher is None:
                continue
            with suppress(OSError):
                entries[f"ss_{part}_hash"] = short_hash(path)
                full = hasher.wait() if wait else hasher.result
                if full is not None:
                    entries[f"ss_new_{part}_hash"] = full
        return entries
