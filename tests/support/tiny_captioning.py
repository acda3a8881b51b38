"""Tiny taggers and captioners for tests, made on the fly: real files, a few numbers inside."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

Tags = Sequence[tuple[str, int]]

TAGS: Tags = (
    ("general", 9),
    ("sensitive", 9),
    ("questionable", 9),
    ("explicit", 9),
    ("red_background", 0),
    ("green_background", 0),
    ("blue_background", 0),
    ("^_^", 0),
    ("red_(paint)", 4),
    ("old_hat_(hats)_(shop)", 4),
)
"""Names and categories of the tiny tagger, in the order of its outputs."""

# Weights over the mean blue, green and red of a picture, and what is added: a pure red picture
# gives about 0.99 for the tags of red, and so on.
_WEIGHTS = {
    "general": (0, 0, 0, 1),
    "sensitive": (0, 0, 8, -1),
    "red_background": (-5, -5, 9, -4),
    "green_background": (-5, 9, -5, -4),
    "blue_background": (9, -5, -5, -4),
    "^_^": (6, 0, 0, -3),
    "red_(paint)": (-5, -5, 7, -4),
    "old_hat_(hats)_(shop)": (-5, -5, 6, -4),
}


def make_tagger(
    folder: Path,
    tags: Tags = TAGS,
    *,
    layout: str = "NHWC",
    side: int | str = 16,
    batch: int | str = "N",
) -> Path:
    """Write a tagger whose tags follow a picture's mean colour; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder / "model.onnx", [name for name, _ in tags], layout, (batch, side), scale=255)
    with open(folder / "selected_tags.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["tag_id", "name", "category", "count"])
        writer.writerows((number, name, kind, 1) for number, (name, kind) in enumerate(tags))
    return folder


def make_mapping_tagger(folder: Path, tags: Sequence[tuple[str, str]]) -> Path:
    """Write a tagger with `tag_mapping.json`: NCHW, -1 to 1, numbers before the sigmoid."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name, _ in tags]
    _save(folder / "model_optimized.onnx", names, "NCHW", ("N", 16), scale=None)
    mapping = {str(n): {"tag": name, "category": kind} for n, (name, kind) in enumerate(tags)}
    (folder / "tag_mapping.json").write_text(json.dumps(mapping), encoding="utf-8")
    return folder


def _save(
    path: Path,
    names: Sequence[str],
    layout: str,
    size: tuple[int | str, int | str],
    scale: int | None,
) -> None:
    batch, side = size
    weights = np.array([_WEIGHTS.get(name, (0, 0, 0, -9)) for name in names], np.float32).T
    colours, bias = weights[:3], weights[3]
    if scale is None:  # -1 to 1 → 0 to 1
        colours, bias = colours / 2, bias + colours.sum(0) / 2
    else:
        colours = colours / scale
    space, shape = ([1, 2], [batch, side, side, 3])
    if layout == "NCHW":
        space, shape = ([2, 3], [batch, 3, side, side])
    nodes = [
        helper.make_node("ReduceMean", ["pictures", "space"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "colours", "bias"], ["sums"]),
        helper.make_node("Identity" if scale is None else "Sigmoid", ["sums"], ["tags"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tagger",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("tags", TensorProto.FLOAT, [batch, len(names)])],
        [
            numpy_helper.from_array(np.array(space, np.int64), "space"),
            numpy_helper.from_array(colours, "colours"),
            numpy_helper.from_array(bias, "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


_MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]")
WORDS = (*_MARKS, "a", "small", "big", "red", "green", "blue", "apple", "on", "sky")


def make_captioner(folder: Path) -> Path:
    """Write a tiny BLIP with random weights and its processor; returns its folder."""
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    size |= {"num_attention_heads": 2}
    marks = {"bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = {"vocab_size": len(WORDS), "encoder_hidden_size": 16, "projection_dim": 8, **size}
    text |= {"max_position_embeddings": 32, **marks}
    torch.manual_seed(3)
    config = BlipConfig(
        text_config=text,
        vision_config={**size, "image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    BlipForConditionalGeneration(config).save_pretrained(folder)
    tokenizer = BertTokenizer(
        vocab=str(folder / "vocab.txt"), extra_special_tokens=["[DEC]", "[ENC]"]
    )
    picture = BlipImageProcessorPil(size={"height": 32, "width": 32})
    BlipProcessor(picture, tokenizer).save_pretrained(folder)
    return folder


COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def paint(folder: Path, *names: str, size: tuple[int, int] = (24, 24)) -> Path:
    """Write plain pictures named by their colour, such as "red.png" or "sub/blue 2.png"."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = next(value for word, value in COLOURS.items() if word in path.stem)
        Image.new("RGB", size, colour).save(path)
    return folder


def make_git(folder: Path) -> Path:
    """Write a tiny GIT with random weights and its processor; returns its folder."""
    from transformers import BertTokenizer, GitConfig, GitForCausalLM, GitProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    size |= {"num_attention_heads": 2}
    torch.manual_seed(1)
    config = GitConfig(
        vision_config={**size, "image_size": 32, "patch_size": 16},
        vocab_size=len(WORDS),
        max_position_embeddings=32,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        **size,
    )
    GitForCausalLM(config).save_pretrained(folder)
    picture = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"))
    GitProcessor(picture, tokenizer).save_pretrained(folder)
    return folder


CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }} {% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


def make_qwen(folder: Path) -> Path:
    """Write a tiny Qwen2-VL with random weights, tokenizer and image processor."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    marks = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    marks += ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    words = [*marks, "[UNK]", "user", "assistant", "Describe", "this", *WORDS[7:]]
    plain = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, "[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        unk_token="[UNK]",
        extra_special_tokens=marks[1:],
        chat_template=CHAT,
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(2)
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": len(words)}
    text |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    text |= {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1]}}
    vision = {"depth": 1, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "patch_size": 8}
    config = Qwen2VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=5,
        video_token_id=6,
        vision_start_token_id=3,
        vision_end_token_id=4,
    )
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    Qwen2VLImageProcessorPil(patch_size=8, min_pixels=16 * 16, max_pixels=64 * 64).save_pretrained(
        folder
    )
    return folder


def _plain_tokenizer(marks: dict[str, str] | list[str]) -> Any:
    """Return a tokenizer of whole words that knows "<image>"."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.WordLevel({w: n for n, w in enumerate(_PLAIN_WORDS)}, "[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        unk_token="[UNK]",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=marks,
    )


_PLAIN_WORDS = ("<pad>", "<s>", "</s>", "[UNK]", "<image>", *WORDS[7:], "What", "does", "the")
_ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def make_blip2(folder: Path) -> Path:
    """Write a tiny BLIP-2 with random weights and its processor; returns its folder."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    wide = {**size, "intermediate_size": 16}
    language = {**size, "model_type": "opt", "ffn_dim": 16, "word_embed_proj_dim": 16, **_ENDS}
    language |= {"vocab_size": len(_PLAIN_WORDS), "max_position_embeddings": 64}
    asking = {**wide, "encoder_hidden_size": 16, "cross_attention_frequency": 1, "vocab_size": 30}
    config = Blip2Config(
        vision_config={**wide, "image_size": 32, "patch_size": 16},
        qformer_config=asking,
        text_config=language,
        num_query_tokens=3,
        image_token_index=4,
    )
    torch.manual_seed(0)
    Blip2ForConditionalGeneration(config).save_pretrained(folder)
    picture = BlipImageProcessorPil(size={"height": 32, "width": 32})
    tokenizer = _plain_tokenizer(["<image>"])
    Blip2Processor(picture, tokenizer, num_query_tokens=3).save_pretrained(folder)
    return folder


def make_florence(folder: Path) -> Path:
    """Write a tiny Florence-2 with random weights and its processor; returns its folder."""
    from transformers import Florence2Config, Florence2ForConditionalGeneration, Florence2Processor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    language = {"model_type": "bart", "vocab_size": len(_PLAIN_WORDS), "d_model": 16, **_ENDS}
    for half in ("encoder", "decoder"):
        language |= {f"{half}_layers": 1, f"{half}_attention_heads": 2, f"{half}_ffn_dim": 16}
    language |= {"max_position_embeddings": 64, "decoder_start_token_id": 2}
    vision = {"depths": [1] * 4, "embed_dim": [8, 8, 8, 16], "num_heads": [1, 1, 1, 2]}
    vision |= {"num_groups": [1, 1, 1, 2], "window_size": 2, "projection_dim": 16}
    config = Florence2Config(text_config=language, vision_config=vision, image_token_id=4)
    torch.manual_seed(0)
    Florence2ForConditionalGeneration(config).save_pretrained(folder)
    picture = CLIPImageProcessorPil(size={"height": 64, "width": 64}, do_center_crop=False)
    picture.image_seq_length = 5  # what 64 pixels become in its four levels, and their mean
    tokenizer = _plain_tokenizer({"image_token": "<image>"})
    Florence2Processor(picture, tokenizer).save_pretrained(folder)
    return folder
