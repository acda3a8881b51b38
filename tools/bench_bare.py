"""The yardstick of `bench_step`: forward, backward and AdamW of a LoRA job, and nothing else."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TARGETS_UNET = ("Transformer2DModel",)
TARGETS_TEXT = ("CLIPAttention", "CLIPMLP")


class PlainLora(nn.Module):
    """The textbook layer: `base(x) + up(down(x)) · scale`."""

    def __init__(self, base: nn.Linear | nn.Conv2d, rank: int) -> None:
        super().__init__()
        self.base = base
        if isinstance(base, nn.Linear):
            self.down: nn.Module = nn.Linear(base.in_features, rank, bias=False)
            self.up: nn.Module = nn.Linear(rank, base.out_features, bias=False)
        else:
            self.down = nn.Conv2d(base.in_channels, rank, 1, bias=False)
            self.up = nn.Conv2d(rank, base.out_channels, 1, bias=False)
        nn.init.zeros_(self.up.weight)
        self.scale = 1.0 / rank

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output with the low-rank part added."""
        output: Tensor = self.base(x) + self.up(self.down(x)) * self.scale
        return output


def attach(module: nn.Module, owners: tuple[str, ...], rank: int) -> list[nn.Parameter]:
    """Wrap each Linear and 1x1 convolution under modules of the named classes."""
    module.requires_grad_(False)
    learned: list[nn.Parameter] = []
    holders = [part for part in module.modules() if type(part).__name__ in owners]
    for holder in holders:
        places = [
            (parent, name, child)
            for parent in holder.modules()
            for name, child in parent.named_children()
            if isinstance(child, nn.Linear | nn.Conv2d) and not isinstance(parent, PlainLora)
        ]
        for parent, name, child in places:
            layer = PlainLora(child, rank)
            setattr(parent, name, layer)
            learned += [*layer.down.parameters(), *layer.up.parameters()]
    return learned


class BareLoop:
    """One SD 1.x training step on given latents [1, 4, h, w] and tokens [1, 77]."""

    def __init__(
        self, unet: nn.Module, text_encoder: nn.Module, *, rank: int, dtype: torch.dtype
    ) -> None:
        self.unet, self.text_encoder, self.dtype = unet.to(dtype), text_encoder.to(dtype), dtype
        learned = attach(self.unet, TARGETS_UNET, rank)
        learned += attach(self.text_encoder, TARGETS_TEXT, rank)
        for parameter in learned:
            parameter.data = parameter.data.float()
        self.optimizer = torch.optim.AdamW(learned, lr=1e-4)
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        self.alphas = torch.cumprod(1 - betas, 0)

    def step(self, latents: Tensor, tokens: Tensor) -> float:
        """Train one step; returns the loss."""
        noise = torch.randn_like(latents)
        time = torch.randint(0, 1000, (len(latents),))
        alpha = self.alphas[time].view(-1, 1, 1, 1)
        noisy = (alpha.sqrt() * latents + (1 - alpha).sqrt() * noise).to(self.dtype)
        with torch.autocast("cpu", self.dtype, enabled=self.dtype != torch.float32):
            hidden = self.text_encoder(tokens, return_dict=False)[0]
            predicted = self.unet(noisy, time, hidden, return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(predicted.float(), noise)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss)
