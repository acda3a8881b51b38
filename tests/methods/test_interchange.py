"""What we save, stock diffusers loads and predicts the same with; and we read what others write."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sd_scripts.families.base import LoadedModel, LoadOptions
from sd_scripts.families.detect import FamilyName
from sd_scripts.families.registry import FAMILIES
from sd_scripts.methods.lora_layers import LoraLayer
from sd_scripts.methods.network import NetworkMethod
from sd_scripts.weights.lora_names import to_diffusers, to_sai
from tests.methods.jobs import network_job
from tests.support.tiny_models import make_tiny_folder

FAMILY_NAMES: tuple[FamilyName, ...] = ("sd1", "sd2", "sdxl")
CAPTION = "a small red cat on a mat"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("models")
    return cache(lambda family: make_tiny_folder(family, root / family))


def learnt(model: LoadedModel, **options: object) -> NetworkMethod:
    """A network with random weights, as after training."""
    method = NetworkMethod(network_job(network_dim=4, network_alpha=3, **options), model)
    generator = torch.Generator().manual_seed(5)
    for parameter in method.trainable_modules.parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return method


def noisy() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(11)
    return torch.randn(1, 4, 8, 8, generator=generator), torch.tensor([321])


def our_prediction(model: LoadedModel) -> Tensor:
    family = model.family
    size = torch.tensor([[64, 64]])
    with torch.no_grad():
        text = family.encode_text(model, [CAPTION])
        extra = family.conditioning_inputs(size, torch.zeros_like(size), size)
        return family.predict(model, *noisy(), text, extra)


def stock_pipeline(family: FamilyName, folder: Path) -> Any:
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    kind = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
    return kind.from_pretrained(folder, local_files_only=True, safety_checker=None)


def stock_prediction(pipeline: Any, family: FamilyName) -> Tensor:
    with torch.no_grad():
        encoded = pipeline.encode_prompt(
            CAPTION, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        extra = None
        if family == "sdxl":
            sizes = torch.tensor([[64.0, 64.0, 0.0, 0.0, 64.0, 64.0]])
            extra = {"text_embeds": encoded[2], "time_ids": sizes}
        sample, timestep = noisy()
        return pipeline.unet(sample, timestep, encoded[0], added_cond_kwargs=extra).sample


@pytest.mark.parametrize("conv", [False, True], ids=["linear", "with conv"])
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_stock_diffusers_reproduces_our_prediction(
    family: FamilyName, conv: bool, folder: Any, tmp_path: Path
) -> None:
    model = FAMILIES[family].load(folder(family), LoadOptions())
    before = our_prediction(model)
    method = learnt(model, **({"conv_dim": 2, "conv_alpha": 1.5} if conv else {}))
    ours = our_prediction(model)
    assert (ours - before).abs().max() > 1e-2
    method.save(tmp_path / "cat.safetensors", {})
    pipeline = stock_pipeline(family, folder(family))
    base = stock_prediction(pipeline, family)
    torch.testing.assert_close(base, before, rtol=0, atol=1e-5)
    pipeline.load_lora_weights(tmp_path, weight_name="cat.safetensors")
    torch.testing.assert_close(stock_prediction(pipeline, family), ours, rtol=0, atol=1e-5)
    method.detach()
    assert torch.equal(our_prediction(model), before)


@pytest.mark.parametrize(
    "options",
    [
        {"network_module": "lycoris.kohya"},
        {"network_module": "lycoris.kohya", "algo": "dylora"},
        {"network_module": "networks.lora_fa", "conv_dim": 2},
    ],
    ids=["locon", "dylora", "lora_fa"],
)
def test_stock_diffusers_reads_what_is_low_rank(
    options: dict[str, object], folder: Any, tmp_path: Path
) -> None:
    """Other LyCORIS algorithms, norms and Tucker forms it refuses; DoRA's lengths it leaves out."""
    model = FAMILIES["sd1"].load(folder("sd1"), LoadOptions())
    method = learnt(model, **options)
    method.trainable_modules.eval()
    ours = our_prediction(model)
    method.save(tmp_path / "cat.safetensors", {})
    pipeline = stock_pipeline("sd1", folder("sd1"))
    pipeline.load_lora_weights(tmp_path, weight_name="cat.safetensors")
    torch.testing.assert_close(stock_prediction(pipeline, "sd1"), ours, rtol=0, atol=2e-5)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_text_encoders_learn_too(family: FamilyName, folder: Any, tmp_path: Path) -> None:
    model = FAMILIES[family].load(folder(family), LoadOptions())
    with torch.no_grad():
        before = FAMILIES[family].encode_text(model, [CAPTION])
    method = learnt(model, network_train_text_encoder_only=True)
    with torch.no_grad():
        ours = FAMILIES[family].encode_text(model, [CAPTION])
    method.save(tmp_path / "cat.safetensors", {})
    pipeline = stock_pipeline(family, folder(family))
    pipeline.load_lora_weights(tmp_path, weight_name="cat.safetensors")
    with torch.no_grad():
        encoded = pipeline.encode_prompt(
            CAPTION, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
    assert (ours.hidden - before.hidden).abs().max() > 1e-2
    torch.testing.assert_close(encoded[0], ours.hidden, rtol=0, atol=1e-5)
    if family == "sdxl":
        torch.testing.assert_close(encoded[2], ours.pooled, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_either_naming_loads_to_the_same_weights(
    family: FamilyName, folder: Any, tmp_path: Path
) -> None:
    model = FAMILIES[family].load(folder(family), LoadOptions())
    method = learnt(model, conv_dim=2)
    method.save(tmp_path / "own.safetensors", {})
    state = load_file(tmp_path / "own.safetensors")
    rename = to_diffusers if family == "sdxl" else lambda name: to_sai(name, family)
    other = {}
    for key, tensor in state.items():
        module, _, rest = key.partition(".")
        other[f"{rename(module)}.{rest}"] = tensor
    assert set(other) != set(state)
    save_file(other, tmp_path / "other.safetensors")
    before = {key: tensor.clone() for key, tensor in method.export_state_dict().items()}
    for parameter in method.trainable_modules.parameters():
        torch.nn.init.zeros_(parameter)
    method.load(tmp_path / "other.safetensors")
    after = method.export_state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_sdxl_file_has_stability_names_and_sd1_diffusers_names(folder: Any, tmp_path: Path) -> None:
    for family, start in (("sdxl", "lora_unet_input_blocks_"), ("sd1", "lora_unet_down_blocks_")):
        model = FAMILIES[family].load(folder(family), LoadOptions())  # type: ignore[index]
        learnt(model).save(tmp_path / "a.safetensors", {})
        keys = load_file(tmp_path / "a.safetensors").keys()
        assert any(key.startswith(start) for key in keys)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_file_that_diffusers_writes_is_read(
    family: FamilyName, folder: Any, tmp_path: Path
) -> None:
    """Its names have dots and `lora.down`, and there is no alpha: the scale is 1."""
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig, get_peft_model_state_dict

    theirs = stock_pipeline(family, folder(family))
    base = stock_prediction(theirs, family)
    parts = {"unet": ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "proj_in"]}
    parts["text_encoder"] = ["q_proj", "v_proj", "out_proj"]
    if family == "sdxl":
        parts["text_encoder_2"] = ["k_proj", "fc1", "fc2"]
    torch.manual_seed(2)
    states = {}
    for part, names in parts.items():
        module = getattr(theirs, part)
        module.add_adapter(
            LoraConfig(r=4, lora_alpha=4, init_lora_weights=False, target_modules=names)
        )
        state = convert_state_dict_to_diffusers(get_peft_model_state_dict(module))
        states[f"{part}_lora_layers"] = state
    theirs.save_lora_weights(tmp_path, **states)
    expected = stock_prediction(theirs, family)
    assert (expected - base).abs().max() > 1e-3

    model = FAMILIES[family].load(folder(family), LoadOptions())
    written = str(tmp_path / "pytorch_lora_weights.safetensors")
    method = NetworkMethod(network_job(network_weights=written, dim_from_weights=True), model)
    assert method.rank_and_alpha == ("4", "4.0")
    torch.testing.assert_close(our_prediction(model), expected, rtol=0, atol=1e-5)


def gradients(
    folder: Path, family: FamilyName, *, checkpointing: bool, autocast: bool
) -> dict[str, Tensor]:
    """Gradients of every factor after one backward pass through U-Net and text encoders."""
    dtype = torch.bfloat16 if autocast else torch.float32
    model = FAMILIES[family].load(folder, LoadOptions(dtype=dtype))
    method = learnt(model, conv_dim=2)
    method.set_training()
    for module in (model.unet, *model.text_encoders):
        module.train()
    if checkpointing:
        model.family.enable_gradient_checkpointing(model)
    size = torch.tensor([[64, 64]])
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        text = model.family.encode_text(model, [CAPTION])
        extra = model.family.conditioning_inputs(size, torch.zeros_like(size), size)
        sample, timestep = noisy()
        predicted = model.family.predict(model, sample.to(dtype), timestep, text, extra)
    predicted.float().square().mean().backward()
    layers = method.trainable_modules.named_parameters()
    return {name: p.grad for name, p in layers if p.grad is not None}


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_gradient_checkpointing_changes_no_gradient(family: FamilyName, folder: Any) -> None:
    plain = gradients(folder(family), family, checkpointing=False, autocast=False)
    checked = gradients(folder(family), family, checkpointing=True, autocast=False)
    assert plain.keys() == checked.keys()
    assert any(name.startswith("lora_te") for name in plain)
    for name, gradient in plain.items():
        torch.testing.assert_close(checked[name], gradient, rtol=1e-4, atol=1e-7)


def test_bfloat16_base_gives_float32_gradients_as_good_as_the_plain_composition(
    folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = gradients(folder("sd1"), "sd1", checkpointing=False, autocast=False)

    def distance(half: dict[str, Tensor]) -> float:
        assert exact.keys() == half.keys()
        assert all(gradient.dtype == torch.float32 for gradient in half.values())
        return float(sum((half[name] - exact[name]).square().sum() for name in exact))

    ours = distance(gradients(folder("sd1"), "sd1", checkpointing=True, autocast=True))
    monkeypatch.setattr(LoraLayer, "_can_fuse", lambda self: False)
    plain = distance(gradients(folder("sd1"), "sd1", checkpointing=True, autocast=True))
    assert 0 < ours <= 1.2 * plain
