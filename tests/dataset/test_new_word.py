"""Captions for a new word: sentences in their place, and pictures whose captions lack it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from sd_scripts.dataset.captions import CaptionRules, process_caption
from sd_scripts.dataset.new_word import OBJECT_SENTENCES, STYLE_SENTENCES, teach_word
from sd_scripts.dataset.samples import DatasetPlan, Sample
from sd_scripts.errors import Problem
from sd_scripts.options.groups.embedding import EmbeddingOptions

NO_CAPTION = Problem("no caption file", "caption_extension", "write one", "warning")


def sample(number: int, caption: str = "", rules: CaptionRules | None = None) -> Sample:
    size = (64, 64)
    path = Path("pictures") / f"{number}.png"
    rules = rules or CaptionRules()
    return Sample(number, 0, 0, path, size, size, size, caption, 1, False, False, False, rules)


def plan(*samples: Sample, problems: tuple[Problem, ...] = ()) -> DatasetPlan:
    num_reg = sum(one.is_reg for one in samples)
    return DatasetPlan((), samples, problems, len(samples) - num_reg, num_reg)


def shown(one: Sample, rng: random.Random) -> str:
    return process_caption(one.caption, one.rules, step=0, max_steps=9, epoch=1, rng=rng)


@pytest.mark.parametrize(
    ("option", "sentences"),
    [("use_object_template", OBJECT_SENTENCES), ("use_style_template", STYLE_SENTENCES)],
)
def test_each_showing_gets_a_sentence_with_the_word(
    option: str, sentences: tuple[str, ...]
) -> None:
    word = EmbeddingOptions.model_validate({"token_string": "mycat7", option: True})
    rules = CaptionRules(shuffle_caption=True, caption_prefix="x,", caption_tag_dropout_rate=1.0)
    taught = teach_word(plan(sample(0, rules=rules), problems=(NO_CAPTION,)), word)
    rng = random.Random(1)
    found = {shown(taught.samples[0], rng) for _ in range(400)}
    assert found == {sentence.format("mycat7") for sentence in sentences}
    assert taught.problems == ()


def test_captions_are_still_dropped_out_and_class_pictures_keep_theirs() -> None:
    word = EmbeddingOptions(token_string="mycat7", use_object_template=True)
    dropping = sample(0, rules=CaptionRules(caption_dropout_rate=1.0))
    reg = replace(sample(1, caption="a cat"), is_reg=True)
    taught = teach_word(plan(dropping, reg, problems=(NO_CAPTION,)), word)
    assert shown(taught.samples[0], random.Random(1)) == ""
    assert taught.samples[1] is reg
    assert taught.problems == (NO_CAPTION,)


WORD = EmbeddingOptions(token_string="mycat7")


def test_captions_with_the_word_are_fine() -> None:
    samples = (
        sample(0, caption="a photo of MyCat7"),
        sample(1, caption="a cat", rules=CaptionRules(caption_prefix="mycat7,")),
        replace(sample(2, caption="a cat"), is_reg=True),
    )
    assert teach_word(plan(*samples), WORD).problems == ()


def test_a_word_that_no_caption_holds_cannot_be_learned() -> None:
    samples = (sample(0, caption="a mycat77"), sample(1, caption="a cat"))
    (problem,) = teach_word(plan(*samples), WORD).problems
    assert problem.severity == "error"
    assert "no caption holds" in problem.message
    assert "caption_prefix" in (problem.hint or "")


def test_pictures_without_the_word_are_named() -> None:
    samples = (sample(0, caption="mycat7"), sample(1, caption="a cat"))
    (problem,) = teach_word(plan(*samples), WORD).problems
    assert problem.severity == "warning"
    assert samples[1].path.name in problem.message
    assert samples[0].path.name not in problem.message
