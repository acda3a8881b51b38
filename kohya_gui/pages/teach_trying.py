"""The guided page's trial: one prompt with every result of the run, painted beside the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from kohya_gui.context import Context
from kohya_gui.guided.project import Project, Projects
from kohya_gui.guided.trying import MAX_STRENGTH, order_of
from kohya_gui.guided.workshop import Workshop
from kohya_gui.jobs.costs import SIDES
from kohya_gui.jobs.try_worker import DeviceInUse, OrderView, Placed
from kohya_gui.locales.speaking import told
from kohya_gui.pages.dataset_jobs import Answer, in_words
from kohya_gui.pages.teach_training import asked_project, results_of, run_of
from kohya_gui.reasons import told_row
from sd_scripts.errors import UserError

MAX_PROMPT: Final = 2000


class TeachTrying:
    """What the script asks about trying. The last order is kept with the project."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._text = context.text
        self._projects = Projects(context.workspace)
        self._workshop = Workshop(context)

    @property
    def functions(self) -> list[Callable[[object], Any]]:
        """What the script may call."""
        return [self.teach_try, self.teach_tried, self.teach_try_end]

    @in_words
    def teach_try(self, data: Mapping[str, Any]) -> Answer:
        """Ask for the pictures; `busy` when something else is at work and that was not wished."""
        project = asked_project(self._projects, data, self._text)
        summary = run_of(self._context.store, project, self._text)
        family = summary.status.family
        found = results_of(summary)
        if family not in SIDES or not found:
            raise UserError(self._text("teach.no_result"))
        values = self._workshop.base(project, family)
        try:
            order = order_of(project, values, family, found, self._wish(data))
        except ValidationError as error:
            raise UserError(self._text("teach.bad_trial")) from error
        try:
            placed = self._context.trying.submit(
                order,
                beside_others=bool(data.get("beside")),
                processes=self._context.settings().processes,
            )
        except DeviceInUse as in_use:
            names = ", ".join(run.name for run in in_use.running)
            return {"busy": self._text("try.busy", names=names)}
        kept = {"tried_run": placed.run_id, "tried_order": placed.order_id}
        self._projects.change(project.id, kept)
        return {}

    def _wish(self, data: Mapping[str, Any]) -> tuple[str, float, int]:
        prompt, strength, seed = (data.get(name) for name in ("prompt", "strength", "seed"))
        if not isinstance(prompt, str) or not prompt.strip():
            raise UserError(self._text("teach.no_prompt"))
        strong = float(strength) if isinstance(strength, int | float) else 1.0
        number = seed if isinstance(seed, int) else 0
        return prompt.strip()[:MAX_PROMPT], min(max(strong, 0.0), MAX_STRENGTH), number

    @in_words
    def teach_tried(self, data: Mapping[str, Any]) -> Answer:
        """Return how the last trial stands, with the pictures that are there."""
        project = asked_project(self._projects, data, self._text)
        placed = _placed(project)
        view = self._context.trying.look(placed) if placed else None
        if view is None:
            return {"state": "none"}
        first = view.order.pictures[-1]
        return {
            "state": view.state,
            "over": view.over,
            "doing": told(view.doing),
            "fraction": view.fraction,
            "prompt": first.prompt,
            "strength": first.networks[0].strength if first.networks else 1.0,
            "seed": first.seed,
            "pictures": self._pictures(view),
            "problems": [told_row(one) for one in view.problems],
        }

    def _pictures(self, view: OrderView) -> dict[str, str]:
        """Return the painted files by column; none that lies outside of the painter's run."""
        run = self._context.store.get(view.run_id)
        if run is None:
            return {}
        found: dict[str, str] = {}
        for one in view.painted:
            path = Path(run.path / one.path).resolve()
            if path.is_relative_to(run.path.resolve()) and path.is_file():
                found[view.order.pictures[one.index].column] = str(path)
        return found

    @in_words
    def teach_try_end(self, data: Mapping[str, Any]) -> Answer:
        """Ask for the trial to end where it is."""
        placed = _placed(asked_project(self._projects, data, self._text))
        if placed is not None:
            self._context.trying.cancel(placed)
        return {}


def _placed(project: Project) -> Placed | None:
    if not project.tried_run or not project.tried_order:
        return None
    return Placed(project.tried_run, project.tried_order)
