"""The methods by name, and the one place that makes one of a job and a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sd_scripts.families.base import LoadedModel
from sd_scripts.methods.base import Method
from sd_scripts.methods.full import FullMethod
from sd_scripts.methods.network import NetworkMethod
from sd_scripts.methods.network_kinds import NETWORK_KINDS
from sd_scripts.methods.pivotal import PivotalMethod
from sd_scripts.methods.textual_inversion import TextualInversionMethod
from sd_scripts.options.jobs import TrainingJob, TrainNetworkJob

# By job, networks by module. Each maker knows its own type of job and is only called with it.
METHODS: Final[Mapping[str, Callable[[Any, LoadedModel], Method]]] = {
    **dict.fromkeys(NETWORK_KINDS, NetworkMethod),
    "train_db": FullMethod,
    "fine_tune": FullMethod,
    "train_textual_inversion": TextualInversionMethod,
}


def make_method(job: TrainingJob, model: LoadedModel) -> Method:
    """Attach the job's method to the model. Raises `UserError` if they do not fit."""
    if not isinstance(job, TrainNetworkJob):
        return METHODS[job.name](job, model)
    network = METHODS[job.network.network_module](job, model)
    return network if job.new_word is None else PivotalMethod(job, model, network)
