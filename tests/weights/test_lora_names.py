"""LoRA module names: both U-Net conventions name every module, and every writer's keys are read."""

from __future__ import annotations

import pytest

from sd_scripts.weights.lora_names import own_name, read_name, to_diffusers, to_sai

RESNET = ("conv1", "time_emb_proj", "conv2", "conv_shortcut")


def test_pairs_given_by_the_reference() -> None:
    pairs = {
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k": (
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
        ),
        "lora_unet_down_blocks_0_resnets_0_conv1": "lora_unet_input_blocks_1_0_in_layers_2",
        "lora_unet_down_blocks_0_downsamplers_0_conv": "lora_unet_input_blocks_3_0_op",
        "lora_unet_mid_block_attentions_0_proj_in": "lora_unet_middle_block_1_proj_in",
        "lora_unet_mid_block_resnets_1_conv2": "lora_unet_middle_block_2_out_layers_3",
        "lora_unet_up_blocks_0_upsamplers_0_conv": "lora_unet_output_blocks_2_2_conv",
        "lora_unet_up_blocks_2_resnets_2_conv_shortcut": (
            "lora_unet_output_blocks_8_0_skip_connection"
        ),
    }
    for diffusers, sai in pairs.items():
        assert to_sai(diffusers) == sai
        assert to_diffusers(sai) == diffusers


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_every_module_goes_there_and_back(family: str) -> None:
    num_blocks = 4 if family == "sd1" else 3
    names = [
        f"down_blocks_{i}_{kind}_{j}_{rest}"
        for i in range(num_blocks)
        for j in range(2)
        for kind, rests in (("resnets", RESNET), ("attentions", ("proj_in", "proj_out")))
        for rest in rests
    ]
    names += [
        f"up_blocks_{i}_{kind}_{j}_{rest}"
        for i in range(num_blocks)
        for j in range(3)
        for kind, rests in (("resnets", RESNET), ("attentions", ("proj_in", "proj_out")))
        for rest in rests
    ]
    names += [f"down_blocks_{i}_downsamplers_0_conv" for i in range(num_blocks - 1)]
    names += [f"up_blocks_{i}_upsamplers_0_conv" for i in range(num_blocks - 1)]
    names += [f"mid_block_resnets_{j}_{rest}" for j in range(2) for rest in RESNET]
    full = [f"lora_unet_{name}" for name in names]
    there = [to_sai(name, family) for name in full]  # type: ignore[arg-type]
    assert len(set(there)) == len(full)
    assert all(name.split("_")[2] in ("input", "middle", "output") for name in there)
    assert [to_diffusers(name) for name in there] == full
    assert [to_sai(name, family) for name in there] == there  # type: ignore[arg-type]


def test_sd1_upsampler_of_the_first_block_stands_in_the_second_place() -> None:
    assert to_sai("lora_unet_up_blocks_0_upsamplers_0_conv", "sd1").endswith("blocks_2_1_conv")
    assert to_sai("lora_unet_up_blocks_1_upsamplers_0_conv", "sd1").endswith("blocks_5_2_conv")


def test_text_encoder_names_stay() -> None:
    name = "lora_te1_text_model_encoder_layers_0_mlp_fc1"
    assert to_sai(name) == to_diffusers(name) == own_name(name, "sdxl") == name


@pytest.mark.parametrize(
    ("key", "family", "module", "part"),
    [
        (
            "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight",
            "sd1",
            "lora_unet_mid_block_attentions_0_proj_in",
            "down",
        ),
        (
            "lora_unet_mid_block_attentions_0_proj_in.alpha",
            "sdxl",
            "lora_unet_middle_block_1_proj_in",
            "alpha",
        ),
        (
            "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.lora_B.weight",
            "sd1",
            "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0",
            "up",
        ),
        (
            "unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor"
            ".to_out_lora.down.weight",
            "sd1",
            "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0",
            "down",
        ),
        (
            "text_encoder.text_model.encoder.layers.3.mlp.fc1.lora_A.weight",
            "sd2",
            "lora_te_text_model_encoder_layers_3_mlp_fc1",
            "down",
        ),
        (
            "text_encoder_2.encoder.layers.3.self_attn.q_proj.lora_linear_layer.up.weight",
            "sdxl",
            "lora_te2_text_model_encoder_layers_3_self_attn_q_proj",
            "up",
        ),
        (
            "base_model.model.text_encoder.text_model.encoder.layers.0.mlp.fc2.lora_A.weight",
            "sdxl",
            "lora_te1_text_model_encoder_layers_0_mlp_fc2",
            "down",
        ),
    ],
)
def test_keys_of_other_writers(key: str, family: str, module: str, part: str) -> None:
    assert read_name(key, family) == (module, part)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "key",
    [
        "lora_unet_mid_block_attentions_0_proj_in.hada_w1_a",
        "model.diffusion_model.input_blocks.0.0.weight",
        "vae.encoder.conv_in.lora_A.weight",
        "emb_params",
    ],
)
def test_what_is_no_lora_tensor_is_told(key: str) -> None:
    assert read_name(key, "sd1") is None
