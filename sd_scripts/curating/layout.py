"""What a prepared folder will hold: which file is made of which picture, at which size, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from sd_scripts.dataset.buckets import BucketSettings, Placement, Placer, Size
from sd_scripts.dataset.decisions import CropWindow
from sd_scripts.dataset.faces import FaceBox, face_box, face_in_window, split_face
from sd_scripts.dataset.split import SplitSubset, held_out
from sd_scripts.dataset.words import count, some
from sd_scripts.runs.folder import safe_name

Format = Literal["copy", "png", "jpg", "webp"]
PICTURES: Final = "pictures"
VALIDATION: Final = "validation"
MASKS: Final = "masks"
_SQUARE: Final = 1.1


@dataclass(frozen=True)
class Source:
    """One picture that goes into the new folder, with what belongs to it."""

    path: Path
    size: Size
    content: str
    window: CropWindow | None = None
    caption: Path | None = None
    mask: Path | None = None

    @property
    def used(self) -> Size:
        """The size of the part that is used."""
        return self.window.size if self.window else self.size


@dataclass(frozen=True)
class Concept:
    """The pictures of one folder: what they are called and how often they are shown."""

    words: str
    repeats: int
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Layout:
    """How the new folder is laid out. `share` of each concept is held out for validation."""

    balance: bool = False
    repeats_in: Literal["names", "dataset_file"] = "names"
    group_shapes: bool = False
    share: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Copies:
    """How copies are made; without `buckets`, pictures keep their sizes."""

    buckets: BucketSettings | None = None
    save_as: Literal["same", "png", "jpg", "webp"] = "same"
    jpeg_quality: int = 95


@dataclass(frozen=True)
class Item:
    """One picture that is made: `target` is relative to the new folder, without the extension.

    Without a `placement` the picture (or the part of it) keeps its size; with the format "copy" the
    file is copied byte for byte.
    """

    source: Source
    target: PurePosixPath
    format: Format
    placement: Placement | None = None

    @property
    def suffix(self) -> str:
        """The extension of the new file."""
        return self.source.path.suffix if self.format == "copy" else f".{self.format}"

    @property
    def size(self) -> Size:
        """The size of the new picture."""
        return self.placement.bucket if self.placement else self.source.used


@dataclass(frozen=True)
class NewFolder:
    """A folder of the new layout, relative to the whole; `repeats` and `words` of its pictures."""

    path: PurePosixPath
    repeats: int
    words: str
    num_pictures: int


@dataclass(frozen=True)
class Preparation:
    """Everything that will be made."""

    items: tuple[Item, ...]
    folders: tuple[NewFolder, ...]
    repeats_in: Literal["names", "dataset_file"]
    notes: tuple[str, ...] = field(default=())

    def num_bytes(self) -> int:
        """About how much room the new files take: PNG halves pixels, JPEG takes a sixth of them."""
        total = 0
        for item in self.items:
            if item.format == "copy":
                total += _file_size(item.source.path)
            else:
                pixels = item.size[0] * item.size[1]
                total += pixels * 3 // (6 if item.format == "jpg" else 2)
            total += _file_size(item.source.caption) if item.source.caption else 0
            total += item.size[0] * item.size[1] // 4 if item.source.mask else 0
        return total


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # told by name when it is to be copied


def chosen_format(source: Source, placement: Placement | None, copies: Copies) -> Format:
    """The format of a copy: the file as it is, where nothing about it changes."""
    if copies.save_as != "same":
        return copies.save_as
    untouched = placement is None or placement.resized == placement.bucket == source.size
    return "copy" if untouched and source.window is None else "png"


def balanced(concepts: Sequence[Concept]) -> list[Concept]:
    """Return concepts with repeats at which each is shown about as often as the one shown most."""
    most = max((len(one.sources) * one.repeats for one in concepts), default=0)
    return [
        replace(one, repeats=max(one.repeats, round(most / len(one.sources))))
        if one.sources
        else one
        for one in concepts
    ]


def shape_word(size: Size) -> str:
    """wide, tall, or square (within a tenth)."""
    width, height = size
    if max(width, height) <= _SQUARE * min(width, height):
        return "square"
    return "wide" if width > height else "tall"


def prepare(concepts: Sequence[Concept], layout: Layout, copies: Copies) -> Preparation:
    """Decide every file of the new folder; nothing is read or written.

    A picture goes to `pictures/<repeats>_<words>` (with `group_shapes`, in a folder of its shape
    before that), or to `validation/…` if it is held out; its mask to `masks/…`. Pictures that fit
    into no bucket are left out, and noted.
    """
    concepts = balanced(concepts) if layout.balance else list(concepts)
    out = held_out(
        [
            SplitSubset(tuple(one.content for one in concept.sources), layout.share, layout.seed)
            for concept in concepts
        ]
    )
    placer = Placer(copies.buckets) if copies.buckets else None
    items: list[Item] = []
    counts: dict[PurePosixPath, tuple[Concept, int]] = {}
    unfit: list[str] = []
    namer = Namer()
    for concept in concepts:
        for source in concept.sources:
            placement = placer.place(source.used) if placer else None
            if placement is not None and not all(placement.bucket):
                unfit.append(source.path.name)
                continue
            size = placement.bucket if placement else source.used
            folder = _folder(concept, layout, size, is_out=source.content in out)
            target = namer.free(folder, *_new_stem(source, placement))
            items.append(Item(source, target, chosen_format(source, placement, copies), placement))
            counts[folder] = concept, counts.get(folder, (concept, 0))[1] + 1
    folders = tuple(
        NewFolder(path, concept.repeats, concept.words, number)
        for path, (concept, number) in sorted(counts.items())
    )
    notes = (f"left out, since they are too narrow: {some(unfit)}",) if unfit else ()
    return Preparation(tuple(items), folders, layout.repeats_in, notes)


def _folder(concept: Concept, layout: Layout, size: Size, *, is_out: bool) -> PurePosixPath:
    name = safe_name(concept.words, fallback="pictures")
    if layout.repeats_in == "names":
        name = f"{concept.repeats}_{name}"
    root = PurePosixPath(VALIDATION if is_out else PICTURES)
    return root / shape_word(size) / name if layout.group_shapes else root / name


def _new_stem(source: Source, placement: Placement | None) -> tuple[str, str]:
    """What the new picture is called, and what its name tells of a face: where that lies now.

    Numbers that stay as they are keep their form, and what can be no face in the picture (the
    middle of it would lie outside) is part of the name: it may be a date or a counter.
    """
    told = face_box(source.path)
    if told is None or told.x >= source.size[0] or told.y >= source.size[1]:
        return safe_name(source.path.stem, fallback="picture"), ""
    name, face = split_face(source.path)
    box = face_in_window(source.path, source.window)
    if box is not None and placement is not None:
        box = _placed(box, source.used, placement)
    if box != told:
        face = "" if box is None else "".join(f"_{number}" for number in box)
    return safe_name(name, fallback="picture"), face


def _placed(box: FaceBox, used: Size, placement: Placement) -> FaceBox | None:
    """A face in the picture that is made; None where its middle is cut off."""
    scales = [new / old for new, old in zip(placement.resized, used, strict=True)]
    cut = [(new - kept) // 2 for new, kept in zip(placement.resized, placement.bucket, strict=True)]
    x, y = (int(at * scale) - off for at, scale, off in zip(box[:2], scales, cut, strict=True))
    if not (0 <= x < placement.bucket[0] and 0 <= y < placement.bucket[1]):
        return None
    width, height = (
        max(1, round(side * scale)) for side, scale in zip(box[2:], scales, strict=True)
    )
    return FaceBox(x, y, width, height)


class Namer:
    """Gives names that no two files share, whatever the system thinks of capital letters."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, folder: PurePosixPath, stem: str, face: str = "") -> PurePosixPath:
        """A path in `folder`, with a number before `face` where the name is taken."""
        number = 1
        while True:
            path = folder / (f"{stem}{face}" if number == 1 else f"{stem}-{number}{face}")
            key = str(path).casefold()
            if key not in self._taken:
                self._taken.add(key)
                return path
            number += 1


def told(preparation: Preparation) -> Iterator[str]:
    """What will be made, in lines for people."""
    number = count(len(preparation.folders), "folder")
    yield f"{count(len(preparation.items), 'picture')} in {number}:"
    for folder in preparation.folders:
        yield (
            f"  {folder.path}: {count(folder.num_pictures, 'picture')} ×"
            f" {count(folder.repeats, 'repeat')}, words “{folder.words}”"
        )
    sizes: dict[Size, int] = {}
    for item in preparation.items:
        sizes[item.size] = sizes.get(item.size, 0) + 1
    most = sorted(sizes.items(), key=lambda pair: -pair[1])
    yield f"Sizes: {some((f'{w}x{h}: {number}' for (w, h), number in most), between=' · ')}"
    yield f"About {preparation.num_bytes() / 1e6:.0f} MB"
    yield from preparation.notes
