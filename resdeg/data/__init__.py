"""The data sets, by name. No torch in here but `augment`."""

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
    """What is known of a data set before it is read, and how to read it.

    title: for figures and reports, which say so where images are generated.
    files: what is distributed; None where the images are generated and nothing needs to be there.
    """

    title: str
    shape: Callable[[DataConfig], Shape]
    load: Callable[[DataConfig, Path | None], Dataset]
    files: cifar.Distribution | None = None


def _distributed(of: cifar.Distribution) -> Source:
    return Source(
        title=of.title,
        shape=lambda config: of.shape,
        load=lambda config, place: cifar.load(place, of),
        files=of,
    )


DATASETS: dict[str, Source] = {
    "cifar10": _distributed(cifar.CIFAR10),
    "cifar100": _distributed(cifar.CIFAR100),
    "hierarchy": Source(
        title="generated images (hierarchy)",
        shape=hierarchy.shape,
        load=lambda config, place: hierarchy.load(config),
    ),
}


def source(name: str) -> Source:
    if name not in DATASETS:
        raise UsageError(f"data set '{name}' is not known", did_you_mean(name, DATASETS))
    return DATASETS[name]


def shape(config: DataConfig) -> Shape:
    """Sizes of the splits as they will be trained on, known without reading a byte."""
    return source(config.name).shape(config).hold_out(config.validation)


def check_place(config: DataConfig, place: Path | None) -> None:
    """Fail now, not in a worker, where the data cannot be there.

    Raises:
        DataError: nothing at `place` (None: in the cache) can be the data set.
    """
    of = source(config.name).files
    if of is not None:
        cifar.find(place, of)


def load(config: DataConfig, place: Path | None = None) -> Dataset:
    """The data set in canonical order, its validation split held out.

    Args:
        place: an archive or folder; None looks in the cache.

    Raises:
        DataError: it is not there, or not what it says it is.
    """
    return source(config.name).load(config, place).hold_out(config.validation)
