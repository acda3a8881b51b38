"""Jobs given as TOML, by a program or on a command line: checked whole, then ready to start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kohya_gui.jobs.launch import JOB_MODULES, JobRequest
from kohya_gui.jobs.processes import Processes
from kohya_gui.jobs.sweeps import tag_of, take_lists, told_together, variants
from kohya_gui.jobs.told import problems_told
from kohya_gui.settings import Settings
from sd_scripts.errors import Problem, UserError, errors_among
from sd_scripts.options.jobs import JOBS, Job, TrainingJob
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.toml_file import job_to_toml, read_toml
from sd_scripts.options.values import check_values, job_from_values, job_warnings

MAX_TOML_BYTES: Final = 1_000_000
"""No job comes near this size; what is larger is not read."""


@dataclass(frozen=True)
class Given:
    """A job as it was handed in, free of errors. `warnings` are worth knowing and stop nothing."""

    job: Job
    name: str
    warnings: tuple[Problem, ...]
    tags: tuple[str, ...] = ()

    def request(
        self, processes: Processes, *, allow_hub: bool, device: str = "default"
    ) -> JobRequest:
        """Return what the queue takes. Only trainings are shared out among processes."""
        trains = isinstance(self.job, TrainingJob)
        return JobRequest(
            job_name=self.job.name,
            config_toml=job_to_toml(self.job),
            name=self.name,
            device=device,
            processes=processes if trains else Processes(),
            allow_hub=allow_hub,
            tags=self.tags,
        )


def job_names() -> tuple[str, ...]:
    """Return the jobs that can be handed in."""
    return tuple(name for name in JOBS if name in JOB_MODULES)


def given_jobs(job_name: str, text: str, base: Path, name: str = "") -> tuple[Given, ...]:
    """Read a job's TOML; relative paths in it are meant from `base`.

    A list where an option of a training has one value makes several jobs, with a tag in common.
    `name` is what the run is called; without it, what the job itself says. Raises `UserError` with
    every problem of every job.
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
    values, axes = take_lists(job_type, read_toml(text, "the TOML"))
    name = name or run_name(job_type, values)
    if not axes:
        job = job_from_values(job_type, with_whole_paths(job_type, values, base))
        return (Given(job, name, tuple(job_warnings(job))),)
    wanted = {
        one.name: with_whole_paths(job_type, {**values, **one.changes}, base)
        for one in variants(name, axes)
    }
    found = {one: errors_among(check_values(job_type, wanted[one])) for one in wanted}
    if problems := told_together(found):
        raise UserError.of(problems)
    jobs = {one: job_from_values(job_type, wanted[one]) for one in wanted}
    tags = (tag_of(name),)
    return tuple(Given(job, one, tuple(job_warnings(job)), tags) for one, job in jobs.items())


def requests_of(jobs: Sequence[Given], settings: Settings, device: str) -> list[JobRequest]:
    """Return what the queue takes of jobs that share a device (see `Lanes.device`)."""
    return [
        job.request(settings.processes, allow_hub=settings.allow_hub, device=device) for job in jobs
    ]


def several_told(jobs: Sequence[Given], ids: Sequence[str] = ()) -> dict[str, Any]:
    """Return several jobs as programs are told of them, with their ids in the queue if they wait;
    a warning that all of them have is told once."""
    warnings = told_together({job.name: job.warnings for job in jobs})
    runs: list[dict[str, str]] = [{"name": job.name} for job in jobs]
    for run, job_id in zip(runs, ids, strict=False):
        run["id"] = job_id
    return {"runs": runs, "tag": jobs[0].tags[0], "problems": problems_told(warnings)}


def with_whole_paths(
    job_type: type[Job], values: Mapping[str, object], base: Path
) -> dict[str, object]:
    """Return the values with every path made whole."""
    whole = dict(values)
    for name, spec in specs_by_name(job_type).items():
        value = whole.get(name)
        if spec.path is None:
            continue
        if isinstance(value, list):
            whole[name] = [_whole(one, base) for one in value]
        elif name in whole:
            whole[name] = _whole(value, base)
    return whole


def _whole(value: object, base: Path) -> object:
    """Return a path made whole; what is no path is told elsewhere."""
    return whole_path(value, base) if isinstance(value, str) and value.strip() else value


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
