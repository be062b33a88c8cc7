"""Networks whose answers are known: one map size, no norm unless asked for, every block set by hand."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from resdeg.config import ModelConfig
from resdeg.diagnostics.sample import Sample
from resdeg.models import CifarNet, build_model
from resdeg.models.structure import blocks

CHANNELS = 4


@torch.no_grad()
def crafted(family: str, second: list[Tensor | float], norm: str = "none", classes: int = 3) -> CifarNet:
    """Three or more blocks with F(x) = relu(x) times `second`: a number, or (C, C) of the second convolution.

    The stem copies red, green and blue, which must not be negative, into the first three of four
    channels; the head reads them out.
    """
    config = ModelConfig(layout="isotropic", norm=norm, width=CHANNELS / 16)
    model = build_model(family, 6 * (len(second) // 3) + 2, config=config, classes=classes)
    nn.init.dirac_(model.stem.weight)
    for place, given in zip(blocks(model), second, strict=True):
        nn.init.dirac_(place.module.conv1.weight)
        matrix = given if isinstance(given, Tensor) else given * torch.eye(CHANNELS)
        place.module.conv2.weight.zero_()
        place.module.conv2.weight[:, :, 1, 1] = matrix
    model.head.weight.copy_(torch.eye(classes, CHANNELS))
    return model.eval()


def primaries(count: int, side: int = 4, shift: int = 0) -> tuple[Tensor, Tensor]:
    """Images that are red, green and blue in thirds, one after the other, and their labels.

    Returns:
        (3 · count, side, side, 3) uint8, a little unlike each other; labels 0, 1, 2, moved on by `shift`.
    """
    labels = torch.arange(3).repeat_interleave(count)
    images = torch.zeros(len(labels), side, side, 3, dtype=torch.uint8)
    images[torch.arange(len(labels)), :, :, labels] = 200
    images[:, 0, 0, :] = torch.arange(len(labels), dtype=torch.uint8)[:, None] % 40
    return images, (labels + shift) % 3


def sample(
    held: tuple[Tensor, Tensor], train: tuple[Tensor, Tensor], scale: Callable[[Tensor], Tensor] | None = None
) -> Sample:
    """Images as they are, in [0, 1]."""
    return Sample(*held, *train, scale or (lambda pixels: pixels.float().permute(0, 3, 1, 2) / 255))
