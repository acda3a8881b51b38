"""Latent files of sd-scripts in real (tiny) jobs: written once, then nothing is encoded anew."""

from __future__ import annotations

from pathlib import Path

from sd_scripts.runs.events import PhaseEvent
from tests.support.jobs import TinyJob, draw_pictures
from tests.support.tiny_models import make_tiny_checkpoint


def test_files_that_were_written_take_the_place_of_encoding(tmp_path: Path) -> None:
    draw_pictures(tmp_path / "pictures", count=2)
    model = make_tiny_checkpoint("sd1", tmp_path / "model.safetensors")
    job = TinyJob(tmp_path, model, {"max_train_epochs": 1})
    assert job.run("write", kohya_caches="write") == 0
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
