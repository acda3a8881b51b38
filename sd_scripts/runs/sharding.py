"""Whether the processes of a job share out a whole model's weights, as their launcher was told."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Final

from sd_scripts.errors import Problem

_FSDP: Final = "ACCELERATE_USE_FSDP"
_DEEPSPEED: Final = "ACCELERATE_USE_DEEPSPEED"
_OTHERS: Final = {
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "tensor or context parallelism",
}
_DS: Final = "ACCELERATE_DEEPSPEED_"
_STRATEGIES: Final = {"1": "FULL_SHARD", "2": "SHARD_GRAD_OP", "3": "NO_SHARD"}
"""FSDP 1 knows its ways by number as well (accelerate's `FSDP_SHARDING_STRATEGY`)."""
_OFFLOADED: Final = (
    "To train a whole model on little memory, use full_bf16 with AdamW8bit here, or one process "
    "with full_bf16, fused_backward_pass and Adafactor (docs/several-processes.md)."
)


@dataclass(frozen=True)
class Sharding:
    """What accelerate's launcher asked for: `way` is its name ("" for none).

    Weights, gradients and the optimizer's memory are cut into as many pieces as there are
    processes. With `keeps_whole`, a process keeps the weights it has gathered from the forward to
    the backward pass, which takes more memory and less exchange. `problems` is what this program
    cannot do of it.
    """

    way: str = ""
    keeps_whole: bool = False
    problems: tuple[Problem, ...] = ()

    @property
    def on(self) -> bool:
        """Whether weights are shared out."""
        return bool(self.way)

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Sharding:
        """Read what the launcher left in its variables."""
        for variable, name in _OTHERS.items():
            if _is_on(variables, variable):
                hint = "Start it with accelerate launch and a file of docs/accelerate."
                return cls(problems=(Problem(f"This program knows no {name}", None, hint),))
        if _is_on(variables, _FSDP):
            return _of_fsdp(variables)
        return _of_deepspeed(variables) if _is_on(variables, _DEEPSPEED) else cls()

    @classmethod
    def take(cls, variables: MutableMapping[str, str]) -> Sharding:
        """Read it and take it away, so that accelerate does not set up a second way of its own."""
        found = cls.of(variables)
        for variable in (_FSDP, _DEEPSPEED):
            variables.pop(variable, None)
        return found


def _is_on(variables: Mapping[str, str], name: str) -> bool:
    return variables.get(name, "").lower() in ("1", "true", "yes", "on")


def _of_fsdp(variables: Mapping[str, str]) -> Sharding:
    """Read FSDP 2's `fsdp_reshard_after_forward`, or FSDP 1's `fsdp_sharding_strategy`."""
    if variables.get("FSDP_VERSION", "1") == "2":
        given = variables.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower()
        strategy = {"true": "FULL_SHARD", "false": "SHARD_GRAD_OP"}.get(given, given.upper())
    else:
        given = variables.get("FSDP_SHARDING_STRATEGY", "FULL_SHARD")
        strategy = _STRATEGIES.get(given, given.upper())
    if strategy == "NO_SHARD":
        return Sharding()
    problems = []
    if strategy not in ("FULL_SHARD", "SHARD_GRAD_OP"):
        problems.append(
            Problem(
                f"FSDP's way {strategy} is not supported",
                "fsdp_reshard_after_forward, fsdp_sharding_strategy",
                "Use FSDP version 2 as in docs/accelerate/fsdp.yaml.",
            )
        )
    if _is_on(variables, "FSDP_OFFLOAD_PARAMS"):
        problems.append(
            Problem(
                "Weights cannot be kept in main memory while a graphics card trains them",
                "fsdp_offload_params",
                f"Set it to false. {_OFFLOADED}",
            )
        )
    if _is_on(variables, "FSDP_ACTIVATION_CHECKPOINTING"):
        problems.append(
            Problem(
                "Computing parts twice to save memory is the job's own option",
                "fsdp_activation_checkpointing",
                "Set it to false, and gradient_checkpointing in the job.",
            )
        )
    return Sharding("FSDP", strategy == "SHARD_GRAD_OP", tuple(problems))


def _of_deepspeed(variables: Mapping[str, str]) -> Sharding:
    """Read ZeRO's stage: 0 shares nothing out, 1 and 2 keep weights whole, 3 cuts them, too."""
    stage = variables.get(f"{_DS}ZERO_STAGE", "")
    problems = []
    if file := variables.get(f"{_DS}CONFIG_FILE", ""):
        problems.append(
            Problem(
                f"DeepSpeed's own file {file} is not read",
                "deepspeed_config_file",
                "Give zero_stage in accelerate's file, as docs/accelerate/deepspeed.yaml does.",
            )
        )
    elif stage not in ("0", "1", "2", "3"):
        hint = "0, 1, 2 or 3: see docs/accelerate/deepspeed.yaml."
        problems.append(Problem(f"There is no ZeRO stage {stage!r}", "zero_stage", hint))
    for option in ("offload_optimizer_device", "offload_param_device"):
        device = variables.get(f"{_DS}{option.upper()}", "none")
        if device not in ("", "none"):
            problems.append(
                Problem(
                    f"Nothing can be moved to {device} while a graphics card trains",
                    option,
                    f"Set it to none. {_OFFLOADED}",
                )
            )
    if stage == "0" and not problems:
        return Sharding()
    return Sharding("DeepSpeed", stage in ("1", "2"), tuple(problems))
