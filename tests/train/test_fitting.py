"""What a machine can do of what a job asks: compiled blocks, channels last, TF32, fewer bits."""

from __future__ import annotations

import importlib.util
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sd_scripts.errors import UserError
from sd_scripts.families.base import LoadOptions, TextConditioning
from sd_scripts.families.registry import FAMILIES
from sd_scripts.methods.frozen import store
from sd_scripts.methods.lora_layers import LoraLayer, LoraShape
from sd_scripts.methods.network import NetworkMethod
from sd_scripts.methods.quantised import QuantisedWeight
from sd_scripts.options.groups.training import PerformanceOptions
from sd_scripts.train import compiling
from sd_scripts.train.compiling import compile_blocks, try_compiler, uncompiled
from sd_scripts.train.fitting import fitting_problems, lay_out_channels_last
from tests.methods.jobs import network_job
from tests.support.tiny_models import make_tiny_checkpoint

COMPILED = PerformanceOptions(torch_compile=True, dynamo_backend="aot_eager")


@pytest.mark.parametrize(
    ("options", "device", "missing", "option", "word"),
    [
        ({"torch_compile": True}, "cpu", "compiler", "torch_compile", "C++"),
        ({"torch_compile": True}, "cuda", "triton", "torch_compile", "triton"),
        (
            {"torch_compile": True, "dynamo_backend": "cudagraphs"},
            "cpu",
            "",
            "dynamo_backend, torch_compile",
            "NVIDIA",
        ),
        ({"fp8_base": True}, "mps", "", "fp8_base", "8-bit"),
        ({"quantize_base": "fp8"}, "mps", "", "quantize_base", "8-bit"),
        ({"allow_tf32": True}, "cpu", "", "allow_tf32", "no effect"),
        (
            {"allow_tf32": True, "mixed_precision": "bf16"},
            "cuda",
            "",
            "allow_tf32, mixed_precision",
            "no effect",
        ),
    ],
)
def test_what_a_machine_lacks_is_told_before_work(
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    device: str,
    missing: str,
    option: str,
    word: str,
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    if missing == "compiler":
        monkeypatch.setattr(shutil, "which", lambda name: None)
    if missing == "triton":
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (problem,) = fitting_problems(PerformanceOptions(**options), torch.device(device))
    assert problem.option == option
    assert word in problem.message
    assert problem.hint
    assert (problem.severity == "warning") is ("no effect" in word)


@pytest.mark.parametrize(
    "options",
    [
        {"torch_compile": True, "dynamo_backend": "eager"},
        {"torch_compile": True, "dynamo_backend": None},
        {"quantize_base": "nf4", "opt_channels_last": True},
    ],
)
def test_what_works_everywhere_needs_no_words(options: dict[str, Any]) -> None:
    assert not fitting_problems(PerformanceOptions(**options), torch.device("cpu"))


def test_a_broken_compiler_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("while linking\nld: error: no such file\nmore")

    monkeypatch.setattr(compiling, "_settings", lambda performance: {"backend": broken})
    with pytest.raises(UserError) as caught:
        try_compiler(COMPILED, torch.device("cpu"))
    (problem,) = caught.value.problems
    assert "ld: error: no such file" in problem.message
    assert "torch_compile off" in str(problem.hint)


class Blocks(nn.Module):
    """Blocks as a U-Net has them, each run again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        from diffusers.models.attention import BasicTransformerBlock
        from diffusers.models.resnet import ResnetBlock2D

        self.resnet = ResnetBlock2D(in_channels=8, out_channels=8, temb_channels=4, groups=2)
        self.transformer = BasicTransformerBlock(8, 1, 8, cross_attention_dim=4)

    def forward(self, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
        x = checkpoint(self.resnet, x, time, use_reentrant=False)
        rows = x.flatten(2).transpose(1, 2)
        found: Tensor = checkpoint(self.transformer, rows, None, text, use_reentrant=False)
        return found


def with_layers(seed: int) -> tuple[Blocks, nn.ModuleList]:
    """Blocks with a LoRA at each layer, the transformer's on weights in 8 bits."""
    torch.manual_seed(seed)
    blocks = Blocks().requires_grad_(False)
    layers = nn.ModuleList()
    for name, module in list(blocks.named_modules()):
        if isinstance(module, nn.Linear | nn.Conv2d):
            if name.startswith("transformer"):
                store(module, QuantisedWeight.of(module, "int8"))
            layer = LoraLayer(name, module, LoraShape(2, 1.0), seed)
            nn.init.normal_(layer.lora_up.weight)
            layer.attach()
            layers.append(layer)
    return blocks.train(), layers.train()


def test_compiled_blocks_give_the_same_and_keep_their_names() -> None:
    """With networks, a stored base, checkpointing, sizes that change, and in half precision."""
    plain, plain_layers = with_layers(3)
    compiled, compiled_layers = with_layers(3)
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    assert compile_blocks(COMPILED, compiled) == 2
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    for height, half in ((4, False), (6, True)):
        x, time, text = torch.randn(2, 8, height, 4), torch.randn(2, 4), torch.randn(2, 5, 4)
        results = []
        for blocks, layers in ((plain, plain_layers), (compiled, compiled_layers)):
            layers.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                y = blocks(x, time, text)
            y.float().square().mean().backward()
            gradients = [parameter.grad for parameter in layers.parameters()]
            results.append([y.detach(), *(g for g in gradients if g is not None)])
        assert len(results[0]) > 20
        for ours, theirs in zip(*results, strict=True):
            assert ours.dtype == theirs.dtype
            difference = (ours - theirs).float().norm()
            assert difference <= (0.02 if half else 1e-5) * theirs.float().norm()
    assert not counters["graph_break"]
    made = counters["stats"]["unique_graphs"]
    assert made >= 2, "nothing was compiled"
    with torch.no_grad(), uncompiled(compiled):
        compiled(torch.randn(1, 8, 3, 3), torch.randn(1, 4), torch.randn(1, 5, 4))
    assert counters["stats"]["unique_graphs"] == made, "a preview compiles nothing"


INDUCTOR = PerformanceOptions(torch_compile=True)


class Projection(nn.Module):
    """What a ResNet block has of a timestep: a product of one row for each picture."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 32)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)
        return found


@pytest.mark.skipif(
    bool(compiling.compiler_problems(INDUCTOR, torch.device("cpu"))),
    reason="no C++ compiler that inductor can use, or a blank in PyTorch's path",
)
def test_inductor_scales_what_a_lora_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a sum with a factor it forgets the factor, where few rows are multiplied."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    block = Projection().requires_grad_(False)
    layer = LoraLayer("a", block.layer, LoraShape(2, 1.0), 3)
    nn.init.normal_(layer.lora_up.weight)
    layer.attach()
    x = torch.randn(2, 16)
    plain = block(x)
    block.compile(**compiling._settings(INDUCTOR))
    torch.testing.assert_close(block(x), plain)


def note(seen: list[Tensor], module: nn.Module, given: object, found: Tensor) -> None:
    del module, given
    seen.append(found)


def channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


@pytest.mark.parametrize("quantised", [None, "int8", "nf4"])
def test_channels_last_gives_the_same(tmp_path: Path, quantised: str | None) -> None:
    family = FAMILIES["sd1"]
    file = make_tiny_checkpoint("sd1", tmp_path / "m.safetensors")
    torch.manual_seed(0)
    noisy, hidden = torch.randn(1, 4, 16, 16), None
    results = []
    for last in (False, True):
        model = family.load(file, LoadOptions())
        method = NetworkMethod(network_job(conv_dim=2, quantize_base=quantised), model)
        with torch.no_grad():
            for name, parameter in method.trainable_modules.named_parameters():
                torch.manual_seed(len(name))
                parameter.add_(0.1 * torch.randn(parameter.shape))
        keys = list(model.unet.state_dict())
        if last:
            lay_out_channels_last(model.unet)
        seen: list[Tensor] = []
        resnet: Any = model.unet.mid_block.resnets[0]
        resnet.conv2.register_forward_hook(partial(note, seen))
        width = int(model.unet.config["cross_attention_dim"])
        hidden = torch.randn(1, 77, width) if hidden is None else hidden
        y = family.predict(model, noisy, torch.tensor([10]), TextConditioning(hidden), {})
        torch.autograd.backward(y.square().mean())
        gradients = [p.grad for p in method.trainable_modules.parameters() if p.grad is not None]
        results.append([y.detach(), *gradients])
        assert list(model.unet.state_dict()) == keys
        assert channels_last(seen[0]) == last
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
