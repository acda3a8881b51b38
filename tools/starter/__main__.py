"""Remakes the whole starter: `python -m tools.starter --work FOLDER`, a few hours on 2 cores.

Each part is trained once and kept in the work folder; an interrupted one goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from sd_scripts.errors import EXIT_OK, EXIT_USER, UserError
from sd_scripts.shipped import STARTER


def _vae(work: Path) -> None:
    from tools.starter.vae import train_vae

    train_vae(work)


def _decoder(work: Path) -> None:
    from tools.starter.vae import train_decoder

    train_decoder(work)


def _unet(work: Path) -> None:
    from tools.starter.unet import train_unet

    train_unet(work)


def _judge(work: Path) -> None:
    from tools.starter.judge import train_judge

    train_judge(work)


def _tagger(work: Path) -> None:
    from tools.starter.tagger import train_tagger

    train_tagger(work)


def _captioner(work: Path) -> None:
    from tools.starter.captioner import train_captioner

    train_captioner(work)


def _pictures(work: Path) -> None:
    from tools.starter.demo_pictures import write_pictures

    write_pictures(work)


PARTS: Final[dict[str, tuple[str, Callable[[Path], None]]]] = {
    "vae": ("vae/config.json", _vae),
    "decoder": ("decoder.done", _decoder),
    "unet": ("unet.done", _unet),
    "judge": ("judge/config.json", _judge),
    "tagger": ("tagger/selected_tags.csv", _tagger),
    "captioner": ("captioner/config.json", _captioner),
    "pictures": ("pictures", _pictures),
}
"""In the order they need each other: what is there when a part is done, and what makes it."""


def make(work: Path, starter: Path) -> None:
    """Make every part that is not there yet, then write all that ships. Raises `UserError`."""
    from tools.starter.assemble import assemble

    for name, (sign, make_part) in PARTS.items():
        if (work / sign).exists():
            print(f"{name}: made already", flush=True)
            continue
        print(f"{name}: being made", flush=True)
        make_part(work)
    size = assemble(work, starter)
    print(f"{starter}: {size / 1e6:.1f} MB")


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.starter", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for what is in the making")
    parser.add_argument("--out", type=Path, default=STARTER, help="default: presets/starter")
    options = parser.parse_args(argv)
    try:
        make(options.work, options.out)
    except UserError as error:
        for problem in error.problems:
            print(f"Error: {problem}", file=sys.stderr)
        return EXIT_USER
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
