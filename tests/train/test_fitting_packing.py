"""Packing frozen weights stands back where another layout of the U-Net was asked for."""

from __future__ import annotations

import pytest

from sd_scripts.options.groups.training import PerformanceOptions
from sd_scripts.train.fitting import packing_of


@pytest.mark.parametrize("wanted", ["auto", "on", "off"])
@pytest.mark.parametrize("other", [{}, {"opt_channels_last": True}, {"torch_compile": True}])
def test_another_layout_keeps_auto_from_packing(wanted: str, other: dict[str, bool]) -> None:
    options = PerformanceOptions.model_validate({"pack_frozen_weights": wanted, **other})
    assert packing_of(options) == ("off" if other and wanted == "auto" else wanted)
