"""The 3x3 convolution that every network is made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Of a 2x2 map, for each output position and each input position: the tap that leads from one to the other.
_PLACES = [(y, x) for y in range(2) for x in range(2)]
_TAPS = torch.tensor([3 * (y - v + 1) + (x - u + 1) for v, u in _PLACES for y, x in _PLACES])


class Conv3x3(nn.Conv2d):
    """3x3, without bias, one row of zeros around the map: (N, entering, H, W) to (N, leaving, H/s, W/s).

    On a 2x2 map, the last stage of 8x8 images, every output sees every input by exactly one tap, so the layer
    is one matrix. On a CPU a product with it takes a third of the time of the library's convolution and its
    gradients (docs/performance.md); results differ by rounding.
    """

    def __init__(self, entering: int, leaving: int, stride: int = 1) -> None:
        super().__init__(entering, leaving, kernel_size=3, stride=stride, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] == (2, 2) and self.stride == (1, 1) and x.device.type == "cpu":
            return _on_2x2(x, self.weight)
        return super().forward(x)


def _on_2x2(x: Tensor, weight: Tensor) -> Tensor:
    leaving, entering = weight.shape[:2]
    taps = weight.permute(0, 2, 3, 1).reshape(leaving, 9, entering).index_select(1, _TAPS)
    matrix = taps.view(leaving, 4, 4 * entering).transpose(0, 1).reshape(4 * leaving, 4 * entering)
    flat = x.permute(0, 2, 3, 1).reshape(len(x), 4 * entering)
    return functional.linear(flat, matrix).view(len(x), 2, 2, leaving).permute(0, 3, 1, 2)
