"""Where the models lie that come with the program. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import sd_scripts

Part = Literal["tagger", "captioner"]


def starter_folder(part: Part) -> Path:
    """Return the folder of the starter's tagger or captioner, whether it is there or not."""
    return Path(sd_scripts.__file__).resolve().parent.parent / "presets" / "starter" / part
