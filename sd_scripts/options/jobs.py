"""The jobs: each is a frozen composition of groups of options."""

from __future__ import annotations

from typing import ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, model_validator

from sd_scripts.errors import raise_if_errors
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.metadata import MetadataOptions
from sd_scripts.options.groups.model import ModelOptions
from sd_scripts.options.groups.network import NetworkOptions
from sd_scripts.options.groups.objective import ObjectiveOptions
from sd_scripts.options.groups.optimizer import NetworkOptimizerOptions, OptimizerOptions
from sd_scripts.options.groups.saving import LoggingOptions, PreviewOptions, SavingOptions
from sd_scripts.options.groups.training import PerformanceOptions, TrainingOptions
from sd_scripts.options.rules.all_rules import run_rules
from sd_scripts.options.schema import Options, group_types


class Job(BaseModel):
    """A whole job. One that exists is free of errors: rules between options are checked too."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    title: ClassVar[str]

    def groups(self) -> dict[str, Options]:
        """The groups of options by attribute name."""
        return {name: getattr(self, name) for name in group_types(type(self))}

    @model_validator(mode="after")
    def _options_agree(self) -> Self:
        raise_if_errors(run_rules(self.groups()))
        return self


class TrainingJob(Job):
    """A job that trains on pictures: what all trainers have in common.

    Where a trainer has more or other options in a group, its job has a subclass of that group.
    """

    tracker_name: ClassVar[str]
    """What trackers call such runs unless `log_tracker_name` says otherwise."""

    model: ModelOptions
    data: DataOptions
    caption: CaptionOptions = CaptionOptions()
    training: TrainingOptions = TrainingOptions()
    performance: PerformanceOptions = PerformanceOptions()
    optimizer: OptimizerOptions = OptimizerOptions()
    objective: ObjectiveOptions = ObjectiveOptions()
    saving: SavingOptions = SavingOptions()
    preview: PreviewOptions = PreviewOptions()
    metadata: MetadataOptions = MetadataOptions()
    logging: LoggingOptions = LoggingOptions()

    @property
    def input_files(self) -> dict[str, str | None]:
        """The files and folders that a method's own options name, by option."""
        return {}


class TrainNetworkJob(TrainingJob):
    """Train a LoRA on a folder of pictures."""

    name: ClassVar[str] = "train_network"
    title: ClassVar[str] = "LoRA"
    tracker_name: ClassVar[str] = "network_train"

    network: NetworkOptions = NetworkOptions()
    optimizer: NetworkOptimizerOptions = NetworkOptimizerOptions()

    @property
    def input_files(self) -> dict[str, str | None]:
        """The file to start from."""
        return {"network_weights": self.network.network_weights}


JOBS: Final[dict[str, type[Job]]] = {job.name: job for job in (TrainNetworkJob,)}
