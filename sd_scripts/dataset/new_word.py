"""Captions that teach a new word: sentences made up for it, and whether captions hold it at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from sd_scripts.dataset.pictures import shown
from sd_scripts.dataset.samples import DatasetPlan, Sample
from sd_scripts.dataset.words import count, some
from sd_scripts.errors import Problem
from sd_scripts.options.groups.embedding import EmbeddingOptions

OBJECT_SENTENCES: Final = (
    "{}",
    "a photo of {}",
    "a picture of {}",
    "a good photo of {}",
    "a sharp photo of {}",
    "a blurred photo of {}",
    "a bright photo of {}",
    "a dark photo of {}",
    "a photo of {} from the front",
    "a photo of {} from the side",
    "a photo of {} from above",
    "a photo of {} from far away",
    "{} seen from nearby",
    "{} against a plain background",
    "{} in its surroundings",
    "a snapshot that shows {}",
    "this is {}",
    "one {}",
    "the whole of {}",
    "a part of {}",
)
STYLE_SENTENCES: Final = (
    "a picture in the style of {}",
    "a painting in the style of {}",
    "a drawing in the style of {}",
    "an illustration in the style of {}",
    "a photo in the style of {}",
    "a scene in the style of {}",
    "a portrait in the style of {}",
    "a landscape in the style of {}",
    "a large picture in the style of {}",
    "a small picture in the style of {}",
    "a detail in the style of {}",
    "a sketch in the style of {}",
    "a colourful picture in the style of {}",
    "a plain picture in the style of {}",
    "a good picture in the style of {}",
    "art by {}",
    "made in the manner of {}",
    "everything looks like {}",
    "{} style",
    "the style of {}",
)


def word_pattern(word: str) -> str:
    """Return a regular expression for a word that is no part of a longer one."""
    before = r"(?<!\w)" if re.match(r"\w", word[0]) else ""
    after = r"(?!\w)" if re.match(r"\w", word[-1]) else ""
    return before + re.escape(word) + after


def teach_word(plan: DatasetPlan, word: EmbeddingOptions) -> DatasetPlan:
    """Return a plan whose captions teach a new word, with what is wrong with that.

    With a template, one sentence at random stands for a caption at each showing; captions are still
    dropped out, but not changed otherwise, and what was told about missing ones is taken back.
    Regularisation pictures keep theirs: they are there to show what the word does not mean.
    """
    if word.has_template:
        return _with_sentences(plan, word)
    return replace(plan, problems=(*plan.problems, *_without_word(plan, word)))


def _with_sentences(plan: DatasetPlan, word: EmbeddingOptions) -> DatasetPlan:
    sentences = OBJECT_SENTENCES if word.use_object_template else STYLE_SENTENCES
    text = "\n".join(sentence.format(word.token_string) for sentence in sentences)
    samples = [one if one.is_reg else _with_text(one, text) for one in plan.samples]
    problems = plan.problems
    if not plan.num_reg_images:
        problems = tuple(one for one in problems if one.option != "caption_extension")
    held_out = tuple(_with_text(one, text) for one in plan.validation)
    return replace(plan, samples=tuple(samples), problems=problems, validation=held_out)


def _with_text(sample: Sample, text: str) -> Sample:
    rules = replace(
        sample.rules,
        shuffle_caption=False,
        secondary_separator=None,
        enable_wildcard=True,  # takes one line of several
        caption_prefix=None,
        caption_suffix=None,
        caption_tag_dropout_rate=0.0,
        token_warmup_step=0.0,
    )
    return replace(sample, caption=text, rules=rules)


def _without_word(plan: DatasetPlan, word: EmbeddingOptions) -> Iterator[Problem]:
    """Tell of pictures from which nothing is learned, since their captions lack the word."""
    assert word.token_string is not None
    wanted = re.compile(word_pattern(word.token_string), re.IGNORECASE)
    own = [sample for sample in plan.samples if not sample.is_reg]
    lacking = [sample for sample in own if not wanted.search(_whole(sample))]
    if not lacking:
        return
    everything = len(lacking) == len(own)
    told = some(shown(sample.path.name) for sample in lacking)
    yield Problem(
        f"no caption holds the new word “{word.token_string}”, so nothing would be learned"
        if everything
        else f"the captions of {count(len(lacking), 'picture')} do not hold the new word "
        f"“{word.token_string}”, so it learns nothing from them: {told}",
        "token_string, caption_prefix",
        "write the word into the captions, put it before all of them with caption_prefix, or "
        "switch use_object_template or use_style_template on",
        "error" if everything else "warning",
    )


def _whole(sample: Sample) -> str:
    rules = sample.rules
    return f"{rules.caption_prefix or ''} {sample.caption} {rules.caption_suffix or ''}"
