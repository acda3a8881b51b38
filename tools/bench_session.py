"""A real session of a trainer that benchmarks drive step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sd_scripts.options.jobs import TrainingJob
    from sd_scripts.train.session import Session


def open_stepping(
    job_type: type[TrainingJob], arguments: Sequence[str], place: Path
) -> tuple[Session, Callable[[], object]]:
    """Open a session; return it and what does one step with all that belongs to it."""
    from sd_scripts.families.light_imports import import_model_libraries

    import_model_libraries()
    from sd_scripts.options.command_line import parse_command_line
    from sd_scripts.runs.folder import RunFolder
    from sd_scripts.runs.reporter import Reporter
    from sd_scripts.runs.requests import Requests
    from sd_scripts.train.loop import after_step, steps
    from sd_scripts.train.optimizers import learning_rates
    from sd_scripts.train.run import open_session

    launch = parse_command_line(job_type, arguments, "bench")
    run = RunFolder.create(place / "runs", "ours", "")
    reporter = Reporter(run.events)
    session = open_session(launch.job, run, reporter, Requests(run, reporter))
    reporter.start(session.start)
    trained = steps(session)

    def step() -> None:
        done = next(trained)
        reporter.step(done.number, done.epoch, done.loss, learning_rates(session.optimizer))
        after_step(session, done)

    return session, step
