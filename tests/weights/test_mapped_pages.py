"""A mapped file's pages leave memory, and come back unchanged when they are read again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sd_scripts.weights.mapped_pages import let_pages_go


def file_bytes_in_memory() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in status if line.startswith("RssFile")).split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such call")
def test_pages_of_a_file_leave_memory_and_come_back(tmp_path: Path) -> None:
    numbers = torch.arange(8_000_000, dtype=torch.float32)
    save_file({"a": numbers}, tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        mapped = file.get_tensor("a")
    assert torch.equal(mapped, numbers)
    before = file_bytes_in_memory()
    assert let_pages_go(mapped)
    assert file_bytes_in_memory() < before - mapped.nbytes // 2
    assert torch.equal(mapped, numbers)


def test_memory_that_is_no_files_is_left_alone() -> None:
    assert not let_pages_go(torch.ones(2_000_000))
    assert not let_pages_go(torch.ones(3))
