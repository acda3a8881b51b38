"""The command line: options over a file, switches, emptied options, mistakes, help."""

from __future__ import annotations

from pathlib import Path

import pytest

from sd_scripts.errors import UserError
from sd_scripts.options.command_line import Launch, config_path, job_to_argv, parse_command_line
from sd_scripts.options.help_text import OWN_FLAGS, help_text
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.schema import group_titles, option_specs
from sd_scripts.options.toml_file import job_to_toml
from tests.options.support import job, problems_of

MINIMUM = ["--pretrained_model_name_or_path", "m", "--train_data_dir", "d"]


def run(*argv: str, minimum: bool = True) -> Launch[TrainNetworkJob]:
    return parse_command_line(TrainNetworkJob, [*(MINIMUM if minimum else ()), *argv], "prog")


def mistakes(*argv: str, minimum: bool = True) -> dict[str | None, str]:
    with pytest.raises(UserError) as caught:
        run(*argv, minimum=minimum)
    return {option: str(problem) for option, problem in problems_of(caught.value).items()}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "größe job.toml"
    made = job(vae="v.pt", flip_aug=True, max_train_epochs=3, network_dim=4, conv_dim=2, v2=False)
    path.write_text(job_to_toml(made), encoding="utf-8")
    return path


def test_switches_are_on_by_name_and_off_by_word() -> None:
    assert run("--flip_aug").job.data.flip_aug
    assert run("--flip_aug", "--enable_bucket").job.data.enable_bucket
    assert run("--flip_aug", "true").job.data.flip_aug
    assert not run("--flip_aug", "false").job.data.flip_aug
    assert not run("--flip_aug=no").job.data.flip_aug
    assert run("--v2").job.model.v2 is True
    assert run("--v2", "false").job.model.v2 is False
    assert run("--v2", "auto").job.model.v2 is None


def test_lists_take_what_follows() -> None:
    made = run(
        "--optimizer_args", "weight_decay=0.1", "betas=.9,.99", "--text_encoder_lr", "1", "2"
    )
    assert made.job.optimizer.optimizer_args == ("weight_decay=0.1", "betas=.9,.99")
    assert made.job.optimizer.text_encoder_lr == (1.0, 2.0)


def test_values_may_begin_with_a_hyphen() -> None:
    assert run("--caption_prefix=--x").job.caption.caption_prefix == "--x"
    assert run("--caption_prefix", "-x").job.caption.caption_prefix == "-x"
    assert "caption_prefix" in mistakes("--caption_prefix", "--x")


def test_the_command_line_wins_over_the_file(config: Path) -> None:
    made = run("--config_file", str(config), "--network_dim", "8", minimum=False)
    assert made.job.network.network_dim == 8
    assert made.job.data.flip_aug
    assert made.config_file == config


def test_options_of_the_file_can_be_emptied_and_switched_off(config: Path) -> None:
    argv = ["--vae=", "--flip_aug=false", "--max_train_epochs", "none", "--conv_dim=", "--v2=auto"]
    made = run("--config_file", str(config), *argv, minimum=False).job
    assert made.model.vae is None
    assert made.model.v2 is None
    assert not made.data.flip_aug
    assert made.training.max_train_epochs is None
    assert made.network.conv_dim is None


def test_zero_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(job_to_toml(job(unet_lr=1e-4, noise_offset=0.1)))
    made = run("--config_file", str(path), "--unet_lr", "0", "--noise_offset=0", minimum=False).job
    assert made.optimizer.unet_lr == 0
    assert made.objective.noise_offset == 0


def test_toml_is_added_to_the_name_of_a_file(config: Path) -> None:
    assert run("--config_file", str(config.with_suffix("")), minimum=False).config_file == config
    assert config_path("a.b") == Path("a.b.toml")
    assert config_path("a.TOML") == Path("a.TOML")


def test_flags_of_the_command(config: Path) -> None:
    made = run("--check_only", "--print_config", "--run_dir", "runs/a")
    assert (made.check_only, made.print_config, made.run_dir) == (True, True, Path("runs/a"))
    bare = run("--check_only", "false")
    assert (bare.check_only, bare.print_config, bare.run_dir) == (False, False, None)
    assert bare.config_file is None


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text("network_dim = 0\nnetwrk_alpha = 1\n")
    told = mistakes(
        "--config_file", str(path), "--lerning_rate", "1", "stray", "--flip_aug", "perhaps",
        "--cpu_offload_checkpointing", "--full_bf16", "--output_name",
    )  # fmt: skip
    assert set(told) == {
        "network_dim",
        "netwrk_alpha",
        "lerning_rate",
        "flip_aug",
        "cpu_offload_checkpointing",
        "full_bf16, mixed_precision",
        "output_name",
    }
    assert "--learning_rate" in told["lerning_rate"]
    assert "a value is missing" in told["output_name"]


def test_a_stray_word_is_refused() -> None:
    assert "'stray' stands alone" in mistakes("stray")[None]
    assert "'-x' stands alone" in mistakes("-x")[None]


def test_an_option_of_later_is_taken_with_its_values() -> None:
    assert run("--scale_weight_norms", "0", "--validation_split", "0.0").job == run().job
    assert "does not have it" in mistakes("--wandb_api_key", "a")["wandb_api_key"]
    (warning,) = (found for found in run("--lowram").warnings if found.option == "lowram")
    assert warning.severity == "warning"


def test_old_names_are_understood() -> None:
    assert run("--use_8bit_adam").job.optimizer.optimizer_type == "AdamW8bit"
    assert run("--caption_extention", ".txt").job.caption.caption_extension == ".txt"
    assert run("--network_args", "conv_dim=4").job.network.conv_dim == 4


def test_unreadable_files_are_explained(tmp_path: Path) -> None:
    assert "there is no file" in mistakes("--config_file", str(tmp_path / "no"))["config_file"]
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'output_name = "gr\xfc\xdfe"\n')
    assert "not UTF-8" in mistakes("--config_file", str(latin))["config_file"]
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    assert "cannot be read" in mistakes("--config_file", str(folder))["config_file"]
    broken = tmp_path / "broken.toml"
    broken.write_text("a = = 1\n")
    told = mistakes("--config_file", str(broken), "stray")
    assert set(told) == {"broken.toml", None}


def test_a_file_that_contradicts_itself_is_told_with_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text("use_8bit_adam = true\noptimizer_type = 'Lion'\n")
    assert set(mistakes("--config_file", str(path), "stray")) == {
        "optimizer_type, use_8bit_adam",
        None,
    }


def test_arguments_are_short_and_plain() -> None:
    made = job(network_dim=8, flip_aug=True, caption_prefix="-x", v2=False, resolution=512)
    assert job_to_argv(made) == [
        "--pretrained_model_name_or_path",
        "model.safetensors",
        "--v2=false",
        "--train_data_dir",
        "pictures",
        "--resolution",
        "512,512",
        "--flip_aug",
        "--caption_prefix=-x",
        "--network_dim",
        "8",
    ]


def test_help_tells_of_every_option_under_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--network_dim", "0", "--help")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name in [*(spec.name for spec in option_specs(TrainNetworkJob)), *OWN_FLAGS]:
        assert f"--{name}" in shown
    places = [shown.index(f"\n{title}\n") for title in group_titles(TrainNetworkJob).values()]
    assert places == sorted(places)


@pytest.mark.parametrize("width", [60, 80, 300])
def test_help_is_wrapped(width: int) -> None:
    text = help_text(TrainNetworkJob, "prog", width)
    assert max(map(len, text.splitlines())) <= min(width, 100)


def test_help_says_tier_default_range_and_choices() -> None:
    text = " ".join(help_text(TrainNetworkJob, "prog", 100).split())
    assert "--network_dim N [basic] default: empty 1 to 1000000" in text
    assert "--train_batch_size N [basic] default: 1 1 to 4096 pictures" in text
    assert "Choices: no, fp16, bf16" in text
    assert "AdamW8bit: " in text
    assert "Only with loss_type huber or smooth_l1." in text
