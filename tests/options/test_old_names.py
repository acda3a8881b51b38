"""Old names and spellings are read; a contradiction with the new name is told."""

from __future__ import annotations

import pytest

from sd_scripts.options.jobs import TrainDbJob, TrainNetworkJob
from sd_scripts.options.later import LATER, Later, has_no_effect
from sd_scripts.options.schema import option_specs
from sd_scripts.options.toml_file import read_toml
from sd_scripts.options.values import check_values, values_of
from tests.options.support import errors, job, only_error, problems


@pytest.mark.parametrize(
    ("old", "name", "value"),
    [
        ({"caption_extention": ".txt"}, "caption_extension", ".txt"),
        ({"use_8bit_adam": True}, "optimizer_type", "AdamW8bit"),
        ({"use_8bit_adam": "true", "optimizer_type": "adamw8bit"}, "optimizer_type", "AdamW8bit"),
        ({"use_lion_optimizer": True, "use_8bit_adam": False}, "optimizer_type", "Lion"),
        ({"use_8bit_adam": False}, "optimizer_type", "AdamW"),
        ({"use_8bit_adam": None}, "optimizer_type", "AdamW"),
        (
            {"lr_scheduler": "adafactor:1e-4", "optimizer_type": "adafactor"},
            "lr_scheduler",
            "adafactor",
        ),
        ({"network_args": ["conv_dim=4"]}, "conv_dim", 4),
        ({"network_args": ["conv_dim=4"], "conv_dim": 4}, "conv_dim", 4),
        ({"network_args": ["conv_dim=None"]}, "conv_dim", None),
        ({"loraplus_lr_ratio": 16}, "network_args", ("loraplus_lr_ratio=16",)),
        (
            {"loraplus_lr_ratio": "16", "network_args": ["loraplus_lr_ratio=16.0", "conv_dim=4"]},
            "network_args",
            ("loraplus_lr_ratio=16.0",),
        ),
        ({"loraplus_unet_lr_ratio": ""}, "network_args", ()),
    ],
)
def test_an_old_name_is_read(old: dict[str, object], name: str, value: object) -> None:
    assert values_of(job(**old))[name] == value


@pytest.mark.parametrize(
    ("values", "option", "hint"),
    [
        (
            {"caption_extention": ".txt", "caption_extension": ".caption"},
            "caption_extension, caption_extention",
            "keep caption_extension and take caption_extention out",
        ),
        ({"use_8bit_adam": True, "optimizer_type": "Lion"}, "optimizer_type, use_8bit_adam", ""),
        (
            {"use_8bit_adam": True, "use_lion_optimizer": True},
            "optimizer_type, use_lion_optimizer",
            "",
        ),
        ({"use_8bit_adam": "maybe"}, "use_8bit_adam", ""),
        (  # the list may hold more than this
            {"network_args": ["conv_dim=4"], "conv_dim": 8},
            "conv_dim, network_args",
            "take conv_dim out of network_args",
        ),
        (
            {"loraplus_lr_ratio": 16, "network_args": ["loraplus_lr_ratio=8"]},
            "loraplus_lr_ratio, network_args",
            "take loraplus_lr_ratio out of network_args",
        ),
    ],
)
def test_a_contradiction_is_told(values: dict[str, object], option: str, hint: str) -> None:
    found = only_error(**values)
    assert found.option == option
    assert found.hint
    assert hint in ("", found.hint)


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("loraplus_lr_ratio = 8", "loraplus_lr_ratio"),
        ('network_args = ["loraplus_lr_ratio=8", "unheard_of=1"]', "network_args"),
        ('network_args = ["no pair"]', "network_args"),
    ],
)
def test_what_another_job_has_is_named_as_it_stands_in_the_file(text: str, option: str) -> None:
    named = [one.option for one in check_values(TrainDbJob, read_toml(text))]
    assert option in named
    assert (option == "network_args") == ("network_args" in named)


@pytest.mark.parametrize("row", LATER.values(), ids=lambda row: row.name)
def test_an_option_of_later_is_passed_over_when_it_is_off(row: Later) -> None:
    for off in (None, "", False, [], row.default, *row.off):
        assert problems(learning_rate=1e-4, **{row.name: off}) == [], off


@pytest.mark.parametrize("row", LATER.values(), ids=lambda row: row.name)
def test_an_option_of_later_is_named_when_it_is_on(row: Later) -> None:
    on = {False: True}.get(row.default, 0.7) if isinstance(row.default, bool) else 0.7
    master = {row.master: "on"} if row.master else {}
    found = [p for p in problems(**{row.name: on, **master}) if p.option == row.name]
    assert [problem.severity for problem in found] == ["warning" if row.needless else "error"]
    assert found[0].hint


def test_an_option_without_its_master_has_no_effect() -> None:
    assert errors(zero_stage=3, huggingface_token="secret") == []
    named = [problem.option for problem in errors(zero_stage=3, deepspeed=True)]
    assert sorted(filter(None, named)) == ["deepspeed", "zero_stage"]


def test_zero_is_not_off_where_it_means_something() -> None:
    assert not has_no_effect(LATER["zero_stage"], {"zero_stage": 0, "deepspeed": True})
    assert [problem.option for problem in errors(learning_rate_te1=0)] == ["learning_rate_te1"]


@pytest.mark.parametrize(
    "values",
    [{"train_text_encoder": False}, {"stop_text_encoder_training": None}, {"block_lr": ""}],
)
def test_an_option_of_another_job_is_passed_over_when_it_is_off(values: dict[str, object]) -> None:
    assert problems(learning_rate=1e-4, **values) == []


def test_a_secret_is_never_repeated() -> None:
    told = problems(wandb_api_key="hunter2", huggingface_token="hunter2", huggingface_repo_id="a/b")
    assert told
    assert not any("hunter2" in str(problem) for problem in told)


def test_no_option_is_both_here_and_later() -> None:
    assert not set(LATER) & {spec.name for spec in option_specs(TrainNetworkJob)}
