"""Batch norm statistics that belong to the weights as they are, for evaluation after training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from resdeg.training.evaluate import Interrupted


@contextlib.contextmanager
def recomputed_statistics(
    model: nn.Module,
    images: Tensor,
    batch_size: int,
    standardise: Callable[[Tensor], Tensor],
    autocast: torch.autocast,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[bool]:
    """Let every batch norm of `model` use statistics averaged over `images`; whether there is one.

    Running statistics are a decaying mean over steps whose weights have since moved. Within, they are
    the mean over all batches, weighted by their sizes, of each batch's mean and unbiased variance at
    the present weights, in training-mode normalisation. Afterwards the earlier ones are back, bit for bit.

    Args:
        images: (N, H, W, 3) uint8 on the model's device, as they are; `batch_size` at most at once, in
            equal parts, because normalisation by a small last batch would be another function.

    Raises:
        Interrupted: `stop` came true between two batches.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        yield False
        return
    kept = [(norm, norm.momentum, [buffer.clone() for buffer in norm.buffers()]) for norm in norms]
    try:
        _average(
            model, norms, images.tensor_split(-(-len(images) // batch_size)), standardise, autocast, stop
        )
        yield True
    finally:
        for norm, momentum, buffers in kept:
            norm.momentum = momentum
            for buffer, before in zip(norm.buffers(), buffers, strict=True):
                buffer.copy_(before)


@torch.no_grad()
def _average(
    model: nn.Module,
    norms: list[nn.BatchNorm2d],
    batches: tuple[Tensor, ...],
    standardise: Callable[[Tensor], Tensor],
    autocast: torch.autocast,
    stop: Callable[[], bool],
) -> None:
    """Set the running statistics; a momentum of size / sum of sizes makes a decaying mean a plain one."""
    mode, seen = model.training, 0
    for norm in norms:
        for buffer in norm.buffers():
            buffer.zero_()  # a statistic that is not finite would stay so, even at weight 0
    model.train()
    try:
        for pixels in batches:
            if stop():
                raise Interrupted
            seen += len(pixels)
            for norm in norms:
                norm.momentum = len(pixels) / seen
            with autocast:
                model(standardise(pixels))
    finally:
        model.train(mode)
