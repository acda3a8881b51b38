"""Finding pictures that can't be decoded before training, and keeping them out of the next plan.

A job that caches its latents finds them while encoding; another one decodes every picture once.
Those that decoded are remembered by their content, so that the next start need not look again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from sd_scripts.data.long_work import EncodeSettings, Hooks, Outcome
from sd_scripts.data.memo import read_memo, write_memo
from sd_scripts.dataset.index import Known, PictureIndex, Stamp
from sd_scripts.dataset.pictures import PictureProblem, open_rgb
from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.errors import UserError

PHASE: Final = "Checking pictures"


def content_hashes(index: PictureIndex, paths: Sequence[Path], hooks: Hooks) -> dict[Path, str]:
    """Return the hash of each picture's bytes; `UserError` if one has vanished."""

    def progress(done: int, total: int) -> None:
        hooks.progress("Looking for changed pictures", done, total)

    try:
        return index.content_hashes(paths, progress)
    except OSError as error:
        raise UserError(
            f"a picture can't be read any more: {error}",
            option="train_data_dir",
            hint="start again; the folder is then looked through anew",
        ) from error


def files_of(plan: DatasetPlan) -> list[Path]:
    """Return the files of all pictures and masks that a plan uses."""
    masks = [sample.mask.path for sample in plan.all_samples if sample.mask]
    return [sample.path for sample in plan.all_samples] + masks


def check_pictures(
    paths: Iterable[Path],
    index: PictureIndex,
    cache_dir: Path,
    settings: EncodeSettings,
    hooks: Hooks,
) -> Outcome:
    """Decode every picture that was never decoded before; broken ones are noted in the index."""
    memo = cache_dir / "decoded.json"
    known = read_memo(memo)
    good = set(known) if isinstance(known, list) else set()
    hashes = content_hashes(index, sorted(set(paths)), hooks)
    waiting = [path for path, value in hashes.items() if value not in good]
    broken: list[PictureProblem] = []
    together = 4 * settings.decode_threads
    done = 0
    with ThreadPoolExecutor(settings.decode_threads) as pool:
        for start in range(0, len(waiting), together):
            if hooks.should_stop():
                break
            hooks.progress(PHASE, start, len(waiting))
            part = waiting[start : start + together]
            for path, problem in zip(part, pool.map(_problem_with, part), strict=True):
                done += 1
                if problem is None:
                    good.add(hashes[path])
                else:
                    broken.append(problem)
    if done > len(broken):
        write_memo(memo, sorted(good))
    note_broken(index, broken)
    if done < len(waiting):
        return Outcome("stopped", done, tuple(broken))
    return Outcome("broken" if broken else "complete", done, tuple(broken))


def note_broken(index: PictureIndex, broken: Iterable[PictureProblem]) -> None:
    """Note pictures that can't be decoded in the index.

    The next `plan_dataset` then leaves them out by name, or refuses them, as `bad_images` says.
    """
    for problem in broken:
        if not problem.lasting:
            continue  # the next scan sees by itself whether it still is so
        try:
            stamp = Stamp.of(problem.path)
        except OSError:
            continue  # gone meanwhile: the next scan does not find it
        known = Known(None, problem.reason, problem.hint)
        index.remember(problem.path.parent, {problem.path.name: (stamp, known)})


def _problem_with(path: Path) -> PictureProblem | None:
    try:
        open_rgb(path)
    except PictureProblem as problem:
        return problem
    return None
