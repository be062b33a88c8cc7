"""The input of a measurement, images, and its output, numbers of layers, blocks or the whole network."""

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

BATCH = 125  # images that go through a net together at most; see training.evaluate
IMAGES = 1000  # held-out images, unless the user asks for another number
FIT = 5  # a probe is fitted on this many times the images that score it


@dataclass(frozen=True)
class Sample:
    """Held-out images, and training images for what must be fitted. None of them is augmented.

    images: (N, H, W, 3) uint8 from the test split, on which nothing is chosen; labels: (N,) int64.
    train_images, train_labels: likewise from the training split, up to FIT times as many.
    """

    images: Tensor
    labels: Tensor
    train_images: Tensor
    train_labels: Tensor
    standardise: Callable[[Tensor], Tensor]

    @classmethod
    def from_dataset(cls, dataset: Dataset, images: int, *, adopted: AdoptedConfig | None = None) -> Self:
        """Takes the first `images` of the test split and the first of the training split, on the CPU.

        A split that has fewer images gives all of them. The canonical order is by hash, so the first images
        are as good as any others.
        """
        held, train = _take_first(dataset.test, images), _take_first(dataset.train, FIT * images)
        standardise = Standardiser.from_split(dataset.train, torch.device("cpu"), adopted=adopted)
        return cls(*held, *train, standardise)

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self) -> Iterator[Tensor]:
        """Yields the held-out images in batches (N, 3, H, W) float32, standardised."""
        return standardised(self.images, self.standardise)

    def train_batches(self, most: int | None = None) -> Iterator[Tensor]:
        """Yields the training images, or the first `most` of them, likewise."""
        return standardised(self.train_images[:most], self.standardise)


def _take_first(split: Split, count: int) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(split.images[:count]), torch.from_numpy(split.labels[:count]).long()


def standardised(images: Tensor, standardise: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    """Yields (N, H, W, 3) uint8 as batches of the network's input, all of one size or one image less."""
    return (standardise(part) for part in torch.tensor_split(images, -(-len(images) // BATCH)))


@dataclass(frozen=True)
class Number:
    """A measured number; layer, block and stage are those of `records.DiagnosticRecord`."""

    name: str
    value: float
    images: int
    layer: int | None = None
    block: int | None = None
    stage: int | None = None
    note: str | None = None

    @classmethod
    def from_layer(cls, layer: NumberedLayer, name: str, value: float, *, images: int) -> Self:
        return cls(name, value, images, layer=layer.number, block=layer.block, stage=layer.stage)

    @classmethod
    def from_block(cls, block: NumberedBlock, name: str, value: float, *, images: int) -> Self:
        return cls(name, value, images, block=block.number, stage=block.stage)
