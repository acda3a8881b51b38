"""Single files through diffusers' own conversion give the same weights and the same vectors."""

from __future__ import annotations

import pytest
import torch
from diffusers.loaders import single_file_utils as stock
from safetensors.torch import load_file

from sd_scripts.families.base import LoadOptions
from tests.families.conftest import Stored

U, V = "model.diffusion_model.", "first_stage_model."


def assert_equal(ours: dict, theirs: dict) -> None:
    theirs = {name.removeprefix("text_model."): tensor for name, tensor in theirs.items()}
    ours = {name.removeprefix("text_model."): tensor for name, tensor in ours.items()}
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name].reshape(tensor.shape)), name


def test_unet(stored: Stored) -> None:
    unet = stored.model.unet
    theirs = stock.convert_ldm_unet_checkpoint(load_file(stored.file), dict(unet.config))
    assert_equal(unet.state_dict(), theirs)


def test_vae(stored: Stored) -> None:
    vae = stored.model.vae
    assert vae is not None
    theirs = stock.convert_ldm_vae_checkpoint(load_file(stored.file), dict(vae.config))
    assert_equal(vae.state_dict(), theirs)


def test_clip(sd1: Stored) -> None:
    (encoder,) = sd1.model.text_encoders
    assert_equal(encoder.state_dict(), stock.convert_ldm_clip_checkpoint(load_file(sd1.file)))


def test_openclip_of_sd2(sd2: Stored) -> None:
    (encoder,) = sd2.model.text_encoders
    assert_equal(
        encoder.state_dict(), stock.convert_open_clip_checkpoint(encoder, load_file(sd2.file))
    )


def test_openclip_of_sdxl_and_the_pooled_vector(sdxl: Stored) -> None:
    """The file stores the projection transposed: file, folder and diffusers agree on the vector."""
    file = sdxl.model
    folder = sdxl.family.load(sdxl.folder, LoadOptions())
    second = file.text_encoders[1]
    theirs = stock.convert_open_clip_checkpoint(
        second, load_file(sdxl.file), prefix="conditioner.embedders.1.model."
    )
    assert_equal(second.state_dict(), theirs)

    captions = ["a photo of a cat", "1girl, solo"]
    ours = sdxl.family.encode_text(file, captions).pooled
    assert ours is not None
    assert torch.equal(ours, sdxl.family.encode_text(folder, captions).pooled)
    tokens = sdxl.family.tokenize(file, captions)[1].flatten(0, 1)
    converted = type(second)(second.config)
    converted.load_state_dict(theirs)
    torch.testing.assert_close(ours, converted.eval()(tokens).text_embeds)

    stored_projection = load_file(sdxl.file)["conditioner.embedders.1.model.text_projection"]
    assert not torch.allclose(stored_projection, second.text_projection.weight)
    assert torch.equal(stored_projection.T, second.text_projection.weight)


@pytest.mark.parametrize("kind", ["unet", "vae"])
def test_from_single_file(stored: Stored, kind: str) -> None:
    """diffusers' public door, offline, with the folder's configuration beside it."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    stock_class = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}[kind]
    theirs = stock_class.from_single_file(
        str(stored.file), config=str(stored.folder), subfolder=kind, local_files_only=True
    )
    model = stored.model
    ours = model.unet if kind == "unet" else model.vae
    assert ours is not None
    assert_equal(ours.state_dict(), theirs.state_dict())
