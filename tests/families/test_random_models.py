"""The tool that makes models of random weights: reproducible, in both forms, of real layout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sd_scripts.families.configs import family_configs
from sd_scripts.families.detect import FamilyName, inspect_model
from sd_scripts.families.modules import empty_text_encoder, empty_unet, empty_vae
from tests.support.tiny_models import FAMILY_NAMES, tiny_model
from tools.make_random_model import main, make_model


@pytest.mark.parametrize("out", ["m.safetensors", "m.ckpt", "m"])
def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str) -> None:
    path = tmp_path / "new folder" / out
    arguments = ["--family", "sd2", "--dtype", "fp16", "--prediction_type", "v_prediction"]
    assert main([*arguments, "--out", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    info = inspect_model(path)
    assert (info.family, info.dtype, info.prediction_type) == ("sd2", "float16", "v_prediction")
    assert info.prediction_certain == path.is_dir()


def test_the_seed_makes_the_weights(tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    same, other = (make_model("sd1", "tiny", seed=seed) for seed in (0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    first, second, third = (
        model.unet.state_dict()["conv_in.weight"] for model in (tiny_model("sd1"), same, other)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_numbers_of_parameters_of_the_real_configurations(family: FamilyName) -> None:
    """The sizes that are published for each model, in millions."""
    published = {
        "sd1": [859.52, 83.65, 123.06],
        "sd2": [865.91, 83.65, 340.39],
        "sdxl": [2567.46, 83.65, 123.06, 694.66],
    }
    configs = family_configs(family)
    modules = [empty_unet(configs.unet), empty_vae(configs.vae)]
    modules += [empty_text_encoder(config) for config in configs.text_encoders]
    counts = [sum(p.numel() for p in module.parameters()) / 1e6 for module in modules]
    assert counts == pytest.approx(published[family], abs=0.01)


def test_published_names_of_a_single_file(tmp_path: Path) -> None:
    """A few keys that every program looks for, in the layouts of the three families."""
    expected = {
        "sd1": [
            "model.diffusion_model.output_blocks.5.2.conv.weight",
            "cond_stage_model.transformer.text_model.final_layer_norm.weight",
        ],
        "sd2": [
            "model.diffusion_model.output_blocks.2.1.conv.weight",
            "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight",
            "cond_stage_model.model.positional_embedding",
        ],
        "sdxl": [
            "model.diffusion_model.label_emb.0.0.weight",
            "model.diffusion_model.output_blocks.2.2.conv.weight",
            "conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
            "conditioner.embedders.1.model.text_projection",
            "conditioner.embedders.1.model.ln_final.bias",
        ],
    }
    everywhere = [
        "model.diffusion_model.time_embed.0.weight",
        "model.diffusion_model.input_blocks.3.0.op.weight",
        "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight",
        "model.diffusion_model.out.2.bias",
        "first_stage_model.encoder.mid.attn_1.proj_out.weight",
        "first_stage_model.decoder.up.3.upsample.conv.weight",
        "first_stage_model.quant_conv.weight",
    ]
    for family in FAMILY_NAMES:
        path = tmp_path / f"{family}.safetensors"
        main(["--family", family, "--out", str(path)])
        tensors = load_file(path)
        assert set(expected[family] + everywhere) <= tensors.keys()
        assert tensors[everywhere[4]].ndim == 4
