"""Latent files of sd-scripts in real (tiny) jobs: written once, then nothing is encoded anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from sd_scripts.runs.events import PhaseEvent
from tests.support.jobs import TinyJob, draw_pictures, equal
from tests.support.tiny_models import make_tiny_checkpoint


def test_files_that_were_written_take_the_place_of_encoding(tmp_path: Path) -> None:
    draw_pictures(tmp_path / "pictures", count=2)
    model = make_tiny_checkpoint("sd1", tmp_path / "model.safetensors")
    job = TinyJob(tmp_path, model, {"max_train_epochs": 1, "train_batch_size": 1})
    state = {"save_every_n_steps": 1, "save_state": True}
    assert job.run("write", kohya_caches="write", output_name="write", **state) == 0
    assert len(list((tmp_path / "pictures").glob("*_0096x0080_sd.npz"))) == 2
    elsewhere = {"cache_dir": str(tmp_path / "other")}
    assert job.run("read", **elsewhere) == 0
    assert job.run("off", **elsewhere, kohya_caches="off") == 0
    phases = {
        name: {event.name for event in job.events(name) if isinstance(event, PhaseEvent)}
        for name in ("read", "off")
    }
    assert "Encoding pictures" not in phases["read"]
    assert "Encoding pictures" in phases["off"]
    assert job.losses("read") == job.losses("write") != job.losses("off")
    resumed = job.place / "write" / "state" / "write-step00000001-state"
    assert job.run("resumed", kohya_caches="write", resume=str(resumed)) == 0
    assert equal(job.tensors(), job.tensors("write"))


def test_captions_of_sdxl_likewise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Read where they were written; the LoRA is then the same, bit for bit."""
    draw_pictures(tmp_path / "pictures", count=2)
    model = make_tiny_checkpoint("sdxl", tmp_path / "model.safetensors")
    options = {
        "max_train_steps": 1,
        "max_train_epochs": None,
        "cache_text_encoder_outputs": True,
        "network_train_unet_only": True,
    }
    job = TinyJob(tmp_path, model, options)
    assert job.run("write", kohya_caches="write") == 0
    files = sorted((tmp_path / "pictures").glob("*_te_outputs.npz"))
    assert [file.name for file in files] == [f"picture {n}_te_outputs.npz" for n in range(2)]
    times = [file.stat().st_mtime_ns for file in files]
    written = job.tensors()
    for latents in (tmp_path / "pictures").glob("*_sdxl.npz"):
        latents.unlink()  # one sample of many; the captions are to be the only difference
    again = {"cache_dir": str(tmp_path / "other"), "kohya_caches": "write"}
    assert job.run("read", **again) == 0
    assert [file.stat().st_mtime_ns for file in files] == times
    assert "2 captions from files of sd-scripts" in capsys.readouterr().out
    assert equal(job.tensors(), written)
