"""Where the starter lies: the small models and pictures that come with the program."""

from __future__ import annotations

from pathlib import Path
from typing import Final

STARTER: Final = Path(__file__).resolve().parent.parent / "presets" / "starter"
"""Its folder, whether it is there or not: `model`, `tagger`, `captioner`, `judge`, `pictures`."""
STARTER_MODEL: Final = STARTER / "model"
STARTER_TAGGER: Final = STARTER / "tagger"
STARTER_CAPTIONER: Final = STARTER / "captioner"
STARTER_JUDGE: Final = STARTER / "judge"
STARTER_PICTURES: Final = STARTER / "pictures"
