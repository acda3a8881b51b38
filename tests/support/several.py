"""The processes of a launched test: each does a list of jobs, one after the other.

Started by a launcher as `-m tests.support.several LIST`, where LIST is a JSON file of jobs. Each
process writes beside it, by job, its exit code and a digest of the weights it had in the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn

from sd_scripts.data.batch import Batch
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import (
    FineTuneJob,
    TrainDbJob,
    TrainingJob,
    TrainNetworkJob,
    TrainTextualInversionJob,
)
from sd_scripts.runs import control
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.seat import Seat
from sd_scripts.train import loop, team
from sd_scripts.train.entry import main
from sd_scripts.train.session import Session
from sd_scripts.train.team import Team
from tests.support.jobs import reset_accelerate

JOBS: dict[str, type[TrainingJob]] = {
    job.name: job for job in (TrainNetworkJob, TrainDbJob, FineTuneJob, TrainTextualInversionJob)
}


@dataclass(frozen=True)
class Turn:
    """One job, and what happens to it: `event` ("stop", "mistake", "fault", "death") in process
    `process`, when that one begins its step number `step`; "unlike": it has other settings."""

    job: str
    arguments: list[str]
    event: str = ""
    process: int = 1
    step: int = 2


def write_turns(turns: list[Turn], path: Path) -> Path:
    """Write the list that the processes read."""
    path.write_text(json.dumps([asdict(turn) for turn in turns]), encoding="utf-8")
    return path


@contextmanager
def eventful(turn: Turn, rank: int) -> Iterator[list[str]]:
    """Let happen in here what a turn foresees for this process; yields what it knows last.

    Processes stay together between turns, since meeting anew under the same address is a race.
    """
    whole = loop.optimize
    weights: list[str] = []

    def optimize(session: Session, batches: list[Batch]) -> float:
        if rank == turn.process and session.position.step + 1 == turn.step:
            if turn.event == "stop":
                run_dir = turn.arguments[turn.arguments.index("--run_dir") + 1]
                control.request(RunFolder(Path(run_dir)), "stop")
            elif turn.event == "mistake":
                raise UserError("this picture is broken", option="train_data_dir", hint="Look.")
            elif turn.event == "fault":
                raise ZeroDivisionError("one by nothing")
            elif turn.event == "death":
                os._exit(3)
        loss = whole(session, batches)
        weights[:] = [_digest(session.trainable)]
        return loss

    with ExitStack() as stack:
        stack.enter_context(patch.object(loop, "optimize", optimize))
        stack.enter_context(patch.object(Team, "leave"))
        if turn.event == "fault" and "ACCELERATE_USE_FSDP" in os.environ:
            # The other one waits for a piece of the weights: nothing is gained by patience.
            stack.enter_context(patch.object(team, "_FAREWELL", timedelta(seconds=2)))
        yield weights


def _digest(parameters: Sequence[nn.Parameter]) -> str:
    """Return what tells these weights from others that differ in a single bit."""
    digest = hashlib.blake2b()
    for parameter in parameters:
        digest.update(parameter.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _work(path: Path) -> None:
    rank = Seat.of(os.environ).rank
    told = dict(os.environ)
    done: list[tuple[int, list[str]]] = []
    for values in json.loads(path.read_text(encoding="utf-8")):
        turn = Turn(**values)
        reset_accelerate()
        os.environ.update(told)  # a job takes away what its launcher said
        unlike = turn.event == "unlike" and rank == turn.process
        arguments = [*turn.arguments, *(["--max_grad_norm", "0.5"] if unlike else [])]
        with eventful(turn, rank) as weights:
            done.append((main(JOBS[turn.job], turn.job, arguments), weights))
        path.with_name(f"done-{rank}.json").write_text(json.dumps(done), encoding="utf-8")


if __name__ == "__main__":
    _work(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # as scripts do: after a fault, open connections would hold up an orderly end
