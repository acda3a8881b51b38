"""Prediction, noise schedule and previews: exactly what stock diffusers computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sd_scripts.errors import UserError
from sd_scripts.families.base import LoadedModel, LoadOptions
from sd_scripts.families.latent_diffusion import scaled_linear_alphas
from tests.families.conftest import Stored
from tests.support.tiny_models import make_tiny_checkpoint

UNET_ONLY = LoadOptions(parts=frozenset())


def prediction(stored: Stored, model: LoadedModel, noisy: Tensor, times: Tensor) -> Tensor:
    text = stored.family.encode_text(model, ["a cat", "a dog"])
    original = torch.tensor([[640, 512], [64, 64]])
    crop = torch.tensor([[8, 0], [0, 0]])
    target = torch.tensor([[64, 80], [64, 64]])
    extra = stored.family.conditioning_inputs(original, crop, target)
    return stored.family.predict(model, noisy, times, text, extra)


def test_prediction_is_the_plain_unets(stored: Stored) -> None:
    model = stored.model
    noisy, times = torch.randn(2, 4, 8, 10), torch.tensor([7, 900])
    text = stored.family.encode_text(model, ["a cat", "a dog"])
    told = {}
    if stored.name == "sdxl":
        ids = torch.tensor([[640, 512, 8, 0, 64, 80], [64, 64, 0, 0, 64, 64]])
        told = {"added_cond_kwargs": {"text_embeds": text.pooled, "time_ids": ids}}
    theirs = model.unet(noisy, times, encoder_hidden_states=text.hidden, **told).sample
    ours = prediction(stored, model, noisy, times)
    assert ours.shape == noisy.shape
    assert torch.equal(ours, theirs)


def test_sdxl_size_order_is_that_of_the_stock_pipeline(sdxl: Stored) -> None:
    """Original, crop, target; height before width."""
    from diffusers import DDIMScheduler

    model = sdxl.model
    pipeline = sdxl.family.make_pipeline(model, DDIMScheduler())
    stock = pipeline._get_add_time_ids(
        (100, 200), (3, 4), (50, 60), torch.float32, model.text_encoders[1].config.projection_dim
    )
    sizes = [torch.tensor([pair]) for pair in ((100, 200), (3, 4), (50, 60))]
    ours = sdxl.family.conditioning_inputs(*sizes)["time_ids"]
    assert ours.tolist() == stock.int().tolist() == [[100, 200, 3, 4, 50, 60]]


def test_sizes_matter_to_sdxl_alone(stored: Stored) -> None:
    sizes = torch.tensor([[1, 1]])
    extra = stored.family.conditioning_inputs(sizes, sizes, sizes)
    assert bool(extra) == (stored.name == "sdxl")


@pytest.mark.parametrize("zero_snr", [False, True])
def test_noise_schedule_is_that_of_diffusers(zero_snr: bool) -> None:
    from diffusers import DDIMScheduler

    stock = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        rescale_betas_zero_snr=zero_snr,
    ).alphas_cumprod
    ours = scaled_linear_alphas(zero_snr)
    assert ours.shape == (1000,)
    torch.testing.assert_close(ours, stock, atol=1e-6, rtol=1e-4)
    assert float(ours[0]) == pytest.approx(1 - 0.00085, abs=1e-6)
    assert bool(ours[-1] == 0) == zero_snr


def test_schedule_follows_the_models_markers(tmp_path, sdxl: Stored) -> None:
    marks = {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
    path = make_tiny_checkpoint("sdxl", tmp_path / "m.safetensors", extra=marks)
    model = sdxl.family.load(path, UNET_ONLY)
    assert float(sdxl.family.noise_schedule(model)[-1]) == 0.0
    assert float(sdxl.family.noise_schedule(sdxl.model)[-1]) > 0.0


def test_preview_pipeline_is_the_stock_one_over_the_same_modules(stored: Stored) -> None:
    from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline

    model = stored.model
    scheduler = DDIMScheduler.from_pretrained(stored.folder / "scheduler", clip_sample=False)
    ours = stored.family.make_pipeline(model, scheduler)
    assert ours.unet is model.unet
    assert ours.vae is model.vae
    kind = StableDiffusionXLPipeline if stored.name == "sdxl" else StableDiffusionPipeline
    stock = kind.from_pretrained(stored.folder, local_files_only=True)
    stock.scheduler = scheduler
    pictures = []
    for pipeline in (ours, stock):
        pipeline.set_progress_bar_config(disable=True)
        pictures.append(
            pipeline(
                "a photo of a cat",
                negative_prompt="dog",
                num_inference_steps=2,
                height=64,
                width=64,
                output_type="pt",
                generator=torch.Generator().manual_seed(1),
            ).images
        )
    assert pictures[0].shape == (1, 3, 64, 64)
    torch.testing.assert_close(*pictures, atol=1e-5, rtol=0)


def test_memory_efficient_attention_predicts_the_same(stored: Stored) -> None:
    plain, sliced = stored.model, stored.load(LoadOptions(attention="mem_eff_attn"))
    kinds = {type(processor).__name__ for processor in sliced.unet.attn_processors.values()}
    assert kinds == {"SlicedAttnProcessor"}
    noisy, times = torch.randn(2, 4, 8, 8), torch.tensor([7, 900])
    torch.testing.assert_close(
        prediction(stored, plain, noisy, times), prediction(stored, sliced, noisy, times)
    )


def test_missing_xformers_is_told(sd1: Stored) -> None:
    with pytest.raises(UserError) as caught:
        sd1.load(LoadOptions(attention="xformers", parts=frozenset()))
    assert caught.value.problems[0].option == "xformers"


def test_checkpointed_unet_gives_the_same_gradients(stored: Stored) -> None:
    gradients = []
    noisy, times = torch.randn(2, 4, 8, 8), torch.tensor([7, 900])
    for checkpointing in (False, True):
        model = stored.load()
        weight = model.unet.mid_block.attentions[0].proj_in.weight.requires_grad_(True)
        if checkpointing:
            stored.family.enable_gradient_checkpointing(model, text_encoders=False)
            model.unet.train()
            assert not any(encoder.is_gradient_checkpointing for encoder in model.text_encoders)
        prediction(stored, model, noisy, times).square().mean().backward()
        gradients.append(weight.grad)
    torch.testing.assert_close(*gradients)
