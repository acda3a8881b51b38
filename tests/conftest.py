"""Settings for every test: offline, quiet, and fair to the other core."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"  # never the tester's own

# Property tests measure nothing: on a busy machine an example may take its time.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

LONGEST: Final = (
    "e2e/test_starter_whole.py",
    "e2e/test_starter.py",
    "train/test_sharding.py",
    "setup/test_demo.py",
    "e2e/test_training.py",
    "e2e/test_browser_teach.py",
    "e2e/test_browser_accessibility.py",
    "e2e/test_browser_settings.py",
    "e2e/test_browser_run.py",
    "e2e/test_browser_form.py",
    "e2e/test_resume.py",
    "train/test_several_processes.py",
    "gui/jobs/test_try_worker.py",
    "e2e/test_whole_models.py",
    "methods/test_interchange.py",
)
"""Files that take the longest. They begin first: else a core is idle for minutes in the end, while
the other one goes through the last of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; all others keep their order."""
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))
