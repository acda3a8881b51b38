"""The methods by name, and the one place that makes one of a job and a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sd_scripts.families.base import LoadedModel
from sd_scripts.methods.base import Method
from sd_scripts.methods.network import NetworkMethod
from sd_scripts.options.jobs import TrainingJob, TrainNetworkJob

# By job, networks by module. Each maker knows its own type of job and is only called with it.
METHODS: Final[Mapping[str, Callable[[Any, LoadedModel], Method]]] = {
    "networks.lora": NetworkMethod,
}


def make_method(job: TrainingJob, model: LoadedModel) -> Method:
    """Attach the job's method to the model. Raises `UserError` if they do not fit."""
    name = job.network.network_module if isinstance(job, TrainNetworkJob) else job.name
    return METHODS[name](job, model)
