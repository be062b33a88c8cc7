"""Batches as data: the image, crop and flip of each training sample, drawn before the training.

A sample is one int32: 22 bits of index, 4 of crop row, 4 of crop column and 1 of flip. It depends only on
(seed, purpose, epoch), so every device reads the same plan, and no step holds a random state.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from resdeg.randomness import derive

Plan = npt.NDArray[np.int32]
MOST_IMAGES = 2**22


def _stream(seed: int, purpose: str, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=derive(seed, purpose, epoch)))


@functools.lru_cache(maxsize=32)  # a batch touches two epochs at most, and each run of a group its own
def epoch_plan(seed: int, epoch: int, *, images: int, pad: int, flip: bool) -> Plan:
    """Draws (images,) one pass over the training images: a permutation with a crop and a flip each.

    A crop of (pad, pad) is the image itself; rows and columns are 0 to 2·pad.

    Raises:
        ValueError: there are more images than a packed index holds.
    """
    if images > MOST_IMAGES:
        raise ValueError(f"images={images} is above the {MOST_IMAGES:,} that a packed index holds")
    order = _stream(seed, "order", epoch).permutation(images)
    draw = _stream(seed, "augment", epoch)
    # Crops are drawn per image, not per position, so that a crop does not depend on the order.
    rows = draw.integers(0, 2 * pad + 1, images)[order]
    columns = draw.integers(0, 2 * pad + 1, images)[order]
    flips = draw.integers(0, 2, images)[order] if flip else np.zeros(images, np.int64)
    plan: Plan = (order << 9 | rows << 5 | columns << 1 | flips).astype(np.int32)
    plan.setflags(write=False)  # the cache shares it
    return plan


def batch_plan(seed: int, step: int, *, batch: int, images: int, pad: int, flip: bool) -> Plan:
    """Returns (batch,) the samples of one step; batches straddle epochs, so none is ever short."""
    parts, start, stop = [], step * batch, (step + 1) * batch
    while start < stop:
        epoch, offset = divmod(start, images)
        samples = epoch_plan(seed, epoch, images=images, pad=pad, flip=flip)[offset : offset + stop - start]
        parts.append(samples)
        start += len(samples)
    return np.concatenate(parts)


def record_steps(images: int, batch: int, total: int) -> list[int]:
    """Lists the steps after which a record is due: ceil(k·images/batch) for epoch k, and the last step."""
    epochs = total * batch // images + 1
    closing = (-(-k * images // batch) for k in range(1, epochs + 1))
    return sorted({min(step, total) for step in closing} | {total})


def snapshot_steps(closing: Sequence[int], count: int) -> list[int]:
    """Chooses among the steps `closing` epochs those after which `count` snapshots are stored, evenly spaced.

    There are fewer if there are fewer epochs. The last step is never one, as its weights are the result.

    >>> snapshot_steps([8, 16, 24, 32, 40, 48], 2)
    [16, 32]
    """
    epochs = len(closing)
    numbers = {round(k * epochs / (count + 1)) for k in range(1, count + 1)}
    return [closing[number - 1] for number in sorted(numbers) if 0 < number < epochs]
