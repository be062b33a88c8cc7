"""Copies of a data set in other forms than the official ones, recognised by names of files and folders."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resdeg.data import array_file, image_folders, parquet_files
from resdeg.data.images import Shape, Split


@dataclass(frozen=True)
class Copy:
    """A copy: what it is, in words, and the function that reads its training and test split.

    The labels that `read` returns are checked, see `check_labels`. That the images are genuine is for the
    caller to prove.
    """

    title: str
    read: Callable[[], tuple[Split, Split]]


def recognise(
    path: Path, shape: Shape, *, class_names: tuple[str, ...], label_columns: tuple[str, ...]
) -> Copy | None:
    """Recognises a copy by the names of files and folders; no image is read yet.

    Args:
        class_names: the classes by label, for folders and tables that name them; () if only numbers do.
        label_columns: the columns of a table that may hold the labels; the first one that is there does.

    Returns:
        None if it is no copy that can be read.
    """
    if parquet_files.is_parquet(path):
        read = functools.partial(parquet_files.read, path, shape, label_columns)
        return Copy("Hugging Face parquet", read)
    if array_file.is_archive(path):
        return Copy("Keras arrays (.npz)", functools.partial(array_file.read, path, shape))
    if class_names and image_folders.is_kaggle(path):
        return Copy("Kaggle's PNGs", functools.partial(image_folders.read_kaggle, path, shape, class_names))
    if image_folders.is_by_class(path):
        read = functools.partial(image_folders.read_by_class, path, shape, class_names)
        return Copy("PNGs by class", read)
    return None
