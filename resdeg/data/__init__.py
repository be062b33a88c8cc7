"""The data sets. Only `resdeg.data.augment` imports torch."""

from resdeg.data.datasets import DATASETS, Source, load, name_images, shape, source
from resdeg.data.folder import describe_folder

__all__ = [
    "DATASETS",
    "Source",
    "describe_folder",
    "load",
    "name_images",
    "shape",
    "source",
]
