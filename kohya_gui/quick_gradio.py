"""Import Gradio in half the time, without its rewriting of stub files, and open pages faster.

Whenever Gradio defines a component class, it parses that class's source, renders a type stub
from a template and compares it with the `.pyi` file in its own installation folder. That takes
1.2 of the 2.5 seconds of `import gradio` and is of use to Gradio's developers only. Its code
skips the work for classes whose source file cannot be found, so while Gradio is imported, the
source files of its classes cannot be found.

For each page that is opened, it also writes down the configuration of every component of every page
(0.15 s, and 3 MB that stay), for links that bring back what somebody typed. We offer none.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast


@contextmanager
def _sources_of_gradio_hidden() -> Iterator[None]:
    """Let `inspect.getfile` raise `OSError` for Gradio's classes, as it does for built-in ones."""
    original = inspect.getfile

    def getfile(object: Any) -> str:
        if isinstance(object, type) and object.__module__.startswith("gradio."):
            raise OSError("hidden while Gradio is imported")
        return original(object)

    inspect.getfile = getfile
    try:
        yield
    finally:
        inspect.getfile = original


# No word to anyone about this program being used, and no question for newer versions.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

with _sources_of_gradio_hidden():
    import gradio as gr
    from gradio import state_holder


class _LightSession(state_holder.SessionState):
    """What Gradio keeps of an open page, without a copy of all pages: what is wanted is added."""

    def __init__(self, blocks: gr.Blocks) -> None:
        without_copies = SimpleNamespace(default_config=blocks.default_config, blocks={})
        super().__init__(cast("gr.Blocks", without_copies))


vars(state_holder)["SessionState"] = _LightSession

__all__ = ["gr"]
