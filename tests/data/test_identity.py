"""Encoders are known by their weights, and hashed once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from sd_scripts.data.identity import EncoderIdentity, encoder_identity, module_hash


def module(seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).to(dtype)


def test_equal_weights_have_one_hash_and_others_have_others() -> None:
    plain = module_hash([module()])
    assert plain == module_hash([module()])
    changed = module()
    with torch.no_grad():
        next(changed.parameters())[0, 0] += 1e-6
    hashes = {
        plain,
        module_hash([module(1)]),
        module_hash([changed]),
        module_hash([module(dtype=torch.bfloat16)]),
        module_hash([module(), module(1)]),
        module_hash([module(1), module()]),
    }
    assert len(hashes) == 6


def test_the_order_of_registration_and_memory_do_not_matter() -> None:
    ordered, reverse = nn.Module(), nn.Module()
    weight = torch.arange(12.0).reshape(3, 4)
    ordered.register_buffer("a", weight)
    ordered.register_buffer("b", torch.zeros(0))
    reverse.register_buffer("b", torch.zeros(0))
    reverse.register_buffer("a", weight.t().contiguous().t())
    assert module_hash([ordered]) == module_hash([reverse])


def test_an_encoder_is_loaded_only_when_its_files_are_new(tmp_path: Path) -> None:
    file = tmp_path / "modèle.safetensors"
    file.write_bytes(b"weights")
    loads: list[int] = []

    def load() -> Sequence[nn.Module]:
        loads.append(1)
        return [module()]

    def ask(dtype: torch.dtype = torch.float32, part: str = "vae") -> EncoderIdentity:
        return encoder_identity(tmp_path / "cache", part, [file], dtype, load)

    first = ask()
    assert first == EncoderIdentity(module_hash([module()]), "float32")
    assert ask() == first
    assert len(loads) == 1
    assert ask(torch.bfloat16).dtype == "bfloat16"
    assert len(loads) == 2
    ask(part="text_encoders")
    assert len(loads) == 3
    os.utime(file, ns=(1, 1))
    assert ask() == first
    assert len(loads) == 4


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"weights": 3}', b"\xff\xfe"])
def test_a_damaged_memory_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"weights")
    first = encoder_identity(tmp_path, "vae", [file], torch.float32, lambda: [module()])
    (memo,) = (tmp_path / "encoders").iterdir()
    memo.write_bytes(damage)
    assert encoder_identity(tmp_path, "vae", [file], torch.float32, lambda: [module()]) == first
