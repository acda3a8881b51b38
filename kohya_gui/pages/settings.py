"""The settings page: what holds for the whole program and outlives it."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import ValidationError

from kohya_gui.context import Context
from kohya_gui.jobs.notify import post, webhook_address, wrong_address
from kohya_gui.jobs.processes import Processes, Sharing
from kohya_gui.locales import language_names
from kohya_gui.locales.speaking import BROWSERS_OWN
from kohya_gui.pages.settings_defaults import build_defaults
from kohya_gui.pages.settings_secrets import build_secrets
from kohya_gui.pages.shell import Page, widget
from kohya_gui.quick_gradio import gr
from kohya_gui.reasons import reason
from kohya_gui.settings import Settings, save_settings, settings_lock
from sd_scripts.errors import UserError


def _build(context: Context) -> None:
    text = context.text
    _html(f'<h1 class="kg-page-title">{escape(text("settings.title"))}</h1>')
    fields = [
        *_look(context),
        *_files(context),
        *_jobs(context),
        *_notifications(context),
        *_cards(context),
    ]
    known = gr.Textbox(visible="hidden", elem_id="setting-known")
    save = gr.Button(text("settings.save"), variant="primary", elem_id="setting-save")
    said = gr.HTML("", apply_default_css=False, js_on_load=None, elem_id="setting-said")
    build_defaults(context)
    _login(context)
    build_secrets(context)
    _trackers(context)

    def load() -> list[Any]:
        now = context.settings()
        return shown(now, now)

    def shown(now: Settings, stored: Settings) -> list[Any]:
        general = now.model_dump()
        general["roots"] = "\n".join(now.roots)
        cards = now.processes.model_dump()
        boxes = [*(general[name] for name in _GENERAL), *(cards[name] for name in _CARDS)]
        return [stored.model_dump_json(), *boxes]

    def keep(before: str, *given: Any) -> list[Any]:
        values: dict[str, Any] = dict(zip(_GENERAL, given, strict=False))
        lines = str(values["roots"] or "").splitlines()
        values["roots"] = [line.strip() for line in lines if line.strip()]
        values["webhook"] = str(values["webhook"] or "").strip()
        cards = given[len(_GENERAL) :]
        values["processes"] = filled(dict(zip(_CARDS, cards, strict=True)))
        said = keep_settings(context, values, before)
        if said.boxes is None or said.stored is None:
            return [said.markup, *(gr.skip() for _ in (before, *given))]
        return [said.markup, *shown(said.boxes, said.stored)]

    quick: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    save.click(keep, [known, *fields], [said, known, *fields], **quick)
    blocks = gr.context.Context.root_block
    assert isinstance(blocks, gr.Blocks), "a page is built within its application"
    blocks.load(load, None, [known, *fields], **quick)


def _look(context: Context) -> list[Any]:
    text = context.text
    with gr.Column(elem_classes=["kg-card"]):
        _html(f'<h2 class="kg-h">{escape(text("settings.look"))}</h2>')
        widget("language", elem_id="kg-language")
        widget("theme", elem_id="kg-theme")
        tier = gr.Radio(
            [(text(f"js.form.tier_{name}"), name) for name in ("basic", "advanced", "expert")],
            label=text("settings.tier"),
            info=text("settings.tier_info"),
            elem_id="setting-tier",
            interactive=True,
        )
        language = gr.Dropdown(
            [
                (text("settings.language_auto"), BROWSERS_OWN),
                *((name, code) for code, name in language_names().items()),
            ],
            label=text("settings.language"),
            info=text("settings.language_info"),
            elem_id="setting-language",
            interactive=True,
        )
    return [tier, language]


def _files(context: Context) -> list[Any]:
    text = context.text
    with gr.Column(elem_classes=["kg-card"]):
        _html(f'<h2 class="kg-h">{escape(text("settings.files"))}</h2>')
        roots = gr.Textbox(
            label=text("settings.roots"),
            info=text("settings.roots_info", home=Path.home()),
            lines=3,
            elem_id="setting-roots",
            interactive=True,
        )
        _html(
            f"<p><strong>{escape(text('settings.workspace'))}</strong> "
            f"<code>{escape(str(context.workspace.path))}</code></p>"
            f"<p class='kg-quiet kg-small'>{escape(text('settings.workspace_info'))}</p>"
        )
    return [roots]


def _jobs(context: Context) -> list[Any]:
    text = context.text
    with gr.Column(elem_classes=["kg-card"]):
        _html(f'<h2 class="kg-h">{escape(text("settings.jobs"))}</h2>')
        when_busy = gr.Radio(
            [(text(f"settings.busy_{name}"), name) for name in ("queue", "refuse")],
            label=text("settings.when_busy"),
            elem_id="setting-when-busy",
            interactive=True,
        )
        allow_hub = gr.Checkbox(
            label=text("settings.allow_hub"),
            info=text("settings.allow_hub_info"),
            elem_id="setting-allow-hub",
            interactive=True,
        )
    return [when_busy, allow_hub]


_GENERAL: Final = ("tier", "language", "roots", "when_busy", "allow_hub", "webhook")
_CARDS: Final = tuple(Processes.model_fields)


def _notifications(context: Context) -> list[Any]:
    text = context.text

    def webhook_state(_: object = None) -> dict[str, Any]:
        """Tell what went wrong last."""
        reason = context.notifier.problem
        trouble = None if reason is None else text("settings.webhook_trouble", reason=reason)
        return {"problem": trouble}

    def try_webhook(_: object = None) -> dict[str, Any]:
        """Post a test message to the address that is set."""
        return send_test(context)

    with gr.Column(elem_classes=["kg-card"]):
        _html(
            f'<h2 class="kg-h">{escape(text("settings.notify"))}</h2>'
            f'<p class="kg-quiet kg-why">{escape(text("settings.notify_why"))}</p>'
        )
        webhook = gr.Textbox(
            label=text("settings.webhook"),
            info=text("settings.webhook_info"),
            elem_id="setting-webhook",
            interactive=True,
        )
        widget("notify", server=[webhook_state, try_webhook], elem_id="kg-notify")
    return [webhook]


def send_test(context: Context) -> dict[str, Any]:
    """Post a test message; return what to say about it."""
    text = context.text
    try:
        address = webhook_address(context.settings().webhook)
    except UserError as error:
        return {"good": False, "text": text("settings.webhook_failed", reason=error)}
    if address is None:
        return {"good": False, "text": text("settings.webhook_none")}
    words = f"{text('app.title')}: test"
    reason = post(address, {"event": "test", "text": words, "content": words})
    if reason is None:
        return {"good": True, "text": text("settings.webhook_works")}
    return {"good": False, "text": text("settings.webhook_failed", reason=reason)}


def _login(context: Context) -> None:
    with gr.Column(elem_classes=["kg-card"]):
        _html(f'<h2 class="kg-h">{escape(context.text("settings.login"))}</h2>')
        widget("login", elem_id="kg-login")


_TRACKERS: Final = (
    ("TensorBoard", "tensorboard", "setup install --extras trackers"),
    ("Weights & Biases", "wandb", "pip install wandb"),
)
"""Name, package and how to add it."""


def _trackers(context: Context) -> None:
    text = context.text
    rows = []
    for name, package, command in _TRACKERS:
        if importlib.util.find_spec(package) is not None:  # looked for, not imported
            words = text("settings.tracker_ready", name=name)
        else:
            words = text("settings.tracker_missing", name=name, command=command)
        rows.append(f"<li>{escape(words)}</li>")
    with gr.Column(elem_classes=["kg-card"]):
        _html(
            f'<h2 class="kg-h">{escape(text("settings.trackers"))}</h2>'
            f'<p class="kg-quiet kg-why">{escape(text("settings.trackers_why"))}</p>'
            f"<ul class='kg-list'>{''.join(rows)}</ul>"
            f'<p class="kg-quiet kg-small">{escape(text("settings.tracker_key"))}</p>'
        )


def filled(values: dict[str, Any]) -> dict[str, Any]:
    """Return what was filled in; an empty number box means the default."""
    return {name: value for name, value in values.items() if value is not None}


def _cards(context: Context) -> list[Any]:
    """Place the boxes that say where trainings run, in the order of `_CARDS`."""
    text = context.text
    defaults = Processes()
    boxes: list[Any] = []
    with gr.Column(elem_classes=["kg-card"]):
        _html(
            f'<h2 class="kg-h">{escape(text("settings.cards"))}</h2>'
            f'<p class="kg-quiet kg-why">{escape(text("settings.cards_why"))}</p>'
        )
        for name in _CARDS:
            look: dict[str, Any] = {
                "label": text(f"settings.{name}"),
                "info": text(f"settings.{name}_info"),
                "elem_id": f"setting-{name.replace('_', '-')}",
                "interactive": True,
            }
            is_text = isinstance(defaults.model_dump()[name], str)
            if name == "sharing":
                ways = [(text(f"settings.sharing_{way}"), way) for way in get_args(Sharing)]
                boxes.append(gr.Radio(ways, **look))
            else:
                boxes.append(gr.Textbox(**look) if is_text else gr.Number(precision=0, **look))
    return boxes


def _html(markup: str) -> None:
    gr.HTML(markup, apply_default_css=False, js_on_load=None)


@dataclass(frozen=True)
class Said:
    """What to say about saving, as markup; what the page's boxes hold then (None: the same), and
    what is stored."""

    markup: str
    boxes: Settings | None = None
    stored: Settings | None = None


def keep_settings(context: Context, values: dict[str, Any], before: str = "") -> Said:
    """Write the settings. `before` are those that the page was filled with, as JSON: what was not
    changed in the page stays as others have set it meanwhile, and of what both have changed
    nothing is written but told."""
    text = context.text
    bad = [root for root in values["roots"] if not _is_folder(root)]
    if bad:
        shown = ", ".join(root if len(root) < 300 else f"{root[:300]}…" for root in bad)
        return _said("kg-bad", text("settings.bad_root", folder=shown))
    if values.get("webhook") and wrong_address(values["webhook"]):
        return _said("kg-bad", text("settings.webhook_wrong"))
    values["roots"] = [str(Path(root).expanduser().absolute()) for root in values["roots"]]
    try:
        with settings_lock(context.workspace):
            stored = context.settings()
            now = stored.model_dump(mode="json")
            mine = Settings.model_validate({**now, **values}).model_dump(mode="json")
            base = _known(before) or now
            wanted = [name for name in values if mine[name] != base.get(name)]
            both = [name for name in wanted if base.get(name) != now[name] != mine[name]]
            new = Settings.model_validate({**now, **{name: mine[name] for name in wanted}})
            if both:
                names = ", ".join(text(f"settings.{_LABELS.get(name, name)}") for name in both)
                return _said("kg-bad", text("settings.changed_meanwhile", names=names), new, stored)
            save_settings(context.workspace, new)
    except ValidationError as error:
        # pydantic's own words begin with where; ours are behind "Value error, "
        reasons = "; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors())
        return _said("kg-bad", text("settings.not_saved", reason=reasons))
    except (UserError, OSError) as error:
        return _said("kg-bad", text("settings.not_saved", reason=reason(error)))
    return _said("kg-good", text("settings.saved"), new, new)


def _is_folder(root: str) -> bool:
    try:
        return Path(root).expanduser().is_dir()
    except (OSError, ValueError, RuntimeError):  # no name that a system takes, nobody's home
        return False


_LABELS: Final = {"processes": "cards"}
"""Settings whose text has another name."""


def _known(before: str) -> dict[str, Any]:
    """Read what the page was filled with; nothing if that is not understood."""
    try:
        found = json.loads(before or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _said(
    tone: str, words: str, boxes: Settings | None = None, stored: Settings | None = None
) -> Said:
    return Said(f'<p class="kg-note {tone}" role="status">{escape(words)}</p>', boxes, stored)


PAGE: Final = Page("settings", "nav.settings", _build)
