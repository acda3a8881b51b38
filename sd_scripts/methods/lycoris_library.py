"""The one place that uses the library lycoris-lora: LoHa, LoKr, GLoRA, OFT, BOFT, Tucker LoCon.

The library gives each algorithm's parameters, their start values, their form in a file, and the
products with them. Targets, names, hooks, dropout, DoRA and states are ours: its network class
keeps its settings on the class and goes by module names of another program. Departures, each held
by a test against the formula of what is saved:
- its modules are always asked for the change of the output ("bypass"), never to rebuild whole
  weights, which on a bfloat16 base also rounds small changes away;
- OFT and BOFT turn W x, not W x + b, as the saved file does;
- OFT and BOFT build their rotations in float32, outside of autocast.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor, nn

from sd_scripts.methods.dylora_layers import DyLoraLayer
from sd_scripts.methods.frozen import ConvShape, FrozenConv2d, FrozenLinear, compute_dtype
from sd_scripts.methods.layer import NetworkLayer, random_stream
from sd_scripts.methods.lora_layers import LoraLayer, LoraShape
from sd_scripts.methods.lycoris_layers import (
    DifferenceLayer,
    FullLayer,
    Ia3Layer,
    LycorisShape,
    NormLayer,
)
from sd_scripts.methods.oft_layers import turn_channels
from sd_scripts.weights.network_difference import rotation

_UPPER: Final = "lora_up"


@cache
def _module_types() -> Mapping[str, Any]:
    """Return the library's module classes by algorithm; its import takes a while."""
    from lycoris.wrapper import network_module_dict

    logging.getLogger("LyCORIS").setLevel(logging.ERROR)  # what it tells, we tell
    found: dict[str, Any] = network_module_dict
    return found


class LibraryLayer(DifferenceLayer):
    """A layer whose parameters and products are those of one of the library's modules.

    Its parameters are the library's own tensors, so either side sees what the other changes.
    """

    alpha: Tensor

    def __init__(self, name: str, base: nn.Module, shape: LycorisShape, seed: int) -> None:
        super().__init__(name, base, shape)
        with random_stream(seed, name):
            library = _module_types()[shape.algo](
                name,
                _of_torch(base),
                lora_dim=shape.rank,
                alpha=shape.alpha,
                use_tucker=shape.use_tucker,
                use_scalar=shape.use_scalar,
                rs_lora=shape.rs_lora,
                factor=shape.factor,
                decompose_both=shape.decompose_both,
                full_matrix=shape.full_matrix,
                unbalanced_factorization=shape.unbalanced_factorization,
                constraint=shape.constraint,
                rescaled=shape.rescaled,
                bypass_mode=True,
            )
        assert isinstance(base.weight, Tensor)
        self.register_buffer("alpha", library.alpha.detach().clone().float())
        library.to(base.weight.device)
        library.org_forward = self.product
        self._library = (library,)  # in a tuple: its parameters are registered here instead
        for key, parameter in library.named_parameters():
            self.register_parameter(key.replace(".", "_"), parameter)
        if shape.algo in ("diag-oft", "boft"):
            self.rank, self.alpha_value = shape.rank, shape.constraint

    @property
    def library(self) -> Any:
        """The library's module."""
        return self._library[0]

    def _own(self, key: str) -> Tensor:
        """Return a parameter by the name it has here."""
        found = self.get_parameter(key)
        assert isinstance(found, nn.Parameter)
        return found

    @property
    def holds_factor_whole(self) -> bool:
        """Whether LoKr's large factor is whole although a low rank was asked for."""
        whole = self.shape.algo == "lokr" and not self.shape.full_matrix
        return whole and bool(self.library.use_w2)

    def upper_parameters(self) -> list[nn.Parameter]:
        """Return what LoRA+ gives a higher rate: `lora_up`, as in LyCORIS."""
        return [p for name, p in self.named_parameters() if name.startswith(_UPPER)]

    def delta(self, x: Tensor, y: Tensor) -> Tensor:
        """Return what the algorithm adds to W x."""
        algo, library = self.shape.algo, self.library
        if algo == "diag-oft":
            return self._turned(y)
        if algo == "boft":
            return self._butterfly(y)
        if algo == "glora":
            whole: Tensor = library.bypass_forward(x.to(y.dtype))
            return whole - y
        added: Tensor = library.bypass_forward_diff(x.to(compute_dtype(x)))
        return added

    def changed_forward(self, x: Tensor) -> Tensor:
        """Return the base's output, changed by what was learned."""
        if self.shape.algo == "glora" and not self.drops:
            # W (x + A x) + B x: one product with W
            return self.with_bias(self.library.bypass_forward(x, self.multiplier))
        return super().changed_forward(x)

    def _turned(self, y: Tensor) -> Tensor:
        turns = rotation(self._own("oft_blocks").float(), float(self.library.constraint))
        unit = torch.eye(turns.shape[-1], device=turns.device)
        added = turn_channels(y, turns - unit, self.base)
        if not self.shape.rescaled:
            return added
        lengths = self._lengths(y)
        return lengths * added + (lengths - 1) * y

    def _lengths(self, y: Tensor) -> Tensor:
        flat = self._own("rescale").flatten()
        return (flat.view(-1, 1, 1) if isinstance(self.base, nn.Conv2d) else flat).to(y.dtype)

    def _butterfly(self, y: Tensor) -> Tensor:
        from lycoris.functional.boft import bypass_forward_diff

        with torch.autocast(y.device.type, enabled=False):
            added: Tensor = bypass_forward_diff(
                y.float(),
                self._own("oft_blocks").float(),
                self._own("rescale").float() if self.shape.rescaled else None,
                constraint=float(self.library.constraint),
                need_transpose=isinstance(self.base, nn.Conv2d),
            )
        return added

    def file_tensors(self) -> dict[str, Tensor]:
        """Return what LyCORIS saves of the module: a learnt scalar is folded in."""
        found: dict[str, Tensor] = {**self.library.state_dict(keep_vars=True), "alpha": self.alpha}
        return {**found, "dora_scale": self.dora_scale} if self.shape.dora else found

    @torch.no_grad()
    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a file's tensors; a learnt scalar is folded into them and starts at 1."""
        super().take(tensors)
        if self.shape.use_scalar:
            self._own("scalar").fill_(1.0)

    def scaled_with_norm(self) -> tuple[nn.Parameter, ...]:
        """Return the parameters that the change of the weights is proportional to."""
        own = dict(self.named_parameters())
        names = {
            "lora": ("lora_up_weight",),
            "locon": ("lora_up_weight",),
            "loha": ("hada_w1_a",),
            "lokr": ("lokr_w1",) if "lokr_w1" in own else ("lokr_w1_a",),
            "glora": ("a1_weight", "b1_weight"),
            "diag-oft": ("oft_blocks",),
            "boft": ("oft_blocks",),
        }[self.shape.algo]
        return tuple(own[name] for name in names)

    @torch.no_grad()
    def scale_norm(self, largest: float) -> float:
        """Limit the norm of the change; for rotations that of the blocks, as in LyCORIS."""
        if self.shape.algo not in ("diag-oft", "boft"):
            return super().scale_norm(largest)
        norm = float(self._own("oft_blocks").norm())
        if norm > largest:
            self._own("oft_blocks").mul_(largest / norm)
        return norm

    def train(self, mode: bool = True) -> LibraryLayer:
        """Switch training mode, for the library's module too."""
        super().train(mode)
        self.library.train(mode)
        return self


def _of_torch(base: nn.Module) -> nn.Module:
    """Return a module of the base's sizes whose class the library can make more of.

    One with a stored weight has a class of ours: its stand-in has no weight that could be read.
    """
    if isinstance(base, FrozenLinear):
        return nn.Linear(base.in_features, base.out_features, device="meta")
    if isinstance(base, FrozenConv2d):
        height, width = base.kernel_size
        return nn.Conv2d(
            base.in_channels, base.out_channels, (height, width), *ConvShape.of(base), device="meta"
        )
    return base


def make_layer(name: str, base: nn.Module, shape: LycorisShape, seed: int) -> NetworkLayer:
    """Return the layer of an algorithm for one module.

    Plain LoRA and DyLoRA are this program's own layers, which are faster than the library's and
    give the same files. Raises `ValueError` if the module cannot be cut as the algorithm needs.
    """
    if isinstance(base, nn.GroupNorm | nn.LayerNorm):
        return NormLayer(name, base, shape)
    if shape.algo == "full":
        return FullLayer(name, base, shape)
    if shape.algo == "ia3":
        return Ia3Layer(name, base, shape)
    if shape.algo in ("lora", "locon", "dylora") and not _needs_library(base, shape):
        plain = LoraShape(
            shape.rank,
            shape.file_alpha,
            shape.dropout,
            shape.rank_dropout,
            shape.module_dropout,
            "drawn" if shape.rank_dropout_scale else "nothing",
        )
        if shape.algo == "dylora":
            return DyLoraLayer(name, base, plain, seed, unit=shape.block_size, growth=1.0)
        return LoraLayer(name, base, plain, seed, dora=shape.dora)
    return LibraryLayer(name, base, shape, seed)


def _needs_library(base: nn.Module, shape: LycorisShape) -> bool:
    spatial = isinstance(base, nn.Conv2d) and base.kernel_size != (1, 1)
    return shape.use_scalar or (shape.use_tucker and spatial)
