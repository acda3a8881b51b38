"""Draws the demo's pictures: its subjects with captions, and class pictures of their kinds."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from sd_scripts.errors import EXIT_OK, EXIT_USER, UserError
from sd_scripts.files import atomic_path, write_atomic
from sd_scripts.shipped import STARTER
from tools.starter.render import draw
from tools.starter.scenes import (
    COLOURS,
    DEMO_SUBJECTS,
    SIZES,
    SUBJECTS,
    Scene,
    Subject,
    random_scene,
    sentence,
)

TRIGGER = "zwx"
NUM_PICTURES = 16


def varied_scenes(name: str, subjects: Sequence[Subject], count: int) -> list[Scene]:
    """Return scenes in which colours, sizes and subjects take turns, in no order."""
    rng = random.Random(f"demo {name}")
    colours = rng.sample(list(COLOURS), len(COLOURS))
    shown = rng.sample(subjects, len(subjects))
    sizes = list(SIZES)
    scenes = [
        random_scene(
            rng,
            (shown[(number + number // len(shown)) % len(shown)],),
            colour=colours[number % len(colours)],
            size=sizes[(number + number // len(colours)) % len(sizes)],
        )
        for number in range(count)
    ]
    return rng.sample(scenes, count)


def subject_captions(subject: Subject, scenes: Sequence[Scene]) -> list[str]:
    """Return captions with the trigger: "a large zwx robot on a green background"."""
    return [sentence(f"{TRIGGER} {subject.word}", scene.colour, scene.size) for scene in scenes]


def class_captions(kind: str, scenes: Sequence[Scene]) -> list[str]:
    """Return captions with the wider word: "a large animal on a green background"."""
    return [sentence(kind, scene.colour, scene.size) for scene in scenes]


def mixed_captions(scenes: Sequence[Scene]) -> list[str]:
    """Return captions that name the subject, every fourth only its kind."""
    return [
        sentence(scene.subject.word if number % 4 else scene.subject.kind, scene.colour, scene.size)
        for number, scene in enumerate(scenes)
    ]


def write_folder(folder: Path, scenes: Sequence[Scene], captions: Sequence[str]) -> None:
    """Write `01.png`, `01.txt` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (scene, caption) in enumerate(zip(scenes, captions, strict=True), start=1):
        with atomic_path(folder / f"{number:02d}.png", durable=False) as temporary:
            draw(scene).save(temporary, format="PNG", optimize=True)
        write_atomic(folder / f"{number:02d}.txt", caption + "\n", durable=False)


def write_pictures(starter: Path) -> list[Path]:
    """Write `pictures/<subject>` and `pictures/class_<kind>`; return the folders."""
    written = []
    for subject in DEMO_SUBJECTS:
        scenes = varied_scenes(subject.word, (subject,), NUM_PICTURES)
        written.append(starter / "pictures" / subject.word)
        write_folder(written[-1], scenes, subject_captions(subject, scenes))
    for kind in dict.fromkeys(subject.kind for subject in DEMO_SUBJECTS):
        known = [subject for subject in SUBJECTS if subject.kind == kind]
        scenes = varied_scenes(f"class {kind}", known, NUM_PICTURES)
        written.append(starter / "pictures" / f"class_{kind}")
        write_folder(written[-1], scenes, class_captions(kind, scenes))
    one_each = varied_scenes("class all", SUBJECTS, len(SUBJECTS))
    written.append(starter / "pictures" / "class_all")
    write_folder(written[-1], one_each, mixed_captions(one_each))
    return written


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pictures into the starter's folder."""
    parser = argparse.ArgumentParser(prog="python -m tools.starter.demo_pictures")
    parser.add_argument("--starter", type=Path, default=STARTER)
    options = parser.parse_args(argv)
    try:
        for folder in write_pictures(options.starter):
            print(f"wrote {folder}")
    except UserError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return EXIT_USER
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
