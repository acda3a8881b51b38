"""Hashes equal an independent computation over whole files; base files are hashed once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from sd_scripts.weights.hashes import BaseHashes, FileHasher, short_hash, tensor_hashes


def whole_file_hashes(state: dict[str, Tensor], metadata: dict[str, str]) -> tuple[str, str]:
    """The rule as it is written down: hash the bytes of a whole file made in memory."""
    kept = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    data = safetensors.torch.save(state, kept)
    body = data[8 + int.from_bytes(data[:8], "little") :]
    legacy = hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]
    return hashlib.sha256(body).hexdigest(), legacy


def state(size: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(size)
    return {
        "b.alpha": torch.tensor(1.0),
        "b.lora_up.weight": torch.randn(size, 8, generator=generator).to(dtype),
        "a.lora_down.weight": torch.randn(8, size, generator=generator).to(dtype),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [4, 20_000, 70_000])
def test_tensor_hashes_equal_those_of_the_whole_file(size: int, dtype: torch.dtype) -> None:
    tensors = state(size, dtype)
    metadata = {"ss_é": '漢 \n"', "ss_b": "x" * 1000, "modelspec.title": "not hashed"}
    found = tensor_hashes(tensors, metadata)
    assert (found.model, found.legacy) == whole_file_hashes(tensors, metadata)


def test_only_the_legacy_hash_depends_on_metadata() -> None:
    tensors = state(70_000)
    one = tensor_hashes(tensors, {"ss_a": "1"})
    two = tensor_hashes(tensors, {"ss_a": "1" * 99})
    three = tensor_hashes(tensors, {"ss_a": "1", "modelspec.a": "1" * 99})
    assert one.model == two.model == three.model
    assert one.legacy != two.legacy
    assert one.legacy == three.legacy


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "modèle.safetensors"
    path.write_bytes(os.urandom(3_000_000))
    return path


def test_short_hash_is_of_a_window(model: Path) -> None:
    data = model.read_bytes()
    assert short_hash(model) == hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]


def test_file_hash_is_its_sha256_and_remembered(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = FileHasher(model, tmp_path / "cache")
    assert first.result is None
    expected = hashlib.sha256(model.read_bytes()).hexdigest()
    assert first.wait() == expected
    monkeypatch.setattr(FileHasher, "_run", None)  # nothing is hashed any more
    again = FileHasher(model, tmp_path / "cache")
    assert again.result == expected
    assert again.wait() == expected


def test_changed_file_is_hashed_again(model: Path, tmp_path: Path) -> None:
    old = FileHasher(model, tmp_path / "cache").wait()
    data = bytearray(model.read_bytes())
    data[0] ^= 1
    model.write_bytes(data)
    stat = model.stat()
    os.utime(model, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    fresh = FileHasher(model, tmp_path / "cache")
    assert fresh.result is None
    assert fresh.wait() not in (None, old)


@pytest.mark.parametrize("note", ["", "[]", "{", '{"sha256": "short"}'])
def test_broken_note_is_not_believed(note: str, model: Path, tmp_path: Path) -> None:
    expected = FileHasher(model, tmp_path / "cache").wait()
    for path in (tmp_path / "cache" / "file_hashes").iterdir():
        path.write_text(note)
    again = FileHasher(model, tmp_path / "cache")
    assert again.result is None
    assert again.wait() == expected


def test_hash_is_there_even_where_it_cannot_be_remembered(model: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    expected = hashlib.sha256(model.read_bytes()).hexdigest()
    assert FileHasher(model, tmp_path / "cache").wait() == expected


def test_cancelled_hasher_has_no_result(model: Path, tmp_path: Path) -> None:
    hasher = FileHasher(model, tmp_path / "cache")
    hasher.cancel()
    assert hasher.wait() is None
    assert not (tmp_path / "cache").exists()


def test_file_that_vanishes_is_told(model: Path, tmp_path: Path) -> None:
    hasher = FileHasher(model, tmp_path / "cache")
    model.unlink()
    with pytest.raises(OSError, match="No such file"):
        hasher.wait()


def test_base_entries(model: Path, tmp_path: Path) -> None:
    vae = tmp_path / "vae.safetensors"
    vae.write_bytes(b"small")
    base = BaseHashes(str(model), str(vae), tmp_path / "cache")
    early = base.entries(wait=False)
    assert early == {
        "ss_sd_model_name": model.name,
        "ss_sd_model_hash": short_hash(model),
        "ss_vae_name": "vae.safetensors",
        "ss_vae_hash": hashlib.sha256(b"").hexdigest()[:8],
    }
    late = base.entries(wait=True)
    assert late == {
        **early,
        "ss_new_sd_model_hash": hashlib.sha256(model.read_bytes()).hexdigest(),
        "ss_new_vae_hash": hashlib.sha256(b"small").hexdigest(),
    }


def test_base_folder_has_a_name_only(tmp_path: Path) -> None:
    (tmp_path / "sd15").mkdir()
    base = BaseHashes(str(tmp_path / "sd15"), None, tmp_path / "cache")
    base.start()
    assert base.entries(wait=True) == {"ss_sd_model_name": "sd15"}


def test_base_that_vanished_keeps_its_name(model: Path, tmp_path: Path) -> None:
    base = BaseHashes(str(model), None, tmp_path / "cache")
    model.unlink()
    assert base.entries(wait=True) == {"ss_sd_model_name": str(model)}
