"""Diffusers folders as they are found: variants, shards, old names, missing parts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sd_scripts.families.base import LoadOptions
from tests.families.conftest import Stored
from tests.families.same import assert_is_tiny_model, problem_of


def folder_copy(stored: Stored, path: Path) -> Path:
    shutil.copytree(stored.folder, path)
    return path


WEIGHTS = "diffusion_pytorch_model"


def test_fp16_variants(tmp_path: Path, stored: Stored) -> None:
    folder = folder_copy(stored, tmp_path / "m")
    for file in folder.glob("*/*.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))
    assert_is_tiny_model(stored, stored.family.load(folder, LoadOptions()))


def test_full_weights_are_preferred_to_variants(tmp_path: Path, sd1: Stored) -> None:
    folder = folder_copy(sd1, tmp_path / "m")
    for variant in ("fp16", "non_ema"):
        path = folder / "unet" / f"{WEIGHTS}.{variant}.safetensors"
        save_file({"nonsense": torch.zeros(1)}, path)
    assert_is_tiny_model(sd1, sd1.family.load(folder, LoadOptions()))


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards(tmp_path: Path, sd1: Stored, suffix: str) -> None:
    folder = folder_copy(sd1, tmp_path / "m")
    whole = folder / "unet" / f"{WEIGHTS}.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    names = sorted(tensors)
    shards = {
        f"{WEIGHTS}-00001-of-00002.{suffix}": names[:300],
        f"{WEIGHTS}-00002-of-00002.{suffix}": names[300:],
    }
    for shard, inside in shards.items():
        content = {name: tensors[name] for name in inside}
        write = save_file if suffix == "safetensors" else torch.save
        write(content, folder / "unet" / shard)
    weight_map = {name: shard for shard, inside in shards.items() for name in inside}
    index = folder / "unet" / f"{WEIGHTS}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert_is_tiny_model(sd1, sd1.family.load(folder, LoadOptions()))
    (folder / "unet" / next(iter(shards))).unlink()
    message, _ = problem_of(lambda: sd1.family.load(folder, LoadOptions()))
    assert next(iter(shards)) in message


def test_old_folders(tmp_path: Path, sd1: Stored) -> None:
    """.bin files, the VAE's attention under its old names, position numbers among the tensors."""
    folder = folder_copy(sd1, tmp_path / "m")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for file in folder.glob("*/*.safetensors"):
        tensors = load_file(file)
        file.unlink()
        if file.parent.name == "vae":
            for new, name in old.items():
                tensors = {
                    k.replace(
                        f"mid_block.attentions.0.{new}.", f"mid_block.attentions.0.{name}."
                    ): v
                    for k, v in tensors.items()
                }
        if file.parent.name == "text_encoder":
            tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        name = "pytorch_model" if file.stem == "model" else file.stem
        torch.save(tensors, file.with_name(f"{name}.bin"))
    assert_is_tiny_model(sd1, sd1.family.load(folder, LoadOptions()))


def test_folder_without_vae(tmp_path: Path, sd1: Stored) -> None:
    folder = folder_copy(sd1, tmp_path / "m")
    shutil.rmtree(folder / "vae")
    message, option = problem_of(lambda: sd1.family.load(folder, LoadOptions()))
    assert "no VAE" in message
    assert "vae" in option
    assert_is_tiny_model(sd1, sd1.family.load(folder, LoadOptions(vae=sd1.file)))


def test_missing_text_encoder_folder(tmp_path: Path, sdxl: Stored) -> None:
    folder = folder_copy(sdxl, tmp_path / "m")
    shutil.rmtree(folder / "text_encoder_2")
    message, _ = problem_of(lambda: sdxl.family.load(folder, LoadOptions()))
    assert "text_encoder_2" in message
