"""Standardised, cropped and flipped input from uint8 images and a plan, by a few vectorised operations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from resdeg.config import AdoptedConfig
from resdeg.data.images import Split


@dataclass(frozen=True)
class Standardiser:
    """The per-pixel mean of the training images and the per-channel deviation (He et al. 2015, Sec. 4.2).

    mean: (side·side, 3) and scale: (3,), both for pixels in [0, 1]. Adopted weights have the mean and the
    deviation by which their source standardised its input.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def from_split(
        cls, split: Split, device: torch.device, *, adopted: AdoptedConfig | None = None
    ) -> Standardiser:
        """Measures the training split `split`, unless `adopted` says what its weights were trained on."""
        if adopted is not None and adopted.mean is not None:
            side = split.images.shape[1]
            return cls(
                torch.tensor(adopted.mean, dtype=torch.float32, device=device).repeat(side * side, 1),
                torch.tensor(adopted.deviation, dtype=torch.float32, device=device),
            )
        # Sums of 128 bytes, or of their squares, are whole numbers below 2^24, so they are exact in float32
        # in any order. Small slices stay in the cache, and no float copy of the set is made.
        total, square = np.zeros((2, *split.images.shape[1:]), np.float64)
        for start in range(0, len(split), 128):
            part = split.images[start : start + 128].astype(np.float32)
            total += part.sum(axis=0)
            square += np.square(part, out=part).sum(axis=0)
        mean = total / (255 * len(split))
        channel = mean.mean(axis=(0, 1))
        variance = square.mean(axis=(0, 1)) / (255**2 * len(split)) - channel**2
        deviation = np.sqrt(np.maximum(variance, 0))
        deviation[deviation == 0] = 1.0  # a constant channel has nothing to scale
        return cls(
            torch.tensor(mean.reshape(-1, 3), dtype=torch.float32, device=device),
            torch.tensor(deviation, dtype=torch.float32, device=device),
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """Standardises (N, H, W, 3) uint8, uncropped, to (N, 3, H, W) float32 in channels_last memory."""
        mean = self.mean.view(pixels.shape[1], pixels.shape[2], 3)
        return ((pixels.float() / 255 - mean) / self.scale).permute(0, 3, 1, 2)


def augment(images: Tensor, plan: Tensor, standardise: Standardiser, pad: int) -> Tensor:
    """Makes one batch of training input, padded with zeros after standardisation.

    Args:
        images: (N, H, W, 3) uint8, the whole training split, on the device.
        plan: (B,) int32, see `resdeg.data.batch_plan`, on the device.
        pad: the width of the padding in pixels.

    Returns:
        (B, 3, H, W) float32, channels_last.
    """
    side = images.shape[1]
    plan = plan.long()
    index, row, column, flip = plan >> 9, plan >> 5 & 15, plan >> 1 & 15, plan & 1
    padded = functional.pad(standardise(images.index_select(0, index)), (pad, pad, pad, pad))
    along = torch.arange(side, device=images.device)
    y = along + row[:, None]  # (B, H) row in the padded image of each output row
    x = torch.where(flip[:, None].bool(), side - 1 - along, along) + column[:, None]  # (B, W)
    wide = side + 2 * pad
    first = torch.arange(len(plan), device=images.device) * wide**2
    source = first[:, None, None] + y[:, :, None] * wide + x[:, None, :]  # (B, H, W)
    # index_select copies whole pixels; plain indexing goes number by number and takes twice the time.
    pixels = padded.permute(0, 2, 3, 1).reshape(-1, 3)
    value = pixels.index_select(0, source.reshape(-1))
    return value.view(len(plan), side, side, 3).permute(0, 3, 1, 2)
