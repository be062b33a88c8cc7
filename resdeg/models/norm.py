"""Normalisation after a convolution, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def _batch(channels: int) -> nn.Module:
    norm = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
    # With a fixed momentum the counter is never read; it would cost a kernel per layer and step.
    norm.num_batches_tracked = None
    return norm


def _none(channels: int) -> nn.Module:
    """No norm, and no bias in its place: the convolutions have none anywhere."""
    return nn.Identity()


NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": _batch, "none": _none}
