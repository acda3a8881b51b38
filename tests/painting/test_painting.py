"""The painter: exact pictures, networks that leave no trace, orders that fail alone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from sd_scripts.errors import EXIT_OK, EXIT_USER
from sd_scripts.painting.entry import run_trying
from sd_scripts.painting.orders import Order, WordUse
from sd_scripts.runs.events import EndEvent, SampleEvent, WarningEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.status import derive_status
from sd_scripts.weights.model_kinds import FamilyName
from tests.support.painting import Sitting, order, picture, use, write_lora
from tests.support.tiny_models import make_tiny_checkpoint, make_tiny_folder


def sit(place: Path, *orders: Order, **options: object) -> Sitting:
    """Fill orders in this process, until none waits."""
    sitting = Sitting(RunFolder(place / "run"))
    for one in orders:
        sitting.orders.put(one)
    given = {"run_dir": sitting.run.path, "idle_minutes": 1e-5, **options}
    assert run_trying([f"--{name}={value}" for name, value in given.items()]) == EXIT_OK
    return sitting


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def same(first: bytes, second: bytes) -> bool:
    return bool((pixels(first) == pixels(second)).all())


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def family(request: pytest.FixtureRequest) -> FamilyName:
    return request.param


@pytest.fixture(scope="module")
def model(family: FamilyName, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(family, tmp_path_factory.mktemp("models") / "base.safetensors")


@pytest.fixture(scope="module")
def loras(family: FamilyName, model: Path) -> tuple[Path, Path]:
    first, second = (
        write_lora(model.parent / f"lora {number}.safetensors", model, family, seed=number)
        for number in (1, 2)
    )
    return first, second


def test_networks_come_and_go_without_a_trace(
    tmp_path: Path, model: Path, loras: tuple[Path, Path]
) -> None:
    one, two = loras
    uses = [(), (use(one),), (use(one, 0.5),), (use(one), use(two, 0.7)), (use(one, 0.0),), ()]
    asked = order(model, *(picture(networks=networks) for networks in uses))
    again = order(model, picture(networks=(use(one, 0.5),)))
    sitting = sit(tmp_path, asked, again)
    base, full, half, both, zero, after = sitting.painted(asked)
    assert same(base, zero)
    assert base == after
    others = [full, half, both]
    assert not any(same(base, other) for other in others)
    assert not same(full, half)
    assert not same(full, both)
    assert sitting.painted(again) == [half]


def test_a_picture_tells_how_it_was_made_and_how_far_work_is(
    tmp_path: Path, model: Path, loras: tuple[Path, Path]
) -> None:
    wanted = picture("a cat", negative_prompt="fog", networks=(use(loras[0], 0.5),))
    asked = order(model, wanted, picture("a dog"))
    sitting = sit(tmp_path, asked)
    text = Image.open(io.BytesIO(sitting.painted(asked)[0])).text
    assert text["prompt"] == "a cat"
    assert text["networks"] == "lora 1: 0.5"
    assert text["parameters"].startswith("a cat\nNegative prompt: fog\nSteps: 2, Sampler: euler_a")
    assert "Model: base, Networks: lora 1: 0.5" in text["parameters"]
    told = [(event.state, event.done, event.total) for event in sitting.of(asked)]
    assert told == [("accepted", 0, 2), ("painting", 0, 2), ("painting", 1, 2), ("done", 2, 2)]
    samples = [event for event in sitting.events if isinstance(event, SampleEvent)]
    assert all(event.seconds and event.seconds > 0 for event in samples)
    assert [Path(event.path).parent for event in samples] == [sitting.orders.pictures(asked.id)] * 2
    end = sitting.events[-1]
    assert isinstance(end, EndEvent)
    assert (end.status, "Nothing was asked for" in end.reason) == ("finished", True)
    assert sitting.orders.is_closed()
    assert derive_status(sitting.run).state == "finished"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder("sd1", tmp_path_factory.mktemp("small") / "model")


def test_what_is_wrong_with_an_order_is_told_at_once_and_ends_only_that(
    tmp_path: Path, small: Path
) -> None:
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(b"no weights at all")
    missing = tmp_path / "missing.safetensors"
    wrong = order(
        tmp_path / "no model",
        picture(networks=(use(torn), use(missing)), words=(WordUse(path=str(missing)),)),
    )
    right = order(small, picture())
    sitting = sit(tmp_path, wrong, right)
    failed = sitting.of(wrong)[-1]
    assert failed.state == "failed"
    assert [problem.option for problem in failed.problems] == [
        "pretrained_model_name_or_path",
        "networks",
        "networks",
        "words",
    ]
    assert all(problem.hint for problem in failed.problems)
    assert sitting.state(right) == "done"


def test_networks_of_another_family_are_refused_and_unknown_keys_told(
    tmp_path: Path, small: Path
) -> None:
    large = make_tiny_checkpoint("sdxl", tmp_path / "xl.safetensors")
    other = write_lora(tmp_path / "of xl.safetensors", large, "sdxl")
    strange = write_lora(tmp_path / "strange.safetensors", small, "sd1", more_of_it=torch.zeros(1))
    asked, told = (
        order(small, picture(networks=(use(other),))),
        order(small, picture(networks=(use(strange),))),
    )
    word = tmp_path / "word.safetensors"
    save_file({"emb_params": torch.zeros(1, 32)}, word)
    mixed_up = order(small, picture(networks=(use(word),)))
    sitting = sit(tmp_path, asked, told, mixed_up)
    assert "not a network" in sitting.of(mixed_up)[-1].problems[0].message
    (problem,) = sitting.of(asked)[-1].problems
    assert "of xl.safetensors was made for SDXL" in problem.message
    assert problem.option == "networks"
    assert sitting.state(told) == "done"
    warnings = [event.text for event in sitting.events if isinstance(event, WarningEvent)]
    assert any("strange.safetensors" in text and "more_of_it" in text for text in warnings)


def test_any_kind_of_network_acts(tmp_path: Path, small: Path) -> None:
    """A LoHa and a full difference, in one file, as LyCORIS writes them."""
    lora = load_file(write_lora(tmp_path / "lora.safetensors", small, "sd1"))
    names = [key.removesuffix(".alpha") for key in lora if key.endswith(".alpha")]
    first, second, *_ = [name for name in names if name.startswith("lora_unet")]

    def shape(name: str) -> tuple[int, int]:
        up, down = lora[f"{name}.lora_up.weight"], lora[f"{name}.lora_down.weight"]
        return up.shape[0], down.shape[1]

    torch.manual_seed(1)
    out, into = shape(first)
    tensors = {f"{first}.alpha": torch.tensor(2.0), f"{second}.diff": torch.randn(shape(second))}
    for number in (1, 2):
        tensors[f"{first}.hada_w{number}_a"] = torch.randn(out, 2)
        tensors[f"{first}.hada_w{number}_b"] = torch.randn(2, into)
    mixed = tmp_path / "mixed.safetensors"
    save_file(tensors, mixed)
    asked = order(small, picture(), picture(networks=(use(mixed),)), picture())
    plain, changed, after = sit(tmp_path, asked).painted(asked)
    assert not same(plain, changed)
    assert plain == after


def test_several_embeddings_are_read_by_their_words(tmp_path: Path, small: Path) -> None:
    files = []
    for number in range(2):
        file = tmp_path / f"word{number}q.safetensors"
        generator = torch.Generator().manual_seed(number)
        save_file({"emb_params": torch.randn((2, 32), generator=generator)}, file)
        files.append(WordUse(path=str(file)))
    prompt = "a word0q and a word1q"
    chosen = [(), (files[0],), (files[1],), tuple(files), ()]
    asked = order(small, *(picture(prompt, words=words) for words in chosen))
    plain, first, second, both, after = sit(tmp_path, asked).painted(asked)
    assert plain == after
    assert len({first, second, both, plain}) == 4


def test_a_cancelled_order_paints_nothing_more(tmp_path: Path, small: Path) -> None:
    asked, after = order(small, picture()), order(small, picture())
    Sitting(RunFolder(tmp_path / "run")).orders.cancel(asked.id)
    sitting = sit(tmp_path, asked, after)
    assert (sitting.state(asked), sitting.painted(asked)) == ("cancelled", [])
    assert sitting.state(after) == "done"


def test_an_unreadable_order_is_told(tmp_path: Path, small: Path) -> None:
    asked = order(small, picture())
    sitting = Sitting(RunFolder(tmp_path / "run"))
    sitting.orders.put(asked)
    file = next(sitting.run.path.rglob("*.json"))
    file.write_text("{}", encoding="utf-8")
    sit(tmp_path)
    assert sitting.state(asked) == "failed"


def test_out_of_memory_is_told_with_a_remedy(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sd_scripts.painting import studio

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(studio, "denoise", full)
    asked = order(small, picture())
    (problem,) = sit(tmp_path, asked).of(asked)[-1].problems
    assert problem.message == "The memory is full"
    assert problem.hint
    assert "smaller pictures" in problem.hint


def test_a_vae_that_fails_in_half_precision_goes_on_in_full(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sd_scripts.painting import studio

    paint = studio.decode

    def fails_in_half(model, latents):
        if next(model.vae.parameters()).dtype != torch.float32:
            raise RuntimeError("the picture decoder (VAE) returned no valid numbers")
        return paint(model, latents)

    monkeypatch.setattr(studio, "decode", fails_in_half)
    asked = order(small, picture())
    assert sit(tmp_path, asked, precision="bf16").state(asked) == "done"


def test_a_wrong_machine_is_refused_before_any_order(tmp_path: Path) -> None:
    code = run_trying([f"--run_dir={tmp_path / 'run'}", "--device=cpu", "--precision=fp16"])
    assert code == EXIT_USER
    end = Sitting(RunFolder(tmp_path / "run")).events[-1]
    assert isinstance(end, EndEvent)
    assert [problem.option for problem in end.problems] == ["precision"]


def test_the_base_is_loaded_once_for_several_orders(tmp_path: Path, small: Path) -> None:
    from sd_scripts.runs.events import PhaseEvent

    orders = [order(small, picture(seed=seed)) for seed in (1, 2)]
    sitting = sit(tmp_path, *orders)
    loads = [
        e for e in sitting.events if isinstance(e, PhaseEvent) and e.name.startswith("loading")
    ]
    assert [(e.done, e.total) for e in loads] == [(0, 1), (1, 1)]
