"""The page that tries prompts: a model, networks with strengths, and tables of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from kohya_gui.context import Context
from kohya_gui.forms.preparation import whole_path
from kohya_gui.forms.starter import starter_is_there
from kohya_gui.jobs.try_worker import DeviceInUse, OrderView, Placed
from kohya_gui.pages.folders import folder_lister
from kohya_gui.pages.shell import Page, widget
from kohya_gui.reasons import reason, told_line, told_row
from kohya_gui.thumbnails import Thumbnails
from kohya_gui.trying.sources import (
    RunOffer,
    base_facts,
    network_facts,
    offer_of,
    prompts_of,
    recent_runs,
)
from kohya_gui.trying.wishes import MAX_STRENGTH, Wish, too_many, wrong_fields
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TryPromptsJob
from sd_scripts.painting.orders import MAX_PICTURES, Order
from sd_scripts.shipped import STARTER_MODEL
from sd_scripts.train.prompts import SAMPLERS

SIDE: Final = 320
"""Longest side of a small copy in a table, in pixels."""
NUM_SMALL: Final = 16
"""So many small copies are made in one look."""
NUM_SHOWN: Final = 5
MOST_SHOWN: Final = 200

Answer = dict[str, Any]


class TryPage:
    """What the script of the page asks. It keeps nothing: orders and pictures are on the disk."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._text = context.text
        self._small = Thumbnails(context.thumbnails, SIDE)

    def build(self) -> None:
        """Place the page."""
        widget(
            "try_it",
            server=[
                folder_lister(self._context),
                self._try_sources,
                self._try_base,
                self._try_network,
                self._try_run,
                self._try_start,
                self._try_rest,
                self._try_look,
                self._try_cancel,
                self._try_unload,
            ],
            elem_id="kg-try",
        )

    # ---- what there is to try ----
    def _try_sources(self, _: object = None) -> Answer:
        """Return the models and networks of recent runs, the starter, and the samplers."""
        offers = recent_runs(self._context.store)
        bases = [str(STARTER_MODEL)] if starter_is_there() else []
        bases = [str(offer.base["path"]) for offer in offers] + bases
        bases += [file for offer in offers if offer.whole_models for file in offer.files[-1:]]
        return {
            "bases": [
                {
                    "path": path,
                    "name": self._base_name(path),
                }
                for path in dict.fromkeys(bases)
                if self._allowed(path)
            ],
            "runs": [_offer(one) for one in offers if not one.whole_models],
            "samplers": [name for name in SAMPLERS if not name.startswith("k_")],
            "most_strength": MAX_STRENGTH,
        }

    def _try_base(self, request: object = None) -> Answer:
        """Return what a base model is."""
        path = self._whole(_given(request, "path"))
        try:
            return {"path": path, **base_facts(self._seen(path))}
        except UserError as error:
            return _problems(error)

    def _try_network(self, request: object = None) -> Answer:
        """Return what a network's file says of itself."""
        try:
            return network_facts(self._seen(self._whole(_given(request, "path"))))
        except UserError as error:
            return _problems(error)

    def _try_run(self, request: object = None) -> Answer:
        """Return what to fill in for a run: base, checkpoints and sample prompts."""
        summary = self._context.store.summary(_given(request, "run"))
        offer = offer_of(summary) if summary is not None else None
        if summary is None or offer is None:
            return {"problems": [self._text("try.no_run")]}
        prompts = prompts_of(summary)
        first = prompts[0] if prompts else None
        return {
            **_offer(offer),
            "base": dict(offer.base),
            "prompts": [one.prompt for one in prompts],
            "negative": first.negative_prompt if first else "",
            "width": first.width if first else None,
            "height": first.height if first else None,
            "steps": first.sample_steps if first else None,
            "scale": first.scale if first else None,
            "seed": first.seed if first else None,
            "sampler": (first.sample_sampler or "").removeprefix("k_") if first else "",
        }

    # ---- orders ----
    def _try_start(self, request: object = None) -> Answer:
        """Order the pictures that are wished for; tells what is wrong, or what is in the way."""
        data = request if isinstance(request, Mapping) else {}
        try:
            wish = Wish.model_validate(data.get("wish"))
        except ValidationError as error:
            fields = ", ".join(self._text(f"try.field_{name}") for name in wrong_fields(error))
            return {"problems": [self._text("try.wrong", fields=fields)]}
        if too_many(wish):
            text = self._text("try.too_many", count=wish.num_pictures, most=MAX_PICTURES)
            return {"problems": [text]}
        try:
            for path in (wish.base.path, wish.base.vae, *wish.files):
                if path is not None:
                    self._seen(path)
        except UserError as error:
            return _problems(error)
        return self._submit(wish.order(), beside=bool(data.get("beside")))

    def _try_rest(self, request: object = None) -> Answer:
        """Order what an order left unpainted."""
        view = self._context.trying.look(_placed(request))
        if view is None:
            return {"problems": [self._text("try.gone")]}
        done = {one.index for one in view.painted}
        missing = [one for number, one in enumerate(view.order.pictures) if number not in done]
        if not missing:
            return {"problems": [self._text("try.gone")]}
        rest = Order(
            base=view.order.base,
            pictures=tuple(missing),
            title=view.order.title,
            origin=view.order.origin,
        )
        return self._submit(rest, beside=bool(_given(request, "beside")))

    def _submit(self, order: Order, *, beside: bool) -> Answer:
        settings = self._context.settings()
        try:
            placed = self._context.trying.submit(
                order,
                beside_others=beside,
                options=settings.page_defaults.get(TryPromptsJob.name),
                processes=settings.processes,
            )
        except DeviceInUse as in_use:
            names = ", ".join(run.name for run in in_use.running)
            return {"busy": self._text("try.busy", names=names)}
        except UserError as error:
            return _problems(error)
        except OSError as error:
            return {"problems": [self._text("try.cannot_write", why=reason(error))]}
        return {"run": placed.run_id, "order": placed.order_id}

    def _base_name(self, path: str) -> str:
        """Return what a model is called in the page."""
        return self._text("try.starter") if path == str(STARTER_MODEL) else Path(path).name

    def _try_look(self, request: object = None) -> Answer:
        """Return the newest orders with their pictures, and how the process stands."""
        data = request if isinstance(request, Mapping) else {}
        asked = data.get("shown")
        shown = min(asked, MOST_SHOWN) if isinstance(asked, int) and asked > 0 else NUM_SHOWN
        trying = self._context.trying
        history = trying.history()
        views = [view for placed in history[:shown] if (view := trying.look(placed)) is not None]
        worker = trying.worker()
        base = data.get("base")
        left = NUM_SMALL
        rows = []
        for view in views:
            row, made = self._row(view, left)
            left -= made
            rows.append(row)
        return {
            "orders": rows,
            "more": len(history) > shown,
            "active": any(not view.over for view in views),
            "more_small": left <= 0,
            "worker": None
            if worker is None
            else {
                "starting": worker.starting,
                "busy": worker.busy,
                "base": self._base_name(worker.base) if worker.base else "",
            },
            "pace": trying.pace(base) if isinstance(base, str) and base else None,
        }

    def _row(self, view: OrderView, left: int) -> tuple[Answer, int]:
        """Return an order for the page, and how many small copies were made for it."""
        made = 0
        painted: dict[int, Answer] = {}
        for one in view.painted:
            path = Path(one.path)
            small = self._small.find(path)
            if small is None and made < left and path.is_file():
                small = self._small.make(path)
                made += 1
            painted[one.index] = {
                "file": one.path,
                "small": str(small) if small else None,
                "seconds": one.seconds,
            }
        order = view.order
        return {
            "run": view.run_id,
            "order": order.id,
            "created": order.created,
            "title": order.title,
            "base": order.base.model_dump(exclude_none=True),
            "base_name": self._base_name(order.base.path),
            "origin": order.origin,
            "state": view.state,
            "fraction": view.fraction,
            "before": view.before,
            "loading": view.doing.startswith("loading"),
            "problems": [told_row(one, "text") for one in view.problems],
            "pictures": [
                {**one.model_dump(), "painted": painted.get(number)}
                for number, one in enumerate(order.pictures)
            ],
        }, made

    def _try_cancel(self, request: object = None) -> Answer:
        """Ask for an order to end."""
        try:
            self._context.trying.cancel(_placed(request))
        except (UserError, OSError):
            return {"problems": [self._text("try.gone")]}
        return {}

    def _try_unload(self, _: object = None) -> Answer:
        """Ask the process to unload its model."""
        return {"asked": self._context.trying.unload()}

    # ---- files that may be looked into ----
    def _whole(self, path: str) -> str:
        return whole_path(path.strip(), self._context.workspace)

    def _allowed(self, path: str) -> bool:
        own = starter_is_there() and path == str(STARTER_MODEL)
        if own or self._context.browser().allowed(path) is not None:
            return True
        # What the program's own runs started from or have written may be tried wherever it is.
        offers = recent_runs(self._context.store)
        return any(path == one.base["path"] or path in one.files for one in offers)

    def _seen(self, path: str) -> str:
        """Return a path that the page may look into. Raises `UserError`."""
        if not path:
            raise UserError(self._text("try.no_file"))
        if not self._allowed(path):
            raise UserError(self._text("try.outside", path=path))
        return path


def _offer(offer: RunOffer) -> Answer:
    return {
        "run": offer.run_id,
        "name": offer.name,
        "base_path": str(offer.base["path"]),
        "files": [{"path": path, "name": Path(path).stem} for path in offer.files],
        "whole": offer.whole_models,
    }


def _problems(error: UserError) -> Answer:
    return {"problems": [told_line(one) for one in error.problems]}


def _given(request: object, name: str) -> str:
    value = request.get(name) if isinstance(request, Mapping) else None
    return value if isinstance(value, str) else ""


def _placed(request: object) -> Placed:
    return Placed(_given(request, "run"), _given(request, "order"))


def _build(context: Context) -> None:
    TryPage(context).build()


PAGE: Final = Page("try", "nav.try", _build)
