"""How a training is shared out among graphics cards and machines, and how that is launched."""

from __future__ import annotations

import re
import sys
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_DEFAULT_PORT: Final = 29500

Sharing = Literal["nothing", "memory", "weights"]


class Processes(BaseModel):
    """Where a training's processes run, one for each graphics card.

    `num_processes` counts those of all machines. `gpu_ids` are the cards to use on each machine
    ("0,2"; empty: all). `main_process_ip` is the address under which the other machines reach the
    first one; its port may be empty: 29500 then, and a free one on a single machine. `sharing` is
    what processes share out of a whole model that learns ("memory": all but the weights that are
    computed with); other trainings share out pictures alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_processes: int = Field(default=1, ge=1, le=4096)
    num_machines: int = Field(default=1, ge=1, le=1024)
    gpu_ids: str = ""
    main_process_ip: str = ""
    main_process_port: int | None = Field(default=None, ge=1, le=65535)
    sharing: Sharing = "nothing"

    @field_validator("gpu_ids")
    @classmethod
    def _card_numbers(cls, given: str) -> str:
        numbers = [part.strip() for part in given.split(",") if part.strip()]
        if not all(number.isdecimal() for number in numbers):
            raise ValueError("numbers of graphics cards, with commas between: 0,1")
        if len(set(numbers)) != len(numbers):
            raise ValueError("a graphics card is named twice")
        return ",".join(numbers)

    @field_validator("main_process_ip")
    @classmethod
    def _address(cls, given: str) -> str:
        address = given.strip()
        if address and not re.fullmatch(r"[A-Za-z0-9_.:-]+", address):
            raise ValueError("an IP address or the name of a machine")
        return address

    @model_validator(mode="after")
    def _fit(self) -> Processes:
        if self.num_processes % self.num_machines:
            raise ValueError(
                f"{self.num_processes} processes cannot be shared out evenly among "
                f"{self.num_machines} machines"
            )
        if self.num_machines > 1 and not self.main_process_ip:
            raise ValueError("several machines need the address of the first one")
        cards = len(self.gpu_ids.split(",")) if self.gpu_ids else self.per_machine
        if cards < self.per_machine:
            raise ValueError(
                f"{self.per_machine} processes on a machine need as many graphics cards, and "
                f"{cards} are named"
            )
        return self

    def sharing_nothing(self) -> Processes:
        """Return these processes for a training whose model is not shared out."""
        return self.model_copy(update={"sharing": "nothing"})

    @property
    def per_machine(self) -> int:
        """Number of processes on each machine."""
        return self.num_processes // self.num_machines


def launcher(processes: Processes, machine: int = 0) -> list[str]:
    """Return what comes before `-m MODULE` to start a job's processes on a machine (from 0).

    A single process needs no launcher: the script sets everything up itself. Otherwise all is
    said here, so that a stray configuration of accelerate changes nothing.
    """
    if processes.num_processes == 1:
        return [sys.executable]
    several = [*_ways(processes.sharing), "--num_machines", str(processes.num_machines)]
    several += ["--num_processes", str(processes.num_processes)]
    port = processes.main_process_port
    if processes.num_machines > 1:
        several += ["--machine_rank", str(machine), "--same_network"]
        several += ["--main_process_ip", processes.main_process_ip]
        several += ["--main_process_port", str(port or _DEFAULT_PORT)]
    else:
        several += ["--main_process_port", str(port or 0)]  # 0: any that is free
    several += ["--gpu_ids", processes.gpu_ids or "all"]
    several += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    return [sys.executable, "-m", "accelerate.commands.launch", *several]


def _ways(sharing: Sharing) -> list[str]:
    if sharing == "nothing":
        return ["--multi_gpu"]
    whole = "false" if sharing == "memory" else "true"
    return ["--use_fsdp", "--fsdp_version", "2", "--fsdp_reshard_after_forward", whole]


def card_variables(processes: Processes) -> dict[str, str]:
    """Return the variables that choose the card of a single process."""
    if processes.num_processes > 1 or not processes.gpu_ids:
        return {}
    return {"CUDA_VISIBLE_DEVICES": processes.gpu_ids}
