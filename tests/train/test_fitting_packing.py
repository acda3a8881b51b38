"""Packing stands back where another layout was asked for, and a resumed run packs as before."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from sd_scripts.options.groups.training import PerformanceOptions
from sd_scripts.train.fitting import packed_before, packing_of
from sd_scripts.train.state_facts import FACTS_FILE, StateFacts


@pytest.mark.parametrize("wanted", ["auto", "on", "off"])
@pytest.mark.parametrize("other", [{}, {"opt_channels_last": True}, {"torch_compile": True}])
def test_another_layout_keeps_auto_from_packing(wanted: str, other: dict[str, bool]) -> None:
    options = PerformanceOptions.model_validate({"pack_frozen_weights": wanted, **other})
    assert packing_of(options) == ("off" if other and wanted == "auto" else wanted)


@pytest.mark.parametrize("packing", [None, (), ("conv_rows", "linear_pairs")])
def test_a_state_tells_how_weights_were_packed(
    packing: tuple[str, ...] | None, tmp_path: Path
) -> None:
    facts = asdict(StateFacts(1, 0, 1, seed=1, plan="", session="", packing=packing))
    if packing is None:
        del facts["packing"]  # a state of an older version
    (tmp_path / FACTS_FILE).write_text(json.dumps(facts))
    assert packed_before(str(tmp_path)) == packing
    assert packed_before(None) is None
