"""The painter's work: take orders one after the other until nothing is asked for any more."""

from __future__ import annotations

import re
import time
import traceback
from pathlib import Path
from typing import Final

from sd_scripts.errors import Problem, UserError
from sd_scripts.options.jobs import TryPromptsJob
from sd_scripts.painting.entry import DISK_FULL, MEMORY_FULL
from sd_scripts.painting.orders import Order, OrderFolder, Picture
from sd_scripts.painting.studio import Studio, preview_prompt
from sd_scripts.runs.events import OrderEvent, SampleEvent, StartEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter, duration
from sd_scripts.runs.requests import Requests
from sd_scripts.script import Ending, disk_problem, is_out_of_memory
from sd_scripts.train.paint import Interrupted
from sd_scripts.train.preview import write_png

_LOOK_SECONDS: Final = 0.1
_PAINTING: Final = "painting"
_WAITING: Final = "waiting for the next order"


def take_orders(
    job: TryPromptsJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Ending, str]:
    """Paint what is ordered until a stop is asked for, or nothing was asked for long enough."""
    studio = Studio(job.painting, reporter.phase)
    painter = _Painter(studio, run, reporter, requests)
    painter.orders.open()
    reporter.start(_start(run))
    reporter.say(f"Painting on {studio.device} in {studio.dtype}".replace("torch.", ""))
    minutes = job.painting.idle_minutes
    try:
        while True:
            painter.wait(None if minutes is None else 60 * minutes)
            if requests.stop():
                return "stopped", "The model was unloaded as asked"
            order_id = painter.orders.claim()
            if order_id is None:
                # Whoever asks after this finds the folder closed, and asks elsewhere.
                painter.orders.close()
                order_id = painter.orders.claim()
                if order_id is None:
                    idle = f"Nothing was asked for {duration(60 * (minutes or 0))}"
                    return "finished", f"{idle}: the model was unloaded"
                painter.orders.open()
            painter.fill(order_id)
    finally:
        if run.path.is_dir():
            painter.orders.close()
        studio.unload()


def _start(run: RunFolder) -> StartEvent:
    return StartEvent(
        total_steps=0, num_epochs=0, num_images=0, family="", trainable_parameters=0, name=run.id
    )


class _Painter:
    """Fills orders, and tells how each of them stands. What is wrong with one ends only that."""

    def __init__(
        self, studio: Studio, run: RunFolder, reporter: Reporter, requests: Requests
    ) -> None:
        self.orders = OrderFolder(run)
        self._studio = studio
        self._run = run
        self._reporter = reporter
        self._requests = requests

    def wait(self, seconds: float | None) -> None:
        """Return when an order waits, a stop is asked for, the run is deleted or time is up."""
        self._reporter.phase(_WAITING, 0, 0)
        deadline = None if seconds is None else time.monotonic() + seconds
        while not (self._requests.stop() or self.orders.waiting()):
            if deadline is not None and time.monotonic() >= deadline:
                return
            if not self._run.path.is_dir():
                raise UserError("The folder of this run is gone", hint="Start it again.")
            time.sleep(_LOOK_SECONDS)

    def fill(self, order_id: str) -> None:
        """Paint an order's pictures."""
        done = total = 0

        def tell(state: str, problems: tuple[Problem, ...] = ()) -> None:
            self._reporter.order(
                OrderEvent.model_validate(
                    {"order": order_id, "state": state, "done": done, "total": total}
                ).model_copy(update={"problems": problems})
            )

        try:
            order = self.orders.read(order_id)
            assert order is not None, "it was claimed just now"
            total = len(order.pictures)
            tell("accepted")
            for note in self._studio.make_ready(order):
                self._reporter.warn(note)
            for done in range(total):
                tell("painting")
                self._paint(order, done)
            done = total
            tell("done")
        except Interrupted:
            tell("cancelled" if self.orders.is_cancelled(order_id) else "stopped")
        except UserError as error:
            tell("failed", error.problems)
        except (MemoryError, OSError, ValueError, RuntimeError) as error:
            tell("failed", (_told(error),))
            self._studio.free()

    def _paint(self, order: Order, index: int) -> None:
        picture = order.pictures[index]
        before = sum(one.sample_steps for one in order.pictures[:index])
        total = sum(one.sample_steps for one in order.pictures)
        step = 0

        def at_step() -> bool:
            nonlocal step
            # Some samplers walk more steps than they were given.
            at = before + min(step, picture.sample_steps)
            self._reporter.phase(_PAINTING, at, total, f"picture {index + 1}")
            step += 1
            self._requests.wait_while_paused()
            return self._requests.stop() or self.orders.is_cancelled(order.id)

        if at_step():
            raise Interrupted
        step = 0
        begun = time.perf_counter()
        painted = self._studio.paint(order.base, picture, at_step)
        seconds = time.perf_counter() - begun
        folder = self.orders.pictures(order.id)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _name(picture, index)
        write_png(
            painted, path, preview_prompt(picture), picture.seed, 0, _settings(order, picture)
        )
        self._reporter.painted(
            SampleEvent(
                path=str(path),
                prompt=picture.prompt,
                seed=picture.seed,
                step=0,
                index=index,
                order=order.id,
                seconds=seconds,
            )
        )


def _name(picture: Picture, index: int) -> str:
    words = re.sub(r"[^\w]+", "-", picture.prompt, flags=re.UNICODE).strip("-")[:40].strip("-")
    return "_".join(part for part in (f"{index:03d}", str(picture.seed), words) if part) + ".png"


def _settings(order: Order, picture: Picture) -> dict[str, str]:
    """Return what a picture's text says beside its prompt: the model, and what acted on it."""
    told = {"Model": Path(order.base.path).stem}
    if picture.networks:
        told["Networks"] = "; ".join(
            f"{Path(use.path).stem}: {use.strength:g}" for use in picture.networks
        )
    if picture.words:
        told["Embeddings"] = "; ".join(use.spelled for use in picture.words)
    return told


def _told(error: Exception) -> Problem:
    """Put what went wrong with an order into words; the log has the rest."""
    traceback.print_exc()
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        return MEMORY_FULL
    if isinstance(error, OSError):
        return disk_problem(error, DISK_FULL)
    text = (str(error).splitlines() or [type(error).__name__])[0]
    return Problem(
        f"The pictures could not be painted: {text}", None, "The log has the whole message."
    )
