"""Look at everything a job needs before any long work, and tell all that is wrong at once."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sd_scripts.dataset.class_pictures import ClassPictures, class_pictures
from sd_scripts.dataset.new_word import teach_word
from sd_scripts.dataset.plan import plan_dataset
from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.dataset.scan import Progress
from sd_scripts.dataset.steps import StepArithmetic, step_arithmetic
from sd_scripts.dataset.words import count
from sd_scripts.errors import Problem, UserError
from sd_scripts.families.detect import ModelInfo, ResolvedModel, inspect_model, resolve_model
from sd_scripts.families.noise_options import resolve_noise
from sd_scripts.files import nearest_folder
from sd_scripts.options.groups.full import FullDataOptions
from sd_scripts.options.groups.validation import ValidationOptions
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.options.values import job_warnings
from sd_scripts.train.prompts import PreviewPrompt, read_prompts, resolved
from sd_scripts.train.state_facts import find_state, read_facts
from sd_scripts.weights.model_spec import thumbnail_url

RESERVE_BYTES: Final = 200 * 2**20
"""What is left free on a disk: logs, events and previews need room as well."""


@dataclass(frozen=True)
class Preflight:
    """What was found out about a job. `model` is None if the model cannot be trained on."""

    info: ModelInfo | None
    model: ResolvedModel | None
    plan: DatasetPlan
    arithmetic: StepArithmetic
    prompts: tuple[PreviewPrompt, ...]
    problems: tuple[Problem, ...]
    class_pictures: ClassPictures | None = None


def look_ahead(
    job: TrainingJob,
    output: Path | None,
    *,
    num_processes: int = 1,
    sharded: bool = False,
    progress: Progress,
) -> Preflight:
    """Check files, model, pictures, captions, prompts and folders of a job; torch-free.

    `output` is where trained files go (None: not known yet), `sharded` whether the processes
    share out the weights. Nothing is written and no user
    mistake raises: each is one of the problems.
    """
    problems = list(job_warnings(job))
    info, model = _model(job, problems)
    painted = _class_pictures(job, model)
    data = job.data
    if painted is not None:
        data = data.model_copy(update={"class_data_dir": str(painted.folder)})
    plan = plan_dataset(
        data,
        job.caption,
        seeded_validation(job),
        family=model.family if model else None,
        prediction_type=model.prediction_type if model else None,
        progress=progress,
    )
    if job.new_word is not None:
        plan = teach_word(plan, job.new_word)
    problems += plan.problems
    arithmetic = step_arithmetic(
        plan,
        max_train_steps=job.training.max_train_steps,
        max_train_epochs=job.training.max_train_epochs,
        gradient_accumulation_steps=job.training.gradient_accumulation_steps,
        num_processes=num_processes,
    )
    prompts = _prompts(job, plan, problems)
    problems += _file_problems(job)
    if job.saving.resume:
        problems += _state_problems(job, Path(job.saving.resume), num_processes, sharded)
    for option, folder in (
        ("logging_dir", job.logging.logging_dir),
        ("cache_dir", job.data.cache_dir),
    ):
        if folder is not None:
            problems += folder_problems(Path(folder), option)
    if output is not None:
        problems += folder_problems(output, "output_dir")
    return Preflight(info, model, plan, arithmetic, prompts, tuple(problems), painted)


def _class_pictures(job: TrainingJob, model: ResolvedModel | None) -> ClassPictures | None:
    """Return which pictures of the class the model has to paint, if any are asked for."""
    if model is None or not isinstance(job.data, FullDataOptions):
        return None
    path = Path(job.model.pretrained_model_name_or_path).expanduser()
    return class_pictures(job.data, path, model.family, model.prediction_type)


def seeded_validation(job: TrainingJob) -> ValidationOptions:
    """Return the job's validation options with a seed: the job's, unless they have their own."""
    options = job.validation
    if options.validation_seed is not None:
        return options
    return options.model_copy(update={"validation_seed": job.training.seed})


def _model(
    job: TrainingJob, problems: list[Problem]
) -> tuple[ModelInfo | None, ResolvedModel | None]:
    try:
        info = inspect_model(job.model.pretrained_model_name_or_path)
    except UserError as error:  # what else is wrong is told beside it
        problems += error.problems
        return None, None
    model, told = resolve_model(info, job.model.v2, job.model.v_parameterization)
    problems += told
    if model is not None:
        model, told = resolve_noise(model, job.objective)
        problems += told
    if model is not None and model.family == "sdxl" and (job.model.clip_skip or 1) > 1:
        problems.append(
            Problem(
                "SDXL always reads the second last layer of its text encoders",
                "clip_skip",
                "clip_skip has no effect on this model; leave it empty.",
                "warning",
            )
        )
    return info, model


def preview_size(plan: DatasetPlan) -> tuple[int, int]:
    """Return the default (width, height) of previews: the training size, in steps of 8 pixels."""
    width, height = plan.datasets[0].settings.buckets.resolution if plan.datasets else (512, 512)
    return width // 8 * 8, height // 8 * 8


def _prompts(
    job: TrainingJob, plan: DatasetPlan, problems: list[Problem]
) -> tuple[PreviewPrompt, ...]:
    preview = job.preview
    if not preview.sample_prompts:
        return ()
    prompts, told = read_prompts(Path(preview.sample_prompts))
    problems += told
    size = preview_size(plan)
    return tuple(resolved(p, size=size, sampler=preview.sample_sampler) for p in prompts)


def _file_problems(job: TrainingJob) -> list[Problem]:
    given = {
        "vae": job.model.vae,
        **job.input_files,
    }
    problems = [
        Problem(f"There is nothing at {path}", option, "Check the path, or leave it empty.")
        for option, path in given.items()
        if path and not Path(path).exists()
    ]
    try:
        thumbnail_url(job.metadata.metadata_thumbnail)
    except UserError as error:
        problems += error.problems
    return problems


def _state_problems(
    job: TrainingJob, resume: Path, num_processes: int, sharded: bool
) -> list[Problem]:
    try:
        facts = read_facts(find_state(resume))
    except UserError as error:
        return list(error.problems)
    named = next(iter(job.input_files), "pretrained_model_name_or_path")
    problems = []
    if facts.num_processes != num_processes:
        problems.append(
            Problem(
                f"This state was saved by {count(facts.num_processes, 'process', 'processes')}, "
                f"and now there would be {num_processes}: a step would hold another number of "
                "pictures, and the steps so far could not be told in it",
                "resume",
                f"Start with num_processes {facts.num_processes}, or go on from the trained file "
                f"with {named} instead of resume.",
            )
        )
    if facts.sharded != sharded:
        saved, hint = (
            ("had shared out the weights", "Start with FSDP or DeepSpeed, as it was saved")
            if facts.sharded
            else ("each had whole weights", "Start without FSDP and DeepSpeed, as it was saved")
        )
        problems.append(
            Problem(
                f"This state was saved by processes that {saved}, and now it would be otherwise",
                "resume",
                f"{hint}, or go on from the trained file with {named} instead of resume.",
            )
        )
    wanted = job.optimizer.optimizer_type
    if facts.optimizer in ("", wanted):
        return problems
    return [
        *problems,
        Problem(
            f"This state holds what the optimizer {facts.optimizer} has gathered, which {wanted} "
            "cannot use",
            "resume, optimizer_type",
            f"Set optimizer_type to {facts.optimizer}, or go on from the trained file with "
            f"{named} instead of resume.",
        ),
    ]


def folder_problems(folder: Path, option: str) -> list[Problem]:
    """Tell whether files can be written to a folder that may not exist yet."""
    there = nearest_folder(folder)
    if not there.is_dir():
        return [Problem(f"{there} is a file, not a folder", option, "Choose a folder.")]
    if not os.access(there, os.W_OK | os.X_OK):
        hint = "Choose a folder you may write to, or change its permissions."
        return [Problem(f"{folder} cannot be written to", option, hint)]
    return []


def disk_problems(folder: Path, needed: int, option: str) -> list[Problem]:
    """Tell if a disk has less than `needed` bytes and a reserve left."""
    free = shutil.disk_usage(nearest_folder(folder)).free
    if free >= needed + RESERVE_BYTES:
        return []
    return [
        Problem(
            f"The disk of {folder} has {size_text(free)} free; about {size_text(needed)} are "
            f"needed, and {size_text(RESERVE_BYTES)} should stay free",
            option,
            "Free some space, choose another disk, or save less often.",
        )
    ]


def size_text(num_bytes: float) -> str:
    """Write an amount of bytes as people do: `5.2 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if num_bytes < 1000 or unit == "GB":
            break
        num_bytes /= 1000
    return f"{num_bytes:.0f} {unit}" if unit == "bytes" else f"{num_bytes:.1f} {unit}"
