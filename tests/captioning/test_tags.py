"""Which tags are written: thresholds, order, wording, replacement. Expected texts by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sd_scripts.captioning.labels import Category, Label, TagList
from sd_scripts.captioning.tags import TagChooser, expand_character, unknown_tags, unused_options
from sd_scripts.options.groups.captioning import TagOptions

CSV: list[tuple[str, Category, float]] = [
    ("general", "rating", 0.2),
    ("sensitive", "rating", 0.7),
    ("questionable", "rating", 0.1),
    ("explicit", "rating", 0.0),
    ("1girl", "general", 0.9),
    ("long_hair", "general", 0.36),
    ("^_^", "general", 0.5),
    ("a,b;c", "general", 0.4),
    ("never", "general", 0.34),
    ("mona_(sea)", "character", 0.6),
    ("ann_(red)_(sea)", "character", 0.8),
    ("sea", "copyright", 0.45),
]
MAPPING: list[tuple[str, Category, float]] = [
    *CSV[:4],
    ("best quality", "quality", 0.5),
    ("worst quality", "quality", 0.6),
    *CSV[4:],
]


def chosen(rows: list[tuple[str, Category, float]] = CSV, **options: Any) -> list[str]:
    kind = "mapping" if any(row[1] == "quality" for row in rows) else "csv"
    labels = TagList(kind, tuple(Label(name, category) for name, category, _ in rows))
    numbers = np.array([number for *_, number in rows], np.float32)
    return TagChooser(labels, TagOptions(**options)).choose(numbers)


GENERAL = ["1girl", "long_hair", "^_^", "a,b;c"]
CHARACTERS = ["mona_(sea)", "ann_(red)_(sea)"]


@pytest.mark.parametrize(
    ("options", "tags"),
    [
        ({}, [*GENERAL, *CHARACTERS, "sea"]),
        ({"thresh": 0.5}, ["1girl", "^_^", *CHARACTERS]),
        ({"thresh": 0.9}, ["1girl"]),
        ({"thresh": 1.1, "general_threshold": 0.45}, ["1girl", "^_^"]),
        ({"character_threshold": 0.7}, [*GENERAL, "ann_(red)_(sea)", "sea"]),
        ({"character_threshold": 1.1, "copyright_threshold": 0.46}, GENERAL),
        ({"character_tags_first": True}, [*reversed(CHARACTERS), *GENERAL, "sea"]),
        (
            {"tag_order": "score"},
            ["1girl", "ann_(red)_(sea)", "mona_(sea)", "^_^", "sea", "a,b;c", "long_hair"],
        ),
        (
            {"tag_order": "score", "character_tags_first": True, "thresh": 0.5},
            ["ann_(red)_(sea)", "mona_(sea)", "1girl", "^_^"],
        ),
        ({"thresh": 0.5, "use_rating_tags": True}, ["sensitive", "1girl", "^_^", *CHARACTERS]),
        (
            {"thresh": 0.5, "use_rating_tags_as_last_tag": True},
            ["1girl", "^_^", *CHARACTERS, "sensitive"],
        ),
        # The last one named comes first; what is not found is not put there.
        (
            {"thresh": 0.5, "always_first_tags": "1girl, never, ^_^"},
            ["^_^", "1girl", *CHARACTERS],
        ),
        (
            {"remove_underscore": True},
            ["1girl", "long hair", "^_^", "a,b;c", "mona (sea)", "ann (red) (sea)", "sea"],
        ),
        # The series is a tag of its own, and each tag is written once.
        (
            {"character_tag_expand": True, "thresh": 0.45},
            ["1girl", "^_^", "mona", "sea", "ann_(red)"],
        ),
        ({"undesired_tags": "1girl, sea,mona_(sea)"}, [*GENERAL[1:], CHARACTERS[1]]),
        ({"undesired_tags": "sensitive", "use_rating_tags": True, "thresh": 0.9}, ["1girl"]),
        ({"thresh": 0.5, "tag_replacement": "1girl,woman;^_^,"}, ["woman", *CHARACTERS]),
        (
            {"remove_underscore": True, "tag_replacement": "long hair,hair", "thresh": 0.36},
            ["1girl", "hair", "^_^", "a,b;c", "mona (sea)", "ann (red) (sea)", "sea"],
        ),
        (
            {"remove_underscore": True, "tag_replacement": "long_hair,1girl", "thresh": 0.36},
            ["1girl", "^_^", "a,b;c", "mona (sea)", "ann (red) (sea)", "sea"],
        ),
        (
            {"tag_replacement": r"a\,b\;c,x\, y", "thresh": 0.37},
            ["1girl", "^_^", "x, y", *CHARACTERS, "sea"],
        ),
        (
            {"character_tag_expand": True, "tag_replacement": "mona,lisa", "thresh": 0.5},
            ["1girl", "^_^", "lisa", "sea", "ann_(red)"],
        ),
        (
            {"use_rating_tags": True, "tag_replacement": "sensitive,safe", "thresh": 0.9},
            ["safe", "1girl"],
        ),
    ],
)
def test_tags_of_a_csv_list(options: dict[str, Any], tags: list[str]) -> None:
    assert chosen(**options) == tags


@pytest.mark.parametrize(
    ("options", "tags"),
    [
        ({"thresh": 0.6}, ["1girl", *reversed(CHARACTERS)]),
        ({"thresh": 0.6, "tag_order": "list"}, ["1girl", *CHARACTERS]),
        (
            {"thresh": 0.6, "use_quality_tags": True, "use_rating_tags": True},
            ["sensitive", "worst quality", "1girl", *reversed(CHARACTERS)],
        ),
        (
            {
                "thresh": 0.85,
                "general_threshold": 0.55,
                "use_quality_tags_as_last_tag": True,
                "use_rating_tags_as_last_tag": True,
            },
            ["1girl", "worst quality", "sensitive"],
        ),
        # Neither reaches the lowest threshold.
        ({"thresh": 0.85, "use_quality_tags": True, "use_rating_tags": True}, ["1girl"]),
        # An unwanted one leaves its place to the next.
        (
            {"thresh": 0.5, "undesired_tags": "worst quality,1girl,^_^", "use_quality_tags": True},
            ["best quality", *reversed(CHARACTERS)],
        ),
    ],
)
def test_tags_of_a_mapping(options: dict[str, Any], tags: list[str]) -> None:
    assert chosen(MAPPING, **options) == tags


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        ("name_(series)", ("name", "series")),
        ("name_(costume)_(series)", ("name_(costume)", "series")),
        ("name(series)", ("name", "series")),
        ("name", ("name",)),
        ("(series)", ("(series)",)),
        ("name_(a)_b", ("name_(a)_b",)),
    ],
)
def test_a_character_is_split_from_its_series(tag: str, parts: tuple[str, ...]) -> None:
    assert expand_character(tag) == parts


def test_what_the_tagger_does_not_know_is_named() -> None:
    labels = TagList("csv", tuple(Label(name, kind) for name, kind, _ in CSV[4:]))
    options = TagOptions(
        use_quality_tags=True,
        use_rating_tags_as_last_tag=True,
        remove_underscore=True,
        tag_replacement="long hair,x;long_hair,x;lung_hair,x",
    )
    assert list(unused_options(labels, options)) == [
        "use_quality_tags",
        "use_rating_tags_as_last_tag",
    ]
    assert unknown_tags(labels, options) == ["lung_hair"]
