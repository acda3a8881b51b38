"""The metadata of a trained network's file: ss_* entries of the run, and modelspec.

All values are texts. Names and forms are sd-scripts', which web UIs and editors read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sd_scripts.options.jobs import TrainingJob
from sd_scripts.options.metadata import MINIMUM_METADATA, metadata_values
from sd_scripts.version import program_version
from sd_scripts.weights.dataset_facts import DatasetFacts
from sd_scripts.weights.model_kinds import FamilyName, PredictionType
from sd_scripts.weights.model_spec import Kind, model_spec


@dataclass(frozen=True)
class TrainingFacts:
    """What a run knows beyond its options when it starts.

    `base_model_version` is the family's ("sd_v1", "sd_v2", "sdxl_base_v1-0"), to which v-prediction
    is added here. `num_steps` are optimizer steps; `total_batch_size` pictures in each of them,
    over all processes. `optimizer` has the form "module.Class(name=value,…)". `network_dim` and
    `network_alpha` are as the network was built. `session_id` is a random number below 2³² that a
    run and its resumed parts share; `started_at` is in Unix seconds. `program` is read when the run
    starts, since its checkout may be updated while it runs.
    """

    family: FamilyName
    base_model_version: str
    prediction_type: PredictionType
    dataset: DatasetFacts
    num_epochs: int
    num_steps: int
    total_batch_size: int
    optimizer: str
    seed: int
    session_id: int
    started_at: float
    zero_terminal_snr: bool = False
    program: str = field(default_factory=program_version)


@dataclass(frozen=True)
class SaveFacts:
    """What is known when a file is saved: how far the run is, the time, the base's hashes."""

    step: int
    epoch: int
    finished_at: float
    base: Mapping[str, str] = field(default_factory=dict)


def build_metadata(
    job: TrainingJob,
    facts: TrainingFacts,
    save: SaveFacts,
    method: Mapping[str, str],
    kind: Kind = "lora",
) -> dict[str, str]:
    """Return all metadata of a file except the `sshs_` hashes, which come with its tensors.

    `method` holds what only the method knows, by metadata name.

    With `no_metadata` only what other programs need to tell the file's kind is kept. Raises
    `UserError` if the thumbnail cannot be read.
    """
    entries = {**metadata_values(job), **_run_entries(job, facts), **method, **save.base}
    entries["ss_training_finished_at"] = str(save.finished_at)
    entries["ss_steps"] = str(save.step)
    entries["ss_epoch"] = str(save.epoch)
    if job.metadata.no_metadata:
        entries = {name: entries[name] for name in MINIMUM_METADATA if name in entries}
    return {**entries, **build_model_spec(job, facts, save, kind)}


def build_model_spec(
    job: TrainingJob, facts: TrainingFacts, save: SaveFacts, kind: Kind
) -> dict[str, str]:
    """Return the modelspec entries of a file; raises `UserError` if the thumbnail is not read."""
    return model_spec(
        (facts.family, facts.prediction_type),
        kind,
        job.metadata,
        known=_known_spec(job, facts),
        timestamp=save.finished_at,
    )


def _run_entries(job: TrainingJob, facts: TrainingFacts) -> dict[str, str]:
    suffix = "_v" if facts.prediction_type == "v_prediction" and facts.family != "sdxl" else ""
    values: dict[str, object] = {
        "ss_session_id": facts.session_id,
        "ss_training_started_at": facts.started_at,
        "ss_num_epochs": facts.num_epochs,
        "ss_max_train_steps": facts.num_steps,
        "ss_v2": facts.family == "sd2",
        "ss_base_model_version": f"{facts.base_model_version}{suffix}",
        "ss_zero_terminal_snr": facts.zero_terminal_snr,
        "ss_sd_scripts_commit_hash": facts.program,
        "ss_optimizer": facts.optimizer,
        "ss_seed": facts.seed,
    }
    if job.data.dataset_config is None:
        values["ss_total_batch_size"] = facts.total_batch_size
    return {**facts.dataset.entries, **{name: str(value) for name, value in values.items()}}


def _known_spec(job: TrainingJob, facts: TrainingFacts) -> dict[str, str]:
    known = {"implementation_version": facts.program}
    if job.result_name is not None:
        known["title"] = job.result_name
    if job.data.resolution is not None:
        known["resolution"] = "{}x{}".format(*job.data.resolution)
    low, high = job.objective.min_timestep, job.objective.max_timestep
    if low is not None or high is not None:
        known["timestep_range"] = f"{low or 0},{1000 if high is None else high}"
    if job.model.clip_skip is not None:
        known["encoder_layer"] = str(job.model.clip_skip)
    return known
