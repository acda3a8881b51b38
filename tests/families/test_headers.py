"""Headers of weights files: read without loading, refused when damaged, pickles never run."""

from __future__ import annotations

import collections
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sd_scripts.errors import UserError
from sd_scripts.weights.checkpoint import open_weights
from sd_scripts.weights.headers import file_format, read_header

TENSORS = {
    "a.weight": torch.arange(12.0).reshape(3, 4).half(),
    "b": torch.ones(2, dtype=torch.bfloat16),
    "scalar": torch.tensor(3),
    "empty": torch.tensor([]),
    "view": torch.zeros(10)[2:5],
}
SHAPES = {"a.weight": (3, 4), "b": (2,), "scalar": (), "empty": (0,), "view": (3,)}
DTYPES = {"a.weight": "F16", "b": "BF16", "scalar": "I64", "empty": "F32", "view": "F32"}


def problem_of(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_header(path, "vae")
    (problem,) = caught.value.problems
    assert problem.option == "vae"
    assert problem.hint
    return problem.message


def saved(path: Path, how: str) -> Path:
    content = {"state_dict": TENSORS, "global_step": 875000, "notes": ["x", {"y": None}]}
    if how == "safetensors":
        save_file(TENSORS, path, metadata={"k": "v"})
    elif how == "ordered":
        torch.save(collections.OrderedDict(TENSORS), path)
    elif how == "parameters":
        torch.save(
            {k: torch.nn.Parameter(v, requires_grad=False) for k, v in TENSORS.items()}, path
        )
    elif how == "legacy":
        torch.save(content, path, _use_new_zipfile_serialization=False)
    else:
        torch.save(content, path, pickle_protocol=int(how))
    return path


@pytest.mark.parametrize(
    "how", ["safetensors", "ordered", "parameters", "legacy", "2", "3", "4", "5"]
)
def test_names_shapes_and_dtypes(tmp_path: Path, how: str) -> None:
    header = read_header(saved(tmp_path / "file", how))
    assert {name: info.shape for name, info in header.tensors.items()} == SHAPES
    assert {name: info.dtype for name, info in header.tensors.items()} == DTYPES
    assert header.forbidden == ()
    counts = {name: info.num_elements for name, info in header.tensors.items()}
    assert counts == {"a.weight": 12, "b": 2, "scalar": 1, "empty": 0, "view": 3}


@pytest.mark.parametrize("how", ["safetensors", "ordered", "legacy", "2"])
def test_tensors_of_every_format(tmp_path: Path, how: str) -> None:
    weights = open_weights(saved(tmp_path / "file", how))
    assert weights.shapes == SHAPES
    for name, tensor in TENSORS.items():
        assert torch.equal(weights.tensor(name), tensor)
        assert weights.tensor(name).dtype == tensor.dtype
        in_double = weights.tensor(name, torch.float64)
        assert torch.equal(in_double, tensor.to(torch.float64))


@pytest.mark.parametrize("how", ["safetensors", "2"])
@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_thirds(tmp_path: Path, how: str, dtype: torch.dtype | None) -> None:
    weights = open_weights(saved(tmp_path / "file", how))
    rows = TENSORS["a.weight"].to(dtype or torch.float16)
    thirds = [weights.tensor("a.weight", dtype, third) for third in range(3)]
    assert [third.tolist() for third in thirds] == [[row.tolist()] for row in rows]
    assert {third.dtype for third in thirds} == {rows.dtype}


def test_metadata(tmp_path: Path) -> None:
    assert read_header(saved(tmp_path / "a", "safetensors")).metadata == {"k": "v"}
    assert read_header(saved(tmp_path / "b", "legacy")).metadata == {"global_step": "875000"}


def test_offsets_point_at_the_bytes(tmp_path: Path) -> None:
    path = saved(tmp_path / "file", "safetensors")
    info = read_header(path).tensors["a.weight"]
    raw = path.read_bytes()[info.start : info.end]
    assert raw == TENSORS["a.weight"].numpy().tobytes()


def test_format_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    renamed = saved(tmp_path / "really_safetensors.ckpt", "safetensors")
    assert file_format(renamed) == "safetensors"
    assert read_header(renamed).tensors.keys() == SHAPES.keys()


def test_a_header_length_that_looks_like_a_pickle(tmp_path: Path) -> None:
    """A length of 0x..80 begins with the byte that pickles begin with."""
    path = tmp_path / "file"
    for padding in range(0, 256, 8):
        save_file({"a": torch.zeros(1)}, path, metadata={"k": "x" * (400 + padding)})
        if path.read_bytes()[0] == 0x80:
            break
    assert path.read_bytes()[0] == 0x80
    assert file_format(path) == "safetensors"


@pytest.mark.parametrize("keep", [4, 40, -1])
def test_truncated_safetensors(tmp_path: Path, keep: int) -> None:
    path = saved(tmp_path / "file", "safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    assert "damaged" in problem_of(path)


def test_truncated_safetensors_names_both_sizes(tmp_path: Path) -> None:
    path = saved(tmp_path / "file", "safetensors")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-7])
    message = problem_of(path)
    assert str(size) in message.replace(",", "")
    assert str(size - 7) in message.replace(",", "")


@pytest.mark.parametrize("how", ["2", "legacy"])
@pytest.mark.parametrize("share", [0.2, 0.9])
def test_truncated_pickles(tmp_path: Path, how: str, share: float) -> None:
    path = saved(tmp_path / "file", how)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError):
        open_weights(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"GGUF\x03\x00\x00\x00", "GGUF"),
        (b"\x00" * 100, "neither"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{not json at all", "damaged"),
        (b"PK\x03\x04 but no zip", "damaged"),
        (b"\x80\x02\xff\xff", "damaged"),
    ],
)
def test_files_that_are_no_weights(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert words in problem_of(path)


def test_a_zip_archive_that_is_no_model(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "zip archive" in problem_of(tmp_path / "a.zip")


class Malicious:
    """What an attacker would put into a checkpoint."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._mark),)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_pickle_is_named_and_never_run(
    tmp_path: Path, zipped: bool, protocol: int
) -> None:
    path, mark = tmp_path / "evil.ckpt", tmp_path / "mark"
    content = {"state_dict": {"w": torch.zeros(1)}, "x": Malicious(mark)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    header = read_header(path)
    assert header.tensors["w"].shape == (1,)
    assert header.forbidden == (f"{os.mkdir.__module__}.mkdir",)
    with pytest.raises(UserError, match="mkdir"):
        open_weights(path)
    assert not mark.exists()


def test_old_checkpoints_name_their_trainer_and_are_still_read(tmp_path: Path) -> None:
    """Stable Diffusion 1's published .ckpt files have a callback class as a dictionary key."""
    import sys
    import types

    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    names = module.__name__.split(".")
    checkpoint_class = type("ModelCheckpoint", (), {"__module__": module.__name__})
    module.ModelCheckpoint = checkpoint_class  # type: ignore[attr-defined]
    parents = {".".join(names[:n]): types.ModuleType(".".join(names[:n])) for n in (1, 2)}
    sys.modules.update(parents | {module.__name__: module})
    try:
        content = {"callbacks": {checkpoint_class: {"best": 1}}, "state_dict": TENSORS}
        torch.save(content, tmp_path / "old.ckpt")
    finally:
        for name in (*parents, module.__name__):
            del sys.modules[name]
    header = read_header(tmp_path / "old.ckpt")
    assert header.forbidden == ()
    weights = open_weights(tmp_path / "old.ckpt")
    assert torch.equal(weights.tensor("a.weight"), TENSORS["a.weight"])
