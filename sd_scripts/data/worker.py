"""A worker process that decodes pictures: requests on its input, pixels on its output.

It is started by `workers.WorkerPool` as `python -m sd_scripts.data.worker`, without torch, and
ends when its input does, which is at the latest when the training process ends, however that was.

A request is one line: a JSON list of cutouts. An answer is one line of JSON, {"shape": [B, H, W,
3]} followed by the pixels, or {"path", "reason", "hint"} for a picture that can't be decoded.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sd_scripts.data.colors import ColorShift
from sd_scripts.data.pixels import Crop, Cutout, Pixels, load_batch
from sd_scripts.dataset.decisions import CropWindow
from sd_scripts.dataset.pictures import PictureProblem


def write_request(stream: BinaryIO, cutouts: list[Cutout]) -> None:
    """Ask for one batch."""
    stream.write(json.dumps(cutouts).encode("ascii") + b"\n")
    stream.flush()


def read_answer(stream: BinaryIO) -> Pixels | None:
    """Return the pixels of one batch [B, H, W, 3], None if the worker has ended.

    Raises the `PictureProblem` that the worker met.
    """
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    answer = json.loads(line)
    if "reason" in answer:
        raise PictureProblem(Path(answer["path"]), answer["reason"], answer["hint"])
    pixels = np.empty(answer["shape"], np.uint8)
    view = pixels.data.cast("B")
    while view:
        received = stream.readinto(view)  # type: ignore[attr-defined]
        if not received:
            return None
        view = view[received:]
    return pixels


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    for line in requests:
        cutouts = [
            Cutout(
                path,
                tuple(resized),
                interpolation,
                Crop(*crop),
                tuple(bucket),
                ColorShift(*color) if color else None,
                mask,
                CropWindow(*window) if window else None,
            )
            for path, resized, interpolation, crop, bucket, color, mask, window in json.loads(line)
        ]
        try:
            pixels = load_batch(cutouts)
        except PictureProblem as problem:
            facts = {"path": str(problem.path), "reason": problem.reason, "hint": problem.hint}
            answers.write(json.dumps(facts).encode("ascii") + b"\n")
        else:
            answers.write(json.dumps({"shape": pixels.shape}).encode("ascii") + b"\n")
            answers.write(pixels.data.cast("B"))
        answers.flush()


def main() -> None:
    """Serve on the standard streams. What else is printed goes to the error output.

    Ctrl+C and termination requests reach the whole process group; only the training process
    decides what they mean.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        serve(sys.stdin.buffer, answers)
    except BrokenPipeError:
        os._exit(0)  # the training process has gone; there is nobody to flush to


if __name__ == "__main__":
    main()
