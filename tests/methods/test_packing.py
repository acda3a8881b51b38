"""Packed convolutions give what plain ones give, are chosen where that pays, and keep no copy."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sd_scripts.methods import packing
from sd_scripts.methods.frozen import ConvShape, FrozenBase, FrozenConv2d, PlainConv, store
from sd_scripts.methods.lora_layers import LoraLayer, LoraShape
from sd_scripts.methods.lycoris_layers import FullLayer, LycorisShape
from sd_scripts.methods.packed_conv import PackedConv
from sd_scripts.methods.packed_pair import (
    DirectLinear,
    PackedConvPair,
    PackedLinearPair,
    can_pair,
)
from sd_scripts.methods.packing import Gain, pack_base
from tests.support.tiny_models import tiny_model

WALKS: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
    {"kernel_size": (3, 1), "padding": (0, 2), "stride": (2, 3)},
    {"kernel_size": 1},
    {"kernel_size": 1, "stride": 2},
]


def frozen_conv(walk: dict[str, Any], dtype: torch.dtype = torch.float64) -> nn.Conv2d:
    torch.manual_seed(1)
    return nn.Conv2d(4, 8, **walk).to(dtype).requires_grad_(False)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("most_pixels", [10_000, 0])
@pytest.mark.parametrize("walk", WALKS)
def test_both_products_are_the_convolutions(
    walk: dict[str, Any], most_pixels: int, batch: int
) -> None:
    conv = frozen_conv(walk)
    shape = ConvShape.of(conv)
    plain = PlainConv(conv.weight, shape)
    packed = PackedConv(conv.weight.clone(), shape, most_pixels)
    x = torch.randn(batch, 4, 9, 8, dtype=torch.float64)
    for bias in (conv.bias, None):
        y = plain.product(x, bias)
        torch.testing.assert_close(packed.product(x, bias), y)
    grad = torch.randn_like(y)
    expected = plain.backward_product(grad, x.shape)
    torch.testing.assert_close(packed.backward_product(grad, x.shape), expected)
    assert packed.is_packed == (most_pixels > 0)
    assert torch.equal(packed.dense(), conv.weight)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_last_bit_depends_on_which_size_came_first(dtype: torch.dtype, kernel: int) -> None:
    """A resumed run may begin with another bucket, or with a batch that is not a whole one."""
    conv = nn.Conv2d(64, 64, kernel, padding=kernel // 2).to(dtype).requires_grad_(False)
    first, second = (PackedConv(conv.weight.clone(), ConvShape.of(conv), 16) for _ in range(2))
    few, many = (torch.randn(1, 64, side, side, dtype=dtype) for side in (3, 16))
    found = [
        (product := form.product(x, conv.bias), form.backward_product(product, x.shape))
        for form, x in ((first, few), (first, many), (second, many), (second, few))
    ]
    for one, other in zip(found[:2], reversed(found[2:]), strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b)
            assert a.stride() == b.stride()


def test_lengths_of_dora_do_not_depend_on_whether_it_was_packed_yet() -> None:
    """A resumed run measures the weight as it came, one that goes on measures it packed."""
    torch.manual_seed(0)
    conv = nn.Conv2d(320, 320, 3, padding=1).requires_grad_(False)
    layer = LoraLayer("x", conv, LoraShape(4, 4.0), 1, dora="rows")
    with torch.no_grad():
        layer.lora_up.weight.normal_(0, 0.05)
    layer.attach()
    store(conv, packing.packed(conv, conv.weight.clone()))
    x = torch.randn(1, 320, 2, 2)
    first, stored = conv(x), conv.stored
    assert isinstance(stored, PackedConv)
    assert stored.is_packed
    assert torch.equal(conv(x), first)


def test_bfloat16_is_rounded_no_more_than_by_the_convolution() -> None:
    torch.manual_seed(2)
    conv = nn.Conv2d(64, 64, 3, padding=1).requires_grad_(False)
    shape, x, grad = ConvShape.of(conv), torch.randn(1, 64, 8, 8), torch.randn(1, 64, 8, 8)
    exact = PlainConv(conv.weight.bfloat16().double(), shape)
    forms = [
        PlainConv(conv.weight.bfloat16(), shape),
        PackedConv(conv.weight.bfloat16(), shape, 1000),
    ]
    x, grad = x.bfloat16(), grad.bfloat16()

    def errors(form: PlainConv | PackedConv) -> list[float]:
        found = [form.product(x, None), form.backward_product(grad, x.shape)]
        right = [exact.product(x.double(), None), exact.backward_product(grad.double(), x.shape)]
        return [float((a - b).norm() / b.norm()) for a, b in zip(found, right, strict=True)]

    plain, packed = (errors(form) for form in forms)
    assert all(mine <= 2 * other for mine, other in zip(packed, plain, strict=True))


def test_one_copy_of_the_weight_is_kept_and_it_moves_and_copies_with_the_module() -> None:
    conv = frozen_conv(WALKS[0], torch.float32)
    weight = conv.weight.detach().clone()
    place = conv.weight.data_ptr()
    packing.store(conv, packing.packed(conv, conv.weight))
    assert isinstance(conv, FrozenConv2d)
    conv(torch.randn(1, 4, 1, 1))
    stored = conv.stored
    assert isinstance(stored, PackedConv)
    assert stored.is_packed
    kept = {value.data_ptr() for value in vars(stored).values() if isinstance(value, Tensor)}
    assert kept == {place} == {conv.weight.data_ptr()}
    assert torch.equal(conv.state_dict()["weight"], weight)
    assert torch.equal(copy.deepcopy(conv).weight, weight)
    assert conv.to("meta").weight.shape == weight.shape


def step_of(packed: str) -> tuple[float, list[Tensor], nn.Module]:
    """One forward and backward of a tiny U-Net with LoRA layers; returns loss and gradients."""
    unet = copy.deepcopy(tiny_model("sd1").unet).float().requires_grad_(False)
    convs = [m for m in unet.modules() if isinstance(m, nn.Conv2d)]
    linears = [m for m in unet.modules() if isinstance(m, nn.Linear)]
    layers = [
        LoraLayer(f"layer{n}", base, LoraShape(2, 1.0), 0)
        for n, base in enumerate([*convs[3:9], *linears[4:8]])
    ]
    for number, layer in enumerate(layers):
        generator = torch.Generator().manual_seed(number)
        nn.init.normal_(layer.lora_up.weight, std=0.1, generator=generator)
        layer.attach()
    pack_base([unet], packed)  # type: ignore[arg-type]
    unet.enable_gradient_checkpointing()
    unet.train()
    torch.manual_seed(5)
    x, text = torch.randn(1, 4, 8, 8), torch.randn(1, 77, unet.config.cross_attention_dim)
    loss = unet(x, torch.tensor([300]), text, return_dict=False)[0].square().mean()
    loss.backward()
    found = [p.grad for layer in layers for p in layer.parameters() if p.grad is not None]
    return float(loss.detach()), found, unet


def test_a_packed_unet_learns_what_the_plain_one_learns() -> None:
    loss, gradients, _ = step_of("off")
    packed_loss, packed_gradients, unet = step_of("on")
    packed = [m for m in unet.modules() if isinstance(m, FrozenConv2d)]
    rows = [m.stored for m in packed if isinstance(m.stored, PackedConv)]
    assert any(stored.is_packed for stored in rows)
    if can_pair(torch.float32):
        both = [m.stored for m in unet.modules() if isinstance(m, FrozenBase)]
        for kind in (PackedConvPair, PackedLinearPair):
            assert any(isinstance(stored, kind) for stored in both)
    assert packed_loss == pytest.approx(loss, rel=1e-5)
    assert len(packed_gradients) == len(gradients) > 0
    for mine, other in zip(packed_gradients, gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("wanted", "gain", "packs", "said"),
    [
        ("auto", Gain(1.0, 0.5), True, "500 ms"),
        ("auto", Gain(1.0, pair=0.5), True, "500 ms"),
        ("auto", Gain(1.0, 1.0, 0.9), False, "not pay"),
        ("auto", Gain(1.0, direct=1.0), False, "not pay"),
        ("on", Gain(1.0, 2.0, 2.0), True, "pack_frozen_weights"),
        ("off", Gain(1.0, 0.5, 0.5), False, "not packed"),
    ],
)
def test_auto_packs_where_it_was_measured_to_pay(
    wanted: packing.Wanted,
    gain: Gain,
    packs: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packing, "measured", lambda module, *, pair: gain)
    monkeypatch.setattr(packing, "_SMALL", 0)
    monkeypatch.setattr(packing, "_SHARE", {torch.float32: 1.0})
    conv = frozen_conv(WALKS[0], torch.float32)
    assert said in pack_base([nn.Sequential(conv)], wanted)
    assert isinstance(conv, FrozenConv2d) == packs


@pytest.mark.skipif(not can_pair(torch.float32), reason="no pairs in this build of PyTorch")
@pytest.mark.parametrize(("room", "of_linear"), [(8 * 8, PackedLinearPair), (0, DirectLinear)])
def test_pairs_take_small_convolutions_first_and_no_more_than_their_share(
    room: int, of_linear: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 4, 3)
    strided, linear, wide = nn.Conv2d(8, 2, 3, stride=2), nn.Linear(8, 8), nn.Linear(8, 100)
    timed = nn.ModuleDict({"time_emb_proj": nn.Linear(8, 1)})
    base = nn.Sequential(large, small, strided, linear, wide, timed).requires_grad_(False)
    monkeypatch.setattr(packing, "_allowed_bytes", lambda parts: 4 * (8 * 4 * 9 + room))
    told = pack_base([base], "on")
    chosen = (large, small, strided, linear, wide)
    kinds = [type(getattr(module, "stored", None)) for module in chosen]
    assert kinds == [PackedConv, PackedConvPair, PackedConv, of_linear, DirectLinear]
    assert type(timed["time_emb_proj"]) is nn.Linear
    assert "in the orders of both products, 2 convolutions packed" in told


def test_a_pointwise_convolution_is_rows_for_any_number_of_pixels() -> None:
    conv = nn.Conv2d(64, 8, 1).requires_grad_(False)
    assert packing.paired(conv, conv.weight) is None
    pack_base([nn.Sequential(conv)], "on")
    assert isinstance(conv, FrozenConv2d)
    assert isinstance(conv.stored, PackedConv)
    x = torch.randn(2, 64, 96, 96)
    expected = nn.functional.conv2d(x, conv.weight, conv.bias)
    torch.testing.assert_close(conv(x), expected, rtol=1e-4, atol=1e-5)
    assert conv.stored.is_packed


@pytest.mark.skipif(not can_pair(torch.float32), reason="no such products here")
def test_rows_by_onednn_are_the_convolution() -> None:
    conv = frozen_conv(WALKS[0], torch.float32)
    shape = ConvShape.of(conv)
    plain, packed = (
        PlainConv(conv.weight, shape),
        PackedConv(conv.weight.clone(), shape, 10_000, onednn=True),
    )
    for batch, side in ((1, 4), (2, 4), (1, 12)):
        x = torch.randn(batch, 4, side, side)
        y = plain.product(x, conv.bias)
        torch.testing.assert_close(packed.product(x, conv.bias), y, rtol=1e-5, atol=1e-5)
        found = packed.backward_product(y, x.shape)
        expected = plain.backward_product(y, x.shape)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not can_pair(torch.float32), reason="no pairs in this build of PyTorch")
@pytest.mark.parametrize(
    "before",
    [
        (),
        ("conv_rows",),
        ("conv_pairs", "linear_pairs"),
        ("conv_pairs", "conv_rows", "linear_direct"),
    ],
)
def test_a_resumed_run_packs_as_before_without_measuring(
    before: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_SHARE", {torch.float32: 1.0})
    monkeypatch.delattr(packing, "measured")
    layers = nn.Conv2d(8, 8, 3), nn.Linear(8, 8), nn.Conv2d(8, 8, 3, stride=2)
    base = nn.Sequential(*layers).requires_grad_(False)
    assert "as in the run that goes on" in pack_base([base], "auto", before)
    assert packing.forms_of([base]) == before


def test_a_small_model_is_left_as_it_is_without_measuring() -> None:
    conv = frozen_conv(WALKS[0], torch.float32)
    assert "small" in pack_base([nn.Sequential(conv)], "auto")
    assert type(conv) is nn.Conv2d


@pytest.mark.skipif(not can_pair(torch.float32), reason="no pairs in this build of PyTorch")
@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_measuring_keeps_what_was_written_into_a_mapped_weight(kind: str, tmp_path: Path) -> None:
    """As base_weights does: the file's pages are private, and hold what was merged into them."""
    path = tmp_path / "base.safetensors"
    shape = (256, 256, 3, 3) if kind == "conv" else (1024, 1024)
    save_file({"weight": torch.randn(shape)}, path)
    with safe_open(path, framework="pt") as file:
        weight = file.get_tensor("weight")
    module: nn.Conv2d | nn.Linear = (
        nn.Conv2d(256, 256, 3, padding=1) if kind == "conv" else nn.Linear(1024, 1024)
    )
    module.weight = nn.Parameter(weight, requires_grad=False)
    module.weight.add_(1.0)
    merged = module.weight.clone()
    packing.measured(module, pair=True)
    assert torch.equal(module.weight, merged)


def test_measuring_leaves_the_convolution_plain() -> None:
    conv = frozen_conv(WALKS[0], torch.float32)
    gain = packing.measured(conv, pair=can_pair(torch.float32))
    assert min(gain) > 0
    assert type(conv) is nn.Conv2d
    assert torch.equal(conv.weight, frozen_conv(WALKS[0], torch.float32).weight)


def test_what_learns_is_elsewhere_or_is_read_whole_stays_plain() -> None:
    learning = frozen_conv(WALKS[0], torch.float32).requires_grad_(True)
    elsewhere = frozen_conv(WALKS[0], torch.float32).to("meta")
    whole = frozen_conv(WALKS[0], torch.float32)
    FullLayer("layer", whole, LycorisShape("full", 1, 1.0)).attach()
    told = pack_base([nn.Sequential(learning, elsewhere, whole)], "on")
    assert "none" in told
    assert type(whole) is type(learning) is type(elsewhere) is nn.Conv2d


def test_the_model_file_that_a_weight_is_mapped_from_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "conv.safetensors"
    save_file({"weight": torch.randn(8, 4, 3, 3)}, path)
    before = path.read_bytes()
    with safe_open(path, framework="pt") as file:
        weight = file.get_tensor("weight")
    kept = weight.clone()
    packed = PackedConv(weight, ConvShape((1, 1), (1, 1), (1, 1)), 10)
    packed.pack()
    assert torch.equal(packed.dense(), kept)
    assert path.read_bytes() == before
