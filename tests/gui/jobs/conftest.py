"""A workspace of its own for each test, a trainer that trains nothing, and no process left over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kohya_gui.jobs import launch, stop
from kohya_gui.jobs.launch import JobRequest
from kohya_gui.workspace import Workspace, open_workspace
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.status import derive_status
from tests.support.patience import eventually


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds; fail with `what` when it never does."""
    assert eventually(condition), f"waited in vain for: {what}"


def wait_for_state(run: RunFolder, *states: str) -> None:
    """Wait until the run is in one of these states and, if that is an end, its process is gone."""

    def there() -> bool:
        status = derive_status(run)
        return status.state in states and (status.active or not status.alive)

    wait_for(there, f"{run.id} to be {' or '.join(states)}, not {derive_status(run)}")


def fake_request(name: str = "fake", **config: object) -> JobRequest:
    """Return a request for the fake trainer; see its module for the keys."""
    lines = (f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in config.items())
    return JobRequest(job_name="fake", config_toml="\n".join(lines) + "\n", name=name)


@pytest.fixture(autouse=True)
def _fake_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(launch.JOB_MODULES, "fake", "tests.support.fake_trainer")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = open_workspace(tmp_path / "wörk space")
    yield opened
    for path in opened.runs.iterdir():
        stop.kill(RunFolder(path), grace_seconds=0.1)
