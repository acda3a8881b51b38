"""Choose and put together the parts of a job: the only place that picks by option values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator

from sd_scripts.data.loader import BatchSource, LoaderSettings
from sd_scripts.data.long_work import Hooks
from sd_scripts.data.schedule import Sharing
from sd_scripts.errors import Problem, raise_if_errors
from sd_scripts.families.base import LoadedModel, LoadOptions, TextConditioning
from sd_scripts.families.registry import FAMILIES
from sd_scripts.methods.base import Method
from sd_scripts.objective.objective import Objective, build_objective
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.runs.events import StartEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.train.course import Bystander, Course
from sd_scripts.train.ema import Ema, learning_in
from sd_scripts.train.entry import output_folder
from sd_scripts.train.fitting import fit_to_machine
from sd_scripts.train.footprint import count_of, file_bytes, state_problems
from sd_scripts.train.inputs import (
    Caching,
    check_text_options,
    latent_cache,
    latents_of,
    scaling_of,
    text_cache,
    text_of,
)
from sd_scripts.train.lending import Lending, SharedSaver
from sd_scripts.train.measure import Measure
from sd_scripts.train.methods import make_method
from sd_scripts.train.optimizers import build_optimizer
from sd_scripts.train.precision import Precision, allow_half_gradients, precision_of
from sd_scripts.train.preflight import Preflight, disk_problems, seeded_validation
from sd_scripts.train.preview import Previewer, inference
from sd_scripts.train.preview_text import encode_prompt, too_long
from sd_scripts.train.resume import Recorder
from sd_scripts.train.saving import Saver
from sd_scripts.train.schedulers import build_scheduler
from sd_scripts.train.session import Session
from sd_scripts.train.states import Resumable
from sd_scripts.train.stepping import build_stepper
from sd_scripts.train.team import Team
from sd_scripts.train.trackers import NoTracker, build_tracker
from sd_scripts.train.validation import Validator, note_split, validation_timesteps

if TYPE_CHECKING:
    from sd_scripts.train.shards import Shards


@dataclass
class Foundation:
    """What is made once, even if the plan has to be made again."""

    accelerator: Accelerator
    precision: Precision
    model: LoadedModel
    method: Method
    reporter: Reporter
    requests: Requests
    team: Team

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the model runs."""
        if self.precision.frozen == torch.float32:
            return nullcontext()
        context: AbstractContextManager[Any] = self.accelerator.autocast()
        return context


def lay_foundation(
    job: TrainingJob,
    run: RunFolder,
    checked: Preflight,
    reporter: Reporter,
    requests: Requests,
    team: Team,
) -> Foundation:
    """Set up the device, load the model (its encoders only if needed) and attach the network.

    Raises `UserError` if model or network do not fit, or the disk is too full for what is saved.
    """
    accelerator = Accelerator(
        mixed_precision=job.performance.mixed_precision, step_scheduler_with_optimizer=False
    )
    # The loop gathers batches itself; a launcher's setting would divide the loss a second time.
    accelerator.gradient_accumulation_steps = 1
    if job.performance.full_fp16:
        allow_half_gradients(accelerator)
    precision = precision_of(job)
    reporter.phase("loading the model", 0, 1)
    assert checked.model is not None
    caches_text = job.data.cache_text_encoder_outputs
    options = LoadOptions(
        dtype=precision.unet,
        text_dtype=precision.text,
        vae_dtype=precision.vae,
        vae=job.model.vae,
        attention=job.performance.attention,
        device=accelerator.device,
        parts=frozenset() if caches_text else frozenset(["text_encoders"]),
        resolved=checked.model,
    )
    family = FAMILIES[checked.model.family]
    model = family.load(job.model.pretrained_model_name_or_path, options)
    check_text_options(job, model)
    method = make_method(job, model)
    for note in method.warnings:
        reporter.warn(note)
    for text in fit_to_machine(job, model, accelerator.device):
        reporter.say(text)
    raise_if_errors(state_problems(job, method))
    if team.leads:
        needed = file_bytes(job, checked.arithmetic, count_of(method, job, checked))
        raise_if_errors(disk_problems(output_folder(job, run), needed, "output_dir"))
    team.start_alike(list(method.trainable_modules.parameters()))
    reporter.phase("loading the model", 1, 1)
    return Foundation(accelerator, precision, model, method, reporter, requests, team)


def build(job: TrainingJob, run: RunFolder, checked: Preflight, foundation: Foundation) -> Session:
    """Put a session together, encode what is to be cached, and resume if that is asked for."""
    accelerator, model = foundation.accelerator, foundation.model
    reporter, requests, team = foundation.reporter, foundation.requests, foundation.team
    hooks = Hooks(reporter.phase, requests.stop)
    # What lies on the disk is encoded once for all processes of a machine.
    caching = Caching(job, model, foundation.precision, reporter, hooks, in_memory=team.size == 1)
    latents = team.leader_first(lambda: latent_cache(caching, checked.plan))
    text = team.leader_first(lambda: text_cache(caching, checked.plan))
    settings = _loader_settings(job, checked, team)
    scaling = scaling_of(model)
    source = BatchSource(checked.plan, settings, scaling=scaling, latents=latents, text=text)
    validator = _validator(job, run, checked, foundation, source)
    torch.manual_seed(settings.seed)
    method = foundation.method
    shards = _share_out(method, team)
    groups = method.parameter_groups()
    optimizer = build_optimizer(job, groups if shards is None else shards.groups(groups))
    scheduler = build_scheduler(job, optimizer, checked.arithmetic.total_steps)
    prepared = accelerator.prepare_optimizer(optimizer)
    stepper = build_stepper(job, optimizer, prepared)
    learning = shards.learning() if shards is not None else learning_in(method.trainable_modules)
    ema = Ema.of(job, learning, in_place=shards is not None)
    weights = shards if shards is not None else method.trainable_modules
    resumable = Resumable(weights, optimizer, scheduler, accelerator.scaler, ema)
    lending = _lending(team, shards, resumable)
    recorder = Recorder(job, checked, model, method, resumable, foundation.precision.saved)
    for note in _resume(job, recorder):
        reporter.warn(note)
    method.begin_at(recorder.position.step)
    _switch_to_training(job, model, method)
    course = Course(team, requests, shards)
    has_prompts = team.share(bool(checked.prompts))
    with course.leader_computes() if has_prompts else nullcontext():
        previewer = _previewer(job, run, checked, foundation, method) if team.leads else None
    _release(job, model, source, previewer, text_cached=text is not None)
    return Session(
        job=job,
        accelerator=accelerator,
        model=model,
        method=method,
        objective=_objective(job, model),
        source=source,
        optimizer=prepared,
        stepper=stepper,
        ema=ema,
        scheduler=scheduler,
        arithmetic=checked.arithmetic,
        latents=latents_of(model, job.data.vae_batch_size),
        text=text_of(job, model, learns=method.trains_text_encoder),
        autocast=foundation.autocast,
        dtype=foundation.precision.frozen,
        saver=_saver(job, run, checked, foundation, (recorder, lending)),
        has_prompts=has_prompts,
        previewer=previewer,
        validator=validator,
        reporter=reporter,
        requests=requests,
        team=team,
        course=course,
        tracker=build_tracker(job, reporter.warn, checked.arithmetic.steps_per_epoch)
        if team.leads
        else NoTracker(),
        start=_start(job, run, checked, foundation, recorder),
        recorder=recorder,
    )


def _loader_settings(job: TrainingJob, checked: Preflight, team: Team) -> LoaderSettings:
    assert job.training.seed is not None, "the entry draws a seed"
    return LoaderSettings.of(
        job.data,
        seed=job.training.seed,
        total_steps=checked.arithmetic.total_steps,
        accumulation=job.training.gradient_accumulation_steps,
        sharing=Sharing(team.seat.rank, team.size),
    )


def _share_out(method: Method, team: Team) -> Shards | None:
    """Cut what learns into pieces, where the launcher was told so."""
    if not team.sharding.on:
        return None
    from sd_scripts.train.shards import Shards  # takes long to import

    parts = method.trainable_modules
    assert isinstance(parts, torch.nn.ModuleDict), "only whole models are shared out"
    return Shards(parts, team)


def _lending(team: Team, shards: Shards | None, parts: Resumable) -> Lending | None:
    if shards is None:
        return None
    parts.piece = team.seat.rank
    return Lending(team, shards, parts)


def _saver(
    job: TrainingJob,
    run: RunFolder,
    checked: Preflight,
    foundation: Foundation,
    writing: tuple[Recorder, Lending | None],
) -> Saver | SharedSaver | Bystander:
    """Make what saves in the leader, and what stands for it in the other processes."""
    recorder, lending = writing
    if not foundation.team.leads:
        return Bystander() if lending is None else SharedSaver(lending, None)
    saver = Saver(
        job,
        num_epochs=checked.arithmetic.num_epochs,
        folders=(output_folder(job, run), run.state, run.output),
        write=(recorder.write_weights, recorder.write_state),
        is_ours=recorder.is_ours,
        reporter=foundation.reporter,
    )
    return saver if lending is None else SharedSaver(lending, saver)


def _start(
    job: TrainingJob,
    run: RunFolder,
    checked: Preflight,
    foundation: Foundation,
    recorder: Recorder,
) -> StartEvent:
    return StartEvent(
        total_steps=checked.arithmetic.total_steps,
        num_epochs=checked.arithmetic.num_epochs,
        num_images=checked.plan.num_train_images,
        family=foundation.model.family.name,
        trainable_parameters=foundation.method.num_parameters,
        name=job.result_name or "last",
        resumed_step=recorder.position.step,
        output_dir=str(output_folder(job, run)),
    )


def _objective(job: TrainingJob, model: LoadedModel) -> Objective:
    return build_objective(job.objective, model.family.noise_schedule(model), model.prediction_type)


def measure_of(foundation: Foundation, job: TrainingJob) -> Measure:
    """Return what measures the loss of single pictures with the model as it is."""
    model = foundation.model
    return Measure(
        model,
        _objective(job, model),
        latents_of(model, job.data.vae_batch_size),
        text_of(job, model, learns=False),
        foundation.autocast,
        foundation.precision.frozen,
        foundation.accelerator.device,
        foundation.method.trainable_modules,
    )


def _validator(
    job: TrainingJob,
    run: RunFolder,
    checked: Preflight,
    foundation: Foundation,
    source: BatchSource,
) -> Validator | None:
    """Make what measures the held-out pictures, and write down which ones they are."""
    if not checked.plan.validation:
        return None
    team = foundation.team
    if team.leads:
        note_split(job, checked.plan, run)
    seed = seeded_validation(job).validation_seed
    assert seed is not None, "the entry draws a seed"
    batches = source.of_plan(checked.plan.for_validation(), seed)
    measure = measure_of(foundation, job)
    return Validator(job.validation, batches, measure, validation_timesteps(job), team)


def _resume(job: TrainingJob, recorder: Recorder) -> list[Problem]:
    return recorder.resume(Path(job.saving.resume)) if job.saving.resume else []


def _switch_to_training(job: TrainingJob, model: LoadedModel, method: Method) -> None:
    method.set_training()
    if job.performance.gradient_checkpointing:
        model.family.enable_gradient_checkpointing(model, text_encoders=method.trains_text_encoder)
        for module in (model.unet, *model.text_encoders):
            module.train()


def _previewer(
    job: TrainingJob,
    run: RunFolder,
    checked: Preflight,
    foundation: Foundation,
    method: Method,
) -> Previewer | None:
    """Make what paints previews; texts of a text encoder that does not learn are encoded once."""
    if not checked.prompts:
        return None
    model = foundation.model
    model.family.load_missing(model, ["vae", "text_encoders"])

    @contextmanager
    def without_dropout() -> Iterator[None]:
        with foundation.autocast(), inference(method.trainable_modules):
            yield

    def encode(texts: list[str]) -> TextConditioning:
        with torch.no_grad(), inference(method.trainable_modules):
            return encode_prompt(model, texts, job.model.clip_skip)

    for note in too_long(model, checked.prompts):
        foundation.reporter.warn(note)
    known: dict[tuple[str, ...], TextConditioning] = {}
    if not method.trains_text_encoder:
        for prompt in checked.prompts:
            key = prompt.texts
            known.setdefault(key, encode(list(key)))
    return Previewer(
        model,
        checked.prompts,
        lambda texts: known.get(tuple(texts)) or encode(texts),
        folder=Path(run.samples),
        output_name=job.result_name or "",
        context=without_dropout,
    )


def _release(
    job: TrainingJob,
    model: LoadedModel,
    source: BatchSource,
    previewer: Previewer | None,
    *,
    text_cached: bool,
) -> None:
    """Let go of encoders that are not needed while training."""
    if not source.needs_pixels and previewer is None:
        model.family.release(model, ["vae"])
    elif source.needs_pixels:
        model.family.load_missing(model, ["vae"])
    if text_cached:
        model.family.release(model, ["text_encoders"])
