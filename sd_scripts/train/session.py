"""Everything one training job works with, put together by `build` and used by `loop`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from sd_scripts.data.batch import Batch
from sd_scripts.data.loader import BatchSource
from sd_scripts.dataset.steps import StepArithmetic
from sd_scripts.families.base import LoadedModel, TextConditioning
from sd_scripts.methods.base import Method
from sd_scripts.objective.objective import Objective
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.runs.events import StartEvent
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.train.course import Bystander, Course
from sd_scripts.train.ema import Ema
from sd_scripts.train.lending import SharedSaver
from sd_scripts.train.preview import Previewer
from sd_scripts.train.resume import Recorder
from sd_scripts.train.saving import Saver
from sd_scripts.train.state_facts import Position
from sd_scripts.train.stepping import Stepper
from sd_scripts.train.team import Team
from sd_scripts.train.trackers import Tracker
from sd_scripts.train.validation import Validator


@dataclass
class Session:
    """The parts of one job. `latents` and `text` turn a batch into what the U-Net is given.

    `has_prompts` says in every process whether the leader has a `previewer`.
    """

    job: TrainingJob
    accelerator: Accelerator
    model: LoadedModel
    method: Method
    objective: Objective
    source: BatchSource
    optimizer: Any
    stepper: Stepper
    ema: Ema | None
    scheduler: LRScheduler
    arithmetic: StepArithmetic
    latents: Callable[[Batch], Tensor]
    text: Callable[[Batch], TextConditioning]
    autocast: Callable[[], AbstractContextManager[Any]]
    dtype: torch.dtype
    saver: Saver | SharedSaver | Bystander
    has_prompts: bool
    previewer: Previewer | None
    validator: Validator | None
    reporter: Reporter
    requests: Requests
    team: Team
    course: Course
    tracker: Tracker
    start: StartEvent
    recorder: Recorder

    @property
    def position(self) -> Position:
        """How far the job has come."""
        return self.recorder.position

    @property
    def trainable(self) -> list[torch.nn.Parameter]:
        """The parameters that learn."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def close(self) -> None:
        """Let go of worker processes and open files."""
        self.recorder.close()
        self.source.close()
        if self.validator is not None:
            self.validator.source.close()
        self.tracker.close()
