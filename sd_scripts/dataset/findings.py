"""What was found in a folder, as problems in a user's words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sd_scripts.dataset.faces import face_box
from sd_scripts.dataset.listing import Listing, same_but_for_case, same_stem
from sd_scripts.dataset.pictures import shown
from sd_scripts.dataset.scan import FolderScan
from sd_scripts.dataset.settings import SubsetSettings
from sd_scripts.dataset.words import count, some
from sd_scripts.errors import Problem


def folder_findings(
    listing: Listing, settings: SubsetSettings, scan: FolderScan, *, refuse_bad: bool
) -> Iterator[Problem]:
    """Everything worth telling about one scanned folder."""
    if not listing.pictures:
        yield _empty(listing, settings)
        return
    yield from bad_pictures(settings, scan, refuse_bad=refuse_bad)
    yield from _names(listing, settings)
    yield from _extensions(settings, scan)
    yield from _captions(settings, scan)
    yield from _caption_texts(settings, scan)
    yield from mark_stays(settings, scan)
    yield from faces_unknown(settings, scan)


def _empty(listing: Listing, settings: SubsetSettings) -> Problem:
    folder = shown(settings.image_dir)
    if listing.unreadable:
        return Problem(
            f"{folder} holds only files of kinds that can't be read: {some(listing.unreadable)}",
            settings.option,
            "save them as PNG or JPEG",
        )
    inside = f"; pictures must lie directly in it, not in {some(listing.folders)}"
    return Problem(
        f"{folder} holds no pictures",
        settings.option,
        f"put pictures into it, or leave it out{inside if listing.folders else ''}",
    )


def bad_pictures(
    settings: SubsetSettings, scan: FolderScan, *, refuse_bad: bool
) -> Iterator[Problem]:
    """Pictures that can't be read, by name."""
    if not scan.bad:
        return
    told = some((f"{problem.path.name} {problem.reason}" for problem in scan.bad), between="; ")
    hints = {problem.hint for problem in scan.bad}
    hint = hints.pop() if len(hints) == 1 else "mend or delete them"
    number = count(len(scan.bad), "picture")
    where = settings.where
    if refuse_bad:
        hint = f"{hint}; or set bad_images to skip"
        yield Problem(f"{number} in {where} can't be used: {told}", "bad_images", hint)
    elif not scan.pictures:
        message = f"no picture in {where} can be used: {told}"
        yield Problem(message, settings.option, hint)
    else:
        message = f"{number} in {where} left out: {told}"
        yield Problem(message, "bad_images", hint, "warning")


def _names(listing: Listing, settings: SubsetSettings) -> Iterator[Problem]:
    where, option = settings.where, settings.option
    if listing.unreadable:
        yield Problem(
            f"files in {where} of kinds that can't be read: {some(listing.unreadable)}",
            option,
            "save them as PNG or JPEG to use them",
            "warning",
        )
    if groups := [" and ".join(group) for group in same_stem(listing.pictures)]:
        yield Problem(
            f"pictures in {where} share one caption file, since only their extensions differ:"
            f" {some(groups)}",
            option,
            "if they are the same picture, delete one; else rename one",
            "warning",
        )
    if groups := [" and ".join(group) for group in same_but_for_case(listing.pictures)]:
        yield Problem(
            f"names in {where} differ only in capital letters: {some(groups)}",
            option,
            "rename one of each; on Windows and macOS they would be one file",
            "warning",
        )


def _extensions(settings: SubsetSettings, scan: FolderScan) -> Iterator[Problem]:
    """Captions that lie there under another extension: ignoring them is never what is wanted."""
    if not scan.other_extensions:
        return
    suffix = max(scan.other_extensions, key=lambda key: scan.other_extensions[key])
    number = scan.other_extensions[suffix]
    configured = settings.caption_extension
    if len(scan.without_caption) == len(scan.pictures):
        yield Problem(
            f"the captions of {count(number, 'picture')} in {settings.where} end in {suffix}, but"
            f" captions are looked for in files that end in {configured}",
            "caption_extension",
            f"set caption_extension to {suffix} (or move these files away to train without them)",
        )
    else:
        yield Problem(
            f"the captions of {count(number, 'picture')} in {settings.where} end in {suffix}"
            f" instead of {configured} and are not read",
            "caption_extension",
            "give all caption files of a folder the same ending",
            "warning",
        )


def _captions(settings: SubsetSettings, scan: FolderScan) -> Iterator[Problem]:
    words = settings.class_tokens
    instead = f"they get “{shown(words)}”" if words else "they get an empty caption"
    missing, total = scan.without_caption, len(scan.pictures)
    # All without captions is the ordinary way of a folder that says its words itself.
    if missing and not (words and len(missing) == total) and not scan.other_extensions:
        message = f"no picture in {settings.where} has a caption file; {instead}"
        if len(missing) < total:
            message = (
                f"{len(missing)} of {total} pictures in {settings.where} without a caption file;"
                f" {instead}: {some(missing)}"
            )
        yield Problem(
            message,
            "caption_extension",
            f"write what is seen into a file beside each picture, such as"
            f" {_stem(missing[0])}{settings.caption_extension}",
            "warning",
        )
    if scan.empty_captions:
        yield Problem(
            f"empty caption files in {settings.where} for {some(scan.empty_captions)}; {instead}",
            "caption_extension",
            "write captions into them, or delete them",
            "warning",
        )


def _caption_texts(settings: SubsetSettings, scan: FolderScan) -> Iterator[Problem]:
    if scan.bad_captions:
        told = some(
            f"{problem.path.name} {problem.reason}" for problem in scan.bad_captions.values()
        )
        yield Problem(
            f"captions in {settings.where} can't be read: {told}",
            "caption_extension",
            next(iter(scan.bad_captions.values())).hint,
        )
    if scan.other_encodings:
        told = some(f"{name} ({encoding})" for name, encoding in scan.other_encodings.items())
        yield Problem(
            f"captions in {settings.where} are not UTF-8, but could be read: {told}",
            "caption_extension",
            "look at these captions, and save them with encoding UTF-8",
            "warning",
        )
    if scan.unused_lines:
        yield Problem(
            f"caption files with several lines in {settings.where}; only the first line is used:"
            f" {some(scan.unused_lines)}",
            "enable_wildcard",
            "put each caption on one line; with enable_wildcard a random line is used",
            "warning",
        )


def mark_stays(settings: SubsetSettings, scan: FolderScan) -> Iterator[Problem]:
    """Whether the mark after fixed tags would be trained as text."""
    mark = settings.rules.keep_tokens_separator
    marked = mark and not settings.rules.splits_tags
    if marked and any(mark in picture.caption for picture in scan.pictures):
        yield Problem(
            f"“{mark}” stays in the captions of {settings.where}, since tags are neither"
            " shuffled nor left out",
            "keep_tokens_separator, shuffle_caption",
            "switch shuffle_caption on, or clear keep_tokens_separator",
            "warning",
        )


def faces_unknown(settings: SubsetSettings, scan: FolderScan) -> Iterator[Problem]:
    """Pictures that shall be cropped around faces, but tell of none."""
    if settings.face_crop_aug_range is None:
        return
    without = [one.name for one in scan.pictures if face_box(Path(one.name)) is None]
    if without:
        yield Problem(
            f"{count(len(without), 'picture')} in {settings.where} can't be cropped around a face,"
            f" since their names don't say where it is: {some(without)}",
            "face_crop_aug_range",
            "name them <name>_<x>_<y>_<width>_<height>, centre and size of the face in pixels;"
            " others are cropped as usual",
            "warning",
        )


def _stem(name: str) -> str:
    return shown(name.rsplit(".", 1)[0])
