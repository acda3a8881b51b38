"""Failures: their kind, the log's last words, and remedies that fit the job they are for."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from kohya_gui.jobs.memory_ladder import RUNGS, next_rung
from kohya_gui.jobs.remedies import Diagnosis, diagnose, remedy_of
from kohya_gui.jobs.store import RunStore
from kohya_gui.workspace import Workspace
from sd_scripts.errors import Problem, UserError
from sd_scripts.options.jobs import JOBS, Job
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.options.values import job_from_values, replace_values, values_of
from sd_scripts.runs.events import EndEvent, EventWriter, StartEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import RunRecord, write_record

NEEDED = {"pretrained_model_name_or_path": "/models/m.safetensors", "train_data_dir": "/pictures"}
START = StartEvent(total_steps=9, num_epochs=1, num_images=9, family="sd1", trainable_parameters=5)


def failed(
    workspace: Workspace,
    end: EndEvent | None,
    log: str = "",
    job: str = "train_network",
    **v: object,
) -> Diagnosis:
    """Look at a run that ended so, with a job of these values."""
    run = RunFolder.create(
        workspace.runs, "bad", job_to_toml(job_from_values(JOBS[job], {**NEEDED, **v}))
    )
    record = RunRecord(format=2, name="bad", job=job, pid=4_000_000, create_time=1.0, started=1.0)
    write_record(run, record)
    run.log.write_text(log, "utf-8")
    with EventWriter(run.events) as events:
        events.emit(START)
        if end is not None:
            events.emit(end)
    summary = RunStore(workspace).summary(run.id)
    assert summary is not None
    found = diagnose(summary)
    assert found is not None
    for remedy in found.remedies:
        assert remedy_of(summary, remedy.name) == remedy
        assert set(remedy.changes) <= set(found.before)
    return found


def names(found: Diagnosis) -> list[str]:
    return [remedy.name for remedy in found.remedies]


def test_a_run_that_did_not_fail_has_no_diagnosis(workspace: Workspace) -> None:
    run = RunFolder.create(workspace.runs, "good", "")
    write_record(run, RunRecord(name="good", job="train_network", pid=4_000_000, create_time=1.0))
    with EventWriter(run.events) as events:
        events.emit(EndEvent(status="finished"))
    summary = RunStore(workspace).summary(run.id)
    assert summary is not None
    assert diagnose(summary) is None
    with pytest.raises(UserError, match="does not fit"):
        remedy_of(summary, "rate")


@pytest.mark.parametrize(
    "end",
    [
        EndEvent(status="failed", reason="OutOfMemoryError: CUDA out of memory. Tried to allocate"),
        EndEvent(
            status="failed",
            reason="The memory is full",
            problems=(Problem("The memory is full", "train_batch_size, resolution", "Try"),),
        ),
    ],
)
def test_out_of_memory_takes_the_next_rung(workspace: Workspace, end: EndEvent) -> None:
    found = failed(workspace, end)
    assert found.kind == "gpu_memory"
    first = found.remedies[0]
    assert (first.kind, first.changes) == ("draft", {"cache_latents": True})
    assert found.before["cache_latents"] is False
    later = failed(workspace, end, cache_latents=True, gradient_checkpointing=True)
    assert later.remedies[0].changes == {"mixed_precision": "bf16"}


@pytest.mark.parametrize(
    ("values", "name", "goes_on"),
    [
        ({}, "memory-cache_latents", "kept"),
        ({"cache_latents": True}, "memory-gradient_checkpointing", "same"),
        (
            {"cache_latents": True, "gradient_checkpointing": True, "mixed_precision": "bf16"},
            "memory-optimizer",
            "anew",
        ),
    ],
)
def test_a_state_is_gone_on_from_where_it_fits(
    workspace: Workspace, tmp_path: Path, values: dict[str, object], name: str, goes_on: str
) -> None:
    end = EndEvent(status="failed", reason="CUDA out of memory")
    assert failed(workspace, end, **values).remedies[0].goes_on == "no_state"
    # The run had saved nothing itself, but was gone on with from a state.
    resumed = failed(workspace, end, resume=str(tmp_path), **values).remedies[0]
    assert (resumed.name, resumed.goes_on) == (name, goes_on)
    assert resumed.state == (None if goes_on == "anew" else tmp_path)


def test_a_crash_that_only_its_log_tells_of(workspace: Workspace) -> None:
    log = "step 3\rstep 4\nTraceback (most recent call last):\n  x\nMemoryError: no room\n"
    found = failed(workspace, None, log, max_data_loader_n_workers=4)
    assert found.kind == "memory"
    assert names(found)[0] == "workers"
    assert found.log[-1] == "MemoryError: no room"
    assert found.log[0] == "step 4"


def test_a_process_that_was_killed_may_have_run_out_of_memory(workspace: Workspace) -> None:
    found = failed(workspace, None, "step 7\n")
    assert found.kind == "killed"
    assert names(found) == ["memory-cache_latents"]


def test_a_loss_that_is_no_number(workspace: Workspace) -> None:
    told = "The loss is not a number any more (step 9): "
    vae = Problem(f"{told}the encoded picture is already broken (a)", "no_half_vae", "set it")
    end = EndEvent(status="failed", reason=vae.message, problems=(vae,))
    found = failed(workspace, end, mixed_precision="fp16", learning_rate=1e-3)
    assert found.kind == "nan"
    assert names(found) == ["full_vae", "precision", "rate", "field-no_half_vae"]
    rate = Problem(f"{told}the trained weights are broken", "learning_rate", "lower it")
    end = EndEvent(status="failed", reason=rate.message, problems=(rate,))
    found = failed(workspace, end, learning_rate=1e-3, unet_lr=2e-3, text_encoder_lr=[1e-4])
    assert found.remedies[0].changes == {
        "learning_rate": 1e-4,
        "unet_lr": 2e-4,
        "text_encoder_lr": (1e-5,),
    }


def test_number_formats_that_do_not_fit(workspace: Workspace) -> None:
    end = EndEvent(
        status="failed", reason="RuntimeError: expected scalar type Half but found Float"
    )
    found = failed(workspace, end, mixed_precision="fp16", full_fp16=True)
    assert found.kind == "dtype"
    assert found.remedies[0].changes == {"mixed_precision": "bf16", "full_fp16": False}


def test_broken_pictures_are_found_by_the_words_and_no_others(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures" / "2_cat"
    folder.mkdir(parents=True)
    for name in ("1.png", "11.png", "good.png"):
        Image.new("RGB", (8, 8)).save(folder / name)
    problem = Problem(f"1 picture in {folder} can't be used: 1.png is cut short", "bad_images", "x")
    end = EndEvent(status="failed", reason=problem.message, problems=(problem,))
    found = failed(workspace, end, train_data_dir=str(folder.parent), bad_images="error")
    pictures = found.remedies[0]
    assert (pictures.kind, pictures.pictures) == ("pictures", (folder / "1.png",))
    assert found.remedies[1].changes == {"bad_images": "skip"}


def test_a_full_disk_says_how_much_is_free(workspace: Workspace) -> None:
    problem = Problem("The disk is full (/out/a)", "output_dir", "Free some space")
    found = failed(workspace, EndEvent(status="failed", reason="x", problems=(problem,)))
    assert found.kind == "disk_full"
    assert found.free_bytes is not None
    assert names(found) == ["sizes", "field-output_dir"]


def test_a_missing_file_leads_to_the_field_that_names_it(workspace: Workspace) -> None:
    reason = "FileNotFoundError: [Errno 2] No such file or directory: '/models/gone.safetensors'"
    end = EndEvent(status="failed", reason=reason)
    found = failed(workspace, end, pretrained_model_name_or_path="/models/gone.safetensors")
    assert found.remedies[-1].option == "pretrained_model_name_or_path"


def test_a_driver_that_does_not_fit_needs_the_doctor(workspace: Workspace) -> None:
    reason = "RuntimeError: The NVIDIA driver on your system is too old (found version 1)."
    found = failed(workspace, EndEvent(status="failed", reason=reason))
    assert (found.kind, names(found)) == ("driver", ["doctor"])


def test_a_job_nobody_knows_has_no_remedies(workspace: Workspace) -> None:
    run = RunFolder.create(workspace.runs, "odd", "= no toml")
    write_record(run, RunRecord(name="odd", job="odd", pid=4_000_000, create_time=1.0))
    with EventWriter(run.events) as events:
        events.emit(EndEvent(status="failed", reason="CUDA out of memory"))
    summary = RunStore(workspace).summary(run.id)
    assert summary is not None
    found = diagnose(summary)
    assert found is not None
    assert found.remedies == ()


@pytest.mark.parametrize("name", ["train_network", "train_db", "train_textual_inversion"])
def test_the_ladder_ends_and_each_rung_fits_the_job(name: str) -> None:
    values: dict[str, object] = {**NEEDED, "train_batch_size": 4, "resolution": "512,512"}
    if name == "train_textual_inversion":
        values |= {"token_string": "x", "output_name": "x"}
    job: Job = job_from_values(JOBS[name], values)
    taken = []
    while (rung := next_rung(job)) is not None:
        taken.append(rung[0])
        job = replace_values(job, rung[1])
        assert len(taken) < 30
    assert taken[:3] == ["cache_latents", "gradient_checkpointing", "mixed_precision"]
    assert taken.count("batch") == 2
    assert {*taken} <= {one.name for one in RUNGS}
    left = values_of(job)
    assert left["train_batch_size"] == 1
    assert left["gradient_accumulation_steps"] == 4
