"""A whole model that two processes share out: it learns, is saved and goes on as in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from kohya_gui.jobs.processes import Processes, launcher
from sd_scripts.options.jobs import TrainDbJob
from sd_scripts.options.optimizer_table import ELEMENTWISE
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.events import SampleEvent, ValidationEvent
from sd_scripts.runs.sharding import Sharding
from sd_scripts.train.optimizers import build_optimizer
from tests.support.jobs import TinyJob, draw_pictures, equal
from tests.support.tiny_models import make_tiny_checkpoint
from tests.support.together import Together, near

PLAIN: dict[str, Any] = {"optimizer_type": "SGDNesterov", "max_grad_norm": 0.01}
WHOLE: dict[str, Any] = {"network_dim": None, "learning_rate": 0.05, "gradient_checkpointing": True}
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
DEEPSPEED = {"ACCELERATE_USE_DEEPSPEED": "true"}


@dataclass
class Outcome:
    """What two processes did that shared out the weights."""

    together: Together
    jobs: dict[str, TinyJob]
    codes: dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    root = tmp_path_factory.mktemp("shared out")
    together = Together(root, make_tiny_checkpoint("sd1", root / "tiny.safetensors"))
    draw_pictures(root / "pictures" / "1_cat", 3)
    prompts = root / "prompts.txt"
    prompts.write_text("a cat --w 64 --h 64 --s 2 --d 1\n", encoding="utf-8")
    adam = {
        "use_ema": True,
        "learning_rate": 1e-3,
        "stop_text_encoder_training": 2,
        "save_every_n_steps": 1,
        "save_state": True,
        "sample_prompts": str(prompts),
        "sample_every_n_steps": 2,
    }
    low = {"full_bf16": True, "mixed_precision": "bf16", "learning_rate": 1e-3}
    held = {"validation_split": 0.34, "gradient_accumulation_steps": 2, "max_train_epochs": 2}
    jobs = {
        "plain": together.job("plain", TrainDbJob, **WHOLE, **PLAIN),
        "adam": together.job("adam", TrainDbJob, **{**WHOLE, **adam}),
        "low": together.job("low", TrainDbJob, **{**WHOLE, **low}),
        "validated": together.job("validated", TrainDbJob, **{**WHOLE, **PLAIN, **held}),
        "lora": together.job("lora"),
        "adafactor": together.job("adafactor", TrainDbJob, **WHOLE, optimizer_type="adafactor"),
    }
    for job in jobs.values():
        together.add(job)
    for step in (1, 2):
        state = jobs["adam"].place / "run" / "state" / f"cat-step0000000{step}-state"
        more = {**WHOLE, **adam, "resume": str(state)}
        jobs[f"from {step}"] = together.add(together.job(f"from{step}", TrainDbJob, **more))
    jobs["fault"] = together.add(together.job("fault", TrainDbJob, **WHOLE), "fault")
    leader, follower = together.launch(launcher(Processes(num_processes=2, sharing="weights")))
    log = (root / "log.txt").read_text("utf-8", "replace")
    assert len(leader) >= len(jobs) - 1, log
    codes = {
        name: (first[0], second[0])
        for name, first, second in zip(jobs, leader, follower, strict=False)
    }
    return Outcome(together, jobs, codes)


@pytest.mark.parametrize("name", ["plain", "validated"])
def test_it_learns_as_in_one_process_with_the_doubled_batch(outcome: Outcome, name: str) -> None:
    """With a limit of the norm, gathered batches and checkpointing; files have one layout."""
    assert outcome.codes[name] == (0, 0), outcome.jobs[name].end()
    there = outcome.jobs[name]
    alone = TinyJob(there.place / "alone", there.model, there.options, there.job_type)
    assert alone.run(train_batch_size=4) == 0
    assert near(there.tensors(), alone.tensors())
    assert list(there.losses().values()) == pytest.approx(list(alone.losses().values()), abs=1e-5)
    found, expected = (
        [event.losses for event in job.events() if isinstance(event, ValidationEvent)]
        for job in (there, alone)
    )
    assert len(found) == (2 if name == "validated" else 0)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("step", [1, 2])
def test_a_run_goes_on_bit_for_bit(outcome: Outcome, step: int) -> None:
    """With average, previews in between, and text encoders that stop learning after step 2."""
    assert outcome.codes["adam"] == (0, 0), outcome.jobs["adam"].end()
    assert outcome.codes[f"from {step}"] == (0, 0), outcome.jobs[f"from {step}"].end()
    resumed = outcome.jobs[f"from {step}"]
    assert list(resumed.losses()) == list(range(step + 1, 4))
    assert equal(resumed.tensors(), outcome.jobs["adam"].tensors())


def test_the_leader_paints_and_saves_averaged_weights(outcome: Outcome) -> None:
    job = outcome.jobs["adam"]
    assert [event.step for event in job.events() if isinstance(event, SampleEvent)] == [2]
    saved = [job.tensors(f"cat-step0000000{step}") for step in (1, 2)]
    assert saved[0].keys() == job.tensors().keys()
    assert not equal(saved[0], saved[1])


def test_low_precision_is_rounded_by_chance_in_pieces(outcome: Outcome) -> None:
    assert outcome.codes["low"] == (0, 0), outcome.jobs["low"].end()
    tensors = outcome.jobs["low"].tensors()
    assert all(torch.isfinite(one).all() for one in tensors.values() if one.is_floating_point())


@pytest.mark.parametrize(
    ("name", "words"), [("lora", "whole models"), ("adafactor", "looks at whole tensors")]
)
def test_what_needs_whole_weights_is_refused(outcome: Outcome, name: str, words: str) -> None:
    assert outcome.codes[name] == (2, 1)
    assert words in outcome.jobs[name].end().reason


def test_a_fault_in_a_step_ends_all_processes(outcome: Outcome) -> None:
    assert outcome.jobs["fault"].end().status == "failed"


def test_a_state_in_pieces_needs_the_same_processes(outcome: Outcome) -> None:
    job = outcome.jobs["from 2"]
    assert job.run("alone") == 2
    told = [problem.message for problem in job.end("alone").problems]
    assert len(told) == 2
    assert "had shared out the weights" in told[1]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Sharding()),
        ({"ACCELERATE_USE_FSDP": "false"}, Sharding()),
        ({**FSDP, "FSDP_RESHARD_AFTER_FORWARD": "true"}, Sharding("FSDP")),
        ({**FSDP, "FSDP_RESHARD_AFTER_FORWARD": "false"}, Sharding("FSDP", True)),
        ({"ACCELERATE_USE_FSDP": "1", "FSDP_SHARDING_STRATEGY": "3"}, Sharding()),
        ({"ACCELERATE_USE_FSDP": "1", "FSDP_SHARDING_STRATEGY": "2"}, Sharding("FSDP", True)),
        ({**DEEPSPEED, "ACCELERATE_DEEPSPEED_ZERO_STAGE": "0"}, Sharding()),
        ({**DEEPSPEED, "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}, Sharding("DeepSpeed", True)),
        ({**DEEPSPEED, "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}, Sharding("DeepSpeed")),
    ],
)
def test_what_a_launcher_says_is_read_and_taken_away(
    variables: dict[str, str], expected: Sharding
) -> None:
    left = dict(variables)
    assert Sharding.take(left) == expected
    assert not {"ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"} & left.keys()


@pytest.mark.parametrize(
    ("variables", "option"),
    [
        ({**FSDP, "FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params"),
        ({**FSDP, "FSDP_ACTIVATION_CHECKPOINTING": "true"}, "fsdp_activation_checkpointing"),
        ({"ACCELERATE_USE_FSDP": "1", "FSDP_SHARDING_STRATEGY": "4"}, "fsdp_sharding_strategy"),
        ({**DEEPSPEED, "ACCELERATE_DEEPSPEED_CONFIG_FILE": "a.json"}, "deepspeed_config_file"),
        (DEEPSPEED, "zero_stage"),
        (
            {
                **DEEPSPEED,
                "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2",
                "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "cpu",
            },
            "offload_optimizer_device",
        ),
    ],
)
def test_what_cannot_be_done_of_it_is_told(variables: dict[str, str], option: str) -> None:
    [problem] = Sharding.of(variables).problems
    assert option in (problem.option or "")
    assert problem.hint


@pytest.mark.parametrize("name", sorted(name for name in ELEMENTWISE if "Paged" not in name))
def test_pieces_of_a_tensor_go_as_the_whole_does(name: str) -> None:
    """What 8 bits round differently in pieces is small beside the step."""
    values = {"pretrained_model_name_or_path": "m", "train_data_dir": "d", "optimizer_type": name}
    job = job_from_values(TrainDbJob, {**values, "learning_rate": 1e-2})
    drawn = torch.Generator().manual_seed(1)
    start = torch.randn(32, 256, generator=drawn)
    pull = torch.randn(8, 32, 256, generator=drawn)

    def stepped(pieces: list[slice]) -> torch.Tensor:
        found = [torch.nn.Parameter(start[piece].clone()) for piece in pieces]
        optimizer = build_optimizer(job, [{"params": found, "lr": 1e-2, "name": "unet"}])
        for gradient in pull:
            for parameter, piece in zip(found, pieces, strict=True):
                parameter.grad = gradient[piece].clone()
            optimizer.step()
        return torch.cat([parameter.detach() for parameter in found])

    whole, cut = stepped([slice(0, 32)]), stepped([slice(0, 20), slice(20, 32)])
    assert not torch.equal(whole, start)
    apart = (whole - cut).abs()
    assert (apart.mean() < 1e-3) if "8bit" in name else (apart.max() < 1e-6)
