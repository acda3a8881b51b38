"""Start a job as a process of its own, which no page and no GUI holds on to.

A job in one process is started as `python -m sd_scripts.<job>`: the script sets accelerate up
itself, and `accelerate launch` would first import torch in a second process (2 to 4 seconds of
the 10 a start may take) only to start the same command. It is used where it is needed: for
several processes.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr

import sd_scripts
from kohya_gui.jobs.notes import begin_tags
from kohya_gui.jobs.processes import Processes, card_variables, launcher
from kohya_gui.jobs.vault import WANDB_KEY, secret
from kohya_gui.workspace import Workspace
from sd_scripts.errors import UserError
from sd_scripts.options.toml_file import read_toml
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.machine import thread_variables
from sd_scripts.runs.process import ProcessIdentity, identity_of, own_identity
from sd_scripts.runs.record import FORMAT, RunRecord, installed_versions, write_record

JOB_MODULES: Final[dict[str, str]] = {
    "train_network": "sd_scripts.train_network",
    "train_db": "sd_scripts.train_db",
    "fine_tune": "sd_scripts.fine_tune",
    "train_textual_inversion": "sd_scripts.train_textual_inversion",
    "tag_images_by_wd14_tagger": "sd_scripts.tag_images_by_wd14_tagger",
    "make_captions": "sd_scripts.make_captions",
    "make_masks": "sd_scripts.make_masks",
    "check_pictures": "sd_scripts.check_pictures",
    "prepare_pictures": "sd_scripts.prepare_pictures",
    "slice_dylora": "sd_scripts.slice_dylora",
    "rank_losses": "sd_scripts.rank_losses",
    "try_prompts": "sd_scripts.try_prompts",
}
"""Every job that can be started, with the module that does it: the only modules ever run."""

JOB_PAGES: Final[dict[str, str]] = {
    "train_network": "lora",
    "train_db": "dreambooth",
    "fine_tune": "fine-tune",
    "train_textual_inversion": "textual-inversion",
    "tag_images_by_wd14_tagger": "captioning",
    "make_captions": "captioning-sentences",
}
"""The page that a job's settings can be opened in."""

RUN_VARIABLE: Final = "SD_SCRIPTS_RUN_DIR"
"""Set for the process and so for all its children: shows to which run a process belongs."""

_KEYRING_SECONDS: Final = 3.0
"""So long a start waits for the keyring: meanwhile nobody else can change the queue."""
_OFFLINE: Final = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")


class JobRequest(BaseModel):
    """A job that can be started now or later. It lies on the disk, so `env` must hold no secrets.

    `config_toml` is the complete job; `parent` the id of the run it continues; `device` a graphics
    card ("default": the first that is free), or a name of its own for jobs that wait for no card
    but for each other; `allow_hub` lets it download; `tags` find the run again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_name: str
    config_toml: str
    name: str
    env: dict[str, str] = Field(default_factory=dict)
    parent: str | None = None
    device: str = "default"
    processes: Processes = Processes()
    allow_hub: bool = False
    tags: tuple[str, ...] = ()


def command_for(
    job_name: str, run: RunFolder, processes: Processes | None = None, machine: int = 0
) -> list[str]:
    """Return the argument list that a start uses and a page shows, for one machine (from 0).

    Raises `UserError`.
    """
    module = JOB_MODULES.get(job_name)
    if module is None:
        raise UserError(
            f"There is no job {job_name!r}.", hint=f"Known jobs: {', '.join(sorted(JOB_MODULES))}."
        )
    job = ["-m", module, "--config_file", str(run.config), "--run_dir", str(run.path)]
    return [*launcher(processes or Processes(), machine), *job]


def commands_text(job_name: str, run: RunFolder, processes: Processes) -> str:
    """Return what one would type to start a job, for each machine under its number if several."""
    commands = [
        command_text(command_for(job_name, run, processes, machine))
        for machine in range(processes.num_machines)
    ]
    if len(commands) == 1:
        return commands[0]
    return "\n\n".join(
        f"# machine {number} of {len(commands)}\n{command}"
        for number, command in enumerate(commands, 1)
    )


def command_text(argv: list[str]) -> str:
    """Return a command as one would type it in this system's terminal."""
    return subprocess.list2cmdline(argv) if sys.platform == "win32" else shlex.join(argv)


def environment_for(run: RunFolder, request: JobRequest) -> dict[str, str]:
    """Return the variables of a job's process: this process's own, made fit; `request.env` wins."""
    # The login of the GUI is nobody else's business.
    variables = {k: v for k, v in os.environ.items() if not k.startswith("KOHYA_GUI_")}
    variables.pop(WANDB_KEY, None)
    if _wants_wandb(request.config_toml) and (key := _tracking_key(run)) is not None:
        variables[WANDB_KEY] = key.get_secret_value()
    root = str(Path(sd_scripts.__file__).resolve().parent.parent)
    known = [path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path]
    variables |= thread_variables(request.processes.per_machine)
    variables |= {
        "PYTHONPATH": os.pathsep.join([root, *(path for path in known if path != root)]),
        # Else `-m` puts the working folder first on the path, and a file there hides a module.
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        # A crash inside a library then leaves its name in the log.
        "PYTHONFAULTHANDLER": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        RUN_VARIABLE: str(run.path),
    }
    cards = card_variables(request.processes)
    if request.processes.gpu_ids and "CUDA_VISIBLE_DEVICES" not in variables:
        # The numbers are those of the driver's tool; CUDA by itself counts the fastest card first.
        variables.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    variables |= cards
    variables |= dict.fromkeys(_OFFLINE, "0" if request.allow_hub else "1")
    return variables | request.env


def _wants_wandb(config_toml: str) -> bool:
    """Tell whether a job asks for Weights & Biases. What cannot be read asks for nothing: the job
    itself tells what is wrong with it."""
    try:
        return read_toml(config_toml).get("log_with") in ("wandb", "all")
    except (UserError, RecursionError):  # the latter: brackets in brackets without end
        return False


def _tracking_key(run: RunFolder) -> SecretStr | None:
    """Return the key of Weights & Biases. A keyring that is shut keeps no run from its start:
    `wandb login` may have left a key of its own. The run's log tells it."""
    try:
        return secret(WANDB_KEY, patience=_KEYRING_SECONDS)
    except UserError as error:
        with open(run.log, "a", encoding="utf-8") as log:
            log.write(f"WARNING: started without {WANDB_KEY}. {error}\n")
        return None


def start_request(
    workspace: Workspace, request: JobRequest, queue_id: str | None = None
) -> RunFolder:
    """Make the run folder, start the process and write who it is.

    The process has its own session, writes to `train.log` and works in the workspace folder, so
    relative paths in the job are meant from there. `run.json` is written before (without a
    process) and right after the start; should this program die between, the trainer fills it in.
    Raises `UserError` when the folder cannot be made or the process cannot be started; nothing is
    left behind then.
    """
    run: RunFolder | None = None
    process: subprocess.Popen[bytes] | None = None
    try:
        run = RunFolder.create(workspace.runs, request.name, request.config_toml)
        argv = command_for(request.job_name, run, request.processes)
        record = RunRecord(
            format=FORMAT,
            name=request.name,
            job=request.job_name,
            argv=tuple(argv),
            launcher=own_identity(),
            started_by="gui",
            versions=installed_versions(),
            parent=request.parent,
            device=request.device,
            queue_id=queue_id,
        )
        write_record(run, record)
        begin_tags(run, request.tags)
        process = _spawn(argv, run, environment_for(run, request), workspace.path)
        known = identity_of(process.pid)
        mark = known or ProcessIdentity(pid=process.pid, create_time=time.time())
        write_record(run, record.with_process(mark))
    except (OSError, UserError) as error:
        if process is not None:
            process.kill()
            process.wait()
        if run is not None:
            shutil.rmtree(run.path, ignore_errors=True)
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"The job could not be started: {error}",
            option="workspace",
            hint="Look at the free space and the rights of the workspace folder.",
        ) from error
    _reap_when_done(process)
    return run


def _spawn(
    argv: list[str], run: RunFolder, variables: dict[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    with open(run.log, "ab") as log:
        if sys.platform == "win32":
            # No window rather than "detached": its children then share a hidden console instead
            # of opening one each.
            flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=variables,
                creationflags=flags,
            )
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=variables,
            start_new_session=True,
        )


def _reap_when_done(process: subprocess.Popen[bytes]) -> None:
    """Wait for a child in the background, so that it leaves no zombie while this program lives."""
    threading.Thread(target=process.wait, name=f"reap-{process.pid}", daemon=True).start()
