"""Masks and schedules of noise in whole runs: what is learned, and what the file says of it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sd_scripts.runs.events import WarningEvent
from sd_scripts.weights.files import read_metadata
from tests.support.jobs import TinyJob


def write_masks(job: TinyJob, width: int) -> Path:
    """Masks that are white in the first `width` of 96 columns."""
    folder = job.place / f"masks {width}"
    folder.mkdir()
    for picture in (job.place / "pictures").rglob("*.png"):
        mask = Image.new("L", (96, 80))
        mask.paste(255, (0, 0, width, 80))
        mask.save(folder / picture.name)
    return folder


def test_white_masks_change_nothing_and_half_ones_do(job: TinyJob) -> None:
    job.options |= {"flip_aug": True, "max_train_epochs": 1, "train_batch_size": 4}
    assert job.run("plain") == 0
    masked = {"masked_loss": True, "conditioning_data_dir": str(write_masks(job, 96))}
    assert job.run("white", **masked) == 0
    assert job.losses("white") == job.losses("plain")
    masked["conditioning_data_dir"] = str(write_masks(job, 48))
    assert job.run("half", cache_latents_to_disk=True, **masked) == 0
    assert job.losses("half") != job.losses("plain")
    assert job.run("pixels", cache_latents=False, **masked) == 0
    assert job.losses("pixels") == job.losses("half")
    assert job.run("picture", masked_loss_mean="picture", **masked) == 0
    first = next(iter(job.losses("half")))
    assert job.losses("picture")[first] < 0.8 * job.losses("half")[first]


def test_masks_that_are_missing_end_the_run_before_it_begins(job: TinyJob) -> None:
    folder = write_masks(job, 48)
    (folder / "picture 2.png").unlink()
    assert job.run(masked_loss=True, conditioning_data_dir=str(folder)) == 2
    assert "picture 2.png" in str(job.end().reason)


def test_zero_terminal_snr_by_option_is_told_and_noted(job: TinyJob) -> None:
    job.options |= {"max_train_steps": 1, "max_train_epochs": None}
    asked = {"zero_terminal_snr": True, "v_parameterization": True, "min_snr_gamma": 5}
    prompts = job.place / "prompts.txt"
    prompts.write_text("a cat --s 2 --w 64 --h 64 --d 1")
    assert job.run(**asked, sample_prompts=str(prompts), sample_every_n_steps=1) == 0
    warnings = [event for event in job.events() if isinstance(event, WarningEvent)]
    assert any("zero terminal SNR" in event.text for event in warnings)
    noted = read_metadata(job.place / "output" / "cat.safetensors")
    assert noted["ss_zero_terminal_snr"] == "True"
    assert noted["modelspec.prediction_type"] == "v"
    assert len(list((job.place / "run" / "samples").glob("*.png"))) == 1
