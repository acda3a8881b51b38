"""Files: what can't be read, what is turned by its EXIF data, what is transparent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sd_scripts.dataset.doctor.findings import Finding
from sd_scripts.dataset.doctor.view import View, are, leave_out, names, pictures_word

TRANSPARENT_SHARE: Final = 0.005
"""Less than half a percent is the soft rim of a cut-out or a rounded corner, which changes nothing
that is learned."""


def unreadable(view: View) -> Iterator[Finding]:
    """Files that are no pictures, are cut off or damaged, or fit into no bucket."""
    reasons: dict[Path, str] = {
        picture.path: picture.reason
        for picture in view.plan.skipped
        if "your decision" not in picture.reason
    }
    reasons |= {path: one.damage for path, one in view.measures.items() if one.damage}
    if reasons:
        number = len(reasons)
        yield Finding(
            "unreadable",
            "bad",
            f"{pictures_word(number)} can't be used: copy {are(number, 'it', 'them')} again, save"
            f" {are(number, 'it', 'them')} anew, or leave {are(number, 'it', 'them')} out.",
            names(reasons),
            details=dict(zip(names(reasons), reasons.values(), strict=True)),
            remedies=(leave_out(reasons),),
        )


def turned(view: View) -> Iterator[Finding]:
    """Pictures that are stored lying and turned by their EXIF data.

    The trainers turn them as every viewer does, so this is a note: programs that drop EXIF data
    would show, and other trainers would learn, them lying.
    """
    found = [sample.path for sample, one in view.sound() if one.turned != 1]
    if found:
        number = len(found)
        yield Finding(
            "turned",
            "note",
            f"{pictures_word(number)} {are(number, 'is', 'are')} stored turned, with a note in"
            f" {are(number, 'its', 'their')} EXIF data how to show {are(number, 'it', 'them')}."
            " Training follows that note, so there is nothing to do.",
            names(found),
        )


def transparent(view: View) -> Iterator[Finding]:
    """Pictures with transparent parts, which are learned as white."""
    found = {
        sample.path: one.transparent
        for sample, one in view.sound()
        if one.transparent > TRANSPARENT_SHARE
    }
    if found:
        number = len(found)
        yield Finding(
            "transparent",
            "note",
            f"{pictures_word(number)} {are(number, 'has', 'have')} transparent parts. They are"
            " learned as white, unless alpha_mask is on, which leaves them out of the learning.",
            names(found),
            details=_shares(found),
            remedies=(leave_out(found),),
        )


def _shares(found: dict[Path, float]) -> dict[str, str]:
    told = [f"{share:.0%} transparent" for share in found.values()]
    return dict(zip(names(found), told, strict=True))
