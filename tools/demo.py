"""The trial run of `setup.sh demo`: the main job in small, from pictures to a LoRA, on any machine.

Makes a tiny model of random weights and a few drawn pictures in `<workspace>/demo`, trains a LoRA
on them in a process of its own, just as the page does, and lays a picture from before the
training beside the same one from after it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from PIL import Image, ImageDraw

from kohya_gui.jobs.launch import start_run
from kohya_gui.workspace import Workspace, open_workspace
from sd_scripts.errors import EXIT_FAULT, EXIT_OK, EXIT_USER, UserError
from sd_scripts.files import atomic_path, write_atomic
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.options.values import job_from_values
from sd_scripts.runs import control
from sd_scripts.runs.events import (
    EndEvent,
    Event,
    PhaseEvent,
    SampleEvent,
    SaveEvent,
    StartEvent,
    StepEvent,
    WarningEvent,
    read_events,
)
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.status import derive_status

STEPS = 40
SIZE = 128
SEED = 42
POLL_SECONDS = 0.2
BAR_WIDTH = 30
PICTURES = (  # (caption, background, shape, its colour)
    ("a red circle on white", "white", "ellipse", "crimson"),
    ("a blue circle on white", "white", "ellipse", "royalblue"),
    ("a green square on white", "white", "rectangle", "seagreen"),
    ("a yellow square on black", "black", "rectangle", "gold"),
    ("a red square on grey", "lightgrey", "rectangle", "crimson"),
    ("a white circle on blue", "midnightblue", "ellipse", "white"),
)
PROMPT = f"a red circle on white --w {SIZE} --h {SIZE} --s 8 --l 5 --d {SEED}\n"


def draw_pictures(folder: Path) -> None:
    """Draw the training pictures with their captions, in sd-scripts' folder layout."""
    inner = folder / "2_shape"
    inner.mkdir(parents=True, exist_ok=True)
    for number, (caption, background, shape, colour) in enumerate(PICTURES):
        picture = Image.new("RGB", (SIZE, SIZE), background)
        box = (SIZE // 4, SIZE // 4, 3 * SIZE // 4, 3 * SIZE // 4)
        getattr(ImageDraw.Draw(picture), shape)(box, fill=colour)
        with atomic_path(inner / f"shape_{number}.png", durable=False) as temporary:
            picture.save(temporary, format="PNG")
        write_atomic(inner / f"shape_{number}.txt", caption, durable=False)


def make_model(path: Path) -> None:
    """Write the tiny random model, unless an earlier trial did."""
    if path.exists():
        return
    from tools import make_random_model as maker  # imports torch, so only when needed

    maker.write_checkpoint(maker.make_model("sd1", "tiny", seed=SEED), path)


def job_values(folder: Path, steps: int) -> dict[str, object]:
    """Return the options of the trial's job, all paths below `folder`."""
    return {
        "pretrained_model_name_or_path": str(folder / "tiny-random-model.safetensors"),
        "train_data_dir": str(folder / "pictures"),
        "caption_extension": ".txt",
        "resolution": str(SIZE),
        "cache_latents": True,
        "cache_dir": str(folder / "cache"),
        "network_dim": 4,
        "network_alpha": 4,
        "max_train_steps": steps,
        "learning_rate": 1e-3,
        "seed": SEED,
        "output_dir": str(folder / "output"),
        "output_name": "demo",
        "sample_prompts": str(folder / "prompts.txt"),
        "sample_at_first": True,
        "sample_every_n_steps": steps,
    }


def prepare(folder: Path, steps: int) -> str:
    """Make everything the job needs in `folder`; return the job as TOML."""
    folder.mkdir(parents=True, exist_ok=True)
    make_model(folder / "tiny-random-model.safetensors")
    draw_pictures(folder / "pictures")
    write_atomic(folder / "prompts.txt", PROMPT)
    return job_to_toml(job_from_values(TrainNetworkJob, job_values(folder, steps)))


@dataclass
class Progress:
    """Follows a run's events and shows them on one line (or, in a log, one line each tenth)."""

    live: bool
    total: int = 0
    shown: int = -1
    samples: list[SampleEvent] = field(default_factory=list)
    saved: list[Path] = field(default_factory=list)
    end: EndEvent | None = None

    def see(self, event: Event) -> None:
        """Take in one event and tell what a person wants to see of it."""
        match event:
            case StartEvent():
                self.total = event.total_steps
                self.line(
                    f"Training {event.trainable_parameters:,} parameters on "
                    f"{event.num_images} pictures, {event.total_steps} steps."
                )
            case StepEvent():
                self.bar(event)
            case PhaseEvent() if event.total and event.done >= event.total:
                self.line(f"Done: {event.name} ({event.total:g})")
            case SampleEvent():
                self.samples.append(event)
            case SaveEvent() if event.kind == "weights":
                self.saved.append(Path(event.path))
            case WarningEvent():
                self.line(f"Note: {event.text}")
            case EndEvent():
                self.end = event

    def bar(self, event: StepEvent) -> None:
        """Show how far the training is."""
        share = event.step / max(1, self.total)
        tenth = int(share * 10)
        if not self.live and tenth == self.shown:
            return
        self.shown = tenth
        bar = "#" * int(share * BAR_WIDTH)
        rest = f"  {event.eta_seconds:.0f} s left" if event.eta_seconds else ""
        text = f"[{bar:<{BAR_WIDTH}}] {event.step}/{self.total}  loss {event.loss:.4f}{rest}"
        print(f"\r{text:<78}" if self.live else text, end="" if self.live else "\n", flush=True)

    def line(self, text: str) -> None:
        """Show a line of its own, below the bar if there is one."""
        print(f"\r{text:<78}" if self.live else text, flush=True)


def follow(run: RunFolder, progress: Progress) -> None:
    """Watch the run until it has ended, however it ends; Ctrl-C asks it to save and end."""
    offset, asked = 0, False
    while True:
        try:
            events, offset = read_events(run.events, offset)
            for event in events:
                progress.see(event)
            if not events and not derive_status(run).active:
                return
            time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            if asked:
                raise
            asked = True
            progress.line("Stopping: what was learned so far is saved …")
            control.request(run, "stop")


def before_and_after(samples: Sequence[SampleEvent], path: Path) -> bool:
    """Lay the first and the last sample side by side; False when there are not two."""
    if len(samples) < 2:
        return False
    pictures = []
    for sample in (samples[0], samples[-1]):
        with Image.open(sample.path) as picture:
            pictures.append(picture.convert("RGB"))
    left, right = pictures
    gap, top = 8, 20
    size = (left.width + gap + right.width, max(left.height, right.height) + top)
    sheet = Image.new("RGB", size, "white")
    sheet.paste(left, (0, top))
    sheet.paste(right, (left.width + gap, top))
    draw = ImageDraw.Draw(sheet)
    draw.text((2, 4), "before", fill="black")
    draw.text((left.width + gap + 2, 4), f"after {samples[-1].step} steps", fill="black")
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
    return True


def run_demo(workspace: Workspace, steps: int, *, live: bool) -> int:
    """Prepare, train and tell; return the exit code. Raises `UserError`, `OSError`."""
    folder = workspace.path / "demo"
    print(f"The trial lives in {folder}", flush=True)
    toml = prepare(folder, steps)
    run = start_run(workspace, "train_network", toml, "demo")
    print(f"Log: {run.log}", flush=True)
    progress = Progress(live)
    follow(run, progress)
    if live:
        print()
    status = derive_status(run)
    if status.state not in ("finished", "stopped") or not progress.saved:
        print(f"The trial did not finish: {status.detail}", file=sys.stderr)
        print(f"What to do: {status.hint or f'look into {run.log}'}", file=sys.stderr)
        return EXIT_FAULT
    print(f"LoRA:             {progress.saved[-1]}")
    sheet = folder / "before-after.png"
    if before_and_after(progress.samples, sheet):
        print(f"Before and after: {sheet}")
    print(
        "The model of this trial has random weights, so its pictures are noise: the trial shows\n"
        "that everything works here. For real pictures choose a real model in the page."
    )
    return EXIT_OK


def choose_workspace(named: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return the workspace named by the flag, else by the GUI's variable, else None (default)."""
    variable = environment.get("KOHYA_GUI_WORKSPACE")
    return named or (Path(variable) if variable else None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the trial from a command line."""
    parser = argparse.ArgumentParser(prog="setup.sh demo", description=__doc__)
    parser.add_argument("--workspace", type=Path, help="folder of the trial (default: the GUI's)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"default: {STEPS}")
    options = parser.parse_args(argv)
    if options.steps < 1:
        parser.error("--steps must be at least 1")
    try:
        workspace = open_workspace(choose_workspace(options.workspace, os.environ))
        return run_demo(workspace, options.steps, live=sys.stdout.isatty())
    except UserError as error:
        for problem in error.problems:
            print(f"Error: {problem}", file=sys.stderr)
        return EXIT_USER


if __name__ == "__main__":
    sys.exit(main())
