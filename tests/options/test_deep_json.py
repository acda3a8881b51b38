"""JSON of brackets in brackets without end is refused in words, wherever a user's file is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sd_scripts.captioning import store
from sd_scripts.captioning.labels import read_tags
from sd_scripts.dataset.metadata_files import MetadataProblem, read_metadata
from sd_scripts.errors import UserError
from sd_scripts.train.state_facts import FACTS_FILE, read_facts
from sd_scripts.weights.folders import read_json

READERS: dict[str, Callable[[Path], object]] = {
    "configuration": read_json,
    "captions": read_metadata,
    "captions to be added to": store.read_metadata,
    "tags": read_tags,
    "state": lambda file: read_facts(file.parent),
}


@pytest.mark.parametrize("kind", READERS)
def test_brackets_without_end_are_refused(kind: str, tmp_path: Path) -> None:
    file = tmp_path / FACTS_FILE
    file.write_text('{"a": ' + "[" * 100_000)
    assert file.suffix == ".json"
    with pytest.raises((UserError, MetadataProblem)):
        READERS[kind](file)
