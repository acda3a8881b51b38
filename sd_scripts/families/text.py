"""From captions to text encoder states: tokens, chunks of 75, encoders run as deep as needed."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from sd_scripts.errors import UserError
from sd_scripts.families.configs import ASSETS
from sd_scripts.families.prompt_weights import parse_weights

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

    from sd_scripts.families.base import TextEncoder

BOS: Final = 49406
EOS: Final = 49407
WINDOW: Final = 77
CHUNK: Final = WINDOW - 2
VOCABULARY_SIZE: Final = 49408


def _byte_letters() -> list[str]:
    """Return the letter that stands for each byte, in the vocabulary's order (GPT-2's alphabet).

    Printable bytes come first and stand for themselves; the others get letters from 256 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(others)]


@cache
def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    text = gzip.decompress((ASSETS / "clip_merges.txt.gz").read_bytes()).decode("utf-8")
    merges = [(first, second) for first, second in map(str.split, text.splitlines())]
    letters = _byte_letters()
    tokens = letters + [letter + "</w>" for letter in letters]
    tokens += [first + second for first, second in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}, merges


@cache
def clip_tokenizer(pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    """Return CLIP's tokenizer from the shipped vocabulary; `pad_token` is "!" for OpenCLIP's.

    One object per pad token is shared by all callers: add no tokens to it.
    """
    from transformers import CLIPTokenizer

    vocabulary, merges = _vocabulary()
    rules: Any = list(merges)
    return CLIPTokenizer(
        vocab=dict(vocabulary), merges=rules, pad_token=pad_token, model_max_length=WINDOW
    )


def tokenizer_for(
    encoder: TextEncoder, pad_token: str, folder: Path | None, option: str
) -> CLIPTokenizer:
    """Return the tokenizer of a text encoder: the shipped one if it has CLIP's vocabulary.

    An encoder with more or fewer tokens needs the tokenizer of its own folder; raises `UserError`
    if there is none.
    """
    size = encoder.config.vocab_size
    if size == VOCABULARY_SIZE:
        return clip_tokenizer(pad_token)
    if folder is None:
        raise UserError(
            f"the text encoder knows {size} tokens, not CLIP's {VOCABULARY_SIZE}, and no tokenizer "
            "lies beside it",
            option=option,
            hint="use the diffusers folder of this model, with its tokenizer",
        )
    from transformers import CLIPTokenizer

    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    return tokenizer


def tokenize(
    tokenizer: CLIPTokenizer, captions: Sequence[str], max_token_length: int | None
) -> Tensor:
    """Return token numbers [B, chunks, 77] (int64), cut into windows as sd-scripts cuts them.

    `max_token_length` (75 if None; 150 and 225 are usual) counts tokens without begin and end.
    """
    length = _length(max_token_length)
    numbers = tokenizer(
        list(captions), padding="max_length", truncation=True, max_length=length + 2
    ).input_ids
    return _cut(tokenizer, numbers, length)


def tokenize_weighted(
    tokenizer: CLIPTokenizer, captions: Sequence[str], max_token_length: int | None
) -> tuple[Tensor, Tensor]:
    """Return tokens as `tokenize` does, and each token's weight [B, 75 * chunks + 2] (float32).

    Brackets in captions say the weights (`prompt_weights`); begin, end and padding have 1.
    """
    length = _length(max_token_length)
    rows, weights = [], []
    for caption in captions:
        numbers: list[int] = []
        row: list[float] = []
        for piece in parse_weights(caption):
            found = tokenizer(piece.text, add_special_tokens=False).input_ids
            numbers += found
            row += [piece.weight] * len(found)
        numbers, row = numbers[:length], row[:length]
        padding = length - len(numbers)
        pad = int(tokenizer.pad_token_id or 0)
        rows.append([BOS, *numbers, EOS] + [pad] * padding)
        weights.append([1.0, *row, 1.0] + [1.0] * padding)
    return _cut(tokenizer, rows, length), torch.tensor(weights)


def count_tokens(tokenizer: CLIPTokenizer, caption: str) -> int:
    """Return how many tokens a caption has, without begin and end; brackets are none."""
    texts = [piece.text for piece in parse_weights(caption)]
    return sum(len(tokenizer(text, add_special_tokens=False).input_ids) for text in texts)


def _length(max_token_length: int | None) -> int:
    length = max_token_length or CHUNK
    assert length % CHUNK == 0, "a token length is a whole number of chunks of 75"
    return length


def _cut(tokenizer: CLIPTokenizer, numbers: list[list[int]], length: int) -> Tensor:
    """Turn rows of 75 n + 2 numbers into [B, n, 77]."""
    tokens = torch.tensor(numbers, dtype=torch.int64).reshape(len(numbers), length + 2)
    if length == CHUNK:
        return tokens.unsqueeze(1)
    return _windows(tokens, int(tokenizer.pad_token_id or 0))


def _windows(tokens: Tensor, pad: int) -> Tensor:
    """Cut [B, 75 n + 2] into [B, n, 77]: each window is begin, 75 tokens, and the last token.

    Where padding is not the end token (OpenCLIP's "!"), a window whose 75th token is a real one
    ends in the end token, and a window of padding alone begins with one.
    """
    batch, length = tokens.shape
    pieces = tokens[:, 1:-1].reshape(batch, (length - 2) // CHUNK, CHUNK)
    first = tokens[:, :1, None].expand(batch, pieces.shape[1], 1)
    last = tokens[:, -1:, None].expand(batch, pieces.shape[1], 1)
    windows = torch.cat([first, pieces, last], dim=2)
    if pad != EOS:
        real = (windows[:, :, -2] != EOS) & (windows[:, :, -2] != pad)
        windows[:, :, -1] = windows[:, :, -1].masked_fill(real, EOS)
        empty = windows[:, :, 1] == pad
        windows[:, :, 1] = windows[:, :, 1].masked_fill(empty, EOS)
    return windows


def rejoin(states: Tensor, batch: int) -> Tensor:
    """Turn windows' states [B * n, 77, D] into [B, 75 n + 2, D], with one begin and one end."""
    if states.shape[0] == batch:
        return states
    windows = states.reshape(batch, -1, WINDOW, states.shape[-1])
    inner = windows[:, :, 1:-1].flatten(1, 2)
    return torch.cat([windows[:, 0, :1], inner, windows[:, -1, -1:]], dim=1)


def checkpoint_layers(encoder: TextEncoder) -> None:
    """Have the layers recompute their insides in the backward pass, while in train mode."""
    enable: Any = encoder.activation_checkpointing_enable
    enable({"use_reentrant": False})


def _transformer(encoder: TextEncoder) -> Any:
    """Return the module that holds embeddings, layers and final norm (transformers 5)."""
    return encoder.text_model if hasattr(encoder, "text_projection") else encoder


def embed(encoder: TextEncoder, tokens: Tensor) -> Tensor:
    """Return the input of the first layer: tokens [N, 77] -> [N, 77, D]."""
    embedded: Tensor = _transformer(encoder).embeddings(input_ids=tokens)
    return embedded


def run_layers(encoder: TextEncoder, states: Tensor, start: int, stop: int) -> Tensor:
    """Run layers `start` to `stop` (exclusive) with causal attention; padding is not masked."""
    for layer in _transformer(encoder).encoder.layers[start:stop]:
        states = layer(states, None, is_causal=True)
    return states


def final_norm(encoder: TextEncoder, states: Tensor) -> Tensor:
    """Apply the encoder's final layer norm."""
    normed: Tensor = _transformer(encoder).final_layer_norm(states)
    return normed


def num_layers(encoder: TextEncoder) -> int:
    """Return how many layers the encoder has."""
    return len(_transformer(encoder).encoder.layers)


def check_clip_skip(encoder: TextEncoder, clip_skip: int | None) -> None:
    """Raise `UserError` if `clip_skip` leaves no layer of the encoder."""
    if (clip_skip or 1) > num_layers(encoder):
        raise UserError(
            f"clip_skip {clip_skip} leaves no layer of {num_layers(encoder)}",
            option="clip_skip",
            hint="1 or 2 are usual",
        )


def last_states(encoder: TextEncoder, tokens: Tensor, clip_skip: int | None) -> Tensor:
    """Return the states that SD 1.x and SD 2.x read: tokens [N, 77] -> [N, 77, D].

    With `clip_skip` n the last n - 1 layers are not run; the final norm always is. That is
    transformers' `hidden_states[-n]`, normed.
    """
    check_clip_skip(encoder, clip_skip)
    depth = num_layers(encoder) - ((clip_skip or 1) - 1)
    states = run_layers(encoder, embed(encoder, tokens), 0, depth)
    return final_norm(encoder, states)


def penultimate_states(encoder: TextEncoder, tokens: Tensor) -> Tensor:
    """Return the last layer's input, not normed: transformers' `hidden_states[-2]`."""
    return run_layers(encoder, embed(encoder, tokens), 0, num_layers(encoder) - 1)


def pooled_vector(encoder: TextEncoder, penultimate: Tensor, tokens: Tensor) -> Tensor:
    """Return the projected state of the first end token: [N, 77, D], tokens [N, 77] -> [N, P].

    `penultimate` is what `penultimate_states` gave for the same tokens.
    """
    depth = num_layers(encoder)
    states = final_norm(encoder, run_layers(encoder, penultimate, depth - 1, depth))
    ends = (tokens == EOS).int().argmax(dim=-1)
    projection: Any = encoder.text_projection
    pooled: Tensor = projection(states[torch.arange(len(states), device=states.device), ends])
    return pooled
