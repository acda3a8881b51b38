"""Several graphics cards and machines: what is launched, and what cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from pydantic import ValidationError

from kohya_gui.jobs.launch import JobRequest, command_for, commands_text, environment_for
from kohya_gui.jobs.processes import Processes, Sharing, launcher
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.sharding import Sharding

TWO_MACHINES = Processes(num_processes=4, num_machines=2, main_process_ip="10.0.0.1")


def test_a_single_process_needs_no_launcher() -> None:
    assert launcher(Processes()) == [sys.executable]


@pytest.mark.parametrize("machine", [0, 1])
def test_accelerate_understands_the_command(
    machine: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a configuration lies about that says something else."""
    (tmp_path / "accelerate").mkdir()
    (tmp_path / "accelerate" / "default_config.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: DEEPSPEED\nnum_processes: 8\n"
        "machine_rank: 7\nuse_cpu: false\ndebug: false\nmixed_precision: fp16\n"
    )
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    command = command_for("train_network", RunFolder(tmp_path / "a run"), TWO_MACHINES, machine)
    assert command[1:3] == ["-m", "accelerate.commands.launch"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(command[3:]))
    assert (args.num_processes, args.num_machines, args.machine_rank) == (4, 2, machine)
    assert (args.main_process_ip, args.main_process_port) == ("10.0.0.1", 29500)
    assert args.multi_gpu
    assert not args.use_deepspeed
    assert args.mixed_precision == "no"
    assert args.training_script == "sd_scripts.train_network"
    assert (
        args.training_script_args == command_for("train_network", RunFolder(tmp_path / "a run"))[3:]
    )


def test_each_machine_has_its_command(tmp_path: Path) -> None:
    text = commands_text("train_network", RunFolder(tmp_path), TWO_MACHINES)
    first, second = text.split("\n\n")
    assert first.startswith("# machine 1 of 2\n")
    assert "--machine_rank 0" in first
    assert "--machine_rank 1" in second
    assert "#" not in commands_text("train_network", RunFolder(tmp_path), Processes())


def test_a_single_process_can_be_given_its_card(tmp_path: Path) -> None:
    request = JobRequest(
        job_name="train_network", config_toml="", name="x", processes=Processes(gpu_ids="1")
    )
    run = RunFolder(tmp_path)
    assert environment_for(run, request)["CUDA_VISIBLE_DEVICES"] == "1"
    several = Processes(num_processes=2, gpu_ids="0, 2")
    assert "CUDA_VISIBLE_DEVICES" not in environment_for(
        run, request.model_copy(update={"processes": several})
    )
    assert launcher(several)[-6:-4] == ["--gpu_ids", "0,2"]


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"num_processes": 3, "num_machines": 2, "main_process_ip": "a"}, "evenly"),
        ({"num_processes": 2, "num_machines": 2}, "address"),
        ({"num_processes": 2, "gpu_ids": "0"}, "as many graphics cards"),
        ({"gpu_ids": "0,0"}, "twice"),
        ({"gpu_ids": "first"}, "numbers"),
        ({"main_process_ip": "a b; c"}, "address"),
        ({"num_processes": 0}, "greater"),
    ],
)
def test_what_cannot_be_is_told(values: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        Processes.model_validate(values)


@pytest.mark.parametrize(("sharing", "gathers_twice"), [("memory", "false"), ("weights", "true")])
def test_accelerate_understands_that_weights_are_shared_out(
    sharing: Sharing, gathers_twice: str, tmp_path: Path
) -> None:
    several = TWO_MACHINES.model_copy(update={"sharing": sharing})
    command = command_for("train_db", RunFolder(tmp_path), several, 1)
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(command[3:]))
    assert args.use_fsdp
    assert not args.multi_gpu
    assert args.machine_rank == 1
    variables = prepare_multi_gpu_env(args)
    assert Sharding.of(variables) == Sharding("FSDP", sharing == "memory")
    assert variables["FSDP_RESHARD_AFTER_FORWARD"] == gathers_twice
    assert launcher(several.sharing_nothing()) == launcher(TWO_MACHINES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("fsdp", Sharding("FSDP")), ("deepspeed", Sharding("DeepSpeed", keeps_whole=True))],
)
def test_files_that_share_out_weights_do_so(name: str, expected: Sharding) -> None:
    path = Path(__file__).parents[3] / "docs" / "accelerate" / f"{name}.yaml"
    words = ["--config_file", str(path), "-m", "sd_scripts.train_db"]
    args, defaults, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert defaults is not None, "the file was read"
    if name == "fsdp":
        variables = prepare_multi_gpu_env(args)
    else:
        args.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
        _, variables = prepare_deepspeed_cmd_env(args)
    assert Sharding.of(variables) == expected


@pytest.mark.parametrize("name", ["one-machine", "two-machines"])
def test_accelerate_understands_the_files_that_the_documentation_names(name: str) -> None:
    path = Path(__file__).parents[3] / "docs" / "accelerate" / f"{name}.yaml"
    words = ["--config_file", str(path), "-m", "sd_scripts.train_network"]
    args, defaults, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert defaults is not None, "the file was read"
    assert args.multi_gpu
    assert args.num_processes == 2 * args.num_machines
    assert not args.use_deepspeed
    assert not args.use_fsdp
