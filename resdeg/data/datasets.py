"""The data sets by name: each is one row of DATASETS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resdeg.config import DataConfig
from resdeg.data import cifar, folder, hierarchy
from resdeg.data.altered import alter, alter_shape
from resdeg.data.images import Dataset, Shape
from resdeg.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Source:
    """The facts of a data set that are known before it is read, and the function that reads it.

    title: for figures and reports, which must say when images are generated.
    subset_title: the same behind the number of images where not all are trained on.
    option: of the command line; about: what it means, where nothing is distributed.
    check: raises a DataError where nothing at a path, or in the cache, can be the data set.
    files: what is distributed; None if there is nothing to get.
    """

    title: str
    subset_title: str
    option: str
    shape: Callable[[DataConfig], Shape]
    load: Callable[[DataConfig, Path | None], Dataset]
    check: Callable[[DataConfig, Path | None], object] = lambda config, data_dir: None
    about: str = "built in"
    files: cifar.Distribution | None = None

    @classmethod
    def from_distribution(cls, distribution: cifar.Distribution) -> Source:
        return cls(
            title=distribution.title,
            subset_title=f"training images of {distribution.title}",
            option=distribution.name,
            shape=lambda config: distribution.shape,
            load=lambda config, data_dir: cifar.load(data_dir, distribution),
            check=lambda config, data_dir: cifar.find(data_dir, distribution),
            files=distribution,
        )


DATASETS: dict[str, Source] = {
    "cifar10": Source.from_distribution(cifar.CIFAR10),
    "cifar100": Source.from_distribution(cifar.CIFAR100),
    "hierarchy": Source(
        title="generated images (hierarchy)",
        subset_title="generated training images (hierarchy)",
        option="hierarchy",
        shape=hierarchy.shape,
        load=lambda config, data_dir: hierarchy.load(config),
    ),
    "folder": Source(
        title="images of {folder}",
        subset_title="training images of {folder}",
        option="folder:DIR",
        shape=folder.shape,
        load=folder.load,
        check=folder.find,
        about="a folder of your own images",
    ),
}


def source(name: str) -> Source:
    """Returns the data set called `name`.

    Raises:
        UsageError: no data set has this name.
    """
    if name not in DATASETS:
        raise UsageError(f"data set '{name}' is not known", did_you_mean(name, DATASETS))
    return DATASETS[name]


def name_images(config: DataConfig) -> str:
    """Names the images in words, for figures and reports, which must say when they are not the genuine ones.

    >>> name_images(DataConfig(subset=5000, label_noise=0.2))
    '5,000 training images of CIFAR-10 with 20 % of training labels changed'
    """
    row = source(config.name)
    name = row.title if config.subset is None else f"{config.subset:,} {row.subset_title}"
    if config.folder is not None:
        name = name.format(folder=config.folder.name)
    changed = f" with {100 * config.label_noise:g} % of training labels changed"
    return name + (changed if config.label_noise else "")


def shape(config: DataConfig) -> Shape:
    """Returns the sizes of the splits as they will be trained on, without reading a byte."""
    return alter_shape(source(config.name).shape(config), config)


def load(config: DataConfig, data_dir: Path | None = None) -> Dataset:
    """Loads the data set in canonical order, holds its validation split out, and alters it as asked.

    Args:
        data_dir: an archive or folder; None looks in the cache.

    Raises:
        DataError: the data set is not there, or is not what it claims to be.
    """
    return alter(source(config.name).load(config, data_dir), config)
