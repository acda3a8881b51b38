"""The GUI with a language that is none: German texts are the English ones, each between ⟦ and ⟧.

What stands on a page without these marks was not taken from the texts. Started as the GUI is:
`python -m tests.support.pseudo_gui --headless …`.
"""

from __future__ import annotations

import sys
from typing import Final

from kohya_gui import locales
from tools.gate.stale_texts import english_texts

MODULE: Final = "tests.support.pseudo_gui"
LANGUAGE: Final = "de"
BEGIN: Final = "⟦"
END: Final = "⟧"


def _speak_between_marks() -> None:
    real = locales.own_texts
    marked = {key: f"{BEGIN}{text}{END}" for key, text in english_texts().items()}
    vars(locales)["own_texts"] = lambda code: marked if code == LANGUAGE else real(code)
    locales.load_texts.cache_clear()


if __name__ == "__main__":
    _speak_between_marks()
    from kohya_gui.__main__ import main  # after the texts have changed

    sys.exit(main())
