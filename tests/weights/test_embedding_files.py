"""Embedding files of other programs, and those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sd_scripts.errors import UserError
from sd_scripts.weights.embedding_files import read_embedding

VECTORS = torch.arange(16, dtype=torch.float32).reshape(2, 8)


def of_the_web_ui(vectors: Tensor) -> dict[str, object]:
    """What AUTOMATIC1111's web UI saves."""
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": vectors},
        "name": "mycat7",
        "step": 500,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
    }


@pytest.mark.parametrize(
    "content",
    [
        {"emb_params": VECTORS},
        {"emb_params": nn.Parameter(VECTORS)},
        {"mycat7": VECTORS},
        of_the_web_ui(VECTORS),
        of_the_web_ui(nn.Parameter(VECTORS)),
    ],
)
def test_pickles_of_every_writer_are_read(content: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "word.pt"
    torch.save(content, path)
    (read,) = read_embedding(path, "sd1", (8,))
    assert torch.equal(read, VECTORS)
    assert not read.requires_grad


def test_a_single_vector_of_diffusers_becomes_a_row(tmp_path: Path) -> None:
    path = tmp_path / "learned_embeds.safetensors"
    save_file({"<mycat>": VECTORS[0].half()}, path)
    (read,) = read_embedding(path, "sd2", (8,))
    assert torch.equal(read, VECTORS[:1])


@pytest.mark.parametrize("names", [("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1")])
def test_both_encoders_of_sdxl(names: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "word.safetensors"
    save_file({names[1]: VECTORS, names[0]: VECTORS[:, :4].contiguous()}, path)
    first, second = read_embedding(path, "sdxl", (4, 8))
    assert torch.equal(first, VECTORS[:, :4])
    assert torch.equal(second, VECTORS)


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"clip_l": VECTORS, "clip_g": VECTORS}, "it holds clip_g, clip_l"),
        ({"emb_params": torch.zeros(2, 12)}, "its vectors are 2x12, where this model has 8"),
        ({"a.lora_up.weight": VECTORS, "b": VECTORS}, "no embedding for this model"),
    ],
)
def test_what_does_not_fit_is_told(tensors: dict[str, Tensor], told: str, tmp_path: Path) -> None:
    path = tmp_path / "word.safetensors"
    save_file({key: tensor.clone() for key, tensor in tensors.items()}, path)
    with pytest.raises(UserError, match=told) as caught:
        read_embedding(path, "sd1", (8,))
    assert caught.value.problems[0].option == "weights"
    assert "SD1" in (caught.value.problems[0].hint or "")


def test_a_pickle_without_vectors_is_told(tmp_path: Path) -> None:
    path = tmp_path / "word.pt"
    torch.save({"name": "mycat7", "step": 3}, path)
    with pytest.raises(UserError, match="it holds no vectors"):
        read_embedding(path, "sd1", (8,))
