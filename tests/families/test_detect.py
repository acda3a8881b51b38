"""What a file or folder is recognised as, and how clearly everything else is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sd_scripts.errors import UserError
from sd_scripts.families.detect import OPTION, FamilyName, inspect_model, resolve_model
from sd_scripts.families.recognise import FAMILY_TITLES
from sd_scripts.weights import headers
from tests.families.conftest import Stored
from tests.support.tiny_models import FAMILY_NAMES, make_tiny_checkpoint

U = "model.diffusion_model."


def tensor_file(path: Path, names: dict[str, tuple[int, ...]]) -> Path:
    """Write a file with those names and shapes, whatever its values."""
    save_file({name: torch.zeros(shape) for name, shape in names.items()}, path)
    return path


def refusal(path: str | Path) -> tuple[str, str]:
    with pytest.raises(UserError) as caught:
        inspect_model(path)
    (problem,) = caught.value.problems
    assert problem.option == OPTION
    assert problem.hint is not None
    return problem.message, problem.hint


@pytest.mark.parametrize("kind", ["checkpoint", "diffusers"])
def test_families(stored: Stored, kind: str) -> None:
    info = inspect_model(stored.file if kind == "checkpoint" else stored.folder)
    assert (info.kind, info.family) == (kind, stored.name)
    assert info.unsupported is None
    assert info.has_vae
    assert info.dtype == "float32"
    assert FAMILY_TITLES[stored.name] in info.text


def test_parameters_are_counted_alike_in_both_forms(stored: Stored) -> None:
    model = stored.model
    parts = (model.unet, model.vae, *model.text_encoders)
    expected = sum(tensor.numel() for part in parts for tensor in part.state_dict().values())
    assert inspect_model(stored.file).num_parameters == expected
    assert inspect_model(stored.folder).num_parameters == expected


def test_ckpt_files(tmp_path: Path, sd2: Stored) -> None:
    tensors = load_file(sd2.file)
    torch.save({"state_dict": tensors, "global_step": 1}, tmp_path / "model.ckpt")
    info = inspect_model(tmp_path / "model.ckpt")
    assert (info.kind, info.family, info.dtype) == ("checkpoint", "sd2", "float32")


def test_text_encoder_without_its_usual_prefix(tmp_path: Path, sd1: Stored) -> None:
    tensors = {k.replace("text_model.", ""): v for k, v in load_file(sd1.file).items()}
    save_file(tensors, tmp_path / "model.safetensors")
    assert inspect_model(tmp_path / "model.safetensors").family == "sd1"


@pytest.mark.parametrize(
    ("names", "kind", "family"),
    [
        ({"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": (4, 8)}, "lora", None),
        (
            {"lora_unet_x_attn2_to_k.lora_down.weight": (4, 768), "lora_te_y.alpha": ()},
            "lora",
            "sd1",
        ),
        ({"lora_unet_x_attn2_to_k.lora_down.weight": (4, 1024)}, "lora", "sd2"),
        ({"lora_te2_text_model_x.lora_up.weight": (8, 4)}, "lora", "sdxl"),
        ({"unet.down_blocks.0.attn2.to_k.lora_A.weight": (4, 2048)}, "lora", "sdxl"),
        ({"lora_unet_x.lokr_w1": (4, 4), "lora_unet_x.alpha": ()}, "lora", None),
        ({"oft_unet_x.oft_blocks": (4, 4, 4)}, "lora", None),
        ({"lora_unet_x.hada_w1_a": (4, 4)}, "lora", None),
        ({"encoder.conv_in.weight": (8, 3, 3, 3), "decoder.conv_in.weight": (8, 4)}, "vae", None),
        (
            {
                "first_stage_model.encoder.conv_in.weight": (8, 3, 3, 3),
                "first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3),
            },
            "vae",
            None,
        ),
        ({"emb_params": (4, 768)}, "embedding", "sd1"),
        ({"emb_params": (4, 1024)}, "embedding", "sd2"),
        ({"clip_l": (4, 768), "clip_g": (4, 1280)}, "embedding", "sdxl"),
        ({"something": (4, 4)}, "unknown", None),
        ({"double_blocks.0.img_attn.qkv.weight": (4, 4)}, "unknown", None),
        ({"control_model.input_blocks.0.0.weight": (4, 4)}, "unknown", None),
        ({"text_model.encoder.layers.0.mlp.fc1.weight": (4, 4)}, "unknown", None),
    ],
)
def test_other_kinds_are_recognised_and_no_base_model(
    tmp_path: Path, names: dict[str, tuple[int, ...]], kind: str, family: str | None
) -> None:
    info = inspect_model(tensor_file(tmp_path / "thing.safetensors", names))
    assert (info.kind, info.family) == (kind, family)
    resolved, problems = resolve_model(info)
    assert resolved is None
    (problem,) = problems
    assert problem.severity == "error"
    assert problem.option == OPTION
    assert "thing.safetensors" in problem.message


def test_old_embedding_pickle(tmp_path: Path) -> None:
    torch.save({"string_to_param": {"*": torch.zeros(2, 768)}}, tmp_path / "style.pt")
    info = inspect_model(tmp_path / "style.pt")
    assert (info.kind, info.family) == ("embedding", "sd1")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({f"{U}input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)}, "inpainting"),
        ({f"{U}input_blocks.0.0.weight": torch.zeros(32, 5, 3, 3)}, "depth"),
        ({f"{U}input_blocks.0.0.weight": torch.zeros(32, 8, 3, 3)}, "pix2pix"),
    ],
)
def test_models_with_other_inputs_are_refused_by_name(
    tmp_path: Path, sd1: Stored, change: dict[str, Tensor], words: str
) -> None:
    save_file(load_file(sd1.file) | change, tmp_path / "m.safetensors")
    info = inspect_model(tmp_path / "m.safetensors")
    assert info.kind == "checkpoint"
    resolved, problems = resolve_model(info)
    assert resolved is None
    assert words in problems[0].message


def test_unet_without_text_encoder(tmp_path: Path, sd1: Stored) -> None:
    unet = {k: v for k, v in load_file(sd1.file).items() if k.startswith(U)}
    save_file(unet, tmp_path / "m.safetensors")
    _, problems = resolve_model(inspect_model(tmp_path / "m.safetensors"))
    assert "without its text encoder" in problems[0].message


def test_refiner_is_refused_by_name(tmp_path: Path) -> None:
    names = {f"{U}input_blocks.0.0.weight": (8, 4, 3, 3)}
    names["conditioner.embedders.0.model.token_embedding.weight"] = (4, 4)
    path = tensor_file(tmp_path / "m.safetensors", names)
    assert "refiner" in str(inspect_model(path).unsupported)


def test_missing_paths(tmp_path: Path, sd1: Stored) -> None:
    assert "no" in refusal(tmp_path / "nothing.safetensors")[0]
    near = sd1.file.with_suffix(".safetensor")
    assert str(sd1.file) in refusal(near)[1]
    assert "hub" in refusal("runwayml/stable-diffusion-v1-5")[0]
    assert "no model" in refusal("")[0]


def test_folder_that_is_no_model(tmp_path: Path, sd1: Stored) -> None:
    message, hint = refusal(tmp_path)
    assert "model_index.json" in message
    shutil.copy(sd1.file, tmp_path / "model.safetensors")
    assert str(tmp_path / "model.safetensors") in refusal(tmp_path)[1]
    assert "model_index.json" in hint


def copy_of(stored: Stored, path: Path) -> Path:
    shutil.copytree(stored.folder, path)
    return path


def test_folder_with_parts_missing(tmp_path: Path, sd1: Stored) -> None:
    folder = copy_of(sd1, tmp_path / "m")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert "no weights" in refusal(folder)[0]
    (folder / "unet" / "config.json").write_text("{ not json")
    assert "JSON" in refusal(folder)[0]
    (folder / "unet" / "config.json").unlink()
    assert "cannot be read" in refusal(folder)[0]
    shutil.rmtree(folder / "unet")
    assert "without a U-Net" in str(inspect_model(folder).unsupported)


def test_folder_with_truncated_weights(tmp_path: Path, sd1: Stored) -> None:
    folder = copy_of(sd1, tmp_path / "m")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "damaged" in refusal(folder)[0]


def test_inpainting_folder(tmp_path: Path, sd1: Stored) -> None:
    folder = copy_of(sd1, tmp_path / "m")
    config = json.loads((folder / "unet" / "config.json").read_text()) | {"in_channels": 9}
    (folder / "unet" / "config.json").write_text(json.dumps(config))
    assert "inpainting" in str(inspect_model(folder).unsupported)


def test_vae_folder(sd1: Stored) -> None:
    info = inspect_model(sd1.folder / "vae")
    assert info.kind == "vae"
    assert "vae" in resolve_model(info)[1][0].hint


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tensor_file(tmp_path / "m.safetensors", {"a": (1,)})

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(headers, "open", refuse, raising=False)
    message, _ = refusal(path)
    assert "cannot be read" in message
    assert "Permission denied" in message


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_ema_copies_are_not_counted(tmp_path: Path, family: FamilyName) -> None:
    extra = {"model_ema.diffusion_modelx": torch.zeros(1000)}
    plain = make_tiny_checkpoint(family, tmp_path / "a.safetensors")
    with_ema = make_tiny_checkpoint(family, tmp_path / "b.safetensors", extra=extra)
    assert inspect_model(plain).num_parameters == inspect_model(with_ema).num_parameters
