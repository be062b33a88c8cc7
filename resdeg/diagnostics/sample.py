"""What a measure is given, the images, and what it gives, numbers with their places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from resdeg.config import AdoptedConfig
from resdeg.data.augment import Standardiser
from resdeg.data.images import Dataset, Split
from resdeg.models.structure import NumberedBlock, NumberedLayer

BATCH = 125  # images that go through a net together at the most; see training.evaluate
IMAGES = 1000  # held-out images where no number is asked for
FIT = 5  # a probe is fitted on this many times the images that it is scored on


@dataclass(frozen=True)
class Sample:
    """Held-out images, and training images for what must be fitted; nothing of them is augmented.

    images: (N, H, W, 3) uint8 of the test split, on which nothing is chosen; labels: (N,) int64.
    train_images, train_labels: likewise of the training split, up to FIT times as many.
    """

    images: Tensor
    labels: Tensor
    train_images: Tensor
    train_labels: Tensor
    standardise: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, dataset: Dataset, images: int, adopted: AdoptedConfig | None = None) -> Self:
        """The first `images` of the test split and the first of the training split, on the CPU; all there
        are of a split that has fewer.

        The canonical order is by hash, so the first ones are as good as any.
        """
        held, train = _first(dataset.test, images), _first(dataset.train, FIT * images)
        return cls(*held, *train, Standardiser.of(dataset.train, torch.device("cpu"), adopted))

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self) -> Iterator[Tensor]:
        """The held-out images, (N, 3, H, W) float32, standardised."""
        return standardised(self.images, self.standardise)

    def train_batches(self, most: int | None = None) -> Iterator[Tensor]:
        """The training images, or the first `most` of them, likewise."""
        return standardised(self.train_images[:most], self.standardise)


def _first(split: Split, count: int) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(split.images[:count]), torch.from_numpy(split.labels[:count]).long()


def standardised(images: Tensor, standardise: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    """(N, H, W, 3) uint8 as batches of the network's input, all of one size or one image less."""
    return (standardise(part) for part in torch.tensor_split(images, -(-len(images) // BATCH)))


@dataclass(frozen=True)
class Number:
    """One measured number; layer, block and stage as in `records.DiagnosticRecord`."""

    name: str
    value: float
    images: int
    layer: int | None = None
    block: int | None = None
    stage: int | None = None
    note: str | None = None


def of_layer(place: NumberedLayer, name: str, value: float, images: int, note: str | None = None) -> Number:
    return Number(name, value, images, place.number, place.block, place.stage, note)


def of_block(place: NumberedBlock, name: str, value: float, images: int, note: str | None = None) -> Number:
    return Number(name, value, images, None, place.number, place.stage, note)
