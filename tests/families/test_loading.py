"""One model, stored in every way people have it, gives the same modules; what is broken is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sd_scripts.families.base import LoadOptions
from tests.families.conftest import Stored
from tests.families.same import assert_is_tiny_model, assert_same, parts_of, problem_of
from tests.support.tiny_models import make_tiny_checkpoint, tiny_model

U, V = "model.diffusion_model.", "first_stage_model."
Tensors = dict[str, Tensor]


def rewritten(stored: Stored, path: Path, change: Callable[[Tensors], Tensors]) -> Path:
    save_file(change(load_file(stored.file)), path)
    return path


def test_file_and_folder_give_the_modules_they_were_made_of(stored: Stored) -> None:
    assert_is_tiny_model(stored, stored.model)
    assert_is_tiny_model(stored, stored.family.load(stored.folder, LoadOptions()))


def test_sizes_of_a_file_are_inferred_as_configured(stored: Stored) -> None:
    """Everything that changes what a module computes is as in the folder's configuration."""
    bookkeeping = {"_name_or_path", "_class_name", "_use_default_values"}
    beside_the_point = bookkeeping | {"sample_size", "projection_dim"}
    file, folder = stored.model, stored.family.load(stored.folder, LoadOptions())
    for ours, theirs in zip(parts_of(file), parts_of(folder), strict=True):
        first, second = (
            module.config.to_dict() if hasattr(module.config, "to_dict") else dict(module.config)
            for module in (ours, theirs)
        )
        different = {key for key in first | second if first.get(key) != second.get(key)}
        assert different <= beside_the_point


def test_real_sizes_are_inferred_from_shapes_alone(stored: Stored) -> None:
    """From the tensor names and shapes of a real-size file to the published configuration."""
    from sd_scripts.families.configs import family_configs
    from sd_scripts.families.modules import empty_text_encoder, empty_unet, empty_vae
    from sd_scripts.families.sizes import text_config, unet_config, vae_config
    from sd_scripts.weights.checkpoint_keys import (
        TEXT_PLACES,
        UNetLayout,
        text_source,
        unet_key,
        vae_source,
    )
    from tools.make_random_model import tiny_configs

    real, tiny = family_configs(stored.name), tiny_configs(stored.name)
    layout = UNetLayout.of(2, real.unet["up_block_types"])
    shapes = {
        unet_key(name, layout): tuple(tensor.shape)
        for name, tensor in empty_unet(real.unet).state_dict().items()
    }
    expected = real.unet | {"use_linear_projection": stored.name != "sd1"}
    assert unet_config(tiny.unet | {"sample_size": real.unet["sample_size"]}, shapes) == expected
    shapes = {
        vae_source(name, 4).key: tuple(tensor.shape)
        for name, tensor in empty_vae(real.vae).state_dict().items()
    }
    assert vae_config(tiny.vae | {"sample_size": real.vae["sample_size"]}, shapes) == real.vae
    for number, place in enumerate(TEXT_PLACES[stored.name]):
        encoder = empty_text_encoder(real.text_encoders[number])
        shapes = {}
        for name, tensor in encoder.state_dict().items():
            source = text_source(name.removeprefix("text_model."), place.layout)
            rows = tensor.shape[0] * (1 if source.third is None else 3)
            key = source.key.removeprefix("text_model.")
            shapes[key] = (rows, *tensor.shape[1:])
        if stored.name == "sd2":  # published files carry the 24th layer, which is not run
            shapes["transformer.resblocks.23.ln_1.weight"] = (1024,)
        found = text_config(tiny.text_encoders[number], shapes, place.layout)
        if "text_projection" not in shapes:
            found["projection_dim"] = real.text_encoders[number]["projection_dim"]
        assert found == real.text_encoders[number]


def test_ckpt_zip_and_legacy(tmp_path: Path, stored: Stored) -> None:
    tensors = load_file(stored.file)
    for zipped in (True, False):
        path = tmp_path / f"{zipped}.ckpt"
        torch.save({"state_dict": tensors}, path, _use_new_zipfile_serialization=zipped)
        assert_is_tiny_model(stored, stored.family.load(path, LoadOptions()))


def test_harmless_extras_are_passed_over(tmp_path: Path, stored: Stored) -> None:
    text = {"sd1": "cond_stage_model.transformer.", "sd2": "cond_stage_model.model."}
    prefix = text.get(stored.name, "conditioner.embedders.0.transformer.")
    extra = {
        f"{prefix}text_model.embeddings.position_ids": torch.arange(77)[None],
        f"{prefix}logit_scale": torch.tensor(1.0),
        "model_ema.decay": torch.tensor(1.0),
        "model_ema.diffusion_modelinput_blocks00weight": torch.zeros(1),
        "v_pred": torch.tensor([]),
        "ztsnr": torch.tensor([]),
        "alphas_cumprod": torch.zeros(1000),
        f"{V}loss.logvar": torch.zeros(1),
    }
    if stored.name == "sd2":
        extra[f"{prefix}text_projection"] = torch.zeros(4, 4)
    path = make_tiny_checkpoint(stored.name, tmp_path / "m.safetensors", extra=extra)
    model = stored.family.load(path, LoadOptions())
    assert_is_tiny_model(stored, model)
    assert (model.prediction_type, model.zero_terminal_snr) == ("v_prediction", True)


def test_sd2_layer_that_is_never_run_is_dropped(tmp_path: Path, sd2: Stored) -> None:
    """A file with all 24 OpenCLIP layers gives an encoder of 23."""
    prefix = "cond_stage_model.model.transformer.resblocks."

    def with_24_layers(tensors: Tensors) -> Tensors:
        first = {k.removeprefix(f"{prefix}0."): v for k, v in tensors.items() if f"{prefix}0." in k}
        for layer in range(24):
            tensors |= {f"{prefix}{layer}.{k}": v + layer for k, v in first.items()}
        return tensors

    path = rewritten(sd2, tmp_path / "m.safetensors", with_24_layers)
    (encoder,) = sd2.family.load(path, LoadOptions()).text_encoders
    assert len(encoder.encoder.layers) == 23
    last = encoder.state_dict()["encoder.layers.22.layer_norm1.weight"]
    assert torch.equal(last, load_file(path)[f"{prefix}22.ln_1.weight"])


def test_text_encoder_without_text_model_prefix(tmp_path: Path, sd1: Stored) -> None:
    path = rewritten(
        sd1,
        tmp_path / "m.safetensors",
        lambda tensors: {k.replace(".text_model.", "."): v for k, v in tensors.items()},
    )
    assert_is_tiny_model(sd1, sd1.family.load(path, LoadOptions()))


def test_projections_stored_as_convolutions(tmp_path: Path, sd2: Stored) -> None:
    """SD 2.x written by programs that keep 1x1 convolutions loads as such, with equal values."""

    def as_convolutions(tensors: Tensors) -> Tensors:
        return {
            name: value[:, :, None, None]
            if name.endswith(("proj_in.weight", "proj_out.weight")) and name.startswith(U)
            else value
            for name, value in tensors.items()
        }

    path = rewritten(sd2, tmp_path / "m.safetensors", as_convolutions)
    unet = sd2.family.load(path, LoadOptions(parts=frozenset())).unet
    original = sd2.model.unet
    noisy, states = torch.randn(1, 4, 8, 8), torch.randn(1, 77, 32)
    given = {"encoder_hidden_states": states, "return_dict": False}
    torch.testing.assert_close(unet(noisy, 5, **given)[0], original(noisy, 5, **given)[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_dtypes(stored: Stored, dtype: torch.dtype) -> None:
    model = stored.load(LoadOptions(dtype=dtype, vae_dtype=torch.float32))
    assert {p.dtype for p in model.unet.parameters()} == {dtype}
    assert {p.dtype for p in model.vae.parameters()} == {torch.float32}
    for encoder in model.text_encoders:
        assert {p.dtype for p in encoder.parameters()} == {dtype}
    name, tensor = next(iter(tiny_model(stored.name).unet.state_dict().items()))
    assert torch.equal(model.unet.state_dict()[name], tensor.to(dtype))


def test_modules_are_frozen_real_and_quiet(stored: Stored) -> None:
    state = torch.random.get_rng_state()
    model = stored.load()
    assert torch.equal(torch.random.get_rng_state(), state)
    for part in parts_of(model):
        assert not part.training
        assert not any(parameter.requires_grad for parameter in part.parameters())
        assert not any(tensor.is_meta for tensor in (*part.parameters(), *part.buffers()))


def test_on_the_meta_device_nothing_is_read(stored: Stored) -> None:
    model = stored.load(LoadOptions(device="meta"))
    made = tiny_model(stored.name)
    for ours, theirs in zip(
        parts_of(model), (made.unet, made.vae, *made.text_encoders), strict=True
    ):
        shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
        assert shapes == {name: tensor.shape for name, tensor in theirs.state_dict().items()}
        assert all(parameter.is_meta for parameter in ours.parameters())


def test_the_file_is_mapped_and_never_changed(tmp_path: Path, sd1: Stored) -> None:
    path = Path(shutil.copy(sd1.file, tmp_path / "m.safetensors"))
    before = path.read_bytes()
    model = sd1.family.load(path, LoadOptions())
    with torch.no_grad():
        for parameter in model.unet.parameters():
            parameter.zero_()
    assert path.read_bytes() == before


def test_parts_on_demand(stored: Stored) -> None:
    model = stored.load(LoadOptions(parts=frozenset()))
    assert model.vae is None
    assert model.text_encoders == []
    stored.family.load_missing(model, ["text_encoders"])
    assert model.vae is None
    assert len(model.text_encoders) == len(model.tokenizers) == stored.family.num_text_encoders
    first = model.text_encoders[0]
    stored.family.load_missing(model, ["vae", "text_encoders"])
    assert model.text_encoders[0] is first
    assert_is_tiny_model(stored, model)
    stored.family.release(model, ["vae", "text_encoders"])
    assert model.vae is None
    assert model.text_encoders == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {k: v for k, v in t.items() if "middle_block.0" not in k}, "missing"),
        (lambda t: t | {f"{U}surprise.weight": torch.zeros(1)}, "left over"),
        (lambda t: t | {f"{U}out.2.weight": torch.zeros(5, 32, 3, 3)}, "another shape"),
    ],
)
def test_files_that_do_not_fit(
    tmp_path: Path, stored: Stored, change: Callable[[Tensors], Tensors], words: str
) -> None:
    path = rewritten(stored, tmp_path / "m.safetensors", change)
    message, option = problem_of(lambda: stored.family.load(path, LoadOptions()))
    assert words in message
    assert "m.safetensors" in message
    assert option == "pretrained_model_name_or_path"


def test_no_base_model(tmp_path: Path, sd1: Stored) -> None:
    save_file({"emb_params": torch.zeros(2, 768)}, tmp_path / "m.safetensors")
    message, _ = problem_of(lambda: sd1.family.load(tmp_path / "m.safetensors", LoadOptions()))
    assert "embedding" in message


# Replacement VAEs


def without_vae(tensors: Tensors) -> Tensors:
    return {k: v for k, v in tensors.items() if not k.startswith(V)}


def test_file_without_vae_needs_one_named(tmp_path: Path, sd1: Stored) -> None:
    path = rewritten(sd1, tmp_path / "m.safetensors", without_vae)
    message, option = problem_of(lambda: sd1.family.load(path, LoadOptions()))
    assert "no VAE" in message
    assert "vae" in option
    model = sd1.family.load(path, LoadOptions(vae=sd1.folder))
    assert_is_tiny_model(sd1, model)


def ldm_vae(tensors: Tensors) -> Tensors:
    return {k.removeprefix(V): v for k, v in tensors.items() if k.startswith(V)}


@pytest.mark.parametrize("form", ["ldm", "prefixed", "pt", "diffusers", "folder", "model", "file"])
def test_replacement_vaes(tmp_path: Path, sd1: Stored, form: str) -> None:
    other = tiny_model("sd1", seed=1)
    whole = make_tiny_checkpoint("sd1", tmp_path / "other.safetensors", seed=1)
    tensors = ldm_vae(load_file(whole))
    path = tmp_path / "vae.safetensors"
    if form == "ldm":
        save_file(tensors | {"loss.logvar": torch.zeros(1)}, path)
    elif form == "prefixed":
        save_file({V + name: tensor for name, tensor in tensors.items()}, path)
    elif form == "pt":
        path = path.with_suffix(".pt")
        torch.save({"state_dict": tensors, "epoch": 3}, path)
    elif form == "diffusers":
        save_file(other.vae.state_dict(), path)
    elif form == "folder":
        path = tmp_path / "vae"
        path.mkdir()
        (path / "config.json").write_text(json.dumps(other.configs.vae))
        save_file(other.vae.state_dict(), path / "diffusion_pytorch_model.safetensors")
    else:
        path = whole
    model = sd1.load(LoadOptions(vae=path))
    assert model.vae is not None
    assert_same(model.vae, other.vae)


def test_wrong_replacement_vaes(tmp_path: Path, sd1: Stored) -> None:
    lora = tmp_path / "lora.safetensors"
    save_file({"lora_unet_x.alpha": torch.tensor(1.0)}, lora)
    for path, words in (
        (tmp_path / "nothing", "there is no"),
        (lora, "no VAE"),
        (sd1.folder / "unet", "no VAE"),
    ):
        message, option = problem_of(lambda path=path: sd1.load(LoadOptions(vae=path)))
        assert words in message
        assert option == "vae"
