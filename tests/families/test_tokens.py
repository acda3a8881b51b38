"""The shipped vocabulary and the cutting of long captions, against hand-made expectations."""

from __future__ import annotations

import pytest
import torch

from sd_scripts.families.text import clip_tokenizer, rejoin, tokenize

BOS, EOS = 49406, 49407
PADS = {"<|endoftext|>": EOS, "!": 0}


@pytest.mark.parametrize("pad", list(PADS))
def test_known_numbers(pad: str) -> None:
    tokenizer = clip_tokenizer(pad)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (BOS, EOS)
    assert tokenizer.pad_token_id == PADS[pad]
    assert len(tokenizer) == 49408
    assert tokenizer("a photo of a cat").input_ids == [BOS, 320, 1125, 539, 320, 2368, EOS]
    (tokens,) = tokenize(tokenizer, ["a photo of a cat"], None)
    assert tokens.tolist() == [[BOS, 320, 1125, 539, 320, 2368, EOS] + [PADS[pad]] * 70]


@pytest.mark.parametrize(
    ("text", "back"),
    [
        ("A  Photo,\nof CAFÉ", "a photo , of café"),
        ("1girl, solo 日本語 🎨", "1 girl , solo 日本語 🎨"),
        ("it's", "it 's"),
        ("", ""),
    ],
)
def test_words_survive_the_round_trip(text: str, back: str) -> None:
    tokenizer = clip_tokenizer()
    numbers = tokenizer(text).input_ids
    assert tokenizer.decode(numbers, skip_special_tokens=True) == back


def test_long_captions_are_cut_and_end_in_the_end_token() -> None:
    (tokens,) = tokenize(clip_tokenizer("!"), ["cat " * 100], 75)
    assert tokens.tolist() == [[BOS] + [2368] * 75 + [EOS]]


def windows_by_hand(num_words: int, pad: int, chunks: int) -> list[list[int]]:
    """Spell the rule out for a caption of equal words, window by window."""
    length = 75 * chunks
    ids = [BOS] + [2368] * min(num_words, length) + [EOS]
    ids += [pad] * (length + 2 - len(ids))
    windows = []
    for number in range(chunks):
        window = [ids[0], *ids[1 + 75 * number : 76 + 75 * number], ids[-1]]
        if pad != EOS:
            if window[-2] not in (EOS, pad):
                window[-1] = EOS
            if window[1] == pad:
                window[1] = EOS
        windows.append(window)
    return windows


@pytest.mark.parametrize("pad", list(PADS))
@pytest.mark.parametrize("chunks", [2, 3])
@pytest.mark.parametrize("num_words", [0, 1, 74, 75, 76, 149, 150, 151, 225, 400])
def test_windows(pad: str, chunks: int, num_words: int) -> None:
    (tokens,) = tokenize(clip_tokenizer(pad), ["cat " * num_words], 75 * chunks)
    assert tokens.dtype == torch.int64
    assert tokens.tolist() == windows_by_hand(num_words, PADS[pad], chunks)


def test_windows_written_out() -> None:
    """The two paddings differ in what follows a full first window."""
    caption = "cat " * 75
    (clip,) = tokenize(clip_tokenizer(), [caption], 150)
    assert clip.tolist() == [[BOS] + [2368] * 75 + [EOS], [BOS] + [EOS] * 76]
    (openclip,) = tokenize(clip_tokenizer("!"), [caption], 150)
    assert openclip.tolist() == [
        [BOS] + [2368] * 75 + [EOS],
        [BOS, EOS] + [0] * 75,
    ]
    (short,) = tokenize(clip_tokenizer("!"), ["cat"], 150)
    assert short.tolist() == [[BOS, 2368, EOS] + [0] * 74, [BOS, EOS] + [0] * 75]


def test_states_are_joined_with_one_begin_and_one_end() -> None:
    states = torch.arange(2 * 3 * 77).reshape(6, 77, 1)
    joined = rejoin(states, 2)
    assert joined.shape == (2, 227, 1)
    windows = states.reshape(2, 3, 77)
    for row in range(2):
        expected = [windows[row, 0, 0]]
        for window in range(3):
            expected += list(windows[row, window, 1:76])
        expected.append(windows[row, 2, 76])
        assert joined[row, :, 0].tolist() == [int(value) for value in expected]
    assert torch.equal(rejoin(states, 6), states)


def test_tokens_depend_only_on_their_own_caption() -> None:
    together = tokenize(clip_tokenizer(), ["a cat", "a dog " * 60], 150)
    alone = tokenize(clip_tokenizer(), ["a cat"], 150)
    assert together.shape == (2, 2, 77)
    assert torch.equal(together[:1], alone)
