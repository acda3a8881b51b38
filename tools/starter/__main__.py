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


def _vae(work: Path, share: float) -> None:
    from tools.starter.vae import train_vae

    train_vae(work, share)


def _decoder(work: Path, share: float) -> None:
    from tools.starter.vae import train_decoder

    train_decoder(work, share)


def _unet(work: Path, share: float) -> None:
    from tools.starter.unet import train_unet

    train_unet(work, share)


def _judge(work: Path, share: float) -> None:
    from tools.starter.judge import train_judge

    train_judge(work, share)


def _tagger(work: Path, share: float) -> None:
    from tools.starter.tagger import train_tagger

    train_tagger(work, share)


def _captioner(work: Path, share: float) -> None:
    from tools.starter.captioner import train_captioner

    train_captioner(work, share)


def _pictures(work: Path, _share: float) -> None:
    from tools.starter.demo_pictures import write_pictures

    write_pictures(work)


PARTS: Final[dict[str, tuple[str, Callable[[Path, float], None]]]] = {
    "vae": ("vae/config.json", _vae),
    "decoder": ("decoder.done", _decoder),
    "unet": ("unet.done", _unet),
    "judge": ("judge/config.json", _judge),
    "tagger": ("tagger/selected_tags.csv", _tagger),
    "captioner": ("captioner/config.json", _captioner),
    "pictures": ("pictures", _pictures),
}
"""In the order they need each other: what is there when a part is done, and what makes it."""


def make(work: Path, starter: Path, share: float = 1.0) -> None:
    """Make every part that is not there yet, then write all that ships. Raises `UserError`."""
    from tools.starter.assemble import assemble

    for name, (sign, make_part) in PARTS.items():
        if (work / sign).exists():
            print(f"{name}: made already", flush=True)
            continue
        print(f"{name}: being made", flush=True)
        make_part(work, share)
    size = assemble(work, starter)
    print(f"{starter}: {size / 1e6:.1f} MB")


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.starter", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for what is in the making")
    parser.add_argument("--out", type=Path, default=STARTER, help="default: presets/starter")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of every training's steps: 0.01 tries the way"
    )
    options = parser.parse_args(argv)
    if not 0 < options.share <= 1:
        parser.error("--share must be above 0 and at most 1")
    if options.share < 1 and options.out == STARTER:
        parser.error("--share below 1 makes nothing worth shipping: name another folder by --out")
    try:
        make(options.work, options.out, options.share)
    except UserError as error:
        for problem in error.problems:
            print(f"Error: {problem}", file=sys.stderr)
        return EXIT_USER
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
