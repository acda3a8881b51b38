"""A frozen base in 8 or 4 bits: how near it is, what it takes, and what learns beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sd_scripts.errors import UserError
from sd_scripts.families.base import LoadOptions
from sd_scripts.families.registry import FAMILIES
from sd_scripts.methods.frozen import FrozenBase, store
from sd_scripts.methods.network import NetworkMethod
from sd_scripts.methods.quantised import FORMATS, NF4_LEVELS, QuantisedWeight
from sd_scripts.methods.quantised_base import quantise_base, saving_of
from sd_scripts.options.groups.training import BaseFormat
from sd_scripts.options.jobs import TrainDbJob
from sd_scripts.options.values import job_from_values
from tests.methods.fakes import fake_model
from tests.methods.jobs import network_job
from tests.support.tiny_models import make_tiny_checkpoint

KINDS: tuple[BaseFormat, ...] = ("fp8", "int8", "nf4")
# Of normally distributed weights: half a step of each format, by its steps' usual width.
LARGEST_ERROR = {"fp8": 0.035, "int8": 0.01, "nf4": 0.125}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def layers() -> list[nn.Linear | nn.Conv2d]:
    """Sizes that are no multiple of a block, and rows of very different strength."""
    made: list[nn.Linear | nn.Conv2d] = [
        nn.Linear(50, 33),
        nn.Conv2d(20, 9, 3, padding=1),
        nn.Conv2d(20, 12, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(31, 10, 1),
    ]
    for layer in made:
        layer.requires_grad_(False)
        strength = torch.logspace(-3, 0, len(layer.weight)).view(-1, *[1] * (layer.weight.ndim - 1))
        layer.weight.copy_(normal(*layer.weight.shape) * strength)
        if layer.bias is not None:
            layer.bias.copy_(normal(*layer.bias.shape))
    return made


def inputs(layer: nn.Module) -> Tensor:
    if isinstance(layer, nn.Linear):
        return normal(2, 5, layer.in_features)
    assert isinstance(layer, nn.Conv2d)
    return normal(2, layer.in_channels, 6, 5)


def quantised(layer: nn.Linear | nn.Conv2d, kind: BaseFormat) -> QuantisedWeight:
    stored = QuantisedWeight.of(layer, kind)
    store(layer, stored)
    return stored


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(4))
def test_products_are_those_of_the_dense_weight(kind: BaseFormat, number: int) -> None:
    """Output and gradient equal the dequantised weight's, and are near the original's."""
    layer, plain, dense = (layers()[number] for _ in range(3))
    stored = quantised(layer, kind)
    assert stored.num_bytes == FORMATS[kind].num_bytes(plain.weight.shape)
    dense.weight.copy_(stored.dense())
    results = []
    for one in (layer, dense, plain):
        x = inputs(one).requires_grad_()
        y = one(x)
        y.backward(normal(*y.shape))
        assert x.grad is not None
        results.append((y.detach(), x.grad))
    for ours, same, near in zip(*results, strict=True):
        torch.testing.assert_close(ours, same, rtol=1e-5, atol=1e-5)
        assert (ours - near).norm() <= LARGEST_ERROR[kind] * near.norm()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_weight_is_rounded_once_to_the_dtype_of_products(
    kind: BaseFormat, dtype: torch.dtype
) -> None:
    layer = layers()[0]
    stored = QuantisedWeight.of(layer, kind)
    number_format = FORMATS[kind]
    exact = number_format.unpack(stored.packed, stored.shape, torch.float32)
    made = number_format.unpack(stored.packed, stored.shape, dtype)
    assert made.dtype == dtype
    assert torch.equal(made, exact.to(dtype))
    assert (exact - layer.weight).norm() < LARGEST_ERROR[kind] * layer.weight.norm()
    if kind != "nf4":  # whose blocks go across rows
        rows = (exact - layer.weight).norm(dim=1) / layer.weight.norm(dim=1)
        assert rows.max() < LARGEST_ERROR[kind], "weak rows are as near as strong ones"


def test_levels_are_those_of_the_paper_and_bitsandbytes() -> None:
    functional = pytest.importorskip("bitsandbytes.functional")
    weight = layers()[1].weight[:, :16].contiguous()
    codes, state = functional.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    torch.testing.assert_close(state.code, torch.tensor(NF4_LEVELS))
    with torch.compiler.set_stance("force_eager"):  # it would build a C++ program for this
        theirs = functional.dequantize_4bit(codes, state)
    number_format = FORMATS["nf4"]
    ours = number_format.unpack(number_format.pack(weight), weight.shape, torch.float32)
    # Scales are float16 here, float32 there: hardly a number comes to another level by that.
    other = ~torch.isclose(ours, theirs, rtol=1e-3, atol=1e-6)
    assert other.float().mean() < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_nothing_and_broken_ones(kind: BaseFormat) -> None:
    number_format, shape = FORMATS[kind], torch.Size((4, 64))
    nothing = torch.zeros(shape)
    same = number_format.unpack(number_format.pack(nothing), shape, torch.half)
    assert torch.equal(same, nothing.half())
    broken = nothing.index_fill(0, torch.tensor(2), torch.nan)
    found = number_format.unpack(number_format.pack(broken), shape, torch.float32)
    assert found[2].isnan().all(), "a broken weight is not made good in silence"


@pytest.mark.parametrize("kind", KINDS)
def test_autograd_keeps_no_dense_weight(kind: BaseFormat) -> None:
    layer = nn.Linear(64, 64).requires_grad_(False)
    quantised(layer, kind)
    kept: list[torch.Size] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = layer(normal(3, 64).requires_grad_())
    y.sum().backward()
    assert torch.Size((64, 64)) not in kept
    assert not list(layer.named_parameters())[1:], "the original is let go"


def test_stored_parts_are_those_of_the_options(tmp_path: Path) -> None:
    """Attention, feed-forward and ResNet layers; what networks never touch stays as it is."""

    file = make_tiny_checkpoint("sd1", tmp_path / "m.safetensors")

    def stored(**options: object) -> list[set[str]]:
        model: Any = FAMILIES["sd1"].load(file, LoadOptions())
        performance = network_job(**options).performance
        saving = saving_of(performance, model, torch.float32)
        dense = memory(model)
        quantise_base(performance, model)
        if saving is not None:
            assert dense - memory(model) == saving.before
            assert saving.num_layers == sum(map(len, names(model)))
        return names(model)

    unet, text = stored(fp8_base=True)
    assert {"conv_in", "conv_out", "time_embedding.linear_1"}.isdisjoint(unet)
    assert {"mid_block.attentions.0.proj_in", "mid_block.resnets.0.conv1"} <= unet
    assert {"encoder.layers.0.self_attn.q_proj", "encoder.layers.0.mlp.fc1"} <= text
    assert stored(fp8_base=True, fp8_base_unet=True) == [unet, set()]
    assert stored(quantize_base="nf4") == [unet, text]
    assert stored(quantize_base="int8", quantize_unet_only=True) == [unet, set()]
    assert stored() == [set(), set()]


def names(model: Any) -> list[set[str]]:
    """Names of the modules with a stored weight, by part."""
    return [
        {name for name, module in part.named_modules() if isinstance(module, FrozenBase)}
        for part in (model.unet, *model.text_encoders)
    ]


def memory(model: Any) -> int:
    """Bytes of all parameters."""
    parts = (model.unet, *model.text_encoders)
    return sum(p.numel() * p.element_size() for part in parts for p in part.parameters())


METHODS: dict[str, dict[str, object]] = {
    "lora": {"conv_dim": 2},
    "lora dropped": {"conv_dim": 2, "network_dropout": 0.5},
    "dora": {"conv_dim": 2, "network_args": ["dora_wd=True"]},
    "oft": {"network_module": "networks.oft", "network_args": ["enable_all_linear=True"]},
    **{
        f"lycoris {algo}": {
            "network_module": "lycoris.kohya",
            "network_args": [f"algo={algo}", "preset=full"],
        }
        for algo in ("loha", "glora", "full")
    },
}


@pytest.mark.parametrize("kind", METHODS)
def test_networks_learn_beside_a_stored_base_as_beside_its_dense_weights(kind: str) -> None:
    """Gradients equal those on the dequantised weights; without what was learned, outputs too."""
    job = network_job(network_dim=2, quantize_base="int8", **METHODS[kind])
    plain_job = network_job(network_dim=2, **METHODS[kind])
    ours, same = fake_model(), fake_model()
    quantise_base(job.performance, ours)
    for target, other in zip(*(m.family.network_targets(m) for m in (ours, same)), strict=True):
        assert isinstance(other.module, nn.Linear | nn.Conv2d)
        other.module.weight.data.copy_(target.module.weight)
    methods = [NetworkMethod(job, ours), NetworkMethod(plain_job, same)]
    assert methods[0].num_modules == methods[1].num_modules
    gradients = []
    for method, model in zip(methods, (ours, same), strict=True):
        method.set_training()
        parameters = dict(method.trainable_modules.named_parameters())
        with torch.no_grad():
            for name, parameter in parameters.items():
                torch.manual_seed(len(name))
                parameter.add_(0.1 * torch.randn(parameter.shape))
        torch.manual_seed(5)  # for dropout
        sum(y.square().sum() for y in model.outputs()).backward()  # type: ignore[union-attr]
        gradients.append({name: p.grad for name, p in parameters.items()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-5)


def test_what_is_merged_first_is_stored_with_the_base(tmp_path: Path) -> None:
    model = fake_model()
    trained = NetworkMethod(network_job(network_dim=2), model)
    for parameter in trained.trainable_modules.parameters():
        parameter.data.add_(0.5)
    trained.save(tmp_path / "a.safetensors", {})
    wanted = model.outputs()
    merged = fake_model()
    NetworkMethod(
        network_job(quantize_base="int8", base_weights=[str(tmp_path / "a.safetensors")]), merged
    )
    for found, value in zip(merged.outputs(), wanted, strict=True):
        assert (found - value).norm() < 0.03 * value.norm()


@pytest.mark.parametrize("option", ["fp8_base", "fp8_base_unet", "quantize_base"])
def test_whole_models_are_refused_with_a_remedy(option: str) -> None:
    values: dict[str, object] = {
        "pretrained_model_name_or_path": "m.safetensors",
        "train_data_dir": "pictures",
        option: "int8" if option == "quantize_base" else True,
    }
    with pytest.raises(UserError) as caught:
        job_from_values(TrainDbJob, values)
    (problem,) = caught.value.problems
    assert problem.option == option
    assert "full_bf16" in str(problem.hint)
