"""TOML that Python's reader is not made for is refused at once, wherever a user's file is read."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from sd_scripts.errors import UserError
from sd_scripts.files import parse_toml
from sd_scripts.methods.lycoris_presets import find_preset
from sd_scripts.train.prompts import read_prompts
from sd_scripts.train.trackers import tracker_settings

HARD = {
    "endless name": ".".join(["a"] * 60_000) + " = 1",
    "deep brackets": "a = " + "[" * 20_000,
    "long number": "a = " + "1" * 5_000,
}


@pytest.mark.parametrize("kind", HARD)
def test_what_the_reader_is_not_made_for_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"too|more than|limit") as raised:
        parse_toml(HARD[kind])
    assert not isinstance(raised.value, tomllib.TOMLDecodeError)
    file = tmp_path / "hard.toml"
    file.write_text(HARD[kind])
    assert "cannot be understood" in read_prompts(file)[1][0].message
    with pytest.raises(UserError, match="cannot be read"):
        find_preset(str(file))
    with pytest.raises(UserError, match="cannot be read"):
        tracker_settings(str(file))


def test_line_ends_and_marks_of_other_systems_are_read() -> None:
    assert parse_toml("\ufeffa = 1\r\nb = 'x'\r\n") == {"a": 1, "b": "x"}
