"""The process that keeps a model and paints: found or started, given orders, unloaded.

One serves a workspace, for all tabs and programs that are open on it; it is a run like any other
and outlives them. Its lane is its own, so it holds up no queue; in turn it is not started while
something else uses the device unless that is wished, and an idle one makes room for it. Of several
graphics cards it takes the last one that is free: jobs take the first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from kohya_gui.jobs.lanes import CARD, Lanes
from kohya_gui.jobs.launch import JobRequest, start_request
from kohya_gui.jobs.lock import file_lock
from kohya_gui.jobs.orders_journal import OrderJournal, OrderState, Painted, Story
from kohya_gui.jobs.processes import Processes
from kohya_gui.jobs.store import RunStore, RunSummary
from kohya_gui.workspace import Workspace
from sd_scripts.errors import Problem, UserError
from sd_scripts.files import write_atomic
from sd_scripts.options.jobs import TryPromptsJob
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.options.values import job_from_values
from sd_scripts.painting.orders import Order, OrderFolder, is_order_id
from sd_scripts.runs import control
from sd_scripts.runs.folder import RunFolder

JOB: Final = TryPromptsJob.name
DEVICE: Final = "try it"
"""Its lane of the queue: no other job waits for it. Behind it stands the card it has, if chosen."""
_HARMLESS: Final = frozenset({JOB, "check_pictures", "prepare_pictures", "slice_dylora"})
"""Jobs that need no graphics card."""
_ATTEMPTS: Final = 3
_JOURNALS: Final = 50


class DeviceInUse(UserError):
    """Something else is at work that pictures would slow down, or crowd out of the memory."""

    def __init__(self, running: tuple[RunSummary, ...]) -> None:
        names = ", ".join(f"“{run.name}”" for run in running)
        super().__init__(
            f"{names} is at work, and painting beside it takes time and memory from it",
            hint="Wait for its end, or say that it shall be painted all the same.",
        )
        self.running = running


@dataclass(frozen=True)
class Placed:
    """Where an order went."""

    run_id: str
    order_id: str


@dataclass(frozen=True)
class OrderView:
    """How an order stands. `unfinished`: the process is gone before it was done.

    `before` counts the orders that come before a waiting one; `fraction` is how much of all is
    painted, from 0 to 1, with the picture that is painted now.
    """

    run_id: str
    order: Order
    state: OrderState
    painted: tuple[Painted, ...]
    problems: tuple[Problem, ...]
    fraction: float
    before: int
    doing: str

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state not in ("waiting", "painting")


@dataclass(frozen=True)
class Worker:
    """The process that is there: `base` is the model it has, if any; `busy` while it paints."""

    run_id: str
    starting: bool
    busy: bool
    base: str | None


class TryWorker:
    """Orders of one workspace. Any number of threads and programs may use it at once."""

    def __init__(
        self,
        workspace: Workspace,
        store: RunStore,
        lanes: Callable[[], Lanes] = Lanes.here,
    ) -> None:
        self._workspace = workspace
        self._store = store
        self._lanes = lanes
        self._pointer = workspace.queue / "try_it"
        self._lock_path = workspace.queue / "try_it.lock"
        self._lock = threading.Lock()
        self._journals: OrderedDict[str, OrderJournal] = OrderedDict()

    # ---- asking ----
    def submit(
        self,
        order: Order,
        *,
        beside_others: bool = False,
        options: Mapping[str, object] | None = None,
        processes: Processes | None = None,
    ) -> Placed:
        """Give an order to the process, which is started if none is there.

        `options` (of `try_prompts`) and `processes` (which cards) are for one that is started.
        Raises `DeviceInUse` unless `beside_others`, and `UserError` if it cannot be started.
        """
        job = job_from_values(TryPromptsJob, options or {})
        processes = processes or Processes()
        with file_lock(self._lock_path):
            if not beside_others and (running := self.in_the_way(processes)):
                raise DeviceInUse(running)
            for _ in range(_ATTEMPTS):
                run = self._living()
                if run is None:
                    run = self._start(job_to_toml(job), processes)
                orders = OrderFolder(run)
                orders.put(order)
                gone = orders.is_closed() or self._living() is None
                # It may just be ending: what it did not claim is asked for elsewhere.
                if not gone or not orders.take_back(order.id):
                    return Placed(run.id, order.id)
        raise UserError(
            "The process that paints ends as soon as it is started",
            hint="Look at its log on the page of runs.",
        )

    def cancel(self, placed: Placed) -> None:
        """Ask for an order to end. Raises `UserError` if there is none, and `OSError`."""
        self._orders(placed).cancel(placed.order_id)

    def unload(self) -> bool:
        """Ask the process to let go of its model and end; False if there is none."""
        run = self._living()
        if run is None:
            return False
        control.request(run, "stop")
        return True

    def make_room(self) -> bool:
        """Unload a model that nobody paints with while another job wants the device.

        Meant for a timer: without a process it reads one small file.
        """
        worker = self.worker()
        if worker is None or worker.starting or worker.busy or not self.in_the_way():
            return False
        return self.unload()

    # ---- looking ----
    def worker(self) -> Worker | None:
        """Return the process that would get the next order, or None."""
        run = self._living()
        if run is None:
            return None
        orders, journal = OrderFolder(run), self._journal(run)
        journal.poll()
        newest = journal.newest
        order = _read(orders, newest) if newest else None
        return Worker(
            run_id=run.id,
            starting=not journal.started,
            busy=journal.busy or bool(orders.waiting()),
            base=order.base.path if order else None,
        )

    def in_the_way(self, processes: Processes | None = None) -> tuple[RunSummary, ...]:
        """Return the runs at work that need the card too which it has, or would get."""
        running = self._needing_cards()
        worker = self._living()
        card = self._card_of(worker) if worker else self._free_card(processes or Processes())
        if card is None:
            return running
        lanes = self._lanes()
        return tuple(run for run in running if card in lanes.held(run.device))

    def look(self, placed: Placed) -> OrderView | None:
        """Return how an order stands, or None if there is none."""
        try:
            orders = self._orders(placed)
        except UserError:
            return None
        order = _read(orders, placed.order_id)
        if order is None:
            return None
        alive = self._is_alive(orders.run) and not self._ended(orders.run)
        journal = self._journal(orders.run)
        journal.poll()
        story = journal.of(placed.order_id)
        state = story.state if story else "waiting"
        waiting = orders.waiting() if state == "waiting" else []
        if state == "waiting" and orders.is_cancelled(placed.order_id):
            state = "cancelled"
        elif state in ("waiting", "painting") and not alive:
            state = "unfinished"
        painted = tuple(story.painted) if story else ()
        return OrderView(
            run_id=placed.run_id,
            order=order,
            state=state,
            painted=painted,
            problems=self._problems(orders.run, state, story),
            fraction=journal.fraction(placed.order_id, order),
            before=sum(one < placed.order_id for one in waiting) + int(journal.busy),
            doing=journal.doing if state == "painting" or not journal.started else "",
        )

    def history(self) -> list[Placed]:
        """Return every order of the workspace, newest first."""
        found = [
            Placed(run.id, order_id)
            for run in self._store.list()
            if run.job == JOB
            for order_id in OrderFolder(run.folder).known()
        ]
        return sorted(found, key=lambda placed: placed.order_id, reverse=True)

    def pace(self, base: str) -> float | None:
        """Return the seconds that a step of a million pixels took last with a model, if known.

        With guidance a step counts twice (see `work_of`).
        """
        for placed in self.history()[:_JOURNALS]:
            view = self.look(placed)
            if view is None or view.order.base.path != base:
                continue
            # The first picture of a process is slower than all others.
            known = [one for one in view.painted if one.seconds][-3:]
            work = sum(work_of(view.order, one.index) for one in known)
            if work:
                return sum(one.seconds or 0 for one in known) / work
        return None

    # ---- inside ----
    def _problems(
        self, run: RunFolder, state: OrderState, story: Story | None
    ) -> tuple[Problem, ...]:
        """Return what went wrong with an order, or with the process that should have filled it."""
        if story is not None and story.problems:
            return story.problems
        summary = self._store.summary(run.id) if state == "unfinished" else None
        if summary is None or summary.status.state != "failed":
            return ()
        status = summary.status
        return status.problems or (Problem(status.detail, None, status.hint),)

    def _needing_cards(self) -> tuple[RunSummary, ...]:
        return tuple(run for run in self._store.list() if run.busy and run.job not in _HARMLESS)

    def _free_card(self, processes: Processes) -> str | None:
        """Return the last card that no run uses, of those that `processes` names; None where there
        are not several, or none is free."""
        lanes = self._lanes()
        running = self._needing_cards()
        free = [
            name
            for name in lanes.among(processes)
            if not any(name in lanes.held(run.device) for run in running)
        ]
        return free[-1] if free else None

    def _card_of(self, worker: RunFolder) -> str | None:
        summary = self._store.summary(worker.id)
        return summary.device.removeprefix(DEVICE).strip() or None if summary else None

    def _start(self, config_toml: str, processes: Processes) -> RunFolder:
        card = self._free_card(processes)
        cards = card.removeprefix(CARD) if card else processes.gpu_ids.partition(",")[0]
        request = JobRequest(
            job_name=JOB,
            config_toml=config_toml,
            name="try it",
            device=f"{DEVICE} {card}" if card else DEVICE,
            processes=Processes().model_copy(update={"gpu_ids": cards}),
        )
        run = start_request(self._workspace, request)
        write_atomic(self._pointer, run.id)
        return run

    def _living(self) -> RunFolder | None:
        """Return the run of the process that takes orders, or None."""
        try:
            run = self._store.get(self._pointer.read_text("utf-8", "replace").strip())
        except FileNotFoundError:
            return None
        if run is None or OrderFolder(run).is_closed() or control.is_requested(run, "stop"):
            return None
        return run if self._is_alive(run) and not self._ended(run) else None

    def _is_alive(self, run: RunFolder) -> bool:
        summary = self._store.summary(run.id)
        return summary is not None and summary.busy

    def _ended(self, run: RunFolder) -> bool:
        """Whether it has told its end, and only its process is not gone yet."""
        summary = self._store.summary(run.id)
        return summary is None or not summary.status.active

    def _orders(self, placed: Placed) -> OrderFolder:
        run = self._store.get(placed.run_id) if is_order_id(placed.order_id) else None
        if run is None:
            raise UserError("These pictures are gone", hint="Reload the page.")
        return OrderFolder(run)

    def _journal(self, run: RunFolder) -> OrderJournal:
        with self._lock:
            journal = self._journals.setdefault(run.id, OrderJournal(run.events))
            self._journals.move_to_end(run.id)
            while len(self._journals) > _JOURNALS:
                self._journals.popitem(last=False)
            return journal


def work_of(order: Order, index: int) -> float:
    """Return how much work a picture is: steps times millions of pixels, twice with guidance."""
    picture = order.pictures[index]
    passes = 2 if picture.scale > 1 else 1
    return passes * picture.sample_steps * picture.width * picture.height / 1e6


def _read(orders: OrderFolder, order_id: str) -> Order | None:
    try:
        return orders.read(order_id)
    except ValueError:
        return None  # damaged by hand: there is nothing to show
