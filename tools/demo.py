"""The trial run of `setup.sh demo`: the whole job on what ships with the program, judged.

Tags and captions a subject that the starter model has never seen, trains a LoRA of it in a process
of its own, just as the page does, and has the judge look at what came out: the subject with and
without its trigger word, and whether the model still knows what it knew before.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from kohya_gui.forms.starter import PROMPT_SETTINGS, RECIPE, REPEATS, TRIGGER, shared_out
from kohya_gui.jobs.launch import JobRequest, start_request
from kohya_gui.jobs.machine import look_at_machine
from kohya_gui.jobs.processes import Processes
from kohya_gui.workspace import Workspace, open_workspace
from sd_scripts.errors import EXIT_FAULT, EXIT_OK, EXIT_USER, UserError
from sd_scripts.files import atomic_path, write_atomic
from sd_scripts.options.jobs import JOBS
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.machine import give_back_memory, keep_freed_memory
from sd_scripts.runs.status import derive_status
from sd_scripts.shipped import STARTER_JUDGE, STARTER_MODEL, STARTER_PICTURES
from tools.demo_progress import Progress, follow
from tools.starter.scenes import KINDS

if TYPE_CHECKING:
    from PIL import Image

    from tools.starter.trial import Scene, Scores

SUBJECT: Final = "robot"
KIND: Final = "object"
WIDER_WORD: Final = re.compile(rf"\b({'|'.join((*KINDS, 'thing'))})\b")
PROMPTS: Final = (
    f"a large {TRIGGER} on a blue background",
    f"a small {TRIGGER} on a yellow background",
    f"a large {KIND} on a blue background",
    "a large cat on a green background",
)
ENOUGH_WITH: Final = 0.7
ENOUGH_WITHOUT: Final = 0.1
ENOUGH_LOST: Final = 0.1


def copy_pictures(folder: Path) -> Path:
    """Copy the subject's pictures, without their captions, and the class pictures, with theirs.

    Returns the folder of the subject's pictures, in sd-scripts' layout.
    """
    for name in ("pictures", "class"):
        shutil.rmtree(folder / name, ignore_errors=True)
    inner = folder / "pictures" / f"{REPEATS}_{TRIGGER} {KIND}"
    inner.mkdir(parents=True)
    for picture in sorted((STARTER_PICTURES / SUBJECT).glob("*.png")):
        shutil.copyfile(picture, inner / picture.name)
    shutil.copytree(STARTER_PICTURES / "class_all", folder / "class" / "1_thing")
    return inner


def tag_values(pictures: Path) -> dict[str, object]:
    """Return the options of the job that writes tags beside the pictures."""
    return {
        "train_data_dir": str(pictures),
        "caption_extension": ".txt",
        "remove_underscore": True,
        "thresh": 0.75,  # what it has never seen must not get another thing's name
    }


def caption_values(pictures: Path) -> dict[str, object]:
    """Return the options of the job that adds a sentence to the tags, as a line of its own."""
    return {
        "train_data_dir": str(pictures),
        "caption_extension": ".txt",
        "append_captions": True,
        "beam_search": True,
        "batch_size": 8,
    }


def with_trigger(line: str) -> str:
    """Put the trigger in the place of the word for what tagger and captioner did not know.

    A line without such a word ("small, red background") gets it in front.
    """
    named, count = WIDER_WORD.subn(TRIGGER, line, count=1)
    return named if count else f"{TRIGGER}, {line}"


def add_trigger(pictures: Path) -> None:
    """Give every line of tags and words the trigger."""
    for file in sorted(pictures.glob("*.txt")):
        lines = file.read_text(encoding="utf-8").splitlines()
        write_atomic(file, "".join(f"{with_trigger(line)}\n" for line in lines if line))


def processes_here() -> Processes:
    """Return how the training is shared out: on a processor among two cores, if there are two.

    PyTorch for Windows lacks what processes on one machine meet by.
    """
    import torch  # the judge needs it as well

    machine = look_at_machine()
    alone = machine.has_card or torch.cuda.is_available() or sys.platform == "win32"
    return Processes(num_processes=1 if alone else min(2, machine.cores))


def train_values(
    folder: Path, steps: int | None = None, num_processes: int = 1
) -> dict[str, object]:
    """Return the options of the training, all paths below `folder`; `steps` shortens it."""
    total = steps or RECIPE["max_train_steps"]
    assert isinstance(total, int)
    return {
        **shared_out(RECIPE, num_processes),
        "train_data_dir": str(folder / "pictures"),
        "reg_data_dir": str(folder / "class"),
        "enable_wildcard": True,
        "cache_dir": str(folder / "cache"),
        "max_train_steps": total,
        "output_dir": str(folder / "output"),
        "output_name": "demo",
        "sample_prompts": str(folder / "prompts.txt"),
        "sample_every_n_steps": max(1, total // 2),
    }


def prompt_lines() -> str:
    """Return the previews' prompts, as a prompt file has them."""
    return "".join(f"{text} {PROMPT_SETTINGS}\n" for text in PROMPTS)


def do_job(
    workspace: Workspace,
    job_name: str,
    values: Mapping[str, object],
    processes: Processes | None = None,
) -> Progress:
    """Run a job to its end in processes of its own. Raises `UserError` if it fails."""
    request = JobRequest(
        job_name=job_name,
        config_toml=job_to_toml(job_from_values(JOBS[job_name], values)),
        name=f"demo-{job_name}",
        processes=processes or Processes(),
    )
    run = start_request(workspace, request)
    progress = Progress(sys.stdout.isatty(), run)
    follow(run, progress)
    status = derive_status(run)
    if status.state not in ("finished", "stopped"):
        raise UserError(
            f"The trial did not finish: {status.detail}",
            hint=status.hint or f"Look into {run.log}.",
        )
    return progress


def show_captions(pictures: Path) -> None:
    """Show what tagger and captioner wrote beside one picture."""
    first = sorted(pictures.glob("*.txt"))[0]
    for line in first.read_text(encoding="utf-8").splitlines():
        print(f"    {first.stem}: {line}")


@dataclass(frozen=True)
class Before:
    """What the starter paints and knows untaught: a row of the grid, a share of its subjects."""

    shown: list[Image.Image]
    others: float


def scenes_shown() -> list[Scene]:
    """Return the columns of the grid; both halves are the first of those that are judged."""
    from tools.starter import trial

    return [*trial.scenes_of(TRIGGER, 3), *trial.scenes_of(KIND, 3)]


def look_before(pictures: int, should_stop: Callable[[], bool]) -> Before:
    """Paint and judge with the starter as it ships. Raises `Interrupted` once it should stop."""
    from tools.starter import trial
    from tools.starter.generate import load_model
    from tools.starter.judge_model import Judge

    paint = trial.painter(load_model(STARTER_MODEL), should_stop)
    known = trial.others_known(paint, Judge.load(STARTER_JUDGE), pictures)
    return Before(paint(scenes_shown()), known)


def look_after(lora: Path, before: Before, sheet_path: Path, pictures: int) -> Scores:
    """Paint with the LoRA, have the judge look, and write the grid of all strengths."""
    from tools.starter import trial
    from tools.starter.judge_model import Judge

    paint = trial.painter(trial.taught_model(lora))
    asked = trial.Trial(SUBJECT, TRIGGER, KIND, pictures)
    scores = trial.score(paint, Judge.load(STARTER_JUDGE), asked, before.others)
    shown = scenes_shown()
    half = trial.pictures_of(trial.taught_model(lora, 0.5), shown)
    rows = [("0", before.shown), ("0.5", half), ("1", paint(shown))]
    with atomic_path(sheet_path) as temporary:
        columns = [scene.prompt.replace(" background", "") for scene in shown]
        trial.grid(rows, columns).save(temporary, format="PNG")
    return scores


def tell(scores: Scores) -> bool:
    """Say in words and numbers what was learned; tells whether it is good."""
    good = (
        scores.with_trigger >= ENOUGH_WITH,
        scores.without_trigger <= ENOUGH_WITHOUT,
        scores.lost <= ENOUGH_LOST,
    )
    lines = (
        f"The {SUBJECT} was painted in {scores.with_trigger:.0%} of the pictures that asked for "
        f"“{TRIGGER}” (at least {ENOUGH_WITH:.0%} is good)",
        f"and in {scores.without_trigger:.0%} of those that only asked for “{KIND}” "
        f"(at most {ENOUGH_WITHOUT:.0%} is good).",
        f"What the model knew before: {scores.others_before:.0%} right without the LoRA, "
        f"{scores.others_after:.0%} with it.",
    )
    print("The judge's verdict")
    for line, is_good in zip(lines, good, strict=True):
        print(f"  {'✓' if is_good else '✗'} {line}")
    return all(good)


def look_and_describe(workspace: Workspace, pictures: Path, judged_pictures: int) -> Before:
    """Tag and caption the pictures, and meanwhile paint untaught: those jobs leave a core idle.

    What fails or is stopped ends both. Raises `UserError`.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        looking = beside.submit(look_before, judged_pictures, stop.is_set)
        try:
            do_job(workspace, "tag_images_by_wd14_tagger", tag_values(pictures))
            do_job(workspace, "make_captions", caption_values(pictures))
            before = looking.result()
        except BaseException:
            stop.set()  # else leaving waits until everything is painted
            raise
    give_back_memory()  # the trainers need it
    return before


def run_demo(workspace: Workspace, steps: int | None, judged_pictures: int) -> int:
    """Do every part, tell what came out, return the exit code. Raises `UserError`, `OSError`."""
    began = time.monotonic()
    folder = workspace.path / "demo"
    print(f"The trial lives in {folder}", flush=True)
    pictures = copy_pictures(folder)
    write_atomic(folder / "prompts.txt", prompt_lines())
    print("1. Tags and captions for the pictures", flush=True)
    before = look_and_describe(workspace, pictures, judged_pictures)
    add_trigger(pictures)
    show_captions(pictures)
    print("2. Training", flush=True)
    processes = processes_here()
    values = train_values(folder, steps, processes.num_processes)
    training = do_job(workspace, "train_network", values, processes)
    if not training.saved:
        print("The trial was stopped before anything was learned.", file=sys.stderr)
        return EXIT_FAULT
    lora = training.saved[-1]
    print("3. Looking at what was learned", flush=True)
    sheet = folder / "before-after.png"
    good = tell(look_after(lora, before, sheet, judged_pictures))
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"LoRA:             {lora}")
    print(f"Before and after: {sheet}")
    print(f"Time:             {minutes} min {seconds} s")
    if not good:
        print("Some of it is not as good as it should be: train longer (--steps) and look again.")
    starter = "setup.bat" if os.name == "nt" else "./setup.sh"
    print(f"Look at this run in the page: {starter} --workspace {workspace.path}")
    print(f"then open Runs, {training.run.path.name}")
    return EXIT_OK


def choose_workspace(named: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return the workspace named by the flag, else by the GUI's variable, else None (default)."""
    variable = environment.get("KOHYA_GUI_WORKSPACE")
    return named or (Path(variable) if variable else None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the trial from a command line."""
    parser = argparse.ArgumentParser(prog="setup.sh demo", description=__doc__)
    parser.add_argument("--workspace", type=Path, help="folder of the trial (default: the GUI's)")
    parser.add_argument("--steps", type=int, help=f"default: {RECIPE['max_train_steps']}")
    parser.add_argument(
        "--pictures", type=int, default=40, help="judged for each question (default: 40)"
    )
    options = parser.parse_args(argv)
    if (options.steps is not None and options.steps < 1) or options.pictures < 1:
        parser.error("--steps and --pictures must be at least 1")
    keep_freed_memory()
    try:
        workspace = open_workspace(choose_workspace(options.workspace, os.environ))
        return run_demo(workspace, options.steps, options.pictures)
    except UserError as error:
        for problem in error.problems:
            print(f"Error: {problem}", file=sys.stderr)
        return EXIT_USER


if __name__ == "__main__":
    sys.exit(main())
