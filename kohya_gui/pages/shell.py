"""The frame of every page: title, navigation, and the way a script is tied to a component."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from kohya_gui.context import Context
from kohya_gui.quick_gradio import gr


@dataclass(frozen=True)
class Page:
    """One page: its address ("" is the start page), the keys of its texts, and who builds it."""

    path: str
    title: str
    build: Callable[[Context], None]
    in_navigation: bool = True
    part_of: str = ""
    """The address of the page that stands for it in the navigation."""
    group: str = ""
    """The key of a menu's name: pages of a group that follow each other are in one menu."""


def widget(
    name: str,
    *,
    value: str = "",
    server: Sequence[Callable[..., Any]] = (),
    events: Sequence[str] = (),
    elem_id: str | None = None,
    facts: str = "",
) -> gr.HTML:
    """Return a component that is drawn by `KG.widgets[name]` of our scripts.

    Its markup never changes, so what the script builds inside stays; `value` is data for the
    script, which watches it. `server` functions can be called from the script, `events` can be
    triggered by it and listened to in Python (`component.<event>(…)`). `facts` is JSON that the
    script finds in `props.facts` and that does not change.
    """
    arguments = "{element, trigger, props, server, watch}"
    # The event names have to stand in the code in quotes: Gradio looks for them there.
    known = " ".join(json.dumps(event) for event in events)
    code = (
        f"/* events: {known} */ (function wait() {{ window.KG && window.KG.widgets[{name!r}] "
        f"? window.KG.mount({name!r}, {arguments}) : setTimeout(wait, 15); }})();"
    )
    return gr.HTML(
        value,
        html_template=f'<div class="kg-widget" data-widget="{name}"></div>',
        js_on_load=code,
        server_functions=[_plain(function) for function in server] or None,
        elem_id=elem_id,
        apply_default_css=False,
        facts=facts,
    )


def _plain(function: Callable[..., Any]) -> Callable[[object], Any]:
    """Return a plain function that calls this one: Gradio marks it, which methods cannot bear."""

    def call(request: object = None) -> Any:
        return function(request)

    call.__name__ = function.__name__.lstrip("_")
    return call


def told_by(event: gr.EventData) -> Mapping[str, object]:
    """Return what a widget's script told with its event."""
    return event._data if isinstance(event._data, Mapping) else {}


def build_page(context: Context, page: Page, pages: Sequence[Page]) -> None:
    """Build one page inside the frame; called within its `Blocks` route."""
    gr.components.Navbar(visible=False)
    _navigation(context, page, pages)
    with gr.Column(elem_id="kg-main", elem_classes=["kg-main"]):
        page.build(context)


def _navigation(context: Context, page: Page, pages: Sequence[Page]) -> None:
    text = context.text

    def now_running(_: object = None) -> dict[str, str] | None:
        """Return the newest run at work for the bar: its id, its name, and how far it is."""
        running = context.store.running()
        if not running:
            return None
        run = running[0]
        done = run.status.progress
        percent = "" if done is None else f" · {done:.0%}"
        more = text("nav.more_running", count=len(running) - 1) if len(running) > 1 else ""
        return {"id": run.id, "name": run.name, "rest": f"{percent}{more}"}

    links = "".join(_menu(context, page, group) for group in _groups(pages))
    markup = f"""
<a class="kg-skip" href="#kg-main">{escape(text("nav.skip"))}</a>
<nav class="kg-nav" aria-label="{escape(text("nav.label"))}"
     data-offline="{escape(text("nav.offline"))}" data-title="{escape(text(page.title))}">
  <a class="kg-brand" href="./">{escape(text("app.title"))}</a>{links}
  <span class="kg-grow"></span>
  <a class="kg-job" data-job hidden href="./runs"></a>
  <select class="kg-language" data-languages aria-label="{escape(text("nav.language"))}"
          title="{escape(text("nav.language"))}"></select>
  <button class="kg-button kg-slim" type="button" data-theme
          title="{escape(text("nav.theme"))}"></button>
</nav>"""
    code = (
        "(function wait() { window.KG && window.KG.widgets.nav "
        "? window.KG.mount('nav', {element, server}) : setTimeout(wait, 15); })();"
    )
    gr.HTML(
        markup,
        js_on_load=code,
        server_functions=[now_running],
        apply_default_css=False,
        elem_id="kg-navigation",
    )


def _groups(pages: Sequence[Page]) -> list[list[Page]]:
    """Return the pages of the navigation; those that share a menu are together."""
    found: list[list[Page]] = []
    for page in pages:
        if not page.in_navigation:
            continue
        if page.group and found and found[-1][0].group == page.group:
            found[-1].append(page)
        else:
            found.append([page])
    return found


def _menu(context: Context, current: Page, pages: Sequence[Page]) -> str:
    text = context.text
    links = "".join(_link(text(page.title), page, current) for page in pages)
    if len(pages) == 1:
        return links
    inside = any(_is_current(page, current) for page in pages)
    mark = ' data-current=""' if inside else ""
    return (
        f'<details class="kg-menu"{mark}><summary class="kg-link">{escape(text(pages[0].group))}'
        f'</summary><div class="kg-menu-list">{links}</div></details>'
    )


def _is_current(other: Page, current: Page) -> bool:
    return other.path in (current.path, current.part_of or None)


def _link(title: str, other: Page, current: Page) -> str:
    mark = ' aria-current="page"' if _is_current(other, current) else ""
    return f'<a class="kg-link" href="./{other.path}"{mark}>{escape(title)}</a>'
