"""Names of prepared pictures: what they tell of a face is true of the new picture."""

from __future__ import annotations

from pathlib import Path

from sd_scripts.curating.layout import Concept, Copies, Layout, Source, prepare
from sd_scripts.dataset.buckets import BucketSettings
from sd_scripts.dataset.decisions import CropWindow

SQUARE = Copies(BucketSettings(resolution=(64, 64), enable_bucket=False))


def names(copies: Copies, *sources: Source) -> list[str]:
    found = prepare([Concept("cat", 1, sources)], Layout(), copies)
    return [item.target.name for item in found.items]


def source(name: str, window: CropWindow | None = None) -> Source:
    return Source(Path("from") / name, (200, 100), name, window)


def test_a_face_is_told_where_it_lies_in_the_new_picture() -> None:
    # 200 × 100 becomes 128 × 64, of which the 64 in the middle are kept.
    assert names(SQUARE, source("a_100_50_20_10.png")) == ["a_32_32_13_6"]
    assert names(SQUARE, source("a_10_50_20_10.png")) == ["a"]
    window = CropWindow(80, 40, 120, 80)
    assert names(Copies(), source("a_100_50_20_10.png", window)) == ["a_20_10_20_10"]
    assert names(Copies(), source("a_10_50_20_10.png", window)) == ["a"]


def test_dates_and_counters_stay_as_they_are() -> None:
    assert names(Copies(), source("a_0007_01_02_03.png")) == ["a_0007_01_02_03"]
    assert names(Copies(), source("a_100_050_20_10.png")) == ["a_100_050_20_10"]
    window = CropWindow(80, 40, 120, 80)
    for copies in (SQUARE, Copies()):  # no face of 200 × 100 pixels lies there
        for stem in ("a_2024_01_31_12", "a_01_100_02_03"):
            assert names(copies, source(f"{stem}.png")) == [stem]
            assert names(copies, source(f"{stem}.png", window)) == [stem]


def test_a_number_stands_before_what_tells_of_a_face() -> None:
    twice = [Source(Path(place) / "a_100_50_20_10.png", (200, 100), place) for place in ("x", "y")]
    assert names(Copies(), *twice) == ["a_100_50_20_10", "a-2_100_50_20_10"]
    assert names(Copies(), source("a_b_c_d_e.png")) == ["a_b_c_d_e"]
