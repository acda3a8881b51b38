"""kohya_ss settings become jobs: every key is told of, and nothing in a file makes it fail."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kohya_gui.importers.kohya_json import KNOWN_KEYS, convert, job_name
from kohya_gui.importers.kohya_keys import OTHER_FAMILIES
from kohya_gui.importers.kohya_network import KINDS
from kohya_gui.importers.report import FATES, Report
from sd_scripts.options.jobs import JOBS, TrainNetworkJob
from sd_scripts.options.later import LATER
from sd_scripts.options.network_table import NETWORKS
from sd_scripts.options.values import values_of

BASE: dict[str, object] = {
    "LoRA_type": "Standard",
    "pretrained_model_name_or_path": "/models/base.safetensors",
    "train_data_dir": "/pictures",
}


def converted(**settings: object) -> Report:
    return convert({**BASE, **settings})


def values(**settings: object) -> dict[str, Any]:
    """Values of the job that these settings make beside the usual ones."""
    report = converted(**settings)
    assert report.job is not None, report.refused
    return dict(values_of(report.job))


def fate(report: Report, key: str) -> str:
    """The one list that a key stands in."""
    (found,) = [fate for fate in FATES if key in report.keys(fate)]
    return found


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_resolution": "512,768"}, {"resolution": (512, 768)}),
        ({"optimizer": "adamw8bit"}, {"optimizer_type": "AdamW8bit"}),
        ({"optimizer_args": '"weight_decay=0.1" betas=0.9,0.99'},
         {"optimizer_args": ("weight_decay=0.1", "betas=0.9,0.99")}),
        ({"xformers": "xformers"}, {"xformers": True, "sdpa": False}),
        ({"xformers": True}, {"xformers": True}),
        ({"xformers": "sdpa"}, {"xformers": False, "sdpa": True}),
        ({"xformers": "none"}, {"xformers": False, "sdpa": False}),
        ({"xformers": "xformers", "mem_eff_attn": True}, {"xformers": False, "mem_eff_attn": True}),
        ({"lr_scheduler": "cosine", "lr_warmup": 10}, {"lr_warmup_steps": 0.1}),
        ({"lr_scheduler": "cosine", "lr_warmup": "8", "lr_warmup_steps": 50},
         {"lr_warmup_steps": 50}),
        ({"lr_scheduler": "constant", "lr_warmup": 10}, {"lr_warmup_steps": 0}),
        ({"epoch": "7", "max_train_steps": ""}, {"max_train_epochs": 7}),
        ({"epoch": 7, "max_train_steps": 300}, {"max_train_epochs": None, "max_train_steps": 300}),
        ({"epoch": 7, "max_train_epochs": "4"}, {"max_train_epochs": 4}),
        ({"text_encoder_lr": 0, "unet_lr": 1e-4},
         {"network_train_unet_only": True, "unet_lr": 1e-4, "text_encoder_lr": None}),
        ({"text_encoder_lr": "5e-5", "unet_lr": ""},
         {"network_train_text_encoder_only": True, "text_encoder_lr": (5e-5,)}),
        ({"text_encoder_lr": 0.0, "unet_lr": 0.0, "learning_rate": 1e-4},
         {"network_train_unet_only": False, "network_train_text_encoder_only": False,
          "unet_lr": None, "text_encoder_lr": None, "learning_rate": 1e-4}),
        ({"text_encoder_lr": [1e-4, 5e-5], "unet_lr": "1e-4"}, {"text_encoder_lr": (1e-4, 5e-5)}),
        ({"clip_skip": "2"}, {"clip_skip": 2}),
        ({"clip_skip": "2", "sdxl": True}, {"clip_skip": None}),
        ({"seed": "1234"}, {"seed": 1234}),
        ({"seed": ""}, {"seed": None}),
        ({"seed": 0}, {"seed": None}),
        ({"keep_tokens": "0", "flip_aug": "True"}, {"keep_tokens": 0, "flip_aug": True}),
        ({"gradient_accumulation_steps": 4.0}, {"gradient_accumulation_steps": 4}),
        ({"max_token_length": "75"}, {"max_token_length": None}),
        ({"max_token_length": 225.0}, {"max_token_length": 225}),
        ({"min_timestep": False, "max_timestep": "900"},
         {"min_timestep": None, "max_timestep": 900}),
        ({"metadata_author": "False"}, {"metadata_author": None}),
        ({"sdxl": True, "sdxl_no_half_vae": True}, {"no_half_vae": True}),
        ({"sdxl": False, "sdxl_no_half_vae": True}, {"no_half_vae": False}),
        ({"v2": False, "v_parameterization": False}, {"v2": None, "v_parameterization": None}),
        ({"enable_bucket": True, "bucket_reso_steps": 1}, {"bucket_reso_steps": 64}),
        ({"sdxl": True, "enable_bucket": True, "bucket_reso_steps": 1}, {"bucket_reso_steps": 32}),
        ({"save_last_n_epochs": 3}, {"save_last_n_epochs": None}),
        ({"save_every_n_epochs": 1, "save_last_n_epochs": 3}, {"save_last_n_epochs": 3}),
        ({"noise_offset_type": "Original", "noise_offset": 0.05, "multires_noise_iterations": 6},
         {"noise_offset": 0.05, "multires_noise_iterations": None}),
        ({"noise_offset_type": "Multires", "noise_offset": 0.05, "multires_noise_iterations": 6},
         {"noise_offset": None, "multires_noise_iterations": 6}),
        ({"dataset_config": "/d.toml"}, {"dataset_config": "/d.toml", "train_data_dir": None}),
        ({"sample_prompts": "/p/prompts.txt"}, {"sample_prompts": "/p/prompts.txt"}),
        ({"use_8bit_adam": True}, {"optimizer_type": "AdamW8bit"}),
        ({"use_8bit_adam": True, "optimizer": "Lion"}, {"optimizer_type": "Lion"}),
        ({"lora_network_weights": "/old.safetensors"}, {"network_weights": "/old.safetensors"}),
        ({"additional_parameters": '--max_grad_norm=0 --caption_prefix "my cat" --flip_aug'},
         {"max_grad_norm": 0.0, "caption_prefix": "my cat", "flip_aug": True}),
        ({"learning_rate": 1e-4, "additional_parameters": "--learning_rate 3e-4"},
         {"learning_rate": 3e-4}),
    ],
)  # fmt: skip
def test_settings_become_options(settings: dict[str, object], expected: dict[str, object]) -> None:
    found = values(**settings)
    assert {name: found[name] for name in expected} == expected


def test_a_zero_that_kohya_ss_loses_is_lost_here_too_and_told() -> None:
    report = converted(max_grad_norm=0, min_snr_gamma=0, noise_offset=0)
    assert report.job is not None
    assert values_of(report.job)["max_grad_norm"] == 1.0
    assert "default 1" not in report.mapped.get("max_grad_norm", "")
    assert "drops every 0" in report.changed["max_grad_norm"]
    assert {"min_snr_gamma", "noise_offset"} <= set(report.mapped)


@pytest.mark.parametrize("family", OTHER_FAMILIES)
def test_a_family_that_is_not_trained_is_refused_by_name(family: str) -> None:
    report = converted(**{OTHER_FAMILIES[family][0]: True})
    assert report.job is None
    assert family in report.refused[0]
    assert report.job_type is None


def test_sdxl_goes_before_other_families() -> None:
    assert converted(sdxl=True, flux1_checkbox=True).job is not None
    assert converted(sdxl_checkbox="True", sd3_checkbox=True).job is not None


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_network_is_trained_by_its_module_or_refused(name: str) -> None:
    kind = KINDS[name]
    report = converted(LoRA_type=name, network_dim=8, network_alpha=4)
    fallback = kind.module in ("networks.loha", "networks.lokr") and "lycoris.kohya" in NETWORKS
    if kind.module not in NETWORKS and not fallback:
        assert name in report.refused[0]
        return
    assert report.job is not None, report.refused
    found = values_of(report.job)
    assert found["network_module"] == (kind.module if kind.module in NETWORKS else "lycoris.kohya")
    assert found["network_dim"] == 8
    if kind.algorithm is not None:
        assert found.get("algo") == kind.algorithm


@pytest.mark.parametrize("name", ["Flux1", "Flux1 OFT", "LyCORIS/Unheard-of", "Lumina Lora"])
def test_other_kinds_of_network_are_refused(name: str) -> None:
    report = converted(LoRA_type=name)
    assert report.job is None
    assert name in report.refused[0]


def test_the_content_decides_and_not_what_the_kind_does_not_use() -> None:
    report = converted(LoRA_type="Standard", conv_dim=64, factor=-1, unit=1, block_dims="")
    assert report.job is not None
    assert values_of(report.job)["conv_dim"] is None
    assert "Standard" in report.ignored["conv_dim"]
    assert values(LoRA_type="Kohya LoCon", conv_dim="64", conv_alpha=1)["conv_dim"] == 64
    assert values(LoRA_type="LoCon", conv_dim=8)["conv_dim"] == 8


def test_arguments_of_lycoris_have_its_names() -> None:
    found = values(
        LoRA_type="LyCORIS/LoKr",
        LyCORIS_preset="attn-mlp",
        factor=8,
        use_cp=True,
        decompose_both=False,
        conv_dim=4,
        rank_dropout="0.1",
    )
    assert {"factor=8", "use_tucker=True"} <= set(found["network_args"])
    assert (found["preset"], found["conv_dim"], found["rank_dropout"]) == ("attn-mlp", 4, 0.1)
    turned = values(LoRA_type="LyCORIS/Diag-OFT", constrain=0.5, rescaled=True)
    assert set(turned["network_args"]) == {"constraint=0.5", "rescaled=True"}
    assert "block_size=2" in values(LoRA_type="LyCORIS/DyLoRA", unit=2)["network_args"]


def test_block_weights_and_old_names_of_block_ranks_are_arguments() -> None:
    weights = ",".join(["1"] * 12)
    ranks = ",".join(["4"] * 25)
    report = converted(LoRA_type="Kohya LoCon", down_lr_weight=weights, conv_dims=ranks, conv_dim=4)
    assert report.job is not None, report.refused
    arguments = values_of(report.job)["network_args"]
    assert arguments == (f"down_lr_weight={weights}", f"conv_block_dims={ranks}")
    assert fate(report, "conv_dims") == "changed"


@pytest.mark.parametrize(
    ("marks", "name"),
    [
        ({"LoRA_type": "Standard", "stop_text_encoder_training": 0}, "train_network"),
        ({"network_dim": 8}, "train_network"),
        ({"token_string": "zxc", "stop_text_encoder_training": 0}, "train_textual_inversion"),
        ({"image_folder": "/p", "sdxl_checkbox": True}, "fine_tune"),
        ({"learning_rate_te": 1e-5}, "train_db"),
        ({"no_token_padding": False}, "train_db"),
        ({}, "train_network"),
    ],
)
def test_the_job_is_told_by_the_keys(marks: dict[str, object], name: str) -> None:
    assert job_name(marks) == name
    assert convert(marks).job_type is JOBS[name]


def test_a_new_word_keeps_its_template() -> None:
    base = {key: value for key, value in BASE.items() if key != "LoRA_type"}
    report = convert(
        {**base, "token_string": "zxc", "init_word": "cat", "template": "style template"}
    )
    assert report.job is not None, report.refused
    found = values_of(report.job)
    assert (found["token_string"], found["use_style_template"]) == ("zxc", True)


def test_fine_tuning_takes_the_metadata_file_that_was_used() -> None:
    base = {
        "pretrained_model_name_or_path": "/m.safetensors",
        "image_folder": "/p",
        "train_dir": "/t",
    }
    names = {"caption_metadata_filename": "cap.json", "latent_metadata_filename": "lat.json"}
    captions = convert({**base, **names, "use_latent_files": "No"})
    latents = convert({**base, **names, "use_latent_files": "Yes"})
    assert captions.values["in_json"] == "/t/cap.json"
    assert latents.values["in_json"] == "/t/lat.json"
    assert latents.values["enable_bucket"] is True


def test_the_end_of_the_text_encoder_is_a_share_of_the_steps() -> None:
    base = {key: value for key, value in BASE.items() if key != "LoRA_type"}
    told = convert({**base, "stop_text_encoder_training": 25, "max_train_steps": 1000})
    assert told.values["stop_text_encoder_training"] == 250
    untold = convert({**base, "stop_text_encoder_training": 25, "epoch": 3})
    assert "stop_text_encoder_training" in untold.ignored


def test_sdxl_has_rates_of_its_own_for_its_text_encoders() -> None:
    base = {key: value for key, value in BASE.items() if key != "LoRA_type"}
    rates = {"learning_rate_te": 1e-6, "learning_rate_te1": 2e-6, "learning_rate_te2": 3e-6}
    plain, sdxl = convert({**base, **rates}), convert({**base, **rates, "sdxl": True})
    assert {name: plain.values.get(name) for name in rates} == {
        "learning_rate_te": 1e-6,
        "learning_rate_te1": None,
        "learning_rate_te2": None,
    }
    assert (sdxl.values["learning_rate_te1"], sdxl.values["learning_rate_te2"]) == (2e-6, 3e-6)
    assert "learning_rate_te" in sdxl.ignored
    frozen = convert({**base, "sdxl": True, "learning_rate_te1": 0, "learning_rate_te2": "0"})
    assert (frozen.values["learning_rate_te1"], frozen.values["learning_rate_te2"]) == (0, 0)
    one = convert({**base, "sdxl": True, "learning_rate_te1": 0, "learning_rate_te2": 3e-6})
    assert "drops every 0" in one.changed["learning_rate_te1"]


def test_prompts_in_the_file_are_handed_over_as_text() -> None:
    report = converted(sample_prompts="a cat --d 1  \na dog", sample_every_n_steps=25)
    assert report.prompts == "a cat --d 1\na dog\n"
    assert fate(report, "sample_prompts") == "changed"
    assert converted(sample_prompts="").prompts == ""


def test_secrets_are_told_of_but_not_shown() -> None:
    report = converted(wandb_api_key="very-secret", huggingface_token="hf_secret")
    assert report.job is not None
    assert "secret does not belong" in report.ignored["wandb_api_key"]
    assert "very-secret" not in report.words()
    assert "hf_secret" not in str(report)


def test_what_cannot_be_read_is_refused_with_its_words() -> None:
    report = converted(learning_rate="fast")
    assert report.job is None
    assert "not a number" in report.ignored["learning_rate"]
    assert any("learning_rate" in words for words in report.refused)


def test_without_a_model_the_form_can_still_be_filled() -> None:
    report = convert({"LoRA_type": "Standard", "network_dim": 32})
    assert report.job is None
    assert report.job_type is TrainNetworkJob
    assert report.values["network_dim"] == 32
    assert "pretrained_model_name_or_path" in report.refused[0]


def test_unknown_keys_are_told_with_the_nearest_known() -> None:
    report = converted(train_batch_sise=4, quite_something_else=1)
    assert "train_batch_size" in report.unknown["train_batch_sise"]
    assert set(report.unknown) == {"train_batch_sise", "quite_something_else"}


def test_parameters_that_are_no_options_are_told_beside_those_that_are() -> None:
    report = converted(additional_parameters="stray --max_grad_norm 2 --no_such_thing 3")
    assert fate(report, "additional_parameters") == "changed"
    assert "stray" in report.changed["additional_parameters"]
    assert "no such option" in report.changed["additional_parameters"]
    assert converted(additional_parameters="--network_args conv_dim=4").values["conv_dim"] == 4


def test_an_option_that_no_job_has_yet_is_ignored_with_words() -> None:
    row = next(row for row in LATER.values() if not row.needless and row.master is None)
    report = converted(**{row.name: "something"})
    assert fate(report, row.name) == "ignored"


def test_a_report_in_words_names_every_key() -> None:
    report = converted(epoch=3, flux1_checkbox=False, ae="x", nonsense=1)
    assert all(key in report.words() for key in (*BASE, "epoch", "ae", "nonsense"))
    refused = converted(flux1_checkbox=True).words()
    assert refused.startswith("No job can be made of this")


_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 3000),
    st.floats(),
    st.sampled_from(["", "0", "1", "1e-4", "True", "False", "none", "512,512", "Standard", "sdpa",
                     "cosine", "Prodigy", "a=b c=d", "--x 1 --network_args a=1 'q", "0.1, 0.2",
                     "LyCORIS/LoKr", "Multires", "no", "bf16", "1,2,3"]),
    st.text(max_size=8),
)  # fmt: skip


def _every_key_stands_in_one_list(settings: dict[str, object]) -> None:
    report = convert(settings)
    told = [key for fate in FATES for key in report.keys(fate)]
    assert sorted(told) == sorted(settings)
    assert (report.job is None) == bool(report.refused)
    assert report.words()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted(KNOWN_KEYS)), _scalars, max_size=40))
def test_any_values_under_known_keys_are_told_of(settings: dict[str, object]) -> None:
    _every_key_stands_in_one_list({**BASE, **settings})


@pytest.mark.parametrize("value", [None, "", 0, 1, True, "x", [1], {"a": 1}, float("nan"), 1e400])
def test_every_key_with_the_same_odd_value(value: object) -> None:
    _every_key_stands_in_one_list(dict.fromkeys(sorted(KNOWN_KEYS), value))
