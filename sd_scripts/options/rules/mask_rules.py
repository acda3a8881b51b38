"""What must agree among the options of masks."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import Problem
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.rules.registry import rule


@rule("masked_loss", "conditioning_data_dir", "alpha_mask", "dataset_config")
def masks_are_given(data: DataOptions) -> Iterator[Problem]:
    """A masked loss needs masks; a dataset file may bring them."""
    if not data.masked_loss or data.alpha_mask or data.dataset_config is not None:
        return
    if data.conditioning_data_dir is None:
        yield Problem(
            "a masked loss is asked for, but there are no masks",
            "masked_loss, conditioning_data_dir",
            "choose the folder of the masks, or switch alpha_mask on to use transparency",
        )


@rule("masked_loss", "conditioning_data_dir")
def masks_of_no_use(data: DataOptions) -> Iterator[Problem]:
    """Masks act only where a masked loss is asked for (in sd-scripts, in silence)."""
    if data.conditioning_data_dir is not None and not data.masked_loss:
        yield Problem(
            "the masks are not used without masked_loss",
            "conditioning_data_dir, masked_loss",
            "switch masked_loss on, or empty conditioning_data_dir",
            severity="warning",
        )


@rule("masked_loss", "conditioning_data_dir", "alpha_mask")
def one_kind_of_mask(data: DataOptions) -> Iterator[Problem]:
    """Where there is a folder of masks, transparency is left alone, as in sd-scripts."""
    if data.masked_loss and data.conditioning_data_dir is not None and data.alpha_mask:
        yield Problem(
            "masks come from a folder, so transparency is a mask only for regularisation pictures",
            "conditioning_data_dir, alpha_mask",
            "keep one of the two",
            severity="warning",
        )
