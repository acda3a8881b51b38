"""A frozen Conv2d's weight laid out once as the rows of a matrix, for products on a CPU.

oneDNN brings a convolution's weight into an order of its own at every call, forward and backward.
Where pictures are small and channels many (8 by 8 pixels and 1,280 channels in the depth of a
U-Net) that takes longer than the product. Here the weight is kept as [out, k·k·in], which a matrix
product reads as it is in either direction: the neighbourhoods of all pixels times Wᵀ forward, the
gradient times W backward, folded back onto the pixels. So one copy serves both.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from sd_scripts.methods.frozen import ConvShape

_FEW_PIXELS: Final = 64
"""Up to here W is the left factor of the forward product: the right one is what libraries copy."""


class PackedConv:
    """A Conv2d's weight, as it came until it is first used on few pixels, then packed for good.

    It owns the memory of the weight it is given, and changes the order of the numbers there.

    With more than `most_pixels` output pixels in a batch the plain convolution is used: their
    neighbourhoods would be larger than the weight, which then is not what takes the time. It always
    reads the weight as it came: its last bits depend on the order of the numbers, and a resumed run
    may begin with other sizes than the one it goes on with. That takes a copy at each use where a
    run has both; the packed order would be slower for all that have large ones only.
    """

    def __init__(
        self, weight: Tensor, shape: ConvShape, most_pixels: int, *, onednn: bool = False
    ) -> None:
        self.shape, self.most_pixels, self.onednn = shape, most_pixels, onednn
        self._size = tuple(weight.shape)
        self._kernel = (weight.shape[2], weight.shape[3])
        self._plain: Tensor | None = weight.detach()
        self._rows: Tensor | None = None

    @property
    def is_packed(self) -> bool:
        """Whether the weight is rows of a matrix by now."""
        return self._rows is not None

    def pack(self) -> Tensor:
        """Return the weight as [out, k·k·in]; from the first call on it is kept so only.

        It stays in its own memory: another place would leave a gap in the heap, or pages of a
        mapped model file that nobody reads any more.
        """
        if self._rows is None:
            assert self._plain is not None
            rows = self._plain.permute(0, 2, 3, 1).reshape(self._size[0], -1)
            if self._plain.is_contiguous():
                rows = self._plain.view(rows.shape).copy_(rows)
            self._rows, self._plain = rows, None
        return self._rows

    @property
    def device(self) -> torch.device:
        """Where the weight is."""
        return self.dense().device

    def dense(self) -> Tensor:
        """Return the weight [out, in, k, k] without a copy; with channels last once packed."""
        if self._plain is not None:
            return self._plain
        return self.pack().view(len(self.pack()), *self._kernel, -1).permute(0, 3, 1, 2)

    def _as_it_came(self, dtype: torch.dtype) -> Tensor:
        # With one pixel a kernel is contiguous in either order, but its strides are not the same.
        return self.dense().to(dtype).contiguous().view(-1).view(self._size)

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolution of `x`, [B, out, H', W']."""
        batch, (height, width) = len(x), self._output_size(x.shape)
        pixels = batch * height * width
        if pixels > self.most_pixels:
            return functional.conv2d(x, self._as_it_came(x.dtype), bias, *self.shape)
        weight = self.pack().to(x.dtype)
        around = self._neighbourhoods(x, (height, width))
        if pixels > _FEW_PIXELS:
            rows = self._right_product(around, weight, bias)
        else:
            rows = self._left_product(weight, around).t().contiguous()
            if bias is not None:
                rows.add_(bias)
        return rows.view(batch, height, width, -1).permute(0, 3, 1, 2)

    def backward_product(self, grad: Tensor, x_shape: torch.Size) -> Tensor:
        """Return the gradient [B, in, H, W] of the convolution's input."""
        batch, out, height, width = grad.shape
        if batch * height * width > self.most_pixels:
            return self._plain_backward(grad, x_shape)
        grad_rows, weight = grad.permute(0, 2, 3, 1).reshape(-1, out), self.pack().to(grad.dtype)
        around = self._right_product(grad_rows, weight.t(), None)
        return self._folded(around, (height, width), x_shape)

    def _by_onednn(self, weight: Tensor) -> bool:
        return self.onednn and weight.dtype == torch.float32

    def _right_product(self, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return rows · weightᵀ + bias, one row for each row."""
        if self._by_onednn(weight):
            found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
            return found
        return functional.linear(rows, weight, bias)

    def _left_product(self, weight: Tensor, around: Tensor) -> Tensor:
        """Return W · aroundᵀ, [out, pixels]."""
        if self._by_onednn(weight):
            found: Tensor = torch.ops.mkldnn._linear_pointwise(weight, around, None, "none", [], "")
            return found
        return torch.mm(weight, around.t())

    def to_device(self, device: torch.device) -> PackedConv:
        """Return it on a device."""
        if device == self.device:
            return self
        return PackedConv(self.dense().to(device), self.shape, self.most_pixels)  # not oneDNN's

    def _plain_backward(self, grad: Tensor, x_shape: torch.Size) -> Tensor:
        unread = grad.new_empty(()).expand(x_shape)
        found: Tensor = torch.ops.aten.convolution_backward(
            grad, unread, self._as_it_came(grad.dtype), None, *self.shape, False, (0, 0), 1,
            (True, False, False),
        )[0]  # fmt: skip
        return found

    def _output_size(self, x_shape: torch.Size) -> tuple[int, int]:
        stride, padding, dilation = self.shape
        height, width = (
            (x_shape[2 + n] + 2 * padding[n] - dilation[n] * (self._kernel[n] - 1) - 1) // stride[n]
            + 1
            for n in (0, 1)
        )
        return height, width

    def _neighbourhoods(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Return what each output pixel sees of `x`, [B·H'·W', k·k·in]."""
        stride, padding, dilation = self.shape
        last = x.permute(0, 2, 3, 1)
        if padding != (0, 0):
            last = functional.pad(last, (0, 0, padding[1], padding[1], padding[0], padding[0]))
        steps = last.stride()
        views = last.as_strided(
            (len(x), *size, *self._kernel, x.shape[1]),
            (
                steps[0],
                steps[1] * stride[0],
                steps[2] * stride[1],
                steps[1] * dilation[0],
                steps[2] * dilation[1],
                steps[3],
            ),
        )
        return views.reshape(len(x) * size[0] * size[1], -1)

    def _folded(self, around: Tensor, size: tuple[int, int], x_shape: torch.Size) -> Tensor:
        """Add up what all neighbourhoods say of each input pixel, in float32."""
        (down, right), padding, dilation = self.shape
        batch, channels, height, width = x_shape
        taps = around.view(batch, *size, *self._kernel, channels)
        if self._kernel == (1, 1) and (down, right) == (1, 1) and padding == (0, 0):
            return taps.view(batch, height, width, channels).permute(0, 3, 1, 2)
        total = around.new_zeros(
            (batch, height + 2 * padding[0], width + 2 * padding[1], channels),
            dtype=torch.promote_types(around.dtype, torch.float32),
        )
        for i in range(self._kernel[0]):
            for j in range(self._kernel[1]):
                top, left = i * dilation[0], j * dilation[1]
                seen = total[
                    :, top : top + down * size[0] : down, left : left + right * size[1] : right
                ]
                seen.add_(taps[:, :, :, i, j])
        inner = total[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
        return inner.to(around.dtype).contiguous().permute(0, 3, 1, 2)
