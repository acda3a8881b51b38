"""A new word in real (tiny) models: only its vectors learn, and stock diffusers reads the file."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from sd_scripts.errors import UserError
from sd_scripts.families.base import LoadedModel, LoadOptions
from sd_scripts.families.registry import FAMILIES
from sd_scripts.methods.pivotal import PivotalMethod
from sd_scripts.methods.textual_inversion import TextualInversionMethod
from sd_scripts.options.jobs import TrainTextualInversionJob
from sd_scripts.options.values import job_from_values
from sd_scripts.train.methods import make_method
from sd_scripts.weights.embedding_files import KEYS
from sd_scripts.weights.model_kinds import FamilyName
from tests.methods.jobs import network_job
from tests.support.tiny_models import FAMILY_NAMES, make_tiny_checkpoint

CAPTION = "a photo of mycat7 on a sofa"


@dataclass(frozen=True)
class Stored:
    """A family's tiny model in a file."""

    name: FamilyName
    file: Path

    def load(self, device: str = "cpu", dtype: torch.dtype = torch.float32) -> LoadedModel:
        parts = frozenset(["text_encoders"])
        options = LoadOptions(parts=parts, device=device, dtype=dtype)
        return FAMILIES[self.name].load(self.file, options)


@pytest.fixture(scope="module", params=FAMILY_NAMES)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    folder = tmp_path_factory.mktemp("models")
    return Stored(request.param, make_tiny_checkpoint(request.param, folder / "m.safetensors"))


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    folder = tmp_path_factory.mktemp("sd1")
    return Stored("sd1", make_tiny_checkpoint("sd1", folder / "m.safetensors"))


def word_job(**values: object) -> TrainTextualInversionJob:
    base: dict[str, object] = {
        "pretrained_model_name_or_path": "m.safetensors",
        "train_data_dir": "pictures",
        "token_string": "mycat7",
        "learning_rate": 1e-2,
        "seed": 7,
    }
    job = job_from_values(TrainTextualInversionJob, {**base, **values})
    assert isinstance(job, TrainTextualInversionJob)
    return job


def encode(model: LoadedModel, text: str) -> Tensor:
    return model.family.encode_text(model, [text]).hidden


def tables(model: LoadedModel) -> list[Tensor]:
    """The encoders' own tables, and everything else of them."""
    return [
        tensor.detach().clone()
        for encoder in model.text_encoders
        for name, tensor in encoder.named_parameters()
        if not name.endswith("token_embedding.rows")
    ]


def test_only_the_vectors_learn_and_only_they_are_in_the_optimizer(stored: Stored) -> None:
    model = stored.load()
    method = TextualInversionMethod(word_job(num_vectors_per_token=3, init_word="cat"), model)
    before, start = tables(model), [row.detach().clone() for row in method.word.rows.values()]
    assert len(before) > 10 * len(model.text_encoders)
    optimizer = torch.optim.AdamW(method.parameter_groups(), weight_decay=0)
    encode(model, CAPTION).square().sum().backward()
    optimizer.step()
    rows = list(method.word.rows.values())
    assert all(not torch.equal(now, then) for now, then in zip(rows, start, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(tables(model), before, strict=True))
    held = {p.shape for group in optimizer.param_groups for p in group["params"]}
    widths = [encoder.config.hidden_size for encoder in model.text_encoders]
    assert held == {(3, width) for width in widths}
    assert method.num_parameters == 3 * sum(widths)
    assert sum(t.numel() for s in optimizer.state.values() for t in s.values() if t.ndim) == (
        2 * method.num_parameters
    )
    assert not any(p.requires_grad for p in model.unet.parameters())


def test_an_untrained_word_means_its_init_word(stored: Stored) -> None:
    model = stored.load()
    expected = encode(model, "a photo of cat on a sofa")
    plain = encode(model, "a dog")
    method = TextualInversionMethod(word_job(init_word="cat"), model)
    assert torch.equal(encode(model, CAPTION), expected)
    assert torch.equal(encode(model, "a dog"), plain)
    method.detach()
    assert torch.equal(encode(model, "a photo of cat on a sofa"), expected)
    assert not torch.equal(encode(model, CAPTION), expected)


def test_in_half_precision_and_with_checkpointing_the_vectors_get_gradients(sd1: Stored) -> None:
    model = sd1.load(dtype=torch.bfloat16)
    method = TextualInversionMethod(word_job(init_word="cat"), model)
    model.family.enable_gradient_checkpointing(model)
    model.text_encoders[0].train()
    with torch.autocast("cpu", torch.bfloat16):
        hidden = encode(model, CAPTION)
    hidden.float().square().sum().backward()
    (rows,) = method.word.rows.values()
    assert rows.dtype == torch.float32
    assert rows.grad is not None
    assert rows.grad.abs().min() > 0


def test_init_words_are_taken_in_turn(sd1: Stored) -> None:
    model = sd1.load()
    table = model.text_encoders[0].get_input_embeddings().weight
    red, cat = table[736], table[2368]
    method = TextualInversionMethod(word_job(init_word="red cat", num_vectors_per_token=3), model)
    assert torch.equal(method.word.rows["emb_params"], torch.stack([red, cat, red]))
    assert "2 tokens" in method.warnings[0].message


def test_without_an_init_word_the_start_is_drawn_by_the_seed(sd1: Stored) -> None:
    def drawn(seed: int) -> Tensor:
        method = TextualInversionMethod(word_job(seed=seed, num_vectors_per_token=2), sd1.load())
        return method.word.rows["emb_params"].detach()

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def stock_states(stored: Stored, model: LoadedModel, file: Path) -> Tensor:
    """What stock diffusers makes of the caption, with the file loaded into its pipeline."""
    model.vae = None
    pipeline: Any = model.family.make_pipeline(model, None)
    saved = load_file(file)
    encoders = ["text_encoder", "text_encoder_2"][: len(saved)]
    tokenizers = ["tokenizer", "tokenizer_2"][: len(saved)]
    for key, encoder, tokenizer in zip(KEYS[stored.name], encoders, tokenizers, strict=True):
        pipeline.load_textual_inversion(
            {key: saved[key]},
            token="mycat7",
            text_encoder=getattr(pipeline, encoder),
            tokenizer=getattr(pipeline, tokenizer),
        )
    found: tuple[Tensor, ...] = pipeline.encode_prompt(
        CAPTION, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    return found[0]


def check_with_stock_diffusers(stored: Stored, folder: Path, count: int) -> None:
    model = stored.load()
    method = TextualInversionMethod(word_job(num_vectors_per_token=count), model)
    file = folder / "mycat7.safetensors"
    method.save(file, {})
    widths = [encoder.config.hidden_size for encoder in model.text_encoders]
    sizes = {k: (count, w) for k, w in zip(KEYS[stored.name], widths, strict=True)}
    assert {k: tuple(v.shape) for k, v in load_file(file).items()} == sizes
    ours = encode(model, CAPTION)
    fresh = stored.load()
    # diffusers adds tokens to the tokenizer it is given, and that one is shared.
    fresh.tokenizers[:] = copy.deepcopy(fresh.tokenizers)
    torch.testing.assert_close(ours, stock_states(stored, fresh, file), atol=1e-6, rtol=1e-5)


def test_stock_diffusers_gives_the_same_states(stored: Stored, tmp_path: Path) -> None:
    check_with_stock_diffusers(stored, tmp_path, count=3)


def test_stock_diffusers_reads_a_single_vector(sd1: Stored, tmp_path: Path) -> None:
    check_with_stock_diffusers(sd1, tmp_path, count=1)


def check_next_start(stored: Stored, file: Path) -> None:
    first = TextualInversionMethod(word_job(num_vectors_per_token=2), stored.load())
    first.save(file, {})
    job = word_job(num_vectors_per_token=2, weights=str(file), seed=8)
    second = TextualInversionMethod(job, stored.load())
    for key, rows in first.word.rows.items():
        assert torch.equal(rows, second.word.rows[key])


def test_a_saved_word_is_the_start_of_the_next(stored: Stored, tmp_path: Path) -> None:
    check_next_start(stored, tmp_path / "mycat7.safetensors")


def test_old_formats_are_read_as_well_and_another_count_is_told(
    sd1: Stored, tmp_path: Path
) -> None:
    file = tmp_path / "mycat7.pt"
    check_next_start(sd1, file)
    with pytest.raises(UserError, match="holds 2 vectors") as caught:
        TextualInversionMethod(word_job(weights=str(file)), sd1.load("meta"))
    assert "Set num_vectors_per_token to 2" in (caught.value.problems[0].hint or "")


def test_everything_is_counted_without_weights(stored: Stored) -> None:
    method = TextualInversionMethod(word_job(init_word="cat"), stored.load("meta"))
    assert list(method.num_modules.values()) == [1] * len(method.word.rows)
    assert all(rows.is_meta for rows in method.word.rows.values())


def test_a_word_beside_a_network_is_a_group_of_its_own(stored: Stored, tmp_path: Path) -> None:
    job = network_job(
        token_string="mycat7",
        embedding_lr=1e-2,
        network_dim=2,
        network_train_unet_only=True,
    )
    model = stored.load()
    method = make_method(job, model)
    assert isinstance(method, PivotalMethod)
    groups = {group["name"]: group["lr"] for group in method.parameter_groups()}
    assert groups == {"unet": 1e-4, "embedding": 1e-2}
    assert method.trains_text_encoder
    method.save(
        tmp_path / "cat.safetensors", {"modelspec.architecture": "stable-diffusion-v1/lora"}
    )
    assert set(load_file(tmp_path / "cat_emb.safetensors")) == set(KEYS[stored.name])
    assert not any("emb" in name for name in method.network.trainable_modules.state_dict())
    names = set(method.trainable_modules.state_dict())
    assert {f"embedding.{key}" for key in KEYS[stored.name]} < names


def test_a_finished_word_beside_a_network_stays_as_it_is(sd1: Stored, tmp_path: Path) -> None:
    file = tmp_path / "mycat7.safetensors"
    TextualInversionMethod(word_job(), sd1.load()).save(file, {})
    job = network_job(
        token_string="mycat7", weights=str(file), embedding_lr=0, network_train_unet_only=True
    )
    method = make_method(job, sd1.load())
    assert [group["name"] for group in method.parameter_groups()] == ["unet"]
    assert not method.trains_text_encoder
    method.save(tmp_path / "lora.safetensors", {})
    kept, given = load_file(tmp_path / "lora_emb.safetensors"), load_file(file)
    assert torch.equal(kept["emb_params"], given["emb_params"])
