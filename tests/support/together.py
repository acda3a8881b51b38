"""Jobs that are done by two processes, which are launched once for all of them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from kohya_gui.jobs.processes import Processes, launcher
from sd_scripts.options.jobs import TrainingJob
from tests.support.jobs import TinyJob
from tests.support.several import Turn, write_turns

STEPS = 3


@dataclass
class Together:
    """Jobs that are done by two processes, each in a place of its own, with the same pictures."""

    root: Path
    model: Path
    turns: list[Turn] = field(default_factory=list)

    def job(self, name: str, kind: type[TrainingJob] | None = None, **options: object) -> TinyJob:
        """Return a job of three pictures and three steps, in the place `name`."""
        values = {"max_train_epochs": STEPS, "cache_dir": str(self.root / "cache"), **options}
        job = TinyJob(self.root / name, self.model, values)
        job.options["train_data_dir"] = str(self.root / "pictures")
        if kind is not None:
            job.job_type = kind
        return job

    def add(self, job: TinyJob, event: str = "", process: int = 1, **changes: object) -> TinyJob:
        """Let the two processes do this job, too."""
        run_dir = ["--run_dir", str(job.place / "run")]
        self.turns.append(
            Turn(job.job_type.name, [*job.arguments(**changes), *run_dir], event, process)
        )
        return job

    def launch(self, start: Sequence[str] = ()) -> list[list[tuple[int, list[str]]]]:
        """Do all jobs (`start`: launched how); returns what both processes wrote of each."""
        turns = write_turns(self.turns, self.root / "turns.json")
        begin = start or launcher(Processes(num_processes=2))
        command = [*begin, "-m", "tests.support.several", str(turns)]
        variables = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        log = self.root / "log.txt"
        with open(log, "wb") as stream:
            subprocess.run(
                command, check=False, stdout=stream, stderr=stream, timeout=300,
                env=os.environ | variables, cwd=Path(__file__).parents[2],
            )  # fmt: skip
        found = [self.root / f"done-{rank}.json" for rank in range(2)]
        assert all(path.exists() for path in found), log.read_text("utf-8", "replace")
        return [json.loads(path.read_text()) for path in found]


def near(first: dict[str, Tensor], second: dict[str, Tensor], within: float = 1e-5) -> bool:
    """Tell whether two sets of tensors are the same but for rounding."""
    assert first.keys() == second.keys()
    return all(
        torch.allclose(tensor.float(), second[name].float(), rtol=0, atol=within)
        for name, tensor in first.items()
    )
