"""Processes that do steps on request, in turns: a noisy machine then disturbs all sides alike.

A side is a module of `tools` that calls `serve`; while one side works, the others sleep.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TextIO

from sd_scripts.runs.machine import settle_process


class Taken(NamedTuple):
    """Seconds that a step took, and those that the processor worked on it."""

    seconds: float
    processor: float


@dataclass
class Side:
    """One process that works on request, and what its steps took."""

    name: str
    process: subprocess.Popen[str]
    taken: list[Taken] = field(default_factory=list)
    peak_bytes: int = 0

    def ask(self, line: str) -> Any:
        """Send a request and wait for its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        for answer in self.process.stdout:
            if answer.startswith("@"):
                return json.loads(answer[1:])
        raise RuntimeError(f"{self.name} ended: exit code {self.process.wait()}")

    def work(self, steps: int) -> list[Taken]:
        """Have it do steps; returns what each took, which is not kept."""
        return [Taken(*each) for each in self.ask(f"step {steps}")]

    def close(self) -> None:
        """Note the peak of its memory, and end it."""
        self.peak_bytes = max(self.peak_bytes, int(self.ask("peak")))
        self.process.communicate("quit\n", timeout=60)

    @property
    def median(self) -> float:
        """The median of its seconds a step."""
        return statistics.median(each.seconds for each in self.taken)

    @property
    def processor_median(self) -> float:
        """The median of the processor's seconds a step."""
        return statistics.median(each.processor for each in self.taken)


def environment() -> dict[str, str]:
    """Return the environment of all sides: fair to the other core, and offline."""
    return {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}


def open_side(name: str, arguments: Sequence[str], worker: str = "tools.bench_worker") -> Side:
    """Start one side, and wait until it can work."""
    command = [sys.executable, "-m", worker, name, *arguments]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    )
    side = Side(name, process)
    side.ask("ready")
    return side


def take_turns(sides: Sequence[Side], rounds: int, steps: int) -> None:
    """Let all sides do `steps` at a time, after a round that warms up; who begins changes."""
    for number in range(rounds + 1):
        for side in sides if number % 2 else reversed(sides):
            taken = side.work(steps)
            if number:
                side.taken += taken


def compared(ours: Side, bare: Side) -> dict[str, float]:
    """Return medians, peaks and ratios of two sides.

    The ratio of the processor time that both got is what is left to say on a crowded machine.
    """
    return {
        "ours_seconds": ours.median,
        "bare_seconds": bare.median,
        "ratio": ours.median / bare.median,
        "ours_processor_seconds": ours.processor_median,
        "bare_processor_seconds": bare.processor_median,
        "processor_ratio": ours.processor_median / bare.processor_median,
        "ours_peak_gb": ours.peak_bytes / 1e9,
        "bare_peak_gb": bare.peak_bytes / 1e9,
        "memory_ratio": ours.peak_bytes / bare.peak_bytes,
    }


def show(name: str, result: dict[str, float]) -> None:
    """Print one result in a line."""
    print(name, json.dumps({key: round(value, 4) for key, value in result.items()}), flush=True)


def serve(
    make_step: Callable[[], Callable[[], object]],
    settle: Callable[[], object] = settle_process,
) -> None:
    """Be a side: make the step, then answer `ready`, `step N`, `peak` and `quit` from the input.

    A step that is one of several loops has a `name`, which `turn NAME` sets.
    Every side has the process settings that our scripts make, unless it is given others: they
    would speed up any loop, and are measured on their own.
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    settle()
    step = make_step()
    for line in sys.stdin:
        word, _, amount = line.strip().partition(" ")
        if word == "ready":
            _answer(answers, True)
        elif word == "peak":
            _answer(answers, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        elif word == "turn":
            step.name = amount  # type: ignore[attr-defined]  # a side that has several loops
            _answer(answers, True)
        elif word == "step":
            _answer(answers, [_timed(step) for _ in range(int(amount))])
        else:
            return


def _timed(step: Callable[[], object]) -> Taken:
    began, worked = time.perf_counter(), time.process_time()
    step()
    return Taken(time.perf_counter() - began, time.process_time() - worked)


def _answer(stream: TextIO, value: Any) -> None:
    stream.write(f"@{json.dumps(value)}\n")
    stream.flush()
