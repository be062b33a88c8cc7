"""What a network is made of besides its convolutions: norms, activations and shortcuts, each by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

Norm = Callable[[int], nn.Module]  # from the number of channels
Activation = Callable[[], nn.Module]
Shortcut = Callable[[int, int, int, Norm], nn.Module]  # from channels that enter and leave, stride and norm


# ---------------------------------------------------------------- norms


class InstanceNorm(nn.InstanceNorm2d):
    """StarGAN's norm: per image and channel, affine, with running statistics for evaluation.

    In evaluation mode it scales by the running statistics; within `contexts.image_statistics` by each image's
    own, as in training, and leaves the running ones alone.
    """

    own_statistics = False

    def forward(self, x: Tensor) -> Tensor:
        if self.own_statistics:
            return functional.instance_norm(x, None, None, self.weight, self.bias, True, eps=self.eps)
        return super().forward(x)


def _batch(channels: int) -> nn.Module:
    norm = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
    # With a fixed momentum the counter is never read; it would cost a kernel per layer and step.
    norm.num_batches_tracked = None
    return norm


def _instance(channels: int) -> nn.Module:
    norm = InstanceNorm(channels, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True)
    norm.num_batches_tracked = None
    return norm


def _none(channels: int) -> nn.Module:
    """No norm, and no bias in its place: the convolutions have none anywhere."""
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


SHORTCUTS: dict[str, Shortcut] = {
    "identity": _identity,
    "projection": _projection,
}


def build_shortcut(kind: str, entering: int, leaving: int, stride: int, norm: Norm) -> nn.Module:
    """The path around a residual block: the identity, or one of SHORTCUTS where the shape changes."""
    if entering == leaving and stride == 1:
        return nn.Identity()
    return SHORTCUTS[kind](entering, leaving, stride, norm)
