"""A whole model that its processes share out: each keeps and steps a piece of every tensor.

PyTorch gathers a block's weights just before it computes and adds up its gradients just after
(`fully_shard`: https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html). What steps
the weights here sees pieces as plain parameters, which share their memory with PyTorch's own.
All processes call a method together, unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
import torch.distributed as dist
from accelerate.state import PartialState
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from sd_scripts.train.team import Team

_BLOCKS: Final = ("BasicTransformerBlock", "ResnetBlock2D", "CLIPEncoderLayer")
"""Modules that are gathered by themselves, by the names of their classes."""
_EDGE: Final = 1e-6
"""What PyTorch's own limit of norms adds, so that nothing is divided by zero."""


class Shards:
    """The pieces of all that learns in the parts of a model, as this process has them."""

    def __init__(self, parts: nn.ModuleDict, team: Team) -> None:
        """Cut the parts into pieces; they keep their names, places and whether they learn."""
        self._team = team
        self._parts = parts
        self._keeps = team.sharding.keeps_whole
        self._units = list(_cut(parts, team.size, reshard=not self._keeps))
        self._tensors: dict[str, Any] = dict(parts.named_parameters())
        self.pieces: dict[str, nn.Parameter] = {
            name: nn.Parameter(tensor.to_local().detach(), requires_grad=tensor.requires_grad)
            for name, tensor in self._tensors.items()
        }

    def groups(self, groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return an optimizer's groups with the pieces in the place of the tensors.

        A tensor with fewer rows than processes leaves some of them nothing, which is left out.
        """
        pieces = {tensor: self.pieces[name] for name, tensor in self._tensors.items()}
        return [
            {**group, "params": [p for one in group["params"] if (p := pieces[one]).numel()]}
            for group in groups
        ]

    def learning(self) -> dict[str, nn.Parameter]:
        """Return the pieces of what learns, by name."""
        return {name: piece for name, piece in self.pieces.items() if piece.requires_grad}

    def take_gradients(self) -> None:
        """Give the pieces the gradients of the step, the mean of all processes."""
        for name, tensor in self._tensors.items():
            if tensor.grad is not None:
                self.pieces[name].grad = tensor.grad.to_local()
                tensor.grad = None

    def limit_norm(self, parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
        """Shorten the gradients to a norm over all processes of `limit`; returns the norm."""
        gradients = [piece.grad for piece in parameters if piece.grad is not None]
        squares = [torch.linalg.vector_norm(one, dtype=torch.float32) ** 2 for one in gradients]
        total = torch.stack(squares).sum() if squares else torch.zeros(())
        total = total.to(PartialState().device)
        dist.all_reduce(total)
        norm = total.sqrt()
        factor = (limit / (norm + _EDGE)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.to(gradient.device, gradient.dtype))
        return norm

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Have whole tensors in main memory in the leader's modules, to be written.

        The other processes lend theirs and go on; nothing can be computed in here.
        """
        self.scatter()
        homes = {name: _home(self._parts, name) for name in self._tensors}
        swapped: list[str] = []
        try:
            for name, tensor in self._tensors.items():
                whole = tensor.detach().full_tensor()
                if self._team.leads:
                    module, leaf = homes[name]
                    module._parameters[leaf] = nn.Parameter(
                        whole.cpu(), requires_grad=tensor.requires_grad
                    )
                    swapped.append(name)
            yield
        finally:
            for name in swapped:
                module, leaf = homes[name]
                module._parameters[leaf] = self._tensors[name]

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Have all weights in the leader, so that it can compute alone in here."""
        for unit in self._units:
            unit.unshard()
            if not self._team.leads:
                unit.reshard()
        if not self._team.leads:
            yield
            return
        try:
            for unit in self._units:
                unit.set_reshard_after_forward(False, recurse=False)
            yield
        finally:
            for unit in self._units:
                unit.set_reshard_after_forward(not self._keeps, recurse=False)
            self.scatter()

    def scatter(self) -> None:
        """Let go of all gathered weights: pieces are left."""
        for unit in self._units:
            unit.reshard()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors by name: whole ones in the leader, within `whole`."""
        found: dict[str, Tensor] = self._parts.state_dict()
        return found

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True) -> None:
        """Take this process's pieces of whole tensors. Raises `KeyError` if some are missing."""
        own = self._parts.state_dict()
        if state_dict.keys() != own.keys():
            raise KeyError("these are the weights of another training")
        with torch.no_grad():
            for name, tensor in own.items():
                value = state_dict[name]
                if not isinstance(tensor, DTensor):
                    tensor.copy_(value)
                    continue
                value = value.to(tensor.device, tensor.dtype)
                cut = distribute_tensor(
                    value, tensor.device_mesh, tensor.placements, src_data_rank=None
                )
                self.pieces[name].copy_(cut.to_local())


def _cut(parts: nn.ModuleDict, size: int, *, reshard: bool) -> Iterator[Any]:
    """Share out the tensors of all parts; yields what is gathered together, inner ones first."""
    mesh = init_device_mesh(PartialState().device.type, (size,))
    for owner, part in parts.items():
        units = [one for one in part.modules() if type(one).__name__ in _BLOCKS]
        if owner == "unet":
            units.append(part)
        else:
            units += _rest(part, units)
        for unit in units:
            cut: Any = fully_shard(unit, mesh=mesh, reshard_after_forward=reshard)
            assert isinstance(cut, FSDPModule)
            yield cut


def _rest(encoder: nn.Module, blocks: Sequence[nn.Module]) -> list[nn.Module]:
    """Return a text encoder's modules beside its layers that are called by themselves.

    An encoder is run layer by layer, never as a whole, so the whole cannot be what is gathered.
    """
    inside = {part for block in blocks for part in block.modules()}
    found: list[nn.Module] = []

    def look(module: nn.Module) -> None:
        if module in inside:
            return
        whole = type(module).__name__ == "CLIPTextEmbeddings"
        if whole or next(module.parameters(recurse=False), None) is not None:
            found.append(module)
            return
        for child in module.children():
            look(child)

    look(encoder)
    return found


def _home(parts: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the module that holds a parameter, and its name there."""
    path, _, leaf = name.rpartition(".")
    return parts.get_submodule(path), leaf
