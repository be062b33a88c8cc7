"""Shortcuts of the residual family (He et al. 2015, Sec. 3.3 and 4.2), by name.

Where a block keeps its shape every kind is the identity; they differ where it changes.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from resdeg.models.norm import Norm


class PaddedIdentity(nn.Module):
    """Option A: every `stride`-th row and column; zero channels after the real ones. No parameters."""

    def __init__(self, entering: int, leaving: int, stride: int) -> None:
        super().__init__()
        self.stride, self.added = stride, leaving - entering

    def forward(self, x: Tensor) -> Tensor:
        x = _subsampled(x, self.stride)
        return functional.pad(x, (0, 0, 0, 0, 0, self.added))  # (N, leaving, H/stride, W/stride)


class PointwiseConv(nn.Conv2d):
    """A 1x1 convolution of every `stride`-th row and column, as two operations.

    As one, oneDNN's gradient of the weights writes past its workspace on a CPU where fewer channels
    enter than fill a vector (uxlfoundation/oneDNN issue 6035): with 4 channels on AVX2, torch dies.
    """

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(_subsampled(x, self.stride[0]), self.weight)


def _subsampled(x: Tensor, stride: int) -> Tensor:
    # A 1x1 mean picks what a slice would, and its gradient keeps the layout: a slice's is
    # always NCHW, and everything behind it then mixes two layouts, several times slower.
    return functional.avg_pool2d(x, kernel_size=1, stride=stride)


def _identity(entering: int, leaving: int, stride: int, norm: Norm) -> nn.Module:
    return PaddedIdentity(entering, leaving, stride)


def _projection(entering: int, leaving: int, stride: int, norm: Norm) -> nn.Module:
    """Option B: a 1x1 convolution and a norm."""
    convolution = PointwiseConv(entering, leaving, kernel_size=1, stride=stride, bias=False)
    return nn.Sequential(convolution, norm(leaving))


SHORTCUTS: dict[str, Callable[[int, int, int, Norm], nn.Module]] = {
    "identity": _identity,
    "projection": _projection,
}


def build_shortcut(kind: str, entering: int, leaving: int, stride: int, norm: Norm) -> nn.Module:
    """The path around a block of the residual family."""
    if entering == leaving and stride == 1:
        return nn.Identity()
    return SHORTCUTS[kind](entering, leaving, stride, norm)
