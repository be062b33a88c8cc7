"""Training images that are fewer than the genuine ones, or whose labels are changed, the same for every seed.

Validation images are held out first, then a subset is taken, then labels are changed; test and validation
images stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from resdeg.config import DataConfig
from resdeg.data.images import Bytes, Dataset, Shape
from resdeg.errors import UsageError
from resdeg.randomness import derive


def alter_shape(shape: Shape, config: DataConfig) -> Shape:
    """Returns the sizes that `alter` leaves.

    Raises:
        UsageError: the subset is larger than what there is or smaller than the number of classes, or the
            noise changes no label.
    """
    shape = shape.hold_out(config.validation)
    if config.subset is not None:
        if config.subset > shape.train:
            held = f", {shape.validation:,} of all being held out" if shape.validation else ""
            raise UsageError(
                f"data.subset={config.subset} is more than the {shape.train:,} training images{held}",
                "leave it out to train on all of them",
            )
        if config.subset < shape.classes:
            raise UsageError(
                f"data.subset={config.subset} is less than an image for each of {shape.classes} classes",
                f"give {shape.classes} or more",
            )
        shape = replace(shape, train=config.subset)
    if config.label_noise and not _count_changes(shape.train, config.label_noise):
        raise UsageError(
            f"data.label_noise={config.label_noise:g} changes no label of {shape.train:,} training images",
            f"give 0, or at least {1 / shape.train:.2g}",
        )
    return shape


def alter(dataset: Dataset, config: DataConfig) -> Dataset:
    """Holds out validation images, takes the subset and changes labels, as `config` says.

    A subset and changed labels give the data set a hash of its own, over what is trained on.

    Raises:
        UsageError: see `alter_shape`.
    """
    alter_shape(dataset.shape, config)
    dataset = dataset.hold_out(config.validation)
    if config.subset is None and not config.label_noise:
        return dataset
    train = dataset.train
    if config.subset is not None:
        train = train.take(_choose_subset(train.labels, config.subset))
    if config.label_noise:
        train = replace(train, labels=_change_labels(train.labels, config.label_noise, dataset.classes))
    altered = replace(dataset, train=train)
    return replace(altered, hash=altered.hash_content())


def _choose_subset(labels: Bytes, count: int) -> npt.NDArray[np.int64]:
    """Chooses the indices (count,), rising, of images in which each class has the share that it has in all.

    The first of each class in canonical order are taken, which is that of hashes, so they are a random
    sample. A smaller subset is contained in a larger one. Classes of equal size differ by at most one image.
    """
    share = np.empty(len(labels), np.float64)
    for label in np.unique(labels):
        (members,) = np.nonzero(labels == label)
        share[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(np.argsort(share, kind="stable")[:count])


def _count_changes(images: int, share: float) -> int:
    return round(share * images)


def _change_labels(labels: Bytes, share: float, classes: int) -> Bytes:
    """Gives that share of the labels, rounded to whole images, another class, drawn uniformly.

    This is symmetric noise as in Patrini et al. 2017 and Han et al. 2018: each of these labels is wrong.
    Zhang et al. 2017 draw from all classes, so their share p is the share p (1 - 1/classes) here. Images
    keep their order, so the batches are those of the clean data; more noise changes the same labels, in the
    same way, and others.
    """
    generator = np.random.Generator(np.random.Philox(key=derive(0, "label noise")))
    order = generator.permutation(len(labels))
    shifts = generator.integers(1, classes, len(labels))
    chosen = order[: _count_changes(len(labels), share)]
    changed = labels.copy()
    changed[chosen] = (labels[chosen].astype(np.int64) + shifts[chosen]) % classes
    return changed
