"""The caption pipeline: its exact order, and that all chance is the given one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.dataset.captions import CaptionRules, process_caption


def processed(text, *, seed=0, step=0, max_steps=100, epoch=1, **rules):
    return process_caption(
        text,
        CaptionRules(**rules),
        step=step,
        max_steps=max_steps,
        epoch=epoch,
        rng=random.Random(seed),
    )


def all_of(text, seeds=300, **rules):
    return {processed(text, seed=seed, **rules) for seed in range(seeds)}


def test_without_rules_the_first_line_stays_as_it_is():
    assert processed("a,b ,  c\nsecond") == "a,b ,  c"


def test_prefix_and_suffix_are_put_around_with_blanks():
    assert processed("cat", caption_prefix="sks", caption_suffix="photo") == "sks cat photo"
    assert processed("cat", caption_prefix="", caption_suffix=None) == "cat"


def test_the_prefix_belongs_to_the_first_line_since_it_comes_before_the_choice_of_a_line():
    lines = all_of("one\ntwo", enable_wildcard=True, caption_prefix="p", caption_suffix="s")
    assert lines == {"p one", "two s"}


def test_dropping_out_leaves_nothing_not_even_the_prefix():
    assert processed("cat", caption_prefix="p", caption_dropout_rate=1.0) == ""
    dropped = sum(not processed("cat", seed=seed, caption_dropout_rate=0.3) for seed in range(2000))
    assert 480 < dropped < 720


@pytest.mark.parametrize(("epoch", "text"), [(1, "cat"), (2, "cat"), (3, ""), (6, ""), (7, "cat")])
def test_dropping_out_every_third_epoch(epoch, text):
    assert processed("cat", epoch=epoch, caption_dropout_every_n_epochs=3) == text


def test_wildcards():
    assert all_of("a {red|blue|} cat", enable_wildcard=True) == {
        "a red cat",
        "a blue cat",
        "a  cat",
    }
    assert all_of("{a|b} {c|d}", enable_wildcard=True) == {"a c", "a d", "b c", "b d"}
    assert processed("{only}", enable_wildcard=True) == "only"
    assert processed("{red|blue}") == "{red|blue}"


def test_double_braces_are_plain_braces():
    assert processed("{{a|b}} ⦅x⦆", enable_wildcard=True) == "{a|b} ⦅x⦆"
    assert all_of("{{x}} {a|b}", enable_wildcard=True) == {"{x} a", "{x} b"}


def test_shuffling_keeps_the_first_tags():
    shuffled = all_of("k1, k2, a,b , c", shuffle_caption=True, keep_tokens=2)
    assert len(shuffled) == 6
    assert all(text.startswith("k1, k2, ") for text in shuffled)
    assert "k1, k2, c, b, a" in shuffled


def test_shuffling_without_fixed_tags_keeps_empty_ones():
    assert {tuple(sorted(text.split(", "))) for text in all_of("a,,b", shuffle_caption=True)} == {
        ("", "a", "b")
    }


def test_a_mark_separates_three_parts_and_wins_over_the_number():
    rules = {"shuffle_caption": True, "keep_tokens": 1, "keep_tokens_separator": "|||"}
    assert all_of("a, b ||| c,, d ||| e ,f", **rules) == {"a, b, c, d, e, f", "a, b, d, c, e, f"}
    assert all_of("a ||| c, d", **rules) == {"a, c, d", "a, d, c"}
    assert all_of("a, c, d", **rules) == {"a, c, d", "a, d, c"}  # no mark: keep_tokens holds
    third = all_of("a ||| b ||| c ||| d", **rules)
    assert third == {"a, b, c ||| d"}


def test_the_mark_stays_when_nothing_splits_tags():
    assert processed("a ||| b", keep_tokens_separator="|||") == "a ||| b"


def test_another_separator_splits_but_tags_are_joined_with_commas():
    assert processed("a. b .c", caption_separator=".", caption_tag_dropout_rate=1e-12) == "a, b, c"


def test_the_secondary_separator_holds_tags_together_and_is_replaced_at_last():
    rules = {"secondary_separator": ";;;", "shuffle_caption": True}
    assert all_of("a;;;b, c", **rules) == {"a,b, c", "c, a,b"}
    assert processed("a;;;b", secondary_separator=";;;") == "a,b"


def test_dropping_tags_leaves_the_fixed_ones():
    rules = {"caption_tag_dropout_rate": 0.5, "keep_tokens": 1}
    assert all_of("k, a, b", **rules) == {"k", "k, a", "k, b", "k, a, b"}
    assert processed("k, a", keep_tokens=1, caption_tag_dropout_rate=1.0) == "k"


@pytest.mark.parametrize(
    ("step", "tags"),
    [
        (0, "k, a"),
        (3, "k, a"),
        (4, "k, a, b"),
        (6, "k, a, b"),
        (7, "k, a, b, c"),
        (10, "k, a, b, c, d"),
    ],
)
def test_warm_up_shows_more_and_more_tags(step, tags):
    # floor(step * (4 - 1) / 10) + 1 of the four tags after the fixed one
    rules = {"token_warmup_min": 1, "token_warmup_step": 10, "keep_tokens": 1}
    assert processed("k, a, b, c, d", step=step, **rules) == tags


def test_warm_up_as_a_share_of_all_steps():
    rules = {"token_warmup_min": 0, "token_warmup_step": 0.5}
    assert processed("a, b, c, d", step=25, max_steps=100, **rules) == "a, b"
    assert processed("a, b, c, d", step=50, max_steps=100, **rules) == "a, b, c, d"


def test_warm_up_cuts_before_the_shuffle():
    rules = {"token_warmup_min": 2, "token_warmup_step": 10, "shuffle_caption": True}
    assert all_of("a, b, c", step=0, **rules) == {"a, b", "b, a"}


rules_of_any_kind = st.builds(
    CaptionRules,
    caption_separator=st.sampled_from([",", ".", "|"]),
    shuffle_caption=st.booleans(),
    keep_tokens=st.integers(0, 4),
    keep_tokens_separator=st.sampled_from(["", "|||"]),
    secondary_separator=st.sampled_from([None, ";;;"]),
    enable_wildcard=st.booleans(),
    caption_prefix=st.sampled_from([None, "pre"]),
    caption_suffix=st.sampled_from([None, "post"]),
    caption_dropout_rate=st.sampled_from([0.0, 0.3, 1.0]),
    caption_dropout_every_n_epochs=st.integers(0, 3),
    caption_tag_dropout_rate=st.sampled_from([0.0, 0.5, 1.0]),
    token_warmup_min=st.integers(0, 5),
    token_warmup_step=st.sampled_from([0.0, 0.2, 7.0]),
)
texts = st.text(st.sampled_from("ab,.|{};⦅⦆ \n") | st.characters(), max_size=40)


@given(texts, rules_of_any_kind, st.integers(0, 20), st.integers(1, 9), st.integers(0, 2**32))
def test_any_caption_with_any_rules_gives_a_text_that_only_depends_on_the_given_chance(
    text, rules, step, epoch, seed
):
    def once():
        rng = random.Random(seed)
        return process_caption(text, rules, step=step, max_steps=20, epoch=epoch, rng=rng)

    random.seed(1)
    before = random.getstate()
    assert once() == once()
    assert random.getstate() == before


@given(texts, rules_of_any_kind, st.integers(0, 2**32), st.integers(1, 20))
def test_static_rules_never_change_a_caption_between_steps(text, rules, seed, step):
    told = {
        process_caption(text, rules, step=at, max_steps=20, epoch=at + 1, rng=random.Random(chance))
        for at, chance in ((0, 0), (step, seed))
    }
    assert not rules.is_static or len(told) == 1


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=8), st.integers(0, 9))
def test_shuffling_loses_nothing(tags, keep):
    out = processed(",".join(tags), shuffle_caption=True, keep_tokens=keep).split(", ")
    assert sorted(out) == sorted(tags)
    assert out[:keep] == tags[:keep]
