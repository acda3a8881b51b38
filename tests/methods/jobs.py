"""LoRA jobs for tests, from a few option values."""

from __future__ import annotations

from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.values import job_from_values


def network_job(**values: object) -> TrainNetworkJob:
    """A LoRA job with the given options; what is needed besides is made up."""
    base: dict[str, object] = {
        "pretrained_model_name_or_path": "model.safetensors",
        "train_data_dir": "pictures",
        "learning_rate": 1e-4,
        "seed": 7,
    }
    job = job_from_values(TrainNetworkJob, {**base, **values})
    assert isinstance(job, TrainNetworkJob)
    return job
