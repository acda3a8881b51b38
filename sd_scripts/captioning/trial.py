"""A captioning job tried on one picture: what would be written, and how sure the model is.

Nothing beside the picture is written: `python -m sd_scripts.captioning.trial --job
tag_images_by_wd14_tagger --config_file job.toml --picture cat.png --result cat.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from sd_scripts.captioning import describing, tagging
from sd_scripts.captioning.captioner_folder import captioner_folder
from sd_scripts.captioning.entry import quietly
from sd_scripts.captioning.pictures import Picture
from sd_scripts.captioning.pipeline import OPENERS, Engine, load
from sd_scripts.dataset.pictures import PictureProblem, shown
from sd_scripts.errors import EXIT_OK, EXIT_USER, Problem, UserError, raise_if_errors
from sd_scripts.files import write_atomic
from sd_scripts.options.jobs import JOBS, Job, MakeCaptionsJob, TagImagesJob
from sd_scripts.options.toml_file import read_toml
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.machine import settle_process
from sd_scripts.script import tell

NUM_TAGS: Final = 40
_ABOUT_FOLDER: Final = frozenset({"train_data_dir", "output_path", "recursive"})
"""What is wrong with these does not matter for a single picture."""


def try_picture(job: Job, picture: Path) -> dict[str, Any]:
    """Return what a job finds in one picture, as plain data. Raises `UserError`.

    `text` is what would be written; `tags` (taggers) are dictionaries of `ScoredTag`; `size` is the
    picture's (width, height); `seconds` what the model took, without being loaded.
    """
    if isinstance(job, TagImagesJob):
        found = tagging.look_ahead(job)
        _raise_about_model(found.problems)
        tagger = found.load(job)
        return _tried(
            tagger,
            job.pictures.large_pictures,
            picture,
            {"model": shown(found.folder), "device": tagger.device},
            lambda outcome: [asdict(one) for one in tagger.scored(outcome, NUM_TAGS)],
        )
    if not isinstance(job, MakeCaptionsJob):
        raise UserError(f"{job.title} writes no captions.", hint="Name a captioning job.")
    _raise_about_model(describing.look_ahead(job).problems)
    from sd_scripts.captioning.captioner import Captioner

    folder = captioner_folder(job.captioner)
    captioner = Captioner(folder, job)
    facts = {"model": shown(folder), "device": str(captioner.device)}
    return _tried(captioner, job.pictures.large_pictures, picture, facts, lambda outcome: [])


def _raise_about_model(problems: Sequence[Problem]) -> None:
    """Raise for everything but what is wrong with the folder of pictures."""
    raise_if_errors([problem for problem in problems if problem.option not in _ABOUT_FOLDER])


def _tried(
    engine: Engine,
    large_pictures: str,
    picture: Path,
    facts: dict[str, Any],
    scores: Callable[[Any], list[dict[str, Any]]],
) -> dict[str, Any]:
    try:
        read = load(Picture(picture, picture), engine, OPENERS[large_pictures])
        if isinstance(read, PictureProblem):
            raise UserError(f"{read}.", option="train_data_dir", hint=read.hint)
        entry, prepared = read
        batch = engine.collate([prepared])
        began = time.perf_counter()
        (outcome,) = engine.infer(batch)
        seconds = time.perf_counter() - began
        text = engine.text(outcome)
    finally:
        engine.close()
    return {
        **facts,
        "text": text,
        "tags": scores(outcome),
        "size": list(entry.size),
        "seconds": seconds,
    }


def main(argv: Sequence[str]) -> int:
    """Be the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sd_scripts.captioning.trial", description=__doc__
    )
    parser.add_argument("--job", required=True, choices=[TagImagesJob.name, MakeCaptionsJob.name])
    parser.add_argument("--config_file", required=True, type=Path)
    parser.add_argument("--picture", required=True, type=Path)
    parser.add_argument("--result", type=Path, help="JSON file to write (default: print it)")
    arguments = parser.parse_args(argv)
    try:
        text = arguments.config_file.read_text("utf-8-sig")
        job = job_from_values(JOBS[arguments.job], read_toml(text, arguments.config_file.name))
        quietly(job)
        result = json.dumps(try_picture(job, arguments.picture), ensure_ascii=False)
    except UserError as error:
        tell(error.problems)
        return EXIT_USER
    except OSError as error:
        tell([Problem(f"{arguments.config_file} cannot be read: {error.strerror or error}")])
        return EXIT_USER
    if arguments.result is None:
        print(result)
    else:
        write_atomic(arguments.result, result + "\n", durable=False)
    return EXIT_OK


if __name__ == "__main__":
    settle_process()
    sys.exit(main(sys.argv[1:]))
