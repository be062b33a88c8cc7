"""Labelled images in a canonical order, and the hash that names them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from resdeg.errors import DataError, UsageError
from resdeg.randomness import derive

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Shape:
    """The sizes of a data set of square images with `side` pixels and 3 channels."""

    classes: int
    side: int
    train: int
    test: int
    validation: int = 0

    @property
    def fixed(self) -> int:
        """The number of training images that are scored after every epoch, see `fixed_images`."""
        return fixed_images(self.train, self.test)

    def hold_out(self, count: int) -> Shape:
        """Moves `count` images from training to validation.

        Raises:
            UsageError: no training image would be left.
        """
        if count >= self.train:
            raise UsageError(f"data.validation={count} leaves no training image of {self.train:,}")
        return replace(self, train=self.train - count, validation=count)


@dataclass(frozen=True)
class Split:
    """Images (N, H, W, 3) uint8, with channels last as the engine reads them, and labels (N,) uint8."""

    images: Bytes
    labels: Bytes

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: npt.NDArray[np.int64]) -> Split:
        return Split(np.ascontiguousarray(self.images[index]), self.labels[index])


@dataclass(frozen=True)
class Dataset:
    """The splits in canonical order. `hash` covers all that was read, before a split was held out.

    Where fewer images are trained on, or other labels, it covers them instead, see `resdeg.data.altered`.
    """

    name: str
    classes: int
    train: Split
    test: Split
    validation: Split | None
    hash: str

    @property
    def shape(self) -> Shape:
        held = 0 if self.validation is None else len(self.validation)
        return Shape(self.classes, int(self.train.images.shape[1]), len(self.train), len(self.test), held)

    def hash_content(self) -> str:
        """Returns the SHA-256 over the records of every split, in their order."""
        digest = hashlib.sha256()
        for part in (self.train, self.test, self.validation):
            if part is not None:
                digest.update(f"{len(part)}x{1 + part.images[0].size}\n".encode())
                # Small slices, because joining labels and images copies them.
                for start in range(0, len(part), 1_000):
                    piece = Split(part.images[start : start + 1_000], part.labels[start : start + 1_000])
                    digest.update(records_of(piece).data)
        return digest.hexdigest()

    def hold_out(self, count: int) -> Dataset:
        """Holds out the same `count` training images for every seed, so that choices rest on one split.

        `alter_shape` checks that images are left.
        """
        if not count:
            return self
        generator = np.random.Generator(np.random.Philox(key=derive(0, "validation")))
        order = generator.permutation(len(self.train))
        held, rest = np.sort(order[:count]), np.sort(order[count:])
        return replace(self, train=self.train.take(rest), validation=self.train.take(held))


def fixed_images(train: int, test: int) -> int:
    """Returns the number of training images that are scored after every epoch.

    They are the first ones of the canonical order, which is that of hashes, so they are a random sample.
    There are as many as test images, so that both scores have the same noise.
    """
    return min(train, test)


def canonical(records: Bytes) -> Bytes:
    """Sorts records by their SHA-256, so that every source and layout gives the same order.

    Args:
        records: (N, 1 + 3·H·W), label first, then pixels channel by channel.
    """
    digests = [hashlib.sha256(row.data).digest() for row in np.ascontiguousarray(records)]
    return records[sorted(range(len(digests)), key=digests.__getitem__)]


def content_hash(train: Bytes, test: Bytes) -> str:
    """Returns the SHA-256 over the canonical records of both splits."""
    digest = hashlib.sha256()
    for records in (train, test):
        digest.update(f"{records.shape[0]}x{records.shape[1]}\n".encode())
        digest.update(np.ascontiguousarray(records).data)
    return digest.hexdigest()


def split(records: Bytes, side: int) -> Split:
    """Splits records (N, 1 + 3·side²) into images and labels."""
    planes = records[:, 1:].reshape(-1, 3, side, side)
    return Split(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, 0].copy())


def records_of(part: Split) -> Bytes:
    """Joins images and labels to the records (N, 1 + 3·side²) that `split` had split."""
    planes = part.images.transpose(0, 3, 1, 2).reshape(len(part), -1)
    return np.concatenate([part.labels[:, None], planes], axis=1)


def check_labels(
    labels: npt.NDArray[Any], where: str, *, count: int, classes: int, names: tuple[str, ...] = ()
) -> Bytes:
    """Checks that there are `count` whole numbers, and each class as often as any other; returns (N,) uint8.

    Args:
        where: the split's origin, with which a message begins.
        names: the classes by label, for messages.

    Raises:
        DataError: the message names the first label or class that is wrong.
    """
    again = "it is not the whole official data set; get it again"
    strange = (labels < 0) | (labels >= classes)
    if strange.any():
        index = int(strange.argmax())
        raise DataError(
            f"{where}: image {index} has the label {labels[index]}, expected 0 to {classes - 1}", again
        )
    counts, expected = np.bincount(labels.astype(np.int64), minlength=classes), count // classes
    if (counts != expected).any():
        label = int((counts != expected).argmax())
        title = f"{label} ({names[label]})" if names else str(label)
        raise DataError(
            f"{where}: {len(labels):,} images, expected {count:,}; the class {title} has {counts[label]:,}, "
            f"expected {expected:,}",
            again,
        )
    return labels.astype(np.uint8)
