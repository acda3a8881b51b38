"""What one training step gets from the data: latents or pixels, captions, sizes, weights, seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class CachedText:
    """Text encoder outputs from the cache, in the shape a family's `predict` takes.

    `hidden` [B, n, D]: the token states; `pooled` [B, P], where the family has one.
    """

    hidden: Tensor
    pooled: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """One batch of B samples of one bucket.

    Either `latents` [B, C, h, w] (float32, already scaled for the U-Net) or `pixels`
    [B, 3, H, W] (float32, −1 … 1) is there; pixels go through `latents.encode_pixels` first.
    `text` is there when text encoder outputs are cached. `names` are the pictures' paths, for
    messages. The sizes are [B, 2] int64 in pixels, height before width: the picture as it is seen,
    the crop's top left corner, the bucket.
    `masks` [B, 1, h, w] (0 … 1, float32) say where the loss counts; None: everywhere.
    `loss_weights` is [B] float32. `noise_seeds` name each sample's streams for the objective,
    `latent_seeds` the ones the VAE's distribution is sampled from.
    """

    sample_ids: tuple[int, ...]
    names: tuple[str, ...]
    captions: tuple[str, ...]
    original_sizes: Tensor
    crop_top_lefts: Tensor
    target_sizes: Tensor
    loss_weights: Tensor
    noise_seeds: tuple[int, ...]
    latent_seeds: tuple[int, ...]
    latents: Tensor | None = None
    pixels: Tensor | None = None
    text: CachedText | None = None
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.sample_ids)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on `device`."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        def moved_if(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else moved(tensor)

        text = self.text and CachedText(moved(self.text.hidden), moved_if(self.text.pooled))
        return replace(
            self,
            original_sizes=moved(self.original_sizes),
            crop_top_lefts=moved(self.crop_top_lefts),
            target_sizes=moved(self.target_sizes),
            loss_weights=moved(self.loss_weights),
            latents=moved_if(self.latents),
            pixels=moved_if(self.pixels),
            text=text,
            masks=moved_if(self.masks),
        )
