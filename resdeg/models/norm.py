"""Normalisation after a convolution, by name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from resdeg.models.kept import in_mode

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


@torch.no_grad()
def recompute_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace every running mean and variance by its plain average over `batches` in training mode.

    Every mode is as it was afterwards. What a running average of momentum 0.1 still remembers of
    earlier weights is gone.

    Args:
        batches: (N, 3, H, W) each, as the network is trained on.
    """
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm2d, nn.InstanceNorm2d))]
    momenta = [norm.momentum for norm in norms]
    try:
        with in_mode(model, training=True):
            for number, images in enumerate(batches, start=1):
                for norm in norms:
                    norm.momentum = 1 / number  # of the first batch 1: nothing earlier is left
                model(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


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
