"""Files of tensors: the bytes are safetensors', writing is atomic, reading executes nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sd_scripts.errors import UserError
from sd_scripts.weights import files
from sd_scripts.weights.files import (
    header_bytes,
    load_tensors,
    read_metadata,
    save_safetensors_atomic,
    save_tensors,
)

DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.float8_e5m2, torch.float8_e4m3fn, torch.int16,
    torch.float16, torch.bfloat16, torch.int32, torch.float32, torch.float64, torch.int64,
]  # fmt: skip


def tensor(dtype: torch.dtype, shape: tuple[int, ...] = (2, 3), seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 3).to(dtype)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    def raw(value: Tensor) -> Tensor:
        return value.contiguous().flatten().view(torch.uint8)

    return a.keys() == b.keys() and all(
        a[k].shape == b[k].shape and a[k].dtype == b[k].dtype and torch.equal(raw(a[k]), raw(b[k]))
        for k in a
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(min_size=1, max_size=8),
            st.sampled_from(DTYPES),
            st.lists(st.integers(0, 3), max_size=3),
        ),
        max_size=6,
        unique_by=lambda item: item[0],
    )
)
def test_file_is_what_the_safetensors_library_writes(
    items: list[tuple[str, torch.dtype, list[int]]],
) -> None:
    tensors = {
        name: tensor(dtype, tuple(shape), seed)
        for seed, (name, dtype, shape) in enumerate(items)
        if name != "__metadata__"
    }
    ours = header_bytes(tensors, None) + b"".join(bytes(d) for d in files.tensor_bytes(tensors))
    assert ours == safetensors.torch.save(tensors)


def test_metadata_texts_take_the_library_s_space_and_come_back(tmp_path: Path) -> None:
    tensors = {"a": tensor(torch.float32)}
    metadata = {"ss_x": 'é "quoted" \\ \n\t\x01\x7f 漢字 🐈', "ss_y": json.dumps({"a": ["b"]})}
    theirs = safetensors.torch.save(tensors, metadata)
    assert header_bytes(tensors, metadata)[:8] == theirs[:8]
    save_safetensors_atomic(tensors, tmp_path / "a.safetensors", metadata)
    assert read_metadata(tmp_path / "a.safetensors") == metadata
    with safetensors.safe_open(tmp_path / "a.safetensors", "pt") as opened:
        assert opened.metadata() == metadata


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt", "pt"])
def test_what_is_saved_loads(suffix: str, tmp_path: Path) -> None:
    tensors = {
        "plain": tensor(torch.float32),
        "half": tensor(torch.bfloat16),
        "scalar": torch.tensor(4.0),
        "turned": tensor(torch.float32).t(),
        "learning": tensor(torch.float32).requires_grad_(),
    }
    path = tmp_path / f"ü {suffix}.{suffix}"
    save_tensors(tensors, path, {"ss_a": "b"})
    assert same(load_tensors(path), {k: t.detach() for k, t in tensors.items()})
    assert read_metadata(path) == ({"ss_a": "b"} if suffix == "safetensors" else {})
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_fault_in_the_middle_leaves_the_old_file(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a.{suffix}"
    save_tensors({"a": tensor(torch.float32)}, path)
    before = path.read_bytes()

    def half(*_: Any) -> Any:
        yield memoryview(b"12345")
        raise OSError(errno.ENOSPC, "No space left on device")

    def fail(content: Any, where: Path) -> None:
        Path(where).write_bytes(b"12345")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(files, "tensor_bytes", half)
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match=r"No space|writing failed"):
        save_tensors({"a": tensor(torch.float32, (50, 50))}, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_full_disk_is_told_before_anything_is_written(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2000))
    with pytest.raises(OSError, match="no space left") as error:
        save_tensors({"a": tensor(torch.float32)}, tmp_path / f"a.{suffix}")
    assert error.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


class Evil:
    """A pickle of this runs a command when it is read carelessly."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


def test_pickle_with_code_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": tensor(torch.float32), "b": Evil()}, "a.pt")
    with pytest.raises(UserError) as error:
        load_tensors("a.pt", "network_weights")
    assert error.value.problems[0].option == "network_weights"
    assert not Path("executed").exists()


def test_state_dict_is_unwrapped_and_other_values_left_out(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": tensor(torch.float32), "step": 3}}, tmp_path / "a.ckpt")
    assert list(load_tensors(tmp_path / "a.ckpt")) == ["a"]


@pytest.mark.parametrize("name", ["gone.safetensors", "gone.pt"])
def test_missing_file_names_the_option(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        load_tensors(tmp_path / name, "network_weights")
    assert error.value.problems[0].option == "network_weights"
    assert "cannot be read" in str(error.value)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
@pytest.mark.parametrize("content", ["half", "text", "empty", "deep"])
def test_damaged_file_is_told(name: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / name
    save_tensors({"a": tensor(torch.float32, (100, 100))}, path)
    whole = path.read_bytes()
    deep = b'{"a":' + b"[" * 100_000
    damaged = {
        "half": whole[: len(whole) // 2],
        "text": b"hello",
        "empty": b"",
        "deep": len(deep).to_bytes(8, "little") + deep,
    }
    path.write_bytes(damaged[content])
    with pytest.raises(UserError):
        load_tensors(path)


def test_list_of_tensors_is_no_weights_file(tmp_path: Path) -> None:
    torch.save([tensor(torch.float32)], tmp_path / "a.pt")
    with pytest.raises(UserError, match="no named tensors"):
        load_tensors(tmp_path / "a.pt")
