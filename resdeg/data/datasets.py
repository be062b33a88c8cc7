"""The data sets by name: each is one row of DATASETS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resdeg.config import DataConfig
from resdeg.data import cifar, hierarchy
from resdeg.data.images import Dataset, Shape
from resdeg.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Source:
    """The facts of a data set that are known before it is read, and the function that reads it.

    title: for figures and reports, which must say when images are generated.
    files: what is distributed; None if the images are generated and no file is needed.
    """

    title: str
    shape: Callable[[DataConfig], Shape]
    load: Callable[[DataConfig, Path | None], Dataset]
    files: cifar.Distribution | None = None

    @classmethod
    def from_distribution(cls, distribution: cifar.Distribution) -> Source:
        return cls(
            title=distribution.title,
            shape=lambda config: distribution.shape,
            load=lambda config, data_dir: cifar.load(data_dir, distribution),
            files=distribution,
        )


DATASETS: dict[str, Source] = {
    "cifar10": Source.from_distribution(cifar.CIFAR10),
    "cifar100": Source.from_distribution(cifar.CIFAR100),
    "hierarchy": Source(
        title="generated images (hierarchy)",
        shape=hierarchy.shape,
        load=lambda config, data_dir: hierarchy.load(config),
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


def shape(config: DataConfig) -> Shape:
    """Returns the sizes of the splits as they will be trained on, without reading a byte."""
    return source(config.name).shape(config).hold_out(config.validation)


def check_data_dir(config: DataConfig, data_dir: Path | None) -> None:
    """Fails now, and not later in a worker, if the data cannot be there.

    Raises:
        DataError: nothing at `data_dir` (None: in the cache) can be the data set.
    """
    files = source(config.name).files
    if files is not None:
        cifar.find(data_dir, files)


def load(config: DataConfig, data_dir: Path | None = None) -> Dataset:
    """Loads the data set in canonical order and holds its validation split out.

    Args:
        data_dir: an archive or folder; None looks in the cache.

    Raises:
        DataError: the data set is not there, or is not what it claims to be.
    """
    return source(config.name).load(config, data_dir).hold_out(config.validation)
