"""LyCORIS layers: output against the formula of what is saved, against the library, learning."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sd_scripts.methods.layer import NetworkLayer
from sd_scripts.methods.lycoris_layers import DifferenceLayer, LycorisShape
from sd_scripts.methods.lycoris_library import LibraryLayer, make_layer
from sd_scripts.weights.network_difference import difference

SHAPE = LycorisShape("lora", rank=4, alpha=2.0)
VARIANTS: dict[str, LycorisShape] = {
    "lora": SHAPE,
    "locon": replace(SHAPE, algo="locon", rs_lora=True),
    "locon tucker": replace(SHAPE, algo="locon", use_tucker=True),
    "locon scalar": replace(SHAPE, algo="locon", use_scalar=True),
    "locon dora": replace(SHAPE, algo="locon", dora="rows"),
    "locon dora columns": replace(SHAPE, algo="locon", dora="columns"),
    "loha": replace(SHAPE, algo="loha"),
    "loha tucker": replace(SHAPE, algo="loha", use_tucker=True),
    "loha dora": replace(SHAPE, algo="loha", dora="rows", use_scalar=True),
    "lokr": replace(SHAPE, algo="lokr", rank=1),
    "lokr tucker": replace(SHAPE, algo="lokr", rank=1, use_tucker=True),
    "lokr both": replace(SHAPE, algo="lokr", rank=1, factor=4, decompose_both=True),
    "lokr whole": replace(SHAPE, algo="lokr", full_matrix=True, unbalanced_factorization=True),
    "lokr dora": replace(SHAPE, algo="lokr", rank=1, dora="columns"),
    "ia3": replace(SHAPE, algo="ia3"),
    "ia3 on input": replace(SHAPE, algo="ia3", train_on_input=True),
    "dylora": replace(SHAPE, algo="dylora", block_size=2),
    "glora": replace(SHAPE, algo="glora"),
    "full": replace(SHAPE, algo="full"),
    "diag-oft": replace(SHAPE, algo="diag-oft", constraint=0.01),
    "diag-oft rescaled": replace(SHAPE, algo="diag-oft", rescaled=True),
    "boft": replace(SHAPE, algo="boft", rescaled=True),
}
BASES = ("linear", "pointwise", "conv")


def base_of(kind: str) -> nn.Linear | nn.Conv2d:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        if kind == "linear":
            base: nn.Linear | nn.Conv2d = nn.Linear(12, 16)
        elif kind == "pointwise":
            base = nn.Conv2d(12, 16, 1)
        else:
            base = nn.Conv2d(12, 16, 3, stride=2, padding=1)
    return base.requires_grad_(False)


def given(base: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (2, 5, 12) if isinstance(base, nn.Linear) else (2, 12, 6, 6)
    return torch.randn(shape, generator=generator)


def learnt_layer(variant: str, base: nn.Module) -> NetworkLayer:
    """A layer with random parameters, attached, not in training mode."""
    layer = make_layer("a", base, VARIANTS[variant], seed=0)
    generator = torch.Generator().manual_seed(2)
    for name, parameter in layer.named_parameters():
        with torch.no_grad():
            drawn = torch.randn(parameter.shape, generator=generator) * 0.4
            parameter.copy_(drawn.abs() + 0.5 if name in ("dora_scale", "rescale") else drawn)
    layer.attach()
    return layer.eval()


def merged_output(base: Any, layer: NetworkLayer, x: Tensor) -> Tensor:
    """What the base gives with the change merged that the layer's file tells."""
    found = difference(layer.file_tensors(), base.weight)
    assert found is not None
    weight = base.weight + found.weight
    bias = base.bias if found.bias is None else base.bias + found.bias
    if isinstance(base, nn.Linear):
        return functional.linear(x, weight, bias)
    return functional.conv2d(x, weight, bias, base.stride, base.padding)


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_output_is_that_of_the_merged_file(variant: str, kind: str) -> None:
    base = base_of(kind)
    x = given(base)
    plain = base(x)
    layer = learnt_layer(variant, base)
    with torch.no_grad():
        torch.testing.assert_close(base(x), merged_output(base, layer, x), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(base(x), plain, atol=1e-2)
        whole = base(x)
        layer.multiplier = 0.5
        if variant not in ("boft",):  # its stages have no half
            torch.testing.assert_close(base(x), (whole + plain) / 2, rtol=1e-4, atol=1e-4)
        layer.multiplier = 0.0
        assert torch.equal(base(x), plain)
    layer.detach()
    assert torch.equal(base(x), plain)


def of_the_library() -> list[tuple[str, str]]:
    """The layers that compute with the library; the test above holds our own to the formula."""
    return [
        (variant, kind)
        for variant in VARIANTS
        for kind in BASES
        if "dora" not in variant and isinstance(learnt_layer(variant, base_of(kind)), LibraryLayer)
    ]


@pytest.mark.parametrize(("variant", "kind"), of_the_library())
def test_output_is_that_of_the_librarys_rebuilt_weight(variant: str, kind: str) -> None:
    base = base_of(kind)
    layer = learnt_layer(variant, base)
    assert isinstance(layer, LibraryLayer)
    x = given(base)
    with torch.no_grad():
        ours = base(x)
        library = layer.library
        library.bypass_mode = False
        library.org_forward = layer.base_forward
        theirs = library(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_untrained_layer_changes_nothing_and_learns(variant: str, kind: str) -> None:
    base = base_of(kind)
    x = given(base)
    before = base(x)
    layer = make_layer("a", base, VARIANTS[variant], seed=0)
    state = torch.get_rng_state()
    twin = make_layer("a", base, VARIANTS[variant], seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(layer.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)
    layer.attach()
    layer.train()
    torch.testing.assert_close(base(x), before, rtol=1e-5, atol=1e-5)
    torch.manual_seed(0)  # DyLoRA draws its ranks
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    losses = []
    for _ in range(6):
        loss = (base(x) - 1.0).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(p.grad is not None and p.dtype == torch.float32 for p in layer.parameters())
    assert base.weight.grad is None


@pytest.mark.parametrize("variant", VARIANTS)
def test_file_goes_back_into_a_fresh_layer(variant: str) -> None:
    base = base_of("conv")
    layer = learnt_layer(variant, base)
    with torch.no_grad():
        expected = base(given(base))
    saved = {key: tensor.detach().clone() for key, tensor in layer.file_tensors().items()}
    layer.detach()
    fresh = make_layer("a", base, VARIANTS[variant], seed=5)
    assert fresh.misfit(saved) is None
    fresh.take(saved)
    fresh.attach()
    fresh.eval()
    with torch.no_grad():
        torch.testing.assert_close(base(given(base)), expected, rtol=1e-5, atol=1e-5)
    assert fresh.misfit({**saved, "more": torch.zeros(1)}) == "also has more"
    key = next(key for key, tensor in saved.items() if tensor.ndim)
    assert fresh.misfit({**saved, key: torch.zeros(3, 3, 3)}) is not None


@pytest.mark.parametrize("variant", ["loha", "lokr", "glora", "full", "diag-oft", "boft", "ia3"])
def test_small_changes_keep_their_precision_under_bfloat16(variant: str) -> None:
    base = base_of("linear")
    layer = learnt_layer(variant, base)
    assert isinstance(layer, DifferenceLayer)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(parameter * 0.1 if name != "rescale" else 1 + parameter * 0.01)
        base.weight.copy_(base.weight.bfloat16())
        x = given(base).bfloat16()
        exact = layer.delta(x.float(), layer.product(x.float()))
        base.bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            half = layer.delta(x, layer.product(x)).float()
    # GLoRA's product with W comes whole, so its change is rounded as the output is.
    allowed = 0.02 * exact.norm() + (0.01 * layer.product(x).float().norm() * (variant == "glora"))
    assert (half - exact).norm() < allowed


@pytest.mark.parametrize("variant", ["lora", "loha", "lokr", "glora", "full", "diag-oft", "ia3"])
@pytest.mark.parametrize("name", ["dropout", "rank_dropout", "module_dropout"])
def test_each_dropout_acts_in_training_only_and_by_the_global_stream(
    variant: str, name: str
) -> None:
    base = base_of("linear")
    shape = replace(VARIANTS[variant], **{name: 0.5})  # type: ignore[arg-type]
    layer = make_layer("a", base, shape, seed=0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    layer.attach()
    x = given(base)
    layer.eval()
    assert torch.equal(base(x), base(x))
    layer.train()

    def several() -> list[Tensor]:
        torch.manual_seed(4)
        return [base(x).detach() for _ in range(6)]

    first, second = several(), several()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert any(not torch.equal(first[0], other) for other in first[1:])


@pytest.mark.parametrize("kind", ["group", "layer"])
def test_norms_learn_and_drop_channels(kind: str) -> None:
    base: nn.GroupNorm | nn.LayerNorm = nn.GroupNorm(2, 4) if kind == "group" else nn.LayerNorm(4)
    base.requires_grad_(False)
    x = torch.randn((2, 4, 3, 3) if kind == "group" else (2, 3, 4))
    before = base(x)
    layer = make_layer("a", base, replace(SHAPE, dropout=0.3, rank_dropout=0.3), seed=0)
    layer.attach()
    layer.train()
    assert torch.equal(base(x), before)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    base(x).square().sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    layer.eval()
    changed = base(x)
    layer.detach()
    parts = layer.file_tensors()
    with torch.no_grad():
        base.weight += parts["w_norm"]
        base.bias += parts["b_norm"]
    torch.testing.assert_close(changed.detach(), base(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", ["lora", "locon tucker", "loha", "lokr", "glora", "full"])
def test_norms_are_limited(variant: str) -> None:
    base = base_of("conv")
    layer = learnt_layer(variant, base)
    found = difference(layer.file_tensors(), base.weight)
    assert found is not None
    before = found.weight.detach().clone()
    norm = float(before.norm())
    assert layer.scale_norm(norm * 1.1) == pytest.approx(norm, rel=1e-3)
    assert layer.scale_norm(norm / 3) == pytest.approx(norm, rel=1e-3)
    after = difference(layer.file_tensors(), base.weight)
    assert after is not None
    torch.testing.assert_close(after.weight.detach(), before / 3, rtol=1e-4, atol=1e-6)


def test_copies_learn_on_their_own() -> None:
    base = base_of("linear")
    layer = learnt_layer("loha", base)
    x = given(base)
    twin = copy.deepcopy(nn.Sequential(base))
    with torch.no_grad():
        expected = base(x)
        assert torch.equal(twin(x), expected)
        for parameter in layer.parameters():
            parameter.zero_()
        assert torch.equal(twin(x), expected)
    assert not torch.equal(base(x), expected)
    alone = copy.deepcopy(nn.ModuleDict({"a": layer}))["a"]
    assert isinstance(alone, LibraryLayer)
    assert alone.base is base
    assert not alone.attached


def test_a_group_of_ranks_learns_at_a_time() -> None:
    base = base_of("linear")
    layer = learnt_layer("dylora", base).train()
    torch.manual_seed(0)
    learned = set()
    for _ in range(8):
        layer.zero_grad()
        base(given(base)).square().sum().backward()
        down = layer.get_submodule("lora_down").weight
        assert isinstance(down, nn.Parameter)
        assert down.grad is not None
        learned.add(tuple(down.grad.abs().sum(1).nonzero().flatten().tolist()))
    assert learned == {(0, 1), (2, 3)}


@pytest.mark.parametrize("algo", ["lora", "loha", "full"])
@pytest.mark.parametrize("scaled", [False, True])
def test_what_rank_dropout_leaves_is_divided_by_its_share_if_that_is_asked_for(
    algo: Any, scaled: bool
) -> None:
    """As LyCORIS: the mask is divided by its mean, where `rank_dropout_scale` is on."""
    shape = replace(SHAPE, algo=algo, rank=8, rank_dropout=0.5, rank_dropout_scale=scaled)
    base = nn.Linear(8, 8, bias=False).requires_grad_(False)
    base.weight.zero_()
    layer = make_layer("a", base, shape, seed=0).train()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.ones_like(parameter))
    layer.attach()
    x = torch.eye(8)[:1]
    torch.manual_seed(5)
    if algo == "lora":  # a rank that is left out takes its share of every number
        whole, kept = 8 * shape.file_alpha / 8, torch.rand(1, 8) > 0.5
        expected = torch.full((1, 8), whole * (1.0 if scaled else float(kept.float().mean())))
    else:
        kept = torch.rand(8) > 0.5
        whole = {"loha": 8 * 8 * shape.file_alpha / 8, "full": 1.0}[algo]
        expected = whole * kept.float()[None] / (kept.float().mean() if scaled else 1.0)
    torch.manual_seed(5)
    assert torch.allclose(base(x), expected)


def test_a_step_that_leaves_every_rank_out_adds_nothing() -> None:
    shape = replace(SHAPE, rank_dropout=0.999999, rank_dropout_scale=True)
    layer = make_layer("a", base := base_of("linear"), shape, seed=0).train()
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
    plain = base(given(base))
    layer.attach()
    assert torch.allclose(base(given(base)), plain)
