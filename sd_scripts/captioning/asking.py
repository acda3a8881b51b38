"""How each kind of captioner is asked about pictures, and how its answer is read.

Only what transformers ships is used: never code from a model's folder, never the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor

Inputs = Mapping[str, Tensor]


class Asker(Protocol):
    """Makes a model's inputs of pictures and words, and text of its output tokens.

    `counts_prompt`: the model's output, and so its length, begins with the words it was given.
    """

    counts_prompt: bool

    def prepare(self, picture: Image.Image) -> Any:
        """Prepare one picture, in any thread."""

    def collate(self, prepared: Sequence[Any]) -> Inputs:
        """Make the inputs of a batch."""

    def answers(self, tokens: Tensor, inputs: Inputs) -> list[str]:
        """Return the text of each row of tokens [batch, length]."""


class PixelAsker:
    """BLIP and GIT: pixels, and perhaps words that the caption goes on from."""

    counts_prompt = True

    def __init__(self, folder: Path, prompt: str | None) -> None:
        self._processor = _local(transformers.AutoProcessor, folder)
        self._prompt = prompt

    def prepare(self, picture: Image.Image) -> Any:
        """Return pixel values, [3, height, width], float32."""
        return self._processor.image_processor(picture, return_tensors="np")["pixel_values"][0]

    def collate(self, prepared: Sequence[Any]) -> Inputs:
        """Stack pixels; repeat the words for each picture."""
        inputs = {"pixel_values": torch.from_numpy(np.stack(prepared))}
        if self._prompt is not None:
            words = self._processor.tokenizer([self._prompt] * len(prepared), return_tensors="pt")
            inputs |= {name: words[name] for name in ("input_ids", "attention_mask")}
        return inputs

    def answers(self, tokens: Tensor, inputs: Inputs) -> list[str]:
        """Decode the tokens."""
        return _decoded(self._processor.tokenizer, tokens)


class ProcessorAsker:
    """BLIP-2 and Florence-2: their processor joins pictures and words."""

    counts_prompt = False

    def __init__(self, folder: Path, prompt: str | None) -> None:
        self._processor = _local(transformers.AutoProcessor, folder)
        self._prompt = prompt

    def prepare(self, picture: Image.Image) -> Any:
        """Return the picture: the processor takes a batch at a time."""
        return picture

    def collate(self, prepared: Sequence[Any]) -> Inputs:
        """Return pixels, and the words' tokens if there are any."""
        images = list(prepared)
        if self._prompt is None:
            return dict(self._processor.image_processor(images, return_tensors="pt"))
        text = [self._prompt] * len(images)
        return dict(self._processor(images=images, text=text, return_tensors="pt"))

    def answers(self, tokens: Tensor, inputs: Inputs) -> list[str]:
        """Decode the tokens."""
        return _decoded(self._processor.tokenizer, tokens)


class ChatAsker:
    """Qwen-VL: a question in a chat, with as many places in it as the picture has patches.

    The processor that transformers has for these needs torchvision, for films; its two parts for
    pictures and words do not.
    """

    counts_prompt = False
    _PLACE: Final = "<|image_pad|>"

    def __init__(self, folder: Path, prompt: str | None) -> None:
        self._images = _local(transformers.AutoImageProcessor, folder)
        self._words = _local(transformers.AutoTokenizer, folder)
        self._words.padding_side = "left"
        question: Any = [{"type": "image"}, {"type": "text", "text": prompt or ""}]
        self._chat: str = self._words.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        if self._chat.count(self._PLACE) != 1:
            raise ValueError("its chat has no place for a picture")
        self._place = self._words.convert_tokens_to_ids(self._PLACE)

    def prepare(self, picture: Image.Image) -> Any:
        """Return patches [number of patches, values] and their grid [1, 3]."""
        found = self._images(images=[picture], return_tensors="np")
        return found["pixel_values"], found["image_grid_thw"]

    def collate(self, prepared: Sequence[Any]) -> Inputs:
        """Join patches, and write as many places into each chat as its picture needs."""
        merged = self._images.merge_size**2
        places = [int(grid.prod()) // merged for _, grid in prepared]
        chats = [self._chat.replace(self._PLACE, self._PLACE * number) for number in places]
        words = self._words(chats, padding=True, return_tensors="pt")
        return {
            "input_ids": words["input_ids"],
            "attention_mask": words["attention_mask"],
            "mm_token_type_ids": (words["input_ids"] == self._place).int(),
            "pixel_values": torch.from_numpy(np.concatenate([pixels for pixels, _ in prepared])),
            "image_grid_thw": torch.from_numpy(np.concatenate([grid for _, grid in prepared])),
        }

    def answers(self, tokens: Tensor, inputs: Inputs) -> list[str]:
        """Decode what comes after the question."""
        return _decoded(self._words, tokens[:, inputs["input_ids"].shape[1] :])


def _local(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder, local_files_only=True)


def _decoded(tokenizer: Any, tokens: Tensor) -> list[str]:
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return [" ".join(text.split()) for text in texts]


ASKERS: Final[Mapping[str, tuple[str, Callable[[Path, str | None], Asker]]]] = {
    "blip": ("BlipForConditionalGeneration", PixelAsker),
    "git": ("GitForCausalLM", PixelAsker),
    "blip-2": ("Blip2ForConditionalGeneration", ProcessorAsker),
    "florence2": ("Florence2ForConditionalGeneration", ProcessorAsker),
    "qwen2_vl": ("Qwen2VLForConditionalGeneration", ChatAsker),
    "qwen2_5_vl": ("Qwen2_5_VLForConditionalGeneration", ChatAsker),
    "qwen3_vl": ("Qwen3VLForConditionalGeneration", ChatAsker),
}
"""By `model_type`: the model's class in transformers, and how it is asked."""
