"""Normalisation after a convolution, by name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from resdeg.models.kept import in_mode

Norm = Callable[[int], nn.Module]


class BatchNorm(nn.BatchNorm2d):
    """torch's; `fused`: whether it may take along what follows it, see `fused.activated`."""

    fused = False


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
    """Replace running statistics by their averages over `batches` at the present weights.

    Running statistics are a decaying mean over steps whose weights have since moved. Here they become
    the mean over all batches, weighted by their sizes, of each batch's mean and unbiased variance, in
    training-mode normalisation. Every mode is as it was afterwards; `buffers_kept` puts them back.

    Args:
        batches: (N, 3, H, W) each, standardised, about as large as those of the training:
            normalisation by a small batch is another function.
    """
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm2d, nn.InstanceNorm2d))]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        for buffer in norm.buffers():
            buffer.zero_()  # a statistic that is not finite would stay so, even at weight 0
    seen = 0
    try:
        with in_mode(model, training=True):
            for images in batches:
                seen += len(images)
                for norm in norms:
                    norm.momentum = len(images) / seen  # which makes a decaying mean a plain one
                model(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _batch(channels: int) -> nn.Module:
    norm = BatchNorm(channels, eps=1e-5, momentum=0.1)
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
