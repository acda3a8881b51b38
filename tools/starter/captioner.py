"""Trains the captioner: a small BLIP that says what a starter picture shows."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    BlipTextConfig,
    BlipVisionConfig,
)

from tools.starter.scenes import COLOURS, KINDS, SIZES, SUBJECTS, sentence
from tools.starter.strangers import Shown, random_shown, taught_strangers
from tools.starter.training import (
    Stateful,
    falling_rate,
    pictures_to_tensor,
    scaled,
    seed_step,
    set_rate,
    train,
)
from tools.starter.wear import Wear, wear

SEED = 43
STEPS = 1600
BATCH = 64
LEARNING_RATE = 1.5e-3
SIDE = 96  # px, what the network looks at
PATCH = 12
WIDTH = 96
LAYERS = 4
TEXT_LAYERS = 2
HEADS = 4
MAX_TOKENS = 48
STRANGERS = 0.3  # share of pictures that show no subject
UNKNOWN = "thing"  # what a subject without a known kind is called
PROMPT = "a picture of"  # BLIP's usual start of a caption, understood but never said
PROMPT_SHARE = 0.3
SIDE_TASK = 0.5  # weight of naming what is shown from the picture alone, without a sentence
IGNORED = -100  # label of tokens that do not count, in transformers
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
WEAR = Wear(share=0.5, blur=1.2, gain=0.05, shift=0.05, noise=0.05, clouds=0.05, warp=1.5)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]")
NAMES = (*(subject.word for subject in SUBJECTS), *KINDS, UNKNOWN)


def vocabulary() -> dict[str, int]:
    """Return the word pieces: the starter's words, and letters for all others."""
    words = [*PROMPT.split(), "an", "on", "background", *SIZES, *COLOURS, *NAMES]
    letters = [*string.ascii_lowercase, *string.digits, ",", "."]
    pieces = [f"##{letter}" for letter in string.ascii_lowercase + string.digits]
    unique = dict.fromkeys((*SPECIAL, *words, *letters, *pieces))
    return {piece: number for number, piece in enumerate(unique)}


def make_processor() -> Any:
    """Build the processor: pictures to 96 px with CLIP's mean and deviation, text to words."""
    tokenizer = BertTokenizer(
        vocab=vocabulary(), bos_token="[DEC]", model_max_length=MAX_TOKENS, do_lower_case=True
    )
    pictures = BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    make: Any = BlipProcessor  # untyped
    return make(pictures, tokenizer)


def make_captioner() -> BlipForConditionalGeneration:
    """Build the untrained BLIP (0.8 M parameters)."""
    torch.manual_seed(SEED)
    pieces = vocabulary()
    vision = BlipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        image_size=SIDE,
        patch_size=PATCH,
        initializer_range=0.05,
    )
    text = BlipTextConfig(
        vocab_size=len(pieces),
        hidden_size=WIDTH,
        encoder_hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=pieces["[DEC]"],
        eos_token_id=pieces["[SEP]"],
        sep_token_id=pieces["[SEP]"],
        pad_token_id=pieces["[PAD]"],
        initializer_range=0.05,
    )
    config = BlipConfig(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=WIDTH,
        image_text_hidden_size=WIDTH,
    )
    return BlipForConditionalGeneration(config)


def name_of(shown: Shown) -> str:
    """Return what a caption calls what is shown: its word, else its kind, else "thing"."""
    return shown.word or shown.kind or UNKNOWN


def tokens_of(
    processor: Any, captions: Sequence[str], prompted: Sequence[bool]
) -> dict[str, Tensor]:
    """Return input_ids, attention_mask and labels [B, L]; a prompt is read, not learned."""
    texts = [f"{PROMPT} {c}" if p else c for c, p in zip(captions, prompted, strict=True)]
    tokenizer = processor.tokenizer
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    ids = encoded["input_ids"]
    ids[:, 0] = tokenizer.bos_token_id
    labels = ids.masked_fill(encoded["attention_mask"] == 0, IGNORED)
    for row, has_prompt in enumerate(prompted):
        labels[row, : 1 + has_prompt * len(PROMPT.split())] = IGNORED
    return {"input_ids": ids, "attention_mask": encoded["attention_mask"], "labels": labels}


def inner_pictures(pictures: Tensor) -> Tensor:
    """Shrink and normalise [B, 3, 128, 128] in -1 to 1 as the processor does."""
    small = F.interpolate(
        pictures, (SIDE, SIDE), mode="bicubic", align_corners=False, antialias=True
    )
    mean, deviation = (torch.tensor(v)[:, None, None] for v in (CLIP_MEAN, CLIP_DEVIATION))
    return ((small.clamp(-1, 1) + 1) / 2 - mean) / deviation


@dataclass
class Lesson:
    """One step's pictures [B, 3, 96, 96], tokens, and the number of each name, size, colour."""

    pictures: Tensor
    tokens: dict[str, Tensor]
    names: Tensor
    sizes: Tensor
    colours: Tensor


def lesson_of(step: int, processor: Any) -> Lesson:
    """Draw the pictures of a step and what is to be said about them."""
    rng = random.Random(f"captioner {SEED} {step}")
    batch = [random_shown(rng, taught_strangers(), STRANGERS) for _ in range(BATCH)]
    drawn = pictures_to_tensor(np.stack([np.asarray(shown.picture()) for shown in batch]))
    worn = wear(drawn, seed_step(SEED, step), WEAR)
    captions = [sentence(name_of(s), s.scene.colour, s.scene.size) for s in batch]
    prompted = [rng.random() < PROMPT_SHARE for _ in batch]
    return Lesson(
        inner_pictures(worn),
        tokens_of(processor, captions, prompted),
        torch.tensor([NAMES.index(name_of(shown)) for shown in batch]),
        torch.tensor([list(SIZES).index(shown.scene.size) for shown in batch]),
        torch.tensor([list(COLOURS).index(shown.scene.colour) for shown in batch]),
    )


class SideTask(nn.Module):
    """Names subject, size and colour from the picture's mean token: it teaches the eye faster.

    Only there while learning; not part of what is written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts = (len(NAMES), len(SIZES), len(COLOURS))
        self.head = nn.Linear(WIDTH, sum(self.counts))

    def forward(self, hidden: Tensor, lesson: Lesson) -> Tensor:
        """Return the mean cross entropy over tokens [B, T, WIDTH] of the three answers."""
        answers = self.head(hidden.mean(1)).split(self.counts, dim=1)
        truths = (lesson.names, lesson.sizes, lesson.colours)
        losses = [F.cross_entropy(a, t) for a, t in zip(answers, truths, strict=True)]
        return torch.stack(losses).sum()


def captioner_loss(
    captioner: BlipForConditionalGeneration, side_task: SideTask, lesson: Lesson
) -> tuple[Tensor, Tensor]:
    """Return the loss of the next words, and of the side task."""
    hidden = captioner.vision_model(pixel_values=lesson.pictures).last_hidden_state
    logits = captioner.text_decoder(
        input_ids=lesson.tokens["input_ids"],
        attention_mask=lesson.tokens["attention_mask"],
        encoder_hidden_states=hidden,
    ).logits
    wanted = lesson.tokens["labels"][:, 1:]
    words = F.cross_entropy(logits[:, :-1].flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)
    return words, side_task(hidden, lesson)


def train_captioner(folder: Path, share: float = 1.0) -> None:
    """Train the captioner and write it to `<folder>/captioner`."""
    steps = scaled(STEPS, share)
    processor, captioner = make_processor(), make_captioner()
    side_task = SideTask()
    modules = nn.ModuleList([captioner, side_task]).train()
    decayed = [p for p in modules.parameters() if p.ndim > 1]
    plain = [p for p in modules.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
        lr=LEARNING_RATE,
        betas=(0.9, 0.98),
    )

    def take_step(step: int) -> dict[str, float]:
        set_rate(optimizer, falling_rate(step, steps, 100))
        words, side = captioner_loss(captioner, side_task, lesson_of(step, processor))
        torch.autograd.backward(words + SIDE_TASK * side)
        nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return {"words": words.item(), "side": side.item()}

    kept: dict[str, Stateful] = {"modules": modules, "optimizer": optimizer}
    train("captioner", folder, steps, take_step, kept)
    save_captioner(captioner, processor, folder / "captioner")


def save_captioner(captioner: BlipForConditionalGeneration, processor: Any, folder: Path) -> None:
    """Write the model, its weights as fp16, and its processor beside it."""
    written: Any = BlipForConditionalGeneration(captioner.config)
    written.load_state_dict(captioner.state_dict())
    written.half().save_pretrained(folder)
    processor.save_pretrained(folder)
