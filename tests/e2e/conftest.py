"""What end-to-end tests share: a tiny model, pictures, a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.jobs import TinyJob, draw_pictures
from tests.support.pages import Watched, chromium
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, started once for a file of tests."""
    with chromium() as found:
        yield found


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A wide page whose script errors and calls to other hosts fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = Watched(context)
    yield found
    assert found.errors == []
    assert found.outside == []
    context.close()
