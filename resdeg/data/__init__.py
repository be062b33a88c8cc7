"""The data sets. Only `resdeg.data.augment` imports torch."""

from resdeg.data.datasets import DATASETS, Source, check_data_dir, load, shape, source

__all__ = ["DATASETS", "Source", "check_data_dir", "load", "shape", "source"]
