"""A trainer without training: real process, real run folder, obeys requests; for tests of runs.

What it does comes from the config file, as `key = value` lines: steps, seconds (a step), mode
(`train`, `crash`, `ignore` = deaf to SIGTERM, `children` = starts a process that stays).
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from sd_scripts.runs.control import ControlBox
from sd_scripts.runs.events import (
    ControlEvent,
    EndEvent,
    EventWriter,
    SaveEvent,
    StartEvent,
    StepEvent,
)
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import claim


def main() -> int:
    """Run as the config says; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config_file", required=True)
    parser.add_argument("--run_dir", required=True)
    flags = parser.parse_args()
    config = tomllib.loads(Path(flags.config_file).read_text("utf-8"))
    run = RunFolder(Path(flags.run_dir))
    claim(run, job="fake", name="fake", argv=sys.argv)
    mode = config.get("mode", "train")
    print("fake trainer: ü", flush=True)
    if mode == "crash":
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
    if mode == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "children":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (run.path / "child").write_text(str(child.pid))
    return _train(run, int(config.get("steps", 3)), float(config.get("seconds", 0.01)))


def _train(run: RunFolder, steps: int, seconds: float) -> int:
    box = ControlBox(run)
    with EventWriter(run.events) as events:
        events.emit(
            StartEvent(
                total_steps=steps,
                num_epochs=1,
                num_images=4,
                family="sd1",
                trainable_parameters=1000,
            )
        )
        for step in range(1, steps + 1):
            time.sleep(seconds)
            events.emit(StepEvent(step=step, epoch=1, loss=1 / step, lr={"unet": 1e-4}))
            if "stop" in box.poll():
                events.emit(ControlEvent(request="stop", state="accepted"))
                state = run.state / f"step{step:06d}-state"
                state.mkdir()
                events.emit(SaveEvent(path=str(state), step=step, kind="state"))
                events.emit(EndEvent(status="stopped", reason=f"Stopped after step {step}."))
                return 0
        events.emit(EndEvent(status="finished", reason="All steps are done."))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
