"""LoRA files as modules: factors, alphas, differences, and what is wrong with a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from sd_scripts.errors import UserError
from sd_scripts.weights.lora_load import LoraModule, as_shape, lora_from_tensors, read_lora

NAME = "lora_unet_mid_block_attentions_0_proj_in"


def factors(down: list[int], up: list[int]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        f"{NAME}.lora_down.weight": torch.randn(down, generator=generator),
        f"{NAME}.lora_up.weight": torch.randn(up, generator=generator),
    }


def test_difference_of_a_linear() -> None:
    tensors = factors([2, 5], [4, 2])
    module = lora_from_tensors({**tensors, f"{NAME}.alpha": torch.tensor(3)}, "sd1").modules[NAME]
    down, up = tensors.values()
    assert (module.rank, module.alpha) == (2, 3.0)
    torch.testing.assert_close(module.difference(), up @ down * 1.5)


def test_difference_of_a_convolution() -> None:
    down, up = factors([2, 5, 3, 3], [4, 2, 1, 1]).values()
    module = LoraModule(down, up, 1.0)
    expected = functional.conv2d(down.permute(1, 0, 2, 3), up).permute(1, 0, 2, 3) * 0.5
    torch.testing.assert_close(module.difference(), expected)


@pytest.mark.parametrize("alpha", [None, 0.0])
def test_alpha_that_is_missing_or_zero_is_the_rank(alpha: float | None) -> None:
    tensors = factors([2, 5], [4, 2])
    if alpha is not None:
        tensors[f"{NAME}.alpha"] = torch.tensor(alpha)
    assert lora_from_tensors(tensors, "sd1").modules[NAME].alpha == 2.0


def test_forms_with_and_without_1x1_axes_are_the_same() -> None:
    flat = torch.randn(2, 5)
    square = as_shape(flat, (2, 5, 1, 1))
    assert square is not None
    assert square.shape == (2, 5, 1, 1)
    back = as_shape(square, (2, 5))
    assert back is not None
    assert torch.equal(back, flat)
    assert as_shape(flat, (2, 5, 3, 3)) is None
    assert as_shape(torch.randn(2, 5, 3, 3), (2, 45)) is None
    assert as_shape(flat, (5, 2)) is None


def test_file_gives_modules_metadata_and_strangers(tmp_path: Path) -> None:
    tensors = {**factors([2, 5], [4, 2]), "other.weight": torch.zeros(1)}
    save_file(tensors, tmp_path / "a.safetensors", {"ss_epoch": "3"})
    found = read_lora(tmp_path / "a.safetensors", "sdxl")
    assert list(found.modules) == ["lora_unet_middle_block_1_proj_in"]
    assert found.metadata == {"ss_epoch": "3"}
    assert found.unknown == ("other.weight",)


def test_everything_wrong_with_a_file_is_told_at_once() -> None:
    tensors = {
        "lora_unet_a.lora_down.weight": torch.zeros(2, 3),
        "lora_unet_b.lora_down.weight": torch.zeros(2, 3),
        "lora_unet_b.lora_up.weight": torch.zeros(3, 4),
        "lora_unet_c.lora_down.weight": torch.zeros(2, 3),
        "lora_unet_c.lora_up.weight": torch.zeros(3, 2),
        "lora_unet_c.alpha": torch.zeros(2),
    }
    with pytest.raises(UserError) as error:
        lora_from_tensors(tensors, "sd1", "x.safetensors", "network_weights")
    told = [problem.message for problem in error.value.problems]
    assert [problem.option for problem in error.value.problems] == ["network_weights"] * 3
    assert "lora_unet_a has no lora_up weight" in told[0]
    assert "lora_unet_b do not fit" in told[1]
    assert "alpha of lora_unet_c" in told[2]


def test_checkpoint_is_no_lora() -> None:
    with pytest.raises(UserError, match="no LoRA weights"):
        lora_from_tensors({"model.diffusion_model.x.weight": torch.zeros(1)}, "sd1")
