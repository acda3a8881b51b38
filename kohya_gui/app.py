"""Put the pages together and serve them: the only place that starts Gradio."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import time
import webbrowser
from collections.abc import Sequence
from importlib import resources
from typing import Final

from starlette.middleware import Middleware

from kohya_gui.arguments import Arguments
from kohya_gui.calls import Calls
from kohya_gui.context import Context, make_context
from kohya_gui.delivery import OWN_FOLDER, KeptFiles, OwnScript, asset
from kohya_gui.doors import Doors
from kohya_gui.guard import Guard
from kohya_gui.locales import language_names
from kohya_gui.locales.speaking import LanguageChoice, marking
from kohya_gui.login import Attempts, LoginLimit
from kohya_gui.not_found import NotFoundPage
from kohya_gui.pages.registry import PAGES
from kohya_gui.pages.shell import build_page
from kohya_gui.quick_gradio import gr
from kohya_gui.rest.routes import PREFIX, rest_routes
from kohya_gui.spoken_blocks import SpokenBlocks
from kohya_gui.theme import make_theme
from sd_scripts.errors import EXIT_OK

SCRIPTS: Final = (
    "core",
    "nav",
    "notify",
    "settings",
    "tools",
    "chart",
    "log",
    "chooser",
    "form",
    "form_results",
    "form_fields",
    "form_presets",
    "form_bar",
    "form_insight",
    "form_side",
    "form_filter",
    "form_course",
    "form_sweep",
    "form_toml",
    "form_later",
    "run",
    "queue",
    "lists",
    "history",
    "deleting",
    "notes",
    "failure",
    "compare",
    "uploads",
    "dataset",
    "dataset_editor",
    "dataset_grid",
    "dataset_pictures",
    "captioning",
    "dataset_samples",
    "mask_easel",
    "dataset_masks",
    "dataset_jobs",
    "tool_jobs",
    "dataset_doctor",
    "dataset_prepare",
    "teach",
    "teach_pictures",
    "teach_words",
    "teach_ready",
    "teach_watch",
    "teach_trial",
    "teach_pick",
    "try_it",
    "try_results",
)
"""Scripts of the pages in the order they are loaded, from `assets/js`."""
STYLES: Final = ("app", "form", "run", "dataset", "captioning", "teach", "try")
QUEUE_LOOK_SECONDS: Final = 0.25
_UPLOAD_LIMIT: Final = "1mb"


def page_head(context: Context, script: OwnScript) -> str:
    """Return what goes into every page's head: its texts, and where its script is."""
    languages = json.dumps(language_names(), ensure_ascii=False)
    setup = (
        f"window.KG_TEXTS={context.text.for_browser()};window.KG_LANGUAGES={languages};"
        f"window.KG_LANGUAGE='{context.text.code()}';window.KG_THEME={context.settings().theme!r};"
    )
    return f'<script>{setup}</script><script src="{script.address}"></script>'


def build(context: Context) -> SpokenBlocks:
    """Return the whole application, every page on a route of its own."""
    with marking():
        blocks = SpokenBlocks(context.text, title=context.text("app.title"))
        with blocks:
            for page in PAGES:
                blocks.turn_to(page.path)
                build_page(context, page, PAGES)
        blocks.complete = True
    return blocks


def allowed_folders(context: Context) -> list[str]:
    """Return the only folders whose files the page may fetch: runs and thumbnails."""
    context.thumbnails.mkdir(parents=True, exist_ok=True)
    return [str(context.workspace.runs), str(context.thumbnails)]


def addresses() -> list[str]:
    """Return where our pages and routes are; what ends in "/" is a folder of them."""
    return [*(f"/{page.path}" for page in PAGES), f"{PREFIX}/", f"{OWN_FOLDER}/"]


def launch(
    context: Context, arguments: Arguments, *, allowed: Sequence[str] | None = None
) -> tuple[gr.Blocks, str]:
    """Build and serve; return the application and its address on this machine."""
    os.environ["GRADIO_TEMP_DIR"] = str(context.workspace.path / "uploads")
    _keep_proxies_away()
    attempts = Attempts()
    blocks = build(context)
    script = OwnScript("\n".join(asset(f"js/{name}.js") for name in SCRIPTS))
    with marking():
        head, auth_message = page_head(context, script), context.text("app.login")
    blocks.launch(
        server_name=arguments.host,
        server_port=arguments.port,
        auth=arguments.login.is_same if arguments.login else None,
        auth_message=auth_message,
        share=arguments.share,
        allowed_paths=list(allowed or allowed_folders(context)),
        blocked_paths=[str(context.workspace.settings), str(context.workspace.drafts)],
        favicon_path=str(resources.files("kohya_gui").joinpath("assets", "favicon.svg")),
        theme=make_theme(),
        css="".join(asset(f"{name}.css") for name in STYLES),
        head=head,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        show_error=True,
        max_file_size=_UPLOAD_LIMIT,
        app_kwargs={
            "middleware": [
                Middleware(Guard, only_this_machine=arguments.login is None),
                Middleware(KeptFiles),
                Middleware(LanguageChoice, setting=context.language),
                Middleware(NotFoundPage, text=context.text),
                Middleware(Doors, ours=addresses()),
                Middleware(LoginLimit, attempts=attempts),
                Middleware(
                    Calls,
                    blocks=blocks,
                    text=context.text,
                    has_login=arguments.login is not None,
                ),
            ],
            "routes": [script.route(), *rest_routes(context, arguments.login, attempts)],
        },
        quiet=True,
        inline=False,
        prevent_thread_lock=True,
    )
    # Gradio looks into its queue a thousand times a second, and for progress to tell a hundred
    # times: a twentieth of a core. None of our events waits there or tells its progress (tested).
    blocks._queue.sleep_when_free = QUEUE_LOOK_SECONDS
    blocks._queue.progress_update_sleep_when_free = QUEUE_LOOK_SECONDS
    return blocks, str(blocks.local_url)


def _settle_memory() -> None:
    """Let the garbage collector pass over what stays for good: the pages are a third of a million
    objects, and each time it goes through all of them no page is answered for 0.2 s. While they are
    made it does not look at all."""
    gc.collect()
    gc.freeze()
    gc.enable()


def _keep_proxies_away() -> None:
    """Gradio asks its own server whether it is up; a system-wide proxy must not answer."""
    for name in ("NO_PROXY", "no_proxy"):
        known = [part for part in os.environ.get(name, "").split(",") if part]
        wanted = [host for host in ("localhost", "127.0.0.1", "::1") if host not in known]
        os.environ[name] = ",".join([*known, *wanted])


def serve(arguments: Arguments, *, began: float) -> int:
    """Serve until SIGINT or SIGTERM; trainings that go on are left to themselves."""
    context = make_context(arguments.workspace, arguments.language)
    blocks, address = launch(context, arguments)
    _settle_memory()
    seconds = time.monotonic() - began
    if arguments.port_note:
        print(arguments.port_note, file=sys.stderr)
    print(f"The page is open at {address}  (ready after {seconds:.1f} s)")
    if blocks.share_url:
        print(f"Public link: {blocks.share_url}")
    if arguments.is_open_to_others:
        print("Other machines can open it too, with the login.")
    print(f"Workspace: {context.workspace.path}\nCtrl-C closes the page; trainings go on.")
    for note in context.notes:
        print(f"note: {note}", file=sys.stderr)
    sys.stdout.flush()
    if arguments.inbrowser:
        webbrowser.open(blocks.share_url or address)
    _wait_for_signal()
    context.close()
    blocks.close(verbose=False)
    return EXIT_OK


def _wait_for_signal() -> None:
    ended = threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
    while not ended.wait(1.0):  # a wait without an end would not see Ctrl-C on Windows
        pass
