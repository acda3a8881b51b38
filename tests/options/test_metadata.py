"""ss_* entries that are option values."""

from __future__ import annotations

import json

from sd_scripts.options.metadata import MINIMUM_METADATA, metadata_values
from tests.options.support import job

# "Always" of the reference, without what depends on model, pictures or run
_ALWAYS = """
ss_output_name ss_learning_rate ss_text_encoder_lr ss_unet_lr ss_gradient_checkpointing
ss_gradient_accumulation_steps ss_max_train_steps ss_lr_warmup_steps ss_lr_scheduler
ss_network_module ss_network_dim ss_network_alpha ss_network_dropout ss_mixed_precision
ss_full_fp16 ss_clip_skip ss_max_token_length ss_cache_latents ss_seed ss_lowram ss_noise_offset
ss_multires_noise_iterations ss_multires_noise_discount ss_adaptive_noise_scale
ss_zero_terminal_snr ss_training_comment ss_max_grad_norm ss_caption_dropout_rate
ss_caption_dropout_every_n_epochs ss_caption_tag_dropout_rate ss_face_crop_aug_range
ss_prior_loss_weight ss_min_snr_gamma ss_scale_weight_norms ss_ip_noise_gamma
ss_debiased_estimation ss_noise_offset_random_strength ss_ip_noise_gamma_random_strength
ss_loss_type ss_huber_schedule ss_huber_scale ss_huber_c ss_fp8_base ss_fp8_base_unet
ss_validation_seed ss_validation_split ss_max_validation_steps ss_validate_every_n_epochs
ss_validate_every_n_steps ss_resize_interpolation
"""
ALWAYS = tuple(_ALWAYS.split())

_FOLDERS = """
ss_batch_size_per_device ss_color_aug ss_flip_aug ss_random_crop ss_shuffle_caption
ss_enable_bucket ss_bucket_no_upscale ss_min_bucket_reso ss_max_bucket_reso ss_keep_tokens
"""
FOLDERS = tuple(_FOLDERS.split())


def test_all_names_of_sd_scripts_are_there() -> None:
    assert set(metadata_values(job())) == {*ALWAYS, *FOLDERS}
    with_resolution = metadata_values(job(resolution=512))
    assert with_resolution["ss_resolution"] == "(512, 512)"


def test_a_dataset_file_brings_its_own() -> None:
    found = metadata_values(job(train_data_dir=None, dataset_config="d.toml", resolution=512))
    assert set(found) == set(ALWAYS) - {"ss_color_aug"}


def test_what_sd_scripts_does_not_have_is_noted_where_it_is_used() -> None:
    found = metadata_values(job(quantize_base="nf4", quantize_unet_only=True, fp8_base=False))
    assert (found["ss_quantize_base"], found["ss_quantize_unet_only"]) == ("nf4", "True")
    assert found["ss_fp8_base"] == "False"


def test_values_are_texts_as_python_writes_them() -> None:
    made = job(
        network_dim=16,
        flip_aug=True,
        lr_scheduler="cosine",
        lr_warmup_steps=0.1,
        text_encoder_lr=5e-5,
        seed=0,
    )
    found = metadata_values(made)
    expected = {
        "ss_network_dim": "16",
        "ss_flip_aug": "True",
        "ss_unet_lr": "None",
        "ss_lr_warmup_steps": "0.1",
        "ss_text_encoder_lr": "5e-05",
        "ss_seed": "0",
        "ss_network_alpha": "1.0",
        "ss_noise_offset": "None",
        "ss_lowram": "False",
    }
    assert {name: found[name] for name in expected} == expected
    assert all(isinstance(value, str) for value in found.values())


def test_arguments_of_the_network_are_noted_with_what_they_carry() -> None:
    assert "ss_network_args" not in metadata_values(job())
    noted = json.loads(metadata_values(job(conv_dim=4, conv_alpha=1))["ss_network_args"])
    assert noted == {"conv_dim": "4", "conv_alpha": "1.0", "dropout": None}


def test_two_rates_are_a_list() -> None:
    assert metadata_values(job(text_encoder_lr=[1e-5, 0]))["ss_text_encoder_lr"] == "[1e-05, 0.0]"


def test_the_minimum_is_that_of_the_reference() -> None:
    assert {"ss_network_module", "ss_network_dim", "ss_network_alpha", "ss_network_args"} <= set(
        MINIMUM_METADATA
    )


def test_noise_and_loss_are_noted() -> None:
    made = job(
        noise_offset=0.1,
        noise_offset_random_strength=True,
        adaptive_noise_scale=0.05,
        multires_noise_iterations=6,
        multires_noise_discount=0.2,
        ip_noise_gamma=0.1,
        ip_noise_gamma_random_strength=True,
        zero_terminal_snr=True,
        debiased_estimation_loss=True,
    )
    expected = {
        "ss_noise_offset": "0.1",
        "ss_noise_offset_random_strength": "True",
        "ss_adaptive_noise_scale": "0.05",
        "ss_multires_noise_iterations": "6",
        "ss_multires_noise_discount": "0.2",
        "ss_ip_noise_gamma": "0.1",
        "ss_ip_noise_gamma_random_strength": "True",
        "ss_zero_terminal_snr": "True",
        "ss_debiased_estimation": "True",
    }
    assert expected.items() <= metadata_values(made).items()
