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
    """What is known of a data set before it is read, and how to read it."""

    shape: Callable[[DataConfig], Shape]
    load: Callable[[DataConfig, Path | None], Dataset]
    check: Callable[[Path | None], None]


DATASETS: dict[str, Source] = {
    "cifar10": Source(
        shape=lambda config: cifar.SHAPE,
        load=lambda config, place: cifar.load(place),
        check=cifar.check_place,
    ),
    "hierarchy": Source(
        shape=hierarchy.shape,
        load=lambda config, place: hierarchy.load(config),
        check=lambda place: None,
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
        DataError: nothing at `place` (None: at the usual places) can be the data set.
    """
    source(config.name).check(place)


def load(config: DataConfig, place: Path | None = None) -> Dataset:
    """The data set in canonical order, its validation split held out.

    Args:
        place: an archive or folder; None looks in the cache.

    Raises:
        DataError: it is not there, or not what it says it is.
    """
    return source(config.name).load(config, place).hold_out(config.validation)
