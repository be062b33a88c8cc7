"""Normalisation after a convolution, by name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch import Tensor, nn
from torch.nn import functional

Norm = Callable[[int], nn.Module]


class InstanceNorm(nn.InstanceNorm2d):
    """StarGAN's norm: per image and channel, affine, with running statistics for evaluation.

    In evaluation mode it scales by the running statistics; within `image_statistics` by each
    image's own, as in training, and leaves the running ones alone.
    """

    own_statistics = False

    def forward(self, x: Tensor) -> Tensor:
        if self.own_statistics:
            return functional.instance_norm(x, None, None, self.weight, self.bias, True, eps=self.eps)
        return super().forward(x)


@contextlib.contextmanager
def image_statistics(model: nn.Module) -> Iterator[bool]:
    """Let every `InstanceNorm` of `model` use each image's own statistics; whether there is one."""
    norms = [module for module in model.modules() if isinstance(module, InstanceNorm)]
    for norm in norms:
        norm.own_statistics = True
    try:
        yield bool(norms)
    finally:
        for norm in norms:
            norm.own_statistics = False


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
