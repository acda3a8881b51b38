"""TOML: sections, old names, files of sd-scripts, and files that are broken."""

from __future__ import annotations

import tomllib

import pytest

from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.toml_file import job_from_toml, job_to_toml, read_toml
from sd_scripts.options.values import check_values, values_of
from tests.options.support import job, problems_of

MINIMUM = 'pretrained_model_name_or_path = "m"\ntrain_data_dir = "d"\n'

KOHYA = r"""
bucket_no_upscale = true
bucket_reso_steps = 64
cache_latents = true
caption_extension = ".txt"
clip_skip = 1
dynamo_backend = "no"
enable_bucket = true
epoch = 10
gradient_accumulation_steps = 1
gradient_checkpointing = true
huber_c = 0.1
huber_scale = 1
huber_schedule = "snr"
ip_noise_gamma = 0
learning_rate = 0.0001
loss_type = "l2"
lr_scheduler = "cosine"
lr_scheduler_args = []
lr_scheduler_num_cycles = 1
lr_scheduler_power = 1
lr_warmup_steps = 160
max_bucket_reso = 2048
max_data_loader_n_workers = 0
max_grad_norm = 1
max_timestep = 1000
max_token_length = 75
max_train_steps = 1600
min_bucket_reso = 256
mixed_precision = "fp16"
multires_noise_discount = 0.3
network_alpha = 16
network_args = [ "conv_dim=8", "conv_alpha=4",]
network_dim = 32
network_module = "networks.lora"
network_train_unet_only = false
loraplus_lr_ratio = 4
lowvram = true
noise_offset_type = "Original"
noise_offset_random_strength = false
optimizer_args = [ "weight_decay=0.1",]
optimizer_type = "AdamW8bit"
output_dir = "D:/lora/out"
output_name = "last"
pretrained_model_name_or_path = "D:/lora/model.safetensors"
prior_loss_weight = 1
resolution = "1024,1024"
sample_prompts = "D:/lora/out/prompt.txt"
sample_sampler = "euler_a"
save_every_n_epochs = 1
save_model_as = "safetensors"
save_precision = "fp16"
seed = 0
text_encoder_lr = [ 5e-5, 5e-5,]
train_batch_size = 2
train_data_dir = 'D:/lora/img'
unet_lr = 0.0001
v_pred_like_loss = 0
initial_step = 20
xformers = true
"""


def test_a_file_of_the_kohya_gui_is_read() -> None:
    text = KOHYA.replace("initial_step = 20\n", "")
    values = values_of(job_from_toml(TrainNetworkJob, text))
    expected = {
        "network_dim": 32,
        "network_alpha": 16.0,
        "conv_dim": 8,
        "conv_alpha": 4.0,
        "network_args": ("loraplus_lr_ratio=4",),
        "text_encoder_lr": (5e-5, 5e-5),
        "resolution": (1024, 1024),
        "lr_warmup_steps": 160,
        "seed": 0,
        "max_token_length": None,
        "max_data_loader_n_workers": 0,
        "prior_loss_weight": 1.0,
        "optimizer_args": ("weight_decay=0.1",),
        "max_timestep": 1000,
    }
    assert {name: values[name] for name in expected} == expected
    warned = {
        problem.option
        for problem in check_values(TrainNetworkJob, read_toml(text))
        if problem.severity == "warning"
    }
    passed_over = {"epoch", "lowvram", "noise_offset_type"}
    assert warned == {*passed_over, "sample_prompts, sample_every_n_epochs"}


def test_what_would_be_lost_of_such_a_file_is_named() -> None:
    with pytest.raises(UserError) as caught:
        job_from_toml(TrainNetworkJob, KOHYA)
    assert set(problems_of(caught.value)) == {"initial_step"}


def test_sections_are_dissolved_whatever_their_name() -> None:
    text = '[a]\npretrained_model_name_or_path = "m"\n[b]\ntrain_data_dir = "d"\nnetwork_dim = 3\n'
    assert job_from_toml(TrainNetworkJob, text).network.network_dim == 3


def test_the_same_option_twice_must_say_the_same() -> None:
    assert read_toml("[a]\nseed = 3\n[b]\nseed = 3\n") == {"seed": 3}
    with pytest.raises(UserError) as caught:
        read_toml("seed = 3\nflip_aug = 1\n[b]\nseed = 4\nflip_aug = true\n")
    found = problems_of(caught.value)
    assert set(found) == {"seed", "flip_aug"}
    assert "3 in the top of the file, but 4 in b" in found["seed"].message


def test_broken_toml_is_refused_with_its_line() -> None:
    with pytest.raises(UserError) as caught:
        read_toml("a = 1\nb == 2\n", "job.toml")
    (problem,) = caught.value.problems
    assert problem.option == "job.toml"
    assert "line 2" in problem.message
    assert problem.hint is not None
    assert "b == 2" in problem.hint


def test_a_windows_path_in_double_quotes_is_explained() -> None:
    with pytest.raises(UserError) as caught:
        read_toml('train_data_dir = "C:\\Users\\me"\n')
    assert "single quotes" in str(caught.value.problems[0].hint)


def test_a_dataset_file_is_not_taken_for_a_job() -> None:
    with pytest.raises(UserError, match="describes a dataset"):
        read_toml(
            "[general]\nenable_bucket = true\n[[datasets]]\nresolution = 512\n".replace(
                "[general]\nenable_bucket = true\n", ""
            )
        )


def test_a_table_within_a_section_is_refused() -> None:
    with pytest.raises(UserError, match="table of its own"):
        read_toml("[a.b]\nseed = 1\n")


def test_byte_order_mark_and_windows_line_ends_are_no_matter() -> None:
    assert read_toml("\ufeffseed = 1\r\nflip_aug = true\r\n") == {"seed": 1, "flip_aug": True}


def test_overrides_win() -> None:
    made = job_from_toml(
        TrainNetworkJob, MINIMUM + "network_dim = 4\nvae = 'x'", {"network_dim": 8, "vae": None}
    )
    assert (made.network.network_dim, made.model.vae) == (8, None)


def test_an_overriding_argument_list_takes_the_place_of_the_whole_list() -> None:
    text = MINIMUM + 'network_args = ["conv_dim=8", "conv_alpha=2"]\n'
    assert job_from_toml(TrainNetworkJob, text, {"conv_dim": 4}).network.conv_alpha == 2
    replaced = job_from_toml(TrainNetworkJob, text, {"network_args": ["conv_dim=4"]}).network
    assert (replaced.conv_dim, replaced.conv_alpha) == (4, None)


def test_carried_options_are_written_where_sd_scripts_looks_for_them() -> None:
    written = tomllib.loads(job_to_toml(job(conv_dim=4, conv_alpha=1)))["network"]
    assert written["network_args"] == ["conv_dim=4", "conv_alpha=1.0"]
    assert "conv_dim" not in written


def test_values_have_the_types_that_sd_scripts_expects() -> None:
    text = job_to_toml(
        job(resolution=512, text_encoder_lr=1e-5, lr_scheduler="cosine", lr_warmup_steps="10%")
    )
    written = tomllib.loads(text)
    assert written["data"]["resolution"] == "512,512"
    assert written["optimizer"]["text_encoder_lr"] == [1e-5]
    assert written["optimizer"]["lr_warmup_steps"] == 0.1
    assert written["optimizer"]["optimizer_type"] == "AdamW"
    assert "vae" not in written["model"]


def test_wrong_types_of_a_file_are_refused_as_on_the_command_line() -> None:
    with pytest.raises(UserError) as caught:
        job_from_toml(TrainNetworkJob, MINIMUM + "network_dim = '4x'\nflip_aug = 'so'\nvae = 3\n")
    assert set(problems_of(caught.value)) == {"network_dim", "flip_aug", "vae"}


def test_dates_and_numbers_beyond_reason_are_refused_in_words() -> None:
    with pytest.raises(UserError) as caught:
        job_from_toml(TrainNetworkJob, MINIMUM + "seed = 1979-05-27\nlearning_rate = 1e999\n")
    assert set(problems_of(caught.value)) == {"seed", "learning_rate"}


def test_settings_of_kohya_ss_are_told_how_to_become_a_job() -> None:
    with pytest.raises(UserError, match="JSON") as caught:
        read_toml('\ufeff{"LoRA_type": "Standard"}', "old.json")
    assert "kohya_gui.importers" in (caught.value.problems[0].hint or "")


@pytest.mark.parametrize(
    "text",
    ["seed = " + "9" * 5000, "x = " + "[" * 100_000, "a." * 200_000 + "b = 1", "a . 'b' ." * 300],
)
def test_what_no_reader_should_try_is_told(text: str) -> None:
    with pytest.raises(UserError, match="not valid TOML: a number or a name is too long"):
        read_toml(text)


def test_a_text_with_many_dots_is_no_name() -> None:
    prompt = " ".join(["a.b.c"] * 1000) + "." * 1000
    assert read_toml(f'training_comment = """\n{prompt}"""')["training_comment"] == prompt
