"""Cutting a DyLoRA file as a job: every rank becomes a LoRA file of its own, named by its rank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sd_scripts.errors import EXIT_OK, Problem, UserError
from sd_scripts.options.jobs import SliceDyloraJob
from sd_scripts.runs.events import StartEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.script import Ending, Place, Script, run_command, tell

_PHASE: Final = "cutting ranks"
_NOT_DYLORA: Final = Problem(
    "The file does not say that it is a DyLoRA",
    "model",
    "Cuts of another LoRA hold a part of what it learned, by chance.",
    severity="warning",
)


def run_slicing(argv: Sequence[str]) -> int:
    """Be the script; returns its exit code."""
    return run_command(
        Script(
            name=SliceDyloraJob.name,
            job_type=SliceDyloraJob,
            work=_slice,
            check=_check_only,
            place=lambda job: Place(None, f"slices of {Path(job.slicing.model).stem}"),
            memory_full=Problem("The memory is full", "model", "Close other programs first."),
            disk_full=Problem("The disk is full", "save_to", "Free some space, then start again."),
        ),
        argv,
    )


def _slice(
    job: SliceDyloraJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Ending, str]:
    """Write a file at every multiple of the unit. Raises `UserError` for what cannot be cut."""
    from sd_scripts.weights.files import load_tensors, save_tensors
    from sd_scripts.weights.hashes import tensor_hashes
    from sd_scripts.weights.lora_slices import growth_of, rank_of, slice_lora

    model, metadata = _model(job)
    tensors = load_tensors(model, "model")
    targets = _targets(job, rank_of(tensors), run.output)
    if "dylora" not in "".join(metadata.values()).lower():
        reporter.warn(_NOT_DYLORA)
    reporter.start(
        StartEvent(
            total_steps=0,
            num_epochs=0,
            num_images=0,
            family="",
            trainable_parameters=0,
            name=run.id,
        )
    )
    for done, (rank, path) in enumerate(targets.items()):
        requests.wait_while_paused()
        if requests.stop():
            return "stopped", f"Stopped on request; {done} of {len(targets)} files were written"
        reporter.phase(_PHASE, done, len(targets))
        cut = slice_lora(tensors, rank, growth_of(metadata))
        told = {**metadata, "ss_network_dim": str(rank)}
        hashes = tensor_hashes(cut, told)
        told |= {"sshs_model_hash": hashes.model, "sshs_legacy_hash": hashes.legacy}
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(cut, path, told)
        reporter.say(str(path))
    reporter.phase(_PHASE, len(targets), len(targets))
    return "finished", f"{len(targets)} files are in {path.parent}"


def _model(job: SliceDyloraJob) -> tuple[Path, dict[str, str]]:
    """Return the file and its metadata. Raises `UserError` if it cannot be read."""
    from sd_scripts.weights.files import read_metadata
    from sd_scripts.weights.headers import read_header

    model = Path(job.slicing.model).expanduser()
    read_header(model, "model")
    return model, read_metadata(model)


def _targets(job: SliceDyloraJob, whole: int, folder: Path) -> dict[int, Path]:
    """Return the file of each rank up to `whole`. Raises `UserError`: nothing is overwritten."""
    wanted = job.slicing
    if whole % wanted.unit:
        raise UserError(
            f"The rank {whole} is no multiple of unit {wanted.unit}",
            option="unit",
            hint="Give the unit it was trained with.",
        )
    save_to = folder / f"{Path(wanted.model).stem}.safetensors"
    if wanted.save_to is not None:
        save_to = Path(wanted.save_to).expanduser().absolute()
    found = {
        rank: save_to.with_name(f"{save_to.stem}-{rank:04d}{save_to.suffix}")
        for rank in range(wanted.unit, whole + 1, wanted.unit)
    }
    if there := [path.name for path in found.values() if path.exists()]:
        raise UserError(
            f"{save_to.parent} holds {there[0]} already",
            option="save_to",
            hint="Choose another name or folder; nothing is overwritten.",
        )
    return found


def _check_only(job: SliceDyloraJob, notes: Sequence[Problem]) -> int:
    from sd_scripts.weights.files import load_tensors
    from sd_scripts.weights.lora_slices import rank_of

    tell(notes)
    model, _ = _model(job)
    for path in _targets(job, rank_of(load_tensors(model, "model")), Path("output")).values():
        print(path)
    return EXIT_OK
