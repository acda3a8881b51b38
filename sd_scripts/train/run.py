"""One training run from a checked job to its last save, in an open run folder."""

from __future__ import annotations

from typing import Final, Literal

from sd_scripts.dataset.class_pictures import ClassPictures
from sd_scripts.errors import Problem, UserError, raise_if_errors
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.values import replace_values, values_of
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests, StopRequested
from sd_scripts.script import ToldElsewhere, stop_at_errors
from sd_scripts.train.build import build, lay_foundation
from sd_scripts.train.class_painting import paint_class
from sd_scripts.train.entry import output_folder
from sd_scripts.train.environment import environment_problems
from sd_scripts.train.inputs import BrokenPictures
from sd_scripts.train.loop import train
from sd_scripts.train.preflight import Preflight, look_ahead
from sd_scripts.train.session import Session
from sd_scripts.train.team import Deserted, OtherFailed, Team, kind_of

_MAX_PLANS: Final = 5
"""How often pictures may turn out to be broken before that is taken for a fault of the disk."""


def run_training(
    job: TrainingJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Literal["finished", "stopped"], str]:
    """Check, load, train and save; returns how it ended and says so in a sentence.

    Raises `UserError` for what the user can mend, and `ToldElsewhere` in a process that another
    one leads, if that one knows what went wrong.
    """
    team = Team.form(job.performance.ddp_timeout)
    try:
        session = open_session(_as_led(job, team), run, reporter, requests, team)
        try:
            status = train(session)
            team.exchange()  # nobody leaves before the leader has saved
            team.leave()
        finally:
            session.close()
    except Exception as raised:  # raised again, once all know of it
        error = team.agree(raised)
        if kind_of(error) == StopRequested.__name__:
            team.leave()
            return "stopped", "Stopped on request before the first step; encoded pictures are kept"
        raise _to_tell(error, team) from raised
    return status, _ended(status, session)


def _to_tell(error: Exception, team: Team) -> Exception:
    """Return the error to raise in this process, for one that all agreed upon."""
    if team.leads:
        return error.in_words() if isinstance(error, OtherFailed) else error
    known = team.told or isinstance(error, OtherFailed | Deserted)
    return ToldElsewhere(str(error)) if known else error


def _as_led(job: TrainingJob, team: Team) -> TrainingJob:
    """Return the job with the leader's seed.

    Raises `UserError` if another process was given other settings. Paths may differ: machines
    need not keep their files in the same places.
    """
    job = replace_values(job, {"seed": team.share(job.training.seed)})
    ways = team.exchange([team.sharding.way, team.sharding.keeps_whole])
    if unlike_ways := [process for process, way in enumerate(ways) if way != ways[0]]:
        raise UserError(
            f"Process {unlike_ways[0]} shares out the weights otherwise than the leading one",
            hint="Start all machines with the same configuration of accelerate.",
        )
    specs = specs_by_name(type(job))
    texts = {name: str(value) for name, value in values_of(job).items() if not specs[name].path}
    given = team.exchange(texts)
    unlike = {
        name: (texts_there[name], process)
        for process, texts_there in enumerate(given)
        for name in texts
        if texts_there[name] != given[0][name]
    }
    raise_if_errors(
        Problem(
            f"Process {process} was given {name} = {value}, the leading one {given[0][name]}",
            name,
            "Give the same job file to all machines.",
        )
        for name, (value, process) in unlike.items()
    )
    return job


def _ended(status: str, session: Session) -> str:
    step, total = session.position.step, session.arithmetic.total_steps
    if status == "finished":
        return f"Finished: all {total} steps are trained and saved"
    return f"Stopped on request after {step} of {total} steps; they are saved and can be resumed"


def open_session(
    job: TrainingJob,
    run: RunFolder,
    reporter: Reporter,
    requests: Requests,
    team: Team | None = None,
) -> Session:
    """Do everything that comes before the first step, together with the other processes.

    Raises `UserError`, or `StopRequested` if a stop is asked for meanwhile.
    """
    team = team or Team()
    checked = checked_job(job, run, reporter, team)
    foundation = lay_foundation(job, run, checked, reporter, requests, team)
    if painting := _to_paint(checked, team):
        team.first_only(lambda: paint_class(job, painting, foundation))
        told = {problem.message for problem in checked.problems}
        checked = checked_job(job, run, reporter, team, known=told)
    for _ in range(_MAX_PLANS):
        requests.raise_if_stopped()
        try:
            return build(job, run, checked, foundation)
        except (BrokenPictures, OtherFailed) as error:
            broken = team.agree(error)
            if kind_of(broken) != BrokenPictures.__name__:
                raise broken from error
            known = {problem.message for problem in checked.problems}
            checked = checked_job(job, run, reporter, team, known=known)
    raise UserError(
        f"Pictures cannot be decoded, and that cannot be noted in the cache folder: {broken}",
        option="train_data_dir, cache_dir",
        hint="Take these pictures out, or choose another cache_dir.",
    )


def _to_paint(checked: Preflight, team: Team) -> ClassPictures | None:
    """Return the pictures of the class, if some are missing on any machine."""
    wanted = checked.class_pictures
    missing = wanted is not None and bool(wanted.missing)
    return wanted if any(team.exchange(missing)) else None


def checked_job(
    job: TrainingJob,
    run: RunFolder,
    reporter: Reporter,
    team: Team,
    known: set[str] | frozenset[str] = frozenset(),
) -> Preflight:
    """Look at everything the job needs; raises `UserError` with all that is wrong.

    Warnings become events, but for those in `known`, which were told before.
    """
    output = output_folder(job, run) if team.leads else None

    def look() -> Preflight:
        found = look_ahead(
            job,
            output,
            num_processes=team.size,
            sharded=team.sharding.on,
            progress=reporter.phase,
        )
        problems: list[Problem] = [*found.problems, *environment_problems(job, team.sharding)]
        stop_at_errors([p for p in problems if p.message not in known], reporter)
        return found

    checked = team.leader_first(look)
    plans = team.exchange([checked.plan.fingerprint(), checked.arithmetic.total_steps])
    if unlike := [number for number, plan in enumerate(plans) if plan != plans[0]]:
        raise UserError(
            f"Process {unlike[0]} finds other pictures than the leading one",
            option="train_data_dir",
            hint="Give all machines the same pictures and captions under the same names.",
        )
    return checked
