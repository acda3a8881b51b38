"""Pictures through the VAE: decoded in threads ahead of it, written by a thread behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from torch import Tensor

from sd_scripts.data.latents import check_finite, encode_moments, to_tensor
from sd_scripts.data.long_work import EncodeSettings, Hooks, Outcome
from sd_scripts.data.pixels import Pixels, choose_crop, cut, load_pixels
from sd_scripts.dataset.pictures import PictureProblem, shown
from sd_scripts.dataset.samples import Sample

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

PHASE: Final = "Encoding pictures"
_MAX_PENDING_WRITES: Final = 64


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to encode: its cache key by view (False as it is, True mirrored)."""

    sample: Sample
    keys: Mapping[bool, str]


class View(NamedTuple):
    """One picture as the VAE gets it."""

    job: Job
    flipped: bool
    pixels: Pixels


Keep = Callable[[View, Tensor], None]


def encode_jobs(
    jobs: Sequence[Job], vae: AutoencoderKL, keep: Keep, settings: EncodeSettings, hooks: Hooks
) -> Outcome:
    """Encode `jobs` in order and hand each view with its moments [2C, h, w] (CPU) to `keep`.

    `keep` runs in one thread of its own. Stops between two batches when asked to; whatever
    happens, everything encoded until then is kept. Raises what `keep` raises, and `UserError`
    for NaN.
    """
    total = sum(len(job.keys) for job in jobs)
    done = 0
    broken: list[PictureProblem] = []
    writes: deque[Future[None]] = deque()
    with ThreadPoolExecutor(settings.decode_threads) as decoders, ThreadPoolExecutor(1) as writer:
        views = _views(jobs, decoders, settings, broken)
        hooks.progress(PHASE, 0, total)
        for views_together in _batches(views, settings.vae_batch_size):
            if hooks.should_stop():
                return Outcome("stopped", done, tuple(broken))
            moments = encode_moments(vae, to_tensor(np.stack([v.pixels for v in views_together])))
            check_finite(moments, [shown(view.job.sample.path) for view in views_together])
            writes.append(writer.submit(_keep_all, keep, views_together, moments.cpu()))
            done += len(views_together)
            _raise_failed(writes, _MAX_PENDING_WRITES)
            hooks.progress(PHASE, done, total)
        _raise_failed(writes, 0)
    return Outcome("broken" if broken else "complete", done, tuple(broken))


def _keep_all(keep: Keep, views: Sequence[View], moments: Tensor) -> None:
    for view, row in zip(views, moments, strict=True):
        keep(view, row.clone())


def _raise_failed(writes: deque[Future[None]], max_pending: int) -> None:
    """Take finished writes off the queue, and wait where there are more than `max_pending`."""
    while writes and (len(writes) > max_pending or writes[0].done()):
        writes.popleft().result()


def _decode(job: Job) -> list[View]:
    pixels = load_pixels(job.sample)
    crops = [choose_crop(job.sample, flipped) for flipped in job.keys]
    return [View(job, crop.flipped, cut(pixels, crop, job.sample.bucket)) for crop in crops]


def _views(
    jobs: Sequence[Job],
    decoders: ThreadPoolExecutor,
    settings: EncodeSettings,
    broken: list[PictureProblem],
) -> Iterator[View]:
    """Yield views in the order of `jobs`, a window of pictures being decoded ahead."""
    window = 2 * max(settings.decode_threads, settings.vae_batch_size)
    waiting = iter(jobs)
    ahead = deque(decoders.submit(_decode, job) for job in islice(waiting, window))
    while ahead:
        decoded = ahead.popleft()
        ahead.extend(decoders.submit(_decode, job) for job in islice(waiting, 1))
        try:
            yield from decoded.result()
        except PictureProblem as problem:
            broken.append(problem)


def _batches(views: Iterator[View], size: int) -> Iterator[list[View]]:
    """Group views that follow each other and have one bucket, at most `size` together."""
    group: list[View] = []
    for view in views:
        if group and (len(group) == size or group[0].pixels.shape != view.pixels.shape):
            yield group
            group = []
        group.append(view)
    if group:
        yield group
