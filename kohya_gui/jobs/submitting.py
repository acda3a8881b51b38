"""A job given as TOML, by a program or on a command line: checked whole, then ready to start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kohya_gui.jobs.launch import JOB_MODULES, JobRequest
from kohya_gui.jobs.processes import Processes
from sd_scripts.errors import Problem, UserError
from sd_scripts.options.jobs import JOBS, Job, TrainingJob
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.toml_file import job_to_toml, read_toml
from sd_scripts.options.values import job_from_values, job_warnings

MAX_TOML_BYTES: Final = 1_000_000
"""No job comes near this size; what is larger is not read."""


@dataclass(frozen=True)
class Given:
    """A job as it was handed in, free of errors. `warnings` are worth knowing and stop nothing."""

    job: Job
    name: str
    warnings: tuple[Problem, ...]

    def request(self, processes: Processes, *, allow_hub: bool) -> JobRequest:
        """Return what the queue takes. Only trainings are shared out among processes."""
        trains = isinstance(self.job, TrainingJob)
        return JobRequest(
            job_name=self.job.name,
            config_toml=job_to_toml(self.job),
            name=self.name,
            processes=processes if trains else Processes(),
            allow_hub=allow_hub,
        )


def job_names() -> tuple[str, ...]:
    """Return the jobs that can be handed in."""
    return tuple(name for name in JOBS if name in JOB_MODULES)


def given_job(job_name: str, text: str, base: Path, name: str = "") -> Given:
    """Read a job's TOML; relative paths in it are meant from `base`.

    `name` is what the run is called; without it, what the job itself says. Raises `UserError` with
    every problem.
    """
    if job_name not in job_names():
        raise UserError(
            f"There is no job {job_name!r}.",
            option="job",
            hint=f"Known jobs: {', '.join(job_names())}.",
        )
    if len(text.encode("utf-8", "replace")) > MAX_TOML_BYTES:
        raise UserError(
            f"The TOML is larger than {MAX_TOML_BYTES:,} bytes.",
            hint="Hand in the job's options only; lists of pictures go into files.",
        )
    job_type = JOBS[job_name]
    values = with_whole_paths(job_type, read_toml(text, "the TOML"), base)
    job = job_from_values(job_type, values)
    return Given(job, name or run_name(job_type, values), tuple(job_warnings(job)))


def with_whole_paths(
    job_type: type[Job], values: Mapping[str, object], base: Path
) -> dict[str, object]:
    """Return the values with every path made whole."""
    whole = dict(values)
    for name, spec in specs_by_name(job_type).items():
        value = whole.get(name)
        if spec.path is not None and isinstance(value, str) and value.strip():
            whole[name] = whole_path(value, base)
    return whole


def whole_path(text: str, base: Path) -> str:
    """Return a path that holds wherever the job works; a relative one is meant from `base`."""
    try:
        path = Path(text.strip().strip("\"'")).expanduser()
    except RuntimeError:
        return text  # "~somebody" who is not known: told as a path that is not there
    return str(path if path.is_absolute() else base / path)


def run_name(job_type: type[Job], values: Mapping[str, object]) -> str:
    """Return what a run is called: the name of its result, else of the folder of pictures."""
    name = values.get("output_name") or ""
    folder = values.get("train_data_dir") or ""
    return str(name) or Path(str(folder)).name or job_type.title
