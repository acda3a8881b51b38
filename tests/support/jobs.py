"""Small complete jobs for tests: a tiny model, a few pictures, and a run in this process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from sd_scripts.options.jobs import TrainingJob, TrainNetworkJob
from sd_scripts.runs.events import EndEvent, Event, StepEvent, read_events
from sd_scripts.train.entry import main


def draw_pictures(folder: Path, count: int = 4, size: tuple[int, int] = (96, 80)) -> Path:
    """Write `count` different pictures (width, height) with `.txt` captions of several tags."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    for number in range(count):
        low = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(low).resize(size, Image.Resampling.BICUBIC)
        picture.save(folder / f"picture {number}.png")
        caption = f"a cat, number {number}, red, sitting, indoors"
        (folder / f"picture {number}.txt").write_text(caption, encoding="utf-8")
    return folder


@dataclass
class TinyJob:
    """Options of a job, and a place to run it in."""

    place: Path
    model: Path
    options: dict[str, object] = field(default_factory=dict)
    job_type: type[TrainingJob] = TrainNetworkJob

    def values(self, **changes: object) -> dict[str, object]:
        """Return all options; a change to None takes one away."""
        values: dict[str, object] = {
            "pretrained_model_name_or_path": str(self.model),
            "train_data_dir": str(self.place / "pictures"),
            "resolution": 64,
            "min_bucket_reso": 64,
            "caption_extension": ".txt",
            "network_dim": 2,
            "learning_rate": 1e-3,
            "max_train_epochs": 2,
            "train_batch_size": 2,
            "seed": 1,
            "output_dir": str(self.place / "output"),
            "output_name": "cat",
            "cache_dir": str(self.place / "cache"),
            "cache_latents": True,
            **self.options,
            **changes,
        }
        return {name: value for name, value in values.items() if value is not None}

    def arguments(self, **changes: object) -> list[str]:
        """Return the command line of the job."""
        given: list[str] = []
        for name, value in self.values(**changes).items():
            items = value if isinstance(value, list | tuple) else [value]
            words = [str(item).lower() if isinstance(item, bool) else str(item) for item in items]
            given += [f"--{name}", *words]
        return given

    def run(self, name: str = "run", *more: str, **changes: object) -> int:
        """Run the job in this process, in a run folder of that name; returns the exit code."""
        reset_accelerate()
        arguments = [*self.arguments(**changes), "--run_dir", str(self.place / name), *more]
        return main(self.job_type, self.job_type.name, arguments)

    def events(self, name: str = "run") -> list[Event]:
        """Return the events of a run."""
        return read_events(self.place / name / "events.jsonl")[0]

    def losses(self, name: str = "run") -> dict[int, float]:
        """Return the loss of each step of a run."""
        return {e.step: e.loss for e in self.events(name) if isinstance(e, StepEvent)}

    def end(self, name: str = "run") -> EndEvent:
        """Return the last event of a run, which must be its end."""
        event = self.events(name)[-1]
        assert isinstance(event, EndEvent)
        return event

    def tensors(self, name: str = "cat") -> dict[str, Tensor]:
        """Return the tensors of a trained file."""
        return load_file(self.place / "output" / f"{name}.safetensors")


def reset_accelerate() -> None:
    """Forget accelerate's process-wide state, as a new process would have none."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Tell whether two sets of tensors are the same, bit for bit."""
    if first.keys() != second.keys():
        return False
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())
