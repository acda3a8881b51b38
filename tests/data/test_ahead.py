"""Looking through pictures in a process of its own: what it leaves, and that it may fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sd_scripts.data import ahead, check
from sd_scripts.data.ahead import look_through, looking_through
from sd_scripts.data.check import check_pictures, content_hashes
from sd_scripts.data.long_work import EncodeSettings, Hooks
from sd_scripts.dataset import index as index_module
from sd_scripts.dataset.index import PictureIndex
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.values import job_from_values
from tests.data.helpers import make_folder
from tests.data.test_latent_cache import break_inside


def make_job(root: Path, *, cached: bool) -> TrainNetworkJob:
    make_folder(root / "train" / "1_größe", [(96, 64)] * 5)
    values = {
        "pretrained_model_name_or_path": "none.safetensors",
        "train_data_dir": str(root / "train"),
        "cache_dir": str(root / "cache"),
        "cache_latents": cached,
        "resolution": 64,
    }
    return job_from_values(TrainNetworkJob, values)


def pictures(root: Path) -> list[Path]:
    return sorted((root / "train" / "1_größe").glob("*.png"))


def refuse(*_: Any) -> Any:
    raise AssertionError("this was done already")


def test_another_process_leaves_nothing_to_hash_or_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path, cached=False)
    monkeypatch.setattr(ahead, "usable_cores", lambda: 2)
    monkeypatch.setattr(ahead, "_PATIENCE_SECONDS", 60.0)
    # It is asked to stop at once, but for this test it may finish.
    monkeypatch.setattr(ahead, "_end", lambda process: process.wait(60))
    with looking_through(job):
        pass
    monkeypatch.setattr(index_module, "hash_file", refuse)
    monkeypatch.setattr(check, "open_rgb", refuse)
    cache = tmp_path / "cache"
    index = PictureIndex(cache)
    done = check_pictures(pictures(tmp_path), index, cache, EncodeSettings(), Hooks())
    assert (done.state, done.num_done) == ("complete", 0)


def test_a_broken_picture_is_known_beforehand(tmp_path: Path) -> None:
    job = make_job(tmp_path, cached=False)
    broken = pictures(tmp_path)[2]
    break_inside(broken)
    look_through(job, Hooks())
    index = PictureIndex(tmp_path / "cache")
    stamp = index_module.Stamp.of(broken)
    assert index.lookup(broken.parent, {broken.name: stamp})[broken.name].info is None


def test_pictures_that_will_be_encoded_are_only_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "open_rgb", refuse)
    look_through(make_job(tmp_path, cached=True), Hooks())
    monkeypatch.setattr(index_module, "hash_file", refuse)
    content_hashes(PictureIndex(tmp_path / "cache"), pictures(tmp_path), Hooks())


def test_it_stops_when_asked_and_mistakes_are_left_to_the_trainer(tmp_path: Path) -> None:
    job = make_job(tmp_path, cached=False)
    look_through(job, Hooks(should_stop=lambda: True))
    assert not (tmp_path / "cache" / "decoded.json").exists()
    for path in pictures(tmp_path):
        path.unlink()
    look_through(job, Hooks())


def test_one_core_is_left_to_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "usable_cores", lambda: 1)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with looking_through(make_job(tmp_path, cached=True)):
        pass


def test_it_starts_without_torch() -> None:
    code = "import sys, sd_scripts.data.ahead; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
