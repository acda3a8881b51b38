"""Gradio's application, sent in the language of each request: pages are built with marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kohya_gui.calls import refuse_values
from kohya_gui.locales.speaking import SpokenTexts
from kohya_gui.quick_gradio import gr

if TYPE_CHECKING:
    from gradio.block_function import BlockFunction
    from gradio.state_holder import SessionState

_NOTHING: Final = gr.components._Keywords.FINISHED_ITERATING
"""What Gradio passes over in what an event returns."""


class SpokenBlocks(gr.Blocks):
    """Whoever reads `config` and `auth_message` for a page gets them in the language asked for.

    Each language is said once and kept: what has no words in it is shared by all of them.
    """

    def __init__(self, text: SpokenTexts, title: str) -> None:
        self._text = text
        self._built: Any = None
        self._message: str | None = None
        self._by_language: dict[str, Any] = {}
        self.complete = False
        super().__init__(analytics_enabled=False, title=title)

    def turn_to(self, path: str) -> None:
        """Let what is built from here on stand on the page at `path`; "" is the first one.

        Called within `with`. Gradio's own `route` wants a `with` for each page, and at the end of
        each Gradio makes a whole server of all pages so far, to throw it away.
        """
        if path:
            self.pages.append((path, path, True))
            self.current_page = path

    def get_config_file(self) -> Any:
        """Return what is sent for all pages; nothing until they are `complete`.

        Gradio asks for it twice when the last page is built, and twice before it serves them.
        """
        return super().get_config_file() if self.complete else {}

    async def preprocess_data(
        self,
        block_fn: BlockFunction,
        inputs: list[Any],
        state: SessionState | None,
        explicit_call: bool = False,
    ) -> list[Any]:
        """Return what an event is given; what a control cannot be is refused, and no fault."""
        try:
            given = await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except (gr.Error, ValueError, TypeError, AttributeError, LookupError, OverflowError) as bad:
            refuse_values()
            raise gr.Error("not a value of this control", print_exception=False) from bad
        return list(given)

    async def postprocess_data(
        self, block_fn: BlockFunction, predictions: Any, state: SessionState | None
    ) -> list[Any]:
        """Return what an event sends; what it skips is left alone.

        Gradio makes each skipped component anew and describes it: 0.1 s for a form of 190 options.
        """
        if not isinstance(predictions, list):
            return await super().postprocess_data(block_fn, predictions, state)
        skip = gr.skip()
        skipped = [place for place, one in enumerate(predictions) if one == skip]
        rest = [_NOTHING if one == skip else one for one in predictions]
        output = await super().postprocess_data(block_fn, rest, state)
        for place in skipped:
            output[place] = skip
        return output

    @property
    def config(self) -> Any:
        """What Gradio sends for the pages."""
        language = self._text.now().language
        if language not in self._by_language:
            self._by_language[language] = self._text.speak(self._built)
        return self._by_language[language]

    @config.setter
    def config(self, built: Any) -> None:
        self._built = built
        self._by_language.clear()

    @property
    def auth_message(self) -> str | None:
        """What stands above the login."""
        return None if self._message is None else str(self._text.speak(self._message))

    @auth_message.setter
    def auth_message(self, message: str | None) -> None:
        self._message = message
