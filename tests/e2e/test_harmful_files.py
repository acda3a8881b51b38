"""Files that would run code, given to every field that reads one: told or left, never run."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch

from sd_scripts.captioning.entry import run_captioning, run_masking, run_tagging
from sd_scripts.options.jobs import JOBS, Job, TrainNetworkJob, TrainTextualInversionJob
from sd_scripts.options.schema import option_specs
from sd_scripts.weights.slicing import run_slicing
from tests.captioning.jobs import arguments
from tests.support.jobs import TinyJob
from tests.support.tiny_captioning import make_captioner, paint
from tests.support.tiny_models import make_tiny_folder

NOT_READ: Final = frozenset(
    {
        "output_dir",
        "output_path",
        "logging_dir",
        "save_to",
        "report_path",
        "mask_dir",
        "class_data_dir",
        "train_data_dir",
        "reg_data_dir",
        "conditioning_data_dir",
        "cache_dir",
    }
)
"""What is written into is not read for models; folders of pictures are read by Pillow; the folder
of the cache has its own case below."""

WEIGHTS: Final = ("pretrained_model_name_or_path", "vae", "network_weights", "base_weights")


class Harmful:
    """Makes a folder when it is unpickled without care."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.mark),))


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """What code in a file would make; it must not be there in the end."""
    place = tmp_path / "code was run"
    yield place
    assert not place.exists()


def zipped(path: Path, mark: Path) -> Path:
    """Write what PyTorch writes, with tensors and something harmful beside them."""
    harmful = {"state_dict": {"a": torch.zeros(1)}, "x": Harmful(mark)}
    torch.save(harmful, path)
    return path


def plain(path: Path, mark: Path) -> Path:
    """Write a bare pickle."""
    path.write_bytes(pickle.dumps(Harmful(mark)))
    return path


def spoilt(folder: Path, mark: Path) -> Path:
    """Let weights in a folder be pickles with code in them, under the names of pickles."""
    for path in [*folder.rglob("*.safetensors"), *folder.rglob("*.bin")]:
        stem = "pytorch_model" if path.stem == "model" else path.stem
        zipped(path.with_name(f"{stem}.bin"), mark)
        if path.suffix == ".safetensors":
            path.unlink()
    return folder


FILES: Final[dict[str, Callable[[Path, Path], Path]]] = {
    "harmful.ckpt": zipped,
    "harmful.pt": plain,
    "harmful.safetensors": zipped,
}


def fields(job_type: type[Job]) -> list[str]:
    """Return the options of a job that name something to be read."""
    return [s.name for s in option_specs(job_type) if s.path and s.name not in NOT_READ]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        *(
            (name, "harmful.pt")
            for name in fields(TrainNetworkJob)
            if name not in ("resume", *WEIGHTS)
        ),
        *((name, file) for name in WEIGHTS for file in FILES),
    ],
)
def test_no_file_of_a_training_runs_code(job: TinyJob, name: str, file: str, mark: Path) -> None:
    given = FILES[file](job.place / file, mark)
    changes: dict[str, Any] = {name: str(given), "max_train_steps": 1, "max_train_epochs": None}
    if name == "network_weights":
        changes["dim_from_weights"] = True
    elif name == "base_weights":
        changes[name] = [str(given)]
    elif name == "in_json":
        changes["train_data_dir"] = None
    elif name == "sample_prompts":
        changes["sample_every_n_steps"] = 1
    assert job.run("run", **changes) in (0, 2)


@pytest.mark.parametrize("name", ["pretrained_model_name_or_path", "vae"])
def test_no_folder_of_a_model_runs_code(job: TinyJob, name: str, mark: Path) -> None:
    folder = spoilt(make_tiny_folder("sd1", job.place / "folder"), mark)
    given = folder / "vae" if name == "vae" else folder
    assert list(given.rglob("*.bin"))
    assert job.run("run", **{name: str(given), "max_train_steps": 1}) == 2


def test_no_training_state_runs_code(job: TinyJob, mark: Path) -> None:
    assert job.run("first", max_train_steps=1, max_train_epochs=None, save_state=True) == 0
    (state,) = {path.parent for path in job.place.rglob("optimizer*")}
    pickles = [path for path in state.iterdir() if path.suffix != ".json"]
    assert len(pickles) > 2
    whole = shutil.copytree(state, job.place / "whole")
    assert job.run("run whole", resume=str(whole), max_train_steps=2) == 0
    for number, spoiled in enumerate(pickles):
        copy = shutil.copytree(state, job.place / f"copy {number}")
        zipped(copy / spoiled.name, mark)
        assert job.run(f"run {number}", resume=str(copy), max_train_steps=2) == 2


def test_no_kept_latent_runs_code(job: TinyJob, mark: Path) -> None:
    """sd-scripts keeps latents beside the pictures, as arrays of numpy, which may hold pickles."""
    folder = job.place / "pictures" / "2_cat"
    for picture in folder.glob("*.png"):
        for name in (f"{picture.stem}.npz", f"{picture.stem}_0096x0080_sd.npz"):
            np.savez(folder / name, latents=np.array([Harmful(mark)], dtype=object))
    assert job.run("run", max_train_steps=1, max_train_epochs=None, cache_latents_to_disk=True) == 0
    assert job.run("cached", cache_latents_to_disk=True, max_train_steps=1) == 0
    for kept in (job.place / "cache").rglob("*"):
        if kept.is_file():
            zipped(kept, mark)
    assert job.run("again", cache_latents_to_disk=True, max_train_steps=1) in (0, 2)


@pytest.mark.parametrize("file", FILES)
def test_no_embedding_runs_code(job: TinyJob, file: str, mark: Path) -> None:
    job.job_type = TrainTextualInversionJob
    job.options |= {"network_dim": None, "token_string": "mycat7", "init_word": "cat"}
    given = FILES[file](job.place / file, mark)
    assert job.run("run", weights=str(given), max_train_steps=1) == 2


@pytest.mark.parametrize("file", FILES)
def test_no_file_of_the_other_jobs_runs_code(tmp_path: Path, file: str, mark: Path) -> None:
    pictures = paint(tmp_path / "pictures", "red.png")
    captioner = spoilt(make_captioner(tmp_path / "captioner"), mark)
    tagger = tmp_path / "tagger"
    tagger.mkdir()
    for name in ("model.onnx", "selected_tags.csv"):
        FILES[file](tagger / name, mark)
    given = str(FILES[file](tmp_path / file, mark))
    runs = iter(range(10))

    def words(**options: object) -> list[str]:
        return arguments({"run_dir": tmp_path / f"run {next(runs)}", **options})

    assert run_captioning([str(pictures), *words(caption_weights=captioner)]) == 2
    assert run_tagging([str(pictures), *words(model_dir=tagger)]) == 2
    assert run_masking([str(pictures), *words(mask_model=given)]) == 2
    assert run_slicing(words(model=given, save_to=tmp_path / "cut.safetensors", unit=2)) == 2


def test_every_field_that_reads_a_file_is_attacked_here() -> None:
    """Whoever adds one, or a job that reads files, adds it to a case above."""
    others = {
        *("caption_weights", "model_dir", "mask_model", "model", "weights", "train_data_dir"),
        *fields(TrainNetworkJob),
    }
    for job_type in JOBS.values():
        assert set(fields(job_type)) <= others, job_type.name
