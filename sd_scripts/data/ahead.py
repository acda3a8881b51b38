"""Pictures are looked through by a process of its own while the model libraries are imported.

An import keeps one core busy for some seconds. Meanwhile another one can read the pictures' sizes,
hash their bytes and, if latents are not cached, decode them once. All of it goes into the picture
index and the list of pictures that decode, where the trainer finds it: it decides and tells
everything itself, and does what is left. So nothing depends on this process, nor on its end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import sd_scripts
from sd_scripts.data.check import check_pictures, content_hashes, files_of
from sd_scripts.data.long_work import EncodeSettings, Hooks
from sd_scripts.dataset.index import PictureIndex, cache_folder
from sd_scripts.dataset.plan import plan_dataset
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import JOBS, TrainingJob
from sd_scripts.options.toml_file import job_from_toml, job_to_toml
from sd_scripts.runs.machine import usable_cores

_NO_WINDOW: Final = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # there on Windows only
_PATIENCE_SECONDS: Final = 2.0
_TOGETHER: Final = 2048


@contextmanager
def looking_through(job: TrainingJob) -> Iterator[None]:
    """Have the job's pictures looked through meanwhile, if there is a core for it."""
    if usable_cores() < 2:
        yield
        return
    root = str(Path(sd_scripts.__file__).resolve().parents[1])
    search = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sd_scripts.data.ahead"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": search, "OPENBLAS_NUM_THREADS": "1"},
        creationflags=_NO_WINDOW,
    )
    try:
        _send(process, json.dumps({"job": job.name, "toml": job_to_toml(job)}) + "\n")
        yield
    finally:
        _end(process)


def _send(process: subprocess.Popen[bytes], text: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(text.encode("utf-8"))
        process.stdin.flush()
    except OSError:  # a broken pipe; Windows has another name for it
        return  # it has ended already; then all the work is left to the trainer


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, which it does between two pictures, and have it gone."""
    assert process.stdin is not None
    with suppress(OSError):  # it has ended already
        process.stdin.close()
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class _Enough(Exception):
    """The trainer does the rest."""


def look_through(job: TrainingJob, hooks: Hooks) -> None:
    """Fill the picture index, and decode pictures that training would check anyway.

    Ends early when `hooks` ask for it; what was found until then is kept.
    """

    def progress(text: str, done: int, total: int) -> None:
        if hooks.should_stop():
            raise _Enough

    try:
        plan = plan_dataset(job.data, job.caption, progress=progress)
    except (_Enough, UserError):
        return  # the trainer meets the same mistake, and tells it
    folder = cache_folder(job.data.cache_dir)
    index, paths = PictureIndex(folder), sorted(set(files_of(plan)))
    for start in range(0, len(paths), _TOGETHER):
        if hooks.should_stop():
            return
        try:
            content_hashes(index, paths[start : start + _TOGETHER], hooks)
        except UserError:
            return  # a picture has vanished: likewise
    if not job.data.cache_latents:
        check_pictures(paths, index, folder, EncodeSettings(), hooks)


def main() -> None:
    """Read a job from the input, and work until the input is closed or all is done."""
    closed = threading.Event()
    request: dict[str, Any] = json.loads(sys.stdin.readline())
    job_type = JOBS[request["job"]]
    assert issubclass(job_type, TrainingJob)
    job = job_from_toml(job_type, request["toml"])

    def listen() -> None:
        sys.stdin.read()
        closed.set()

    threading.Thread(target=listen, daemon=True).start()
    look_through(job, Hooks(should_stop=closed.is_set))
    os._exit(0)  # the listening thread still waits for the input


if __name__ == "__main__":
    main()
