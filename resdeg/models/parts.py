"""The parts of a network besides its convolutions: norms, activations and shortcuts, each by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

Norm = Callable[[int], nn.Module]  # makes a norm for this number of channels
Activation = Callable[[], nn.Module]


@dataclass(frozen=True)
class BlockShape:
    """The channels that enter and leave a block, its stride, and whether it is the first of the network."""

    entering: int
    leaving: int
    stride: int = 1
    first: bool = False


Shortcut = Callable[[BlockShape, Norm], nn.Module]  # makes the shortcut of a block of this shape


# ---------------------------------------------------------------- norms


class InstanceNorm(nn.InstanceNorm2d):
    """StarGAN's norm: per image and channel, affine, with running statistics for evaluation.

    In evaluation mode it scales by the running statistics. Within `contexts.image_statistics` it scales by
    each image's own, as in training, and does not change the running ones.
    """

    own_statistics = False

    def forward(self, x: Tensor) -> Tensor:
        if self.own_statistics:
            return functional.instance_norm(
                x, weight=self.weight, bias=self.bias, use_input_stats=True, eps=self.eps
            )
        return super().forward(x)


def _batch(channels: int) -> nn.Module:
    norm = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
    # With a fixed momentum nobody reads the counter, which would cost a kernel per layer and step.
    norm.num_batches_tracked = None
    return norm


def _instance(channels: int) -> nn.Module:
    norm = InstanceNorm(channels, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True)
    norm.num_batches_tracked = None
    return norm


def _none(channels: int) -> nn.Module:
    """Makes no norm, and no bias instead of it: no convolution here has a bias."""
    return nn.Identity()


NORMS: dict[str, Norm] = {"batch": _batch, "instance": _instance, "none": _none}


# ---------------------------------------------------------------- activations


ACTIVATIONS: dict[str, Activation] = {
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, 0.01),
    "gelu": nn.GELU,  # x Phi(x) (Hendrycks and Gimpel 2016)
    "none": nn.Identity,
}


# ---------------------------------------------------------------- shortcuts: He et al. 2015, Sec. 3.3, 4.2


class PaddedIdentity(nn.Module):
    """Option A: every `stride`-th row and column, with zero channels after the real ones; no parameters."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.stride, self.added = shape.stride, shape.leaving - shape.entering

    def forward(self, x: Tensor) -> Tensor:
        x = _subsample(x, self.stride)
        return functional.pad(x, (0, 0, 0, 0, 0, self.added))  # (N, leaving, H/stride, W/stride)


class PointwiseConv(nn.Conv2d):
    """A 1x1 convolution of every `stride`-th row and column, computed as two operations.

    As one operation, oneDNN's gradient of the weights writes past its workspace on a CPU if fewer channels
    enter than fill a vector (uxlfoundation/oneDNN issue 6035): with 4 channels on AVX2, torch dies.
    """

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(_subsample(x, self.stride[0]), self.weight)


def _subsample(x: Tensor, stride: int) -> Tensor:
    # A 1x1 mean picks what a slice would, and its gradient has the layout of x. The gradient of a slice is
    # always NCHW, and everything behind it would mix two layouts, which is several times slower.
    return functional.avg_pool2d(x, kernel_size=1, stride=stride)


def _identity(shape: BlockShape, norm: Norm) -> nn.Module:
    return PaddedIdentity(shape)


def _projection(shape: BlockShape, norm: Norm) -> nn.Module:
    """Makes option B: a 1x1 convolution and a norm."""
    convolution = PointwiseConv(shape.entering, shape.leaving, kernel_size=1, stride=shape.stride, bias=False)
    return nn.Sequential(convolution, norm(shape.leaving))


SHORTCUTS: dict[str, Shortcut] = {
    "identity": _identity,
    "projection": _projection,
}


def build_shortcut(kind: str, shape: BlockShape, norm: Norm) -> nn.Module:
    """Builds the path around a residual block: the identity, or one of SHORTCUTS if the shape changes."""
    if shape.entering == shape.leaving and shape.stride == 1:
        return nn.Identity()
    return SHORTCUTS[kind](shape, norm)
