"""Contexts that leave a network as it was, and the recomputation of its running statistics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from resdeg.models.parts import InstanceNorm


@contextlib.contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Puts every module in this mode within `with`; afterwards each has its own mode again."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextlib.contextmanager
def restored_buffers(model: nn.Module) -> Iterator[None]:
    """Gives every running statistic the bits back that it had before the `with`."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)


@contextlib.contextmanager
def image_statistics(model: nn.Module) -> Iterator[bool]:
    """Lets every `InstanceNorm` use each image's own statistics; yields whether `model` has such a norm."""
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
    """Replaces running statistics by their averages over `batches` at the present weights.

    Running statistics are a decaying mean over steps whose weights have moved since. Here they become the
    mean, over all batches weighted by their sizes, of each batch's mean and unbiased variance, in
    training-mode normalisation. Modes are left as they were; `restored_buffers` restores the statistics.

    Args:
        batches: (N, 3, H, W) each, standardised, about as large as those of the training, because
            normalisation by a small batch is another function.
    """
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm2d, nn.InstanceNorm2d))]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        for buffer in norm.buffers():
            buffer.zero_()  # a statistic that is not finite would stay so even at weight 0
    seen = 0
    try:
        with in_mode(model, training=True):
            for images in batches:
                seen += len(images)
                for norm in norms:
                    norm.momentum = len(images) / seen  # makes the decaying mean a plain one
                model(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
