"""A tiny model and pictures, made once for all end-to-end tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.jobs import TinyJob, draw_pictures
from tests.support.tiny_models import make_tiny_checkpoint


@pytest.fixture(scope="session")
def tiny_sd1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single-file SD 1.x model with random weights."""
    return make_tiny_checkpoint("sd1", tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def job(tmp_path: Path, tiny_sd1: Path) -> TinyJob:
    """A job of 4 pictures shown 2 times, in a folder with blanks and letters beyond ASCII."""
    place = tmp_path / "Größe 写真"
    draw_pictures(place / "pictures" / "2_cat")
    return TinyJob(place, tiny_sd1)
