"""A model that is written comes back bit for bit, and stock diffusers predicts the same with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sd_scripts.families.base import LoadedModel, LoadOptions
from sd_scripts.families.detect import FamilyName, inspect_model
from sd_scripts.families.registry import FAMILIES
from sd_scripts.families.saving import METADATA_FILE
from sd_scripts.weights.headers import read_safetensors_header
from sd_scripts.weights.model_kinds import Owner
from tests.support.jobs import equal
from tests.support.tiny_models import FAMILY_NAMES, make_tiny_checkpoint, make_tiny_folder

ALL: frozenset[Owner] = frozenset(("unet", "te1", "te2"))
EXTRA = {
    "alphas_cumprod": torch.linspace(1, 0, 5),
    "model_ema.decay": torch.tensor(0.9),
}


def load(path: Path, **options: Any) -> LoadedModel:
    family = inspect_model(path).family
    assert family is not None
    return FAMILIES[family].load(path, LoadOptions(**options))


def same_weights(first: LoadedModel, second: LoadedModel) -> bool:
    """Tell whether all parts have the same numbers bit for bit; lays them out anew.

    How a product is rounded depends on where its weights lie in memory, so before predictions are
    compared, what came from mapped files is copied to places of its own.
    """
    same = True
    for one, other in zip(_parts(first), _parts(second), strict=True):
        same &= equal(dict(one.named_parameters()), dict(other.named_parameters()))
        for parameter in (*one.parameters(), *other.parameters()):
            parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
    return same


def _parts(model: LoadedModel) -> list[nn.Module]:
    assert model.vae is not None
    return [model.unet, model.vae, *model.text_encoders]


def predict(model: LoadedModel) -> Tensor:
    """Run the U-Net on a caption and fixed noise."""
    generator = torch.Generator().manual_seed(3)
    noisy = torch.randn(1, 4, 8, 8, generator=generator)
    with torch.no_grad():
        text = model.family.encode_text(model, ["a red cat"])
        size = torch.tensor([[64, 64]])
        extra = model.family.conditioning_inputs(size, torch.zeros_like(size), size)
        return model.family.predict(model, noisy, torch.tensor([500]), text, extra)


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("learning", [ALL, frozenset(("unet",))], ids=["all", "unet"])
def test_a_file_comes_back_bit_for_bit(
    family: FamilyName, learning: frozenset[Owner], tmp_path: Path
) -> None:
    markers = {} if family == "sd2" else {"ztsnr": torch.tensor([])}
    source = make_tiny_checkpoint(
        family, tmp_path / "a.safetensors", prediction_type="v_prediction", extra=EXTRA | markers
    )
    saved = tmp_path / "b.safetensors"
    model = load(source)
    model.family.saver(model, learning).save_file(saved, {"ss_steps": "3"})
    before, after = load_file(source), load_file(saved)
    del before["model_ema.decay"]
    assert equal(before, after)
    assert read_safetensors_header(saved).metadata == {"format": "pt", "ss_steps": "3"}
    again = load(saved)
    assert again.zero_terminal_snr is (family != "sd2")
    again.family.saver(again, ALL).save_file(tmp_path / "c.safetensors", {})
    assert equal(after, load_file(tmp_path / "c.safetensors"))


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_folder_becomes_a_file_and_a_folder_again(family: FamilyName, tmp_path: Path) -> None:
    source = make_tiny_folder(family, tmp_path / "source", prediction_type="v_prediction")
    expected = load_file(make_tiny_checkpoint(family, tmp_path / "same.safetensors"))
    model = load(source)
    saver = model.family.saver(model, ALL)
    saver.save_file(tmp_path / "a.safetensors", {})
    found = load_file(tmp_path / "a.safetensors")
    added = {key.rpartition(".")[2] for key in found.keys() - expected.keys()}
    assert (
        added
        == {
            "sd1": {"position_ids", "v_pred"},
            "sd2": {"logit_scale", "text_projection"},
            "sdxl": {"position_ids", "logit_scale", "v_pred"},
        }[family]
    )
    assert equal({key: found[key] for key in expected}, expected)
    saver.save_folder(tmp_path / "b", {"ss_steps": "3"})
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        for path in (source / part).glob("*.safetensors"):
            assert equal(load_file(path), load_file(tmp_path / "b" / part / path.name))
    assert json.loads((tmp_path / "b" / METADATA_FILE).read_text()) == {"ss_steps": "3"}
    again = load(tmp_path / "b")
    assert same_weights(again, model)
    assert torch.equal(predict(model), predict(again))


@pytest.mark.parametrize(
    ("family", "safetensors"), [("sd1", False), ("sd1", True), ("sd2", True), ("sdxl", True)]
)
def test_stock_diffusers_paints_the_same(
    family: FamilyName, safetensors: bool, tmp_path: Path
) -> None:
    from diffusers import DiffusionPipeline

    model = load(make_tiny_checkpoint(family, tmp_path / "a.safetensors"))
    saver = model.family.saver(model, ALL)
    saver.save_folder(tmp_path / "b", {}, safetensors=safetensors)
    stock: Any = DiffusionPipeline
    stock = stock.from_pretrained(tmp_path / "b", local_files_only=True)
    ours: Any = model.family.make_pipeline(model, stock.scheduler)
    pictures = [
        pipeline(
            "a red cat",
            num_inference_steps=2,
            height=64,
            width=64,
            generator=torch.Generator().manual_seed(1),
            output_type="pt",
        ).images
        for pipeline in (ours, stock)
    ]
    torch.testing.assert_close(*pictures, atol=1e-4, rtol=0)  # kernels differ by alignment


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_diffusers_loads_the_single_file(family: FamilyName, tmp_path: Path) -> None:
    """Its own loader, offline: the configuration comes from a folder, the weights from the file."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    kind = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
    config = make_tiny_folder(family, tmp_path / "config", seed=9)
    model = load(make_tiny_folder(family, tmp_path / "a", seed=4))
    file = tmp_path / "b.safetensors"
    model.family.saver(model, ALL).save_file(file, {})
    stock = kind.from_single_file(str(file), config=str(config), local_files_only=True)
    theirs = LoadedModel(
        family=model.family,
        unet=stock.unet,
        text_encoders=[stock.text_encoder] + ([stock.text_encoder_2] if family == "sdxl" else []),
        tokenizers=model.tokenizers,
        vae=stock.vae,
        prediction_type=model.prediction_type,
        zero_terminal_snr=False,
        info=model.info,
    )
    for encoder in theirs.text_encoders:
        encoder.train(False)
    assert same_weights(theirs, model)
    assert torch.equal(predict(theirs), predict(model))
    pixels = torch.rand(1, 3, 64, 64)
    assert model.vae is not None
    with torch.no_grad():
        encoded = [vae.encode(pixels).latent_dist.mean for vae in (stock.vae, model.vae)]
    assert torch.equal(*encoded)


def test_what_does_not_learn_keeps_its_format(tmp_path: Path) -> None:
    """Loaded in bf16 for speed, the frozen encoder and the VAE are written as they were."""
    source = make_tiny_checkpoint("sdxl", tmp_path / "a.safetensors")
    model = load(source, dtype=torch.bfloat16)
    model.family.release(model, ["text_encoders", "vae"])
    saver = model.family.saver(model, frozenset(("unet",)))
    saver.save_file(tmp_path / "b.safetensors", {})
    before, after = load_file(source), load_file(tmp_path / "b.safetensors")
    unet = {key for key in before if key.startswith("model.diffusion_model.")}
    assert {after[key].dtype for key in unet} == {torch.bfloat16}
    assert equal(*({k: v for k, v in f.items() if k not in unet} for f in (before, after)))
    saver.save_file(tmp_path / "c.safetensors", {}, torch.float16)
    halved = load_file(tmp_path / "c.safetensors")
    assert {tensor.dtype for tensor in halved.values()} == {torch.float16}
    size = sum(tensor.numel() * 2 for tensor in halved.values())
    assert saver.num_bytes(torch.float16) == size


def test_another_vae_is_written_and_a_ckpt_is_read_back(tmp_path: Path) -> None:
    source = make_tiny_checkpoint("sd1", tmp_path / "a.safetensors")
    other = make_tiny_checkpoint("sd1", tmp_path / "vae.safetensors", seed=5)
    model = load(source, vae=other)
    model.family.saver(model, ALL).save_file(tmp_path / "b.ckpt", {"ss_steps": "7"})
    content = torch.load(tmp_path / "b.ckpt", weights_only=True)
    assert content["global_step"] == 7
    expected = load_file(source)
    expected |= {k: v for k, v in load_file(other).items() if k.startswith("first_stage_model.")}
    assert equal(content["state_dict"], expected)
    again = load(tmp_path / "b.ckpt")
    assert same_weights(again, model)
    assert torch.equal(predict(again), predict(model))


def test_a_failed_save_leaves_the_folder_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(make_tiny_checkpoint("sd1", tmp_path / "a.safetensors"))
    saver = model.family.saver(model, ALL)
    saver.save_folder(tmp_path / "b", {"ss_steps": "1"})

    def fail(*_: object) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saver, "_index", fail)
    with pytest.raises(OSError, match="No space"):
        saver.save_folder(tmp_path / "b", {"ss_steps": "2"})
    assert json.loads((tmp_path / "b" / METADATA_FILE).read_text()) == {"ss_steps": "1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b"]
